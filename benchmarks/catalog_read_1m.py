"""Seconds and memory to read, of a catalog with 1,000,000 versions, what a run needs.

Ten versions each of 100,000 tables in 200 datasets, and the same with a tenth of the datasets: what a scan of the whole
project reads, and what a run reads that looks at one dataset. The reader is a process of its own. Targets: 60 s and
1 GiB for the scan; one dataset of many is to cost its own size, and what BigQuery takes to leave out the others.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bbq_dagster.core.catalog import Event, version_created
from bbq_dagster.core.inventory import State
from bbq_dagster.core.naming import backup_dataset, backup_table
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import Copy, PlannedUnit
from bbq_dagster.local.server import LocalBigQueryAdmin
from benchmarks._estate import alone, dataset, open_estate
from benchmarks._figure import print_figure
from benchmarks._server import PROJECT, running

DATASETS, TABLES, VERSIONS = 200, 500, 10
TARGET_SECONDS, TARGET_BYTES = 60, 2**30


@dataclass(frozen=True, slots=True)
class Reading:
    """How long it took to read, the memory of the process at its largest, and the units that were read."""

    seconds: float
    memory_bytes: int
    units: int


def main() -> None:
    datasets = int(sys.argv[1]) if len(sys.argv) > 1 else DATASETS
    (small_scan, small_one), (scan, one) = measure(datasets // 10), measure(datasets)
    print(f"ten times the versions: {scan.seconds / small_scan.seconds:.1f} times the time of a scan,")
    print(f"{one.seconds / small_one.seconds:.1f} times the time of one dataset")
    print_figure("catalog_read_1m one dataset", one.seconds, "s", target=None)
    print_figure("catalog_read_1m memory", scan.memory_bytes, "bytes", target=TARGET_BYTES)
    print_figure("catalog_read_1m", scan.seconds, "s", target=TARGET_SECONDS)


def measure(datasets: int) -> tuple[Reading, Reading]:
    with running() as admin, TemporaryDirectory() as name:
        folder = Path(name)
        alone(partial(_fill, admin.url, folder, datasets))
        scan = alone(partial(_read, admin.url, folder, None))
        one = alone(partial(_read, admin.url, folder, (dataset(0),)))
    for what, reading in (("the project", scan), ("one dataset", one)):
        print(
            f"{datasets * TABLES * VERSIONS:,} versions, {what}: {reading.units:,} units in {reading.seconds:.2f} s,"
            f" {reading.memory_bytes / 2**20:,.0f} MiB",
            flush=True,
        )
    return scan, one


def _fill(url: str, folder: Path, datasets: int) -> None:
    catalog, now = open_estate(url, folder).catalog, LocalBigQueryAdmin(url).now()
    catalog.prepare()
    for number in range(datasets):
        catalog.append(list(_versions(dataset(number), now)))


def _versions(of: DatasetRef, now: datetime) -> Iterator[Event]:
    for number in range(TABLES):
        for age in range(VERSIONS):
            yield _version(of.table(f"table_{number:03}"), now - timedelta(days=age + 1))


def _version(table: TableRef, at: datetime) -> Event:
    state, created_at = State(1000, 10_000, at - timedelta(hours=1)), at - timedelta(days=100)
    name = backup_table(table, [(table.unit(), state)], created_at=created_at)
    destination = backup_dataset(table.in_dataset, location="EU", into="backup").table(name)
    unit = PlannedUnit(table.unit(), state, "modified")
    copy = Copy(table.unit(), destination.unit(), "EU", created_at, (unit,))
    return version_created(copy, unit, job_id="job", captured_at=at, rows=1000, size_bytes=10_000, at=at, run_id="run")


def _read(url: str, folder: Path, only: tuple[DatasetRef, ...] | None) -> Reading:
    catalog = open_estate(url, folder).catalog
    began = time.perf_counter()
    records = catalog.scan_records(PROJECT, only=only, besides=())
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Reading(seconds, memory, sum(len(record.latest) for record in records.values()))


if __name__ == "__main__":
    main()
