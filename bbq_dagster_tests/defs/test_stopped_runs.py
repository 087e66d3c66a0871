"""Runs that did not come to their end, in whatever way: what they left out is backed up by one that comes after."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from bbq_dagster.core.tables import Unit
from bbq_dagster.defs.names import asset_key_of, op_of
from bbq_dagster.errors import Permanent
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import SALES, World, denied, resource_of

EVENTS = "acme-shop.sales.events"
DAYS = [f"{EVENTS}$2026030{day}" for day in range(1, 6)]


def test_a_table_of_which_a_run_made_a_part_is_completed_when_the_run_is_executed_again(
    orchestra: Orchestra, world: World
) -> None:
    world.put(*DAYS)
    world.pass_time(hours=1)
    orchestra.run()
    world.put(*DAYS[:2], rows=20)
    world.pass_time(hours=1)
    world.faults[Unit.parse(DAYS[1])] = denied("not now")
    first = orchestra.run(keys=["events"], only_changed=True)
    world.faults.clear()
    again = {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}

    second = orchestra.run(keys=["events"], only_changed=True, tags=again)

    assert not first.success
    assert second.success
    assert {unit.key: version.rows for unit, version in world.record.latest.items()} == {
        "events$20260301": 20,
        "events$20260302": 20,
        "events$20260303": 10,
        "events$20260304": 10,
        "events$20260305": 10,
    }
    assert world.copies[-3:] == [*DAYS[:2], DAYS[1]]


@pytest.mark.parametrize(
    ("status", "hours", "expected"),
    [
        pytest.param(dg.DagsterRunStatus.STARTED, 11, [], id="started this morning"),
        pytest.param(dg.DagsterRunStatus.STARTED, 13, ["orders"], id="started yesterday: its worker is gone"),
        pytest.param(dg.DagsterRunStatus.CANCELING, 13, ["orders"], id="canceled yesterday: its worker is gone"),
    ],
)
def test_a_run_whose_worker_is_gone_does_not_keep_its_tables_from_others(
    orchestra: Orchestra, world: World, status: dg.DagsterRunStatus, hours: int, expected: list[str]
) -> None:
    world.put("acme-shop.sales.orders")
    create_run_for_test(
        orchestra.instance,
        job_name="__ASSET_JOB",
        status=status,
        run_config={"ops": {op_of(SALES): {"config": {"keys": ["orders"]}}}},
        asset_selection=frozenset([asset_key_of(SALES)]),
    )
    world.clock.sleep((datetime.now(UTC) + timedelta(hours=hours) - world.now).total_seconds())

    tick = orchestra.tick()

    configs = [config for request in tick.run_requests or () for config in request.run_config["ops"].values()]
    assert [key for config in configs for key in config["config"]["keys"]] == expected


def test_a_unit_that_two_stopped_runs_began_to_copy_is_finished(orchestra: Orchestra, world: World) -> None:
    world.put(*DAYS)
    world.pass_time(hours=1)
    stack = resource_of(world, orchestra.settings).stack()
    chosen = [Unit.parse(name) for name in DAYS[:2]]
    plans = [
        stack.plan_changed(now=world.now),
        stack.plan_units(chosen, now=world.now, by="ada", only_changed=False, salt="ada"),
    ]
    for number, plan in enumerate(plans):
        world.lose_next_versions()
        with pytest.raises(Permanent):
            stack.apply(plan, run_id=str(number))

    run = orchestra.run()

    assert run.success
    assert orchestra.statuses() == {Unit.parse(name).key: "MATERIALIZED" for name in DAYS}
