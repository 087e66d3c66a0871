from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from bbq_dagster.apply.backup import apply_backup, record_scan
from bbq_dagster.apply.copying import CopyLimits, Progress
from bbq_dagster.apply.report import (
    BackupReport,
    NotCaptured,
    UnitFailure,
    UnitOutcome,
    UnitUnfinished,
    VersionMade,
)
from bbq_dagster.apply.scan import scan_project
from bbq_dagster.core.catalog import EventKind
from bbq_dagster.core.plan import BackupPlan, DatasetFailure, Quota, plan_backup
from bbq_dagster.core.tables import UNPARTITIONED, DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Absence
from bbq_dagster.errors import Permanent, Transient
from bbq_dagster_tests.builders import BACKUPS, EVENTS, ORDERS, SALES, a_copy, a_plan, a_planned_unit
from bbq_dagster_tests.fakes import Calls, FakeCatalog, FakeClock, FakeWarehouse, a_runtime

DENIED = Permanent("access denied", reason="accessDenied")
STOCK = DatasetRef("acme-shop", "stock")
FIRST, SECOND, THIRD = (EVENTS.unit(f"2024010{day}") for day in (1, 2, 3))


class World:
    """``orders`` with 3 rows, ``events`` with 3 partitions of 3 rows, ``stock.items`` with 3 rows, an hour old."""

    def __init__(self) -> None:
        self.clock, self.calls = FakeClock(), Calls()
        self.warehouse = FakeWarehouse(self.clock, self.calls, job_seconds=3)
        self.catalog = FakeCatalog(self.calls)
        self.told: list[list[UnitOutcome]] = []
        self.progress: list[Progress] = []
        for dataset in (SALES, STOCK):
            self.warehouse.create_dataset(dataset)
        for table in (ORDERS, STOCK.table("items")):
            self.warehouse.create_table(table, rows=3)
        self.warehouse.create_partitioned_table(EVENTS, {str(unit.partition): 3 for unit in (FIRST, SECOND, THIRD)})
        self.clock.sleep(3600)

    def plan(self) -> BackupPlan:
        now = self.clock.now()
        scan = scan_project(self.warehouse, self.catalog, "acme-shop", now=now, backup_project="acme-backup", threads=1)
        return plan_backup(scan.datasets, into="acme-backup", now=now, quota=Quota(1000, 1000), failures=scan.failures)

    def apply(self, plan: BackupPlan, **limits: int) -> BackupReport:
        self.calls.log.clear()
        report = apply_backup(
            plan,
            self.warehouse,
            self.catalog,
            run_id="run-1",
            clock=self.clock.now,
            limits=replace(CopyLimits(), **limits),  # type: ignore[arg-type]
            on_recorded=self.tell,
            on_progress=self.progress.append,
            runtime=a_runtime(self.clock),
        )
        self.clock.sleep(3600)
        return report

    def back_up(self) -> BackupReport:
        return self.apply(self.plan())

    def tell(self, outcomes: Sequence[UnitOutcome]) -> None:
        with self.calls.call("on_recorded", len(outcomes)):
            self.told.append(list(outcomes))

    def steps(self) -> list[str]:
        """The calls in order, without the questions in between and repetitions."""
        steps = [f"{name} {about}" if name == "append" else name for name, about in self.calls.log]
        asked = [step for step in steps if step != "copy_statuses"]
        return [step for step, before in zip(asked, ["", *asked], strict=False) if step != before]


@pytest.fixture
def world() -> World:
    return World()


def units_of(outcomes: Sequence[UnitOutcome]) -> list[str]:
    return sorted(str(outcome.unit) for outcome in outcomes)


def partition_plan() -> BackupPlan:
    return a_plan(ORDERS.unit(), FIRST, SECOND)


def backup_of(table: TableRef) -> Unit:
    return BACKUPS.table(f"{table.table}-1").unit()


class TestTheOrder:
    def test_planned_then_made_then_checked_then_recorded_then_told(self, world: World) -> None:
        report = world.apply(a_plan(FIRST, SECOND))

        assert report.ok
        assert world.steps() == [
            "append copy_planned",
            "ensure_dataset",
            "create_table_like",
            "start_copy",
            "backup_tables",
            "append version_created",
            "on_recorded",
        ]

    def test_the_first_append_has_the_scan_and_every_planned_copy(self, world: World) -> None:
        world.back_up()

        assert world.steps()[0] == "append copy_planned, dataset_scanned"
        assert world.steps()[-1] == "append table_settled"

    def test_a_batch_is_recorded_while_others_run(self, world: World) -> None:
        plan = many_tables(world, 1200)
        world.apply(plan)

        assert len(world.told) >= 3
        assert sum(map(len, world.told)) == 1200
        first_record = world.calls.names().index("on_recorded")
        assert "start_copy" in world.calls.names()[first_record:]

    def test_a_batch_waits_for_fifteen_seconds_at_most(self, world: World) -> None:
        world.warehouse.never_end_into(backup_of(ORDERS))
        began = world.clock.now()
        world.apply(partition_plan())

        recorded = [event.recorded_at for event in world.catalog.of_kind(EventKind.VERSION_CREATED)]
        assert len(recorded) == 2
        assert max(recorded) - began <= timedelta(seconds=30)


