"""What is asked for, and where it is refused: partitions between bounds, instants, lists that are none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bbq_dagster.core.restore_request import (
    Partitions,
    RestoreRequest,
    Scope,
    VersionWish,
    instant_of,
    read_version_list,
)
from bbq_dagster.core.tables import NULL_PARTITION
from bbq_dagster.errors import Refused
from bbq_dagster_tests.builders import EVENTS, ORDERS, SALES

AT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        pytest.param(Partitions(), [], id="all"),
        pytest.param(Partitions(first="20260101", last="20260101"), [], id="one day"),
        pytest.param(Partitions(first="-5", last="-5"), [], id="a number below zero"),
        pytest.param(Partitions(first="-9223372036854775808"), [], id="the least number"),
        pytest.param(
            Partitions(first="922337203685477580799"),
            ["the first partition '922337203685477580799' is no partition id: write it as 20240131"],
            id="longer than any number",
        ),
        pytest.param(
            Partitions(first="2026-01-01", last="--5"),
            [
                "the first partition '2026-01-01' is no partition id: write it as 20240131",
                "the last partition '--5' is no partition id: write it as 20240131",
            ],
            id="no ids",
        ),
        pytest.param(
            Partitions(last="٢٠٢٦"),
            ["the last partition '٢٠٢٦' is no partition id: write it as 20240131"],
            id="digits of another script",
        ),
        pytest.param(
            Partitions(first="20260102", last="20260101"),
            ["the first partition 20260102 is after the last one, 20260101"],
            id="the wrong way round",
        ),
        pytest.param(Partitions(last_days=1), [], id="the day alone"),
        pytest.param(
            Partitions(last_days=0), ["the last 0 days are none: 1 is the day of the restore alone"], id="no day"
        ),
        pytest.param(Partitions(last_days=36_500), [], id="a hundred years"),
        pytest.param(
            Partitions(last_days=36_501),
            ["the last 36501 days are more than the 36,500 that can be named"],
            id="a day more",
        ),
    ],
)
def test_what_is_wrong_with_partitions_is_said(partitions: Partitions, expected: list[str]) -> None:
    assert list(partitions.faults) == expected
    assert RestoreRequest(what=(Scope(SALES),), partitions=partitions).faults == partitions.faults


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        pytest.param(Partitions(), False, id="all"),
        pytest.param(Partitions(ids=("20260101",)), True, id="by id"),
        pytest.param(Partitions(first="1"), True, id="from"),
        pytest.param(Partitions(last="1"), True, id="to"),
        pytest.param(Partitions(last_days=1), True, id="days"),
    ],
)
def test_partitions_are_limited_where_anything_is_said_of_them(partitions: Partitions, expected: bool) -> None:
    assert partitions.are_limited is expected


@pytest.mark.parametrize(
    ("partitions", "partition", "expected"),
    [
        pytest.param(Partitions(), NULL_PARTITION, True, id="all: special ones too"),
        pytest.param(Partitions(ids=(NULL_PARTITION,)), NULL_PARTITION, True, id="special, by its id"),
        pytest.param(Partitions(ids=("1",), first="2"), "2", False, id="ids say all"),
        pytest.param(Partitions(first="0"), NULL_PARTITION, False, id="special: it has no place in the order"),
        pytest.param(Partitions(first="20260102"), "20260102", True, id="the first is included"),
        pytest.param(Partitions(first="20260102"), "20260101", False, id="before the first"),
        pytest.param(Partitions(last="20260102"), "20260102", True, id="the last is included"),
        pytest.param(Partitions(last="20260102"), "20260103", False, id="after the last"),
        pytest.param(Partitions(first="9", last="10"), "10", True, id="numbers, not texts"),
        pytest.param(Partitions(first="1", last="5"), "0", False, id="within the last, before the first"),
        pytest.param(Partitions(last_days=1), "20260310", True, id="the day itself"),
        pytest.param(Partitions(last_days=1), "20260309", False, id="the day before"),
        pytest.param(Partitions(last_days=10), "20260301", True, id="ten days with their own"),
        pytest.param(Partitions(last_days=10), "20260228", False, id="the eleventh day"),
        pytest.param(Partitions(last_days=10), "2026030100", True, id="by the hour"),
        pytest.param(Partitions(last_days=10), "2026022823", False, id="by the hour, the eleventh day"),
        pytest.param(Partitions(last_days=10), "202603", True, id="a month"),
        pytest.param(Partitions(last_days=10), "202602", False, id="the month before, whose last day was the eleventh"),
        pytest.param(Partitions(last_days=11), "202602", True, id="a month, of which one day counts"),
        pytest.param(Partitions(last_days=36_500_000), "00010101", True, id="days from before the calendar begins"),
        pytest.param(Partitions(first="20260305", last_days=10), "20260304", False, id="both have to hold"),
    ],
)
def test_a_partition_is_taken_where_every_limit_takes_it(
    partitions: Partitions, partition: str, expected: bool
) -> None:
    assert partitions.take(partition, at=AT, by_number=False) is expected


def test_days_say_nothing_of_partitions_by_number() -> None:
    assert Partitions(last_days=1).take("7", at=AT, by_number=True)
    assert not Partitions(last_days=1, first="8").take("7", at=AT, by_number=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2026-01-31T12:00", datetime(2026, 1, 31, 12, tzinfo=UTC), id="without a zone: UTC"),
        pytest.param("2026-01-31T12:00+01:00", datetime(2026, 1, 31, 11, tzinfo=UTC), id="with a zone"),
        pytest.param("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC), id="a day: its beginning"),
    ],
)
def test_an_instant_is_read_into_utc(text: str, expected: datetime) -> None:
    found = instant_of(text)

    assert found == expected
    assert found.tzinfo is UTC


@pytest.fixture
def in_tokyo() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_the_zone_of_the_machine_does_not_matter() -> None:
    assert instant_of("2026-01-31T12:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "0001-01-01T00:00+12:00"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"not a time: '.*'\nHINT: write it as 2026-01-31T12:00\+01:00"):
        instant_of(text)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(RestoreRequest(), "nothing is named", id="nothing"),
        pytest.param(
            RestoreRequest(what=(Scope(SALES),), versions=(VersionWish("a"),)), "named by their ids", id="both"
        ),
        pytest.param(
            RestoreRequest(versions=(VersionWish("a"),), as_of=AT), "named by their ids", id="with an instant"
        ),
        pytest.param(
            RestoreRequest(versions=(VersionWish("a"),), partitions=Partitions(ids=("1",))),
            "named by their ids",
            id="with partitions",
        ),
        pytest.param(
            RestoreRequest(versions=(VersionWish("a"), VersionWish("b"), VersionWish("a"))),
            "version a is named twice",
            id="twice",
        ),
    ],
)
def test_a_request_that_contradicts_itself_has_a_fault(request_: RestoreRequest, expected: str) -> None:
    (fault,) = request_.faults

    assert expected in fault


def test_one_version_goes_to_two_tables() -> None:
    assert RestoreRequest(versions=(VersionWish("a", "one"), VersionWish("a", "two"))).faults == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"version\n{'x' * 200_000}\n", "the list is no CSV: field larger", id="a cell without end"),
        pytest.param("[" * 100_000, "the list is no JSON", id="brackets without end"),
        pytest.param('["a", {"version": "b", "table": 1}]', "entry 2 of the list has no version", id="no table"),
        pytest.param('["a", ["b"]]', "entry 2 of the list is no version", id="a list in the list"),
        pytest.param('[{"version": 1}]', "entry 1 of the list has no version", id="an id that is no text"),
    ],
)
def test_a_list_that_cannot_be_read_says_where(text: str, expected: str) -> None:
    with pytest.raises(Refused, match=expected):
        read_version_list(text)


@pytest.mark.parametrize("text", ["[1]", '[{"table": "t"}]', '[{"version": "a", "tabel": "t"}]'])
def test_an_entry_that_is_none_comes_with_how_to_write_it(text: str) -> None:
    with pytest.raises(Refused, match=r"HINT: a CSV with the header version,table, or JSON: \[\{"):
        read_version_list(text)


def test_a_csv_may_have_spaces_after_its_commas() -> None:
    assert read_version_list("version, table\na, orders\n") == (VersionWish("a", "orders"),)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        pytest.param(Scope(SALES), [True, True, False], id="a dataset"),
        pytest.param(Scope(SALES, "ord*"), [True, False, False], id="a pattern"),
        pytest.param(Scope(SALES, "events", "20260101"), [False, True, False], id="a table"),
    ],
)
def test_a_scope_takes_tables_of_its_dataset_alone(scope: Scope, expected: list[bool]) -> None:
    elsewhere = type(SALES)("acme-lab", "sales").table("orders")

    assert [scope.takes(table) for table in (ORDERS, EVENTS, elsewhere)] == expected
