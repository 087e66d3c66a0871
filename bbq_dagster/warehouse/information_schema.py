"""What we ask INFORMATION_SCHEMA, and how its rows become our values.

SQL texts and readers only; ``bigquery`` runs them. Times are asked for as microseconds, which loses nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from sys import intern

from bbq_dagster.core.inventory import Dataset, SourceTable, State, TableOptions, TableShape, UnitState
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.warehouse.queries import Cells, instant, quoted, whole_number

TABLES_PER_QUERY = 1000
"""PARTITIONS refuses to read more (BigQuery: information-schema-partitions)."""

_LABEL = re.compile(r'STRUCT\("([^"]*)", "([^"]*)"\)')


def table_states_sql(project: str, location: str, *, all_tables: bool = True) -> str:
    """Dataset, table, rows, bytes, last data write of every live table of a project in one region.

    Not of ``all_tables``: of those that are called one of ``@tables`` in one of ``@datasets``.
    """
    asked = "" if all_tables else "AND table_schema IN UNNEST(@datasets) AND table_name IN UNNEST(@tables)"
    return f"""
        SELECT table_schema, table_name, total_rows, total_logical_bytes, UNIX_MICROS(storage_last_modified_time)
        FROM {quoted(project, f"region-{location.lower()}")}.INFORMATION_SCHEMA.TABLE_STORAGE
        WHERE NOT deleted {asked}"""


def read_table_state(row: Cells, project: str) -> tuple[TableRef, State]:
    dataset, table, *state = row
    return TableRef(project, dataset or "", table or ""), _state(state)


def tables_sql(dataset: DatasetRef, *, all_tables: bool = True) -> str:
    """Every table of a dataset, whatever its kind, with its columns, partitioning, labels and other options.

    Not of ``all_tables``: those that ``@tables`` names.
    The hidden column ``_PARTITIONTIME`` of an ingestion-time table is its partitioning column, but not one of its own.
    Columns differ by their places at least, so that no two of a table cancel each other out in the fingerprint.
    """
    schema = f"{quoted(dataset.project, dataset.dataset)}.INFORMATION_SCHEMA"
    asked = "" if all_tables else "WHERE table_name IN UNNEST(@tables)"
    return f"""
        SELECT
          tables.table_name, tables.table_type, UNIX_MICROS(tables.creation_time),
          columns.own, columns.partition_column, columns.partition_type, columns.fingerprint, options.labels,
          options.description, options.friendly_name, options.require_filter, options.partition_days,
          options.kms_key_name, tables.default_collation_name
        FROM (SELECT * FROM {schema}.TABLES {asked}) AS tables
        LEFT JOIN (
          SELECT
            table_name,
            COUNTIF(is_hidden = 'NO') AS own,
            MAX(IF(is_partitioning_column = 'YES', column_name, NULL)) AS partition_column,
            MAX(IF(is_partitioning_column = 'YES', data_type, NULL)) AS partition_type,
            BIT_XOR(IF(is_hidden = 'NO', FARM_FINGERPRINT(CONCAT(
              CAST(ordinal_position AS STRING), ' ', column_name, ' ', data_type, ' ', is_nullable
            )), NULL)) AS fingerprint
          FROM {schema}.COLUMNS {asked}
          GROUP BY table_name
        ) AS columns ON columns.table_name = tables.table_name
        LEFT JOIN (
          SELECT
            table_name,
            MAX(IF(option_name = 'labels', option_value, NULL)) AS labels,
            MAX(IF(option_name = 'description', option_value, NULL)) AS description,
            MAX(IF(option_name = 'friendly_name', option_value, NULL)) AS friendly_name,
            MAX(IF(option_name = 'require_partition_filter', option_value, NULL)) AS require_filter,
            MAX(IF(option_name = 'partition_expiration_days', option_value, NULL)) AS partition_days,
            MAX(IF(option_name = 'kms_key_name', option_value, NULL)) AS kms_key_name
          FROM {schema}.TABLE_OPTIONS {asked}
          GROUP BY table_name
        ) AS options ON options.table_name = tables.table_name"""


def read_table(row: Cells, dataset: Dataset, states: Mapping[TableRef, State]) -> SourceTable:
    name, kind, created, columns, partition_column, partition_type, fingerprint, labels, *options = row
    ref = dataset.ref.table(name or "")
    return SourceTable(
        ref=ref,
        kind=kind or "",
        created_at=_created(created, ref),
        columns=int(columns or 0),
        state=states.get(ref, State()),
        partition_column=partition_column,
        partition_type=partition_type,
        labels=parse_labels(labels),
        options=_options(options),
        schema=fingerprint,
    )


def partitions_sql(dataset: DatasetRef) -> str:
    """Table, partition, rows, bytes, last data write; ``@tables`` names the tables.

    A partition with data in two storage tiers has two rows there, and one here.
    """
    return f"""
        SELECT
          table_name, partition_id, SUM(total_rows), SUM(total_logical_bytes), UNIX_MICROS(MAX(last_modified_time))
        FROM {quoted(dataset.project, dataset.dataset)}.INFORMATION_SCHEMA.PARTITIONS
        WHERE table_name IN UNNEST(@tables)
        GROUP BY table_name, partition_id"""


def read_partition(row: Cells, tables: Mapping[str, TableRef]) -> UnitState:
    """``tables`` are those asked for, by name: a million partitions share them, and the names of their days."""
    table, partition, *state = row
    return UnitState(tables[table or ""].unit(None if partition is None else intern(partition)), _state(state))


def backup_tables_sql(dataset: DatasetRef) -> str:
    """Table, whether it expires, and each of its partitions; tables without rows have one row without a state."""
    schema = f"{quoted(dataset.project, dataset.dataset)}.INFORMATION_SCHEMA"
    return f"""
        SELECT
          tables.table_name, expiring.table_name IS NOT NULL,
          held.partition_id, held.total_rows, held.total_bytes, UNIX_MICROS(held.modified)
        FROM {schema}.TABLES AS tables
        LEFT JOIN (
          SELECT
            table_name, partition_id, SUM(total_rows) AS total_rows, SUM(total_logical_bytes) AS total_bytes,
            MAX(last_modified_time) AS modified
          FROM {schema}.PARTITIONS
          WHERE table_name IN UNNEST(@tables)
          GROUP BY table_name, partition_id
        ) AS held ON held.table_name = tables.table_name
        LEFT JOIN (
          SELECT DISTINCT table_name
          FROM {schema}.TABLE_OPTIONS
          WHERE option_name IN ('expiration_timestamp', 'partition_expiration_days') AND table_name IN UNNEST(@tables)
        ) AS expiring ON expiring.table_name = tables.table_name
        WHERE tables.table_name IN UNNEST(@tables)"""


def read_backup_partition(row: Cells) -> tuple[str, bool, str | None, State]:
    """Table, whether it expires, partition, state. ``state.rows`` is None where the table holds nothing."""
    table, expires, partition, *state = row
    return table or "", expires == "true", partition, _state(state)


def parse_labels(option_value: str | None) -> dict[str, str]:
    """``[STRUCT("env", "prod"), STRUCT("bbq", "skip")]`` as TABLE_OPTIONS shows labels."""
    return dict(_LABEL.findall(option_value or ""))


def table_shapes_sql(dataset: DatasetRef) -> str:
    """A row for each column of each of ``@tables``, in their order; a table without columns has one without a name."""
    schema = f"{quoted(dataset.project, dataset.dataset)}.INFORMATION_SCHEMA"
    return f"""
        SELECT
          tables.table_name, tables.table_type, columns.column_name, columns.data_type, columns.is_hidden,
          columns.is_partitioning_column, columns.clustering_ordinal_position
        FROM {schema}.TABLES AS tables
        LEFT JOIN {schema}.COLUMNS AS columns ON columns.table_name = tables.table_name
        WHERE tables.table_name IN UNNEST(@tables)
        ORDER BY tables.table_name, columns.ordinal_position"""


def read_table_shapes(rows: Iterable[Cells]) -> Iterator[tuple[str, TableShape]]:
    """Each table with its shape, from the rows in the order of the query."""
    for (name, kind), of_table in groupby(rows, key=lambda row: (row[0], row[1])):
        yield name or "", _shape(kind or "", list(of_table))


def _shape(kind: str, rows: Sequence[Cells]) -> TableShape:
    columns = [row for row in rows if row[2] is not None]
    partitioning = next((row for row in columns if row[5] == "YES"), None)
    clustering = sorted((int(row[6]), row[2] or "") for row in columns if row[6] is not None)
    return TableShape(
        kind=kind,
        columns=tuple((row[2] or "", row[3] or "") for row in columns if row[4] == "NO"),
        partition_column=None if partitioning is None else partitioning[2],
        partition_type=None if partitioning is None else partitioning[3],
        clustering=tuple(name for _, name in clustering),
    )


def _options(cells: Cells) -> TableOptions:
    description, friendly_name, require_filter, partition_days, kms_key_name, collation = cells
    return TableOptions(
        description=parse_text(description),
        friendly_name=parse_text(friendly_name),
        require_partition_filter=require_filter == "true",
        partition_expiration_days=None if partition_days is None else float(partition_days),
        kms_key_name=parse_text(kms_key_name),
        default_collation=None if collation == "NULL" else collation,
    )


def parse_text(option_value: str | None) -> str | None:
    r"""A STRING option as TABLE_OPTIONS shows it: a literal of SQL, such as ``"Gates \"A\" and B"``.

    Its escapes are Python's, for all that BigQuery itself writes (BigQuery: lexical#string_and_bytes_literals).
    """
    return None if option_value is None else str(ast.literal_eval(option_value))


def _state(cells: Cells) -> State:
    rows, size_bytes, modified = cells
    return State(whole_number(rows), whole_number(size_bytes), instant(modified))


def _created(micros: str | None, ref: TableRef) -> datetime:
    created_at = instant(micros)
    assert created_at is not None, f"INFORMATION_SCHEMA.TABLES has no creation time of {ref}"
    return created_at
