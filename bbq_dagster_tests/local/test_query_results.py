"""What clients find after a query: where its rows are, and values of each type. Sources stand with the tests."""

from base64 import b64decode
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa
import pytest
from dateutil.relativedelta import relativedelta
from google.api_core.exceptions import BadRequest, MethodNotImplemented
from google.cloud import bigquery as bq

from bbq_dagster_tests.local.builders import A, a_table, rows_of


def one(client: bq.Client, sql: str) -> Any:
    (row,) = client.query_and_wait(sql)
    return row[0]


def test_a_query_keeps_its_rows_in_an_anonymous_table(client: bq.Client) -> None:
    """writing-results: temporary and permanent tables."""
    job = client.query("SELECT 1 AS a")
    job.result()

    table = client.get_table(job.destination)

    assert table.dataset_id.startswith("_")
    assert [field.name for field in table.schema] == ["a"]
    assert [tuple(row) for row in client.list_rows(table)] == [(1,)]


def test_an_anonymous_table_lives_for_a_day(client: bq.Client) -> None:
    """writing-results: temporary tables."""
    job = client.query("SELECT 1 AS a")
    job.result()

    table = client.get_table(job.destination)

    assert (table.expires - table.created).total_seconds() == 86_400


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("CREATE TABLE sales.t AS SELECT 1 AS a", id="create as select"),
        pytest.param("CREATE TABLE sales.t (a INT64); INSERT INTO sales.t VALUES (1)", id="insert"),
    ],
)
def test_a_statement_that_writes_rows_has_its_table_as_destination(client: bq.Client, sql: str) -> None:
    """REST JobConfigurationQuery.destinationTable: set by the server for queries and DML."""
    *before, last = sql.split("; ")
    for statement in before:
        client.query_and_wait(statement)
    job = client.query(last)
    job.result()

    assert str(job.destination) == "shop.sales.t"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT INTERVAL 14 MONTH + INTERVAL 3 DAY", relativedelta(years=1, months=2, days=3), id="a sum"),
        pytest.param("SELECT INTERVAL 1 DAY", relativedelta(days=1), id="one part"),
        pytest.param("SELECT INTERVAL -5 MINUTE", relativedelta(minutes=-5), id="negative"),
    ],
)  # fmt: skip
def test_an_interval_is_shown_by_years_days_and_time(client: bq.Client, sql: str, expected: relativedelta) -> None:
    """data-types: interval_type."""
    assert one(client, sql) == expected


@pytest.mark.parametrize("text", ["P1Y2M3DT4H5M6.5S", "1-2 3 4:5:6.5"])
def test_an_interval_is_loaded_in_both_spellings(client: bq.Client, text: str) -> None:
    """data-types: interval_type, canonical format; loading-data-cloud-storage-json: ISO 8601."""
    a_table(client, "t", [{"i": text}], (bq.SchemaField("i", "INTERVAL"),))

    (row,) = client.list_rows("shop.sales.t")

    assert row["i"] == relativedelta(years=1, months=2, days=3, hours=4, minutes=5, seconds=6, microseconds=500_000)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT EXTRACT(TIME FROM TIMESTAMP '2024-01-01 10:20:30+00')", id="extract"),
        pytest.param("SELECT TIME(DATETIME '2024-01-01 10:20:30')", id="TIME of a DATETIME"),
        pytest.param("SELECT CAST('10:20:30' AS TIME)", id="cast of text"),
    ],
)
def test_a_time_is_taken_of_what_has_one(client: bq.Client, sql: str) -> None:
    """time_functions."""
    assert one(client, sql) == time(10, 20, 30)


def test_fields_without_a_name_are_numbered(client: bq.Client) -> None:
    """data-types: struct_type, tuple syntax."""
    assert one(client, "SELECT (1, 'x')") == {"_field_1": 1, "_field_2": "x"}


def test_several_variables_are_set_of_one_struct(client: bq.Client) -> None:
    """procedural-language: set, with (variable, ...)."""
    script = """
        DECLARE days ARRAY<DATE>; DECLARE n INT64;
        SET (days, n) = (SELECT AS STRUCT [DATE '2024-01-01'], 2);
        SELECT days[OFFSET(0)] AS day, n
    """

    (row,) = client.query_and_wait(script)

    assert tuple(row) == (date(2024, 1, 1), 2)


def test_set_refuses_what_does_not_fit_its_variables(client: bq.Client) -> None:
    """procedural-language: set."""
    with pytest.raises(BadRequest, match="SET has 2 variables and 3 values"):
        client.query_and_wait("DECLARE a INT64; DECLARE b INT64; SET (a, b) = (1, 2, 3)")


def test_what_is_no_statement_is_a_syntax_error(client: bq.Client) -> None:
    """error-messages: invalidQuery."""
    with pytest.raises(BadRequest, match=r'Syntax error: Unexpected identifier "invalid" at \[1:1\]'):
        client.query_and_wait("invalid AS syntax")


def test_meta_tables_list_the_tables_of_a_dataset(client: bq.Client) -> None:
    """listing-tables, before INFORMATION_SCHEMA: __TABLES__."""
    a_table(client, "t", [{"a": 1}])
    client.query_and_wait("CREATE VIEW sales.v AS SELECT 1 AS a")

    rows = client.query_and_wait("SELECT table_id, row_count, size_bytes, type FROM sales.__TABLES__ ORDER BY 1")

    assert [tuple(row) for row in rows] == [("t", 1, 8, 1), ("v", 0, 0, 2)]


