"""What retention writes down and reads back: holds and their release, deletions, and the record of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from bbq_dagster.core.catalog import Event, EventKind, version_of
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.retention import RetentionRecord
from bbq_dagster.core.retention_record import (
    RetentionFold,
    about_of,
    deletion_planned,
    fold_holds,
    held,
    hold_of,
    released,
    version_deleted,
    version_lost,
)
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.verification_record import How, Outcome, Verified, verified
from bbq_dagster_tests.builders import EVENTS, NOW, ORDERS, SALES, a_copy, a_version
from bbq_dagster_tests.core.retention_cases import stored
from bbq_dagster_tests.warehouse import stories

MINUTE = timedelta(minutes=1)
AUDIT = Hold(str(ORDERS), "ada", "audit", NOW, NOW + timedelta(days=9))
ENDLESS = Hold("acme-shop.sales.*", "bob", "court", NOW + MINUTE)


# Holds


@pytest.mark.parametrize(
    "about", [ORDERS.unit(), EVENTS.unit("20240101"), SALES], ids=["a table", "a partition", "a dataset"]
)
@pytest.mark.parametrize("hold", [AUDIT, ENDLESS, replace(AUDIT, given_id="given")], ids=["ends", "endless", "given"])
def test_a_hold_is_read_as_it_was_written(hold: Hold, about: Unit | DatasetRef) -> None:
    event = held(hold, about, run_id="r")

    assert hold_of(event) == hold
    assert hold_of(event).hold_id == hold.hold_id
    assert about_of(event) == about
    assert (event.event, event.recorded_at, event.run_id) == (EventKind.HELD, hold.since, "r")


def test_a_release_names_its_hold() -> None:
    event = released(AUDIT, ORDERS.unit(), at=NOW + MINUTE, run_id="r")

    assert (event.event, event.hold_id, event.recorded_at) == (EventKind.RELEASED, AUDIT.hold_id, NOW + MINUTE)
    assert (event.unit, event.run_id) == (ORDERS.unit(), "r")


def test_every_column_of_a_hold_is_written() -> None:
    assert held(AUDIT, EVENTS.unit("20240101"), run_id="r") == Event(
        event=EventKind.HELD,
        recorded_at=NOW,
        run_id="r",
        source_project="acme-shop",
        source_dataset="sales",
        source_table="events",
        partition_id="20240101",
        reason="audit",
        hold_id=AUDIT.hold_id,
        held=str(ORDERS),
        owner="ada",
        held_until=AUDIT.until,
    )


def test_what_a_row_leaves_out_is_read_as_empty() -> None:
    event = Event(event=EventKind.HELD, recorded_at=NOW, source_project="acme-shop", source_dataset="sales")

    assert hold_of(event) == Hold("", "", "", NOW)
    assert hold_of(event).given_id == ""


def placed(hold: Hold, *, after: timedelta = timedelta(0)) -> Event:
    return replace(held(hold, SALES, run_id="r"), recorded_at=hold.since + after)


def ended(hold: Hold, *, after: timedelta) -> Event:
    return released(hold, SALES, at=hold.since + after, run_id="r")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([placed(AUDIT), placed(ENDLESS)], [placed(AUDIT), placed(ENDLESS)], id="oldest first"),
        pytest.param([placed(AUDIT, after=MINUTE), placed(AUDIT)], [placed(AUDIT)], id="the first time counts"),
        pytest.param([placed(AUDIT), ended(AUDIT, after=MINUTE), placed(ENDLESS)], [placed(ENDLESS)], id="released"),
        pytest.param([ended(AUDIT, after=MINUTE), placed(AUDIT, after=2 * MINUTE)], [], id="released for good"),
        pytest.param([stories.scanned(at=NOW), placed(AUDIT)], [placed(AUDIT)], id="other events are no holds"),
    ],
)
def test_holds_count_until_they_are_released(events: list[Event], expected: list[Event]) -> None:
    for order in permutations(events):
        assert fold_holds(order) == expected


def test_holds_of_one_instant_are_in_the_order_of_their_ids() -> None:
    events = [placed(replace(AUDIT, given_id=name)) for name in ("b", "a", "c")]

    assert [event.hold_id for event in fold_holds(events)] == ["a", "b", "c"]


# Deletions


@pytest.mark.parametrize(
    ("tell", "kind", "error"),
    [
        pytest.param(deletion_planned, EventKind.DELETION_PLANNED, None, id="about to be deleted"),
        pytest.param(version_deleted, EventKind.VERSION_DELETED, None, id="deleted"),
        pytest.param(version_lost, EventKind.COPY_FAILED, "too old", id="lost: a copy that failed"),
    ],
)
def test_what_happens_to_a_version_is_written_with_all_that_it_was(tell: Any, kind: EventKind, error: str) -> None:
    version = stored(NOW - MINUTE, unit=EVENTS.unit("20240101"), whole_table=True)
    event = tell(version, "too old", at=NOW, run_id="r")

    assert (event.event, event.reason, event.error) == (kind, "too old", error)
    assert (event.unit, event.backup, event.version_id) == (version.unit, version.table, version.version_id)
    assert (event.captured_at, event.row_count, event.size_bytes) == (version.captured_at, 3, 30)
    assert (event.recorded_at, event.run_id, event.whole_table) == (NOW, "r", True)


# The record of a dataset

CREATED = stories.backed_up(ORDERS.unit(), at=NOW)
VERSION = StoredVersion.of(version_of(CREATED))
ORDERS_COPY = a_copy(ORDERS.unit())
UNIT = ORDERS_COPY.units[0]


def record_of(events: Sequence[Event]) -> RetentionRecord:
    fold = RetentionFold(SALES)
    for event in events:
        fold.take(event)
    return fold.record()


def after(event: Event, minutes: int) -> Event:
    return replace(event, recorded_at=NOW + minutes * MINUTE)


def gone(minutes: int) -> Event:
    return stories.found_gone(ORDERS.unit(), at=NOW + minutes * MINUTE)


def emptied(minutes: int) -> Event:
    return stories.found_empty(ORDERS.unit(), at=NOW + minutes * MINUTE)


def deleted(minutes: int) -> Event:
    return stories.deleted(CREATED, at=NOW + minutes * MINUTE)


def begun(minutes: int) -> Event:
    return stories.deletion_begun(CREATED, at=NOW + minutes * MINUTE)


def word(outcome: Outcome, minutes: int) -> Event:
    found = Verified(a_version(version_id=VERSION.version_id), outcome, How.SOURCE, "because")
    return verified(found, at=NOW + minutes * MINUTE, run_id="r")


def of(**facts: Any) -> RetentionRecord:
    return RetentionRecord(SALES, **{"versions": (VERSION,), **facts})


NO_VERSION: dict[str, Any] = {"versions": ()}
BAD: dict[str, Any] = {"versions": (replace(VERSION, is_bad=True),)}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], RetentionRecord(SALES), id="nothing"),
        pytest.param([CREATED], of(), id="a version"),
        pytest.param([CREATED, after(CREATED, 1)], of(), id="recorded twice is one"),
        pytest.param([CREATED, deleted(1)], of(**NO_VERSION), id="deleted"),
        pytest.param([CREATED, deleted(0)], of(**NO_VERSION), id="deleted in the same instant"),
        pytest.param([CREATED, deleted(1), after(CREATED, 2)], of(), id="brought back"),
        pytest.param([gone(1), CREATED], of(gone_since={ORDERS.unit(): NOW + MINUTE}), id="gone"),
        pytest.param(
            [gone(1), gone(3), CREATED],
            of(gone_since={ORDERS.unit(): NOW + 3 * MINUTE}),
            id="the last time it was seen",
        ),
        pytest.param([CREATED, gone(0)], of(), id="gone in the instant of its version ends nothing"),
        pytest.param([gone(1), after(CREATED, 2)], of(), id="there again"),
        pytest.param([CREATED, emptied(1)], of(), id="emptied is not gone"),
        pytest.param([CREATED, gone(1), emptied(2)], of(), id="emptied after it was gone"),
        pytest.param(
            [CREATED, emptied(1), gone(2)],
            of(gone_since={ORDERS.unit(): NOW + 2 * MINUTE}),
            id="gone after it was emptied",
        ),
        pytest.param([gone(1)], of(departed=frozenset({ORDERS.unit()}), **NO_VERSION), id="nothing is left of it"),
        pytest.param([emptied(1)], of(**NO_VERSION), id="emptied without a version"),
        pytest.param([CREATED, begun(1)], of(begun=frozenset({VERSION.version_id})), id="its deletion was begun"),
        pytest.param([CREATED, begun(0)], of(begun=frozenset({VERSION.version_id})), id="in the same instant"),
        pytest.param([begun(1), begun(3), after(CREATED, 2)], of(begun=frozenset({VERSION.version_id})), id="twice"),
        pytest.param([begun(1), after(CREATED, 2)], of(), id="brought back since"),
        pytest.param([begun(1)], of(**NO_VERSION), id="a deletion of nothing"),
        pytest.param([CREATED, word(Outcome.DIFFERS, 1)], of(**BAD), id="bad"),
        pytest.param([CREATED, word(Outcome.DIFFERS, 1), word(Outcome.PROVEN, 2)], of(), id="proven since"),
        pytest.param([CREATED, word(Outcome.PROVEN, 1), word(Outcome.DIFFERS, 2)], of(**BAD), id="bad since"),
        pytest.param([CREATED, word(Outcome.SOURCE_GONE, 1)], of(), id="not known to be bad"),
        pytest.param([CREATED, word(Outcome.DIFFERS, 1), word(Outcome.COULD_NOT, 2)], of(**BAD), id="a word of nobody"),
        pytest.param([stories.scanned(at=NOW)], of(scanned_at=NOW, **NO_VERSION), id="scanned"),
        pytest.param(
            [stories.scanned(at=NOW), stories.scanned(at=NOW + MINUTE)],
            of(scanned_at=NOW + MINUTE, **NO_VERSION),
            id="the last scan",
        ),
        pytest.param([stories.failed(ORDERS.unit(), at=NOW)], of(**NO_VERSION), id="a copy that failed"),
    ],
)
def test_the_record_follows_from_the_events_in_any_order(events: list[Event], expected: RetentionRecord) -> None:
    for order in permutations(events):
        assert record_of(order) == expected
        assert record_of([*order, *order]) == expected


def test_a_version_without_facts_counts_from_its_recording() -> None:
    event = replace(CREATED, captured_at=None, whole_table=None, row_count=None, size_bytes=None)

    assert record_of([event]).versions == (
        StoredVersion(VERSION.version_id, VERSION.unit, VERSION.table, NOW, None, None, False),
    )


def test_a_table_is_busy_from_the_plan_of_a_copy_to_its_end() -> None:
    (planned,) = stories.copy_planned(ORDERS_COPY, at=NOW, run_id="r")
    done = stories.backed_up_by(ORDERS_COPY, UNIT, at=NOW)
    failed = stories.copy_failed(ORDERS_COPY, UNIT, job_id="j", error="no", at=NOW, run_id="r")

    assert record_of([planned]).busy == {ORDERS_COPY.destination.table}
    assert record_of([planned, done]).busy == record_of([failed, planned]).busy == frozenset()
    assert record_of([planned, replace(failed, copy_id="another")]).busy == {ORDERS_COPY.destination.table}


def test_a_deletion_ends_no_copy() -> None:
    (planned,) = stories.copy_planned(ORDERS_COPY, at=NOW, run_id="r")
    gone = replace(deleted(1), copy_id=planned.copy_id)

    assert record_of([planned, gone]).busy == {ORDERS_COPY.destination.table}


def test_a_unit_has_the_absence_after_its_newest_version() -> None:
    older = replace(CREATED, version_id="older", recorded_at=NOW - MINUTE)
    later = replace(CREATED, version_id="later", recorded_at=NOW + 2 * MINUTE)

    assert record_of([later, CREATED, older, gone(1)]).gone_since == {}
    assert record_of([older, CREATED, gone(1)]).gone_since == {ORDERS.unit(): NOW + MINUTE}


def test_an_older_version_that_was_brought_back_begins_the_grace_anew_and_does_not_end_it() -> None:
    """A look takes the source for gone as long as nothing newer was captured, and does not record that once more."""
    older = replace(CREATED, version_id="older", captured_at=NOW - MINUTE, recorded_at=NOW - MINUTE)
    back = replace(older, recorded_at=NOW + 2 * MINUTE)

    assert record_of([older, CREATED, gone(1), back]).gone_since == {ORDERS.unit(): NOW + 2 * MINUTE}
