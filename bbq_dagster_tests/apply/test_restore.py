"""Carrying out a restore: what was planned is there, whatever call it ends at, and nothing is done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from bbq_dagster.apply.backup import apply_backup
from bbq_dagster.apply.copying import CopyLimits
from bbq_dagster.apply.restore import RestoreReport, apply_restore, difference
from bbq_dagster.apply.restore_look import look_at_world
from bbq_dagster.apply.scan import scan_project
from bbq_dagster.core.catalog import EventKind
from bbq_dagster.core.plan import Quota, plan_backup
from bbq_dagster.core.restore import RestorePlan, plan_restore
from bbq_dagster.core.restore_choice import choose_versions
from bbq_dagster.core.restore_record import ItemState, item_statuses
from bbq_dagster.core.restore_request import OnExisting, RestoreRequest, Scope, Target
from bbq_dagster.core.tables import NULL_PARTITION, DatasetRef, TableRef
from bbq_dagster.errors import Permanent, Refused, Transient
from bbq_dagster_tests.builders import EVENTS, ORDERS, SALES
from bbq_dagster_tests.core.restoring import FLAT, Story, a_request, facts
from bbq_dagster_tests.fakes import Calls, Crash, FakeCatalog, FakeClock, FakeWarehouse, a_runtime

ROLLING = SALES.table("rolling")
LAB = DatasetRef("acme-lab", "sales")
DAYS = [f"202401{day:02}" for day in range(1, 9)]
INTO_LAB = RestoreRequest(what=(Scope(SALES),), target=Target(project="acme-lab"))


class World:
    """Two days of backups: a flat table, a partitioned one with a day that changed, one with a null partition, and one
    whose oldest day is gone by then."""

    def __init__(self) -> None:
        self.clock, self.calls = FakeClock(), Calls()
        self.warehouse = FakeWarehouse(self.clock, self.calls, job_seconds=3)
        self.catalog = FakeCatalog(self.calls)
        self.warehouse.create_dataset(SALES)
        self.warehouse.create_table(ORDERS, rows=3, labels={"team": "sales"})
        self.warehouse.create_partitioned_table(EVENTS, dict.fromkeys(DAYS, 1))
        self.warehouse.create_partitioned_table(SALES.table("logs"), {"20240101": 4, NULL_PARTITION: 2})
        self.warehouse.create_partitioned_table(ROLLING, dict.fromkeys(DAYS[:5], 1))
        self.back_up()
        self.warehouse.delete_partition(ROLLING.unit(DAYS[0]))
        self.warehouse.write(ROLLING.unit(DAYS[3]), rows=7)
        self.warehouse.write(EVENTS.unit(DAYS[2]), rows=20)
        self.warehouse.write(SALES.table("logs").unit("20240101"), rows=5)
        self.back_up()

    def back_up(self) -> None:
        self.clock.sleep(6 * 3600)
        now = self.clock.now()
        scan = scan_project(self.warehouse, self.catalog, "acme-shop", now=now, backup_project="acme-backup", threads=1)
        plan = plan_backup(
            scan.datasets, into="acme-backup", now=now, quota=Quota(1000, 1000), whole_table_share=lambda _: 1.0
        )
        run = {"run_id": str(now), "clock": self.clock.now, "runtime": a_runtime(self.clock)}
        assert apply_backup(plan, self.warehouse, self.catalog, **run).ok  # type: ignore[arg-type]
        self.clock.sleep(6 * 3600)

    def plan(self, request: RestoreRequest = INTO_LAB) -> RestorePlan:
        now = self.clock.now()
        choice = choose_versions(request, self.catalog.pasts([SALES]), now=now)
        world = look_at_world(self.warehouse, request, choice, may_look=("acme-lab", "acme-shop"))
        return plan_restore(request, choice, world, may_write=("acme-lab",), now=now)

    def restore(self, plan: RestorePlan) -> RestoreReport:
        return apply_restore(
            plan,
            self.warehouse,
            self.catalog,
            run_id="run",
            clock=self.clock.now,
            limits=CopyLimits(requests_per_second=5000),
            runtime=a_runtime(self.clock),
        )

    def crash(self, plan: RestorePlan, at: int, *, after: bool) -> None:
        self.calls.log.clear()
        self.calls.crash_at, self.calls.crash_after = at, after
        with suppress(Crash):
            self.restore(plan)
        self.calls.crash_at = None
        self.clock.sleep(60)

    def held(self, dataset: DatasetRef = LAB) -> dict[str, dict[str | None, int | None]]:
        return {name: self.warehouse.held_by(dataset.table(name)) for name in AS_IT_WAS}

    def written(self) -> Counter[str]:
        """How often each place of the target was written."""
        into_lab = {unit: times for unit, times in self.warehouse.written.items() if unit.table.in_dataset == LAB}
        return Counter({unit.key: times for unit, times in into_lab.items()})


AS_IT_WAS = {
    "orders": {None: 3},
    "events": dict.fromkeys(DAYS, 1) | {DAYS[2]: 20},
    "logs": {"20240101": 5, NULL_PARTITION: 2},
    "rolling": dict.fromkeys(DAYS[1:5], 1) | {DAYS[3]: 7},
}
ONCE = dict.fromkeys(
    ["orders", "events", f"events${DAYS[2]}", "logs", "logs$20240101", "rolling", f"rolling${DAYS[3]}"], 1
)


def test_the_dataset_is_there_again_in_another_project() -> None:
    world = World()

    report = world.restore(world.plan())

    assert report.ok
    assert len(report.done) == len(ONCE)
    assert world.held() == AS_IT_WAS
    assert world.written() == ONCE


def test_the_same_plan_again_does_nothing() -> None:
    world = World()
    plan = world.plan()
    world.restore(plan)

    again = world.restore(plan)

    assert again.ok
    assert (len(again.done), again.done_before) == (0, len(ONCE))
    assert world.written() == ONCE


def in_passing(world: World) -> None:
    world.warehouse.fail_jobs_into(LAB.table("orders").unit(), Transient("backend error"))
    world.calls.fail_next("start_copy", Transient("connection lost"), about=LAB.table("events").unit(), after=True)


def nothing(_: World) -> None:
    return None


@pytest.mark.parametrize("after", [pytest.param(False, id="before it"), pytest.param(True, id="after its effect")])
@pytest.mark.parametrize("faults", [nothing, in_passing])
@pytest.mark.parametrize("crashes", [1, 2])
def test_a_restore_that_ends_at_any_call_is_finished_by_the_next(
    crashes: int, faults: Callable[[World], None], after: bool
) -> None:
    for at in range(number_of_calls(faults)):
        world = World()
        plan = world.plan()
        faults(world)
        for _ in range(crashes):
            world.crash(plan, at, after=after)
        report = world.restore(plan)

        assert report.ok, f"ended {crashes} times at call {at}: {report}"
        assert world.held() == AS_IT_WAS, f"ended {crashes} times at call {at}"
        assert world.written() == ONCE, f"ended {crashes} times at call {at}"


def number_of_calls(faults: Callable[[World], None]) -> int:
    world = World()
    plan = world.plan()
    faults(world)
    world.calls.log.clear()
    world.restore(plan)
    assert len(world.calls.log) > 15, "a restore that does so little proves little"
    return len(world.calls.log)


def test_what_is_appended_is_appended_once_whatever_call_it_ends_at() -> None:
    request = RestoreRequest(what=(Scope(SALES, "orders"),), on_existing=OnExisting.APPEND)
    for at in range(12):
        world = World()
        plan = world.plan(request)
        world.crash(plan, at, after=True)
        world.restore(plan)

        assert world.warehouse.held_by(ORDERS) == {None: 6}, f"ended at call {at}"


def test_one_failing_item_stops_no_other_and_is_tried_anew_by_the_next_run() -> None:
    world = World()
    plan = world.plan()
    world.warehouse.fail_jobs_into(LAB.table("orders").unit(), Permanent("accessDenied: not yours"))

    first = world.restore(plan)
    statuses = {status.target.key: status for status in item_statuses(world.catalog.restore_events(plan.restore_id))}
    second = world.restore(plan)

    assert [(item.target.key, item.error) for item in first.failed] == [("orders", "accessDenied: not yours")]
    assert len(first.done) == len(ONCE) - 1
    assert (statuses["orders"].state, statuses["orders"].message) == (ItemState.FAILED, "accessDenied: not yours")
    assert [item.target.key for item in second.done] == ["orders"]
    assert world.held() == AS_IT_WAS


def test_what_lies_over_a_base_that_failed_waits_for_it() -> None:
    world = World()
    plan = world.plan()
    world.warehouse.fail_jobs_into(LAB.table("events").unit(), Permanent("not now"))

    first = world.restore(plan)
    second = world.restore(plan)

    assert [item.target.key for item in first.unfinished] == [f"events${DAYS[2]}"]
    assert second.ok
    assert world.held() == AS_IT_WAS


def test_a_dataset_that_cannot_be_created_fails_its_items_by_name() -> None:
    world = World()
    plan = world.plan()
    world.calls.fail_next("ensure_restore_dataset", Permanent("no permission"))

    report = world.restore(plan)

    assert {item.error for item in report.failed} == {"no permission"}
    assert len(report.failed) == len(ONCE)


def test_a_table_that_is_not_partitioned_is_made_by_its_copy_job_and_described_then() -> None:
    world = World()
    plan = world.plan(INTO_LAB)
    world.calls.log.clear()
    world.restore(plan)

    created = [about for name, about in world.calls.log if name == "create_table_like"]
    described = [about for name, about in world.calls.log if name == "describe_table"]
    assert sorted(created) == [str(LAB.table(name)) for name in ("events", "logs", "rolling")]
    assert described == [str(LAB.table("orders"))]


def test_a_table_that_could_not_be_described_is_described_by_the_next_run_and_not_copied_again() -> None:
    world = World()
    plan = world.plan()
    world.calls.fail_next("describe_table", Transient("not now"))

    first = world.restore(plan)
    second = world.restore(plan)

    assert [(item.target.key, item.error) for item in first.unfinished] == [
        ("orders", "copied, and not finished: not now")
    ]
    assert second.ok
    assert world.written() == ONCE


def test_a_partition_that_was_gone_by_then_comes_along_and_is_removed() -> None:
    world = World()
    plan = world.plan()
    world.calls.log.clear()

    report = world.restore(plan)

    removed = [about for name, about in world.calls.log if name == "delete_partition"]
    assert report.ok
    assert removed == [str(LAB.table("rolling").unit(DAYS[0]))]
    assert world.held()["rolling"] == AS_IT_WAS["rolling"]


def test_a_partition_that_came_along_and_could_not_be_removed_is_no_success() -> None:
    world = World()
    plan = world.plan()
    world.calls.fail_next("delete_partition", Permanent("no permission"))

    first = world.restore(plan)
    second = world.restore(plan)

    assert [(item.target.key, item.error) for item in first.unfinished] == [
        ("rolling", "copied, and not finished: no permission"),
        (f"rolling${DAYS[3]}", "it goes over the rest of its table, which is not there yet"),
    ]
    assert second.ok
    assert world.held() == AS_IT_WAS


def test_a_target_that_is_not_as_its_version_is_no_success() -> None:
    world = World()
    plan = world.plan(RestoreRequest(what=(Scope(SALES, "orders"),), target=Target(project="acme-lab")))
    world.warehouse.show_copies_late(looks=3)

    report = world.restore(plan)

    assert [item.target.key for item in report.failed] == ["orders"]
    assert "orders has 0 rows, its version has 3" in report.failed[0].error


def test_a_plan_with_conflicts_changes_nothing() -> None:
    world = World()
    plan = world.plan(RestoreRequest(what=(Scope(SALES),)))
    before = len(world.catalog.events)
    world.calls.log.clear()

    with pytest.raises(Refused, match="has rows already"):
        world.restore(plan)
    assert world.calls.log == []
    assert len(world.catalog.events) == before


def test_a_restore_counts_against_the_quota_of_copy_jobs() -> None:
    world = World()
    before = world.catalog.copy_jobs_since(world.clock.now())
    plan = world.plan()
    world.restore(plan)

    assert len(world.catalog.of_kind(EventKind.RESTORE_PLANNED)) == len(ONCE)
    assert world.catalog.copy_jobs_since(plan.planned_at) - before == len(ONCE)


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        pytest.param(5, FLAT.columns, "", id="the same"),
        pytest.param(4, FLAT.columns, "orders has 4 rows, its version has 5", id="fewer rows"),
        pytest.param(5, (("id", "STRING"),), "the target has the columns", id="another column"),
    ],
)
def test_a_target_is_compared_with_its_version(rows: int, columns: tuple[tuple[str, str], ...], expected: str) -> None:
    story = Story()
    story.back_up(1, TableRef("acme-shop", "sales", "orders"), 5)
    (table,) = story.plan(a_request(target=Target(project="acme-lab"))).tables
    there = facts(type(FLAT)("BASE TABLE", columns), {None: rows})

    assert difference(table, table.items[0], 5, there).startswith(expected)