def test_materialized_views_are_listed(client: bq.Client) -> None:
    """information-schema-materialized-views."""
    client.query_and_wait("CREATE MATERIALIZED VIEW sales.m AS SELECT 1 AS a")

    assert one(client, "SELECT table_name FROM sales.INFORMATION_SCHEMA.MATERIALIZED_VIEWS") == "m"


def test_setting_no_options_changes_nothing(client: bq.Client) -> None:
    """data-definition-language: alter_table_set_options_statement."""
    a_table(client, "t", description="kept")

    client.query_and_wait("ALTER TABLE sales.t SET OPTIONS()")

    assert client.get_table("shop.sales.t").description == "kept"


def test_streamed_rows_get_default_values_where_they_leave_a_column_out(client: bq.Client) -> None:
    """default-values: insert_default_values."""
    at = bq.SchemaField("at", "TIMESTAMP", default_value_expression="CURRENT_TIMESTAMP()")
    item = bq.SchemaField("item", "STRING", default_value_expression="'pen'")
    a_table(client, "t", (), (A, at, item))

    client.insert_rows_json("shop.sales.t", [{"a": 1}, {"a": 2, "item": None}])

    now = datetime(2024, 3, 1, 12, tzinfo=UTC)
    rows = client.query_and_wait("SELECT * FROM sales.t ORDER BY a")
    assert [tuple(row) for row in rows] == [(1, now, "pen"), (2, now, None)]


def test_a_project_has_a_service_account(client: bq.Client) -> None:
    """REST projects.getServiceAccount."""
    assert client.get_service_account_email().endswith("@bigquery-encryption.iam.gserviceaccount.com")


def test_tuples_within_values_are_structs_too(client: bq.Client) -> None:
    """data-types: struct_type, tuple syntax."""
    assert one(client, "SELECT ((1, 2), 3)") == {"_field_1": {"_field_1": 1, "_field_2": 2}, "_field_2": 3}


def test_a_dry_run_by_jobs_query_gives_what_would_be_read(client: bq.Client) -> None:
    """REST jobs.query: dryRun."""
    a_table(client, "t", [{"a": 1}])

    job = client.query("SELECT a FROM sales.t", job_config=bq.QueryJobConfig(dry_run=True), api_method="QUERY")

    assert (job.dry_run, job.total_bytes_processed) == (True, 8)


@pytest.mark.parametrize("codec", [None, "LZ4_FRAME", "ZSTD"])
def test_rows_come_as_arrow_if_asked_for(client: bq.Client, codec: str | None) -> None:
    """REST jobs.query: queryResultsFormat, arrowSerializationOptions."""
    body = {
        "query": "SELECT 1 AS a, JSON '{}' AS j",
        "useLegacySql": False,
        "queryResultsFormat": "ARROW",
        "arrowSerializationOptions": {"bufferCompression": codec},
    }

    answer = client._connection.api_request("POST", "/projects/shop/queries", data=body)

    schema = pa.ipc.read_schema(pa.py_buffer(b64decode(answer["arrowSchema"]["serializedSchema"])))
    content = pa.py_buffer(b64decode(answer["arrowRecordBatch"]["serializedRecordBatch"]))
    assert pa.ipc.read_record_batch(content, schema).to_pylist() == [{"a": 1, "j": "{}"}]
    assert schema.field("j").metadata == {b"ARROW:extension:name": b"google:sqlType:json"}


def test_bytes_may_have_line_ends_in_their_base64(client: bq.Client) -> None:
    """loading-data-cloud-storage-json: BYTES are Base64."""
    a_table(client, "t", [{"b": "eHl6\n"}], (bq.SchemaField("b", "BYTES"),))

    (row,) = client.list_rows("shop.sales.t")

    assert row["b"] == b"xyz"


def test_policy_tags_without_names_clear_them(client: bq.Client) -> None:
    """REST TableFieldSchema.policyTags."""
    tagged = bq.SchemaField(
        "a", "INTEGER", policy_tags=bq.PolicyTagList(["projects/p/locations/us/taxonomies/1/policyTags/2"])
    )
    table = a_table(client, "t", (), (tagged,))
    table.schema = [bq.SchemaField("a", "INTEGER", policy_tags=bq.PolicyTagList())]

    updated = client.update_table(table, ["schema"])

    assert updated.schema[0].policy_tags is None


def test_a_numeric_has_all_its_38_digits(client: bq.Client) -> None:
    """data-types: decimal_types."""
    most = "99999999999999999999999999999.999999999"
    a_table(client, "t", [{"n": most}], (bq.SchemaField("n", "NUMERIC"),))

    (row,) = client.list_rows("shop.sales.t")

    assert str(row["n"]) == most


def test_an_interval_beyond_what_is_held_is_refused(client: bq.Client) -> None:
    """data-types: interval_type allows 87,840,000 hours; here the limit is 2**63 nanoseconds."""
    with pytest.raises(MethodNotImplemented, match="longer than 292 years"):
        a_table(client, "t", [{"i": "PT87840000H"}], (bq.SchemaField("i", "INTERVAL"),))


def test_a_tuple_in_values_fills_a_struct_by_place(client: bq.Client) -> None:
    """dml-syntax: insert_statement, values of STRUCT columns."""
    client.query_and_wait("CREATE TABLE sales.t (place STRUCT<city STRING, zip INT64>)")

    client.query_and_wait("INSERT INTO sales.t VALUES (('Rome', 1)), (NULL)")

    assert rows_of(client, "t") == [(None,), ({"city": "Rome", "zip": 1},)]
