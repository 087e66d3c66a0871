"""The life of jobs: ids, locations, states, lists, cancelling. Sources: REST jobs, managing-jobs, running-jobs."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic

import pytest
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import NOW, a_table, copy, load, rows_of


def a_copy(client: bq.Client, job_id: str, target: str = "u") -> bq.CopyJob:
    config = bq.CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    return client.copy_table("shop.sales.t", f"shop.sales.{target}", job_id=job_id, job_config=config)


@pytest.fixture(autouse=True)
def table(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])


def test_a_job_id_exists_once(client: bq.Client) -> None:
    """reliability: the second jobs.insert gets 409, whatever became of the first."""
    a_copy(client, "mine")

    with pytest.raises(Conflict, match=r"Already Exists: Job shop:EU.mine"):
        a_copy(client, "mine")


def test_a_job_runs_where_its_destination_is(client: bq.Client) -> None:
    assert a_copy(client, "mine").location == "EU"


@pytest.mark.parametrize("location", ["US", "europe-west1"])
def test_a_job_is_not_found_in_another_location(client: bq.Client, location: str) -> None:
    a_copy(client, "mine")

    with pytest.raises(NotFound, match=f"Not found: Job shop:{location}.mine"):
        client.get_job("mine", location=location)


def test_a_job_in_us_or_eu_is_found_without_its_location(client: bq.Client) -> None:
    """jobs.get."""
    a_copy(client, "mine")

    assert client.get_job("mine").job_id == "mine"


def test_a_bad_job_id_is_refused(client: bq.Client) -> None:
    """JobReference: letters, numbers, underscores, dashes."""
    with pytest.raises(BadRequest, match="Invalid job ID"):
        a_copy(client, "a.b")


def test_a_job_goes_from_pending_to_running_to_done(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.settings(job_pending_seconds=0.1, job_running_seconds=0.2)
    job, states = a_copy(client, "mine"), []
    give_up = monotonic() + 10
    while job.state != "DONE" and monotonic() < give_up:
        states.append(job.state)
        job.reload()

    assert list(dict.fromkeys([*states, job.state])) == ["PENDING", "RUNNING", "DONE"]
    assert (job.created, job.started, job.ended) == (NOW, NOW, NOW)


def test_a_copy_takes_what_was_there_when_it_started(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.settings(job_running_seconds=0.3)
    job = a_copy(client, "mine")
    bigquery.settings(job_running_seconds=0)
    while job.state == "PENDING":
        job.reload()
    client.delete_table("shop.sales.t")
    job.result()

    assert rows_of(client, "u") == [(1,)]


def test_a_running_copy_goes_on_after_cancel(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """managing-tables: a copy cannot be stopped."""
    bigquery.settings(job_running_seconds=0.2)
    job = a_copy(client, "mine")

    assert job.cancel()
    assert job.result().state == "DONE"
    assert rows_of(client, "u") == [(1,)]


def test_a_cancelled_query_is_stopped(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.settings(job_running_seconds=0.2)
    job = client.query("SELECT 1", job_id="mine", location="EU", job_retry=None)
    job.cancel()

    with pytest.raises(GoogleAPICallError, match="cancelled"):
        job.result()


def test_jobs_are_listed_newest_first_in_pages(client: bq.Client) -> None:
    for i in range(5):
        a_copy(client, f"job{i}")

    pages = [[j.job_id for j in page] for page in client.list_jobs(page_size=2).pages]

    assert [j for page in pages for j in page][:5] == ["job4", "job3", "job2", "job1", "job0"]
    assert [len(page) for page in pages] == [2, 2, 2]  # the sixth is the load of the table


def test_jobs_are_filtered_by_time_and_state(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_copy(client, "early")
    bigquery.advance(timedelta(hours=1))
    a_copy(client, "late")

    since = NOW + timedelta(minutes=1)
    assert [j.job_id for j in client.list_jobs(min_creation_time=since)] == ["late"]
    assert "early" in [j.job_id for j in client.list_jobs(max_creation_time=since)]
    assert list(client.list_jobs(state_filter="running")) == []
    assert len(list(client.list_jobs(state_filter="done"))) == 3


def test_query_results_come_in_pages(client: bq.Client) -> None:
    rows = client.query("SELECT x FROM UNNEST(GENERATE_ARRAY(1, 25)) AS x ORDER BY x").result(page_size=10)

    assert [row.x for row in rows] == list(range(1, 26))
    assert rows.total_rows == 25


def test_a_failed_query_tells_why(client: bq.Client) -> None:
    with pytest.raises((BadRequest, NotFound), match="none"):
        client.query("SELECT * FROM `shop.sales.none`", job_retry=None).result()


def test_a_query_can_write_a_table(client: bq.Client) -> None:
    config = bq.QueryJobConfig(destination="shop.sales.u")
    client.query("SELECT a + 1 AS b FROM `shop.sales.t`", job_config=config).result()

    assert rows_of(client, "u") == [(2,)]
    with pytest.raises(Conflict, match=r"Already Exists: Table shop:sales.u"):
        client.query("SELECT 1 AS b", job_config=config).result()


def test_a_dry_run_leaves_no_job(client: bq.Client) -> None:
    before = len(list(client.list_jobs()))

    job = client.query("SELECT a FROM `shop.sales.t`", job_config=bq.QueryJobConfig(dry_run=True))

    assert job.total_bytes_processed == 8
    assert len(list(client.list_jobs())) == before


def test_one_of_many_inserts_of_the_same_job_succeeds(client: bq.Client) -> None:
    """reliability-intro: at most one succeeds."""

    def insert(_: int) -> bool:
        try:
            a_copy(client, "mine")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        succeeded = list(pool.map(insert, range(24)))

    assert succeeded.count(True) == 1


def test_no_append_is_lost_among_many(client: bq.Client) -> None:
    def append(i: int) -> None:
        if i % 2:
            load(client, "u", [{"a": i}])
        else:
            copy(client, "t", "u", write_disposition="WRITE_APPEND")

    a_table(client, "u")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(40)))

    table = client.get_table("shop.sales.u")
    assert (table.num_rows, table.num_bytes, len(rows_of(client, "u"))) == (40, 320, 40)
