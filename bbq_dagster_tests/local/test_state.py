"""What moves rows, bytes, lastModifiedTime and etag of a table, and of which partitions."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import NOW, a_day_table, copy, load, modified_of

LATER = NOW + timedelta(hours=1)
ROW = {"a": 9, "day": "2024-01-02"}


def by_load(client: bq.Client) -> None:
    load(client, "t", [ROW])


def by_load_into_a_partition(client: bq.Client) -> None:
    load(client, "t$20240102", [ROW], "WRITE_TRUNCATE")


def by_copy(client: bq.Client) -> None:
    a_day_table(client, "source", ["2024-01-02"])
    copy(client, "source", "t", write_disposition="WRITE_APPEND")


def by_insert(client: bq.Client) -> None:
    client.query_and_wait("INSERT INTO `shop.sales.t` (a, day) VALUES (9, DATE '2024-01-02')")


def by_update(client: bq.Client) -> None:
    client.query_and_wait("UPDATE `shop.sales.t` SET a = 9 WHERE day = DATE '2024-01-02'")


def by_query_destination(client: bq.Client) -> None:
    config = bq.QueryJobConfig(destination="shop.sales.t", write_disposition="WRITE_APPEND")
    client.query("SELECT 9 AS a, DATE '2024-01-02' AS day", job_config=config).result()


@pytest.mark.parametrize(
    "write", [by_load, by_load_into_a_partition, by_copy, by_insert, by_update, by_query_destination]
)
def test_a_write_moves_the_table_and_only_the_partition_written(
    bigquery: LocalBigQuery, client: bq.Client, write: Callable[[bq.Client], None]
) -> None:
    """information-schema-partitions: last_modified_time is the last write of data into the partition."""
    a_day_table(client, "t", ["2024-01-01", "2024-01-02"])
    etag = client.get_table("shop.sales.t").etag
    bigquery.advance(timedelta(hours=1))

    write(client)

    assert modified_of(client, "t") == LATER
    assert (modified_of(client, "t$20240101"), modified_of(client, "t$20240102")) == (NOW, LATER)
    assert client.get_table("shop.sales.t").etag != etag


def test_reading_moves_nothing(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01"])
    before = client.get_table("shop.sales.t")
    bigquery.advance(timedelta(hours=1))

    client.query_and_wait("SELECT * FROM `shop.sales.t`")
    copy(client, "t", "u")

    assert client.get_table("shop.sales.t").to_api_repr() == before.to_api_repr()


def test_creation_time_is_that_of_the_present_table(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t")
    client.delete_table("shop.sales.t")
    bigquery.advance(timedelta(hours=1))
    a_day_table(client, "t")

    assert client.get_table("shop.sales.t").created == LATER
