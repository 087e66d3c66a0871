from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import pytest

from bbq_dagster.apply.backup import apply_backup
from bbq_dagster.apply.recording import scan_events
from bbq_dagster.apply.scan import ProjectScan, ScanProgress, Scope, scan_project, scan_projects
from bbq_dagster.core.catalog import EventKind
from bbq_dagster.core.changes import DatasetChanges
from bbq_dagster.core.plan import DatasetFailure, ProjectFailure, Quota, plan_backup
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.errors import Permanent, Refused, Transient
from bbq_dagster_tests.builders import EVENTS, ORDERS, SALES
from bbq_dagster_tests.fakes import Calls, FakeCatalog, FakeClock, FakeWarehouse, a_runtime

STOCK = DatasetRef("acme-shop", "stock")
FINANCE = DatasetRef("acme-shop", "finance")
DENIED = Permanent("access denied", reason="accessDenied")


class World:
    """Two datasets in EU, one in US; everything is an hour old."""

    def __init__(self) -> None:
        self.clock, self.calls = FakeClock(), Calls()
        self.warehouse, self.catalog = FakeWarehouse(self.clock, self.calls), FakeCatalog(self.calls)
        for dataset, location in ((SALES, "EU"), (STOCK, "EU"), (FINANCE, "US")):
            self.warehouse.create_dataset(dataset, location=location)
            self.warehouse.create_table(dataset.table("orders"), rows=3)
            self.warehouse.create_partitioned_table(dataset.table("events"), {"20240131": 1, "20240201": 2})
        self.clock.sleep(3600)

    def scan(
        self,
        *,
        select: Scope | None = None,
        only: Collection[DatasetRef] | None = None,
        tables: Collection[TableRef] | None = None,
    ) -> ProjectScan:
        self.calls.log.clear()
        return scan_project(
            self.warehouse,
            self.catalog,
            "acme-shop",
            now=self.clock.now(),
            backup_project="acme-backup",
            select=select,
            only=only,
            tables=tables,
        )

    def back_up(self) -> None:
        scan = self.scan()
        now = self.clock.now()
        plan = plan_backup(scan.datasets, into="acme-backup", now=now, quota=Quota(100, 100))
        report = apply_backup(
            plan,
            self.warehouse,
            self.catalog,
            run_id="run-1",
            clock=self.clock.now,
            runtime=a_runtime(self.clock),
        )
        assert report.ok, str(report)
        self.clock.sleep(3600)


@pytest.fixture
def world() -> World:
    return World()


def datasets_of(scan: ProjectScan) -> list[DatasetRef]:
    return [scanned.changes.inventory.dataset.ref for scanned in scan.datasets]


def test_every_dataset_is_looked_at(world: World) -> None:
    scan = world.scan()

    assert datasets_of(scan) == [FINANCE, SALES, STOCK]
    assert all(len(scanned.changes.to_copy) == 3 for scanned in scan.datasets)


def test_a_day_without_changes_costs_a_query_per_dataset_and_location(world: World) -> None:
    world.back_up()
    scan = world.scan()

    assert not any(scanned.changes.to_copy for scanned in scan.datasets)
    assert sorted(world.calls.names()) == [
        "list_datasets",
        "list_tables",
        "list_tables",
        "list_tables",
        "scan_records",
        "table_states",
        "table_states",
    ]


def test_partitions_are_listed_of_tables_that_moved(world: World) -> None:
    world.back_up()
    world.warehouse.write(EVENTS.unit("20240131"), rows=9)
    scan = world.scan()

    assert ("list_partitions", str(EVENTS)) in world.calls.log
    assert world.calls.names().count("list_partitions") == 1
    assert [change.unit.key for scanned in scan.datasets for change in scanned.changes.to_copy] == ["events$20240131"]


def test_partitions_are_listed_where_they_are_asked_for(world: World) -> None:
    world.back_up()
    scan = world.scan(only=[SALES], tables=[EVENTS])

    (sales,) = [scanned.changes for scanned in scan.datasets]
    assert [name for name in world.calls.names() if name == "list_partitions"] == ["list_partitions"]
    assert {change.unit.key for change in sales.changes} == {"events$20240131", "events$20240201"}
    assert sales.unlisted == ()


def test_a_look_at_some_tables_does_not_say_that_others_are_gone(world: World) -> None:
    world.back_up()
    world.warehouse.delete_table(EVENTS)
    scan = world.scan(only=[SALES], tables=[EVENTS])

    (sales,) = [scanned.changes for scanned in scan.datasets]
    assert not sales.inventory.is_whole
    assert {gone.unit.table for gone in sales.vanished} == {EVENTS}
    assert sales.changes == ()


