"""The job ``catalog_check``: what it shows, and how it fails."""

from collections.abc import Callable

import dagster as dg
import pytest

from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.defs.catalog import CHECK, build_record_checks, catalog_check_daily, catalog_snapshot_daily
from bbq_dagster.defs.discovery import remember_datasets
from bbq_dagster.defs.names import asset_key_of
from bbq_dagster.errors import Permanent
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import SALES, World, resource_of

STOCK = DatasetRef("acme-shop", "stock")
ORDERS = TableRef.parse("acme-shop.sales.orders")
FailureOf = Callable[[dg.ExecuteInProcessResult], str]


@pytest.fixture
def shop(orchestra: Orchestra, world: World) -> Orchestra:
    world.put(str(ORDERS), "acme-shop.sales.events$20260301")
    assert orchestra.run().success
    return orchestra


def check(orchestra: Orchestra) -> dg.ExecuteInProcessResult:
    job = orchestra.definitions.get_job_def("catalog_check")
    return job.execute_in_process(instance=orchestra.instance, raise_on_error=False)


def backup_of(world: World) -> TableRef:
    return world.catalog.versions([ORDERS])[0].backup.table


def test_where_all_agrees_it_says_how_much_was_compared(shop: Orchestra) -> None:
    result = check(shop)
    (event,) = [event for event in result.all_events if event.is_successful_output]
    shown = {name: value.value for name, value in event.step_output_data.metadata.items()}

    assert (shown["versions on record"], shown["backup tables found"], shown["findings"]) == (2, 2, 0)


def test_what_disagrees_fails_the_run_by_name(shop: Orchestra, world: World, failure_of: FailureOf) -> None:
    world.warehouse.delete_table(backup_of(world))
    result = check(shop)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    shown = event.step_failure_data.user_failure_data.metadata

    assert "record without copy" in failure_of(result)
    assert shown["findings per kind"].value == {"record without copy": 1}


def test_what_could_not_be_looked_at_fails_the_run(shop: Orchestra, world: World, failure_of: FailureOf) -> None:
    dataset = backup_of(world).in_dataset
    world.warehouse.calls.fail_next("backup_tables", Permanent("Access Denied"), about=dataset)

    assert "Access Denied" in failure_of(check(shop))


def test_a_lost_catalog_is_that_and_nothing_else(shop: Orchestra, world: World, failure_of: FailureOf) -> None:
    world.catalog.lose()

    assert "the catalog is gone" in failure_of(check(shop))


def outcome_of(evaluation: dg.AssetCheckEvaluation) -> tuple[bool, object, str]:
    """Whether it passed, how many findings it counts, and what it lists."""
    shown = {name: value.value for name, value in evaluation.metadata.items()}
    return evaluation.passed, shown["findings"], f"{shown['list']}{shown['not looked at']}"


def reported(orchestra: Orchestra, dataset: DatasetRef = SALES) -> dg.AssetCheckEvaluation:
    """What the check of the dataset said last."""
    key = dg.AssetCheckKey(asset_key_of(dataset), CHECK)
    record = orchestra.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    evaluation = record.event.dagster_event.event_specific_data
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    return evaluation


def forget_record(world: World) -> None:
    """The versions of orders are on record no more."""
    kept = [event for event in world.catalog.events if event.unit.table != ORDERS]
    world.catalog.lose()
    world.catalog.prepare_anew()
    world.catalog.append(kept)


DRIFTS: dict[str, tuple[Callable[[World], object], tuple[bool, object, str]]] = {
    "all agrees": (lambda world: None, (True, 0, "")),
    "a record without a copy": (
        lambda world: world.warehouse.delete_table(backup_of(world)),
        (False, 1, "record without copy"),
    ),
    "a copy without a record": (forget_record, (False, 1, "copy without record")),
    "a copy with other rows": (
        lambda world: world.warehouse.write(backup_of(world).unit(), rows=99),
        (False, 1, "has 99 rows, the record says 10"),
    ),
    "a copy that expires": (lambda world: world.warehouse.let_expire(backup_of(world)), (False, 1, "expires")),
    "a lost catalog": (lambda world: world.catalog.lose(), (False, 1, "the catalog is gone")),
    "a dataset that cannot be looked at": (
        lambda world: world.warehouse.calls.fail_next("backup_tables", Permanent("Access Denied")),
        (False, 0, "Access Denied"),
    ),
}


@pytest.mark.parametrize(("damage", "expected"), DRIFTS.values(), ids=DRIFTS)
def test_the_check_of_a_dataset_says_what_the_job_found(
    shop: Orchestra, world: World, damage: Callable[[World], object], expected: tuple[bool, int, str]
) -> None:
    remember_datasets(shop.settings, [SALES])
    damage(world)
    check(shop)
    passed, findings, listed = outcome_of(reported(shop))

    assert (passed, findings) == expected[:2]
    assert expected[2] in listed


def test_a_check_that_is_run_alone_looks_once_at_all_copies(shop: Orchestra, world: World) -> None:
    world.warehouse.delete_table(backup_of(world))
    before = len(world.warehouse.calls.log)
    checks = build_record_checks((SALES, STOCK))
    alone = dg.Definitions(
        asset_checks=[checks],
        jobs=[dg.define_asset_job("alone", selection=dg.AssetSelection.checks(checks))],
        resources={"bbq": resource_of(world, shop.settings)},
    )
    result = alone.resolve_job_def("alone").execute_in_process(instance=shop.instance)
    found = {evaluation.asset_key: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
    looks = [name for name, _ in world.warehouse.calls.log[before:]]

    assert found == {asset_key_of(SALES): False, asset_key_of(STOCK): True}
    assert (looks.count("list_datasets"), looks.count("backup_tables")) == (1, 1)


def test_a_run_that_makes_backups_compares_nothing(orchestra: Orchestra, world: World) -> None:
    world.put(str(ORDERS))

    assert orchestra.run().success
    assert "retention_records" not in [name for name, _ in world.catalog.calls.log]


def test_a_snapshot_of_the_catalog_is_taken_once_a_day(shop: Orchestra, world: World) -> None:
    job = shop.definitions.get_job_def("catalog_snapshot")
    results = [job.execute_in_process(instance=shop.instance) for _ in range(2)]

    assert [result.success for result in results] == [True, True]
    assert [str(snapshot.day) for snapshot in world.catalog.snapshots()] == ["2026-03-10"]


@pytest.mark.parametrize("schedule", [catalog_check_daily, catalog_snapshot_daily])
def test_a_schedule_is_off_until_somebody_turns_it_on(schedule: dg.ScheduleDefinition) -> None:
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
