"""Values as JSON and back, by their declared types, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest

from bbq_dagster.core.json_values import from_json, to_json
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.errors import Refused
from bbq_dagster_tests.core.strategies import EVENTS, NOW, ORDERS, SALES


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    rows: int
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Outer:
    dataset: DatasetRef
    table: TableRef
    unit: Unit
    at: datetime
    colour: Colour
    flag: bool
    inner: Inner
    several: tuple[Inner, ...]
    pair: tuple[str, int]
    until: datetime | None = None


VALUE = Outer(
    SALES, ORDERS, EVENTS.unit("20260101"), NOW, Colour.RED, True, Inner(1), (Inner(2), Inner(3, 0.25)), ("a", 4)
)
WRITTEN = {
    "dataset": "acme-shop.sales",
    "table": "acme-shop.sales.orders",
    "unit": "acme-shop.sales.events$20260101",
    "at": "2026-02-01T02:15:00+00:00",
    "colour": "red",
    "flag": True,
    "inner": {"rows": 1, "share": 0.5},
    "several": [{"rows": 2, "share": 0.5}, {"rows": 3, "share": 0.25}],
    "pair": ["a", 4],
    "until": None,
}


def test_a_value_is_written_in_the_types_of_json() -> None:
    assert to_json(VALUE) == WRITTEN


@pytest.mark.parametrize("value", [VALUE, replace(VALUE, until=NOW, several=())], ids=["without an end", "with an end"])
def test_what_is_written_is_what_is_read(value: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({ORDERS: NOW}, {"acme-shop.sales.orders": "2026-02-01T02:15:00+00:00"}, id="a mapping"),
        pytest.param([SALES, 1], ["acme-shop.sales", 1], id="a list"),
        pytest.param(NOW.astimezone(timezone(timedelta(hours=2))), "2026-02-01T02:15:00+00:00", id="times are in UTC"),
        pytest.param({ORDERS}, {ORDERS}, id="what has no rule stays as it is"),
    ],
)
def test_a_part_is_written_by_its_type(value: object, expected: object) -> None:
    written = to_json(value)

    assert written == expected


def test_a_time_is_read_in_utc_and_an_integer_where_a_float_is_due() -> None:
    elsewhere = from_json(datetime, "2026-02-01T04:15:00+02:00")
    share = from_json(Inner, {"rows": 1, "share": 1}).share

    assert (elsewhere, elsewhere.tzinfo) == (NOW, UTC)
    assert (share, type(share)) == (1.0, float)


def test_a_field_that_is_not_there_has_its_default() -> None:
    assert from_json(Inner, {"rows": 7}) == Inner(7)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        pytest.param(datetime, "2026-02-01T02:15:00", "'2026-02-01T02:15:00' has no time zone", id="a time of no zone"),
        pytest.param(Inner, {"rows": 1, "b": 2, "a": 3}, "Inner has no 'a'", id="a field that nobody declared"),
        pytest.param(Inner, {}, "missing 1 required positional argument: 'rows'", id="a field that is missing"),
        pytest.param(Inner, {"rows": "1"}, "'1' is not of type int", id="text for a number"),
        pytest.param(Inner, {"rows": True}, "True is not of type int", id="a truth for a number"),
        pytest.param(Inner, {"rows": 1, "share": True}, "True is not of type float", id="a truth for a float"),
        pytest.param(Inner, {"rows": None}, "None is not of type int", id="null where a value is due"),
        pytest.param(tuple[str, int], ["a"], "zip() argument", id="a pair of one"),
        pytest.param(Colour, "blue", "'blue' is not a valid Colour", id="a word that the enum does not have"),
        pytest.param(Inner, 3, "'int' object has no attribute 'keys'", id="a number for a value with fields"),
    ],
)
def test_what_bbq_did_not_write_is_refused(kind: Any, value: object, expected: str) -> None:
    with pytest.raises(Refused, match="this is not what bbq wrote: ") as refused:
        from_json(kind, value)

    assert expected in str(refused.value)


def test_a_mapping_is_only_written() -> None:
    written: Mapping[str, object] = to_json({"a": Inner(1)})

    assert written == {"a": {"rows": 1, "share": 0.5}}
