"""Requests that no client would send: each is refused with BigQuery's status, reason and words, and never breaks.

Sources: error-messages; REST v2 (types and names of the discovery document); the words of Google's JSON parser as in
https://github.com/r-dbi/bigrquery/pull/280. What BigQuery's words are is not documented for most of them: the tests
then hold to the reason and to what was wrong.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
from google.cloud import bigquery as bq
from hypothesis import given, settings
from hypothesis import strategies as st

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.local.shapes import SHAPES, body_of
from bbq_dagster_tests.local.builders import NOW, PROJECT, a_dataset, a_day_table, a_table

V2 = "/bigquery/v2/projects"
DATASETS = f"{V2}/shop/datasets"
TABLES = f"{DATASETS}/sales/tables"
JOBS = f"{V2}/shop/jobs"
QUERIES = f"{V2}/shop/queries"
UPLOAD = "/upload/bigquery/v2/projects/shop/jobs"

Answer = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalBigQuery]:
    """One server for all: whatever is refused changes nothing."""
    with LocalBigQuery(now=NOW) as server, server.client(PROJECT) as client:
        a_dataset(client)
        a_table(client, "t", [{"a": 1}])
        a_day_table(client, "by_day", ["2024-01-01"])
        client.create_table(_view())
        yield server


def _view() -> bq.Table:
    view = bq.Table("shop.sales.v")
    view.view_query = "SELECT * FROM shop.sales.t"
    return view


def send(server: LocalBigQuery, line: str, body: Any = None, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    """The answer to ``METHOD path``; the body is sent as it is if it is bytes, else as JSON."""
    method, path = line.split(" ", 1)
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    connection.request(method, path, content, {"connection": "close", **(headers or {})})
    return connection.getresponse()


def ask(server: LocalBigQuery, line: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """The status, and the error in the answer."""
    with send(server, line, body, headers) as answer:
        return answer.status, json.loads(answer.read() or b"{}").get("error", {})


def table(**properties: Any) -> dict[str, Any]:
    return {"tableReference": {"projectId": "shop", "datasetId": "sales", "tableId": "x"}, **properties}


def dataset(**properties: Any) -> dict[str, Any]:
    return {"datasetReference": {"projectId": "shop", "datasetId": "x"}, **properties}


def job(kind: str, **configuration: Any) -> dict[str, Any]:
    return {"configuration": {kind: configuration}}


def named(name: str) -> dict[str, str]:
    return {"projectId": "shop", "datasetId": "sales", "tableId": name}


def fields(*columns: Any) -> dict[str, Any]:
    return {"schema": {"fields": list(columns)}}


REFUSED = [
    # -- the body as JSON
    pytest.param(f"POST {DATASETS}", b"{", 400, "invalid", "Parse Error", id="half an object"),
    pytest.param(f"POST {DATASETS}", b"[]", 400, "invalid", "not a JSON object", id="a list"),
    pytest.param(f"POST {DATASETS}", b"null", 400, "invalid", "not a JSON object", id="null"),
    pytest.param(f"POST {DATASETS}", b"\xff\xfe{}", 400, "invalid", "Parse Error", id="no UTF-8"),
    pytest.param(f"POST {DATASETS}", b'{"a": NaN}', 400, "invalid", "NaN is no JSON value", id="NaN"),
    pytest.param(f"POST {DATASETS}", b"[" * 100_000, 400, "invalid", "Parse Error", id="nested too deep"),
    pytest.param(f"POST {DATASETS}", b'{"etag": "\\ud800"}', 400, "invalid", "surrogates", id="half a surrogate pair"),
    pytest.param(f"POST {DATASETS}", b"", 400, "required", "datasetReference.datasetId", id="no body"),
    # -- names and types
    pytest.param(f"POST {DATASETS}", dataset(colour="red"), 400, "badRequest", "Unknown name \"colour\" at 'dataset': Cannot find field.", id="an unknown name"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(timePartitioning={"typ": "DAY"}), 400, "badRequest", "Unknown name \"typ\" at 'table.time_partitioning'", id="an unknown name inside"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(timePartitioning={"type": ["DAY"]}), 400, "badRequest", "Unknown name \"type\" at 'table.time_partitioning': Proto field is not repeating, cannot start list.", id="a list for a text"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(description=True), 400, "badRequest", "Invalid value at 'table.description' (TYPE_STRING), true", id="a boolean for a text"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(description={}), 400, "badRequest", "table.description", id="an object for a text"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(schema="a:INTEGER"), 400, "badRequest", "table.schema", id="a text for an object"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(schema=[]), 400, "badRequest", "cannot start list", id="a list for an object"),
    pytest.param(f"POST {TABLES}", table(schema={"fields": {}}), 400, "badRequest", "table.schema.fields", id="an object for a list"),  # noqa: E501
    pytest.param(f"POST {TABLES}", fields("a"), 400, "badRequest", "table.schema.fields[0]", id="a text for an element"),  # noqa: E501
    pytest.param(f"POST {TABLES}", fields(None), 400, "badRequest", "table.schema.fields[0]", id="null for an element"),
    pytest.param(f"POST {TABLES}", fields([7]), 400, "badRequest", "table.schema.fields[0]", id="a number in a list in a list"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(labels={"a": {}}), 400, "badRequest", "table.labels.a", id="an object for a label"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(labels=["a"]), 400, "badRequest", "cannot start list", id="a list of labels"),
    pytest.param(f"POST {TABLES}", table(expirationTime="soon"), 400, "badRequest", "Invalid value at 'table.expiration_time' (TYPE_INT64), \"soon\"", id="a word for a number"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(expirationTime=1.5), 400, "badRequest", "TYPE_INT64", id="a fraction for a whole number"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(expirationTime=True), 400, "badRequest", "TYPE_INT64", id="a boolean for a number"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(expirationTime=str(2**63)), 400, "badRequest", "TYPE_INT64", id="2^63"),
    pytest.param(f"POST {TABLES}", b'{"expirationTime": 1e999}', 400, "badRequest", "TYPE_INT64", id="infinity"),
    pytest.param(f"POST {TABLES}", table(requirePartitionFilter="maybe"), 400, "badRequest", "TYPE_BOOL", id="a word for a boolean"),  # noqa: E501
    pytest.param(f"POST {DATASETS}", dataset(storageBillingModel="FREE"), 400, "badRequest", "TYPE_ENUM", id="an unknown word"),  # noqa: E501
    # -- the line
    pytest.param(f"GET {TABLES}/t?colour=red", None, 400, "badRequest", "Cannot bind query parameter. Field 'colour'", id="an unknown parameter"),  # noqa: E501
    pytest.param(f"GET {DATASETS}?maxResults=many", None, 400, "badRequest", "max_results", id="a word for a page size"),  # noqa: E501
    pytest.param(f"GET {DATASETS}?maxResults=-1", None, 400, "badRequest", "max_results", id="a negative page size"),
    pytest.param(f"GET {JOBS}?stateFilter=asleep", None, 400, "badRequest", "state_filter", id="an unknown state of jobs"),  # noqa: E501
    pytest.param(f"GET {JOBS}?pageToken=%C2%B2", None, 400, "invalid", "Invalid page token", id="a page token of a list of jobs"),  # noqa: E501
    pytest.param(f"GET {TABLES}/t/data?pageToken=first", None, 400, "invalid", "Invalid page token", id="a page token of rows"),  # noqa: E501
    pytest.param(f"GET {TABLES}/t/data?selectedFields=b", None, 400, "invalid", "no such field: b", id="an unknown column selected"),  # noqa: E501
    pytest.param(f"GET {TABLES}/t?view=WHOLE", None, 400, "badRequest", "TYPE_ENUM", id="an unknown view of a table"),
    pytest.param(f"GET {DATASETS}/sales?datasetView=WHOLE", None, 400, "badRequest", "dataset_view", id="an unknown view of a dataset"),  # noqa: E501
    pytest.param(f"DELETE {DATASETS}/sales?deleteContents=perhaps", None, 400, "badRequest", "TYPE_BOOL", id="a word for a flag"),  # noqa: E501
    # -- datasets
    pytest.param(f"POST {DATASETS}", {}, 400, "required", "datasetReference.datasetId", id="a dataset without a name"),
    pytest.param(f"POST {DATASETS}", {"datasetReference": {"datasetId": "a-b"}}, 400, "invalid", 'Invalid dataset ID "a-b"', id="a dash in a dataset's name"),  # noqa: E501
    pytest.param(f"POST {DATASETS}", dataset(defaultTableExpirationMs="1"), 400, "invalid", "defaultTableExpirationMs", id="a default expiration of 1 ms"),  # noqa: E501
    pytest.param(f"POST {DATASETS}", dataset(defaultTableExpirationMs="-1"), 400, "invalid", "defaultTableExpirationMs", id="a negative default expiration"),  # noqa: E501
    pytest.param(f"POST {DATASETS}", dataset(maxTimeTravelHours="47"), 400, "invalid", "maxTimeTravelHours", id="a time travel window of 47 hours"),  # noqa: E501
    pytest.param(f"POST {DATASETS}", dataset(labels={"A": "b"}), 400, "invalid", "Invalid label key", id="a label in capitals"),  # noqa: E501
    pytest.param(f"POST {DATASETS}/sales:undelete", {"deletionTime": "then"}, 400, "invalid", "deletionTime", id="a deletion time in words"),  # noqa: E501
    pytest.param(f"GET {DATASETS}/none", None, 404, "notFound", "Not found: Dataset shop:none", id="a dataset that is not there"),  # noqa: E501
    pytest.param(f"PATCH {DATASETS}/none", {}, 404, "notFound", "Not found: Dataset shop:none", id="a patch of none"),
    # -- tables
    pytest.param(f"POST {TABLES}", {}, 400, "required", "tableReference.tableId", id="a table without a name"),
    pytest.param(f"POST {TABLES}", {"tableReference": named("a$b")}, 400, "invalid", "decorators cannot be used", id="a decorator in a name"),  # noqa: E501
    pytest.param(f"POST {TABLES}", {"tableReference": named("a.b")}, 400, "invalid", 'Invalid table ID "a.b"', id="a dot in a name"),  # noqa: E501
    pytest.param(f"POST {TABLES}", {"tableReference": named("a" * 1025)}, 400, "invalid", "1024 characters", id="a name of 1,025 bytes"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(**fields({"type": "INTEGER"})), 400, "invalid", "empty name or type", id="a column without a name"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(**fields({"name": "a"})), 400, "invalid", "empty name or type", id="a column without a type"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(**fields({"name": "a", "type": "WORD"})), 400, "invalid", "Invalid value for type: WORD", id="a column of a type that is none"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(**fields({"name": "a", "type": "INT64", "mode": "SOME"})), 400, "invalid", "Invalid field mode", id="a mode that is none"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(**fields({"name": "a", "type": "RECORD"})), 400, "invalid", "Field a is type RECORD but has no schema", id="a record without fields"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(**fields({"name": "a", "type": "INT64"}, {"name": "A", "type": "INT64"})), 400, "invalid", "already exists in schema", id="a column twice"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(timePartitioning={"type": "WEEK"}), 400, "invalid", "WEEK", id="partitions by week"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(timePartitioning={"type": "DAY", "field": "b"}), 400, "invalid", "b", id="partitions by a missing column"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(rangePartitioning={"field": "a"}), 400, "invalid", "range", id="integer ranges without a range"),  # noqa: E501
    pytest.param(f"POST {TABLES}", table(clustering={"fields": ["b"]}), 400, "invalid", "clustering", id="clustering by a missing column"),  # noqa: E501
    pytest.param(f"GET {TABLES}/none", None, 404, "notFound", "Not found: Table shop:sales.none", id="a table that is not there"),  # noqa: E501
    pytest.param(f"GET {TABLES}/t$20240101", None, 400, "invalid", "not partitioned", id="a partition of an unpartitioned table"),  # noqa: E501
    pytest.param(f"GET {TABLES}/by_day$yesterday", None, 400, "invalid", "yesterday", id="a partition by a word"),
    pytest.param(f"PATCH {TABLES}/t", fields({"name": "b", "type": "INT64"}), 400, "invalid", "Field a is missing in new schema", id="a patch that drops a column"),  # noqa: E501
    pytest.param(f"GET {TABLES}/v/data", None, 400, "invalid", "Cannot list a table of type VIEW", id="rows of a view"),
    pytest.param(f"GET {TABLES}/t@then/data", None, 400, "invalid", "Invalid snapshot time", id="an instant by a word"),
    # -- streaming
    pytest.param(f"POST {TABLES}/t/insertAll", {}, 400, "invalid", "No rows present", id="no rows"),
    pytest.param(f"POST {TABLES}/t/insertAll", {"rows": {}}, 400, "badRequest", "rows", id="rows that are no list"),
    pytest.param(f"POST {TABLES}/t/insertAll", {"rows": [7]}, 400, "badRequest", "rows[0]", id="a row that is a number"),  # noqa: E501
    pytest.param(f"POST {TABLES}/t/insertAll", {"rows": [{"json": [7]}]}, 400, "badRequest", "Unknown name \"json\"", id="a row that is a list"),  # noqa: E501
    pytest.param(f"POST {TABLES}/v/insertAll", {"rows": [{"json": {}}]}, 400, "invalid", "currently a VIEW", id="rows for a view"),  # noqa: E501
    # -- jobs
    pytest.param(f"POST {JOBS}", {}, 400, "required", "configuration", id="a job of nothing"),
    pytest.param(f"POST {JOBS}", {"configuration": 3}, 400, "badRequest", "job.configuration", id="a configuration of 3"),  # noqa: E501
    pytest.param(f"POST {JOBS}", {"configuration": {"copy": None}}, 400, "required", "configuration", id="a copy of null"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("dance"), 400, "badRequest", 'Unknown name "dance"', id="a job of another kind"),
    pytest.param(f"POST {JOBS}", {"jobReference": {"jobId": "a b"}, **job("query", query="SELECT 1")}, 400, "invalid", 'Invalid job ID "a b"', id="a blank in a job's id"),  # noqa: E501
    pytest.param(f"POST {JOBS}", {"configuration": {"copy": {}, "query": {}}}, 400, "invalid", "more than one", id="a job of two kinds"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("copy", sourceTable=named("t"), destinationTable={}), 400, "required", "destinationTable", id="a copy to nowhere"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("copy", destinationTable=named("x")), 400, "required", "sourceTables", id="a copy of nothing"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("copy", sourceTable=named("t"), destinationTable=named("x"), writeDisposition="WRITE_OVER"), 400, "invalid", "WRITE_OVER", id="a disposition that is none"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("copy", sourceTable=named("t"), destinationTable=named("x"), operationType="MOVE"), 400, "badRequest", "TYPE_ENUM", id="an operation that is none"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("query", query=""), 400, "required", "query", id="a query of nothing"),
    pytest.param(f"POST {JOBS}", job("query", query="SELECT 1", createDisposition="MAKE"), 400, "invalid", "MAKE", id="a way to create that is none"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("query", query="SELECT 1", priority="URGENT"), 400, "invalid", "URGENT", id="a priority that is none"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("load", sourceUris=["gs://b/o"], destinationTable=named("x"), sourceFormat="XLS"), 400, "invalid", "XLS", id="a format that is none"),  # noqa: E501
    pytest.param(f"POST {JOBS}", job("extract", sourceTable=named("t"), destinationUris=["gs://b/o"], compression="RAR"), 400, "invalid", "RAR", id="a compression that is none"),  # noqa: E501
    pytest.param(f"POST {QUERIES}", {}, 400, "required", "query", id="jobs.query without a query"),
    pytest.param(f"POST {QUERIES}", {"query": "SELECT 1", "timeoutMs": "x"}, 400, "badRequest", "timeout_ms", id="a word for a timeout"),  # noqa: E501
    pytest.param(f"POST {QUERIES}", {"query": "SELECT ?", "useLegacySql": False, "queryParameters": [{}]}, 400, "required", "parameterType", id="a parameter without a type"),  # noqa: E501
    pytest.param(f"GET {JOBS}/none", None, 404, "notFound", "Not found: Job shop:none", id="a job that is not there"),
    pytest.param(f"GET {QUERIES}/none", None, 404, "notFound", "Not found: Job shop:none", id="results of a job that is not there"),  # noqa: E501
    # -- uploads
    pytest.param(f"POST {UPLOAD}?uploadType=carrier", {}, 400, "invalid", "Invalid uploadType: carrier", id="an upload by pigeon"),  # noqa: E501
    pytest.param(f"POST {UPLOAD}?uploadType=multipart", b"--x", 400, "invalid", "needs two parts", id="an upload of one part"),  # noqa: E501
    pytest.param(f"PUT {UPLOAD}?upload_id=none", b"x", 404, "notFound", "Upload none", id="an upload that was not begun"),  # noqa: E501
    # -- what BigQuery has and this server has not
    pytest.param("POST /batch/bigquery/v2", b"", 501, "notImplemented", "batch requests", id="a batch"),
    pytest.param(f"PATCH {DATASETS}/sales/models/m", {}, 501, "notImplemented", "the method models.patch", id="a method that is not modelled"),  # noqa: E501
]  # fmt: skip


@pytest.mark.parametrize(("line", "body", "status", "reason", "words"), REFUSED)
def test_a_bad_request_is_refused_in_words(
    server: LocalBigQuery, line: str, body: Any, status: int, reason: str, words: str
) -> None:
    got, error = ask(server, line, body)

    assert (got, error["code"], [e["reason"] for e in error["errors"]]) == (status, status, [reason])
    assert words in error["message"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("GET /bigquery/v2/nothing", id="a path that is none"),
        pytest.param("GET /", id="the root"),
        pytest.param(f"DELETE {V2}", id="a method that the path has not"),
        pytest.param("GET /bigquery/v3/projects", id="another version"),
    ],
)
def test_a_path_that_is_not_the_api_s_is_answered_in_html(server: LocalBigQuery, line: str) -> None:
    """Such a request never reaches BigQuery: Google's front end answers it."""
    with send(server, line) as answer:
        text = answer.read()

    assert (answer.status, answer.headers.get_content_type()) == (404, "text/html")
    assert b"Error 404 (Not Found)!!1" in text


