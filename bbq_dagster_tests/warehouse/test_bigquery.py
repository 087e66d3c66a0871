"""The BigQuery side of the warehouse port, on the embedded BigQuery: its contract, its faults, its number of calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from logging import WARNING
from time import sleep
from typing import Any

import pytest
from google.cloud import bigquery as bq

from bbq_dagster.core.inventory import INGESTION_TIME_COLUMN, Dataset
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.versions import Copy
from bbq_dagster.errors import BbqError, Permanent, Refused, Transient
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.warehouse.bigquery import LABELS, BigQueryWarehouse
from bbq_dagster.warehouse.client import Patience, build_client
from bbq_dagster.warehouse.information_schema import tables_sql
from bbq_dagster.warehouse.port import RATE_LIMIT, CopyStatus, JobRef
from bbq_dagster.warehouse.queries import Queries
from bbq_dagster_tests.builders import BACKUPS, EVENTS, LOCATION, ORDERS, SALES, a_copy
from bbq_dagster_tests.warehouse.contracts import WarehouseContract, job_of
from bbq_dagster_tests.warehouse.scene import BigQueryScene, reference

QUICK = Patience(request_timeout=5, give_up_after=3, first_pause=0.01, longest_pause=0.05)
BACKUP = BACKUPS.table("orders-1")
TRANSIENT_FAULTS: Mapping[str, Mapping[str, Any]] = {
    "503": {"http_error": {"reason": "backendError"}},
    "rate limit": {"http_error": {"reason": "rateLimitExceeded"}},
    "504 with an unknown reason": {"http_error": {"reason": "deadline", "status": 504}},
    "connection reset": {"reset": "before"},
    "lost answer": {"reset": "after"},
}


@pytest.fixture
def client(bigquery: LocalBigQuery) -> bq.Client:
    return build_client("acme-backup", endpoint=bigquery.url, credentials="anonymous", pool_size=16)


@pytest.fixture
def warehouse(client: bq.Client) -> BigQueryWarehouse:
    return BigQueryWarehouse(client, patience=QUICK)


@pytest.fixture
def scene(bigquery: LocalBigQuery) -> BigQueryScene:
    return BigQueryScene(bigquery.client("acme-shop"))


class TestBigQueryWarehouse(WarehouseContract):
    @pytest.fixture
    def warehouse(self, warehouse: BigQueryWarehouse) -> BigQueryWarehouse:
        return warehouse

    @pytest.fixture
    def scene(self, scene: BigQueryScene) -> BigQueryScene:
        return scene


@contextmanager
def counted(bigquery: LocalBigQuery) -> Iterator[Counter[str]]:
    """The calls that are made inside, by method; filled in at the end."""
    before, during = Counter(bigquery.calls()), Counter[str]()
    yield during
    during.update(Counter(bigquery.calls()) - before)


@pytest.fixture
def sales(scene: BigQueryScene) -> Dataset:
    scene.create_dataset(SALES)
    return Dataset(SALES, LOCATION)


@pytest.fixture
def orders(scene: BigQueryScene, sales: Dataset, warehouse: BigQueryWarehouse) -> Copy:
    """A copy that can be started: its source has three rows, its backup dataset is there."""
    scene.create_table(ORDERS, rows=3)
    warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="backups of acme-shop.sales")
    return a_copy(ORDERS.unit(), destination=BACKUP.unit())


class TestCalls:
    """What a day costs."""

    def test_a_dataset_costs_one_query_whatever_the_number_of_its_tables(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, scene: BigQueryScene, sales: Dataset
    ) -> None:
        for number in range(30):
            scene.create_table(SALES.table(f"t{number}"))

        with counted(bigquery) as calls:
            tables = warehouse.list_tables(sales, {})

        assert len(tables) == 30
        assert calls == {"jobs.query": 1}

    def test_the_states_of_a_project_cost_one_query(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, scene: BigQueryScene, sales: Dataset
    ) -> None:
        scene.create_table(ORDERS, rows=1)

        with counted(bigquery) as calls:
            warehouse.table_states("acme-shop", LOCATION)

        assert calls == {"jobs.query": 1}

    def test_all_datasets_cost_one_call(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, scene: BigQueryScene
    ) -> None:
        for number in range(5):
            scene.create_dataset(DatasetRef("acme-shop", f"d{number}"))

        with counted(bigquery) as calls:
            warehouse.list_datasets("acme-shop")

        assert calls == {"datasets.list": 1}

    def test_partitions_cost_a_query_per_thousand_tables(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, sales: Dataset
    ) -> None:
        tables = [SALES.table(f"t{number}") for number in range(1001)]

        with counted(bigquery) as calls:
            list(warehouse.list_partitions(sales, tables))

        assert calls == {"jobs.query": 2}

    def test_a_backup_dataset_is_looked_at_once(self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse) -> None:
        warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")

        with counted(bigquery) as calls:
            warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")

        assert calls == {}

    def test_many_running_jobs_cost_one_call(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, orders: Copy
    ) -> None:
        jobs = [JobRef(f"bbq_many_{number}", LOCATION) for number in range(50)]
        for number, job in enumerate(jobs):
            warehouse.start_copy(replace(orders, destination=BACKUPS.table(f"copy-{number}").unit()), job)

        with counted(bigquery) as calls:
            statuses = warehouse.copy_statuses(jobs)

        assert set(statuses) == set(jobs)
        assert calls == {"jobs.list": 1}

    def test_jobs_of_an_earlier_run_are_found_as_well(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, client: bq.Client, orders: Copy
    ) -> None:
        jobs = [JobRef(f"bbq_many_{number}", LOCATION) for number in range(20)]
        for number, job in enumerate(jobs):
            warehouse.start_copy(replace(orders, destination=BACKUPS.table(f"copy-{number}").unit()), job)

        with counted(bigquery) as calls:
            statuses = BigQueryWarehouse(client, patience=QUICK).copy_statuses(jobs)

        assert set(statuses) == set(jobs)
        assert calls == {"jobs.list": 1}

    def test_the_answer_to_a_start_tells_of_a_job_that_is_done(
        self, warehouse: BigQueryWarehouse, orders: Copy
    ) -> None:
        status = warehouse.start_copy(orders, job_of(BACKUP.unit()))

        assert status == ended(warehouse, job_of(BACKUP.unit()))
        assert status is not None
        assert (status.is_done, status.rows) == (True, 3)

    def test_a_start_of_a_job_that_is_there_tells_nothing_of_it(
        self, warehouse: BigQueryWarehouse, orders: Copy
    ) -> None:
        warehouse.start_copy(orders, job_of(BACKUP.unit()))

        assert warehouse.start_copy(orders, job_of(BACKUP.unit())) is None

    def test_what_rate_limits_refuse_comes_back_at_once(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, orders: Copy
    ) -> None:
        bigquery.limits(requests_per_second=1)
        warehouse.start_copy(orders, job_of(BACKUP.unit()))

        with counted(bigquery) as calls, pytest.raises(Transient) as refused:
            warehouse.start_copy(orders, job_of(BACKUP.unit()))

        assert refused.value.reason == RATE_LIMIT
        assert calls == {"jobs.insert": 1}

    def test_a_creation_that_rate_limits_refuse_comes_back_at_once(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, orders: Copy
    ) -> None:
        bigquery.limits(tables_insert_per_second=1)
        warehouse.create_table_like(ORDERS, BACKUPS.table("first"), description="")

        with counted(bigquery) as calls, pytest.raises(Transient) as refused:
            warehouse.create_table_like(ORDERS, BACKUPS.table("second"), description="")

        assert refused.value.reason == RATE_LIMIT
        assert calls["tables.insert"] == 1


class TestFaults:
    def test_a_lost_answer_does_not_copy_twice(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, orders: Copy
    ) -> None:
        bigquery.fault(match={"call": "jobs.insert"}, action={"reset": "after"}, times=1)

        with counted(bigquery) as calls:
            warehouse.start_copy(orders, job_of(BACKUP.unit()))
        status = ended(warehouse, job_of(BACKUP.unit()))

        assert calls == {"jobs.insert": 2}
        assert (status.rows, status.error) == (3, None)

    @pytest.mark.parametrize(
        ("call", "action"),
        [
            pytest.param(call, action, id=f"{call}: {name}")
            for call in ("datasets.list", "jobs.query", "tables.get", "tables.insert", "datasets.insert")
            for name, action in TRANSIENT_FAULTS.items()
            if (call, name) != ("tables.insert", "rate limit")  # told at once
        ],
    )
    def test_what_is_transient_is_repeated(
        self,
        call: str,
        action: Mapping[str, Any],
        bigquery: LocalBigQuery,
        warehouse: BigQueryWarehouse,
        scene: BigQueryScene,
        sales: Dataset,
    ) -> None:
        scene.create_partitioned_table(EVENTS, {"20240131": 2})
        bigquery.fault(match={"call": call}, action=dict(action), times=2)

        warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")
        warehouse.create_table_like(EVENTS, BACKUPS.table("events-1"), description="")

        assert [dataset.ref for dataset in warehouse.list_datasets("acme-shop")] == [SALES]
        assert [table.ref for table in warehouse.list_tables(sales, {})] == [EVENTS]
        assert list(warehouse.backup_tables(BACKUPS, LOCATION, ["events-1"])) == ["events-1"]

    def test_a_dataset_that_another_run_creates_meanwhile_is_used(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, scene: BigQueryScene
    ) -> None:
        scene.create_dataset(BACKUPS)
        bigquery.fault(match={"call": "datasets.get"}, action={"http_error": {"reason": "notFound"}}, times=1)

        with counted(bigquery) as calls:
            warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")

        assert calls == {"datasets.get": 2, "datasets.insert": 1}

    def test_an_account_that_may_not_create_datasets_can_use_one_that_is_there(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, scene: BigQueryScene
    ) -> None:
        scene.create_dataset(BACKUPS)
        bigquery.fault(match={"call": "datasets.insert"}, action={"http_error": {"reason": "accessDenied"}})

        with counted(bigquery) as calls:
            warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")

        assert calls == {"datasets.get": 1}

    def test_a_dataset_that_could_not_be_checked_is_checked_again(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, scene: BigQueryScene
    ) -> None:
        scene.create_dataset(BACKUPS, location="US")

        for _ in range(2):
            with pytest.raises(Refused):
                warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")

    def test_what_stays_broken_is_given_up_as_transient(
        self, bigquery: LocalBigQuery, client: bq.Client, sales: Dataset
    ) -> None:
        impatient = BigQueryWarehouse(client, patience=replace(QUICK, give_up_after=0.2))
        bigquery.fault(match={"call": "jobs.query"}, action={"http_error": {"reason": "backendError"}})

        with pytest.raises(Transient, match=r"listing the tables of acme-shop\.sales: gave up") as error:
            impatient.list_tables(sales, {})

        assert error.value.reason == "backendError"

    def test_a_request_that_hangs_is_given_up(self, bigquery: LocalBigQuery, client: bq.Client, sales: Dataset) -> None:
        patience = replace(QUICK, request_timeout=0.2, give_up_after=0.3)
        impatient = BigQueryWarehouse(client, patience=patience)
        bigquery.fault(match={"call": "datasets.list"}, action={"hang": True})

        with pytest.raises(Transient, match="listing the datasets of acme-shop"):
            impatient.list_datasets("acme-shop")

    def test_a_missing_permission_names_the_dataset_and_what_to_grant(
        self, bigquery: LocalBigQuery, warehouse: BigQueryWarehouse, sales: Dataset
    ) -> None:
        denied = {"reason": "accessDenied", "message": "Access Denied: Dataset acme-shop:sales"}
        bigquery.fault(match={"call": "jobs.query"}, action={"http_error": denied})

        with pytest.raises(Permanent) as error:
            warehouse.list_tables(sales, {})

        assert error.value.reason == "accessDenied"
        assert "bigquery.tables.list on acme-shop.sales (role roles/bigquery.metadataViewer)" in str(error.value)

    def test_a_page_that_fails_is_an_error_and_never_a_shorter_list(
        self, bigquery: LocalBigQuery, client: bq.Client, scene: BigQueryScene, sales: Dataset
    ) -> None:
        for number in range(3):
            scene.create_table(SALES.table(f"t{number}"))
        bigquery.fault(
            match={"call": "jobs.getQueryResults"}, action={"http_error": {"reason": "accessDenied"}}, after=1
        )
        rows = Queries(client, QUICK, page_size=1).rows(
            tables_sql(SALES), location=LOCATION, doing="listing the tables", needs=[]
        )

        with pytest.raises(Permanent, match="listing the tables"):
            list(rows)

    def test_pages_are_put_together(self, client: bq.Client, scene: BigQueryScene, sales: Dataset) -> None:
        for number in range(5):
            scene.create_table(SALES.table(f"t{number}"))

        rows = Queries(client, QUICK, page_size=2).rows(
            tables_sql(SALES), location=LOCATION, doing="listing the tables", needs=[]
        )

        assert sorted(row[0] or "" for row in rows) == ["t0", "t1", "t2", "t3", "t4"]

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            pytest.param("backendError", Transient, id="backend"),
            pytest.param("jobRateLimitExceeded", Transient, id="rate limit"),
            pytest.param("accessDenied", Permanent, id="permission"),
            pytest.param("quotaExceeded", Permanent, id="quota of the day"),
        ],
    )
    def test_a_job_that_fails_says_whether_a_new_one_may_help(
        self,
        reason: str,
        expected: type[BbqError],
        bigquery: LocalBigQuery,
        warehouse: BigQueryWarehouse,
        orders: Copy,
    ) -> None:
        bigquery.fault(match={"job_type": "copy"}, action={"job_error": {"reason": reason, "message": "said BigQuery"}})
        warehouse.start_copy(orders, job_of(BACKUP.unit()))

        error = ended(warehouse, job_of(BACKUP.unit())).error

        assert type(error) is expected
        assert error.reason == reason
        assert str(error).startswith(f"copying {ORDERS} to {BACKUP}: said BigQuery")


class TestTables:
    def test_ingestion_time_and_integer_ranges_are_told_apart(
        self, warehouse: BigQueryWarehouse, scene: BigQueryScene, sales: Dataset
    ) -> None:
        fields = [bq.SchemaField("id", "INTEGER")]
        by_time = bq.Table(reference(SALES.table("by_time")), schema=fields)
        by_time.time_partitioning = bq.TimePartitioning(type_="HOUR")
        by_range = bq.Table(reference(SALES.table("by_range")), schema=fields)
        by_range.range_partitioning = bq.RangePartitioning(bq.PartitionRange(0, 100, 10), field="id")
        for table in (by_time, by_range):
            scene.client.create_table(table)

        found = {table.ref.table: table for table in warehouse.list_tables(sales, {})}

        assert found["by_time"].partition_column == INGESTION_TIME_COLUMN
        assert (found["by_range"].partition_column, found["by_range"].partition_type) == ("id", "INT64")
        assert [table.columns for table in found.values()] == [1, 1]

    def test_a_backup_table_is_like_its_source_without_what_ends_or_guards_it(
        self, warehouse: BigQueryWarehouse, scene: BigQueryScene, sales: Dataset
    ) -> None:
        source = bq.Table(
            reference(EVENTS),
            schema=[
                bq.SchemaField("id", "INTEGER", mode="REQUIRED", description="the key"),
                bq.SchemaField("at", "TIMESTAMP", default_value_expression="CURRENT_TIMESTAMP()"),
                bq.SchemaField("tags", "RECORD", mode="REPEATED", fields=[bq.SchemaField("name", "STRING")]),
            ],
        )
        source.time_partitioning = bq.TimePartitioning(type_="DAY", field="at", expiration_ms=400 * 24 * 3600 * 1000)
        source.clustering_fields = ["id"]
        source.require_partition_filter = True
        scene.client.create_table(source)
        warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")

        warehouse.create_table_like(EVENTS, BACKUPS.table("events-1"), description="of acme-shop.sales.events")
        made = scene.client.get_table(reference(BACKUPS.table("events-1")))

        assert made.schema == source.schema
        assert (made.time_partitioning.type_, made.time_partitioning.field) == ("DAY", "at")
        assert (made.time_partitioning.expiration_ms, made.expires) == (None, None)
        assert made.clustering_fields == ["id"]
        assert not made.require_partition_filter
        assert (made.description, made.labels) == ("of acme-shop.sales.events", LABELS)

    def test_integer_ranges_are_copied_range_by_range(
        self, warehouse: BigQueryWarehouse, scene: BigQueryScene, sales: Dataset
    ) -> None:
        source = bq.Table(reference(EVENTS), schema=[bq.SchemaField("id", "INTEGER"), bq.SchemaField("day", "DATE")])
        source.range_partitioning = bq.RangePartitioning(bq.PartitionRange(0, 100, 2), field="id")
        scene.client.create_table(source)
        scene.write(EVENTS, 5)
        warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")
        backup = BACKUPS.table("events-1")
        warehouse.create_table_like(EVENTS, backup, description="")

        copy = a_copy(EVENTS.unit("2"), destination=backup.unit("2"))
        warehouse.start_copy(copy, job_of(backup.unit("2")))

        assert ended(warehouse, job_of(backup.unit("2"))).rows == 2
        assert list(warehouse.backup_tables(BACKUPS, LOCATION, ["events-1"])["events-1"].partitions) == ["2"]

    def test_the_backup_dataset_carries_a_label_and_its_description(
        self, warehouse: BigQueryWarehouse, client: bq.Client
    ) -> None:
        warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="backups of acme-shop.sales")

        made = client.get_dataset(bq.DatasetReference(BACKUPS.project, BACKUPS.dataset))

        assert (made.description, made.labels) == ("backups of acme-shop.sales", LABELS)
        assert (made.default_table_expiration_ms, made.default_partition_expiration_ms) == (None, None)


def test_a_client_has_connections_for_all_its_threads(
    warehouse: BigQueryWarehouse, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(WARNING), ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: warehouse.list_datasets("acme-shop"), range(100)))

    assert [record.message for record in caplog.records] == []


def ended(warehouse: BigQueryWarehouse, job: JobRef) -> CopyStatus:
    """The last status of a job that ends soon."""
    for _ in range(200):
        status = warehouse.copy_statuses([job])[job]
        if status.is_done:
            return status
        sleep(0.02)
    raise AssertionError(f"{job} does not end")
