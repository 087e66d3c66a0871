from datetime import UTC, datetime

import pytest

from bbq_dagster.core.inventory import INGESTION_TIME_COLUMN, Dataset, SourceTable, State, TableOptions, TableShape
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, DatasetRef
from bbq_dagster.errors import Refused
from bbq_dagster.warehouse.information_schema import (
    parse_labels,
    read_backup_partition,
    read_partition,
    read_table,
    read_table_shapes,
    read_table_state,
    table_states_sql,
    tables_sql,
)

SALES = Dataset(DatasetRef("acme-shop", "sales"), "EU")
NO_OPTIONS = [None] * 6
MICROS, MOMENT = "1769825700123457", datetime(2026, 1, 31, 2, 15, 0, 123457, tzinfo=UTC)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        pytest.param(None, {}, id="no labels"),
        pytest.param("[]", {}, id="an empty list"),
        pytest.param('[STRUCT("bbq", "skip")]', {"bbq": "skip"}, id="one"),
        pytest.param('[STRUCT("a", "1"), STRUCT("b", "")]', {"a": "1", "b": ""}, id="two, one without a value"),
        pytest.param('[STRUCT("größe", "l_2-x")]', {"größe": "l_2-x"}, id="other scripts"),
    ],
)
def test_labels_are_read_as_table_options_shows_them(option: str | None, expected: dict[str, str]) -> None:
    assert parse_labels(option) == expected


def test_an_ingestion_time_table_keeps_its_hidden_column_apart() -> None:
    row = ["events", "BASE TABLE", MICROS, "2", INGESTION_TIME_COLUMN, "TIMESTAMP", "-17", None, *NO_OPTIONS]

    table = read_table(row, SALES, {})

    assert table == SourceTable(
        SALES.ref.table("events"),
        "BASE TABLE",
        MOMENT,
        2,
        State(),
        INGESTION_TIME_COLUMN,
        "TIMESTAMP",
        {},
        schema="-17",
    )
    assert table.is_partitioned_by_ingestion_time


def test_a_table_without_columns_is_read_as_having_none() -> None:
    row = ["new", "BASE TABLE", MICROS, None, None, None, None, None, *NO_OPTIONS]

    assert read_table(row, SALES, {}).columns == 0


def test_the_options_of_a_table_are_read_as_table_options_shows_them() -> None:
    row = [
        "t",
        "BASE TABLE",
        MICROS,
        "2",
        None,
        None,
        None,
        None,
        '"Gate \\"A\\"\\n1"',
        '"T"',
        "true",
        "30.0",
        '"key"',
        "und:ci",
    ]

    assert read_table(row, SALES, {}).options == TableOptions('Gate "A"\n1', "T", (), True, 30.0, "key", "und:ci")


def test_the_shape_of_a_table_is_read_from_its_columns() -> None:
    rows = [
        ["events", "BASE TABLE", "_PARTITIONTIME", "TIMESTAMP", "YES", "YES", None],
        ["events", "BASE TABLE", "id", "INT64", "NO", "NO", "2"],
        ["events", "BASE TABLE", "kind", "STRING", "NO", "NO", "1"],
        ["new", "BASE TABLE", None, None, None, None, None],
    ]

    assert dict(read_table_shapes(rows)) == {
        "events": TableShape(
            "BASE TABLE", (("id", "INT64"), ("kind", "STRING")), "_PARTITIONTIME", "TIMESTAMP", ("kind", "id")
        ),
        "new": TableShape("BASE TABLE", ()),
    }


def test_a_table_that_was_never_written_has_no_time() -> None:
    read = read_table_state(["sales", "new", "0", "0", None], "acme-shop")

    assert read == (SALES.ref.table("new"), State(0, 0, None))


@pytest.mark.parametrize(
    "partition", [pytest.param(None, id="whole table"), "20240131", "2024013123", NULL_PARTITION, UNPARTITIONED]
)
def test_partition_ids_are_taken_as_they_are(partition: str | None) -> None:
    unit = read_partition(["events", partition, "3", "30", MICROS], {"events": SALES.ref.table("events")})

    assert (unit.unit, unit.state) == (SALES.ref.table("events").unit(partition), State(3, 30, MOMENT))


def test_a_backup_table_that_holds_nothing_has_no_rows_to_speak_of() -> None:
    assert read_backup_partition(["t", "false", None, None, None, None]) == ("t", False, None, State())


def test_the_region_of_a_query_is_written_as_bigquery_wants_it() -> None:
    assert "`acme-shop`.`region-europe-west2`.INFORMATION_SCHEMA" in table_states_sql("acme-shop", "europe-west2")
    assert "`acme-shop`.`region-eu`.INFORMATION_SCHEMA" in table_states_sql("acme-shop", "EU")


def test_a_hostile_name_does_not_reach_the_query() -> None:
    with pytest.raises(Refused):
        tables_sql(DatasetRef("acme-shop", "sales`.INFORMATION_SCHEMA.TABLES; DROP SCHEMA sales; --"))
