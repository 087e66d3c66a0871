"""What a restore writes down of each item, and what is read back of it: in any order, and done stays done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations

import pytest

from bbq_dagster.core.catalog import Event, EventKind
from bbq_dagster.core.inventory import State
from bbq_dagster.core.naming import copy_id
from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.restore_choice import Gone
from bbq_dagster.core.restore_record import (
    ItemState,
    ItemStatus,
    copy_of,
    gone_of,
    item_statuses,
    restore_failed,
    restore_planned,
    restored,
)
from bbq_dagster.core.restore_request import OnExisting, Target
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.versions import Absence, Copy, PlannedUnit, Writing
from bbq_dagster_tests.core.restoring import BACKUPS, EVENTS, LAB, ORDERS, Story, a_request, at
from bbq_dagster_tests.warehouse.stories import found_empty, found_gone

THERE = DatasetRef(LAB, "sales")
LATER = at(11)
MINUTE = timedelta(minutes=1)


def a_restore() -> RestorePlan:
    """``events`` as a whole with a partition over it, and ``orders`` over what is there."""
    story = Story()
    story.back_up(1, EVENTS, {"20260101": 10, "20260102": 20})
    story.back_up(2, EVENTS, {"20260101": 11, "20260103": 30})
    story.back_up(3, ORDERS, 5)
    story.put(THERE.table("orders"), 1)
    return story.plan(a_request(target=Target(project=LAB), on_existing=OnExisting.REPLACE))


PLAN = a_restore()
OF_EVENTS, OF_ORDERS = PLAN.tables
ORDERS_ITEM = OF_ORDERS.items[0]


def planned() -> Event:
    return restore_planned(PLAN, at=LATER, run_id="r")[-1]


def failed(*, attempt: int = 1, after: timedelta = MINUTE) -> Event:
    return restore_failed(
        PLAN, OF_ORDERS, ORDERS_ITEM, job_id="j", error="quota", attempt=attempt, at=LATER + after, run_id="r"
    )


def done(*, after: timedelta = 2 * MINUTE) -> Event:
    return restored(PLAN, OF_ORDERS, ORDERS_ITEM, job_id="j", attempt=1, at=LATER + after, run_id="r")


def test_a_copy_carries_its_item_out() -> None:
    copy = copy_of(PLAN, OF_ORDERS, ORDERS_ITEM, attempt=2)

    assert copy == Copy(
        source=BACKUPS.table("orders-3").unit(),
        destination=THERE.table("orders").unit(),
        location="EU",
        source_created_at=PLAN.planned_at,
        units=(PlannedUnit(ORDERS.unit(), State(5, 50), "one copy job"),),
        attempt=2,
        partitioned=False,
        restore_id=PLAN.restore_id,
        writing=Writing.REPLACE,
    )


def test_a_copy_into_a_partitioned_table_says_so() -> None:
    assert [copy_of(PLAN, OF_EVENTS, item, attempt=1).partitioned for item in OF_EVENTS.items] == [True, True]


def test_every_item_is_planned() -> None:
    events = restore_planned(PLAN, at=LATER, run_id="r")

    assert [(event.subject, event.backup, event.target, event.whole_table, event.row_count) for event in events] == [
        ("acme-shop.sales.events", BACKUPS.table("events-2"), "acme-lab.sales.events", True, 41),
        ("acme-shop.sales.events$20260102", BACKUPS.table("events-1"), "acme-lab.sales.events$20260102", False, 20),
        ("acme-shop.sales.orders", BACKUPS.table("orders-3"), "acme-lab.sales.orders", True, 5),
    ]
    assert {(event.event, event.attempt, event.run_id, event.job_id, event.error) for event in events} == {
        (EventKind.RESTORE_PLANNED, 1, "r", None, None)
    }
    assert [event.partitioned for event in events] == [True, True, False]


def test_every_column_of_an_item_is_written() -> None:
    event = restored(PLAN, OF_EVENTS, OF_EVENTS.items[1], job_id="j", attempt=2, at=LATER, run_id="r")

    assert event == Event(
        event=EventKind.RESTORED,
        recorded_at=LATER,
        run_id="r",
        source_project="acme-shop",
        source_dataset="sales",
        source_table="events",
        partition_id="20260102",
        location="EU",
        reason=OF_EVENTS.how,
        partitioned=True,
        whole_table=False,
        backup_project="acme-backup",
        backup_dataset="bbq_acme_shop__sales__eu",
        backup_table="events-1",
        copy_id=copy_id(copy_of(PLAN, OF_EVENTS, OF_EVENTS.items[1], attempt=2)),
        attempt=2,
        job_id="j",
        row_count=20,
        restore_id=PLAN.restore_id,
        target="acme-lab.sales.events$20260102",
    )


@pytest.mark.parametrize(
    ("tell", "expected"),
    [
        pytest.param(planned, (EventKind.RESTORE_PLANNED, LATER, 1, None, None), id="planned"),
        pytest.param(done, (EventKind.RESTORED, LATER + 2 * MINUTE, 1, "j", None), id="done"),
        pytest.param(
            partial(failed, attempt=3), (EventKind.RESTORE_FAILED, LATER + MINUTE, 3, "j", "quota"), id="failed"
        ),
    ],
)
def test_an_event_says_what_became_of_an_item(tell: Callable[[], Event], expected: object) -> None:
    event = tell()

    assert (event.event, event.recorded_at, event.attempt, event.job_id, event.error) == expected
    assert (event.restore_id, event.run_id) == (PLAN.restore_id, "r")
    assert (event.location, event.reason) == ("EU", "one copy job")
    assert event.copy_id == copy_id(copy_of(PLAN, OF_ORDERS, ORDERS_ITEM, attempt=event.attempt or 0))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([planned()], (ItemState.PENDING, LATER, "", 0), id="planned"),
        pytest.param([planned(), failed()], (ItemState.FAILED, LATER + MINUTE, "quota", 1), id="failed"),
        pytest.param(
            [planned(), failed(after=timedelta(0))], (ItemState.FAILED, LATER, "quota", 1), id="in the same instant"
        ),
        pytest.param(
            [failed(attempt=2), failed(attempt=1, after=2 * MINUTE)],
            (ItemState.FAILED, LATER + 2 * MINUTE, "quota", 2),
            id="the most attempts count",
        ),
        pytest.param([failed(), done()], (ItemState.DONE, LATER + 2 * MINUTE, "", 1), id="done in the end"),
        pytest.param(
            [done(), failed(after=3 * MINUTE)],
            (ItemState.DONE, LATER + 2 * MINUTE, "", 0),
            id="what is done stays done",
        ),
    ],
)
def test_the_status_of_an_item_follows_from_its_events_in_any_order(events: list[Event], expected: object) -> None:
    for order in permutations(events):
        (status,) = item_statuses(order)

        assert (status.state, status.at, status.message, status.attempts) == expected


def test_a_failure_that_does_not_say_which_it_was_is_the_first() -> None:
    (status,) = item_statuses([replace(failed(), attempt=None)])

    assert status.attempts == 1


def test_a_status_says_what_goes_where() -> None:
    statuses = item_statuses(restore_planned(PLAN, at=LATER, run_id="r"))

    assert statuses == tuple(
        ItemStatus(item.target, item.source, "EU", PLAN.restore_id, ItemState.PENDING, LATER, rows=rows)
        for item, rows in zip(PLAN.items, (41, 20, 5), strict=True)
    )


@pytest.mark.parametrize(("events", "attempt"), [([planned()], 1), ([planned(), failed(attempt=2)], 3)])
def test_the_job_that_runs_is_found_by_the_status_alone(events: list[Event], attempt: int) -> None:
    (status,) = item_statuses(events)

    assert copy_id(status.next_copy) == copy_id(copy_of(PLAN, OF_ORDERS, ORDERS_ITEM, attempt=attempt))
    assert status.next_copy.location == "EU"
    assert status.next_copy.source_created_at == datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(found_empty(ORDERS.unit(), at=LATER), Absence.EMPTIED, id="emptied"),
        pytest.param(found_gone(ORDERS.unit(), at=LATER), Absence.VANISHED, id="vanished"),
    ],
)
def test_an_absence_is_read_off_its_event(event: Event, expected: Absence) -> None:
    assert gone_of(event) == Gone(ORDERS.unit(), expected, LATER)
