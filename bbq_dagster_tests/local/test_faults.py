"""Faults on request, how Google's client meets each, and the counted calls that tests assert on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import pytest
import requests
from google.api_core.exceptions import (
    BadGateway,
    BadRequest,
    Conflict,
    Forbidden,
    GoogleAPICallError,
    InternalServerError,
    MethodNotImplemented,
    NotFound,
    PreconditionFailed,
    ServiceUnavailable,
    TooManyRequests,
)
from google.cloud import bigquery as bq

from bbq_dagster.local.errors import REASON_STATUS, LocalServerError
from bbq_dagster.local.server import LocalBigQuery, LocalBigQueryAdmin
from bbq_dagster_tests.local.builders import a_table, copy, rows_of
from bbq_dagster_tests.trust.processes import nursery


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


# -- what the client makes of it: the exception, and whether it asks again

RETRIED = {"backendError", "internalError", "badGateway", "rateLimitExceeded"}
RAISED = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    500: InternalServerError,
    501: MethodNotImplemented,
    502: BadGateway,
    503: ServiceUnavailable,
}


@pytest.mark.parametrize("reason", sorted(REASON_STATUS.keys() - {"stopped"} - RETRIED))
def test_most_refusals_are_raised_at_once(bigquery: LocalBigQuery, client: bq.Client, reason: str) -> None:
    bigquery.reset_calls()
    bigquery.fault({"call": "tables.get"}, {"http_error": {"reason": reason}})

    with pytest.raises(RAISED[REASON_STATUS[reason]], match=f"Injected fault: {reason}"):
        client.get_table("shop.sales.t")

    assert bigquery.calls()["tables.get"] == 1


@pytest.mark.parametrize("reason", sorted(RETRIED))
def test_some_refusals_are_asked_again(bigquery: LocalBigQuery, client: bq.Client, reason: str) -> None:
    bigquery.reset_calls()
    bigquery.fault({"call": "tables.get"}, {"http_error": {"reason": reason}}, times=2)

    with pytest.raises(RAISED[REASON_STATUS[reason]]):
        client.get_table("shop.sales.t", retry=None)
    client.get_table("shop.sales.t")

    assert bigquery.calls()["tables.get"] == 3


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        pytest.param("accessDenied", Forbidden, id="accessDenied"),
        pytest.param("backendError", InternalServerError, id="backendError"),
        pytest.param("duplicate", Conflict, id="duplicate"),
        pytest.param("internalError", InternalServerError, id="internalError"),
        pytest.param("invalid", BadRequest, id="invalid"),
        pytest.param("jobBackendError", InternalServerError, id="jobBackendError"),
        pytest.param("jobRateLimitExceeded", InternalServerError, id="jobRateLimitExceeded"),
        pytest.param("notFound", NotFound, id="notFound"),
        pytest.param("quotaExceeded", Forbidden, id="quotaExceeded"),
        pytest.param("rateLimitExceeded", TooManyRequests, id="rateLimitExceeded"),
        pytest.param("resourcesExceeded", BadRequest, id="resourcesExceeded"),
        pytest.param("stopped", GoogleAPICallError, id="stopped"),
    ],
)
def test_a_job_that_fails_is_never_asked_for_again(
    bigquery: LocalBigQuery, client: bq.Client, reason: str, expected: type[Exception]
) -> None:
    bigquery.reset_calls()
    bigquery.fault({"job_type": "copy"}, {"job_error": {"reason": reason}})

    with pytest.raises(expected, match=f"Injected fault: {reason}"):
        copy(client, "t", "u")

    assert bigquery.calls()["jobs.insert"] == 1


def test_an_answer_cut_in_half_is_asked_for_again(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.reset_calls()
    bigquery.fault({"call": "tables.get"}, {"truncate": True}, times=2)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.get_table("shop.sales.t", retry=None)
    client.get_table("shop.sales.t")

    assert bigquery.calls()["tables.get"] == 3


def test_a_job_of_which_half_the_answer_came_has_run(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.fault({"call": "jobs.insert"}, {"truncate": True}, times=1)

    with pytest.raises(Conflict):
        client.copy_table("shop.sales.t", "shop.sales.u", job_id="mine")

    assert rows_of(client, "u") == [(1,)]


def test_an_answer_that_is_no_json_is_raised_at_once(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.reset_calls()
    bigquery.fault({"call": "tables.get"}, {"garble": True}, times=1)

    with pytest.raises(requests.exceptions.JSONDecodeError):
        client.get_table("shop.sales.t")

    assert bigquery.calls()["tables.get"] == 1


def test_an_answer_that_comes_in_drops_outlasts_the_timeout(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """The timeout is for each wait, not for the answer."""
    bigquery.fault({"call": "tables.get"}, {"slow_seconds": 2}, times=1)
    began = time.monotonic()

    client.get_table("shop.sales.t", retry=None, timeout=1)

    assert time.monotonic() - began > 1


@pytest.mark.parametrize("kind", ["copy", "load"])
def test_a_stuck_job_runs_until_it_is_released(bigquery: LocalBigQuery, client: bq.Client, kind: str) -> None:
    bigquery.fault({"job_type": kind}, {"stuck": True}, times=1)
    job = JOBS[kind](client)

    with pytest.raises(TimeoutError):
        job.result(timeout=0.1)
    stuck = client.get_job(job.job_id)
    (held,) = bigquery.wait_until_held()
    bigquery.release()
    job.result()

    assert (stuck.state, held["job"], held["job_type"]) == ("RUNNING", job.job_id, kind)


JOBS: dict[str, Callable[[bq.Client], bq.CopyJob | bq.LoadJob]] = {
    "copy": lambda client: client.copy_table("shop.sales.t", "shop.sales.u"),
    "load": lambda client: client.load_table_from_json([{"a": 1}], "shop.sales.t"),
}


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


# -- a process killed at one call, and the record of what it asked


def copy_and_delete(url: str) -> None:
    client = LocalBigQueryAdmin(url).client("shop", location="EU")
    client.copy_table("shop.sales.t", "shop.sales.u", job_id="mine").result()
    client.delete_table("shop.sales.t")


@contextmanager
def a_client_process(bigquery: LocalBigQuery) -> Iterator[BaseProcess]:
    process = nursery().Process(target=copy_and_delete, args=(bigquery.url,), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize(
    ("side", "go_on", "expected"),
    [
        pytest.param("before", False, ["t"], id="before, and given up"),
        pytest.param("before", True, ["t", "u"], id="before, and carried out all the same"),
        pytest.param("after", False, ["t", "u"], id="after"),
    ],
)
def test_a_process_can_be_killed_just_at_a_call(
    bigquery: LocalBigQuery, client: bq.Client, side: str, go_on: bool, expected: list[str]
) -> None:
    bigquery.fault({"call": "jobs.insert"}, {"freeze": side}, times=1)

    with a_client_process(bigquery):
        (held,) = bigquery.wait_until_held()
    bigquery.release(go_on=go_on)
    while bigquery.held():
        time.sleep(0.01)

    assert (held["call"], held["job_type"], held["changes"]) == ("jobs.insert", "copy", True)
    assert [table.table_id for table in client.list_tables("shop.sales")] == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [pytest.param(0, ["t"], id="first"), pytest.param(1, ["t", "u"], id="second"), pytest.param(2, ["u"], id="none")],
)
def test_the_nth_call_that_changes_something_is_matched(
    bigquery: LocalBigQuery, client: bq.Client, after: int, expected: list[str]
) -> None:
    bigquery.fault({"changes": True}, {"freeze": "before"}, after=after, times=1)

    with a_client_process(bigquery) as process:
        if after < 2:
            bigquery.wait_until_held()
        else:
            process.join()
    bigquery.release(go_on=False)

    assert [table.table_id for table in client.list_tables("shop.sales")] == expected


def test_waiting_for_what_never_comes_ends_in_words(bigquery: LocalBigQuery) -> None:
    with pytest.raises(LocalServerError, match=r"Only 0 of 1 calls and jobs are held after 0.01 s"):
        bigquery.wait_until_held(seconds=0.01)


def test_every_call_is_recorded_in_its_order(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.grant("backup", "roles/bigquery.admin", on="shop")
    bigquery.record_calls()
    client.get_table("shop.sales.t")
    copy(bigquery.client("shop", location="EU", identity="backup"), "t", "u")
    list(client.query_and_wait("-- all\n(SELECT 1)"))
    client.query_and_wait("DELETE sales.u WHERE TRUE")
    client.delete_table("shop.sales.u")

    recorded = [
        (c["call"], c["method"], c.get("job_type", ""), c["identity"], c["changes"])
        for c in bigquery.recorded_calls()
        if c["call"] not in ("jobs.get", "jobs.getQueryResults")
    ]
    bigquery.stop_recording()

    assert recorded == [
        ("tables.get", "GET", "", "", False),
        ("jobs.insert", "POST", "copy", "backup", True),
        ("jobs.query", "POST", "query", "", False),
        ("jobs.query", "POST", "query", "", True),
        ("tables.delete", "DELETE", "", "", True),
    ]
    assert bigquery.recorded_calls() == []


def test_calls_are_counted_by_path_too(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.record_calls()

    for _ in range(2):
        client.get_table("shop.sales.t")
    client.get_dataset("shop.sales")

    tables = "/bigquery/v2/projects/shop/datasets/sales/tables/t"
    assert bigquery.calls_by_path() == {f"GET {tables}": 2, "GET /bigquery/v2/projects/shop/datasets/sales": 1}
