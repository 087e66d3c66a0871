"""BigQuery's limits, switched on by a test in one line: the last that fits, and the first that does not."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPICallError, InternalServerError, TooManyRequests
from google.cloud import bigquery as bq

from bbq_dagster.local.errors import BigQueryError, LocalServerError
from bbq_dagster.local.limits import RULES, Charge, Limits, Rule
from bbq_dagster.local.server import LocalBigQuery, LocalBigQueryAdmin
from bbq_dagster_tests.local.builders import a_dataset, a_day_table, a_table, an_ingestion_table, copy, load, rows_of

RATES = [rule for rule in RULES if rule.seconds is not None]


def left(limits: Limits, rule: Rule, at_ms: int, whose: str = "one") -> int:
    """How many more are let through at this moment."""
    for count in range(1000):
        try:
            limits.spend([Charge(rule.name, whose)], at_ms)
        except BigQueryError:
            return count
    raise AssertionError("no limit in sight")


def repeat(times: int, ask: Callable[[], object]) -> None:
    for _ in range(times):
        ask()


# -- counting, for every rule


@pytest.mark.parametrize("rule", RATES, ids=lambda rule: rule.name)
def test_so_many_are_let_through_and_come_back_evenly(rule: Rule) -> None:
    assert rule.seconds is not None
    limits = Limits()
    limits.change({rule.name: 4})
    one_ms = rule.seconds * 1000 // 4

    assert left(limits, rule, 0) == 4
    assert left(limits, rule, one_ms - 1) == 0
    assert left(limits, rule, one_ms) == 1
    assert left(limits, rule, one_ms * 3) == 2
    assert left(limits, rule, one_ms * 100) == 4


@pytest.mark.parametrize("rule", [r for r in RULES if r.seconds is None], ids=lambda rule: rule.name)
def test_so_many_are_held_at_one_time(rule: Rule) -> None:
    limits = Limits()
    limits.change({rule.name: 4})

    limits.hold(rule.name, 3)
    with pytest.raises(BigQueryError, match=rule.words.format(allowed=4, count=5)):
        limits.hold(rule.name, 4)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_true_is_what_bigquery_documents(rule: Rule) -> None:
    limits = Limits()
    limits.change({rule.name: True})

    assert limits.as_json()[rule.name] == rule.documented


def test_who_shares_a_limit_is_told_apart() -> None:
    limits, rule = Limits(), RULES[0]
    limits.change({rule.name: 2})

    assert left(limits, rule, 0, "one") == 2
    assert left(limits, rule, 0, "another") == 2


def test_what_is_refused_takes_nothing_of_any_limit() -> None:
    limits, (first, second, *_) = Limits(), RULES
    limits.change({first.name: 2, second.name: 1})

    with pytest.raises(BigQueryError):
        limits.spend([Charge(first.name, "one"), Charge(second.name, "one", 2)], 0)

    assert left(limits, first, 0) == 2
    assert left(limits, second, 0) == 1


# -- steering


def test_no_limit_is_in_force_until_it_is_set(bigquery: LocalBigQuery) -> None:
    assert bigquery.limits() == dict.fromkeys((rule.name for rule in RULES), None)


def test_a_limit_set_anew_is_unused_and_none_lifts_it(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.limits(dataset_updates_per_10_seconds=1)
    a_dataset(client, "one")
    elsewhere = LocalBigQueryAdmin(bigquery.url)
    one = client.get_dataset("shop.one")

    with pytest.raises(Forbidden, match="too many dataset metadata update operations"):
        one = client.update_dataset(one, ["labels"], retry=None)
    elsewhere.limits(dataset_updates_per_10_seconds=1)
    one = client.update_dataset(one, ["labels"], retry=None)
    elsewhere.limits(dataset_updates_per_10_seconds=None)
    client.update_dataset(one, ["labels"], retry=None)
    elsewhere.clear_limits()


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"no_such_limit": 1}, id="unknown"),
        pytest.param({"copy_jobs_per_day": 0}, id="nothing"),
        pytest.param({"copy_jobs_per_day": "many"}, id="no number"),
    ],
)
def test_a_limit_that_is_none_is_refused(bigquery: LocalBigQuery, wrong: dict[str, float]) -> None:
    with pytest.raises(LocalServerError, match="Invalid limits"):
        bigquery.limits(**wrong)


# -- copy jobs


def test_copy_jobs_of_a_project_and_day(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#copy_jobs. The project of the URL pays; the quota comes back during the day."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(copy_jobs_per_day=2)
    copy(client, "t", "u")
    copy(client, "t", "v")

    with pytest.raises(
        Forbidden, match="Quota exceeded: Your project exceeded quota for copies per project"
    ) as refused:
        copy(client, "t", "w")
    bigquery.advance(timedelta(hours=12))
    copy(client, "t", "w")

    assert refused.value.errors[0]["reason"] == "quotaExceeded"
    assert rows_of(client, "w") == [(1,)]


def test_failed_copies_and_snapshots_count_and_jobs_that_are_refused_do_not(
    bigquery: LocalBigQuery, client: bq.Client
) -> None:
    """quotas#copy_jobs: failed jobs count, and snapshots and clones."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(copy_jobs_per_day=2)
    client.copy_table("shop.sales.none", "shop.sales.u", job_id="failed")
    with pytest.raises(Exception, match="Already Exists: Job"):
        client.copy_table("shop.sales.none", "shop.sales.u", job_id="failed")
    copy(client, "t", "s", operation_type="SNAPSHOT")

    with pytest.raises(Forbidden, match="copies per project"):
        copy(client, "t", "c", operation_type="CLONE")


