"""The law of the backup: whatever call a run ends at, the next run finishes its work and copies nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from bbq_dagster.apply.backup import apply_backup
from bbq_dagster.apply.copying import CopyLimits
from bbq_dagster.apply.pace import Runtime
from bbq_dagster.apply.report import BackupReport, UnitOutcome
from bbq_dagster.apply.scan import scan_project
from bbq_dagster.core.catalog import EventKind
from bbq_dagster.core.plan import BackupPlan, Quota, plan_backup
from bbq_dagster.core.tables import NULL_PARTITION, DatasetRef, Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.errors import Transient
from bbq_dagster_tests.builders import EVENTS, ORDERS, SALES
from bbq_dagster_tests.fakes import Calls, Crash, FakeCatalog, FakeClock, FakeWarehouse, a_runtime

STOCK = DatasetRef("acme-shop", "stock")
ITEMS, GONE, EMPTIED, FRESH = (STOCK.table(name) for name in ("items", "gone", "emptied", "fresh"))
LOGS = SALES.table("logs")
DAYS = [f"202401{day:02}" for day in range(1, 9)]


class World:
    """A second day with something of everything: copies of tables and partitions, a new, an emptied, a gone table."""

    def __init__(self) -> None:
        self.clock, self.calls = FakeClock(), Calls()
        self.warehouse = FakeWarehouse(self.clock, self.calls, job_seconds=3)
        self.catalog = FakeCatalog(self.calls)
        self._first_day()
        self._second_day()

    def _first_day(self) -> None:
        for dataset in (SALES, STOCK):
            self.warehouse.create_dataset(dataset)
        for table in (ORDERS, ITEMS, GONE, EMPTIED):
            self.warehouse.create_table(table, rows=3)
        self.warehouse.create_partitioned_table(EVENTS, dict.fromkeys(DAYS, 1))
        self.clock.sleep(3600)
        self.back_up()

    def _second_day(self) -> None:
        self.clock.sleep(3600)
        self.warehouse.write(ORDERS.unit(), rows=30)
        self.warehouse.write(EVENTS.unit(DAYS[1]), rows=20)
        self.warehouse.write(EVENTS.unit(DAYS[2]), rows=20)
        self.warehouse.create_table(FRESH, rows=5)
        self.warehouse.create_partitioned_table(LOGS, {"20240101": 1, NULL_PARTITION: 2}, expires=True)
        self.warehouse.write(EMPTIED.unit(), rows=0)
        self.warehouse.delete_table(GONE)
        self.clock.sleep(3600)

    def plan(self) -> BackupPlan:
        now = self.clock.now()
        scan = scan_project(self.warehouse, self.catalog, "acme-shop", now=now, backup_project="acme-backup", threads=1)
        return plan_backup(scan.datasets, into="acme-backup", now=now, quota=Quota(1000, 1000), failures=scan.failures)

    def back_up(self, runtime: Runtime | None = None) -> BackupReport:
        report = apply_backup(
            self.plan(),
            self.warehouse,
            self.catalog,
            run_id=f"run at {self.clock.now()}",
            clock=self.clock.now,
            limits=CopyLimits(requests_per_second=5000),
            on_recorded=self.tell,
            runtime=runtime or a_runtime(self.clock),
        )
        assert report.ok, str(report)
        return report

    def tell(self, outcomes: Sequence[UnitOutcome]) -> None:
        with self.calls.call("on_recorded", len(outcomes)):
            pass

    def crash(self, at: int, *, after: bool, runtime: Runtime | None = None) -> None:
        """Back up until call ``at``, or to the end where there are fewer."""
        self.calls.log.clear()
        self.calls.crash_at, self.calls.crash_after = at, after
        with suppress(Crash):
            self.back_up(runtime)
        self.calls.crash_at = None
        self.clock.sleep(60)

    def versions(self) -> list[Version]:
        return self.catalog.versions(event.unit.table for event in self.catalog.events)

    def outcome(self) -> object:
        """All that must be the same, however often the run was interrupted."""
        return (
            Counter((version.unit, version.rows, version.backup) for version in self.versions()),
            self.warehouse.written,
            Counter((event.unit, event.event) for kind in _ABSENCES for event in self.catalog.of_kind(kind)),
            self.catalog.of_kind(EventKind.COPY_FAILED),
            [str(error) for error in self.warehouse.errors_of_jobs() if error.reason == "duplicate"],
            self.plan().is_empty,
        )

    def lost(self) -> list[Unit]:
        """Versions on record whose backup table does not hold them."""
        held = self.warehouse.held_by
        return [v.unit for v in self.versions() if held(v.backup.table).get(v.backup.partition) != v.rows]


_ABSENCES = (EventKind.EMPTIED, EventKind.VANISHED)


def in_passing(world: World) -> None:
    """The job of ``orders`` fails in passing, once, and an answer is lost."""
    (orders,) = [copy for copy in world.plan().copies if copy.source == ORDERS.unit()]
    world.warehouse.fail_jobs_into(orders.destination, Transient("backend error"))
    world.calls.fail_next("start_copy", Transient("connection lost"), after=True)


@pytest.fixture(scope="module")
def expected() -> object:
    world = World()
    world.back_up()
    world.clock.sleep(60)
    return world.outcome()


def test_the_second_day_has_something_of_everything() -> None:
    plan = World().plan()

    assert {copy.source.key for copy in plan.copies} == {
        "orders",
        f"events${DAYS[1]}",
        f"events${DAYS[2]}",
        "fresh",
        "logs",
    }
    assert (len(plan.emptied), len(plan.vanished)) == (1, 1)


@pytest.mark.parametrize("after", [pytest.param(False, id="before it"), pytest.param(True, id="after its effect")])
@pytest.mark.parametrize("faults", [None, in_passing])
@pytest.mark.parametrize("crashes", [1, 2, 3])
def test_a_run_that_ends_at_any_call_is_finished_by_the_next(
    crashes: int, faults: Callable[[World], None] | None, after: bool, expected: object
) -> None:
    for at in range(number_of_calls(faults)):
        world = a_world(faults)
        for _ in range(crashes):
            world.crash(at, after=after)
        world.back_up()
        world.clock.sleep(60)

        assert world.outcome() == expected, f"ended {crashes} times at call {at}"
        assert world.lost() == [], f"ended {crashes} times at call {at}"


def a_world(faults: Callable[[World], None] | None) -> World:
    world = World()
    if faults is not None:
        faults(world)
    return world


def number_of_calls(faults: Callable[[World], None] | None) -> int:
    world = a_world(faults)
    world.calls.log.clear()
    world.back_up()
    assert len(world.calls.log) > 20, "a run that does so little proves little"
    return len(world.calls.log)


@pytest.mark.parametrize("after", [pytest.param(False, id="before it"), pytest.param(True, id="after its effect")])
@pytest.mark.parametrize("at", range(0, 36, 3))
def test_the_same_with_real_threads(at: int, after: bool, expected: object) -> None:
    world = World()
    threads = Runtime(world.clock.monotonic, world.clock.sleep)

    world.crash(at, after=after, runtime=threads)
    world.back_up(threads)
    world.clock.sleep(60)

    assert world.outcome() == expected
    assert world.lost() == []