def many_tables(world: World, number: int) -> BackupPlan:
    for name in range(number):
        world.warehouse.create_table(SALES.table(f"t{name}"), rows=3)
    return a_plan(*(SALES.table(f"t{name}").unit() for name in range(number)))


class TestVersions:
    def test_a_version_says_what_the_copy_holds(self, world: World) -> None:
        report = world.apply(a_plan(ORDERS.unit()))

        (made,) = report.versions
        (version,) = world.catalog.versions([ORDERS])
        assert made.version == version
        assert (version.rows, version.size_bytes, version.backup) == (3, 30, backup_of(ORDERS))
        assert version.captured_at == world.warehouse.status_into(backup_of(ORDERS)).started_at

    def test_every_unit_of_a_whole_table_copy_is_a_version(self, world: World) -> None:
        report = world.back_up()

        assert units_of(report.versions) == [
            "acme-shop.sales.events$20240101",
            "acme-shop.sales.events$20240102",
            "acme-shop.sales.events$20240103",
            "acme-shop.sales.orders",
            "acme-shop.stock.items",
        ]
        assert len(world.warehouse.starts) == 3

    def test_a_second_run_has_nothing_to_copy(self, world: World) -> None:
        world.back_up()
        plan = world.plan()

        assert plan.copies == ()
        assert plan.unchanged == 5

    def test_expirations_that_a_whole_table_copy_brought_are_removed(self, world: World) -> None:
        world.warehouse.let_expire(EVENTS)
        plan = a_plan()
        whole = a_copy(EVENTS.unit(), units=[a_planned_unit(unit) for unit in (FIRST, SECOND, THIRD)])
        report = world.apply(replace(plan, unfinished=(replace(whole, partitioned=False),)))

        assert report.ok
        assert world.steps().index("remove_expirations") < world.steps().index("append version_created")

    def test_rows_in_the_streaming_buffer_are_not_captured_which_is_no_error(self, world: World) -> None:
        world.warehouse.stream(EVENTS.unit("20240104"), rows=7)
        report = world.back_up()

        assert report.ok
        assert units_of(report.not_captured) == ["acme-shop.sales.events$20240104"]
        (failed,) = world.catalog.of_kind(EventKind.COPY_FAILED)
        assert "streaming buffer" in str(failed.error)
        assert world.catalog.records([SALES])[SALES].unfinished == ()


