"""The holds of the anomaly gate go on record with the plan: what is flagged is held before a copy is started."""

from __future__ import annotations

from bbq_dagster.apply.backup import record_scan
from bbq_dagster.core.anomalies import GATE
from bbq_dagster.core.catalog import EventKind
from bbq_dagster_tests.apply.test_backup import World
from bbq_dagster_tests.builders import ORDERS


def a_loss() -> World:
    """``orders`` had 2,000 rows in its version, and has 10."""
    world = World()
    world.warehouse.write(ORDERS.unit(), rows=2000)
    world.clock.sleep(3600)
    assert world.back_up().ok
    world.warehouse.write(ORDERS.unit(), rows=10)
    world.clock.sleep(3600)
    return world


def test_what_is_flagged_is_held_before_it_is_copied() -> None:
    world = a_loss()

    assert world.back_up().ok

    appended = [about for name, about in world.calls.log if name == "append"]
    assert appended[0] == "copy_planned, dataset_scanned, held"
    (hold,) = world.catalog.of_kind(EventKind.HELD)
    assert (hold.held, hold.owner) == (str(ORDERS), GATE)


def test_a_scan_that_copies_nothing_flags_too_and_the_run_after_it_adds_no_hold() -> None:
    world = a_loss()

    record_scan(world.plan(), world.catalog, run_id="sensor", clock=world.clock.now)
    world.back_up()

    assert len(world.catalog.of_kind(EventKind.HELD)) == 2
    assert len(world.catalog.holds()) == 1
