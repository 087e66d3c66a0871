"""The job ``catalog_check``: what it shows, and how it fails."""

from collections.abc import Callable

import dagster as dg
import pytest

from bbq_dagster.core.tables import TableRef
from bbq_dagster.defs.catalog import catalog_check_daily, catalog_snapshot_daily
from bbq_dagster.errors import Permanent
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import World

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


def test_a_snapshot_of_the_catalog_is_taken_once_a_day(shop: Orchestra, world: World) -> None:
    job = shop.definitions.get_job_def("catalog_snapshot")
    results = [job.execute_in_process(instance=shop.instance) for _ in range(2)]

    assert [result.success for result in results] == [True, True]
    assert [str(snapshot.day) for snapshot in world.catalog.snapshots()] == ["2026-03-10"]


@pytest.mark.parametrize("schedule", [catalog_check_daily, catalog_snapshot_daily])
def test_a_schedule_is_off_until_somebody_turns_it_on(schedule: dg.ScheduleDefinition) -> None:
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
