"""Ticks of a project's sensor, and the ticks after them."""

import json

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.test_utils import create_run_for_test

from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.defs.discovery import known_datasets
from bbq_dagster.defs.names import asset_key_of, op_of, partitions_of
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import SALES, World, denied

ORDERS, CUSTOMERS = "acme-shop.sales.orders", "acme-shop.sales.customers"
CRM = DatasetRef("acme-shop", "crm")


@pytest.fixture(autouse=True)
def sources(world: World) -> None:
    world.put(ORDERS, CUSTOMERS)
    world.pass_time(hours=1)


def keys_of(request: dg.RunRequest) -> list[str]:
    (config,) = request.run_config["ops"].values()
    return config["config"]["keys"]


def all_keys(tick: SensorExecutionData) -> list[str]:
    return [key for request in tick.run_requests or () for key in keys_of(request)]


def test_the_first_tick_asks_for_what_was_never_backed_up_and_the_next_says_when(orchestra: Orchestra) -> None:
    first = orchestra.tick()
    second = orchestra.tick(first.cursor)

    assert [(request.asset_selection, keys_of(request)) for request in first.run_requests] == [
        ([asset_key_of(SALES)], ["customers", "orders"])
    ]
    assert second.run_requests == []
    assert second.skip_message == "next daily run of acme-shop at 2026-03-11 02:00 UTC"
    assert second.cursor == first.cursor


def test_the_keys_are_partitions_before_a_run_is_asked_for(orchestra: Orchestra) -> None:
    orchestra.tick()

    assert orchestra.instance.get_dynamic_partitions(str(partitions_of(SALES).name)) == ["customers", "orders"]


def test_a_tick_that_is_repeated_gives_the_same_run_keys(orchestra: Orchestra) -> None:
    first, again = orchestra.tick(), orchestra.tick()

    assert [request.run_key for request in first.run_requests] == [request.run_key for request in again.run_requests]


def test_another_state_and_another_day_give_other_run_keys(orchestra: Orchestra, world: World) -> None:
    keys = [orchestra.tick().run_requests[0].run_key]
    world.put(ORDERS, rows=11)
    keys.append(orchestra.tick().run_requests[0].run_key)
    world.pass_time(days=1)
    keys.append(orchestra.tick().run_requests[0].run_key)

    assert len(set(keys)) == 3


def test_what_a_sensor_asked_for_is_not_asked_for_the_next_day(orchestra: Orchestra, world: World) -> None:
    first = orchestra.tick()
    orchestra.launch(first.run_requests[0])
    world.pass_time(days=1)
    second = orchestra.tick(first.cursor)

    assert second.run_requests == []
    assert second.skip_message.startswith("nothing to start for 2026-03-11: plan of 2026-03-11 12:00 UTC: 0 units")
    assert "2 unchanged" in second.skip_message
    assert second.skip_message.endswith("; next daily run of acme-shop at 2026-03-12 02:00 UTC")


def test_a_quiet_day_is_on_record(orchestra: Orchestra, world: World) -> None:
    first = orchestra.tick()
    orchestra.launch(first.run_requests[0])
    world.pass_time(days=1)
    orchestra.tick(first.cursor)

    scans = [event for event in world.events if event.event == "dataset_scanned"]
    assert (scans[-1].recorded_at, scans[-1].run_id) == (world.now, "daily_acme_shop 2026-03-11")


def test_a_unit_that_failed_is_asked_for_again_the_next_day(orchestra: Orchestra, world: World) -> None:
    world.faults[Unit.parse(ORDERS)] = denied("table orders")
    first = orchestra.tick()
    orchestra.launch(first.run_requests[0])
    world.pass_time(days=1)

    assert all_keys(orchestra.tick(first.cursor)) == ["orders"]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
@pytest.mark.parametrize(
    ("config", "tags", "expected"),
    [
        pytest.param({"keys": ["orders"]}, {}, ["customers"], id="keys in the config"),
        pytest.param({}, {"dagster/partition": "orders"}, ["customers"], id="one partition"),
        pytest.param(
            {},
            {"dagster/asset_partition_range_start": "customers", "dagster/asset_partition_range_end": "orders"},
            [],
            id="a range of partitions",
        ),
        pytest.param({}, {}, [], id="all that changed"),
    ],
)
def test_what_a_run_has_in_hand_is_not_asked_for(
    orchestra: Orchestra, status: dg.DagsterRunStatus, config: dict, tags: dict, expected: list[str]
) -> None:
    orchestra.instance.add_dynamic_partitions(str(partitions_of(SALES).name), ["customers", "orders"])
    create_run_for_test(
        orchestra.instance,
        job_name="__ASSET_JOB",
        status=status,
        tags=tags,
        run_config={"ops": {op_of(SALES): {"config": config}}},
        asset_selection=frozenset([asset_key_of(SALES)]),
    )

    assert all_keys(orchestra.tick()) == expected