def test_a_look_at_some_tables_is_on_record_for_these_alone(world: World) -> None:
    world.back_up()
    world.warehouse.delete_table(EVENTS)
    scan, now = world.scan(only=[SALES], tables=[EVENTS]), world.clock.now()
    plan = plan_backup(scan.datasets, into="acme-backup", now=now, quota=Quota(100, 100))

    events = list(scan_events(plan, at=now, run_id="run-2"))

    assert {(event.event, event.unit.table) for event in events} == {(EventKind.VANISHED, EVENTS)}


def test_datasets_that_are_left_out_have_a_reason_and_cost_nothing(world: World) -> None:
    scope = Scope(excluded_dataset=lambda ref: "excluded by 'fin*'" if ref == FINANCE else None)
    scan = world.scan(select=scope)

    assert scan.skipped == ((FINANCE, "excluded by 'fin*'"),)
    assert datasets_of(scan) == [SALES, STOCK]
    assert ("table_states", "US") not in world.calls.log


def test_tables_that_are_left_out_have_a_reason(world: World) -> None:
    scope = Scope(excluded_table=lambda ref: "excluded by 'orders'" if ref == ORDERS else None)
    scan = world.scan(select=scope, only=[SALES])

    assert [(left.table, left.reason) for left in scan.datasets[0].changes.left_out] == [
        (ORDERS, "excluded by 'orders'")
    ]


def test_only_the_datasets_asked_for_are_looked_at(world: World) -> None:
    scan = world.scan(only=[STOCK])

    assert (datasets_of(scan), scan.skipped, scan.failures) == ([STOCK], (), ())


def test_a_dataset_that_was_asked_for_and_is_not_there_is_a_failure(world: World) -> None:
    gone = DatasetRef("acme-shop", "gone")
    scan = world.scan(only=[STOCK, gone])

    assert datasets_of(scan) == [STOCK]
    assert scan.failures == (DatasetFailure(gone, "there is no such dataset, and nothing of it is on record"),)


@pytest.mark.parametrize("call", ["list_tables", "list_partitions"])
def test_a_dataset_that_fails_is_named_and_stops_no_other_one(call: str, world: World) -> None:
    world.calls.fail_next(call, DENIED, about=SALES if call == "list_tables" else EVENTS)
    scan = world.scan()

    assert datasets_of(scan) == [FINANCE, STOCK]
    assert scan.failures == (DatasetFailure(SALES, "access denied"),)


def test_a_location_that_fails_takes_its_datasets_along(world: World) -> None:
    world.calls.fail_next("table_states", Transient("backend error"), about="EU")
    scan = world.scan()

    assert datasets_of(scan) == [FINANCE]
    assert [failure.dataset for failure in scan.failures] == [SALES, STOCK]


@pytest.mark.parametrize("call", ["list_datasets", "scan_records"])
def test_what_concerns_the_whole_project_is_raised(call: str, world: World) -> None:
    world.calls.fail_next(call, DENIED)

    with pytest.raises(Permanent, match="access denied"):
        world.scan()


def test_an_error_of_ours_is_raised(world: World) -> None:
    world.calls.fail_next("list_tables", ZeroDivisionError())  # type: ignore[arg-type]

    with pytest.raises(ZeroDivisionError):
        world.scan()


def test_the_backup_project_is_never_looked_at(world: World) -> None:
    with pytest.raises(Refused, match="acme-shop is the backup project"):
        scan_project(world.warehouse, world.catalog, "acme-shop", now=world.clock.now(), backup_project="acme-shop")

    assert world.calls.log == []


def test_a_project_that_shows_no_dataset_may_only_be_hidden_from_us(world: World) -> None:
    with pytest.raises(Permanent, match=r"bigquery\.datasets\.get on project acme-lab"):
        scan_project(world.warehouse, world.catalog, "acme-lab", now=world.clock.now(), backup_project="acme-backup")

    assert world.calls.names() == ["list_datasets", "scan_records"]


def test_the_wait_for_streamed_rows_is_that_of_the_scope(world: World) -> None:
    world.warehouse.write(EVENTS.unit("__UNPARTITIONED__"), rows=2)
    world.clock.sleep(600)

    patient = world.scan(only=[SALES], select=Scope(streaming_wait=lambda _: timedelta(minutes=90)))
    hasty = world.scan(only=[SALES], select=Scope(streaming_wait=lambda _: timedelta(minutes=5)))

    assert "events$__UNPARTITIONED__" not in {change.unit.key for change in patient.datasets[0].changes.to_copy}
    assert "events$__UNPARTITIONED__" in {change.unit.key for change in hasty.datasets[0].changes.to_copy}


def changes_of(scan: ProjectScan, dataset: DatasetRef) -> DatasetChanges:
    (changes,) = [scanned.changes for scanned in scan.datasets if scanned.changes.inventory.dataset.ref == dataset]
    return changes