def test_a_body_that_says_it_is_gzipped_and_is_not_is_refused(server: LocalBigQuery) -> None:
    status, error = ask(server, f"POST {DATASETS}", b"{}", {"content-encoding": "gzip"})

    assert (status, error["errors"][0]["reason"]) == (400, "invalid")


def test_a_gzipped_body_is_read(server: LocalBigQuery) -> None:
    status, error = ask(server, f"POST {DATASETS}", gzip.compress(b"{}"), {"content-encoding": "gzip"})

    assert (status, error["errors"][0]["reason"]) == (400, "required")


# -- whatever is sent, the answer is the caller's fault, not the server's

_TEXTS = st.sampled_from(
    [
        *("", "t", "by_day", "v", "x", "sales", "shop", "a", "day", "-1", "t$20240101", "t@-1", "é", "gs://b/o"),
        *("DAY", "INTEGER", "RECORD", "SELECT 1", "SELECT ?", "AVRO", "WRITE_TRUNCATE", "2024-01-01T00:00:00Z"),
    ]
)
_SCALARS: Mapping[str, st.SearchStrategy[Any]] = {
    "STRING": _TEXTS | st.text(max_size=3),
    "BOOL": st.booleans(),
    "INT64": st.integers(-(2**63), 2**63 - 1).map(str) | st.integers(-3, 3),
    "UINT64": st.integers(0, 2**64 - 1).map(str),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "UINT32": st.integers(0, 3),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "ANY": st.none() | st.booleans() | st.integers(-(2**65), 2**65) | _TEXTS | st.just({}) | st.just([[]]),
}
# Requests that are good; what is drawn is laid over them.
_REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    (f"POST {DATASETS}", "datasets.insert", dataset()),
    (f"PATCH {DATASETS}/sales", "datasets.patch", {}),
    (f"POST {DATASETS}/sales:undelete", "datasets.undelete", {}),
    (f"POST {TABLES}", "tables.insert", table(**fields({"name": "a", "type": "INTEGER"}))),
    (f"PATCH {TABLES}/t", "tables.patch", {}),
    (f"PUT {TABLES}/by_day", "tables.update", {}),
    (f"POST {TABLES}/t/insertAll", "tabledata.insertAll", {"rows": [{"json": {"a": 1}}]}),
    (f"POST {TABLES}/t:setIamPolicy", "tables.setIamPolicy", {"policy": {}}),
    (f"POST {DATASETS}/sales/routines", "routines.insert", {}),
    (f"POST {JOBS}", "jobs.insert", {}),
    (f"POST {JOBS}", "jobs.insert", job("copy", sourceTable=named("t"), destinationTable=named("x"))),
    (f"POST {JOBS}", "jobs.insert", job("query", query="SELECT * FROM sales.by_day", useLegacySql=False)),
    (f"POST {JOBS}", "jobs.insert", job("load", sourceUris=["file:///dev/null"], destinationTable=named("x"))),
    (f"POST {JOBS}", "jobs.insert", job("extract", sourceTable=named("by_day"), destinationUris=["gs://b/o"])),
    (f"POST {QUERIES}", "jobs.query", {"query": "SELECT 1", "useLegacySql": False}),
    (f"POST {UPLOAD}?uploadType=resumable", "jobs.insert", job("load", destinationTable=named("t"))),
]


