"""What the REST API does besides the resources: policies, views of them, etags, packing, chunks, asking twice.

Sources: REST v2 of each method, api-performance, api-uploads.
"""

import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.api_core.exceptions import Conflict, Forbidden, NotFound
from google.api_core.iam import Policy
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import A, a_dataset, a_table, load, rows_of

T = "shop.sales.t"
SALES = "/bigquery/v2/projects/shop/datasets/sales"
UPLOADS = "/upload/bigquery/v2/projects/shop/jobs"
Answer = tuple[int, Mapping[str, str], bytes]


@pytest.fixture
def line(bigquery: LocalBigQuery) -> Iterator[http.client.HTTPConnection]:
    """A bare line to the server, for what no client would send."""
    connection = http.client.HTTPConnection(bigquery.url.removeprefix("http://"))
    yield connection
    connection.close()


def ask(line: http.client.HTTPConnection, request: str, content: bytes | None = None, **headers: str) -> Answer:
    method, path = request.split()
    line.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = line.getresponse()
    return answer.status, dict(answer.headers), answer.read()


def got(line: http.client.HTTPConnection, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ask(line, f"GET {path}")[2])
    return answer


# -- policies


def a_policy(
    client: bq.Client, member: str = "user:ann@example.com", role: str = "roles/bigquery.dataViewer"
) -> Policy:
    policy = client.get_iam_policy(T)
    policy.bindings = [{"role": role, "members": {member}}]
    return policy


def test_a_table_has_an_empty_policy(client: bq.Client) -> None:
    a_table(client, "t")

    assert list(client.get_iam_policy(T).bindings) == []


def test_a_policy_is_kept(client: bq.Client) -> None:
    a_table(client, "t")

    client.set_iam_policy(T, a_policy(client))

    (binding,) = client.get_iam_policy(T).bindings
    assert (binding["role"], set(binding["members"])) == ("roles/bigquery.dataViewer", {"user:ann@example.com"})


def test_a_policy_that_was_changed_since_it_was_read_is_not_overwritten(client: bq.Client) -> None:
    """tables.setIamPolicy: the etag of the policy."""
    a_table(client, "t")
    read = a_policy(client)
    client.set_iam_policy(T, read)

    with pytest.raises(Conflict, match="concurrent policy changes"):
        client.set_iam_policy(T, read)


def test_a_policy_ends_with_its_table(client: bq.Client) -> None:
    a_table(client, "t")
    client.set_iam_policy(T, a_policy(client))
    client.delete_table(T)
    a_table(client, "t")

    assert list(client.get_iam_policy(T).bindings) == []


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        pytest.param({"member": "ann"}, "The member ann is of an unknown type", id="a member without a type"),
        pytest.param({"role": "viewer"}, "Role viewer is not supported", id="a role that is none"),
    ],
)
def test_a_policy_that_says_nothing_is_refused(client: bq.Client, binding: dict[str, str], words: str) -> None:
    a_table(client, "t")
    policy = a_policy(client, **binding)

    with pytest.raises(Exception, match=words):
        client.set_iam_policy(T, policy)


def test_a_missing_table_has_no_policy(client: bq.Client) -> None:
    with pytest.raises(NotFound, match=r"Not found: Table shop:sales\.none"):
        client.get_iam_policy("shop.sales.none")


def test_who_is_not_restricted_has_every_permission(client: bq.Client) -> None:
    a_table(client, "t")
    asked = ["bigquery.tables.get", "bigquery.tables.getData", "bigquery.tables.update"]

    assert client.test_iam_permissions(T, asked)["permissions"] == asked


