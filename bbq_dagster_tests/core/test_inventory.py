"""What of a dataset is in scope, and the reason for everything that is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.inventory import Dataset, LeftOut, SourceTable, State, TableShape, take_inventory
from bbq_dagster.core.tables import TableRef
from bbq_dagster_tests.core.strategies import (
    ORDERS,
    SALES,
    a_dataset,
    a_partitioned_table,
    a_table,
)

SKIP = {"bbq": "skip"}


def nothing_excluded(table: TableRef) -> str | None:
    return None


def everything_excluded(table: TableRef) -> str | None:
    return "excluded by '*'"


@pytest.mark.parametrize(
    ("table", "dataset", "expected"),
    [
        pytest.param(a_table(), a_dataset(), None, id="a base table is in scope"),
        pytest.param(a_table(kind="CLONE"), a_dataset(), None, id="a clone is in scope: it can be copied"),
        pytest.param(a_table(state=State(0, 0)), a_dataset(), None, id="an empty table is in scope"),
        pytest.param(a_table(state=State()), a_dataset(), None, id="a table of which nothing is known is in scope"),
        pytest.param(a_table(columns=1), a_dataset(), None, id="one column is a schema"),
        pytest.param(
            a_table(columns=0), a_dataset(), LeftOut(ORDERS, "it has no schema yet"), id="no column is no schema"
        ),
        pytest.param(
            a_table(kind="VIEW"), a_dataset(), LeftOut(ORDERS, "a view has no data of its own"), id="a view is not"
        ),
        pytest.param(
            a_table(kind="MATERIALIZED VIEW"),
            a_dataset(),
            LeftOut(ORDERS, "a materialized view is computed from its base tables"),
            id="a materialized view is not",
        ),
        pytest.param(
            a_table(kind="EXTERNAL"),
            a_dataset(),
            LeftOut(ORDERS, "an external table keeps its data outside BigQuery"),
            id="an external table is not",
        ),
        pytest.param(
            a_table(kind="SNAPSHOT"),
            a_dataset(),
            LeftOut(ORDERS, "a snapshot is a backup already"),
            id="a snapshot is not",
        ),
        pytest.param(
            a_table(labels=SKIP),
            a_dataset(),
            LeftOut(ORDERS, "it has the label bbq: skip", by_choice=True),
            id="its owner opted it out",
        ),
        pytest.param(
            a_table(),
            a_dataset(labels=SKIP),
            LeftOut(ORDERS, "its dataset has the label bbq: skip", by_choice=True),
            id="the owner of its dataset opted it out",
        ),
        pytest.param(a_table(labels={"bbq": "daily"}), a_dataset(), None, id="another value opts nothing out"),
        pytest.param(a_table(labels={"team": "skip"}), a_dataset(), None, id="another label opts nothing out"),
        pytest.param(
            a_table(kind="VIEW", labels=SKIP),
            a_dataset(labels=SKIP),
            LeftOut(ORDERS, "a view has no data of its own"),
            id="what cannot be copied is not left out by choice",
        ),
    ],
)
def test_a_table_is_in_scope_or_left_out_with_a_reason(
    table: SourceTable, dataset: Dataset, expected: LeftOut | None
) -> None:
    inventory = take_inventory(dataset, [table], exclusion=nothing_excluded)

    assert inventory.left_out == (() if expected is None else (expected,))
    assert inventory.tables == ((table,) if expected is None else ())


def test_the_settings_leave_a_table_out_by_choice_and_in_their_own_words() -> None:
    inventory = take_inventory(a_dataset(labels=SKIP), [a_table(labels=SKIP)], exclusion=everything_excluded)

    assert inventory.left_out == (LeftOut(ORDERS, "excluded by '*'", by_choice=True),)


def test_a_table_is_found_by_its_name() -> None:
    inventory = take_inventory(a_dataset(), [a_table()], exclusion=nothing_excluded)

    assert inventory.table(ORDERS) == a_table()
    assert inventory.table(SALES.table("other")) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(State(rows=0), True, id="no rows"),
        pytest.param(State(rows=1, size_bytes=0), False, id="a row without bytes"),
        pytest.param(State(rows=None, size_bytes=0), False, id="unknown is not empty"),
    ],
)
def test_a_state_is_empty_only_where_it_is_known_to_have_no_rows(state: State, expected: bool) -> None:
    assert state.is_empty is expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param(a_table(), (False, False, False), id="not partitioned"),
        pytest.param(a_partitioned_table(), (True, False, False), id="by a date column"),
        pytest.param(
            a_partitioned_table(column="_PARTITIONTIME", column_type="TIMESTAMP"),
            (True, True, False),
            id="by ingestion time",
        ),
        pytest.param(a_partitioned_table(column="id", column_type="INT64"), (True, False, True), id="by integer range"),
    ],
)
def test_a_table_knows_how_it_is_partitioned(table: SourceTable, expected: tuple[bool, bool, bool]) -> None:
    kinds = (table.is_partitioned, table.is_partitioned_by_ingestion_time, table.is_partitioned_by_range)

    assert kinds == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param(TableShape("BASE TABLE", ()), (False, False), id="not partitioned"),
        pytest.param(TableShape("BASE TABLE", (), "day", "DATE"), (True, False), id="by a date column"),
        pytest.param(TableShape("BASE TABLE", (), "id", "INT64"), (True, True), id="by integer range"),
    ],
)
def test_a_shape_knows_how_it_is_partitioned(shape: TableShape, expected: tuple[bool, bool]) -> None:
    assert (shape.is_partitioned, shape.is_partitioned_by_range) == expected


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_inventory_says_whether_it_is_of_all_tables(is_whole: bool) -> None:
    inventory = take_inventory(a_dataset(), [], exclusion=nothing_excluded, is_whole=is_whole)

    assert inventory.is_whole is is_whole


_TABLES = st.lists(
    st.builds(
        a_table,
        st.sampled_from([SALES.table(name) for name in "abcde"]),
        kind=st.sampled_from(["BASE TABLE", "CLONE", "VIEW", "MATERIALIZED VIEW", "EXTERNAL", "SNAPSHOT"]),
        columns=st.sampled_from([0, 1]),
        labels=st.sampled_from([{}, SKIP]),
    ),
    unique_by=lambda table: table.ref,
)


@given(_TABLES, st.booleans())
def test_every_table_has_one_fate_whatever_the_order(tables: list[SourceTable], all_out: bool) -> None:
    exclusion = everything_excluded if all_out else nothing_excluded
    inventory = take_inventory(a_dataset(), tables, exclusion=exclusion)
    shuffled = sorted(tables, key=lambda table: table.ref, reverse=True)

    fates = [*(table.ref for table in inventory.tables), *(left.table for left in inventory.left_out)]
    assert sorted(fates) == sorted(table.ref for table in tables)
    assert all(left.reason for left in inventory.left_out)
    assert take_inventory(a_dataset(), shuffled, exclusion=exclusion) == inventory
