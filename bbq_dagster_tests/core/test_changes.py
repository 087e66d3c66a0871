"""Which units changed, on both sides of every boundary, and what became of those that are not there any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given

from bbq_dagster.core.catalog import fold_record
from bbq_dagster.core.changes import (
    STREAMING_WAIT,
    DatasetChanges,
    Vanished,
    Verdict,
    dataset_is_gone,
    detect_change,
    detect_changes,
    needs_partition_list,
    settled_tables,
    tables_to_read,
)
from bbq_dagster.core.inventory import Dataset, Inventory, LeftOut, SourceTable, State, UnitState
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, TableRef, Unit
from bbq_dagster.core.versions import Absence, DatasetRecord, Version
from bbq_dagster_tests.core import strategies as some
from bbq_dagster_tests.core.strategies import (
    CAPTURED,
    CREATED,
    EMPTY,
    EVENTS,
    HOUR,
    MICROSECOND,
    MILLISECOND,
    NOW,
    ORDERS,
    SALES,
    Scan,
    a_partitioned_table,
    a_record,
    a_scan,
    a_state,
    a_table,
    a_version,
    days,
    events_of,
    planned,
)

VIEW = "VIEW"
SETTLED = a_partitioned_table()
VERSION = a_version(ORDERS.unit())
EMPTY_VERSION = a_version(ORDERS.unit(), rows=0, size_bytes=0)
FIRST, SECOND = days(2)


# One unit


@pytest.mark.parametrize(
    ("state", "last", "absence", "expected"),
    [
        pytest.param(a_state(), None, None, Verdict.NEVER_BACKED_UP, id="no version: never backed up"),
        pytest.param(State(), None, None, Verdict.NEVER_BACKED_UP, id="no version and nothing known: copy"),
        pytest.param(a_state(rows=1), None, None, Verdict.NEVER_BACKED_UP, id="no version and one row: copy"),
        pytest.param(EMPTY, None, None, Verdict.EMPTY, id="no version and no rows: nothing to protect yet"),
        pytest.param(a_state(), VERSION, None, Verdict.UNCHANGED, id="as it was: unchanged"),
        pytest.param(
            a_state(modified_at=CAPTURED - MILLISECOND), VERSION, None, Verdict.UNCHANGED, id="1 ms before the capture"
        ),
        pytest.param(
            a_state(modified_at=CAPTURED - MICROSECOND), VERSION, None, Verdict.UNCHANGED, id="1 µs before the capture"
        ),
        pytest.param(
            a_state(modified_at=CAPTURED),
            VERSION,
            None,
            Verdict.MODIFIED,
            id="in the instant of the capture: it may be either, copy",
        ),
        pytest.param(
            a_state(modified_at=CAPTURED + MICROSECOND), VERSION, None, Verdict.MODIFIED, id="1 µs after the capture"
        ),
        pytest.param(
            a_state(modified_at=CAPTURED + MILLISECOND), VERSION, None, Verdict.MODIFIED, id="1 ms after the capture"
        ),
        pytest.param(
            a_state(rows=11, modified_at=NOW), VERSION, None, Verdict.MODIFIED, id="modified is said before differs"
        ),
        pytest.param(a_state(rows=9), VERSION, None, Verdict.DIFFERS, id="one row fewer"),
        pytest.param(a_state(rows=11), VERSION, None, Verdict.DIFFERS, id="one row more"),
        pytest.param(a_state(size_bytes=99), VERSION, None, Verdict.DIFFERS, id="one byte fewer"),
        pytest.param(a_state(size_bytes=101), VERSION, None, Verdict.DIFFERS, id="one byte more"),
        pytest.param(
            a_state(rows=11, modified_at=None), VERSION, None, Verdict.DIFFERS, id="differs is said before unknown"
        ),
        pytest.param(a_state(modified_at=None), VERSION, None, Verdict.UNKNOWN, id="not known when: copy"),
        pytest.param(a_state(rows=None), VERSION, None, Verdict.UNKNOWN, id="not known how many rows: copy"),
        pytest.param(a_state(size_bytes=None), VERSION, None, Verdict.UNCHANGED, id="not known how many bytes"),
        pytest.param(State(), VERSION, None, Verdict.UNKNOWN, id="nothing known: copy"),
        pytest.param(
            a_state(),
            replace(VERSION, rows=None, size_bytes=None),
            None,
            Verdict.UNCHANGED,
            id="a version of unknown size differs from nothing",
        ),
        pytest.param(EMPTY, VERSION, None, Verdict.EMPTIED, id="no rows any more: emptied"),
        pytest.param(
            replace(EMPTY, modified_at=NOW), VERSION, None, Verdict.EMPTIED, id="emptied is said before modified"
        ),
        pytest.param(
            replace(EMPTY, modified_at=None), VERSION, None, Verdict.EMPTIED, id="emptied, it is not known when"
        ),
        pytest.param(EMPTY, replace(VERSION, rows=None), None, Verdict.EMPTIED, id="emptied, it is not known of what"),
        pytest.param(EMPTY, replace(VERSION, rows=1), None, Verdict.EMPTIED, id="emptied of its only row"),
        pytest.param(EMPTY, VERSION, Absence.EMPTIED, Verdict.UNCHANGED, id="still empty is not emptied again"),
        pytest.param(
            replace(EMPTY, modified_at=NOW),
            VERSION,
            Absence.EMPTIED,
            Verdict.UNCHANGED,
            id="emptied once more, still empty",
        ),
        pytest.param(EMPTY, VERSION, Absence.VANISHED, Verdict.EMPTIED, id="gone, then there again without rows"),
        pytest.param(EMPTY, EMPTY_VERSION, None, Verdict.UNCHANGED, id="empty then and now"),
        pytest.param(
            a_state(modified_at=NOW), EMPTY_VERSION, None, Verdict.MODIFIED, id="a version without rows, rows now"
        ),
        pytest.param(a_state(), EMPTY_VERSION, None, Verdict.DIFFERS, id="rows now, and nothing says when they came"),
        pytest.param(
            a_state(modified_at=NOW), VERSION, Absence.EMPTIED, Verdict.MODIFIED, id="emptied, then filled again"
        ),
    ],
)
def test_a_unit_gets_the_verdict_of_the_first_rule_that_applies(
    state: State, last: Version | None, absence: Absence | None, expected: Verdict
) -> None:
    change = detect_change(a_table(), UnitState(ORDERS.unit(), state), last, absence)

    assert change.verdict is expected


@pytest.mark.parametrize(
    ("created_at", "state", "expected"),
    [
        pytest.param(CREATED, a_state(), Verdict.UNCHANGED, id="the same table"),
        pytest.param(
            CREATED + MICROSECOND, a_state(), Verdict.RECREATED, id="created 1 µs after the one of the version"
        ),
        pytest.param(
            CREATED - MICROSECOND, a_state(), Verdict.RECREATED, id="created 1 µs before it: renamed into its place"
        ),
        pytest.param(NOW, a_state(modified_at=NOW), Verdict.RECREATED, id="created anew is said before modified"),
        pytest.param(NOW, State(), Verdict.RECREATED, id="created anew, nothing else is known"),
        pytest.param(NOW, EMPTY, Verdict.EMPTIED, id="created anew without rows: the good version stays"),
    ],
)
def test_a_table_that_was_dropped_and_created_anew_is_a_change(
    created_at: datetime, state: State, expected: Verdict
) -> None:
    change = detect_change(a_table(created_at=created_at), UnitState(ORDERS.unit(), state), VERSION)

    assert change.verdict is expected


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.NEVER_BACKED_UP, True),
        (Verdict.EMPTY, False),
        (Verdict.EMPTIED, False),
        (Verdict.RECREATED, True),
        (Verdict.MODIFIED, True),
        (Verdict.DIFFERS, True),
        (Verdict.UNKNOWN, True),
        (Verdict.RETURNED, True),
        (Verdict.REQUESTED, True),
        (Verdict.WAITS, False),
        (Verdict.UNCHANGED, False),
    ],
)
def test_a_verdict_says_whether_a_copy_is_needed(verdict: Verdict, expected: bool) -> None:
    change = replace(detect_change(a_table(), UnitState(ORDERS.unit(), a_state()), VERSION), verdict=verdict)

    assert change.needs_copy is expected


@pytest.mark.parametrize(
    ("state", "last", "absence", "expected"),
    [
        (a_state(), None, None, "never backed up"),
        (EMPTY, None, None, "empty, and never backed up: nothing to protect yet"),
        (EMPTY, a_version(ORDERS.unit(), rows=1234), None, "emptied, it had 1,234 rows: the last good version is kept"),
        (
            EMPTY,
            replace(VERSION, rows=None),
            None,
            "emptied, it had an unknown number of rows: the last good version is kept",
        ),
        (EMPTY, VERSION, Absence.EMPTIED, "still empty: the last good version is kept"),
        (EMPTY, EMPTY_VERSION, None, "empty then and now"),
        (
            a_state(modified_at=NOW),
            VERSION,
            None,
            "modified 2026-02-01 02:15:00 UTC, last backup captured 2026-01-31 02:00:00 UTC",
        ),
        (a_state(rows=1000), VERSION, None, "1,000 rows, the last backup has 10"),
        (a_state(size_bytes=1000), VERSION, None, "1,000 bytes, the last backup has 100"),
        (State(), VERSION, None, "BigQuery does not say when it was modified, or how many rows it has"),
        (a_state(), VERSION, Absence.VANISHED, "it was recorded as vanished, and is there again"),
        (a_state(), VERSION, None, "unchanged since 2026-01-31 02:00:00 UTC"),
    ],
)
def test_every_verdict_has_a_reason_in_words(
    state: State, last: Version | None, absence: Absence | None, expected: str
) -> None:
    assert detect_change(a_table(), UnitState(ORDERS.unit(), state), last, absence).reason == expected


def test_a_table_created_anew_says_when() -> None:
    change = detect_change(a_table(created_at=NOW), UnitState(ORDERS.unit(), a_state()), VERSION)

    assert change.reason == "dropped and created anew at 2026-02-01 02:15:00 UTC"


def test_a_change_carries_what_was_seen_and_what_it_was_compared_with() -> None:
    change = detect_change(a_table(), UnitState(ORDERS.unit(), a_state(rows=11)), VERSION)

    assert (change.unit, change.state, change.last) == (ORDERS.unit(), a_state(rows=11), VERSION)


@given(some.states)
def test_without_a_version_all_but_the_known_to_be_empty_is_copied(state: State) -> None:
    assert detect_change(a_table(), UnitState(ORDERS.unit(), state), None).needs_copy is (state.rows != 0)


@given(some.states)
def test_rows_that_were_written_after_the_capture_are_always_copied(state: State) -> None:
    change = detect_change(a_table(), UnitState(ORDERS.unit(), state), VERSION)
    written_since = state.modified_at is not None and state.modified_at >= CAPTURED

    assert change.needs_copy or not written_since or state.rows == 0


@given(some.states)
def test_nothing_without_rows_takes_the_place_of_a_version_with_rows(state: State) -> None:
    empty = replace(state, rows=0)

    assert not detect_change(a_table(), UnitState(ORDERS.unit(), empty), VERSION).needs_copy


# A difference that a new copy would have as well

LONG_AGO = CAPTURED - STREAMING_WAIT - MICROSECOND


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(a_state(rows=11, modified_at=LONG_AGO), Verdict.UNCHANGED, id="the very state that was copied"),
        pytest.param(
            a_state(rows=11, modified_at=CAPTURED - STREAMING_WAIT),
            Verdict.DIFFERS,
            id="rows may have been on their way",
        ),
        pytest.param(a_state(rows=12, modified_at=LONG_AGO), Verdict.DIFFERS, id="another state"),
        pytest.param(a_state(rows=11, modified_at=None), Verdict.DIFFERS, id="it is not known when it was written"),
    ],
)
def test_a_copy_that_differs_from_its_source_for_good_is_not_made_every_day(state: State, expected: Verdict) -> None:
    source = a_state(rows=11, modified_at=state.modified_at)
    last = a_version(ORDERS.unit(), rows=10, source=source)

    assert detect_change(a_table(), UnitState(ORDERS.unit(), state), last).verdict is expected


# What came back


@pytest.mark.parametrize(
    ("state", "last", "absence", "expected"),
    [
        pytest.param(a_state(), VERSION, Absence.VANISHED, Verdict.RETURNED, id="gone, then there again as it was"),
        pytest.param(a_state(), VERSION, Absence.EMPTIED, Verdict.RETURNED, id="emptied, then full again as it was"),
        pytest.param(EMPTY, EMPTY_VERSION, Absence.VANISHED, Verdict.RETURNED, id="gone, then there, always empty"),
        pytest.param(EMPTY, EMPTY_VERSION, Absence.EMPTIED, Verdict.UNCHANGED, id="empty, empty, still empty"),
        pytest.param(
            a_state(rows=None), VERSION, Absence.VANISHED, Verdict.UNKNOWN, id="unknown is said before returned"
        ),
    ],
)
def test_a_unit_that_is_there_again_is_copied_as_only_a_version_ends_its_absence(
    state: State, last: Version, absence: Absence, expected: Verdict
) -> None:
    """A dropped dataset that was undropped, a partition that a listing missed once, rows that time travel brought back.

    Without a new version the unit counts as gone, and its versions as those of a source that is gone.
    """
    change = detect_change(a_table(), UnitState(ORDERS.unit(), state), last, absence)

    assert change.verdict is expected


def test_of_what_vanished_and_came_back_the_absence_ends_with_the_next_version() -> None:
    absent = {ORDERS.unit(): Absence.VANISHED}
    scan = a_scan(a_table(), record=a_record(VERSION, absent=absent))
    events = events_of(planned(scan), at=NOW)
    known = [event for event in events if event.unit == ORDERS.unit()]

    assert fold_record([*known]).absent == {}
    assert list(fold_record(known).latest) == [ORDERS.unit()]


# A dataset


def verdicts(changes: DatasetChanges) -> dict[str, Verdict]:
    return {change.unit.key: change.verdict for change in changes.changes}


def test_the_units_of_a_dataset_are_its_unpartitioned_tables_and_its_partitions() -> None:
    scan = a_scan(
        a_table(),
        a_partitioned_table(),
        partitions=[UnitState(FIRST, a_state()), UnitState(SECOND, a_state(rows=11))],
        record=a_record(a_version(FIRST), a_version(SECOND)),
    )

    assert verdicts(scan.changes()) == {
        "orders": Verdict.NEVER_BACKED_UP,
        FIRST.key: Verdict.UNCHANGED,
        SECOND.key: Verdict.DIFFERS,
    }
    assert {change.unit for change in scan.changes().to_copy} == {SECOND, ORDERS.unit()}


def test_the_record_says_that_a_unit_is_known_to_be_empty() -> None:
    scan = a_scan(a_table(state=EMPTY), record=a_record(VERSION, absent={ORDERS.unit(): Absence.EMPTIED}))

    assert verdicts(scan.changes()) == {"orders": Verdict.UNCHANGED}


@pytest.mark.parametrize(
    ("table", "partitions", "record", "expected"),
    [
        pytest.param(a_table(state=EMPTY), [], a_record(), True, id="an empty table"),
        pytest.param(a_partitioned_table(state=EMPTY), [], a_record(), True, id="an empty table without a partition"),
        pytest.param(
            a_partitioned_table(state=EMPTY), [UnitState(FIRST, EMPTY)], a_record(), True, id="an empty partition"
        ),
        pytest.param(
            a_partitioned_table(),
            [UnitState(FIRST, EMPTY), UnitState(SECOND, a_state())],
            a_record(),
            False,
            id="one partition with rows",
        ),
        pytest.param(a_table(), [], a_record(), False, id="a table with rows"),
        pytest.param(a_table(state=EMPTY), [], a_record(VERSION), False, id="a table with a version was emptied"),
        pytest.param(
            a_partitioned_table(state=EMPTY),
            [],
            a_record(a_version(FIRST)),
            False,
            id="a table whose partitions have versions",
        ),
    ],
)
def test_a_table_without_rows_and_versions_is_listed_as_left_out(
    table: SourceTable, partitions: list[UnitState], record: DatasetRecord, expected: bool
) -> None:
    left_out = a_scan(table, partitions=partitions, record=record).changes().left_out

    reason = "empty, and never backed up: nothing to protect yet"
    assert left_out == ((LeftOut(table.ref, reason),) if expected else ())


def test_what_the_inventory_left_out_stays_left_out() -> None:
    scan = a_scan(a_table(kind=VIEW), a_table(EVENTS), excluded=[EVENTS])

    assert [left.table for left in scan.changes().left_out] == [EVENTS, ORDERS]
    assert scan.changes().changes == ()


# Vanished


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        pytest.param(a_scan(record=a_record(VERSION)), (ORDERS.unit(), "the table is gone"), id="its table is gone"),
        pytest.param(
            a_scan(
                a_partitioned_table(),
                partitions=[UnitState(SECOND, a_state())],
                record=a_record(a_version(FIRST), a_version(SECOND)),
            ),
            (FIRST, "the partition is gone"),
            id="its partition is gone",
        ),
        pytest.param(
            a_scan(a_partitioned_table(state=EMPTY), record=a_record(a_version(FIRST))),
            (FIRST, "the partition is gone"),
            id="its table has no partition any more",
        ),
        pytest.param(
            a_scan(a_table(kind=VIEW), record=a_record(VERSION)),
            (ORDERS.unit(), "something else has its name: a view has no data of its own"),
            id="a view has its name",
        ),
        pytest.param(
            a_scan(a_table(columns=0), record=a_record(VERSION)),
            (ORDERS.unit(), "something else has its name: it has no schema yet"),
            id="a table without a schema has its name",
        ),
        pytest.param(
            a_scan(
                a_partitioned_table(ORDERS),
                partitions=[UnitState(ORDERS.unit("20260101"), a_state())],
                record=a_record(VERSION),
            ),
            (ORDERS.unit(), "the table is partitioned now"),
            id="its table is partitioned now",
        ),
        pytest.param(
            a_scan(a_table(EVENTS), record=a_record(a_version(FIRST))),
            (FIRST, "the table is not partitioned any more"),
            id="its table is not partitioned any more",
        ),
        pytest.param(
            a_scan(record=a_record(VERSION, absent={ORDERS.unit(): Absence.EMPTIED})),
            (ORDERS.unit(), "the table is gone"),
            id="it was emptied, now it is gone",
        ),
        pytest.param(
            a_scan(record=a_record(VERSION), excluded=[ORDERS]),
            (ORDERS.unit(), "the table is gone"),
            id="it was excluded, and it is gone",
        ),
        pytest.param(a_scan(a_table(), record=a_record(VERSION)), None, id="it is there"),
        pytest.param(
            a_scan(a_table(state=EMPTY), record=a_record(VERSION)), None, id="it is empty: there all the same"
        ),
        pytest.param(
            a_scan(a_table(state=State()), record=a_record(VERSION)), None, id="nothing is known but its name"
        ),
        pytest.param(
            a_scan(a_table(), record=a_record(VERSION), excluded=[ORDERS]), None, id="it is excluded by choice"
        ),
        pytest.param(
            a_scan(a_table(labels={"bbq": "skip"}), record=a_record(VERSION)), None, id="its owner opted it out"
        ),
        pytest.param(
            a_scan(record=a_record(VERSION, absent={ORDERS.unit(): Absence.VANISHED})),
            None,
            id="it is on record that it is gone",
        ),
        pytest.param(
            a_scan(
                a_partitioned_table(),
                record=a_record(a_version(FIRST), settled={EVENTS: (CREATED, a_state())}),
            ),
            None,
            id="its table is settled, so that nobody looked",
        ),
        pytest.param(a_scan(), None, id="there never was a version"),
    ],
)
def test_a_unit_with_a_version_vanished_or_did_not(scan: Scan, expected: tuple[Unit, str] | None) -> None:
    assert scan.changes().vanished == (() if expected is None else (Vanished(*expected),))


def test_what_vanished_is_in_the_order_of_names() -> None:
    scan = a_scan(record=a_record(VERSION, a_version(SECOND), a_version(FIRST)))

    assert [gone.unit for gone in scan.changes().vanished] == [FIRST, SECOND, ORDERS.unit()]


# Settled tables


@pytest.mark.parametrize(
    ("table", "settled", "expected"),
    [
        pytest.param(a_table(), None, False, id="an unpartitioned table has no partitions"),
        pytest.param(a_table(EVENTS), (CREATED, a_state()), False, id="not even where it was partitioned once"),
        pytest.param(a_partitioned_table(), None, True, id="never settled"),
        pytest.param(a_partitioned_table(), (CREATED, a_state()), False, id="in its settled state"),
        pytest.param(
            a_partitioned_table(state=a_state(modified_at=CAPTURED - HOUR + MILLISECOND)),
            (CREATED, a_state()),
            True,
            id="modified 1 ms later",
        ),
        pytest.param(
            a_partitioned_table(state=a_state(modified_at=CAPTURED - HOUR - MILLISECOND)),
            (CREATED, a_state()),
            True,
            id="modified 1 ms earlier",
        ),
        pytest.param(a_partitioned_table(state=a_state(rows=11)), (CREATED, a_state()), True, id="a row more"),
        pytest.param(a_partitioned_table(state=a_state(size_bytes=99)), (CREATED, a_state()), True, id="a byte fewer"),
        pytest.param(
            a_partitioned_table(created_at=CREATED + MICROSECOND), (CREATED, a_state()), True, id="created anew"
        ),
        *(
            pytest.param(
                a_partitioned_table(state=unknown), (CREATED, unknown), True, id=f"the same, as far as known: {unknown}"
            )
            for unknown in (a_state(rows=None), a_state(size_bytes=None), a_state(modified_at=None), State())
        ),
    ],
)
def test_partitions_are_listed_unless_the_table_is_in_its_settled_state(
    table: SourceTable, settled: tuple[datetime, State] | None, expected: bool
) -> None:
    record = a_record(settled={} if settled is None else {EVENTS: settled})

    assert needs_partition_list(table, record) is expected


def test_a_settled_table_is_neither_compared_nor_gone() -> None:
    scan = a_scan(
        a_partitioned_table(),
        a_table(),
        partitions=[UnitState(FIRST, a_state(rows=11))],
        record=a_record(a_version(FIRST), settled={EVENTS: (CREATED, a_state())}),
    )

    assert scan.changes().unlisted == (EVENTS,)
    assert verdicts(scan.changes()) == {"orders": Verdict.NEVER_BACKED_UP}
    assert scan.changes().vanished == ()
    assert scan.changes().left_out == ()


@pytest.mark.parametrize(
    ("scan", "copied", "expected"),
    [
        pytest.param(
            a_scan(a_partitioned_table(), partitions=[UnitState(FIRST, a_state())], record=a_record(a_version(FIRST))),
            [],
            True,
            id="all its partitions are unchanged",
        ),
        pytest.param(
            a_scan(a_partitioned_table(), partitions=[UnitState(FIRST, a_state())]),
            [FIRST],
            True,
            id="all its partitions were copied",
        ),
        pytest.param(
            a_scan(a_partitioned_table(state=a_state(rows=20)), partitions=[UnitState(u, a_state()) for u in days(2)]),
            [FIRST],
            False,
            id="one of its partitions was not copied",
        ),
        pytest.param(a_scan(a_partitioned_table(state=EMPTY)), [], True, id="it has no rows and no partitions"),
        pytest.param(
            a_scan(
                a_partitioned_table(),
                partitions=[UnitState(FIRST, a_state())],
                record=a_record(a_version(FIRST), settled={EVENTS: (CREATED, a_state())}),
            ),
            [],
            False,
            id="it was settled before, and not looked at",
        ),
        pytest.param(
            a_scan(a_partitioned_table(state=EMPTY), record=a_record(settled={EVENTS: (CREATED, EMPTY)})),
            [],
            False,
            id="it was settled before without a row: that is not recorded anew",
        ),
        pytest.param(a_scan(a_table()), [ORDERS.unit()], False, id="it is not partitioned"),
        pytest.param(
            a_scan(
                a_partitioned_table(state=a_state(modified_at=None)),
                partitions=[UnitState(FIRST, a_state())],
                record=a_record(a_version(FIRST)),
            ),
            [],
            False,
            id="it is not known when it was modified",
        ),
        pytest.param(
            a_scan(
                a_partitioned_table(state=a_state(rows=None)),
                partitions=[UnitState(FIRST, a_state())],
                record=a_record(a_version(FIRST)),
            ),
            [],
            False,
            id="it is not known how many rows it has",
        ),
        pytest.param(
            a_scan(
                a_partitioned_table(),
                partitions=[UnitState(EVENTS.unit(UNPARTITIONED), a_state())],
                record=a_record(a_version(EVENTS.unit(UNPARTITIONED))),
            ),
            [],
            False,
            id="rows without a partition may be on their way into one",
        ),
        pytest.param(
            a_scan(a_partitioned_table(), partitions=[UnitState(EVENTS.unit(UNPARTITIONED), a_state())]),
            [EVENTS.unit(UNPARTITIONED)],
            False,
            id="even where they were copied",
        ),
        pytest.param(
            a_scan(a_partitioned_table(), partitions=[UnitState(EVENTS.unit(NULL_PARTITION), a_state())]),
            [EVENTS.unit(NULL_PARTITION)],
            True,
            id="rows without a key are where they belong",
        ),
        pytest.param(
            a_scan(
                a_partitioned_table(state=EMPTY),
                partitions=[UnitState(FIRST, EMPTY)],
                record=a_record(a_version(FIRST)),
            ),
            [],
            False,
            id="one of its partitions was emptied just now",
        ),
        pytest.param(
            a_scan(
                a_partitioned_table(state=EMPTY),
                partitions=[UnitState(FIRST, EMPTY)],
                record=a_record(a_version(FIRST), absent={FIRST: Absence.EMPTIED}),
            ),
            [],
            True,
            id="it is on record that one of its partitions was emptied",
        ),
    ],
)
def test_a_table_is_settled_when_all_its_partitions_are_protected(
    scan: Scan, copied: list[Unit], expected: bool
) -> None:
    settled = settled_tables(scan.changes(), frozenset(copied))

    assert settled == (scan.tables if expected else ())


def test_one_table_is_settled_and_another_is_not() -> None:
    other = SALES.table("clicks")
    scan = a_scan(
        a_partitioned_table(),
        a_partitioned_table(other),
        partitions=[UnitState(FIRST, a_state()), UnitState(other.unit("20240101"), a_state())],
    )

    assert settled_tables(scan.changes(), frozenset([FIRST])) == (scan.tables[0],)


@pytest.mark.parametrize(
    "partitions",
    [
        pytest.param([], id="no partition was listed"),
        pytest.param([UnitState(FIRST, a_state(rows=9))], id="the partitions have fewer rows than the table"),
    ],
)
def test_a_table_is_not_settled_while_some_of_its_rows_are_in_no_listed_partition(partitions: list[UnitState]) -> None:
    """Two views of INFORMATION_SCHEMA that lag differently: settling would hide the rest until the next write."""
    scan = a_scan(a_partitioned_table(state=a_state(rows=10)), partitions=partitions)
    copied = frozenset(partition.unit for partition in partitions)

    assert settled_tables(scan.changes(), copied) == ()


def test_a_table_with_rows_and_no_listed_partition_is_not_called_empty() -> None:
    scan = a_scan(a_partitioned_table(state=a_state(rows=10)))

    reason = "BigQuery lists no partition of it: it is looked at again next time"
    assert scan.changes().left_out == (LeftOut(EVENTS, reason),)


# The streaming buffer

STREAMED = EVENTS.unit(UNPARTITIONED)
BY_INGESTION = a_partitioned_table(column="_PARTITIONTIME", column_type="TIMESTAMP")


@pytest.mark.parametrize(
    ("table", "unit", "modified_at", "expected"),
    [
        pytest.param(
            a_partitioned_table(), STREAMED, NOW - STREAMING_WAIT + MICROSECOND, Verdict.WAITS, id="1 µs too young"
        ),
        pytest.param(
            a_partitioned_table(), STREAMED, NOW - STREAMING_WAIT, Verdict.NEVER_BACKED_UP, id="just old enough"
        ),
        pytest.param(a_partitioned_table(), STREAMED, None, Verdict.NEVER_BACKED_UP, id="it is not known how old"),
        pytest.param(
            a_partitioned_table(), STREAMED, NOW + HOUR, Verdict.WAITS, id="from a clock that is ahead of ours"
        ),
        pytest.param(
            a_partitioned_table(),
            EVENTS.unit(NULL_PARTITION),
            NOW,
            Verdict.NEVER_BACKED_UP,
            id="rows without a key do not wait",
        ),
        pytest.param(a_partitioned_table(), FIRST, NOW, Verdict.NEVER_BACKED_UP, id="another partition does not wait"),
        pytest.param(
            BY_INGESTION, STREAMED, CREATED, Verdict.WAITS, id="of an ingestion-time table they are always streamed"
        ),
        pytest.param(BY_INGESTION, STREAMED, None, Verdict.WAITS, id="whenever they came"),
        pytest.param(BY_INGESTION, FIRST, NOW, Verdict.NEVER_BACKED_UP, id="its other partitions do not wait"),
    ],
)
def test_rows_that_may_be_in_the_streaming_buffer_wait(
    table: SourceTable, unit: Unit, modified_at: datetime | None, expected: Verdict
) -> None:
    scan = a_scan(table, partitions=[UnitState(unit, a_state(modified_at=modified_at))])

    assert verdicts(scan.changes()) == {unit.key: expected}


def test_what_needs_no_copy_waits_for_nothing() -> None:
    scan = a_scan(
        a_partitioned_table(),
        partitions=[UnitState(STREAMED, a_state(modified_at=NOW - HOUR))],
        record=a_record(a_version(STREAMED, captured_at=NOW)),
    )

    assert verdicts(scan.changes()) == {STREAMED.key: Verdict.UNCHANGED}


def test_a_unit_that_waits_says_until_when_and_keeps_its_last_version() -> None:
    last = a_version(STREAMED)
    scan = a_scan(
        a_partitioned_table(),
        partitions=[UnitState(STREAMED, a_state(modified_at=NOW - HOUR))],
        record=a_record(last),
    )

    (change,) = scan.changes().changes
    assert change.reason == "may be rows in the streaming buffer: waits until 2026-02-01 02:45:00 UTC"
    assert change.last == last


def test_the_wait_is_a_setting_of_the_table() -> None:
    scan = a_scan(a_partitioned_table(), partitions=[UnitState(STREAMED, a_state(modified_at=NOW - HOUR))])

    def wait(table: TableRef) -> timedelta:
        return HOUR if table == EVENTS else STREAMING_WAIT

    changes = detect_changes(scan.changes().inventory, scan.partitions, scan.record, now=NOW, streaming_wait=wait)
    assert verdicts(changes) == {STREAMED.key: Verdict.NEVER_BACKED_UP}


# Laws


@given(some.recorded_scans())
def test_every_listed_unit_gets_one_verdict_with_a_reason(scan: Scan) -> None:
    changes = scan.changes()
    listed = [unit.unit for unit in scan.partitions] + [t.ref.unit() for t in scan.tables if not t.is_partitioned]

    assert sorted(change.unit for change in changes.changes) == sorted(listed)
    assert all(change.reason for change in changes.changes)


@given(some.recorded_scans())
def test_every_unit_with_a_version_is_seen_or_gone_or_known_to_be_gone(scan: Scan) -> None:
    changes = scan.changes()
    seen = {change.unit for change in changes.changes}
    gone = {vanished.unit for vanished in changes.vanished}
    known_gone = {unit for unit, absence in scan.record.absent.items() if absence is Absence.VANISHED}

    assert set(scan.record.latest) <= seen | gone | known_gone
    assert not seen & gone
    assert not gone & known_gone


@given(some.recorded_scans())
def test_the_order_of_tables_and_partitions_changes_no_verdict(scan: Scan) -> None:
    turned = replace(scan, tables=scan.tables[::-1], partitions=scan.partitions[::-1])

    assert verdicts(turned.changes()) == verdicts(scan.changes())
    assert turned.changes().vanished == scan.changes().vanished
    assert turned.changes().left_out == scan.changes().left_out


@given(some.recorded_scans())
def test_a_table_is_settled_only_with_every_unit_protected_or_empty(scan: Scan) -> None:
    changes = scan.changes()
    at_rest = (Verdict.UNCHANGED, Verdict.EMPTY)
    unprotected = {change.unit.table for change in changes.changes if change.verdict not in at_rest}

    assert not unprotected & {table.ref for table in settled_tables(changes, frozenset())}


def settled_and_unread(*tables: SourceTable, units: int, absent: Sequence[Unit] = ()) -> DatasetRecord:
    return DatasetRecord(
        settled={table.ref: (table.created_at, table.state) for table in tables},
        unread={table.ref: units for table in tables},
        absent=dict.fromkeys(absent, Absence.VANISHED),
    )


@pytest.mark.parametrize(
    ("tables", "left_out", "absent", "expected"),
    [
        pytest.param([SETTLED], [], [], [], id="unmoved"),
        pytest.param([replace(SETTLED, state=State(9, 90, NOW))], [], [], [EVENTS], id="moved"),
        pytest.param([replace(SETTLED, partition_column=None)], [], [], [EVENTS], id="not partitioned any more"),
        pytest.param([], [], [], [EVENTS], id="gone"),
        pytest.param([], [], [EVENTS.unit("20240131")], [EVENTS], id="gone, a part of it recorded"),
        pytest.param([], [], [EVENTS.unit(day) for day in ("20240131", "20240201")], [], id="gone, all recorded"),
        pytest.param([], [LeftOut(EVENTS, "excluded", by_choice=True)], [], [], id="excluded by choice"),
        pytest.param([], [LeftOut(EVENTS, "a view")], [], [EVENTS], id="a view has its name"),
    ],
)
def test_units_of_a_settled_table_are_read_where_it_moved_or_is_gone(
    tables: list[SourceTable], left_out: list[LeftOut], absent: list[Unit], expected: list[TableRef]
) -> None:
    inventory = Inventory(Dataset(SALES, "EU"), tuple(tables), tuple(left_out))

    assert tables_to_read(inventory, settled_and_unread(SETTLED, units=2, absent=absent)) == expected


def test_of_a_dataset_that_is_gone_every_unit_vanishes_once() -> None:
    gone, emptied, known = (ORDERS.in_dataset.table(name).unit() for name in ("a", "b", "c"))
    record = DatasetRecord(
        latest={unit: a_version(unit) for unit in (emptied, gone, known)},
        absent={emptied: Absence.EMPTIED, known: Absence.VANISHED},
    )
    changes = dataset_is_gone(SALES, record)

    assert changes.is_gone
    assert [(item.unit, item.reason) for item in changes.vanished] == [
        (gone, "its dataset is gone"),
        (emptied, "its dataset is gone"),
    ]
