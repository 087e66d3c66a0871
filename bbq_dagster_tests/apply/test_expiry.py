"""Deleting what a plan lets go: the order, what is left alone, and a stop at any call."""

from __future__ import annotations

from contextlib import suppress

import pytest

from bbq_dagster.apply.expiry import RetentionReport, apply_retention
from bbq_dagster.core.catalog import EventKind
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.retention import Breaker, RetentionPlan, plan_retention
from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.retention_record import held, hold_of
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.versions import PlannedUnit
from bbq_dagster.errors import Permanent, Refused, Transient
from bbq_dagster_tests.builders import BACKUPS, EVENTS, NOW, ORDERS, a_copy, a_state
from bbq_dagster_tests.fakes import Calls, Crash, FakeCatalog, FakeClock, FakeWarehouse, a_runtime
from bbq_dagster_tests.warehouse.stories import backed_up_by, days, scanned

ONE = RetentionPolicy(keep_last=1)
DAYS = ("20240101", "20240102", "20240103")


class World:
    """Three days of a table, and of three partitions: the first day as a whole table, then two and one of them."""

    def __init__(self) -> None:
        self.clock, self.calls = FakeClock(NOW), Calls()
        self.warehouse, self.catalog = FakeWarehouse(self.clock, self.calls), FakeCatalog(self.calls)
        for day, partitions in enumerate((DAYS, DAYS[1:], DAYS[2:])):
            at = NOW - days(3 - day)
            self._backed_up(ORDERS.unit(), f"orders-{day}", at=at)
            self.warehouse.create_partitioned_table(BACKUPS.table(f"events-{day}"), dict.fromkeys(partitions, 3))
            for partition in partitions:
                self._record(EVENTS.unit(partition), f"events-{day}", at=at, whole_table=day == 0)
        self.catalog.append([scanned(at=NOW)])

    def _backed_up(self, unit: Unit, table: str, *, at: object) -> None:
        self.warehouse.create_table(BACKUPS.table(table), rows=3)
        self._record(unit, table, at=at)

    def _record(self, unit: Unit, table: str, *, at: object, whole_table: bool = False) -> None:
        planned = PlannedUnit(unit, a_state(), "modified")
        place = None if whole_table else unit.partition
        copy = a_copy(unit.table.unit(place), units=[planned], destination=BACKUPS.table(table).unit(place))
        self.catalog.append([backed_up_by(copy, planned, at=at)])  # type: ignore[arg-type]

    def plan(self, policy: RetentionPolicy = ONE, breaker: Breaker | None = None) -> RetentionPlan:
        return plan_retention(
            self.catalog.retention_records(None),
            policy_for=lambda _: policy,
            now=self.clock.now(),
            holds=[hold_of(event) for event in self.catalog.holds()],
            breaker=breaker or Breaker(1, 1),
        )

    def apply(
        self, plan: RetentionPlan | None = None, *, approved: str | None = None, batch_versions: int = 500
    ) -> RetentionReport:
        return apply_retention(
            plan or self.plan(),
            self.warehouse,
            self.catalog,
            run_id="retention",
            clock=self.clock.now,
            approved=approved,
            batch_versions=batch_versions,
            runtime=a_runtime(self.clock),
        )

    def tables(self) -> dict[str, dict[str | None, int | None]]:
        names = [f"{table}-{day}" for table in ("orders", "events") for day in range(3)]
        refs = {name: BACKUPS.table(name) for name in names}
        return {name: self.warehouse.held_by(ref) for name, ref in refs.items() if self.warehouse.has_table(ref)}

    def on_record(self) -> list[str]:
        return sorted(str(version.backup) for version in self.catalog.versions([ORDERS, EVENTS]))

    def calls_since(self, mark: int) -> list[str]:
        return self.calls.names()[mark:]


LEFT = {
    "orders-2": {None: 3},
    "events-0": {"20240101": 3},
    "events-1": {"20240102": 3},
    "events-2": {"20240103": 3},
}


def test_what_the_plan_lets_go_is_deleted_and_confirmed() -> None:
    world = World()
    report = world.apply()

    assert report.ok
    assert len(report.deleted) == 5
    assert world.tables() == LEFT
    assert world.on_record() == sorted(
        [
            str(BACKUPS.table("orders-2")),
            *(f"{BACKUPS.table(f'events-{day}')}${partition}" for day, partition in enumerate(DAYS)),
        ]
    )


def test_it_is_marked_before_it_is_deleted_and_confirmed_after() -> None:
    world = World()
    plan = world.plan()
    mark = len(world.calls.log)
    world.apply(plan)

    assert world.calls_since(mark) == [
        "holds",
        "append",
        "delete_partition",
        "delete_partition",
        "delete_partition",
        "delete_table",
        "delete_table",
        "append",
    ]
    assert [about for name, about in world.calls.log[mark:] if name == "append"] == [
        "deletion_planned",
        "version_deleted",
    ]


