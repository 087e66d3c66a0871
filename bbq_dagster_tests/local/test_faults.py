"""Faults on request, and the counted calls that tests assert on."""

import time

import pytest
import requests
from google.api_core.exceptions import Conflict, Forbidden, InternalServerError, NotFound, ServiceUnavailable
from google.cloud import bigquery as bq

from bbq_dagster.local.errors import LocalServerError
from bbq_dagster.local.server import LocalBigQuery, LocalBigQueryAdmin
from bbq_dagster_tests.local.builders import a_table, copy, rows_of


@pytest.fixture(autouse=True)
def table(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])


def statuses(client: bq.Client, requests: int) -> str:
    """One letter per tables.get: ``x`` where it was refused."""
    answer = ""
    for _ in range(requests):
        try:
            client.get_table("shop.sales.t", retry=None)
            answer += "."
        except ServiceUnavailable:
            answer += "x"
    return answer


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param({}, "xxxxxx", id="always"),
        pytest.param({"times": 2}, "xx....", id="times"),
        pytest.param({"after": 2}, "..xxxx", id="after"),
        pytest.param({"every": 3}, "x..x..", id="every"),
        pytest.param({"after": 1, "every": 2, "times": 2}, ".x.x..", id="all together"),
    ],
)
def test_a_rule_says_how_often(
    bigquery: LocalBigQuery, client: bq.Client, rule: dict[str, float], expected: str
) -> None:
    bigquery.fault({"call": "tables.get"}, {"http_error": {"reason": "backendError"}}, **rule)

    assert statuses(client, 6) == expected


def test_chance_is_the_same_for_the_same_seed(bigquery: LocalBigQuery, client: bq.Client) -> None:
    found = []
    for seed in (7, 7, 8):
        bigquery.clear_faults()
        bigquery.fault({"call": "tables.get"}, {"http_error": {"reason": "backendError"}}, probability=0.5, seed=seed)
        found.append(statuses(client, 16))

    assert found[0] == found[1] != found[2]
    assert set(found[0]) == {"x", "."}


@pytest.mark.parametrize(
    "match",
    [
        pytest.param({"call": "jobs.insert"}, id="call"),
        pytest.param({"job_type": "copy"}, id="kind of job"),
        pytest.param({"source": "shop.sales.t"}, id="source"),
        pytest.param({"destination": "shop.sales.u"}, id="destination"),
        pytest.param({"project": "shop", "table": ["u", "v"]}, id="any of several tables"),
        pytest.param({"path": "/projects/shop/jobs$"}, id="path"),
    ],
)
def test_a_copy_is_matched_by_what_it_is(bigquery: LocalBigQuery, client: bq.Client, match: dict[str, object]) -> None:
    bigquery.fault(match, {"http_error": {"reason": "accessDenied", "message": "no"}})

    with pytest.raises(Forbidden, match="no"):
        copy(client, "t", "u")


def test_a_query_is_matched_by_its_text(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.fault({"sql": r"INFORMATION_SCHEMA\."}, {"http_error": {"reason": "accessDenied"}})

    assert list(client.query_and_wait("SELECT 1"))
    with pytest.raises(Forbidden):
        client.query_and_wait("SELECT table_name FROM sales.INFORMATION_SCHEMA.TABLES")


def test_a_job_can_be_made_to_fail(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.fault({"job_type": "copy"}, {"job_error": {"reason": "backendError", "message": "broken"}}, times=1)
    job = client.copy_table("shop.sales.t", "shop.sales.u")

    with pytest.raises(InternalServerError, match="broken"):
        job.result()
    with pytest.raises(NotFound):
        client.get_table("shop.sales.u")


def test_a_lost_answer_means_the_job_ran_and_the_client_meets_a_conflict(
    bigquery: LocalBigQuery, client: bq.Client
) -> None:
    """The client library repeats jobs.insert with the same id and raises 409."""
    bigquery.fault({"call": "jobs.insert"}, {"reset": "after"}, times=1)

    with pytest.raises(Conflict):
        client.copy_table("shop.sales.t", "shop.sales.u", job_id="mine")

    assert rows_of(client, "u") == [(1,)]
    assert client.get_job("mine").state == "DONE"


def test_a_reset_before_means_nothing_happened(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.fault({"call": "jobs.insert"}, {"reset": "before"}, times=1)

    with pytest.raises(requests.exceptions.ConnectionError):
        client.copy_table("shop.sales.t", "shop.sales.u", job_id="mine", retry=None)
    with pytest.raises(NotFound):
        client.get_job("mine")


def test_a_delay_holds_the_answer_back(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.fault({"call": "tables.get"}, {"delay_seconds": 0.2})
    began = time.monotonic()

    client.get_table("shop.sales.t")

    assert time.monotonic() - began >= 0.2


def test_a_request_that_hangs_holds_up_no_other(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.fault({"call": "tables.get"}, {"hang": True}, times=1)

    with pytest.raises(requests.exceptions.ReadTimeout):
        client.get_table("shop.sales.t", retry=None, timeout=0.2)

    assert client.get_table("shop.sales.t").table_id == "t"


def test_an_unknown_fault_is_refused(bigquery: LocalBigQuery) -> None:
    with pytest.raises(LocalServerError, match=r"Invalid fault: .*explode"):
        bigquery.fault({}, {"explode": True})


def test_calls_are_counted_by_the_names_of_the_api(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.reset_calls()

    client.get_table("shop.sales.t")
    list(client.list_tables("shop.sales"))
    client.load_table_from_json([{"a": 1}], "shop.sales.t").result()

    assert bigquery.calls() == {"tables.get": 2, "tables.list": 1, "jobs.insert": 1}


def test_a_server_elsewhere_is_steered_by_its_url(bigquery: LocalBigQuery, client: bq.Client) -> None:
    elsewhere = LocalBigQueryAdmin(bigquery.url)

    elsewhere.fault({"call": "tables.get"}, {"http_error": {"reason": "backendError"}}, times=1)

    assert statuses(elsewhere.client("shop"), 2) == "x."
    assert [fault["hits"] for fault in elsewhere.faults()] == [1]