def test_a_finished_run_has_nothing_in_hand(orchestra: Orchestra) -> None:
    create_run_for_test(
        orchestra.instance,
        job_name="__ASSET_JOB",
        status=dg.DagsterRunStatus.FAILURE,
        run_config={"ops": {op_of(SALES): {"config": {"keys": ["orders"]}}}},
        asset_selection=frozenset([asset_key_of(SALES)]),
    )

    assert all_keys(orchestra.tick()) == ["customers", "orders"]


def test_a_dataset_that_cannot_be_listed_gets_a_run_that_looks_again(orchestra: Orchestra, world: World) -> None:
    world.put("acme-shop.crm.leads")
    orchestra.datasets = (SALES, CRM)
    world.deny_listing(SALES)
    tick = orchestra.tick()

    assert [(request.run_key, keys_of(request)) for request in tick.run_requests][-1] == (
        "acme-shop.sales@2026-03-10:look-again",
        [],
    )
    assert all_keys(tick) == ["leads"]


def test_a_new_dataset_is_remembered_and_backed_up_at_once_without_its_asset(
    orchestra: Orchestra, world: World
) -> None:
    orchestra.datasets = ()
    daily = orchestra.tick()
    first = orchestra.tick(sensor="new_datasets")
    result = orchestra.launch(first.run_requests[0])
    second = orchestra.tick(first.cursor, sensor="new_datasets")

    assert daily.run_requests == []
    assert "1 new datasets are left to new_datasets" in daily.skip_message
    assert known_datasets(orchestra.settings) == (SALES,)
    assert [request.run_config for request in first.run_requests] == [
        {"ops": {"backup_tables": {"config": {"tables": [CUSTOMERS, ORDERS], "only_changed": True}}}}
    ]
    assert result.success
    assert world.copies == [CUSTOMERS, ORDERS]
    assert orchestra.statuses() == {"customers": "MATERIALIZED", "orders": "MATERIALIZED"}
    assert second.skip_message == "nothing to start; reload this code location for the assets of acme-shop.sales"


def test_a_new_dataset_is_backed_up_daily_until_it_has_an_asset(orchestra: Orchestra, world: World) -> None:
    orchestra.datasets = ()
    orchestra.tick()
    first = orchestra.tick(sensor="new_datasets")
    world.pass_time(days=1)
    second = orchestra.tick(first.cursor, sensor="new_datasets")
    orchestra.datasets = known_datasets(orchestra.settings)
    third = orchestra.tick(second.cursor, sensor="new_datasets")

    assert len(second.run_requests) == 1
    assert third.run_requests == []
    assert third.skip_message == "every dataset that was found has an asset"
    assert json.loads(third.cursor)["days"] == {}


def test_a_new_dataset_that_cannot_be_listed_fails_by_name(orchestra: Orchestra, world: World, failure_of) -> None:
    orchestra.datasets = ()
    orchestra.tick()
    world.deny_listing(SALES)
    first = orchestra.tick(sensor="new_datasets")
    result = orchestra.launch(first.run_requests[0])

    assert "Access Denied: dataset acme-shop.sales" in failure_of(result)


def test_a_cursor_that_cannot_be_read_has_the_sensor_look_at_once(orchestra: Orchestra) -> None:
    assert all_keys(orchestra.tick("no cursor")) == ["customers", "orders"]


def test_the_cursor_is_small_and_versioned(orchestra: Orchestra) -> None:
    assert json.loads(orchestra.tick().cursor) == {"version": 1, "days": {"acme-shop": "2026-03-10"}}


def test_a_folder_that_cannot_be_written_does_not_stop_backups(orchestra: Orchestra) -> None:
    (orchestra.settings.state_dir / "datasets").write_text("a file is in the way")

    assert all_keys(orchestra.tick()) == ["customers", "orders"]


def test_a_tick_before_the_time_asks_the_warehouse_nothing(orchestra: Orchestra, world: World) -> None:
    first = orchestra.tick()
    world.warehouse.calls.log.clear()
    world.pass_time(hours=13, minutes=59)
    orchestra.tick(first.cursor)

    assert world.warehouse.calls.log == []
