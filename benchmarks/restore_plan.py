"""Seconds to choose and plan the restore of 10,000 tables and 100,000 partitions, as of an instant.

9,900 tables with three versions each, and 100 partitioned ones with 1,000 partitions, of which a later backup run made
every tenth anew. The target is 5 s.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from bbq_dagster.core.inventory import State, TableShape
from bbq_dagster.core.restore import TableFacts, World, plan_restore
from bbq_dagster.core.restore_choice import Past, choose_versions
from bbq_dagster.core.restore_request import RestoreRequest, Scope, Target
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import Version
from benchmarks._figure import print_figure

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SALES = DatasetRef("acme-shop", "sales")
BACKUPS = DatasetRef("acme-backup", "bbq_acme_shop__sales__eu")
FLAT_TABLES, PARTITIONED_TABLES, PARTITIONS, VERSIONS = 9_900, 100, 1_000, 3
MAX_SECONDS = 5
FLAT = TableShape("BASE TABLE", (("id", "INT64"),))
BY_DAY = TableShape("BASE TABLE", (("day", "DATE"), ("n", "INT64")), "day", "DATE")


def version(table: TableRef, partition: str | None, age: int) -> Version:
    at = NOW - timedelta(days=age)
    backup = BACKUPS.table(f"{table.table}-{age}").unit(partition)
    unit = table.unit(partition)
    state = State(1000, 10_000, at - timedelta(hours=1))
    return Version(f"{unit.key}@{age}", unit, backup, "EU", at, 1000, 10_000, state, at, "job", "modified")


def versions() -> list[Version]:
    flat = [
        version(SALES.table(f"table_{number:04}"), None, age)
        for number in range(FLAT_TABLES)
        for age in range(1, VERSIONS + 1)
    ]
    days = [f"{datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day):%Y%m%d}" for day in range(PARTITIONS)]
    tables = [SALES.table(f"events_{number:02}") for number in range(PARTITIONED_TABLES)]
    first = [version(table, day, 3) for table in tables for day in days]
    again = [version(table, day, 2) for table in tables for day in days[::10]]
    return flat + first + again


def world(made: list[Version]) -> World:
    held: dict[TableRef, dict[str | None, State]] = {}
    for one in made:
        held.setdefault(one.backup.table, {})[one.backup.partition] = State(one.rows, one.size_bytes, one.captured_at)
    tables = {table: TableFacts(FLAT if None in states else BY_DAY, states) for table, states in held.items()}
    return World({SALES: "EU"}, tables)


def main() -> None:
    made = versions()
    seen = world(made)
    request = RestoreRequest((Scope(SALES),), as_of=NOW, target=Target(project="acme-lab"))
    began = time.perf_counter()
    choice = choose_versions(request, {SALES: Past(tuple(made))}, now=NOW)
    plan = plan_restore(request, choice, seen, may_write=("acme-lab",), now=NOW)
    restore_id = plan.restore_id
    seconds = time.perf_counter() - began
    print(f"{restore_id}: {len(plan.tables):,} tables, {len(plan.units):,} units, {len(plan.items):,} copy jobs")
    print_figure("restore_plan", seconds, "s", target=MAX_SECONDS)


if __name__ == "__main__":
    main()