def test_another_project_has_its_own_copy_jobs(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(copy_jobs_per_day=1)
    copy(client, "t", "u")

    bigquery.client("archive").copy_table("shop.sales.t", "shop.sales.v", location="EU").result()

    assert rows_of(client, "v") == [(1,)]


# -- writes to a table


def test_updates_of_a_table_in_ten_seconds(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#standard_tables: copies, loads and edits count together; a job is told in its result."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(table_updates_per_10_seconds=3)
    copy(client, "t", "u")
    load(client, "u", [{"a": 2}])
    client.update_table(bq.Table("shop.sales.u"), ["description"])
    job = client.copy_table(
        "shop.sales.t", "shop.sales.u", job_config=bq.CopyJobConfig(write_disposition="WRITE_APPEND")
    )

    with pytest.raises(TooManyRequests, match="too many table update operations for this table"):
        job.result()
    with pytest.raises(Forbidden, match="too many table update operations for this table"):
        client.update_table(bq.Table("shop.sales.u"), ["description"], retry=None)
    bigquery.advance(timedelta(seconds=10))
    load(client, "u", [{"a": 3}])

    assert (job.error_result or {})["location"] == "table.write"
    assert rows_of(client, "u") == [(1,), (2,), (3,)]


def test_a_partitioned_table_has_a_limit_of_its_own(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#partitioned_tables: 50 instead of 5."""
    a_day_table(client, "t", ["2024-01-01"])
    bigquery.limits(table_updates_per_10_seconds=1, partitioned_table_updates_per_10_seconds=2)
    copy(client, "t$20240101", "t$20240101", write_disposition="WRITE_TRUNCATE")
    copy(client, "t$20240101", "t$20240101", write_disposition="WRITE_TRUNCATE")

    with pytest.raises(TooManyRequests, match="too many table update operations"):
        copy(client, "t$20240101", "t$20240101", write_disposition="WRITE_TRUNCATE")


def test_a_table_made_anew_under_the_same_name_has_no_fresh_quota(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas: the quota is tied to the name."""
    bigquery.limits(table_updates_per_10_seconds=2)
    a_table(client, "t")
    client.delete_table("shop.sales.t")

    with pytest.raises(Forbidden, match="too many table update operations"):
        client.create_table(bq.Table("shop.sales.t"), retry=None)


def test_dml_and_streaming_are_free_of_the_limits_of_a_table(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#standard_tables; troubleshoot-quotas: DML is not affected."""
    a_table(client, "t")
    bigquery.limits(table_updates_per_10_seconds=1, table_operations_per_day=1)
    for statement in ("INSERT sales.t VALUES (1)", "UPDATE sales.t SET a = 2 WHERE TRUE", "INSERT sales.t VALUES (3)"):
        client.query_and_wait(statement)
    client.insert_rows_json("shop.sales.t", [{"a": 4}])

    load(client, "t", [{"a": 5}])
    with pytest.raises(TooManyRequests):
        load(client, "t", [{"a": 6}])


def test_ddl_that_comes_too_soon_fails_in_words_of_its_own(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """googleapis/python-bigquery#1790: jobRateLimitExceeded."""
    a_table(client, "t")
    bigquery.limits(table_updates_per_10_seconds=1)
    client.query_and_wait("ALTER TABLE sales.t ADD COLUMN b INT64")

    job = client.query("ALTER TABLE sales.t ADD COLUMN c INT64", job_retry=None)
    with pytest.raises(InternalServerError, match="Your table exceeded quota for table update operations"):
        job.result(job_retry=None)

    assert (job.error_result or {})["reason"] == "jobRateLimitExceeded"
    assert [field.name for field in client.get_table("shop.sales.t").schema] == ["a", "b"]


def test_a_replacement_that_comes_too_soon_keeps_the_table(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(table_updates_per_10_seconds=1)
    client.query_and_wait("CREATE OR REPLACE TABLE sales.t AS SELECT 2 AS a")

    with pytest.raises(InternalServerError):
        client.query("CREATE OR REPLACE TABLE sales.t AS SELECT 3 AS a", job_retry=None).result(job_retry=None)

    assert rows_of(client, "t") == [(2,)]


def test_operations_on_a_table_and_day(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#standard_tables: 1,500 loads, copies and query results together; edits do not count."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(table_operations_per_day=2)
    copy(client, "t", "u")
    client.update_table(bq.Table("shop.sales.u"), ["description"])
    to_u = bq.QueryJobConfig(destination="shop.sales.u", write_disposition="WRITE_APPEND")
    client.query("SELECT 2 AS a", job_config=to_u).result()

    with pytest.raises(Forbidden, match="Your table exceeded quota for imports or query appends per table"):
        load(client, "u", [{"a": 3}])
    bigquery.advance(timedelta(hours=12))
    load(client, "u", [{"a": 3}])

    assert rows_of(client, "u") == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("limit", "make", "words"),
    [
        pytest.param(
            "ingestion_partition_modifications_per_day",
            lambda client: an_ingestion_table(client, "t"),
            "partition modifications to an ingestion-time partitioned table",
            id="ingestion time",
        ),
        pytest.param(
            "column_partition_modifications_per_day",
            lambda client: a_day_table(client, "t"),
            "partition modifications to a column partitioned table",
            id="column",
        ),
    ],
)
def test_partition_modifications_of_a_table_and_day(
    bigquery: LocalBigQuery, client: bq.Client, limit: str, make: Callable[[bq.Client], bq.Table], words: str
) -> None:
    """quotas#partitioned_tables: each partition that a job writes is one."""
    make(client)
    bigquery.limits(**{limit: 3})
    row = {"a": 1} if limit.startswith("ingestion") else {"a": 1, "day": "2024-01-01"}
    for _ in range(3):
        load(client, "t$20240101", [row])

    with pytest.raises(Forbidden, match=words):
        load(client, "t$20240101", [row])
    bigquery.advance(timedelta(hours=8))
    load(client, "t$20240101", [row])

    assert client.get_table("shop.sales.t").num_rows == 4


def test_a_copy_of_several_partitions_counts_each(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01", "2024-01-02", "2024-01-03"])
    bigquery.limits(column_partition_modifications_per_day=5)
    copy(client, "t", "u")

    with pytest.raises(Forbidden, match="Number of partition modifications"):
        copy(client, "t", "u", write_disposition="WRITE_TRUNCATE")
    copy(client, ["t$20240101", "t$20240102"], "u", write_disposition="WRITE_APPEND")

    assert client.get_table("shop.sales.u").num_rows == 5


def test_a_load_that_is_refused_changes_nothing(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01"])
    bigquery.limits(column_partition_modifications_per_day=1)
    rows = [{"a": i, "day": f"2024-01-0{i}"} for i in (1, 2)]

    with pytest.raises(Forbidden, match="Number of partition modifications"):
        load(client, "t", rows, "WRITE_TRUNCATE")

    assert client.get_table("shop.sales.t").num_rows == 1


# -- snapshots and clones


def test_snapshots_of_a_table_and_day(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#table_snapshots: 50 per table and day; clones do not count."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(snapshots_per_table_per_day=2)
    copy(client, "t", "s1", operation_type="SNAPSHOT")
    copy(client, "t", "s2", operation_type="SNAPSHOT")
    copy(client, "t", "c", operation_type="CLONE")

    with pytest.raises(Forbidden, match="table snapshots per table per day"):
        copy(client, "t", "s3", operation_type="SNAPSHOT")


def test_snapshots_and_clones_that_a_table_has(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#table_clones: 1,000 existing ones of a base table; one that is deleted makes room."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(snapshots_and_clones_per_table=2)
    copy(client, "t", "s", operation_type="SNAPSHOT")
    copy(client, "t", "c", operation_type="CLONE")

    with pytest.raises(Forbidden, match="table snapshots and clones per base table"):
        copy(client, "t", "d", operation_type="CLONE")
    client.delete_table("shop.sales.s")
    copy(client, "t", "d", operation_type="CLONE")

    assert rows_of(client, "d") == [(1,)]


@pytest.mark.parametrize("limit", ["cross_region_copies_per_day", "cross_region_copies_per_table_per_day"])
def test_copies_into_another_location(bigquery: LocalBigQuery, client: bq.Client, limit: str) -> None:
    """quotas#copy_jobs: 2,000 per project and 100 per destination table; copies inside a location do not count."""
    a_dataset(client, "american", "US")
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(**{limit: 1})
    copy(client, "t", "u")
    copy(client, "t", "american.t")

    with pytest.raises(Forbidden, match="exceeded quota for cross-region copies"):
        copy(client, "t", "american.t", write_disposition="WRITE_TRUNCATE")


# -- partitions

DAYS = [f"2024-01-{day:02}" for day in range(1, 5)]


def test_partitions_of_a_table(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#partitioned_tables: 10,000; what a write leaves of them counts, not what it writes."""
    a_day_table(client, "t", DAYS[:2])
    a_day_table(client, "u", DAYS)
    bigquery.limits(partitions_per_table=3)
    load(client, "t", [{"a": 1, "day": DAYS[2]}])

    with pytest.raises(Forbidden, match="exceeded quota for Number of partitions per partitioned table"):
        load(client, "t", [{"a": 1, "day": DAYS[3]}])
    with pytest.raises(Forbidden, match="Number of partitions"):
        client.query_and_wait(f"INSERT sales.t VALUES (1, '{DAYS[3]}')")
    with pytest.raises(Forbidden, match="Number of partitions"):
        copy(client, "u", "v")
    load(client, "t", [{"a": 2, "day": day} for day in DAYS[1:]], "WRITE_TRUNCATE")

    assert client.get_table("shop.sales.t").num_rows == 3


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda c, rows: load(c, "t", rows), id="load"),
        pytest.param(lambda c, rows: write_by_query(c, len(rows)), id="query"),
    ],
)
def test_partitions_that_one_job_writes(
    bigquery: LocalBigQuery, client: bq.Client, write: Callable[[bq.Client, list[dict[str, object]]], object]
) -> None:
    """quotas#partitioned_tables: 4,000 by a query or load job; copies are not named."""
    a_day_table(client, "t")
    rows: list[dict[str, object]] = [{"a": 1, "day": day} for day in DAYS]
    bigquery.limits(partitions_per_job=3)
    write(client, rows[:3])

    with pytest.raises(BadRequest, match="Too many partitions produced by query, allowed 3, query produces at least 4"):
        write(client, rows)
    bigquery.clear_limits()
    write(client, rows)
    bigquery.limits(partitions_per_job=3)
    copy(client, "t", "u")

    assert client.get_table("shop.sales.u").num_rows == 7


def write_by_query(client: bq.Client, days: int) -> None:
    config = bq.QueryJobConfig(destination="shop.sales.t", write_disposition="WRITE_APPEND")
    days_sql = f"UNNEST(GENERATE_DATE_ARRAY(DATE '2024-01-01', DATE_ADD(DATE '2024-01-01', INTERVAL {days - 1} DAY)))"
    client.query(f"SELECT 1 AS a, day FROM {days_sql} AS day", job_config=config).result()


def test_partitions_that_one_copy_writes(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """Off even where all that is documented is on: see "Only the real service can tell"."""
    a_day_table(client, "t", DAYS[:3])
    a_day_table(client, "u", DAYS)
    bigquery.limits(partitions_per_copy_job=3)
    copy(client, "t", "v")

    with pytest.raises(BadRequest, match="Too many partitions produced by copy, allowed 3"):
        copy(client, "u", "w")


# -- streaming


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        pytest.param(
            {"rows_per_insert_all": 2}, "too many rows present in the request, limit: 2 row count: 3", id="rows"
        ),
        pytest.param({"bytes_per_insert_all": 200}, "Request payload size exceeds the limit: 200 bytes", id="bytes"),
    ],
)
def test_one_request_streams_so_much(
    bigquery: LocalBigQuery, client: bq.Client, limits: dict[str, float], words: str
) -> None:
    """quotas#streaming_inserts: 50,000 rows and 10 MB."""
    a_table(client, "t")
    bigquery.limits(**limits)
    client.insert_rows_json("shop.sales.t", [{"a": 1}, {"a": 2}])

    with pytest.raises(BadRequest, match=words):
        client.insert_rows_json("shop.sales.t", [{"a": 3}, {"a": 4}, {"a": 5}])

    assert rows_of(client, "t") == [(1,), (2,)]


# -- requests and jobs


def test_load_jobs_of_a_project_and_day(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#load_jobs: those that fail count."""
    a_table(client, "t")
    bigquery.limits(load_jobs_per_day=2)
    load(client, "t", [{"a": 1}])
    with pytest.raises(BadRequest):
        load(client, "t", [{"a": "no number"}])

    with pytest.raises(Forbidden, match="Your project exceeded quota for imports per project"):
        load(client, "t", [{"a": 2}])
    bigquery.advance(timedelta(hours=12))
    load(client, "t", [{"a": 2}])

    assert rows_of(client, "t") == [(1,), (2,)]


def test_extract_jobs_of_a_project_and_day(bigquery: LocalBigQuery, client: bq.Client, tmp_path: Path) -> None:
    """quotas#export_jobs."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(extract_jobs_per_day=1)
    client.extract_table("shop.sales.t", f"file://{tmp_path}/one.csv").result()

    with pytest.raises(Forbidden, match="Your project exceeded quota for exports per project"):
        client.extract_table("shop.sales.t", f"file://{tmp_path}/two.csv").result()


@pytest.mark.parametrize(
    ("limit", "ask"),
    [
        pytest.param("requests_per_second", lambda c: c.get_table("shop.sales.t", retry=None), id="tables.get"),
        pytest.param("projects_list_per_second", lambda c: list(c.list_projects(retry=None)), id="projects.list"),
        pytest.param("jobs_get_per_second", lambda c: c.get_job("made", retry=None), id="jobs.get"),
        pytest.param(
            "tables_insert_per_second",
            lambda c: c.create_table(bq.Table("shop.sales.t"), exists_ok=True, retry=None),
            id="tables.insert",
        ),
        pytest.param(
            "tabledata_list_per_second",
            lambda c: list(c.list_rows(bq.Table("shop.sales.t", [bq.SchemaField("a", "INTEGER")]), retry=None)),
            id="tabledata.list",
        ),
    ],
)
def test_requests_of_a_method_in_a_second(
    bigquery: LocalBigQuery, client: bq.Client, limit: str, ask: Callable[[bq.Client], object]
) -> None:
    """quotas#api_request_quotas.."""
    a_table(client, "t")
    client.query("SELECT 1", job_id="made", job_retry=None).result()
    bigquery.limits(**{limit: 1})
    ask(client)

    with pytest.raises(Forbidden, match="too many api requests per user per method for this user_method"):
        repeat(20, lambda: ask(client))


def test_another_method_has_its_own_requests(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_table(client, "t")
    bigquery.limits(requests_per_second=1)

    client.get_table("shop.sales.t", retry=None)
    client.get_dataset("shop.sales", retry=None)
    list(client.list_datasets(retry=None))

    assert [call["status"] for call in bigquery.recent_calls()[-3:]] == [200, 200, 200]


def test_the_client_waits_for_requests_to_come_back(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_table(client, "t")
    bigquery.limits(requests_per_second=2)
    bigquery.reset_calls()

    for _ in range(3):
        client.get_table("shop.sales.t")

    assert bigquery.calls()["tables.get"] > 3


def test_requests_at_one_time(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#api_request_quotas: 300 concurrent requests per user."""
    a_table(client, "t")
    bigquery.fault({"call": "datasets.get"}, {"delay_seconds": 0.5}, times=1)
    bigquery.limits(concurrent_requests=1)
    slow = threading.Thread(target=client.get_dataset, args=("shop.sales",))
    slow.start()

    with pytest.raises(Forbidden, match="too many concurrent api requests per user"):
        repeat(100, lambda: client.get_table("shop.sales.t", retry=None))
    slow.join()

    assert client.get_table("shop.sales.t", retry=None).table_id == "t"


def test_jobs_that_are_pending(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#jobs: 50,000 pending jobs per project and region; those that run do not count."""
    a_table(client, "t", [{"a": 1}])
    bigquery.settings(job_pending_seconds=0.3)
    bigquery.limits(pending_jobs=2)
    jobs = [client.copy_table("shop.sales.t", f"shop.sales.u{i}") for i in range(2)]

    with pytest.raises(Forbidden, match="exceeded quota for pending jobs"):
        client.copy_table("shop.sales.t", "shop.sales.u2")
    for job in jobs:
        job.result()
    client.copy_table("shop.sales.t", "shop.sales.u2").result()

    assert rows_of(client, "u2") == [(1,)]


# -- copies by SQL


def _ask(client: bq.Client, sql: str) -> None:
    client.query(sql, job_retry=None).result()


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("CREATE SNAPSHOT TABLE sales.u CLONE sales.t", id="CREATE SNAPSHOT TABLE"),
        pytest.param("CREATE TABLE sales.u CLONE sales.t", id="CLONE"),
        pytest.param("CREATE TABLE sales.u COPY sales.t", id="COPY"),
    ],
)
def test_copies_by_sql_are_copies_of_the_project(bigquery: LocalBigQuery, client: bq.Client, statement: str) -> None:
    """quotas#copy_jobs, read as it is for jobs."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(copy_jobs_per_day=1)
    copy(client, "t", "v")

    with pytest.raises(Forbidden, match="exceeded quota for copies per project"):
        _ask(client, statement)

    assert [table.table_id for table in client.list_tables("sales")] == ["t", "v"]


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        pytest.param("snapshots_per_table_per_day", "table snapshots per table per day", id="per table and day"),
        pytest.param("snapshots_per_day", "table snapshots per project per day", id="per project and day"),
        pytest.param("snapshots_and_clones_per_table", "table snapshots and clones per base table", id="that it has"),
    ],
)
def test_snapshots_by_sql_count_as_those_of_jobs(
    bigquery: LocalBigQuery, client: bq.Client, limit: str, words: str
) -> None:
    """quotas#table_snapshots."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(**{limit: 1})
    copy(client, "t", "s1", operation_type="SNAPSHOT")

    with pytest.raises(Forbidden, match=words):
        _ask(client, "CREATE SNAPSHOT TABLE sales.s2 CLONE sales.t")


def test_a_chain_of_clones_has_an_end(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#table_clones: a depth of 3."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(snapshot_chain_depth=True)
    for base, clone in (("t", "c1"), ("c1", "c2"), ("c2", "c3")):
        _ask(client, f"CREATE TABLE sales.{clone} CLONE sales.{base}")

    with pytest.raises(Forbidden, match="depth of a chain"):
        copy(client, "c3", "c4", operation_type="CLONE")


def test_snapshots_at_one_time(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """quotas#table_snapshots: 100 concurrent jobs."""
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(concurrent_snapshots=1)
    bigquery.settings(job_running_seconds=0.5)
    config = bq.CopyJobConfig(operation_type="SNAPSHOT", write_disposition="WRITE_EMPTY")
    running = client.copy_table("shop.sales.t", "shop.sales.s1", job_config=config)

    with pytest.raises(Forbidden, match="concurrent table snapshot jobs"):
        client.copy_table("shop.sales.t", "shop.sales.s2", job_config=config, retry=None)
    running.result()


def test_a_renaming_that_is_refused_leaves_one_name(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])
    bigquery.limits(table_updates_per_10_seconds=1)
    client.update_table(client.get_table("sales.t"), ["description"])

    with pytest.raises(GoogleAPICallError, match="table update operations"):
        _ask(client, "ALTER TABLE sales.t RENAME TO u")

    assert [table.table_id for table in client.list_tables("sales")] == ["t"]
