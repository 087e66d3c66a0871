"""Seconds to plan the retention of 1,000,000 versions of 100,000 units, and the memory that it takes.

Ten versions each of 100 datasets with 400 tables and 600 partitions, under daily, weekly and monthly rules, with holds.
The target is 30 s and 1 GiB.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bbq_dagster.core.holds import Hold
from bbq_dagster.core.naming import version_id
from bbq_dagster.core.retention import Breaker, RetentionRecord, plan_retention
from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from benchmarks._figure import print_figure

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DATASETS, TABLES, PARTITIONS, VERSIONS = 100, 400, 600, 10
MAX_SECONDS, MAX_GIBIBYTES = 30, 1
POLICY = RetentionPolicy(keep_daily=3, keep_weekly=2, keep_monthly=2, keep_within=timedelta(days=2))


def units(dataset: DatasetRef) -> Iterator[Unit]:
    for number in range(TABLES):
        yield dataset.table(f"table_{number:03}").unit()
    for number in range(PARTITIONS):
        day = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)
        yield dataset.table("events").unit(f"{day:%Y%m%d}")


def record(number: int) -> RetentionRecord:
    dataset = DatasetRef("acme-shop", f"dataset_{number:03}")
    into = DatasetRef("acme-backup", f"bbq_acme_shop__dataset_{number:03}__eu")
    held = tuple(version(unit, into, age) for unit in units(dataset) for age in range(VERSIONS))
    return RetentionRecord(dataset, held, scanned_at=NOW - timedelta(hours=1))


def version(unit: Unit, into: DatasetRef, age: int) -> StoredVersion:
    captured_at = NOW - timedelta(days=age * 3, hours=2)
    table = TableRef(into.project, into.dataset, f"{unit.table.table}-{captured_at:%Y%m%dT%H%M%S}")
    identity = version_id(table.unit(unit.partition))
    return StoredVersion(identity, unit, table, captured_at, 1000 + age, 1_000_000 + age)


def main() -> None:
    records = [record(number) for number in range(DATASETS)]
    holds = [Hold("acme-shop.dataset_00?.table_1*", "ada", "audit", NOW - timedelta(days=1))]
    began = time.perf_counter()
    plan = plan_retention(records, policy_for=lambda _: POLICY, now=NOW, holds=holds, breaker=Breaker(1, 1))
    digest = plan.digest
    seconds = time.perf_counter() - began
    gibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(plan.fates):,} versions, {len(plan.deletions):,} places to delete, digest {digest}")
    print_figure("retention_plan memory", gibibytes, "GiB", target=MAX_GIBIBYTES)
    print_figure("retention_plan", seconds, "s", target=MAX_SECONDS)


if __name__ == "__main__":
    main()
