"""insertAll and the streaming buffer. Source: write-api-rest."""

from datetime import timedelta

import pytest
from google.api_core.exceptions import BadRequest
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import NOW, A, a_day_table, a_table, modified_of, partitions_of, rows_of

ROW = {"a": 1, "day": "2024-01-01"}


def test_streamed_rows_are_seen_by_queries_and_not_counted(client: bq.Client) -> None:
    """tables: numRows excludes the streaming buffer."""
    a_table(client, "t")

    client.insert_rows_json("shop.sales.t", [{"a": 1}])

    table = client.get_table("shop.sales.t")
    assert [tuple(r.values()) for r in client.query_and_wait("SELECT a FROM `shop.sales.t`")] == [(1,)]
    assert (table.num_rows, table.streaming_buffer.estimated_rows, table.streaming_buffer.oldest_entry_time) == (
        0,
        1,
        NOW,
    )


def test_the_buffer_of_a_partitioned_table_is_its_unpartitioned_partition(client: bq.Client) -> None:
    a_day_table(client, "t")

    client.insert_rows_json("shop.sales.t", [ROW])

    assert client.get_table("shop.sales.t$__UNPARTITIONED__").num_rows == 1
    assert client.get_table("shop.sales.t$20240101").num_rows == 0


def test_a_flushed_partition_is_as_modified_as_when_it_was_streamed(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """write-api-rest: the partition's time is the time of streaming, maybe hours ago."""
    bigquery.settings(streaming_flush_seconds=5400)
    a_day_table(client, "t", ["2024-01-02"])
    bigquery.advance(timedelta(minutes=1))
    client.insert_rows_json("shop.sales.t", [ROW])
    bigquery.advance(timedelta(hours=2))

    table = client.get_table("shop.sales.t")

    assert (table.num_rows, table.streaming_buffer) == (2, None)
    assert partitions_of(bigquery, "t") == {"20240101": 1, "20240102": 1}
    assert modified_of(client, "t$20240101") == NOW + timedelta(minutes=1)
    assert modified_of(client, "t$20240102") == NOW


def test_one_bad_row_stops_all(client: bq.Client) -> None:
    """REST insertAll."""
    a_table(client, "t")

    errors = client.insert_rows_json("shop.sales.t", [{"a": 1}, {"b": 2}])

    assert [(e["index"], e["errors"][0]["reason"]) for e in errors] == [(1, "invalid"), (0, "stopped")]
    assert rows_of(client, "t") == []


def test_bad_rows_are_skipped_on_request(client: bq.Client) -> None:
    a_table(client, "t")

    errors = client.insert_rows_json("shop.sales.t", [{"a": 1}, {"b": 2}], skip_invalid_rows=True)

    assert [e["index"] for e in errors] == [1]
    assert rows_of(client, "t") == [(1,)]


def test_a_required_field_must_be_there(client: bq.Client) -> None:
    a_table(client, "t", (), [bq.SchemaField("a", "INTEGER", mode="REQUIRED"), bq.SchemaField("b", "STRING")])

    errors = client.insert_rows_json("shop.sales.t", [{"b": "x"}])

    assert errors[0]["errors"][0]["message"] == "Missing required field: a."


def test_views_take_no_rows(client: bq.Client) -> None:
    view = bq.Table("shop.sales.v")
    view.view_query = "SELECT 1 AS a"
    client.create_table(view)

    with pytest.raises(BadRequest, match="currently a VIEW"):
        client.insert_rows_json("shop.sales.v", [{A.name: 1}])


def test_a_row_that_is_streamed_again_is_kept_once(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """write-api-rest: insertId, for a minute; a row without one is always new."""
    a_table(client, "t")
    stream = lambda *ids: client.insert_rows_json("shop.sales.t", [{"a": 1}] * len(ids), row_ids=ids)  # noqa: E731

    stream("one", "two", "one")
    bigquery.advance(timedelta(seconds=59))
    stream("one", None, None)
    bigquery.advance(timedelta(seconds=1))
    stream("one")

    assert [row.values()[0] for row in client.query_and_wait("SELECT COUNT(*) FROM sales.t")] == [5]
