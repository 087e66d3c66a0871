"""What we ask the Datastore export of the original BBQ, and how its rows become our values.

SQL texts and readers only. The export is a table per kind and day, as a load job of BigQuery makes it: the key of an
entity is the record ``__key__``, whose ``path`` is ``"Table", 12, "Backup", 34`` (BigQuery:
loading-data-cloud-datastore).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bbq_dagster.core.original import ExportedBackup
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.warehouse.queries import Cells, instant, quoted

_KIND = re.compile(r"(?P<kind>Backup|Table)_(?P<day>\d{8})")


def newest_day(tables: Iterable[str]) -> str | None:
    """The newest day of which there are both kinds, as ``20200131``."""
    days: dict[str, set[str]] = {"Backup": set(), "Table": set()}
    for match in filter(None, map(_KIND.fullmatch, tables)):
        days[match["kind"]].add(match["day"])
    return max(days["Backup"] & days["Table"], default=None)


def backups_sql(dataset: DatasetRef, day: str) -> str:
    """Backup dataset and table, the four parts of the source, and the start of the copy job, of what is not deleted."""
    place = quoted(dataset.project, dataset.dataset)
    return f"""
        SELECT
          backup.dataset_id AS backup_dataset, backup.table_id AS backup_table,
          source.project_id, source.dataset_id, source.table_id, source.partition_id,
          UNIX_MICROS(backup.last_modified)
        FROM {place}.`Backup_{day}` AS backup
        JOIN {place}.`Table_{day}` AS source
          ON source.__key__.id = CAST(REGEXP_EXTRACT(backup.__key__.path, r'^"Table", ([0-9]+),') AS INT64)
        WHERE backup.deleted IS NULL AND backup.last_modified IS NOT NULL"""


def read_backup(row: Cells, project: str) -> ExportedBackup:
    """``project`` holds the copies: the export does not say."""
    backup_dataset, backup_table, *source, partition, micros = row
    captured_at = instant(micros)
    assert captured_at is not None, "backups without a time are not asked for"
    return ExportedBackup(
        backup=TableRef(project, backup_dataset or "", backup_table or ""),
        unit=TableRef(*(name or "" for name in source)).unit(partition or None),
        captured_at=captured_at,
    )
