"""The catalog on the embedded BigQuery: its contract, its schema, its faults, its number of calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from google.cloud import bigquery as bq

from bbq_dagster.apply.holding import release_hold
from bbq_dagster.core.catalog import COLUMNS, copy_planned, dataset_scanned, table_settled
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.naming import copy_id
from bbq_dagster.core.retention_record import held
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.versions import Absence, DatasetRecord
from bbq_dagster.errors import Permanent, Refused, Transient
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.warehouse.catalog_schema import CLUSTERED_BY, VERSION_LABEL
from bbq_dagster.warehouse.catalog_sql import EVERYTHING, RECORD_COLUMNS, View, dataset_records, views
from bbq_dagster.warehouse.catalog_store import BigQueryCatalog
from bbq_dagster.warehouse.client import build_client
from bbq_dagster.warehouse.queries import Queries
from bbq_dagster_tests.builders import EVENTS, LOCATION, NOW, ORDERS, SALES, a_copy, a_table
from bbq_dagster_tests.warehouse.contracts import CatalogContract
from bbq_dagster_tests.warehouse.stories import backed_up, days, failed, found_empty, found_gone
from bbq_dagster_tests.warehouse.test_bigquery import QUICK, counted
from bbq_dagster_tests.warehouse.test_catalog_docs import QUERIES

DATASET = bq.DatasetReference("acme-backup", "bbq_catalog")


@pytest.fixture
def client(bigquery: LocalBigQuery) -> bq.Client:
    return build_client("acme-backup", endpoint=bigquery.url, credentials="anonymous")


Question = Callable[[BigQueryCatalog], object]

READINGS: dict[str, Question] = {
    "records": lambda catalog: catalog.records(None),
    "records for a scan": lambda catalog: catalog.scan_records("acme-shop", only=None, besides=[]),
    "versions": lambda catalog: catalog.versions([ORDERS]),
    "latest": lambda catalog: catalog.latest(),
    "pasts": lambda catalog: catalog.pasts([SALES]),
    "history": lambda catalog: catalog.history(),
    "retention": lambda catalog: catalog.retention_records(None),
    "holds": lambda catalog: catalog.holds(),
    "proofs": lambda catalog: catalog.verifications(None),
    "what a day used": lambda catalog: catalog.verified_since(NOW),
    "restore times": lambda catalog: catalog.restore_times(None),
    "copy jobs": lambda catalog: catalog.copy_jobs_since(NOW),
    "deletions": lambda catalog: catalog.deletions_since(NOW),
    "repetitions": lambda catalog: catalog.repetitions(),
}


def new_catalog(client: bq.Client, *, location: str = LOCATION) -> BigQueryCatalog:
    """As a new process has it: nothing is known of what others prepared."""
    return BigQueryCatalog(client, backup_project="acme-backup", location=location, patience=QUICK)


@pytest.fixture
def catalog(client: bq.Client) -> BigQueryCatalog:
    catalog = new_catalog(client)
    catalog.prepare()
    return catalog


class TestBigQueryCatalog(CatalogContract):
    @pytest.fixture
    def catalog(self, catalog: BigQueryCatalog) -> BigQueryCatalog:
        return catalog


class TestSchema:
    def test_the_events_are_partitioned_by_day_and_clustered_by_source(
        self, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        events = client.get_table(DATASET.table("events"))

        assert [(field.name, field.description, field.mode == "REQUIRED") for field in events.schema] == [
            (column.name, column.description, column.required) for column in COLUMNS
        ]
        assert (events.time_partitioning.type_, events.time_partitioning.field) == ("DAY", "recorded_at")
        assert events.clustering_fields == list(CLUSTERED_BY)

    @pytest.mark.parametrize("view", views("events", "versions"), ids=lambda view: view.name)
    def test_every_column_of_a_view_is_there_and_described(
        self, view: View, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        made = client.get_table(DATASET.table(view.name))
        shown = client.query_and_wait(f"SELECT * FROM `acme-backup.bbq_catalog.{view.name}`", location=LOCATION)

        described = [(column.name, column.description) for column in view.columns]
        assert [(field.name, field.description) for field in made.schema] == described
        assert [(field.name, field.field_type) for field in shown.schema] == [
            (field.name, field.field_type) for field in made.schema
        ]

    def test_the_dataset_says_which_schema_it_has(self, catalog: BigQueryCatalog, client: bq.Client) -> None:
        assert client.get_dataset(DATASET).labels == {"bbq": "catalog", VERSION_LABEL: "2"}

    def test_a_catalog_that_is_up_to_date_costs_one_call(
        self, bigquery: LocalBigQuery, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        with counted(bigquery) as calls:
            new_catalog(client).prepare()

        assert calls == {"datasets.get": 1}

    def test_a_prepared_catalog_is_not_looked_at_again(self, bigquery: LocalBigQuery, catalog: BigQueryCatalog) -> None:
        with counted(bigquery) as calls:
            catalog.prepare()

        assert calls == {}

    @pytest.mark.parametrize("call", ["datasets.insert", "tables.insert", "tables.patch", "datasets.patch"])
    @pytest.mark.parametrize("after", [0, 1, 2])
    def test_a_stop_on_the_way_is_finished_by_the_next_run(
        self, call: str, after: int, bigquery: LocalBigQuery, client: bq.Client
    ) -> None:
        bigquery.fault(match={"call": call}, action={"http_error": {"reason": "accessDenied"}}, after=after, times=1)
        with suppress(Permanent):
            new_catalog(client).prepare()

        catalog = new_catalog(client)
        catalog.prepare()
        catalog.append([backed_up(ORDERS.unit(), at=NOW)])

        assert len(catalog.latest()) == 1
        assert client.get_dataset(DATASET).labels[VERSION_LABEL] == "2"

    def test_an_older_catalog_gets_the_columns_and_views_that_came_later(
        self, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        catalog.append([backed_up(ORDERS.unit(), at=NOW)])
        make_older(client)
        newer = new_catalog(client)
        newer.prepare()
        newer.append([backed_up(ORDERS.unit(), at=NOW + days(1))])
        events = client.get_table(DATASET.table("events"))

        assert {field.name for field in events.schema} == {column.name for column in COLUMNS}
        assert len(newer.versions([ORDERS])) == 2
        assert newer.verifications(None) == []

    def test_an_older_catalog_is_read_as_it_will_be_once_it_is_up_to_date(
        self, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        catalog.append([backed_up(ORDERS.unit(), at=NOW), found_gone(EVENTS.unit("20240131"), at=NOW)])
        make_older(client)

        older = {name: question(catalog) for name, question in READINGS.items()}
        version = client.get_dataset(DATASET).labels[VERSION_LABEL]
        new_catalog(client).prepare()

        assert older == {name: question(catalog) for name, question in READINGS.items()}
        assert version == "1", "reading changes nothing"

    def test_a_hold_of_an_older_catalog_can_be_released(self, catalog: BigQueryCatalog, client: bq.Client) -> None:
        hold = Hold(str(ORDERS), "ada", "audit", NOW)
        catalog.append([held(hold, ORDERS.unit(), run_id="r")])
        make_older(client)
        older = new_catalog(client)

        release_hold(older, hold.hold_id, now=NOW + days(1), run_id="r")

        assert older.holds() == []

    def test_a_query_that_is_wrong_is_no_matter_of_the_schema(
        self, bigquery: LocalBigQuery, catalog: BigQueryCatalog
    ) -> None:
        bigquery.fault(match={"call": "jobs.query"}, action={"http_error": {"reason": "invalidQuery"}}, times=1)

        with pytest.raises(Permanent, match="invalidQuery"):
            catalog.versions([ORDERS])

    def test_a_newer_catalog_is_refused(self, catalog: BigQueryCatalog, client: bq.Client) -> None:
        dataset = client.get_dataset(DATASET)
        dataset.labels = {VERSION_LABEL: "3"}
        client.update_dataset(dataset, ["labels"])

        with pytest.raises(Refused, match="schema version 3, this bbq knows 2"):
            new_catalog(client).prepare()

    def test_a_catalog_in_another_location_is_refused(self, catalog: BigQueryCatalog, client: bq.Client) -> None:
        with pytest.raises(Refused, match="is in EU, not in US"):
            new_catalog(client, location="US").prepare()

    def test_a_catalog_that_would_expire_is_refused(self, client: bq.Client) -> None:
        dataset = bq.Dataset(DATASET)
        dataset.location, dataset.default_table_expiration_ms = LOCATION, 24 * 3600 * 1000
        client.create_dataset(dataset)

        with pytest.raises(Refused, match="default expiration"):
            new_catalog(client).prepare()


def make_older(client: bq.Client) -> None:
    """The catalog as version 1 left it: without the columns and the view of verifications."""
    for view in ("proofs", "latest", "history", "versions"):
        client.delete_table(DATASET.table(view), not_found_ok=True)
    later = {"source_schema", "outcome", "how", "fingerprint", "bytes_scanned", "duration_ms"}
    kept = ", ".join(column.name for column in COLUMNS if column.name not in later)
    name = "`acme-backup.bbq_catalog.{}`".format
    client.query_and_wait(f"CREATE TABLE {name('older')} AS SELECT {kept} FROM {name('events')}", location=LOCATION)
    events = client.get_table(DATASET.table("events"))
    older = bq.Table(events.reference, schema=[field for field in events.schema if field.name not in later])
    older.time_partitioning, older.clustering_fields = events.time_partitioning, events.clustering_fields
    client.delete_table(events)
    client.create_table(older)
    client.query_and_wait(f"INSERT {name('events')} ({kept}) SELECT {kept} FROM {name('older')}", location=LOCATION)
    dataset = client.get_dataset(DATASET)
    dataset.labels = {VERSION_LABEL: "1"}
    client.update_dataset(dataset, ["labels"])


class TestAppending:
    def test_a_batch_is_one_load_job(self, bigquery: LocalBigQuery, catalog: BigQueryCatalog) -> None:
        with counted(bigquery) as calls:
            catalog.append([backed_up(ORDERS.unit(), at=NOW + days(number)) for number in range(100)])

        assert calls["jobs.insert"] == 1
        assert set(calls) <= {"jobs.insert", "jobs.get"}

    @pytest.mark.slow
    def test_a_batch_of_many_megabytes_is_stored_whole(self, catalog: BigQueryCatalog, client: bq.Client) -> None:
        batch = [backed_up(ORDERS.unit(), at=NOW + timedelta(seconds=number)) for number in range(7000)]

        catalog.append(batch)

        assert client.get_table(DATASET.table("events")).num_rows == 7000

    def test_nothing_costs_nothing(self, bigquery: LocalBigQuery, catalog: BigQueryCatalog) -> None:
        with counted(bigquery) as calls:
            catalog.append([])

        assert calls == {}

    def test_a_lost_answer_does_not_store_twice(
        self, bigquery: LocalBigQuery, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        bigquery.fault(match={"call": "jobs.insert"}, action={"reset": "after"}, times=1)

        catalog.append([backed_up(ORDERS.unit(), at=NOW)])

        assert client.get_table(DATASET.table("events")).num_rows == 1

    def test_the_same_batch_of_another_process_is_stored_once(
        self, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        batch = [backed_up(ORDERS.unit(), at=NOW), failed(EVENTS.unit("20240131"), at=NOW)]

        catalog.append(batch)
        new_catalog(client).append(batch[::-1])

        assert client.get_table(DATASET.table("events")).num_rows == 2

    def test_a_load_that_failed_in_bigquery_is_done_anew(
        self, bigquery: LocalBigQuery, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        bigquery.fault(match={"job_type": "load"}, action={"job_error": {"reason": "backendError"}}, times=2)

        catalog.append([backed_up(ORDERS.unit(), at=NOW)])

        assert client.get_table(DATASET.table("events")).num_rows == 1

    def test_a_load_that_keeps_failing_is_given_up(self, bigquery: LocalBigQuery, catalog: BigQueryCatalog) -> None:
        bigquery.fault(match={"job_type": "load"}, action={"job_error": {"reason": "backendError"}})

        with pytest.raises(Transient, match="writing events to the catalog"):
            catalog.append([backed_up(ORDERS.unit(), at=NOW)])

    def test_a_batch_that_was_refused_can_be_written_once_the_cause_is_gone(
        self, bigquery: LocalBigQuery, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        batch = [backed_up(ORDERS.unit(), at=NOW)]
        bigquery.fault(match={"job_type": "load"}, action={"job_error": {"reason": "accessDenied"}}, times=1)
        with pytest.raises(Permanent, match=r"bigquery\.tables\.updateData"):
            catalog.append(batch)

        catalog.append(batch)

        assert client.get_table(DATASET.table("events")).num_rows == 1


class TestReading:
    def test_records_of_all_datasets_cost_one_query(self, bigquery: LocalBigQuery, catalog: BigQueryCatalog) -> None:
        with counted(bigquery) as calls:
            catalog.records([SALES, DatasetRef("acme-shop", "stock"), DatasetRef("acme-web", "sales")])

        assert calls == {"jobs.query": 1}

    def test_a_long_history_is_read_as_what_holds_now(self, catalog: BigQueryCatalog, client: bq.Client) -> None:
        unit = ORDERS.unit()
        for number in range(5):
            at = NOW + days(number)
            later = at + timedelta(hours=1)
            catalog.append(
                [
                    *copy_planned(a_copy(unit), at=at, run_id="run-1"),
                    failed(unit, at=at),
                    found_empty(unit, at=at),
                    table_settled(a_table(EVENTS, partitioned=True), at=at, run_id="run-1"),
                    replace(backed_up(unit, at=later), copy_id=copy_id(a_copy(unit))),
                ]
            )

        rows = Queries(client, QUICK).rows(
            dataset_records("`acme-backup.bbq_catalog.events`", EVERYTHING),
            location=LOCATION,
            doing="reading",
            needs=[],
        )

        kind = RECORD_COLUMNS.index("event")
        assert sorted(str(row[kind]) for row in rows) == ["table_settled", "version_created"]

    def test_the_latest_versions_say_what_became_of_their_source(self, catalog: BigQueryCatalog) -> None:
        catalog.append(
            [
                backed_up(ORDERS.unit(), at=NOW),
                backed_up(ORDERS.unit(), at=NOW + days(1)),
                backed_up(EVENTS.unit("20240131"), at=NOW),
                found_gone(EVENTS.unit("20240131"), at=NOW + days(2)),
                backed_up(EVENTS.unit("20240201"), at=NOW),
                found_empty(EVENTS.unit("20240201"), at=NOW + days(1)),
                backed_up(EVENTS.unit("20240201"), at=NOW + days(3)),
                backed_up(DatasetRef("acme-shop", "stock").table("orders").unit(), at=NOW),
            ]
        )

        latest = catalog.latest([SALES])

        assert [(one.version.unit.key, one.version.captured_at, one.absence, one.absent_since) for one in latest] == [
            ("events$20240131", NOW, Absence.VANISHED, NOW + days(2)),
            ("events$20240201", NOW + days(3), None, None),
            ("orders", NOW + days(1), None, None),
        ]
        assert len(catalog.latest()) == 4

    def test_a_deleted_version_is_live_no_more(self, catalog: BigQueryCatalog, client: bq.Client) -> None:
        old, new = backed_up(ORDERS.unit(), at=NOW), backed_up(ORDERS.unit(), at=NOW + days(1))
        catalog.append([old, new])
        deleted = new.as_row() | {
            "event": "version_deleted",
            "event_id": "deleted",
            "recorded_at": (NOW + days(2)).isoformat(),
        }
        client.load_table_from_json([deleted], DATASET.table("events")).result()

        assert [version.captured_at for version in catalog.versions([ORDERS])] == [NOW]
        assert [one.version.captured_at for one in catalog.latest()] == [NOW]
        assert catalog.records([SALES])[SALES].latest[ORDERS.unit()].captured_at == NOW

    def test_a_catalog_that_is_not_there_says_so(self, client: bq.Client) -> None:
        with pytest.raises(Permanent, match=r"reading the catalog acme-backup\.bbq_catalog"):
            new_catalog(client).versions([ORDERS])

    def test_before_there_is_a_catalog_nothing_is_on_record_of_a_dataset(self, client: bq.Client) -> None:
        catalog = new_catalog(client)

        assert catalog.records([SALES]) == {SALES: DatasetRecord()}
        assert catalog.copy_jobs_since(NOW) == 0

    @pytest.mark.parametrize("number", range(len(QUERIES)))
    def test_every_query_of_the_page_about_the_catalog_runs(
        self, number: int, catalog: BigQueryCatalog, client: bq.Client
    ) -> None:
        catalog.append(
            [
                dataset_scanned(SALES, location=LOCATION, tables=2, at=NOW, run_id="run-1"),
                backed_up(ORDERS.unit(), at=NOW),
                backed_up(ORDERS.unit(), at=NOW + days(1)),
                backed_up(EVENTS.unit("20240131"), at=NOW),
                found_gone(EVENTS.unit("20240131"), at=NOW + days(1)),
            ]
        )

        list(client.query_and_wait(QUERIES[number], location=LOCATION))
