"""docs/local-bigquery.md says what the server does: its examples are run, its tables are compared.

Rules that the page states and no other test has are tested at the end.
"""

import ast
import re
import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests
from google.api_core.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    GoogleAPICallError,
    MethodNotImplemented,
    NotFound,
)
from google.cloud import bigquery as bq

import bbq_dagster.local
from bbq_dagster.local.faults import ACTIONS, EXACT, PATTERNS
from bbq_dagster.local.limits import RULES
from bbq_dagster.local.model import TableRef, make_part
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.local.store import Settings
from bbq_dagster_tests.local.builders import (
    NOW,
    A,
    a_dataset,
    a_day_table,
    a_table,
    an_ingestion_table,
    copy,
    load,
    rows_of,
)
from bbq_dagster_tests.local.test_faults import copy_and_delete
from bbq_dagster_tests.trust.processes import nursery

PAGE = (Path(__file__).parents[2] / "docs" / "local-bigquery.md").read_text()
CLIENT_EXAMPLE, TEST_EXAMPLE, ACCESS_EXAMPLE, KILL_EXAMPLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
HOUR_MS = 3_600_000


def section(name: str) -> str:
    """What stands between the two marks of a part that is checked."""
    match = re.search(rf"<!-- {name}: checked by a test -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert match is not None, f"docs/local-bigquery.md has no part {name}"
    return match[1]


def rows(name: str) -> list[tuple[str, ...]]:
    """The cells of a part's table, without its head."""
    lines = section(name).strip().split("\n")[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]


def code(cell: str) -> str:
    """The first words in code marks; empty if there are none."""
    found = re.search("`(.*?)`", cell)
    return found[1] if found else ""


def named(cells: tuple[str, ...]) -> str:
    return " ".join(code(cell) or cell for cell in cells[:2])


def test_the_example_for_google_s_client_prints_what_it_says(
    bigquery: LocalBigQuery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)

    exec(CLIENT_EXAMPLE, {})

    assert f"prints `{capsys.readouterr().out.strip()}`" in PAGE


def test_the_example_of_a_test_passes(bigquery: LocalBigQuery) -> None:
    names: dict[str, Any] = {}
    exec(TEST_EXAMPLE, names)

    names["test_the_client_asks_again"](bigquery)


def test_the_example_of_access_passes(bigquery: LocalBigQuery) -> None:
    names: dict[str, Any] = {"pytest": pytest, "Forbidden": Forbidden}
    exec(ACCESS_EXAMPLE, names)

    names["test_a_viewer_deletes_nothing"](bigquery)


def test_the_example_of_a_kill_passes(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_table(client, "t")
    names: dict[str, Any] = {}
    exec(KILL_EXAMPLE, names)
    started: list[BaseProcess] = []

    def start_client(url: str) -> BaseProcess:
        started.append(nursery().Process(target=copy_and_delete, args=(url,), daemon=True))
        started[0].start()
        return started[0]

    names["test_a_client_is_killed_at_its_second_change"](bigquery, start_client)

    started[0].join()
    assert started[0].exitcode == -signal.SIGKILL


def test_every_limit_is_explained_with_bigquery_s_figure() -> None:
    explained = [(code(name), int(figure.replace(",", ""))) for name, figure, _ in rows("limits")]

    assert explained == [(rule.name, rule.documented) for rule in RULES]


def test_every_setting_is_explained_with_its_default(bigquery: LocalBigQuery) -> None:
    assert {code(name): float(default) for name, default, _ in rows("settings")} == bigquery.settings()


def test_settings_begin_as_they_are_declared(bigquery: LocalBigQuery) -> None:
    assert bigquery.store.settings == Settings()


def test_every_key_of_a_match_is_explained() -> None:
    assert [code(name) for name, _, _ in rows("match")] == [*EXACT, *PATTERNS]


def test_every_action_is_explained() -> None:
    assert list(dict.fromkeys(code(name) for name, *_ in rows("actions"))) == list(ACTIONS)


@pytest.mark.parametrize("cells", rows("match"), ids=named)
def test_an_example_of_a_match_strikes(bigquery: LocalBigQuery, client: bq.Client, cells: tuple[str, ...]) -> None:
    a_table(client, "t", [{"a": 1}])
    bigquery.fault(ast.literal_eval(code(cells[2])), {"delay_seconds": 0})

    copy(client, "t", "u")
    client.query_and_wait("SELECT table_name FROM sales.INFORMATION_SCHEMA.TABLES")

    assert bigquery.faults()[0]["hits"] > 0


@pytest.mark.parametrize("cells", rows("actions"), ids=named)
def test_an_example_of_an_action_does_what_it_says(
    bigquery: LocalBigQuery, client: bq.Client, cells: tuple[str, ...]
) -> None:
    a_table(client, "t", [{"a": 1}])
    eval(f"fault{code(cells[2])}", {"fault": bigquery.fault})
    seen = ""

    try:
        client.copy_table("shop.sales.t", "shop.sales.u", timeout=1).result(timeout=1)
    except (GoogleAPICallError, TimeoutError, requests.exceptions.JSONDecodeError) as error:
        seen = type(error).__name__

    assert bigquery.faults()[0]["hits"] == 1
    assert seen == code(cells[3])


def test_every_way_of_saying_how_often_is_explained(bigquery: LocalBigQuery) -> None:
    bigquery.fault({}, {"delay_seconds": 0})

    ways = bigquery.faults()[0].keys() - {"match", "action", "seen", "hits"}

    assert ways <= set(re.findall(r"`(\w+)`", PAGE.partition("### Faults")[2].partition("<!--")[0]))


def test_every_module_that_is_named_exists() -> None:
    folder = Path(bbq_dagster.local.__file__).parent
    modules = {module for row in rows("models") for module in re.findall(r"`([\w/]+\.py)`", row[-1])}

    assert len(modules) > 10
    assert [module for module in sorted(modules) if not (folder / module).is_file()] == []


@pytest.mark.parametrize("statement", re.findall(r"^\* `(.*)`$", section("refused"), re.MULTILINE))
def test_what_is_refused_is_not_implemented(client: bq.Client, statement: str) -> None:
    a_table(client, "t")

    with pytest.raises(MethodNotImplemented, match="The embedded BigQuery does not support"):
        client.query_and_wait(statement)


@pytest.mark.parametrize("cells", rows("differences"), ids=lambda cells: code(cells[0]))
def test_a_known_difference_is_still_one(client: bq.Client, cells: tuple[str, ...]) -> None:
    query, _, here = cells
    try:
        ((value,),) = (row.values() for row in client.query_and_wait(code(query)))
        answer = str(value)
    except GoogleAPICallError:
        answer = ""

    assert answer == code(here)


# -- rules that the page states


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("TIMESTAMP '2024-01-01 00:00:00'", '"2024-01-01T00:00:00Z"', id="TIMESTAMP"),
        pytest.param("TIMESTAMP '2024-01-01 00:00:00.5'", '"2024-01-01T00:00:00.500Z"', id="a fraction in threes"),
        pytest.param("DATETIME '2024-01-01 00:00:00.1234'", '"2024-01-01T00:00:00.123400"', id="DATETIME"),
        pytest.param("TIME '01:02:03'", '"01:02:03"', id="TIME"),
        pytest.param("DATE '2024-01-01'", '"2024-01-01"', id="DATE"),
        pytest.param("9007199254740992", "9007199254740992", id="2^53 is a number"),
        pytest.param("9007199254740993", '"9007199254740993"', id="2^53 + 1 is a string"),
        pytest.param("-9007199254740993", '"-9007199254740993"', id="-2^53 - 1 is a string"),
        pytest.param("0.1 + 0.2", "0.30000000000000004", id="FLOAT64"),
        pytest.param("CAST('nan' AS FLOAT64)", '"NaN"', id="NaN is a string"),
        pytest.param("CAST('-inf' AS FLOAT64)", '"-Infinity"', id="infinity is a string"),
        pytest.param("NUMERIC '100'", "100", id="a whole NUMERIC is a number"),
        pytest.param("NUMERIC '12345678901234567.89'", '"12345678901234567.89"', id="another is a string"),
        pytest.param("b'a\\\\\\x00'", '"YVwA"', id="BYTES are in base64"),
        pytest.param("JSON '{\"a\": [1.0, null]}'", '{"a":[1.0,null]}', id="JSON stays"),
        pytest.param("'2024-01-01 00:00:00+00 \"é\"'", '"2024-01-01 00:00:00+00 \\"é\\""', id="STRING stays"),
        pytest.param(
            "STRUCT([TIMESTAMP '2024-01-01 00:00:00'] AS a, CAST(NULL AS INT64) AS b, STRUCT(1 AS d) AS c)",
            '{"a":["2024-01-01T00:00:00Z"],"b":null,"c":{"d":1}}',
            id="nested",
        ),
    ],
)
def test_to_json_string_writes_values_as_documented(client: bq.Client, value: str, expected: str) -> None:
    """json_functions#json_encodings."""
    ((text,),) = (row.values() for row in client.query_and_wait(f"SELECT TO_JSON_STRING({value})"))

    assert text == expected


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        pytest.param("[OFFSET(0)]", 7, id="OFFSET counts from 0"),
        pytest.param("[ORDINAL(2)]", 8, id="ORDINAL counts from 1"),
        pytest.param("[SAFE_OFFSET(-2)]", None, id="SAFE_OFFSET before the array"),
        pytest.param("[SAFE_ORDINAL(-1)]", None, id="SAFE_ORDINAL before the array"),
        pytest.param("[SAFE_ORDINAL(3)]", None, id="SAFE_ORDINAL beyond the array"),
    ],
)
def test_an_element_is_found_by_its_place(client: bq.Client, element: str, expected: int | None) -> None:
    ((value,),) = (row.values() for row in client.query_and_wait(f"SELECT [7, 8]{element}"))

    assert value == expected


