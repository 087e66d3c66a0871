"""Runs of a dataset's asset: what they copy, what shows afterwards, what a repeated run does."""

import pytest

from bbq_dagster.core.tables import Unit
from bbq_dagster.defs.metadata import table_link
from bbq_dagster.defs.names import asset_key_of, partitions_of
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import SALES, World, denied

ORDERS, CUSTOMERS = "acme-shop.sales.orders", "acme-shop.sales.customers"
DAYS = [f"events$202603{day:02}" for day in range(1, 7)]


@pytest.fixture(autouse=True)
def sources(world: World) -> None:
    world.put(ORDERS, CUSTOMERS, *(f"acme-shop.sales.{day}" for day in DAYS))
    world.pass_time(hours=1)


def test_a_run_with_keys_copies_exactly_these(orchestra: Orchestra, world: World) -> None:
    result = orchestra.run(keys=["orders", "events$20260302"])

    assert result.success
    assert sorted(world.copies) == ["acme-shop.sales.events$20260302", ORDERS]
    assert orchestra.statuses() == {"orders": "MATERIALIZED", "events$20260302": "MATERIALIZED"}


def test_a_run_without_keys_copies_what_changed(orchestra: Orchestra, world: World) -> None:
    orchestra.run()
    world.pass_time(hours=1)
    world.put(ORDERS, rows=11)
    before = len(world.copies)

    orchestra.run()

    assert world.copies[before:] == [ORDERS]


def test_a_run_of_one_partition_copies_it_although_it_did_not_change(orchestra: Orchestra, world: World) -> None:
    orchestra.run()

    orchestra.run(partition="orders")

    assert world.copies.count(ORDERS) == 2


def test_a_run_of_a_range_copies_its_keys_in_the_order_in_which_they_were_added(
    orchestra: Orchestra, world: World
) -> None:
    orchestra.instance.add_dynamic_partitions(str(partitions_of(SALES).name), ["orders", *reversed(DAYS), "customers"])

    orchestra.run(asset_partition_range_start=DAYS[1], asset_partition_range_end=DAYS[0])

    assert sorted(world.copies) == [f"acme-shop.sales.{day}" for day in DAYS[:2]]
    assert orchestra.statuses() == dict.fromkeys(DAYS[:2], "MATERIALIZED")


def test_only_the_changed_of_the_keys_are_copied_for_a_sensor(orchestra: Orchestra, world: World) -> None:
    orchestra.run()
    before = len(world.copies)
    world.pass_time(hours=1)
    world.put(ORDERS)

    orchestra.run(keys=["orders", "customers"], only_changed=True)

    assert world.copies[before:] == [ORDERS]


def test_a_materialization_says_what_was_copied_why_and_where_to(orchestra: Orchestra, world: World) -> None:
    result = orchestra.run(keys=["orders"], only_changed=True)
    (materialization,) = orchestra.materializations()
    version = world.record.latest[Unit.parse(ORDERS)]
    shown = {name: value.value for name, value in materialization.metadata.items()}

    assert materialization.partition == "orders"
    assert materialization.description == "never backed up"
    assert shown == {
        "reason": "never backed up",
        "captured at": world.now.timestamp(),
        "source modified": world.now.timestamp() - 3600,
        "dagster/row_count": 10,
        "bytes": 100,
        "backup table": str(version.backup),
        "console": table_link(version.backup.table),
        "copied as a whole table": True,
        "job id": version.job_id,
        "version id": version.version_id,
    }
    assert version.run_id == result.run_id


def test_whoever_opens_the_asset_after_a_run_does_not_wait_for_its_states(orchestra: Orchestra) -> None:
    orchestra.run(keys=["orders", "customers"])

    (record,) = orchestra.instance.get_asset_records([asset_key_of(SALES)])
    kept = record.asset_entry.cached_status
    assert set(kept.deserialize_materialized_partition_subsets(partitions_of(SALES)).get_partition_keys()) == {
        "orders",
        "customers",
    }