def test_of_the_permissions_asked_for_an_identity_gets_those_it_has(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """tables.testIamPermissions."""
    a_table(client, "t")
    bigquery.grant("ann", "roles/bigquery.dataViewer", on="shop.sales")
    asked = ["bigquery.tables.get", "bigquery.tables.update"]

    assert bigquery.client("shop", identity="ann").test_iam_permissions(T, asked) == {
        "permissions": ["bigquery.tables.get"]
    }


def test_a_policy_is_read_only_by_who_may(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_table(client, "t")
    bigquery.grant("ann", "roles/bigquery.jobUser", on="shop")

    with pytest.raises(Forbidden, match=r"Permission bigquery.tables.getIamPolicy denied"):
        bigquery.client("shop", identity="ann").get_iam_policy(T)


@pytest.mark.parametrize("path", [f"{SALES}/models", f"{SALES}/tables/t/rowAccessPolicies"])
def test_what_the_server_has_none_of_is_an_empty_list(
    client: bq.Client, line: http.client.HTTPConnection, path: str
) -> None:
    a_table(client, "t")

    assert (got(line, path), list(client.list_models("shop.sales"))) == ({}, [])


# -- views of resources


def test_a_view_of_a_dataset_leaves_out_what_was_not_asked_for(
    client: bq.Client, line: http.client.HTTPConnection
) -> None:
    """datasets.get, datasetView."""
    a_dataset(client, "d", description="words")
    shown = {
        view: got(line, f"/bigquery/v2/projects/shop/datasets/d?datasetView={view}")
        for view in ("METADATA", "ACL", "FULL")
    }

    assert {view: ("access" in d, "description" in d) for view, d in shown.items()} == {
        "METADATA": (False, True),
        "ACL": (True, False),
        "FULL": (True, True),
    }


def test_selected_fields_of_a_table_are_those_of_its_schema(
    client: bq.Client, line: http.client.HTTPConnection
) -> None:
    """tables.get, selectedFields."""
    a_table(client, "t", (), [A, bq.SchemaField("b", "STRING")])

    shown = got(line, f"{SALES}/tables/t?selectedFields=b")

    assert [field["name"] for field in shown["schema"]["fields"]] == ["b"]


def test_a_minimal_projection_of_jobs_leaves_out_what_they_were_asked(
    client: bq.Client, line: http.client.HTTPConnection
) -> None:
    """jobs.list, projection."""
    client.query_and_wait("SELECT 1")
    jobs = "/bigquery/v2/projects/shop/jobs"

    assert ["configuration" in job for job in got(line, f"{jobs}?projection=minimal")["jobs"]] == [False]
    assert ["configuration" in job for job in got(line, f"{jobs}?projection=full")["jobs"]] == [True]


@pytest.mark.parametrize(("all_users", "expected"), [(False, ["ann"]), (True, ["ann", "bob"])])
def test_an_identity_lists_its_own_jobs_unless_it_asks_for_all(
    bigquery: LocalBigQuery, client: bq.Client, all_users: bool, expected: list[str]
) -> None:
    """jobs.list, allUsers."""
    for who in ("bob", "ann"):
        bigquery.grant(who, "roles/bigquery.admin", on="shop")
        bigquery.client("shop", identity=who).query_and_wait("SELECT 1")

    jobs = bigquery.client("shop", identity="ann").list_jobs(all_users=all_users)

    assert sorted(job.user_email for job in jobs) == expected


# -- etags and packing


def test_who_has_the_latest_already_is_told_so(client: bq.Client, line: http.client.HTTPConnection) -> None:
    """api-performance: ETag and If-None-Match."""
    a_table(client, "t")
    etag = got(line, f"{SALES}/tables/t")["etag"]
    before = ask(line, f"GET {SALES}/tables/t", If_None_Match=etag)
    load(client, "t", [{"a": 1}])
    after = ask(line, f"GET {SALES}/tables/t", If_None_Match=etag)

    assert (before[0], before[2], after[0]) == (304, b"", 200)


@pytest.mark.parametrize(("accepted", "packed"), [("gzip", True), ("identity", False)])
def test_a_large_answer_is_packed_if_the_caller_can_unpack(
    client: bq.Client, line: http.client.HTTPConnection, accepted: str, packed: bool
) -> None:
    """api-performance: Accept-Encoding."""
    a_table(client, "t", [{"a": i} for i in range(1000)])

    _, headers, content = ask(line, f"GET {SALES}/tables/t/data", Accept_Encoding=accepted)

    text = gzip.decompress(content) if packed else content
    assert headers.get("content-encoding", "identity") == accepted
    assert len(json.loads(text)["rows"]) == 1000


# -- uploads


def begun(line: http.client.HTTPConnection) -> str:
    """A resumable upload of newline-delimited JSON into ``t``; the path that its chunks go to."""
    destination = {"projectId": "shop", "datasetId": "sales", "tableId": "t"}
    load_job = {"destinationTable": destination, "sourceFormat": "NEWLINE_DELIMITED_JSON"}
    body = json.dumps({"configuration": {"load": load_job}}).encode()
    _, headers, _ = ask(line, f"POST {UPLOADS}?uploadType=resumable", body)
    return headers["location"].partition("/upload")[2]


def test_a_file_is_sent_in_chunks(client: bq.Client, line: http.client.HTTPConnection) -> None:
    """api-uploads: 308 and a Range until the last chunk, which gets the job."""
    a_table(client, "t")
    path, content = begun(line), b'{"a": 1}\n{"a": 2}\n'
    answers = [
        ask(line, f"PUT /upload{path}", content[:5], Content_Range=f"bytes 0-4/{len(content)}"),
        ask(line, f"PUT /upload{path}", None, Content_Range=f"bytes */{len(content)}"),
        ask(line, f"PUT /upload{path}", content[5:], Content_Range=f"bytes 5-{len(content) - 1}/{len(content)}"),
    ]

    assert [(status, headers.get("range")) for status, headers, _ in answers] == [
        (308, "bytes=0-4"),
        (308, "bytes=0-4"),
        (200, None),
    ]
    assert rows_of(client, "t") == [(1,), (2,)]


def test_a_chunk_that_is_sent_again_counts_once(client: bq.Client, line: http.client.HTTPConnection) -> None:
    a_table(client, "t")
    path, content = begun(line), b'{"a": 1}\n'
    for _ in range(2):
        ask(line, f"PUT /upload{path}", content[:5], Content_Range=f"bytes 0-4/{len(content)}")
    ask(line, f"PUT /upload{path}", content[5:], Content_Range=f"bytes 5-8/{len(content)}")

    assert rows_of(client, "t") == [(1,)]


# -- queries


def test_a_query_whose_answer_was_lost_runs_once(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """REST QueryRequest, requestId: the client asks again with the same one."""
    a_table(client, "t")
    bigquery.fault({"call": "jobs.query"}, {"reset": "after"}, times=1)

    client.query_and_wait("INSERT sales.t (a) VALUES (1)")

    assert bigquery.calls()["jobs.query"] == 2
    assert rows_of(client, "t") == [(1,)]


def test_the_same_query_with_another_request_id_runs_again(client: bq.Client) -> None:
    a_table(client, "t")
    for _ in range(2):
        client.query_and_wait("INSERT sales.t (a) VALUES (1)")

    assert rows_of(client, "t") == [(1,), (1,)]


def test_a_timeout_of_zero_does_not_wait(
    bigquery: LocalBigQuery, client: bq.Client, line: http.client.HTTPConnection
) -> None:
    """jobs.query, timeoutMs."""
    bigquery.settings(job_running_seconds=5)
    body = json.dumps({"query": "SELECT 1", "useLegacySql": False, "timeoutMs": 0}).encode()

    _, _, content = ask(line, "POST /bigquery/v2/projects/shop/queries", body)

    assert json.loads(content)["jobComplete"] is False


@pytest.mark.parametrize(
    ("allowed", "sql", "expected"),
    [
        pytest.param(10 << 20, "SELECT * FROM sales.t", None, id="ten megabytes for a table"),
        pytest.param((10 << 20) - 1, "SELECT * FROM sales.t", "bytesBilledLimitExceeded", id="and no byte less"),
        pytest.param((10 << 20) - 1, "DELETE sales.t WHERE TRUE", "bytesBilledLimitExceeded", id="before it writes"),
        pytest.param(1, "SELECT 1", None, id="none for what reads nothing"),
    ],
)
def test_a_query_that_would_be_billed_too_much_does_nothing(
    client: bq.Client, allowed: int, sql: str, expected: str | None
) -> None:
    """REST JobConfigurationQuery, maximumBytesBilled; pricing: at least 10 MB for each table."""
    a_table(client, "t", [{"a": 1}])

    error = client.query(sql, job_config=bq.QueryJobConfig(maximum_bytes_billed=allowed)).exception()

    assert (error.errors[0]["reason"] if error else None) == expected
    assert rows_of(client, "t") == [(1,)]


def test_labels_of_a_query_are_those_of_its_job(client: bq.Client, line: http.client.HTTPConnection) -> None:
    body = json.dumps({"query": "SELECT 1", "useLegacySql": False, "labels": {"team": "data"}}).encode()
    ask(line, "POST /bigquery/v2/projects/shop/queries", body)

    assert [job.labels for job in client.list_jobs()] == [{"team": "data"}]