class TestFailures:
    def test_a_copy_that_failed_is_named_and_recorded_and_stops_no_other_one(self, world: World) -> None:
        world.warehouse.fail_jobs_into(backup_of(ORDERS), DENIED)
        report = world.apply(partition_plan())

        assert not report.ok
        assert report.failures == (UnitFailure(ORDERS.unit(), "access denied", "never backed up"),)
        assert len(report.versions) == 2
        assert [event.error for event in world.catalog.of_kind(EventKind.COPY_FAILED)] == ["access denied"]
        assert "acme-shop.sales: orders: access denied" in str(report)

    def test_a_copy_that_failed_gets_another_job_in_the_next_run(self, world: World) -> None:
        world.calls.fail_next("start_copy", DENIED)
        first = world.back_up()
        second = world.back_up()

        assert units_of(second.versions) == units_of(first.failures)
        assert {event.attempt for event in world.catalog.of_kind(EventKind.VERSION_CREATED)} == {1, 2}
        assert world.plan().copies == ()

    def test_a_job_that_failed_in_passing_is_no_failure(self, world: World) -> None:
        world.warehouse.fail_jobs_into(backup_of(ORDERS), Transient("backend error"))

        assert world.apply(partition_plan()).ok

    def test_a_refused_backup_dataset_fails_its_units_alone(self, world: World) -> None:
        world.warehouse.create_dataset(BACKUPS, expires=True)
        report = world.back_up()

        assert units_of(report.versions) == ["acme-shop.stock.items"]
        assert {failure.error for failure in report.failures} == {f"{BACKUPS} has a default expiration"}
        assert len(report.failures) == 4
        assert not [about for name, about in world.calls.log if name == "start_copy" and about.startswith(str(BACKUPS))]

    def test_a_table_that_cannot_be_created_fails_its_units_alone(self, world: World) -> None:
        world.calls.fail_next("create_table_like", DENIED)
        report = world.apply(partition_plan())

        assert units_of(report.failures) == ["acme-shop.sales.events$20240101", "acme-shop.sales.events$20240102"]
        assert units_of(report.versions) == ["acme-shop.sales.orders"]

    def test_a_copy_that_is_not_there_is_a_failure(self, world: World) -> None:
        world.warehouse.show_copies_late(looks=99)
        report = world.apply(a_plan(ORDERS.unit()))

        assert [failure.error for failure in report.failures] == ["the copy is not there"]
        assert world.catalog.of_kind(EventKind.VERSION_CREATED) == []

    def test_what_was_copied_and_not_checked_is_adopted_by_the_next_run(self, world: World) -> None:
        world.calls.fail_next("backup_tables", DENIED, about=BACKUPS)
        first = world.back_up()
        second = world.back_up()

        assert not first.ok
        assert {outcome.error for outcome in first.unfinished} == {"copied, and not checked: access denied"}
        assert units_of(second.versions) == units_of(first.unfinished)
        assert second.ok
        assert max(world.warehouse.written.values()) == 1
        assert "start_copy" not in world.calls.names()

    def test_a_stuck_job_is_unfinished_and_not_recorded_as_failed(self, world: World) -> None:
        world.warehouse.never_end_into(backup_of(ORDERS))
        report = world.apply(partition_plan())

        assert report.unfinished == (UnitUnfinished(ORDERS.unit(), "still running after 6:00:00", "never backed up"),)
        assert not report.ok
        assert world.catalog.of_kind(EventKind.COPY_FAILED) == []
        (unfinished,) = world.catalog.records([SALES])[SALES].unfinished
        assert unfinished.source == ORDERS.unit()

    def test_a_dataset_that_could_not_be_looked_at_is_in_the_report(self, world: World) -> None:
        world.calls.fail_next("list_tables", DENIED, about=STOCK)
        report = world.back_up()

        assert report.datasets_failed == (DatasetFailure(STOCK, "access denied"),)
        assert not report.ok
        assert "acme-shop.stock: access denied" in str(report)

    @pytest.mark.parametrize("kind", ["copy_planned, dataset_scanned", "version_created", "table_settled"])
    def test_a_catalog_that_cannot_be_written_stops_the_run_and_nothing_is_lost(self, kind: str, world: World) -> None:
        world.calls.fail_next("append", DENIED, about=kind)
        plan = world.plan()
        with pytest.raises(Permanent, match="access denied"):
            world.apply(plan)

        world.back_up()

        assert world.plan().is_empty
        assert max(world.warehouse.written.values()) == 1
        assert len(world.catalog.of_kind(EventKind.VERSION_CREATED)) == 5


class TestCopiesOfAnEarlierRun:
    def begin(self, world: World) -> None:
        """A run that ended when all was copied and nothing recorded."""
        world.calls.fail_next("append", DENIED, about="version_created")
        plan = world.plan()
        with pytest.raises(Permanent):
            world.apply(plan)
        world.clock.sleep(3600)

    def test_they_are_recorded_with_the_time_of_their_job(self, world: World) -> None:
        self.begin(world)
        before = world.clock.now() - timedelta(minutes=30)
        report = world.back_up()

        assert len(report.versions) == 5
        assert all(made.version.captured_at < before for made in report.versions)

    def test_they_are_recorded_although_their_source_is_gone(self, world: World) -> None:
        self.begin(world)
        world.warehouse.delete_table(ORDERS)
        report = world.back_up()

        assert "acme-shop.sales.orders" in units_of(report.versions)

    def test_they_are_not_called_failed_where_their_dataset_is_refused(self, world: World) -> None:
        self.begin(world)
        world.calls.fail_next("ensure_dataset", DENIED, about=BACKUPS)
        refused = world.back_up()
        report = world.back_up()

        assert units_of(refused.unfinished) == units_of(report.versions)
        assert (refused.failures, max(world.warehouse.written.values())) == ((), 1)

    def test_what_was_modified_since_is_copied_as_well(self, world: World) -> None:
        self.begin(world)
        world.warehouse.write(FIRST, rows=50)
        world.clock.sleep(3600)
        report = world.back_up()

        assert units_of(report.versions).count("acme-shop.sales.events$20240101") == 2
        assert world.catalog.records([SALES])[SALES].latest[FIRST].rows == 50
        assert world.plan().is_empty

    def test_a_table_is_settled_only_if_the_copy_is_newer_than_what_the_scan_saw(self, world: World) -> None:
        self.begin(world)
        world.warehouse.write(FIRST, rows=50)
        world.clock.sleep(3600)
        world.apply(replace(world.plan(), backups=()))

        assert world.catalog.of_kind(EventKind.TABLE_SETTLED) == []


