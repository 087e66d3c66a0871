"""Seconds and memory to detect and plan the backup of 100,000 tables with 1,000,000 partitions in 200 datasets.

On the first day, when everything is new, and on the second, when one table in a hundred has changed; each also for a
tenth of the datasets. The look runs in a process of its own. Targets: 60 s, 1 GiB, and the calls of the design.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bbq_dagster.core.render import summary
from bbq_dagster.local.server import LocalBigQueryAdmin
from benchmarks._estate import alone, change_tables, make_estate, open_estate, record_backup
from benchmarks._figure import print_figure
from benchmarks._server import running

DATASETS, TABLES, ONE_IN = 200, 500, 100
TARGET_SECONDS, TARGET_BYTES = 60, 2**30
PER_DATASET, PER_REGION = 3, 2


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything: how long it took, the process's own CPU time, its largest memory, and the plan."""

    seconds: float
    cpu_seconds: float
    memory_bytes: int
    calls: int
    summary: str


def main() -> None:
    datasets = int(sys.argv[1]) if len(sys.argv) > 1 else DATASETS
    smaller = measure(datasets // 10)
    full = measure(datasets)
    for day, small, large in zip(("first day", "second day"), smaller, full, strict=True):
        print(f"{day}: {large.seconds / small.seconds:.1f} times the time of a tenth of the datasets")
    for day, look in zip(("first day", "second day"), full, strict=True):
        print_figure(f"detect_plan_100k {day} calls", look.calls, "calls", target=PER_DATASET * datasets + PER_REGION)
        print_figure(f"detect_plan_100k {day} memory", look.memory_bytes, "bytes", target=TARGET_BYTES)
        print_figure(f"detect_plan_100k {day}", look.seconds, "s", target=TARGET_SECONDS)


def measure(datasets: int) -> tuple[Look, Look]:
    with running() as admin, TemporaryDirectory() as name:
        folder = Path(name)
        make_estate(admin, datasets=datasets, tables=TABLES)
        first = _looked("first day", admin, folder)
        alone(partial(_record, admin.url, folder))
        change_tables(admin, datasets=datasets, tables=TABLES // ONE_IN)
        return first, _looked("second day", admin, folder)


def _looked(day: str, admin: LocalBigQueryAdmin, folder: Path) -> Look:
    look = alone(partial(_look, admin.url, folder))
    print(
        f"{day}: {look.seconds:.1f} s, of which {look.cpu_seconds:.1f} s CPU of its own,"
        f" {look.memory_bytes / 2**20:,.0f} MiB, {look.calls:,} calls: {look.summary}",
        flush=True,
    )
    return look


def _look(url: str, folder: Path) -> Look:
    admin, stack = LocalBigQueryAdmin(url), open_estate(url, folder)
    admin.reset_calls()
    began, cpu = time.perf_counter(), time.process_time()
    plan = stack.plan_changed(now=admin.now())
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Look(seconds, cpu_seconds, memory, sum(admin.calls().values()), summary(plan))


def _record(url: str, folder: Path) -> None:
    record_backup(open_estate(url, folder), at=LocalBigQueryAdmin(url).now())


if __name__ == "__main__":
    main()
