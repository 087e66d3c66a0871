"""Names of tables, partitions and units: what is one, and that printing and parsing are inverse."""

from __future__ import annotations

import pytest
from hypothesis import given

from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.errors import Refused
from bbq_dagster_tests.core import strategies as some
from bbq_dagster_tests.core.strategies import EVENTS, ORDERS, SALES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("acme-shop.sales.orders", ORDERS.unit(), id="a table"),
        pytest.param("acme-shop.sales.events$20240131", EVENTS.unit("20240131"), id="a partition"),
        pytest.param("acme-shop.sales.events$__NULL__", EVENTS.unit("__NULL__"), id="a special partition"),
        pytest.param(
            "example.com:shop.sales.orders",
            TableRef("example.com:shop", "sales", "orders").unit(),
            id="a domain-scoped project",
        ),
        pytest.param("a--b.sales.orders", TableRef("a--b", "sales", "orders").unit(), id="two dashes in a project"),
        pytest.param(
            "acme-shop._tmp.my table-é",
            TableRef("acme-shop", "_tmp", "my table-é").unit(),
            id="a hidden dataset, and a table id with a space, a dash and a mark",
        ),
    ],
)
def test_a_unit_is_parsed_from_what_people_write(text: str, expected: Unit) -> None:
    assert Unit.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("sales.orders", id="no project"),
        pytest.param("acme-shop.sales", id="a dataset"),
        pytest.param("acme-shop.sales.", id="no table"),
        pytest.param("acme-shop.sales.events$", id="no partition behind the dollar"),
        pytest.param("acme-shop.sales.a.b", id="a dot in the table"),
        pytest.param("acme-shop.sales.a$b$c", id="two dollars"),
        pytest.param("acme-shop.sa-les.orders", id="a dash in the dataset"),
        pytest.param("acme-shop.verkäufe.orders", id="a letter beyond ASCII in the dataset"),
        pytest.param("Acme.sales.orders", id="an upper-case project"),
        pytest.param("acme-shop.sales.`orders`", id="backticks"),
        pytest.param("acme-shop.sales.orders@-3600", id="a time-travel decorator"),
        pytest.param("acme-shop.sales.orders\n", id="a line end"),
    ],
)
def test_what_is_no_table_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(Refused) as refused:
        Unit.parse(text)

    assert "HINT: write it as" in str(refused.value)


def test_a_partition_is_refused_where_a_table_is_wanted() -> None:
    with pytest.raises(Refused, match=r"write it as acme-shop\.sales\.events"):
        TableRef.parse("acme-shop.sales.events$20240131")


@pytest.mark.parametrize("text", ["sales", "acme-shop.sales.orders", "acme-shop.", "acme shop.sales"])
def test_what_is_no_dataset_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not a dataset"):
        DatasetRef.parse(text)


def test_the_key_of_a_unit_is_unique_inside_its_dataset() -> None:
    assert [ORDERS.unit().key, EVENTS.unit("20240131").key] == ["orders", "events$20240131"]


def test_units_sort_by_table_then_partition_with_the_whole_table_first() -> None:
    table, first, second, other = EVENTS.unit(), EVENTS.unit("20240131"), EVENTS.unit("20240201"), ORDERS.unit()
    mixed = [other, second, table, first]

    assert sorted(mixed) == [table, first, second, other]
    assert sorted(mixed, key=lambda unit: unit.sort_key) == [table, first, second, other]


@given(some.units)
def test_parsing_what_was_printed_gives_the_unit_back(unit: Unit) -> None:
    assert Unit.parse(str(unit)) == unit


@given(some.table_refs)
def test_parsing_what_was_printed_gives_the_table_back(table: TableRef) -> None:
    assert TableRef.parse(str(table)) == table
    assert DatasetRef.parse(str(table.in_dataset)) == table.in_dataset


@given(some.units)
def test_a_key_inside_a_dataset_gives_the_unit_back(unit: Unit) -> None:
    assert Unit.of_key(unit.table.in_dataset, unit.key) == unit


def test_a_dataset_gives_its_tables_and_a_table_its_dataset() -> None:
    assert SALES.table("orders") == ORDERS
    assert ORDERS.in_dataset == SALES


def test_a_range_partition_that_begins_below_zero_is_a_unit() -> None:
    """``PARTITION BY RANGE_BUCKET(key, GENERATE_ARRAY(-100, 100, 10))``: the id is where the range begins."""
    unit = EVENTS.unit("-10")

    assert Unit.parse(str(unit)) == unit
