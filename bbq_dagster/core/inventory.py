"""What a source dataset holds, and what of it can be backed up.

``take_inventory`` decides which tables are in scope and gives a reason for every one that is left out. It does not
ask whether a table changed: that is ``changes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bbq_dagster.core.tables import DatasetRef, TableRef, Unit

SKIP_LABEL = ("bbq", "skip")
"""An owner opts a table or a dataset out with the label ``bbq: skip`` (our decision, after Velero's)."""

INGESTION_TIME_COLUMN = "_PARTITIONTIME"
"""The pseudo-column that INFORMATION_SCHEMA.COLUMNS shows as partitioning column of an ingestion-time table."""

_NOT_COPYABLE = {
    "VIEW": "a view has no data of its own",
    "MATERIALIZED VIEW": "a materialized view is computed from its base tables",
    "EXTERNAL": "an external table keeps its data outside BigQuery",
    "SNAPSHOT": "a snapshot is a backup already",
}
"""``table_type`` of INFORMATION_SCHEMA.TABLES to the reason; BASE TABLE and CLONE can be copied."""


@dataclass(frozen=True, slots=True)
class State:
    """What the warehouse says of the data of a table or partition. ``None`` is "it does not say"."""

    rows: int | None = None
    size_bytes: int | None = None
    modified_at: datetime | None = None

    @property
    def is_empty(self) -> bool:
        return self.rows == 0


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as ``datasets.list`` shows it, which leaves out the ``description``."""

    ref: DatasetRef
    location: str
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a table has beyond its schema, partitioning and clustering, as TABLE_OPTIONS shows it.

    A copy keeps none of it: it is recorded with each version, so that a restored table can have it again. Labels are
    pairs in the order of their keys; ``kms_key_name`` is the key of Cloud KMS that the table is encrypted with.
    """

    description: str | None = None
    friendly_name: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    require_partition_filter: bool = False
    partition_expiration_days: float | None = None
    kms_key_name: str | None = None
    default_collation: str | None = None


@dataclass(frozen=True, slots=True)
class TableShape:
    """What decides whether rows of one table can be copied into another: columns as pairs of name and SQL type."""

    kind: str
    columns: tuple[tuple[str, str], ...]
    partition_column: str | None = None
    partition_type: str | None = None
    clustering: tuple[str, ...] = ()

    @property
    def is_partitioned(self) -> bool:
        return self.partition_column is not None

    @property
    def is_partitioned_by_range(self) -> bool:
        return self.partition_type == "INT64"


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table as INFORMATION_SCHEMA shows it: TABLES, COLUMNS, TABLE_OPTIONS, and TABLE_STORAGE for ``state``."""

    ref: TableRef
    kind: str
    created_at: datetime
    columns: int
    state: State = State()
    partition_column: str | None = None
    partition_type: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    options: TableOptions = TableOptions()
    schema: str | None = None
    """The same for the same columns: names, types, modes and order."""

    @property
    def is_partitioned(self) -> bool:
        return self.partition_column is not None

    @property
    def is_partitioned_by_ingestion_time(self) -> bool:
        return self.partition_column == INGESTION_TIME_COLUMN

    @property
    def is_partitioned_by_range(self) -> bool:
        return self.partition_type == "INT64"


@dataclass(frozen=True, slots=True)
class UnitState:
    """One unit as INFORMATION_SCHEMA shows it: TABLE_STORAGE for a table, PARTITIONS for a partition."""

    unit: Unit
    state: State


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A table that is not backed up, and why.

    ``by_choice``: somebody excluded it, so that its versions stay as they are. Otherwise there is nothing that could
    be copied (a view, an empty table), and versions of an earlier table of that name have lost their source.
    """

    table: TableRef
    reason: str
    by_choice: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """One dataset's tables, each either in scope or left out with a reason; not ``is_whole``: some tables of it."""

    dataset: Dataset
    tables: tuple[SourceTable, ...]
    left_out: tuple[LeftOut, ...]
    is_whole: bool = True

    def table(self, ref: TableRef) -> SourceTable | None:
        return next((table for table in self.tables if table.ref == ref), None)


def take_inventory(
    dataset: Dataset,
    tables: Iterable[SourceTable],
    *,
    exclusion: Callable[[TableRef], str | None],
    is_whole: bool = True,
) -> Inventory:
    """Sort the tables of ``dataset`` into those in scope and those left out.

    ``exclusion`` is the settings' answer for one table: a reason, or None where it is selected.
    """
    in_scope, left_out = [], []
    for table in sorted(tables, key=lambda table: table.ref):
        if (reason := _reason_it_cannot_be_copied(table)) is not None:
            left_out.append(LeftOut(table.ref, reason))
        elif (choice := _choice_to_leave_out(dataset, table, exclusion)) is not None:
            left_out.append(LeftOut(table.ref, choice, by_choice=True))
        else:
            in_scope.append(table)
    return Inventory(dataset, tuple(in_scope), tuple(left_out), is_whole)


def _reason_it_cannot_be_copied(table: SourceTable) -> str | None:
    if table.kind in _NOT_COPYABLE:
        return _NOT_COPYABLE[table.kind]
    return "it has no schema yet" if table.columns == 0 else None


def _choice_to_leave_out(
    dataset: Dataset, table: SourceTable, exclusion: Callable[[TableRef], str | None]
) -> str | None:
    if (excluded := exclusion(table.ref)) is not None:
        return excluded
    name, value = SKIP_LABEL
    if dataset.labels.get(name) == value:
        return f"its dataset has the label {name}: {value}"
    if table.labels.get(name) == value:
        return f"it has the label {name}: {value}"
    return None
