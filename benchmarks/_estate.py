"""A source project with many datasets of partitioned tables, and the record of its first backup."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime
from itertools import groupby
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from google.cloud import bigquery as bq

from bbq_dagster.core.catalog import Event, table_settled, version_created
from bbq_dagster.core.changes import DatasetChanges
from bbq_dagster.core.plan import TableBackup
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.local.server import LocalBigQueryAdmin
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack
from benchmarks._server import PROJECT, THREADS, client_of

T = TypeVar("T")

DAYS = 10
_SETTINGS = """\
endpoint: {url}
credentials: anonymous
backup_project: backup
catalog:
  location: EU
state_dir: {folder}
sources:
  - project: {project}
"""


def dataset(number: int) -> DatasetRef:
    return DatasetRef(PROJECT, f"dataset_{number:03}")


def make_estate(admin: LocalBigQueryAdmin, *, datasets: int, tables: int) -> None:
    """So many datasets, each with so many tables of ten days."""
    client = client_of(admin)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda number: _make_dataset(admin, client, dataset(number), tables), range(datasets)))


def _make_dataset(admin: LocalBigQueryAdmin, client: bq.Client, ref: DatasetRef, tables: int) -> None:
    client.create_dataset(str(ref))
    pattern = bq.Table(f"{ref}.t", [bq.SchemaField("day", "DATE"), bq.SchemaField("item", "STRING")])
    pattern.time_partitioning = bq.TimePartitioning(field="day")
    client.create_table(pattern)
    rows = [{"day": f"2024-01-{day:02}", "item": "pen"} for day in range(1, DAYS + 1)]
    client.load_table_from_json(rows, pattern.reference).result()
    admin.multiply(f"{ref}.t", tables - 1)


def change_tables(admin: LocalBigQueryAdmin, *, datasets: int, tables: int) -> None:
    """Write into one day of so many tables of each dataset."""
    client = client_of(admin)
    into = [f"{dataset(number)}.t_{table}$20240105" for number in range(datasets) for table in range(tables)]
    with ThreadPoolExecutor(THREADS) as pool:
        rows = [{"day": "2024-01-05", "item": "ink"}]
        list(pool.map(lambda target: client.load_table_from_json(rows, target).result(), into))


def open_estate(url: str, folder: Path) -> Stack:
    path = folder / "bbq.yaml"
    path.write_text(_SETTINGS.format(url=url, folder=folder, project=PROJECT))
    return open_stack(load_settings(path, {}))


def record_backup(stack: Stack, *, at: datetime) -> None:
    """Write into the catalog what the first backup of everything leaves there, without the copies."""
    stack.catalog.prepare()
    plan = stack.plan_changed(now=at)
    for _, backups in groupby(sorted(plan.backups, key=attrgetter("source")), lambda backup: backup.source.in_dataset):
        stack.catalog.append(list(_versions(backups, at)))
    for changes in plan.changes:
        stack.catalog.append(list(_settlements(changes, at)))


def _versions(backups: Iterable[TableBackup], at: datetime) -> Iterator[Event]:
    for backup in backups:
        for copy in backup.copies:
            for unit in copy.units:
                rows, size = unit.state.rows, unit.state.size_bytes
                yield version_created(
                    copy, unit, job_id="job", captured_at=at, rows=rows, size_bytes=size, at=at, run_id="first"
                )


def _settlements(changes: DatasetChanges, at: datetime) -> Iterator[Event]:
    return (table_settled(table, at=at, run_id="first") for table in changes.inventory.tables)


def alone(work: Callable[[], T]) -> T:
    """In a process of its own: its memory is that of this work."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work).result()
