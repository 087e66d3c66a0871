"""DDL makes the resources that the REST API would show."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from bbq_dagster.local.errors import BigQueryError
from bbq_dagster_tests.local.sql.tables import events, orders, ref


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        pytest.param("DATE(at)", {"timePartitioning": {"type": "DAY", "field": "at"}}, id="days of a timestamp"),
        pytest.param("day", {"timePartitioning": {"type": "DAY", "field": "day"}}, id="a date"),
        pytest.param("TIMESTAMP_TRUNC(at, HOUR)", {"timePartitioning": {"type": "HOUR", "field": "at"}}, id="hours"),
        pytest.param("DATE_TRUNC(day, MONTH)", {"timePartitioning": {"type": "MONTH", "field": "day"}}, id="months"),
        pytest.param("_PARTITIONDATE", {"timePartitioning": {"type": "DAY"}}, id="ingestion time"),
        pytest.param(
            "TIMESTAMP_TRUNC(_PARTITIONTIME, YEAR)", {"timePartitioning": {"type": "YEAR"}}, id="ingestion years"
        ),
        pytest.param(
            "RANGE_BUCKET(id, GENERATE_ARRAY(0, 100, 10))",
            {"rangePartitioning": {"field": "id", "range": {"start": "0", "end": "100", "interval": "10"}}},
            id="integer ranges",
        ),
    ],
)
def test_every_partitioning_can_be_declared(store, sql, clause, expected):
    sql(f"CREATE TABLE sales.t (id INT64, day DATE, at TIMESTAMP) PARTITION BY {clause}")

    resource = store.get_table(ref("t")).resource
    assert {k: v for k, v in resource.items() if k.endswith("Partitioning")} == expected


def test_columns_keep_types_modes_defaults_and_descriptions(store, sql):
    sql("""CREATE TABLE sales.t (
        id INT64 NOT NULL OPTIONS(description = 'key'),
        s STRUCT<a ARRAY<STRING>, n NUMERIC(10, 2)>, e STRING DEFAULT 'x')""")

    assert store.get_table(ref("t")).fields == [
        {"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "key"},
        {
            "name": "s",
            "type": "RECORD",
            "mode": "NULLABLE",
            "fields": [
                {"name": "a", "type": "STRING", "mode": "REPEATED"},
                {"name": "n", "type": "NUMERIC", "mode": "NULLABLE", "precision": "10", "scale": "2"},
            ],
        },
        {"name": "e", "type": "STRING", "mode": "NULLABLE", "defaultValueExpression": "'x'"},
    ]


def test_options_become_properties(store, sql):
    sql("""CREATE TABLE sales.t (day DATE) PARTITION BY day CLUSTER BY day OPTIONS(
        description = 'd', friendly_name = 'f', labels = [('k', 'v')], require_partition_filter = TRUE,
        partition_expiration_days = 1.5, expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))""")

    resource = dict(store.get_table(ref("t")).resource)
    expires = datetime(2024, 3, 16, 12, 30, tzinfo=UTC)
    del resource["schema"], resource["type"]
    assert resource == {
        "clustering": {"fields": ["day"]},
        "description": "d",
        "friendlyName": "f",
        "labels": {"k": "v"},
        "requirePartitionFilter": True,
        "timePartitioning": {"type": "DAY", "field": "day", "expirationMs": "129600000"},
        "expirationTime": str(int(expires.timestamp() * 1000)),
    }


def test_create_as_select_splits_the_rows_by_partition(store, sql):
    events(store)
    result = sql("CREATE TABLE sales.t PARTITION BY day AS SELECT * FROM sales.events")

    assert {p: part.rows for p, part in store.get_table(ref("t")).parts.items()} == {
        "20240101": 1,
        "20240102": 1,
        "__NULL__": 1,
    }
    assert (result.statement_type, result.ddl_operation) == ("CREATE_TABLE_AS_SELECT", "CREATE")


def test_create_or_replace_keeps_the_past_within_reach(store, clock, sql):
    orders(store)
    before = clock.now_ms()
    clock.advance(timedelta(hours=1))
    result = sql("CREATE OR REPLACE TABLE sales.orders AS SELECT 1 AS one")

    assert result.ddl_operation == "REPLACE"
    assert store.table_at(ref("orders"), before)[1].rows == 3


def test_if_not_exists_leaves_what_is_there(store, sql):
    orders(store)

    assert sql("CREATE TABLE IF NOT EXISTS sales.orders (x INT64)").ddl_operation == "SKIP"
    assert store.get_table(ref("orders")).version.rows == 3


def test_like_takes_the_definition_and_no_rows(store, sql):
    events(store)
    sql("CREATE TABLE sales.t LIKE sales.events")

    table = store.get_table(ref("t"))
    assert (table.partitioning.column, dict(table.parts)) == ("day", {})


@pytest.mark.parametrize(
    ("statement", "kind", "operation"),
    [
        pytest.param("CREATE TABLE sales.t COPY sales.events", "CREATE_TABLE", None, id="copy"),
        pytest.param("CREATE TABLE sales.t CLONE sales.events", "CREATE_TABLE", "cloneDefinition", id="clone"),
        pytest.param(
            "CREATE SNAPSHOT TABLE sales.t CLONE sales.events OPTIONS(description = 'x')",
            "CREATE_SNAPSHOT_TABLE",
            "snapshotDefinition",
            id="snapshot",
        ),
    ],
)
def test_copies_clones_and_snapshots_share_the_parts(store, sql, statement, kind, operation):
    source = events(store)
    result = sql(statement)

    table = store.get_table(ref("t"))
    assert {p: part.segments for p, part in table.parts.items()} == {
        p: part.segments for p, part in source.parts.items()
    }
    assert (result.statement_type, operation is None or operation in table.resource) == (kind, True)


def test_a_snapshot_of_the_past(store, clock, sql):
    orders(store)
    clock.advance(timedelta(hours=2))
    store.append_rows(ref("orders"), pa.table({"id": [4], "item": ["cap"]}))
    sql("""CREATE SNAPSHOT TABLE sales.s CLONE sales.orders
        FOR SYSTEM_TIME AS OF TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 HOUR)""")

    assert store.get_table(ref("s")).version.rows == 3


def test_a_view_knows_its_columns(store, sql, rows):
    orders(store)
    sql("CREATE VIEW sales.v (number, what) OPTIONS(description = 'x') AS SELECT id, item FROM sales.orders")

    assert [(f["name"], f["type"]) for f in store.get_table(ref("v")).fields] == [
        ("number", "INTEGER"),
        ("what", "STRING"),
    ]
    assert rows("SELECT what FROM sales.v WHERE number = 1") == [("pen",)]


def test_alter_adds_drops_and_renames_columns(store, sql, rows):
    orders(store)
    sql("ALTER TABLE sales.orders ADD COLUMN note STRING, ADD COLUMN IF NOT EXISTS id INT64")
    sql("ALTER TABLE sales.orders RENAME COLUMN id TO number")
    sql("ALTER TABLE sales.orders DROP COLUMN item")

    assert rows("SELECT * FROM sales.orders WHERE number = 1") == [(1, None)]


def test_alter_sets_and_clears_options_and_moves_no_partition(store, clock, sql):
    before = events(store)
    clock.advance(timedelta(minutes=1))
    sql("ALTER TABLE sales.events SET OPTIONS(description = 'x', labels = [('a', 'b')])")
    sql("ALTER TABLE sales.events SET OPTIONS(description = NULL)")

    after = store.get_table(ref("events"))
    assert (after.resource.get("description"), after.resource["labels"]) == (None, {"a": "b"})
    assert (dict(after.parts), after.modified_ms) == (dict(before.parts), clock.now_ms())


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param("[('c', 'd')]", {"c": "d"}, id="others"),
        pytest.param("[]", {}, id="none"),
        pytest.param("NULL", {}, id="null"),
    ],
)
def test_labels_that_are_set_take_the_place_of_those_that_were_there(store, sql, labels, expected):
    events(store)
    sql("ALTER TABLE sales.events SET OPTIONS(labels = [('a', 'b')])")
    sql("CREATE SCHEMA lab OPTIONS(labels = [('a', 'b')])")

    sql(f"ALTER TABLE sales.events SET OPTIONS(labels = {labels})")
    sql(f"ALTER SCHEMA lab SET OPTIONS(labels = {labels})")

    assert store.get_table(ref("events")).resource.get("labels", {}) == expected
    assert store.get_dataset("shop", "lab").resource.get("labels", {}) == expected


def test_datasets_are_created_altered_and_dropped(store, sql):
    sql("CREATE SCHEMA lab OPTIONS(location = 'US', default_table_expiration_days = 3)")
    sql("ALTER SCHEMA lab SET OPTIONS(description = 'x')", location="US")
    resource = store.get_dataset("shop", "lab").resource
    sql("DROP SCHEMA lab", location="US")

    assert resource == {"location": "US", "defaultTableExpirationMs": "259200000", "description": "x"}
    assert sql("DROP SCHEMA IF EXISTS lab").ddl_operation == "SKIP"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        pytest.param("CREATE TABLE sales.orders (id INT64)", "duplicate", id="there already"),
        pytest.param("DROP TABLE sales.nope", "notFound", id="drop what is not there"),
        pytest.param("DROP VIEW sales.orders", "invalidQuery", id="drop a table as a view"),
        pytest.param("DROP SCHEMA sales", "resourceInUse", id="drop a dataset with tables"),
        pytest.param("CREATE SCHEMA sales", "duplicate", id="dataset there already"),
        pytest.param(
            "CREATE VIEW sales.v AS SELECT x FROM sales.orders", "invalidQuery", id="view of an unknown column"
        ),
        pytest.param("CREATE TABLE sales.t (id INT64) OPTIONS(wrong = 1)", "invalidQuery", id="unknown option"),
        pytest.param(
            "CREATE TABLE sales.t (id INT64) PARTITION BY nope", "invalid", id="partitioned by an unknown column"
        ),
        pytest.param("ALTER TABLE sales.orders DROP COLUMN nope", "invalidQuery", id="drop an unknown column"),
    ],
)
def test_ddl_that_cannot_be_done_is_refused(store, sql, statement, reason):
    orders(store)

    with pytest.raises(BigQueryError) as refusal:
        sql(statement)

    assert refusal.value.reason == reason


def test_a_replacement_that_is_refused_leaves_the_table(store, sql):
    orders(store)

    with pytest.raises(BigQueryError):
        sql("CREATE OR REPLACE TABLE sales.orders (id INT64) CLUSTER BY nope")

    assert store.get_table(ref("orders")).version.rows == 3


def test_undrop_schema_brings_a_dataset_back(store, sql):
    """https://cloud.google.com/bigquery/docs/restore-deleted-datasets"""
    orders(store)
    sql("DROP SCHEMA sales CASCADE")

    result = sql("UNDROP SCHEMA sales")

    assert (result.statement_type, store.get_table(ref("orders")).version.rows) == ("UNDROP_SCHEMA", 3)
    assert sql("UNDROP SCHEMA IF NOT EXISTS sales").ddl_operation == "SKIP"
