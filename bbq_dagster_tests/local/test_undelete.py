"""Datasets that were deleted and come back. Source: restore-deleted-datasets."""

from datetime import timedelta
from pathlib import Path

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import NOW, a_dataset, a_day_table, a_table, partitions_of, rows_of


def undelete(client: bq.Client, name: str = "sales", **body: str) -> None:
    client._connection.api_request("POST", f"/projects/shop/datasets/{name}:undelete", data=body)


def delete(client: bq.Client, name: str = "sales") -> None:
    client.delete_dataset(f"shop.{name}", delete_contents=True)


def test_a_dataset_comes_back_with_what_was_in_it(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01", "2024-01-02"])
    client.query_and_wait("CREATE VIEW sales.v AS SELECT * FROM sales.t")
    a_table(client, "before", [{"a": 1}])
    client.delete_table("shop.sales.before")
    bigquery.advance(timedelta(hours=1))
    delete(client)
    bigquery.advance(timedelta(days=6))

    undelete(client)

    assert [table.table_id for table in client.list_tables("shop.sales")] == ["t", "v"]
    assert partitions_of(bigquery, "t") == {"20240101": 1, "20240102": 1}
    assert client.get_dataset("shop.sales").location == "EU"
    assert [row.values()[0] for row in client.query_and_wait("SELECT COUNT(*) FROM sales.v")] == [2]


def test_it_is_over_with_the_time_travel_window(bigquery: LocalBigQuery, client: bq.Client) -> None:
    delete(client)
    bigquery.advance(timedelta(days=7, seconds=1))

    with pytest.raises(NotFound, match="Not found: Dataset shop:sales"):
        undelete(client)


def test_a_dataset_of_the_same_name_ends_it(client: bq.Client) -> None:
    delete(client)
    a_dataset(client)

    with pytest.raises(Conflict, match="Already Exists: Dataset shop:sales"):
        undelete(client)


def test_what_was_undeleted_stays_for_seven_days(bigquery: LocalBigQuery, client: bq.Client) -> None:
    delete(client)
    undelete(client)
    bigquery.advance(timedelta(days=7) - timedelta(seconds=1))

    with pytest.raises(BadRequest, match="undeleted less than 7 days ago"):
        delete(client)
    bigquery.advance(timedelta(seconds=1))
    delete(client)


def test_another_deletion_time_finds_nothing(bigquery: LocalBigQuery, client: bq.Client) -> None:
    delete(client)

    with pytest.raises(NotFound):
        undelete(client, deletionTime="2024-02-01T00:00:00Z")
    with pytest.raises(BadRequest, match="Invalid value for deletionTime"):
        undelete(client, deletionTime="yesterday")
    undelete(client, deletionTime=NOW.isoformat())


def test_a_restart_does_not_end_it(tmp_path: Path) -> None:
    with LocalBigQuery(tmp_path, now=NOW) as bigquery:
        client = bigquery.client("shop")
        a_dataset(client)
        a_table(client, "t", [{"a": 1}])
        delete(client)
    with LocalBigQuery(tmp_path) as bigquery:
        client = bigquery.client("shop")
        undelete(client)

        assert rows_of(client, "t") == [(1,)]


def test_no_other_verb_of_a_dataset_is_known(client: bq.Client) -> None:
    with pytest.raises(NotFound):
        client._connection.api_request("POST", "/projects/shop/datasets/sales:explode", data={})
