"""The events of the catalog, and what a run reads back from them whatever their order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.catalog import (
    COLUMNS,
    Event,
    EventKind,
    backup_of,
    copy_failed,
    copy_planned,
    dataset_scanned,
    emptied,
    fold_record,
    table_settled,
    vanished,
    version_created,
    version_found,
    version_of,
)
from bbq_dagster.core.changes import Change, Vanished, Verdict
from bbq_dagster.core.naming import copy_id, version_id
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.versions import Absence, Copy, DatasetRecord, Version
from bbq_dagster_tests.core.strategies import (
    CAPTURED,
    CREATED,
    EMPTY,
    EVENTS,
    MICROSECOND,
    NOW,
    ORDERS,
    SALES,
    a_copy,
    a_partitioned_table,
    a_state,
    a_version,
    days,
)

FIRST, SECOND, THIRD = days(3)
MINUTE = timedelta(minutes=1)
ONE = a_copy(ORDERS.unit())
PARTITION = a_copy(FIRST)
WHOLE = a_copy(EVENTS.unit(), whole_table_of=(FIRST, SECOND, THIRD))


def planned(copy: Copy, *, at: datetime = NOW) -> tuple[Event, ...]:
    return copy_planned(copy, at=at, run_id="run")


def created(copy: Copy, *, at: datetime = NOW, captured_at: datetime = NOW, rows: int = 10) -> tuple[Event, ...]:
    return tuple(
        version_created(
            copy, unit, job_id="job", captured_at=captured_at, rows=rows, size_bytes=100, at=at, run_id="run"
        )
        for unit in copy.units
    )


def failed(copy: Copy, *, at: datetime = NOW) -> tuple[Event, ...]:
    return tuple(
        copy_failed(copy, unit, job_id="job", error="backend error", at=at, run_id="run") for unit in copy.units
    )


def an_emptied(unit: Unit, *, at: datetime = NOW) -> Event:
    return emptied(Change(unit, EMPTY, Verdict.EMPTIED, "emptied, it had 10 rows"), at=at, run_id="run")


def a_vanished(unit: Unit, *, at: datetime = NOW) -> Event:
    return vanished(Vanished(unit, "the table is gone"), at=at, run_id="run")


EVERY_KIND = (
    dataset_scanned(SALES, location="EU", tables=1234, at=NOW, run_id="run"),
    table_settled(a_partitioned_table(), at=NOW, run_id="run"),
    *planned(WHOLE),
    *created(WHOLE),
    *failed(WHOLE),
    an_emptied(FIRST),
    a_vanished(ORDERS.unit()),
)


# Rows


def test_the_columns_are_the_id_and_the_fields_of_an_event() -> None:
    assert COLUMNS[0].name == "event_id"
    assert {column.name for column in COLUMNS} == {"event_id", *(field.name for field in fields(Event))}
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


def test_every_column_has_the_type_of_its_field() -> None:
    of_field = {
        str: "STRING",
        str | None: "STRING",
        EventKind: "STRING",
        datetime: "TIMESTAMP",
        datetime | None: "TIMESTAMP",
        int | None: "INT64",
        bool | None: "BOOL",
    }
    hints = {name: of_field[hint] for name, hint in get_type_hints(Event).items() if name != "event_id"}

    assert {column.name: column.type for column in COLUMNS if column.name != "event_id"} == hints


def test_a_column_is_required_where_an_event_cannot_be_without_it() -> None:
    without_default = {"event", "recorded_at", "source_project", "source_dataset"}

    assert {column.name for column in COLUMNS if column.required} == {"event_id", *without_default}


def test_every_column_is_described_and_the_kinds_are_named() -> None:
    descriptions = {column.name: column.description for column in COLUMNS}

    assert all(descriptions.values())
    assert all(kind.value in descriptions["event"] for kind in EventKind)


@pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: str(event.event.value))
def test_a_row_is_json_with_known_columns_and_all_that_are_required(event: Event) -> None:
    row = json.loads(json.dumps(event.as_row()))

    assert row == event.as_row()
    assert set(row) <= {column.name for column in COLUMNS}
    assert {column.name for column in COLUMNS if column.required} <= set(row)
    assert None not in row.values()


def test_times_in_a_row_are_utc() -> None:
    tokyo = NOW.astimezone(timezone(timedelta(hours=9)))
    event = dataset_scanned(SALES, location="EU", tables=1, at=tokyo, run_id="run")

    assert event.as_row()["recorded_at"] == "2026-02-01T02:15:00+00:00"


def test_a_version_has_all_facts_in_its_row() -> None:
    (event,) = created(PARTITION, at=NOW + MINUTE)

    assert event.as_row() == {
        "event_id": event.event_id,
        "event": "version_created",
        "recorded_at": "2026-02-01T02:16:00+00:00",
        "run_id": "run",
        "source_project": "acme-shop",
        "source_dataset": "sales",
        "source_table": "events",
        "partition_id": "20240101",
        "location": "EU",
        "reason": "never backed up",
        "source_created_at": "2025-06-01T08:00:00+00:00",
        "source_modified_at": "2026-01-31T01:00:00+00:00",
        "source_rows": 10,
        "source_bytes": 100,
        "partitioned": True,
        "whole_table": False,
        "backup_project": "acme-backups",
        "backup_dataset": "bbq_acme_shop__sales__eu",
        "backup_table": "events-planned",
        "copy_id": copy_id(PARTITION),
        "attempt": 1,
        "job_id": "job",
        "version_id": version_id(backup_of(PARTITION, FIRST)),
        "captured_at": "2026-02-01T02:15:00+00:00",
        "row_count": 10,
        "size_bytes": 100,
    }


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (EVERY_KIND[0], {"event": "dataset_scanned", "location": "EU", "reason": "1,234 tables"}),
        (EVERY_KIND[1], {"event": "table_settled", "source_table": "events", "source_rows": 10, "source_bytes": 100}),
        (failed(ONE)[0], {"event": "copy_failed", "error": "backend error", "job_id": "job", "attempt": 1}),
        (an_emptied(FIRST), {"event": "emptied", "source_rows": 0, "reason": "emptied, it had 10 rows"}),
        (a_vanished(ORDERS.unit()), {"event": "vanished", "source_table": "orders", "reason": "the table is gone"}),
    ],
    ids=lambda value: value.event.value if isinstance(value, Event) else "",
)
def test_an_event_says_what_happened_to_what(event: Event, expected: dict[str, object]) -> None:
    row = event.as_row()

    assert {name: row.get(name) for name in expected} == expected


def test_a_settlement_holds_the_state_and_the_age_of_the_table() -> None:
    table = a_partitioned_table(state=a_state(rows=7), created_at=CAPTURED)
    event = table_settled(table, at=NOW, run_id="run")

    assert (event.source_created_at, event.source_state) == (CAPTURED, table.state)
    assert event.unit == EVENTS.unit()


def test_the_same_event_has_one_id_and_any_other_fact_makes_another() -> None:
    event = created(ONE)[0]
    others = [
        replace(event, row_count=11),
        replace(event, run_id="other"),
        replace(event, recorded_at=NOW + MICROSECOND),
        replace(event, event=EventKind.COPY_FAILED),
        replace(event, partition_id="20240101"),
        replace(event, reason=None),
    ]

    assert replace(event).event_id == event.event_id
    assert len({event.event_id, *(other.event_id for other in others)}) == 1 + len(others)


def test_a_whole_table_keeps_each_unit_in_the_same_partition_of_the_backup() -> None:
    assert backup_of(WHOLE, SECOND) == WHOLE.destination.table.unit(SECOND.partition)
    assert backup_of(ONE, ORDERS.unit()) == ONE.destination


def test_a_version_reads_back_what_was_recorded() -> None:
    (event,) = created(PARTITION, at=NOW + MINUTE, rows=9)
    version = version_of(event)

    assert version.unit == FIRST
    assert version.backup == PARTITION.destination
    assert (version.rows, version.size_bytes, version.source) == (9, 100, a_state())
    assert (version.captured_at, version.recorded_at) == (NOW, NOW + MINUTE)
    assert (version.source_created_at, version.location, version.job_id) == (CREATED, "EU", "job")
    assert (version.whole_table, version.run_id, version.reason) == (False, "run", "never backed up")


def test_versions_of_one_whole_table_copy_have_an_id_each() -> None:
    versions = [version_of(event) for event in created(WHOLE)]

    assert len({version.version_id for version in versions}) == len(WHOLE.units)
    assert all(version.whole_table for version in versions)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(created(PARTITION)[0], "acme-shop.sales.events$20240101", id="a partition"),
        pytest.param(an_emptied(ORDERS.unit()), "acme-shop.sales.orders", id="a table"),
        pytest.param(EVERY_KIND[0], "acme-shop.sales", id="a dataset"),
    ],
)
def test_an_event_is_about_a_unit_or_a_dataset(event: Event, expected: str) -> None:
    assert event.subject == expected


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(replace(a_version(FIRST), whole_table=True, recorded_at=NOW, run_id="run"), id="a partition"),
        pytest.param(replace(a_version(ORDERS.unit()), recorded_at=NOW, run_id="run"), id="a table"),
    ],
)
def test_a_version_that_was_found_reads_back_as_what_was_read_off_its_backup_table(version: Version) -> None:
    event = version_found(version, at=NOW, run_id="run")

    assert version_of(event) == replace(version, source_created_at=None, job_id="")
    assert event.partitioned is (version.unit == FIRST)


# The record


def test_nothing_on_record_is_an_empty_record() -> None:
    assert fold_record([]) == DatasetRecord()


def test_a_scan_alone_says_nothing_of_any_unit() -> None:
    assert fold_record([EVERY_KIND[0]]) == DatasetRecord(scanned_at=NOW)


@pytest.mark.parametrize("copy", [ONE, PARTITION, WHOLE], ids=["a table", "a partition", "a whole table"])
def test_a_planned_copy_without_an_end_comes_back_as_it_was(copy: Copy) -> None:
    assert fold_record(planned(copy)).unfinished == (copy,)


def test_a_planned_copy_keeps_its_attempt() -> None:
    again = replace(ONE, attempt=3)

    assert fold_record(planned(again)).unfinished == (again,)


@pytest.mark.parametrize("copy", [ONE, PARTITION, WHOLE], ids=["a table", "a partition", "a whole table"])
def test_a_copy_that_was_made_leaves_nothing_unfinished(copy: Copy) -> None:
    record = fold_record([*planned(copy), *created(copy, at=NOW + MINUTE)])

    assert record.unfinished == ()
    assert set(record.latest) == {unit.unit for unit in copy.units}


def test_a_copy_that_failed_is_not_unfinished_and_is_counted() -> None:
    record = fold_record([*planned(ONE), *failed(ONE, at=NOW + MINUTE)])

    assert record.unfinished == ()
    assert record.failures == {ORDERS.unit(): 1}
    assert record.latest == {}


def test_a_whole_table_of_which_some_units_are_on_record_still_has_the_others_to_do() -> None:
    record = fold_record([*planned(WHOLE), created(WHOLE, at=NOW + MINUTE)[1]])

    (left,) = record.unfinished
    assert left == replace(WHOLE, units=(WHOLE.units[0], WHOLE.units[2]))
    assert copy_id(left) == copy_id(WHOLE)


def test_a_second_attempt_is_open_although_the_first_one_failed() -> None:
    again = replace(ONE, attempt=2)
    record = fold_record([*planned(ONE), *failed(ONE, at=NOW + MINUTE), *planned(again, at=NOW + 2 * MINUTE)])

    assert record.unfinished == (again,)
    assert record.failures == {ORDERS.unit(): 1}


def test_failures_are_counted_since_the_latest_version() -> None:
    record = fold_record(
        [
            *failed(ONE, at=NOW),
            *created(ONE, at=NOW + MINUTE),
            *failed(ONE, at=NOW + 2 * MINUTE),
            *failed(ONE, at=NOW + 3 * MINUTE),
        ]
    )

    assert record.failures == {ORDERS.unit(): 2}


def test_the_latest_version_is_the_one_that_was_captured_last_not_recorded_last() -> None:
    newer = created(ONE, at=NOW, captured_at=CAPTURED + MICROSECOND, rows=2)
    older = created(ONE, at=NOW + MINUTE, captured_at=CAPTURED, rows=1)

    assert fold_record([*newer, *older]).latest[ORDERS.unit()].rows == 2


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([an_emptied(FIRST)], {FIRST: Absence.EMPTIED}, id="emptied"),
        pytest.param([a_vanished(FIRST)], {FIRST: Absence.VANISHED}, id="vanished"),
        pytest.param(
            [an_emptied(FIRST), a_vanished(FIRST, at=NOW + MICROSECOND)],
            {FIRST: Absence.VANISHED},
            id="emptied, then gone",
        ),
        pytest.param(
            [a_vanished(FIRST), an_emptied(FIRST, at=NOW + MICROSECOND)],
            {FIRST: Absence.EMPTIED},
            id="gone, then there without rows",
        ),
        pytest.param(
            [a_vanished(FIRST), *created(PARTITION, at=NOW + MICROSECOND)], {}, id="gone, then there and backed up"
        ),
        pytest.param(
            [*created(PARTITION), a_vanished(FIRST, at=NOW + MICROSECOND)],
            {FIRST: Absence.VANISHED},
            id="backed up, then gone",
        ),
        pytest.param(
            [a_vanished(FIRST), *failed(PARTITION, at=NOW + MICROSECOND)],
            {FIRST: Absence.VANISHED},
            id="a copy that failed brings nothing back",
        ),
        pytest.param(
            [a_vanished(FIRST), *created(ONE, at=NOW + MICROSECOND)],
            {FIRST: Absence.VANISHED},
            id="nor does a version of another unit",
        ),
    ],
)
def test_the_last_word_on_a_unit_says_whether_it_is_there(
    events: Sequence[Event], expected: dict[Unit, Absence]
) -> None:
    assert fold_record(events).absent == expected


def test_an_older_version_that_was_brought_back_says_nothing_of_its_source() -> None:
    newest = created(PARTITION)
    back = [replace(event, version_id="older", captured_at=NOW - MINUTE, recorded_at=NOW + MINUTE) for event in newest]

    absent = fold_record([*newest, a_vanished(FIRST, at=NOW + MICROSECOND), *back]).absent

    assert absent == {FIRST: Absence.VANISHED}


def test_the_newest_settlement_of_a_table_counts() -> None:
    newer = table_settled(a_partitioned_table(state=a_state(rows=20)), at=NOW + MINUTE, run_id="run")
    older = table_settled(a_partitioned_table(state=a_state(rows=10)), at=NOW, run_id="run")

    assert fold_record([newer, older]).settled == {EVENTS: (CREATED, a_state(rows=20))}


def a_deleted(of: Event, *, at: datetime) -> Event:
    return replace(of, event=EventKind.VERSION_DELETED, recorded_at=at)


@pytest.mark.parametrize(
    ("deleted_at", "expected"),
    [
        pytest.param([], True, id="never deleted"),
        pytest.param([NOW - MINUTE], True, id="brought back since"),
        pytest.param([NOW], False, id="deleted in the instant it was recorded"),
        pytest.param([NOW + MINUTE], False, id="deleted"),
        pytest.param([NOW + MINUTE, NOW - MINUTE], False, id="deleted again after it was brought back"),
    ],
)
def test_of_a_version_the_newest_word_counts(deleted_at: list[datetime], expected: bool) -> None:
    (event,) = created(ONE)
    record = fold_record([event, *(a_deleted(event, at=at) for at in deleted_at)])

    assert (ORDERS.unit() in record.latest) is expected


def test_a_version_that_was_deleted_leaves_an_earlier_one_and_no_unfinished_copy() -> None:
    earlier = replace(created(ONE, captured_at=CAPTURED)[0], version_id="earlier")
    (event,) = created(ONE)
    record = fold_record([earlier, *planned(ONE), event, a_deleted(event, at=NOW + MINUTE)])

    assert record.latest == {ORDERS.unit(): version_of(earlier)}
    assert record.unfinished == ()


def test_unfinished_copies_are_in_the_order_of_their_ids() -> None:
    copies = [a_copy(unit) for unit in days(5)]
    record = fold_record(event for copy in copies for event in planned(copy))

    assert list(record.unfinished) == sorted(copies, key=copy_id)


# Laws

_HISTORIES = st.lists(
    st.tuples(
        st.sampled_from([ONE, PARTITION, replace(PARTITION, attempt=2), a_copy(SECOND)]),
        st.sampled_from(["planned", "created", "failed", "emptied", "vanished", "settled"]),
        st.integers(min_value=0, max_value=3),
    ),
    max_size=12,
)


def _events(history: Sequence[tuple[Copy, str, int]], *, apart: timedelta) -> list[Event]:
    """A history in which each event is ``apart`` later than the one before."""
    events: list[Event] = []
    for place, (copy, what, captured) in enumerate(history):
        at = NOW + place * apart
        unit = copy.units[0].unit
        match what:
            case "planned":
                events += planned(copy, at=at)
            case "created":
                events += created(copy, at=at, captured_at=CAPTURED + captured * MINUTE, rows=captured)
            case "failed":
                events += failed(copy, at=at)
            case "emptied":
                events.append(an_emptied(unit, at=at))
            case "vanished":
                events.append(a_vanished(unit, at=at))
            case "settled":
                table = a_partitioned_table(unit.table, a_state(rows=captured))
                events.append(table_settled(table, at=at, run_id="run"))
    return events


@given(_HISTORIES, st.data())
def test_the_order_in_which_events_are_read_does_not_matter(
    history: list[tuple[Copy, str, int]], data: st.DataObject
) -> None:
    events = _events(history, apart=MICROSECOND)
    shuffled = data.draw(st.permutations(events))

    assert _comparable(fold_record(shuffled)) == _comparable(fold_record(events))


@given(_HISTORIES, st.data())
def test_the_order_does_not_matter_to_what_is_open_even_among_events_of_one_instant(
    history: list[tuple[Copy, str, int]], data: st.DataObject
) -> None:
    events = _events(history, apart=timedelta())
    shuffled = data.draw(st.permutations(events))

    assert fold_record(shuffled).unfinished == fold_record(events).unfinished


@given(st.permutations(planned(WHOLE)))
def test_the_units_of_a_copy_come_back_in_their_order_however_the_rows_are_read(rows: list[Event]) -> None:
    assert fold_record(rows).unfinished == (WHOLE,)


@given(_HISTORIES)
def test_an_event_that_is_read_twice_counts_once(history: list[tuple[Copy, str, int]]) -> None:
    events = _events(history, apart=MICROSECOND)

    assert _comparable(fold_record(events * 2)) == _comparable(fold_record(events))


@given(st.lists(st.sampled_from([ONE, PARTITION, WHOLE]), unique_by=copy_id))
def test_what_was_planned_and_made_leaves_nothing_unfinished(copies: list[Copy]) -> None:
    begun = [event for copy in copies for event in planned(copy)]
    ended = [event for copy in copies for event in created(copy, at=NOW + MINUTE)]

    assert set(fold_record(begun).unfinished) == set(copies)
    assert fold_record([*ended, *begun]).unfinished == ()


def _comparable(record: DatasetRecord) -> tuple[object, ...]:
    return (
        dict(record.latest),
        dict(record.absent),
        dict(record.settled),
        record.unfinished,
        dict(record.failures),
    )