def test_a_table_goes_as_a_whole_once_nothing_in_it_is_kept() -> None:
    world = World()
    world._record(EVENTS.unit("20240101"), "events-2", at=NOW - days(1))
    world.apply()

    assert "events-0" not in world.tables()


def test_each_event_says_why() -> None:
    world = World()
    world.apply()

    assert {event.reason for event in world.catalog.of_kind(EventKind.VERSION_DELETED)} == {"beyond keep_last 1"}
    assert {event.run_id for event in world.catalog.of_kind(EventKind.DELETION_PLANNED)} == {"retention"}


def test_what_is_gone_already_is_confirmed() -> None:
    world = World()
    world.warehouse.delete_table(BACKUPS.table("orders-0"))

    assert world.apply().ok
    assert world.tables() == LEFT


def test_what_cannot_be_deleted_stays_as_it_is_and_stops_no_other_one() -> None:
    world = World()
    world.calls.fail_next("delete_table", Permanent("Access Denied"), about=BACKUPS.table("orders-0"))
    report = world.apply()

    assert not report.ok
    assert [(failure.place.key, failure.error) for failure in report.failures] == [("orders-0", "Access Denied")]
    assert len(report.deleted) == 4
    assert str(BACKUPS.table("orders-0")) in world.on_record()
    assert "acme-backup.bbq_acme_shop__sales__eu.orders-0: Access Denied" in str(report)


def test_the_next_run_deletes_what_could_not_be_deleted() -> None:
    world = World()
    world.calls.fail_next("delete_table", Transient("try later"))
    world.apply()

    assert [fate.why for fate in world.plan().expired] == ["its deletion was begun"]
    assert world.apply().ok
    assert world.tables() == LEFT
    assert world.plan().deletions == ()


def test_a_hold_that_was_placed_after_the_plan_counts_too() -> None:
    world = World()
    plan = world.plan()
    world.catalog.append([held(Hold(str(ORDERS), "ada", "audit", NOW), ORDERS.unit(), run_id="r")])
    report = world.apply(plan)

    assert report.ok
    assert {"orders-0", "orders-1"} <= set(world.tables())
    assert [item.error for item in report.held] == ["held: audit, by ada, until it is released"] * 2


def test_nothing_is_deleted_without_the_approval_that_is_needed() -> None:
    world = World()
    plan = world.plan(breaker=Breaker(0.1, 1))
    before = world.tables()
    with pytest.raises(Refused, match="nothing was deleted"):
        world.apply(plan)
    with pytest.raises(Refused, match="nothing was deleted"):
        world.apply(plan, approved="another")

    assert world.tables() == before
    assert world.catalog.of_kind(EventKind.DELETION_PLANNED) == []
    assert world.apply(plan, approved=plan.digest).ok


def test_a_catalog_that_cannot_be_written_stops_the_run_before_anything_is_deleted() -> None:
    world = World()
    plan, before = world.plan(), world.tables()
    world.calls.fail_next("append", Permanent("no catalog"))
    with pytest.raises(Permanent):
        world.apply(plan)

    assert world.tables() == before


@pytest.mark.parametrize("after", [pytest.param(False, id="before it"), pytest.param(True, id="after its effect")])
@pytest.mark.parametrize("crashes", [1, 2])
@pytest.mark.parametrize("at", range(10))
def test_a_run_that_ends_at_any_call_is_finished_by_the_next(at: int, crashes: int, after: bool) -> None:
    world, whole = World(), World()
    whole.apply()
    for _ in range(crashes):
        world.calls.log.clear()
        world.calls.crash_at, world.calls.crash_after = at, after
        with suppress(Crash):
            world.apply()
        world.calls.crash_at = None
        world.clock.sleep(60)
    world.apply()

    assert world.tables() == whole.tables() == LEFT
    assert world.on_record() == whole.on_record()
    assert world.plan().deletions == ()
    deleted = [event.version_id for event in world.catalog.of_kind(EventKind.VERSION_DELETED)]
    assert sorted(deleted) == sorted(set(deleted)), "nothing was confirmed twice"  # type: ignore[type-var]


def test_a_crash_leaves_no_version_on_record_that_is_gone_but_marked() -> None:
    for at in range(10):
        world = World()
        world.calls.log.clear()
        world.calls.crash_at = at
        with suppress(Crash):
            world.apply()
        world.calls.crash_at = None
        marked = {event.version_id for event in world.catalog.of_kind(EventKind.DELETION_PLANNED)}
        there = world.tables()

        for version in world.catalog.versions([ORDERS, EVENTS]):
            is_there = there.get(version.backup.table.table, {}).get(version.backup.partition) == 3
            assert is_there or version.version_id in marked


def test_a_long_plan_is_carried_out_in_batches() -> None:
    world = World()

    assert world.apply(batch_versions=2).ok
    assert world.tables() == LEFT
    assert [name for name, about in world.calls.log if about == "deletion_planned"] == ["append"] * 3
