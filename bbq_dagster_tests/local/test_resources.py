"""Datasets and tables as resources, one test per rule. Sources: REST datasets and tables, managing-datasets, tables."""

from datetime import timedelta

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import (
    NOW,
    A,
    a_dataset,
    a_day_table,
    a_table,
    an_ingestion_table,
    load,
    modified_of,
    partitions_of,
    rows_of,
)


def test_a_dataset_keeps_what_it_was_created_with(client: bq.Client) -> None:
    a_dataset(
        client, "d", "europe-west1", labels={"k": "v"}, description="words", default_table_expiration_ms=7_200_000
    )

    got = client.get_dataset("shop.d")
    assert (got.location, got.labels, got.description) == ("europe-west1", {"k": "v"}, "words")
    assert got.default_table_expiration_ms == 7_200_000


def test_a_dataset_exists_once(client: bq.Client) -> None:
    with pytest.raises(Conflict, match="Already Exists: Dataset shop:sales"):
        a_dataset(client)


def test_a_missing_dataset_is_named(client: bq.Client) -> None:
    with pytest.raises(NotFound, match="Not found: Dataset shop:none"):
        client.get_dataset("shop.none")


def test_a_missing_table_is_named(client: bq.Client) -> None:
    with pytest.raises(NotFound, match=r"Not found: Table shop:sales.none"):
        client.get_table("shop.sales.none")


def test_a_dataset_with_tables_is_deleted_only_with_its_contents(client: bq.Client) -> None:
    """managing-datasets; reason resourceInUse."""
    a_table(client, "t")

    with pytest.raises(BadRequest, match="Dataset shop:sales is still in use"):
        client.delete_dataset("shop.sales")

    client.delete_dataset("shop.sales", delete_contents=True)
    assert list(client.list_datasets()) == []


def test_listed_datasets_carry_their_location(client: bq.Client) -> None:
    assert [d._properties["location"] for d in client.list_datasets()] == ["EU"]


def test_hidden_datasets_are_listed_only_on_request(client: bq.Client) -> None:
    a_dataset(client, "_hidden")

    assert [d.dataset_id for d in client.list_datasets()] == ["sales"]
    assert [d.dataset_id for d in client.list_datasets(include_all=True)] == ["_hidden", "sales"]


def test_pages_join_to_the_whole_list(client: bq.Client) -> None:
    for i in range(7):
        a_table(client, f"t{i}")

    pages = [[t.table_id for t in page] for page in client.list_tables("shop.sales", page_size=3).pages]

    assert pages == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]


def test_a_listed_table_has_no_modification_time(client: bq.Client) -> None:
    """tables.list: id, type, partitioning, clustering, labels; no lastModifiedTime, no sizes."""
    a_day_table(client, "t", labels={"k": "v"})

    (listed,) = client.list_tables("shop.sales")

    assert (listed.table_id, listed.table_type, listed.labels, listed.time_partitioning.type_) == (
        "t",
        "TABLE",
        {"k": "v"},
        "DAY",
    )
    assert not listed._properties.keys() & {"lastModifiedTime", "numRows", "numBytes", "schema"}


def test_the_basic_view_omits_times_and_sizes(client: bq.Client) -> None:
    """tables.get: view=BASIC omits lastModifiedTime and sizes."""
    a_table(client, "t")

    path = "/projects/shop/datasets/sales/tables/t"
    got = client._connection.api_request(method="GET", path=path, query_params={"view": "BASIC"})

    assert "schema" in got
    assert not got.keys() & {"lastModifiedTime", "numRows", "numBytes"}


@pytest.mark.parametrize(
    "partitioning",
    [
        pytest.param({"time_partitioning": bq.TimePartitioning(field="at", type_=unit)}, id=unit)
        for unit in ("HOUR", "DAY", "MONTH", "YEAR")
    ]
    + [
        pytest.param({"time_partitioning": bq.TimePartitioning()}, id="ingestion"),
        pytest.param({"range_partitioning": bq.RangePartitioning(bq.PartitionRange(0, 9, 3), "a")}, id="range"),
    ],
)
def test_every_partitioning_comes_back(client: bq.Client, partitioning: dict[str, object]) -> None:
    created = a_table(client, "t", (), (A, bq.SchemaField("at", "TIMESTAMP")), **partitioning)

    got = client.get_table("shop.sales.t")

    assert (got.time_partitioning, got.range_partitioning) == (created.time_partitioning, created.range_partitioning)