def test_what_moved_is_read_from_the_record_in_one_query(world: World) -> None:
    world.back_up()
    for dataset in (SALES, STOCK):
        world.warehouse.write(dataset.table("events").unit("20240131"), rows=9)
    world.scan()

    assert [about for name, about in world.calls.log if name == "table_records"] == ["2"]


def test_a_settled_table_that_is_dropped_vanishes_unit_by_unit(world: World) -> None:
    world.back_up()
    world.warehouse.delete_table(EVENTS)
    scan = world.scan()

    assert {gone.unit.key for gone in changes_of(scan, SALES).vanished} == {"events$20240131", "events$20240201"}


def test_a_settled_table_that_is_excluded_now_is_left_as_it_is(world: World) -> None:
    world.back_up()
    scan = world.scan(select=Scope(excluded_table=lambda ref: "excluded by 'e*'" if ref == EVENTS else None))

    assert changes_of(scan, SALES).vanished == ()
    assert "table_records" not in world.calls.names()


def test_a_dataset_that_is_gone_has_vanished_with_all_its_units(world: World) -> None:
    world.back_up()
    world.warehouse.drop_dataset(SALES)
    scan = world.scan()

    sales = changes_of(scan, SALES)
    assert sales.is_gone
    assert {(gone.unit.key, gone.reason) for gone in sales.vanished} == {
        (key, "its dataset is gone") for key in ("orders", "events$20240131", "events$20240201")
    }
    assert scan.failures == ()


def test_a_dataset_that_is_gone_vanishes_once_and_is_asked_for_every_time(world: World) -> None:
    """Retention trusts a look for some days only: that it is still gone has to be seen."""
    world.back_up()
    world.warehouse.drop_dataset(SALES)
    world.back_up()
    scan = world.scan()

    assert changes_of(scan, SALES).vanished == ()
    assert world.calls.names().count("find_dataset") == 1
    assert "table_records" not in world.calls.names()


def test_a_dataset_that_we_may_not_see_is_not_called_gone(world: World) -> None:
    world.back_up()
    world.warehouse.drop_dataset(SALES)
    world.calls.fail_next("find_dataset", DENIED, about=SALES)
    scan = world.scan()

    assert datasets_of(scan) == [FINANCE, STOCK]
    assert scan.failures == (DatasetFailure(SALES, "it is gone, or we may not see it: access denied"),)


def test_a_dataset_that_comes_back_is_copied_again(world: World) -> None:
    world.back_up()
    world.warehouse.drop_dataset(SALES)
    world.back_up()
    world.warehouse.create_dataset(SALES, location="EU")
    world.warehouse.create_table(ORDERS, rows=3)
    scan = world.scan()

    assert [change.unit for change in changes_of(scan, SALES).to_copy] == [ORDERS.unit()]


def test_an_excluded_dataset_that_is_gone_keeps_its_versions_as_they_are(world: World) -> None:
    world.back_up()
    world.warehouse.drop_dataset(FINANCE)
    scan = world.scan(select=Scope(excluded_dataset=lambda ref: "excluded" if ref == FINANCE else None))

    assert (datasets_of(scan), scan.failures) == ([SALES, STOCK], ())
    assert "find_dataset" not in world.calls.names()


def test_progress_names_every_dataset_and_counts_tables(world: World) -> None:
    told: list[ScanProgress] = []
    scan_project(
        world.warehouse,
        world.catalog,
        "acme-shop",
        now=world.clock.now(),
        backup_project="acme-backup",
        on_progress=told.append,
    )

    assert [str(progress) for progress in told] == [
        "acme-shop: listing tables, 1 of 3 datasets, 2 tables",
        "acme-shop: listing tables, 2 of 3 datasets, 4 tables",
        "acme-shop: listing tables, 3 of 3 datasets, 6 tables",
        "acme-shop: detecting changes, 1 of 3 datasets, 2 tables",
        "acme-shop: detecting changes, 2 of 3 datasets, 4 tables",
        "acme-shop: detecting changes, 3 of 3 datasets, 6 tables",
    ]


def test_a_project_that_fails_is_named_and_stops_no_other_one() -> None:
    def scan(project: str, only: Collection[DatasetRef] | None) -> ProjectScan:
        if project == "acme-closed":
            raise DENIED
        return ProjectScan(failures=(DatasetFailure(SALES, "quota"),))

    scans = scan_projects({"acme-closed": None, "acme-shop": None}, scan)

    assert scans.projects_failed == (ProjectFailure("acme-closed", "access denied"),)
    assert scans.failures == (DatasetFailure(SALES, "quota"),)


def test_where_every_project_fails_the_error_is_raised() -> None:
    def scan(project: str, only: Collection[DatasetRef] | None) -> ProjectScan:
        raise DENIED

    with pytest.raises(Permanent, match="access denied"):
        scan_projects({"acme-closed": None, "acme-shop": None}, scan)
