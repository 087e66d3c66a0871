"""The job ``verify`` and the asset checks: what they show, and how they fail."""

from dataclasses import replace

import dagster as dg
import pytest

from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.defs.discovery import remember_datasets
from bbq_dagster.defs.names import asset_key_of
from bbq_dagster.defs.verification import CHECK, verify_daily
from bbq_dagster.errors import Transient
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import SALES, World

ORDERS = TableRef.parse("acme-shop.sales.orders")
KEY = dg.AssetCheckKey(asset_key_of(SALES), CHECK)


@pytest.fixture
def shop(orchestra: Orchestra, world: World) -> Orchestra:
    """A version of orders and one of events, both of the present state of their sources."""
    world.put(str(ORDERS), "acme-shop.sales.events$20260301")
    world.pass_time(hours=1)
    assert orchestra.run().success
    world.pass_time(hours=1)
    orchestra.settings = replace(orchestra.settings, verify=replace(orchestra.settings.verify, share_per_day=1.0))
    remember_datasets(orchestra.settings, [SALES])
    return orchestra


def run(orchestra: Orchestra, **config: object) -> dg.ExecuteInProcessResult:
    return orchestra.definitions.get_job_def("verify").execute_in_process(
        run_config={"ops": {"verify_versions": {"config": config}}}, instance=orchestra.instance, raise_on_error=False
    )


def shown(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def evaluation(orchestra: Orchestra) -> dg.AssetCheckEvaluation:
    record = orchestra.instance.event_log_storage.get_latest_asset_check_execution_by_key([KEY])[KEY]
    assert record.event is not None
    found = record.event.dagster_event.event_specific_data
    assert isinstance(found, dg.AssetCheckEvaluation)
    return found


def copy_of_orders(world: World) -> Unit:
    (version,) = world.catalog.versions([ORDERS])
    return version.backup


def test_a_run_proves_what_the_day_allows_and_restores_one_for_trial(shop: Orchestra) -> None:
    metadata = shown(run(shop))

    assert (metadata["proven"], metadata["differs"], metadata["could_not"]) == (3, 0, 0)
    assert "restored in" in str(metadata["restore drills"])
    assert shown(run(shop))["to verify"] == 0


def test_a_dry_run_reads_nothing(shop: Orchestra, world: World) -> None:
    metadata = shown(run(shop, dry_run=True))

    assert metadata["to verify"] == 2
    assert not [name for name, _ in world.warehouse.calls.log if name == "fingerprints"]


def test_a_version_that_differs_fails_the_run_and_the_check_by_name(shop: Orchestra, world: World, failure_of) -> None:
    world.warehouse.change_values(copy_of_orders(world))
    result = run(shop, drills=False)
    check = evaluation(shop)

    assert not result.success
    assert "orders: other values" in failure_of(result)
    assert not check.passed
    assert "orders" in str(check.metadata["bad versions"].value)


def test_the_check_says_what_is_proven_and_since_when(shop: Orchestra, world: World) -> None:
    run(shop)
    check = evaluation(shop)

    assert check.passed
    assert (check.metadata["units"].value, check.metadata["never proven"].value) == (2, 0)
    assert check.metadata["oldest proof"].value == pytest.approx(world.now.timestamp(), abs=60)


def test_what_could_not_be_read_fails_the_run_and_is_tried_again(shop: Orchestra, world: World, failure_of) -> None:
    world.warehouse.calls.fail_next("fingerprints", Transient("backend error"), about=ORDERS)
    result = run(shop, drills=False)

    assert "its source could not be read: backend error" in failure_of(result)
    assert evaluation(shop).passed
    assert run(shop, tables=[str(ORDERS)]).success


def test_tables_can_be_named(shop: Orchestra, failure_of) -> None:
    assert shown(run(shop, tables=[str(ORDERS)]))["proven"] == 1
    assert "has no version" in failure_of(run(shop, tables=["acme-shop.sales.none"]))


def test_a_drill_leaves_no_scratch_table_behind(shop: Orchestra, world: World) -> None:
    run(shop)

    assert not [ref for ref in world.warehouse.list_datasets("acme-backup") if "drill" in ref.ref.dataset]


def test_a_backup_run_does_not_look_at_proofs(shop: Orchestra, world: World) -> None:
    before = len(world.catalog.calls.log)
    assert shop.run().success

    assert "verifications" not in [name for name, _ in world.catalog.calls.log[before:]]


def test_the_schedule_is_off_until_it_is_turned_on() -> None:
    assert verify_daily.default_status is dg.DefaultScheduleStatus.STOPPED