def test_null_in_a_patch_clears(client: bq.Client) -> None:
    """The documented way to take an expiration off."""
    table = a_day_table(client, "t", expiration_ms=86_400_000, expires=NOW + timedelta(days=1))
    table.expires, table.time_partitioning.expiration_ms = None, None

    client.update_table(table, ["expires", "time_partitioning"])

    got = client.get_table("shop.sales.t")
    assert (got.expires, got.time_partitioning.expiration_ms, got.time_partitioning.field) == (None, None, "day")


def test_a_patch_of_another_version_is_refused(client: bq.Client) -> None:
    """If-Match; reason conditionNotMet."""
    old = a_table(client, "t")
    load(client, "t", [{"a": 1}])
    old.description = "words"

    with pytest.raises(PreconditionFailed):
        client.update_table(old, ["description"])


def test_a_column_can_be_added_and_not_removed(client: bq.Client) -> None:
    """managing-table-schemas."""
    table = a_table(client, "t", [{"a": 1}])
    table.etag and table._properties.pop("etag")
    table.schema = [A, bq.SchemaField("b", "STRING")]
    client.update_table(table, ["schema"])
    table._properties.pop("etag", None)
    table.schema = [bq.SchemaField("b", "STRING")]

    with pytest.raises(BadRequest, match="Field a is missing in new schema"):
        client.update_table(table, ["schema"])

    assert rows_of(client, "t") == [(1, None)]


def test_new_tables_take_the_defaults_of_their_dataset(client: bq.Client) -> None:
    """REST datasets: partitioned tables take the partition expiration instead of the table's."""
    both = {"default_table_expiration_ms": 3_600_000, "default_partition_expiration_ms": 86_400_000}
    a_dataset(client, "short", **both)
    plain = client.create_table(bq.Table("shop.short.plain", schema=[A]))
    by_time = bq.Table("shop.short.days", schema=[A])
    by_time.time_partitioning = bq.TimePartitioning()
    days = client.create_table(by_time)

    assert plain.expires == NOW + timedelta(hours=1)
    assert (days.expires, days.time_partitioning.expiration_ms) == (None, 86_400_000)