def laid_over(good: Any, drawn: Any) -> Any:
    """The objects of both; what is drawn wins."""
    if not isinstance(good, dict) or not isinstance(drawn, dict):
        return drawn
    return {**good, **{key: laid_over(good.get(key), value) for key, value in drawn.items()}}


@st.composite
def bodies(draw: st.DrawFn, kind: Any, depth: int = 0) -> Any:
    """What has a shape of the API, with any values in it; now and then of another type."""
    if draw(st.integers(0, 30)) == 0:
        return draw(st.none() | _SCALARS["ANY"])
    if isinstance(kind, list):
        return [draw(bodies(kind[0], depth + 1)) for _ in range(draw(st.integers(0, 2)))]
    if isinstance(kind, str) and kind in _SCALARS:
        return draw(_SCALARS[kind])
    named = SHAPES.get(kind, {}) if isinstance(kind, str) else kind
    if "enum" in named:
        return draw(st.sampled_from(named["enum"]))
    if "*" in named:
        return {draw(_TEXTS): draw(bodies(named["*"], depth + 1))}
    within = named.get("of", named)
    names = (
        draw(st.lists(st.sampled_from(sorted(within)), max_size=6 if depth < 5 else 0, unique=True)) if within else []
    )
    return {name: draw(bodies(within[name], depth + 1)) for name in names}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), request=st.sampled_from(_REQUESTS))
def test_no_body_breaks_the_server(server: LocalBigQuery, data: st.DataObject, request: Any) -> None:
    """Neither the request nor the job that comes of it: its error would be in the answer."""
    line, call, good = request
    with send(server, line, laid_over(good, data.draw(bodies(body_of(call))))) as answer:
        text = answer.read()

    assert answer.status < 500 or answer.status == 501
    assert b"internalError" not in text