class TestTheRecordOfAScan:
    def test_datasets_and_absences_are_recorded(self, world: World) -> None:
        world.back_up()
        world.warehouse.write(ORDERS.unit(), rows=0)
        world.warehouse.delete_table(STOCK.table("items"))
        world.clock.sleep(3600)
        plan = world.plan()
        record_scan(plan, world.catalog, run_id="run-2", clock=world.clock.now)

        records = world.catalog.records([SALES, STOCK])
        assert records[SALES].absent == {ORDERS.unit(): Absence.EMPTIED}
        assert records[STOCK].absent == {STOCK.table("items").unit(): Absence.VANISHED}
        assert world.plan().is_empty

    def test_a_day_without_copies_is_one_append(self, world: World) -> None:
        world.back_up()
        report = world.back_up()

        assert report.ok
        assert world.steps() == ["append dataset_scanned"]

    def test_an_empty_plan_records_nothing(self, world: World) -> None:
        world.apply(a_plan())

        assert world.calls.log == []

    def test_tables_are_settled_when_all_their_partitions_are_protected(self, world: World) -> None:
        world.back_up()

        (settled,) = world.catalog.of_kind(EventKind.TABLE_SETTLED)
        assert settled.unit == EVENTS.unit()

    def test_a_table_with_a_partition_that_failed_is_not_settled(self, world: World) -> None:
        world.warehouse.stream(EVENTS.unit(UNPARTITIONED), rows=2)
        world.back_up()

        assert world.catalog.of_kind(EventKind.TABLE_SETTLED) == []


class TestTheReport:
    def test_everybody_is_told_of_every_unit_once(self, world: World) -> None:
        world.warehouse.fail_jobs_into(backup_of(ORDERS), DENIED)
        report = world.apply(partition_plan())

        told = [outcome for batch in world.told for outcome in batch]
        assert sorted(map(str, told)) == sorted(map(str, (*report.versions, *report.failures)))

    def test_time_is_split(self, world: World) -> None:
        def slow(outcomes: Sequence[UnitOutcome]) -> None:
            world.clock.sleep(7)

        report = apply_backup(
            a_plan(ORDERS.unit()),
            world.warehouse,
            world.catalog,
            run_id="run-1",
            clock=world.clock.now,
            on_recorded=slow,
            runtime=a_runtime(world.clock),
        )

        assert report.seconds.on_recorded == 7
        assert report.seconds.warehouse == pytest.approx(3, abs=2)
        assert report.seconds.total == report.seconds.warehouse + 7

    def test_units_of_one_dataset_with_one_error_are_one_line(self) -> None:
        report = BackupReport(
            run_id="run-1",
            failures=tuple(UnitFailure(unit, "access denied", "modified") for unit in (FIRST, ORDERS.unit())),
            not_captured=(NotCaptured(SECOND, "gone"),),
            datasets_failed=(DatasetFailure(STOCK, "backend error"),),
        )

        assert str(report).splitlines() == [
            "run run-1: 0 versions, 0 rows, 0 bytes in 0.0 s (warehouse 0.0, catalog 0.0, reporting 0.0);"
            " 2 failed, 0 unfinished, 1 not captured",
            "failed:",
            "  acme-shop.sales: events$20240101, orders: access denied",
            "not looked at:",
            "  acme-shop.stock: backend error",
            "not captured:",
            "  acme-shop.sales.events$20240102: gone",
        ]

    def test_progress_is_told_at_the_end(self, world: World) -> None:
        world.apply(partition_plan())

        assert world.progress[-1].done == 3


def test_the_same_with_real_threads(world: World) -> None:
    world.warehouse.job_seconds = 0
    plan = many_tables(world, 300)
    report = apply_backup(
        plan,
        world.warehouse,
        world.catalog,
        run_id="run-1",
        clock=world.clock.now,
        limits=CopyLimits(requests_per_second=5000),
        on_recorded=world.tell,
    )

    assert report.ok
    assert all(isinstance(outcome, VersionMade) for batch in world.told for outcome in batch)
    assert len(report.versions) == 300