def test_exactly_the_failed_unit_shows_as_failed(orchestra: Orchestra, world: World, failure_of) -> None:
    world.faults[Unit.parse(ORDERS)] = denied("table orders")

    result = orchestra.run(keys=["orders", "customers", *DAYS])

    assert not result.success
    assert orchestra.statuses() == {"orders": "FAILED", **dict.fromkeys(["customers", *DAYS], "MATERIALIZED")}
    assert failure_of(result).startswith("1 tables and partitions were not backed up; 7 were backed up.\n  " + ORDERS)
    assert "Access Denied: table orders" in failure_of(result)


def test_a_failed_unit_that_is_copied_later_shows_as_materialized(orchestra: Orchestra, world: World) -> None:
    world.faults[Unit.parse(ORDERS)] = denied("table orders")
    orchestra.run(keys=["orders"])
    world.faults.clear()

    orchestra.run(keys=["orders"], only_changed=True)

    assert orchestra.statuses() == {"orders": "MATERIALIZED"}


def test_a_unit_that_cannot_be_had_is_named_and_nothing_is_copied(
    orchestra: Orchestra, world: World, failure_of
) -> None:
    orchestra.instance.add_dynamic_partitions(str(partitions_of(SALES).name), ["orders"])

    result = orchestra.run(keys=["orders", "gone", "events$20991231"])

    assert not result.success
    assert world.copies == []
    assert "acme-shop.sales.gone: there is no such table" in failure_of(result)
    assert "acme-shop.sales.events$20991231: there is no such table or partition" in failure_of(result)
    assert orchestra.statuses() == {"orders": "FAILED"}


def test_a_dataset_that_cannot_be_listed_fails_the_run_by_name(orchestra: Orchestra, world: World, failure_of) -> None:
    world.deny_listing(SALES)

    result = orchestra.run()

    assert not result.success
    assert "1 datasets could not be looked at" in failure_of(result)
    assert "acme-shop.sales: Access Denied: dataset acme-shop.sales" in failure_of(result)


def test_what_another_run_copied_is_not_copied_again_and_its_missing_event_is_written(
    orchestra: Orchestra, world: World
) -> None:
    first = orchestra.run(keys=["orders", "customers"], only_changed=True)
    copies = list(world.copies)
    orchestra.instance.delete_run(first.run_id)
    world.pass_time(minutes=5)

    second = orchestra.run(keys=["orders"], only_changed=True)

    assert second.success
    assert world.copies == copies
    written = [materialization.partition for materialization in orchestra.materializations()]
    assert written == ["orders"], "the keys of the run, and no others"


def test_an_event_that_is_there_is_not_written_again(orchestra: Orchestra, world: World) -> None:
    orchestra.run(keys=["orders", "events"], only_changed=True)
    before = len(orchestra.materializations())

    orchestra.run(keys=["orders", "events"], only_changed=True)

    assert len(orchestra.materializations()) == before == 1 + len(DAYS)


def test_a_run_that_lost_the_catalog_is_finished_by_the_next_without_a_second_copy(
    orchestra: Orchestra, world: World, failure_of
) -> None:
    world.lose_next_versions()
    first = orchestra.run(keys=["orders", "customers"], only_changed=True)
    copies = list(world.copies)
    seen_after_the_first = orchestra.statuses()
    second = orchestra.run(keys=["orders", "customers"], only_changed=True)

    assert "the catalog is not there" in failure_of(first)
    assert seen_after_the_first == {"orders": "FAILED", "customers": "FAILED"}
    assert second.success
    assert world.copies == copies
    assert orchestra.statuses() == {"orders": "MATERIALIZED", "customers": "MATERIALIZED"}


def test_a_retry_of_a_run_copies_nothing_twice(orchestra: Orchestra, world: World) -> None:
    """Neither what was asked for whether or not it changed."""
    orchestra.run()
    world.faults[Unit.parse(CUSTOMERS)] = denied("table customers")
    before = len(world.copies)
    world.pass_time(hours=1)
    first = orchestra.run(keys=["orders", "customers"])
    world.faults.clear()
    retry = {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}

    second = orchestra.run(keys=["orders", "customers"], tags=retry)

    assert second.success
    assert sorted(world.copies[before:]) == [CUSTOMERS, CUSTOMERS, ORDERS]