@pytest.mark.parametrize(
    ("element", "words"),
    [
        pytest.param("[OFFSET(2)]", r"Array index 2 is out of bounds \(overflow\)", id="OFFSET beyond"),
        pytest.param("[OFFSET(-1)]", r"Array index -1 is out of bounds \(underflow\)", id="OFFSET before"),
        pytest.param("[ORDINAL(3)]", r"Array index 3 is out of bounds \(overflow\)", id="ORDINAL beyond"),
        pytest.param("[ORDINAL(0)]", r"Array index 0 is out of bounds \(underflow\)", id="ORDINAL before"),
    ],
)
def test_an_element_outside_the_array_is_an_error(client: bq.Client, element: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        client.query_and_wait(f"SELECT [7, 8]{element}")


def test_no_data_is_older_than_its_table(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """Rows that were ready before the table was made, as those of CREATE TABLE AS SELECT are."""
    fields = [A.to_api_repr()]
    before = make_part(pa.table({"a": [1]}), fields, int(NOW.timestamp() * 1000) - 1)

    table = bigquery.store.create_table(TableRef("shop", "sales", "t"), {"schema": {"fields": fields}}, {"": before})

    assert [part.modified_ms for part in table.parts.values()] == [table.created_ms]


def test_a_renamed_table_keeps_its_creation_and_its_last_write(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """managing-tables: the table is made anew with the original creation time."""
    a_table(client, "t", [{"a": 1}])
    bigquery.advance(timedelta(hours=1))

    client.query_and_wait("ALTER TABLE sales.t RENAME TO u")

    (times,) = client.query_and_wait(
        "SELECT creation_time, storage_last_modified_time FROM `region-eu`.INFORMATION_SCHEMA.TABLE_STORAGE "
        "WHERE table_name = 'u'"
    )
    assert times.values() == (NOW, NOW)


def insert_table(client: bq.Client, name: str, **properties: Any) -> Mapping[str, Any]:
    """tables.insert as it is sent, which Google's client does not do with nulls."""
    reference = {"projectId": "shop", "datasetId": "brief", "tableId": name}
    schema = {"fields": [{"name": "day", "type": "DATE"}]}
    path = "/projects/shop/datasets/brief/tables"
    body = {"tableReference": reference, "schema": schema, **properties}
    answer: Mapping[str, Any] = client._connection.api_request(method="POST", path=path, data=body)
    return answer


@pytest.mark.parametrize(
    ("expiration", "expected"),
    [
        pytest.param({}, str(HOUR_MS), id="left out takes the default"),
        pytest.param({"expirationMs": None}, None, id="null means none"),
        pytest.param({"expirationMs": "7200000"}, "7200000", id="its own"),
    ],
)
def test_a_null_partition_expiration_overrides_the_default(
    client: bq.Client, expiration: Mapping[str, Any], expected: str | None
) -> None:
    a_dataset(client, "brief", default_partition_expiration_ms=HOUR_MS)

    made = insert_table(client, "t", timePartitioning={"type": "DAY", "field": "day", **expiration})

    assert made["timePartitioning"].get("expirationMs") == expected


def test_a_null_expiration_of_a_table_takes_the_default(client: bq.Client) -> None:
    a_dataset(client, "brief", default_table_expiration_ms=HOUR_MS)

    made = insert_table(client, "t", expirationTime=None)

    assert int(made["expirationTime"]) == int(NOW.timestamp() * 1000) + HOUR_MS


def test_a_restart_goes_on_by_the_clock_that_was_set(tmp_path: Path) -> None:
    """By the real clock, the state before the second load would be out of reach of time travel, and dropped."""
    at = int(NOW.timestamp() * 1000)
    with LocalBigQuery(tmp_path) as server, server.client("shop") as client:
        server.set_clock(NOW)
        a_dataset(client)
        a_table(client, "t", [{"a": 1}])
        server.advance(timedelta(hours=1))
        load(client, "t", [{"a": 2}], "WRITE_TRUNCATE")

    with LocalBigQuery(tmp_path) as server, server.client("shop") as client:
        copy(client, f"t@{at}", "was")

        assert server.now() == NOW + timedelta(hours=1)
        assert rows_of(client, "was") == [(1,)]


def test_a_restart_goes_on_by_the_real_clock_if_it_was_real(tmp_path: Path) -> None:
    with LocalBigQuery(tmp_path) as server:
        server.set_clock(NOW)
        server.use_real_clock()

    with LocalBigQuery(tmp_path) as server:
        assert abs(server.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_clock_given_at_the_start_wins(tmp_path: Path) -> None:
    with LocalBigQuery(tmp_path) as server:
        server.set_clock(NOW)
    later = NOW + timedelta(days=1)

    with LocalBigQuery(tmp_path, now=later) as server:
        assert server.now() == later


def test_a_partition_that_is_not_there_has_no_rows(client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01"])

    assert client.get_table("shop.sales.t$20300101").num_rows == 0


def test_the_null_partition_is_copied_like_any(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01", None])

    copy(client, "t$__NULL__", "u")
    copy(client, "t$__NULL__", "t$__NULL__", write_disposition="WRITE_TRUNCATE")

    assert (rows_of(client, "u"), len(rows_of(client, "t"))) == ([(2, None)], 2)


def test_deleting_a_partition_moves_the_table_and_its_expiry_does_not(
    bigquery: LocalBigQuery, client: bq.Client
) -> None:
    a_day_table(client, "t", ["2024-02-29", "2024-03-01"], expiration_ms=36 * HOUR_MS)
    bigquery.advance(timedelta(hours=1))
    expired = client.get_table("shop.sales.t")
    client.delete_table("shop.sales.t$20240301")
    deleted = client.get_table("shop.sales.t")

    assert (expired.num_rows, expired.modified) == (1, NOW)
    assert (deleted.num_rows, deleted.modified) == (0, NOW + timedelta(hours=1))


def test_what_is_in_the_streaming_buffer_is_no_partition_to_copy(client: bq.Client) -> None:
    an_ingestion_table(client, "t", rows=[{"a": 1}])
    client.insert_rows_json("shop.sales.t", [{"a": 2}])

    with pytest.raises(NotFound, match="__UNPARTITIONED__"):
        copy(client, "t$__UNPARTITIONED__", "u")
    with pytest.raises(BadRequest):
        copy(client, "t", "t$__UNPARTITIONED__", write_disposition="WRITE_TRUNCATE")


def test_a_job_id_is_one_job_in_each_location(client: bq.Client) -> None:
    for location in ("EU", "US"):
        client.query("SELECT 1", job_id="same", location=location, job_retry=None).result(job_retry=None)

    with pytest.raises(Conflict):
        client.query("SELECT 1", job_id="same", location="EU", job_retry=None)


def test_a_table_without_rows_is_not_in_partitions(client: bq.Client) -> None:
    a_day_table(client, "empty")
    a_day_table(client, "t", ["2024-01-01"])

    found = client.query_and_wait("SELECT table_name FROM sales.INFORMATION_SCHEMA.PARTITIONS")

    assert [name for (name,) in found] == ["t"]
