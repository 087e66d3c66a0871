"""The plan of an undelete: from which instant each deleted version comes, what comes together, what cannot."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bbq_dagster.core.catalog import Event
from bbq_dagster.core.tables import NULL_PARTITION
from bbq_dagster.core.undelete import UndeletePlan, brought_back, deleted_versions, plan_undelete
from bbq_dagster.errors import Refused
from bbq_dagster_tests.builders import EVENTS, NOW, ORDERS
from bbq_dagster_tests.warehouse.stories import backed_up, deleted, deletion_begun

DAY, HOUR, MINUTE, SECOND = (timedelta(**{unit: 1}) for unit in ("days", "hours", "minutes", "seconds"))
MADE = NOW - 30 * DAY
CREATED = backed_up(ORDERS.unit(), at=MADE)


def planned(*events: Event, now: datetime = NOW) -> UndeletePlan:
    return plan_undelete(events, version_ids={event.version_id or "" for event in events}, now=now)


def partition(name: str, *, table: str = "events-1") -> Event:
    return replace(backed_up(EVENTS.unit(name), at=MADE), backup_table=table)


def gone(created: Event, *, marks: tuple[datetime, ...], at: datetime) -> list[Event]:
    return [created, *(deletion_begun(created, at=mark) for mark in marks), deleted(created, at=at)]


@pytest.mark.parametrize(
    ("marks", "confirmed", "expected"),
    [
        pytest.param([HOUR], HOUR, HOUR + MINUTE, id="a minute before the mark"),
        pytest.param([2 * DAY, HOUR], HOUR, 2 * DAY + MINUTE, id="before the first mark: it may have deleted"),
        pytest.param([9 * DAY, HOUR], HOUR, HOUR + MINUTE, id="before the first mark that time travel reaches"),
        pytest.param([], HOUR, HOUR + MINUTE, id="before the confirmation where no mark is on record"),
        pytest.param([7 * DAY - MINUTE], HOUR, 7 * DAY, id="as far back as time travel reaches"),
        pytest.param([7 * DAY - MINUTE + SECOND], 7 * DAY - MINUTE + SECOND, None, id="a second further"),
    ],
)
def test_a_version_is_read_as_it_was(marks: list[timedelta], confirmed: timedelta, expected: timedelta | None) -> None:
    plan = planned(*gone(CREATED, marks=tuple(NOW - mark for mark in marks), at=NOW - confirmed))

    assert [table.at for table in plan.tables] == ([] if expected is None else [NOW - expected])


def test_a_version_is_never_read_before_it_was_there() -> None:
    created = backed_up(ORDERS.unit(), at=NOW - HOUR)
    plan = planned(*gone(created, marks=(NOW - HOUR + SECOND,), at=NOW))

    assert [table.at for table in plan.tables] == [NOW - HOUR]


def test_marks_from_before_it_was_brought_back_do_not_count() -> None:
    back = brought_back(CREATED, at=NOW - 2 * DAY, run_id="u")
    plan = planned(*gone(CREATED, marks=(NOW - 5 * DAY,), at=NOW - 5 * DAY), *gone(back, marks=(NOW - DAY,), at=NOW))

    assert [table.at for table in plan.tables] == [NOW - DAY - MINUTE]
    assert plan.tables[0].created == (back,)


def test_the_past_of_a_table_is_named_in_milliseconds() -> None:
    plan = planned(*gone(CREATED, marks=(NOW - HOUR,), at=NOW))
    millis = int((NOW - HOUR - MINUTE).timestamp() * 1000)

    assert plan.tables[0].past.table.table == f"{CREATED.backup_table}@{millis}"
    assert (plan.tables[0].source, plan.tables[0].location) == (ORDERS, "EU")
    assert str(plan.tables[0].table) == f"{CREATED.backup_project}.{CREATED.backup_dataset}.{CREATED.backup_table}"


def test_what_was_in_one_table_at_one_instant_comes_together() -> None:
    first, second, other = partition("20240101"), partition("20240102"), partition("20240101", table="events-2")
    events = [
        *gone(first, marks=(NOW - 2 * HOUR,), at=NOW),
        *gone(second, marks=(NOW - HOUR,), at=NOW),
        *gone(replace(other, version_id="other"), marks=(NOW - HOUR,), at=NOW),
    ]
    plan = planned(*events)

    assert [(table.table.table, table.at, len(table.created)) for table in plan.tables] == [
        ("events-1", NOW - 2 * HOUR - MINUTE, 2),
        ("events-2", NOW - HOUR - MINUTE, 1),
    ]


def test_what_was_not_yet_there_again_comes_from_an_instant_of_its_own() -> None:
    first = partition("20240101")
    back = brought_back(partition("20240102"), at=NOW - HOUR, run_id="u")
    plan = planned(*gone(first, marks=(NOW - 2 * HOUR,), at=NOW), *gone(back, marks=(NOW - 10 * MINUTE,), at=NOW))

    assert [table.at for table in plan.tables] == [NOW - 2 * HOUR - MINUTE, NOW - 11 * MINUTE]


@pytest.mark.parametrize(("name", "expected"), [("20240101", False), (NULL_PARTITION, True)])
def test_a_special_partition_needs_its_whole_table(name: str, expected: bool) -> None:
    plan = planned(*gone(partition(name), marks=(), at=NOW))

    assert plan.tables[0].needs_whole_table is expected
    assert plan.tables[0].is_partitioned


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param([CREATED], "it is not deleted", id="live"),
        pytest.param([CREATED, deletion_begun(CREATED, at=NOW)], "it is not deleted", id="marked, not confirmed"),
        pytest.param(
            gone(CREATED, marks=(), at=NOW - 8 * DAY),
            "it was deleted at 2026-01-23 02:15 UTC, time travel reaches back 7 days",
            id="too long ago",
        ),
    ],
)
def test_a_version_that_cannot_come_back_says_why(story: list[Event], expected: str) -> None:
    plan = planned(*story)

    assert [(item.unit, item.reason) for item in plan.refused] == [(ORDERS.unit(), expected)]
    with pytest.raises(Refused, match="nothing was brought back"):
        plan.refuse_if_nothing_comes_back()


def test_what_is_back_already_is_neither_refused_nor_brought_back_again() -> None:
    plan = planned(*gone(CREATED, marks=(), at=NOW - DAY), brought_back(CREATED, at=NOW, run_id="u"))
    plan.refuse_if_nothing_comes_back()

    assert [version.version_id for version in plan.back_before] == [CREATED.version_id]
    assert (plan.tables, plan.refused) == ((), ())
    assert str(plan).splitlines()[1:] == ["", "back already:", f"  {plan.back_before[0].backup} ({CREATED.version_id})"]


def test_a_plan_that_brings_anything_back_is_not_refused() -> None:
    plan_undelete(
        gone(CREATED, marks=(), at=NOW), version_ids=[CREATED.version_id or "", "x"], now=NOW
    ).refuse_if_nothing_comes_back()


def test_an_id_that_is_on_no_record_is_refused_by_its_name() -> None:
    plan = plan_undelete([], version_ids=["nobody"], now=NOW)

    assert [str(item) for item in plan.refused] == ["nobody: there was never such a version"]


def test_the_reason_of_a_version_does_not_grow_with_every_return() -> None:
    twice = brought_back(brought_back(CREATED, at=NOW, run_id="u"), at=NOW, run_id="u")

    assert twice.reason == f"undeleted; before: {CREATED.reason}"


DELETIONS = [
    replace(deleted(CREATED, at=NOW), run_id="r1"),
    replace(deleted(partition("20240101"), at=NOW), run_id="r1"),
    replace(deleted(partition("20240102"), at=NOW), run_id="r2"),
]


@pytest.mark.parametrize(
    ("run_id", "targets", "expected"),
    [
        pytest.param("r1", [], [0, 1], id="all of a run"),
        pytest.param(None, ["acme-shop.sales.events"], [1, 2], id="a table with its partitions"),
        pytest.param(None, ["acme-shop.sales.events$20240102"], [2], id="a partition"),
        pytest.param(None, ["acme-shop.*.ev*", str(ORDERS)], [0, 1, 2], id="a pattern or a table"),
        pytest.param("r1", ["acme-shop.sales.events"], [1], id="what a run deleted of a table"),
    ],
)
def test_what_was_deleted_is_found_by_run_and_name(run_id: str | None, targets: list[str], expected: list[int]) -> None:
    found = deleted_versions(DELETIONS, run_id=run_id, targets=targets)

    assert found == [DELETIONS[place].version_id for place in expected]


@pytest.mark.parametrize(
    ("run_id", "targets", "expected"),
    [
        pytest.param("r3", [], "nothing was deleted by run r3 in the last 7 days", id="no such run"),
        pytest.param("r2", [str(ORDERS)], "nothing of acme-shop.sales.orders was deleted by run r2", id="not by it"),
        pytest.param(None, ["orders"], "not a table", id="no table"),
        pytest.param(None, ["sales.*"], "not a pattern for tables", id="no pattern"),
    ],
)
def test_a_selection_that_finds_nothing_is_refused(run_id: str | None, targets: list[str], expected: str) -> None:
    with pytest.raises(Refused, match=expected):
        deleted_versions(DELETIONS, run_id=run_id, targets=targets)


def test_the_plan_is_readable() -> None:
    plan = plan_undelete(gone(CREATED, marks=(), at=NOW), version_ids=[CREATED.version_id or "", "nobody"], now=NOW)

    assert str(plan).splitlines() == [
        "undelete plan of 2026-01-31 02:15 UTC: 1 version from 1 backup table; 1 cannot be brought back",
        "",
        "bring back:",
        f"  {plan.tables[0].table} as it was at 2026-01-31 02:14:00: acme-shop.sales.orders of 2026-01-01 02:15"
        f" ({CREATED.version_id})",
        "",
        "cannot be brought back:",
        "  nobody: there was never such a version",
    ]