def test_a_table_expires_by_the_clock(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_table(client, "t", expires=NOW + timedelta(hours=1))
    bigquery.advance(timedelta(hours=1))

    with pytest.raises(NotFound):
        client.get_table("shop.sales.t")


def test_an_expiration_in_the_past_deletes_at_once(client: bq.Client) -> None:
    """managing-tables."""
    table = a_table(client, "t")
    table.expires = NOW - timedelta(hours=1)
    client.update_table(table, ["expires"])

    assert list(client.list_tables("shop.sales")) == []


def test_partitions_expire_by_their_start(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-02-28", "2024-02-29", None], expiration_ms=2 * 86_400_000)
    assert partitions_of(bigquery, "t") == {"20240228": 1, "20240229": 1, "__NULL__": 1}

    bigquery.advance(timedelta(minutes=1))
    client.get_table("shop.sales.t")

    assert partitions_of(bigquery, "t") == {"20240229": 1, "__NULL__": 1}


def test_one_partition_can_be_deleted(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """managing-partitioned-tables."""
    a_day_table(client, "t", ["2024-01-01", "2024-01-02"])

    client.delete_table("shop.sales.t$20240101")

    assert partitions_of(bigquery, "t") == {"20240102": 1}


@pytest.mark.parametrize("partition", ["__NULL__", "__UNPARTITIONED__"])
def test_special_partitions_cannot_be_deleted(client: bq.Client, partition: str) -> None:
    """managing-partitioned-tables."""
    a_day_table(client, "t", [None])

    with pytest.raises(BadRequest, match="special partition"):
        client.delete_table(f"shop.sales.t${partition}")


def test_a_partition_has_its_own_rows_bytes_and_time(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01"])
    bigquery.advance(timedelta(hours=1))
    load(client, "t", [{"a": 1, "day": "2024-01-02"}, {"a": 2, "day": "2024-01-02"}])

    first, second = client.get_table("shop.sales.t$20240101"), client.get_table("shop.sales.t$20240102")
    assert (first.num_rows, first.num_bytes, first.modified) == (1, 16, NOW)
    assert (second.num_rows, second.num_bytes, second.modified) == (2, 32, NOW + timedelta(hours=1))


def test_a_description_moves_the_time_of_every_partition_in_tables_get(
    bigquery: LocalBigQuery, client: bq.Client
) -> None:
    """README of the original BBQ."""
    table = a_day_table(client, "t", ["2024-01-01"])
    bigquery.advance(timedelta(hours=1))
    table._properties.pop("etag")
    table.description = "words"
    client.update_table(table, ["description"])

    assert modified_of(client, "t$20240101") == NOW + timedelta(hours=1)
    assert {p.modified_ms for p in bigquery.store.tables("shop", "sales")[0].parts.values()} == {
        int(NOW.timestamp() * 1000)
    }


def test_ingestion_time_rows_go_to_the_partition_of_now(bigquery: LocalBigQuery, client: bq.Client) -> None:
    an_ingestion_table(client, "t", "HOUR", [{"a": 1}])

    assert partitions_of(bigquery, "t") == {"2024030112": 1}


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        pytest.param("1959-12-31", "__UNPARTITIONED__", id="before 1960"),
        pytest.param("1960-01-01", "19600101", id="the first"),
        pytest.param("2159-12-31", "21591231", id="the last"),
        pytest.param("2160-01-01", "__UNPARTITIONED__", id="after 2159"),
        pytest.param(None, "__NULL__", id="null"),
    ],
)
def test_dates_outside_1960_to_2159_have_no_partition(
    bigquery: LocalBigQuery, client: bq.Client, day: str | None, expected: str
) -> None:
    """partitioned-tables."""
    a_day_table(client, "t", [day])

    assert partitions_of(bigquery, "t") == {expected: 1}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("INTEGER", 1, 8),
        ("FLOAT", 1.5, 8),
        ("BOOLEAN", True, 1),
        ("STRING", "äb", 5),
        ("BYTES", "YWJj", 5),
        ("DATE", "2024-01-01", 8),
        ("TIMESTAMP", "2024-01-01T00:00:00Z", 8),
        ("NUMERIC", "1.5", 16),
        ("BIGNUMERIC", "1.5", 32),
        ("INTEGER", None, 0),
        ("STRING", None, 0),
    ],
)
def test_values_count_as_many_bytes_as_documented(client: bq.Client, field: str, value: object, expected: int) -> None:
    """pricing: data size calculation."""
    a_table(client, "t", [{"x": value, "n": 1}], [bq.SchemaField("x", field), bq.SchemaField("n", "INTEGER")])

    assert client.get_table("shop.sales.t").num_bytes == expected + 8


def test_a_view_is_listed_and_has_no_rows(client: bq.Client) -> None:
    view = bq.Table("shop.sales.v")
    view.view_query = "SELECT 1 AS a"
    client.create_table(view)

    assert [t.table_type for t in client.list_tables("shop.sales")] == ["VIEW"]
    assert client.get_table("shop.sales.v").view_query == "SELECT 1 AS a"


def test_names_may_have_spaces_dashes_and_letters_of_any_script(client: bq.Client) -> None:
    """tables: table naming."""
    a_table(client, "été 2024-01 表", [{"a": 1}])

    assert [t.table_id for t in client.list_tables("shop.sales")] == ["été 2024-01 表"]
    assert rows_of(client, "été 2024-01 表") == [(1,)]


def test_rows_are_listed_in_pages_and_by_columns(client: bq.Client) -> None:
    a_table(client, "t", [{"a": i, "b": "x"} for i in range(5)], [A, bq.SchemaField("b", "STRING")])

    rows = client.list_rows("shop.sales.t", selected_fields=[A], page_size=2)

    assert [tuple(row.values()) for row in rows] == [(i,) for i in range(5)]
