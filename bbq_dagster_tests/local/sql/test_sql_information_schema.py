"""INFORMATION_SCHEMA shows what BigQuery documents for each view, under the qualifiers that it takes."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from bbq_dagster.local.errors import BigQueryError
from bbq_dagster_tests.local.sql.conftest import NOW
from bbq_dagster_tests.local.sql.tables import a_table, events, orders, ref

STORAGE = "`region-eu`.INFORMATION_SCHEMA.TABLE_STORAGE"


def test_tables_tell_kinds_apart_and_name_the_base(store, sql, rows):
    orders(store)
    sql("CREATE VIEW sales.v AS SELECT 1 AS a")
    sql("CREATE TABLE sales.c CLONE sales.orders")
    sql("CREATE SNAPSHOT TABLE sales.s CLONE sales.orders")

    query = "SELECT table_name, table_type, base_table_name, snapshot_time_ms, is_insertable_into"
    assert rows(f"{query} FROM sales.INFORMATION_SCHEMA.TABLES ORDER BY table_name") == [
        ("c", "CLONE", "orders", NOW, "YES"),
        ("orders", "BASE TABLE", None, None, "YES"),
        ("s", "SNAPSHOT", "orders", NOW, "NO"),
        ("v", "VIEW", None, None, "NO"),
    ]


def test_the_ddl_of_a_table_creates_it_anew(store, sql):
    sql("""CREATE TABLE sales.t (id INT64 NOT NULL, tags ARRAY<STRUCT<k STRING>>, at TIMESTAMP)
        PARTITION BY TIMESTAMP_TRUNC(at, HOUR) CLUSTER BY id
        OPTIONS(description = 'say "hi"', labels = [('k', 'v')], partition_expiration_days = 7)""")
    before = store.get_table(ref("t")).resource
    ddl = sql("SELECT ddl FROM sales.INFORMATION_SCHEMA.TABLES").rows.column(0)[0].as_py()
    sql("DROP TABLE sales.t")
    sql(ddl)

    assert store.get_table(ref("t")).resource == before


def test_options_are_printed_as_bigquery_prints_them(store, rows):
    events(
        store,
        description='say "hi"',
        friendlyName="Events",
        labels={"env": "prod", "a": ""},
        expirationTime="1893456000000",
        requirePartitionFilter=True,
    )

    query = "SELECT option_name, option_type, option_value FROM sales.INFORMATION_SCHEMA.TABLE_OPTIONS"
    assert rows(query) == [
        ("friendly_name", "STRING", '"Events"'),
        ("description", "STRING", '"say \\"hi\\""'),
        ("labels", "ARRAY<STRUCT<STRING, STRING>>", '[STRUCT("a", ""), STRUCT("env", "prod")]'),
        ("expiration_timestamp", "TIMESTAMP", 'TIMESTAMP "2030-01-01T00:00:00.000Z"'),
        ("require_partition_filter", "BOOL", "true"),
    ]


def test_columns_show_types_partitioning_and_clustering(store, rows):
    a_table(
        store,
        "t",
        {"id": "INT64", "day": "DATE", "tags": "ARRAY<STRING>"},
        timePartitioning={"type": "DAY", "field": "day"},
        clustering={"fields": ["id"]},
    )

    columns = "column_name, ordinal_position, data_type, is_partitioning_column, clustering_ordinal_position, is_hidden"
    assert rows(f"SELECT {columns} FROM sales.INFORMATION_SCHEMA.COLUMNS") == [
        ("id", 1, "INT64", "NO", 1, "NO"),
        ("day", 2, "DATE", "YES", None, "NO"),
        ("tags", 3, "ARRAY<STRING>", "NO", None, "NO"),
    ]


def test_an_ingestion_time_table_has_a_hidden_partitioning_column(store, rows):
    a_table(store, "visits", {"id": "INT64"}, timePartitioning={"type": "DAY"})

    query = "SELECT column_name, ordinal_position, data_type, is_hidden, is_system_defined, is_partitioning_column"
    assert rows(f"{query} FROM sales.INFORMATION_SCHEMA.COLUMNS WHERE is_hidden = 'YES'") == [
        ("_PARTITIONTIME", None, "TIMESTAMP", "YES", "YES", "YES")
    ]


def test_field_paths_go_into_structs(store, sql, rows):
    sql("CREATE TABLE sales.t (s STRUCT<a STRUCT<b INT64>>)")

    assert rows("SELECT column_name, field_path, data_type FROM sales.INFORMATION_SCHEMA.COLUMN_FIELD_PATHS") == [
        ("s", "s", "STRUCT<a STRUCT<b INT64>>"),
        ("s", "s.a", "STRUCT<b INT64>"),
        ("s", "s.a.b", "INT64"),
    ]


PARTITIONS = "SELECT table_name, partition_id, total_rows FROM sales.INFORMATION_SCHEMA.PARTITIONS"


def test_partitions_have_a_row_each_and_an_unpartitioned_table_one_without_an_id(store, rows):
    events(store)
    orders(store)

    assert rows(PARTITIONS) == [
        ("events", "20240101", 1),
        ("events", "20240102", 1),
        ("events", "__NULL__", 1),
        ("orders", None, 3),
    ]


def test_what_holds_no_rows_has_no_partition(store, sql, rows):
    a_table(store, "empty", {"id": "INT64"})
    orders(store)
    sql("DELETE FROM sales.orders WHERE TRUE")

    assert rows(PARTITIONS) == []


def test_the_streaming_buffer_is_unpartitioned(store, rows):
    a_table(store, "visits", {"id": "INT64"}, timePartitioning={"type": "DAY"})
    store.stream(ref("visits"), pa.table({"id": [1, 2]}))

    assert rows(PARTITIONS) == [("visits", "__UNPARTITIONED__", 2)]


def test_a_partition_s_time_is_its_last_write_and_no_edit_of_metadata(store, clock, rows):
    events(store)
    clock.advance(timedelta(hours=1))
    store.patch_table(ref("events"), {"description": "x"})
    store.append_rows(ref("events"), pa.table({"id": [4], "day": pa.array(["2024-01-02"]).cast(pa.date32())}))

    query = "SELECT partition_id, last_modified_time FROM sales.INFORMATION_SCHEMA.PARTITIONS"
    later = NOW + timedelta(hours=1)
    assert rows(query) == [("20240101", NOW), ("20240102", later), ("__NULL__", NOW)]


def test_a_partition_is_long_term_after_90_days(store, clock, rows):
    orders(store)
    clock.advance(timedelta(days=90))

    assert rows("SELECT storage_tier FROM sales.INFORMATION_SCHEMA.PARTITIONS") == [("LONG_TERM",)]


@pytest.fixture
def many_tables(store):
    with store.transaction():
        for number in range(1001):
            store.create_table(ref(f"t{number:04d}"), {"schema": {"fields": [{"name": "id", "type": "INT64"}]}})


@pytest.mark.usefixtures("many_tables")
def test_partitions_of_more_than_1000_tables_are_refused(sql):
    with pytest.raises(BigQueryError, match="attempted to read too many tables"):
        sql(PARTITIONS)


@pytest.mark.usefixtures("many_tables")
@pytest.mark.parametrize(
    "condition",
    ["table_name IN UNNEST(@names)", "table_name < 't0002'", "STARTS_WITH(table_name, 't000') AND total_rows > 5"],
)
def test_conditions_on_names_narrow_what_partitions_reads(rows, condition):
    names = {
        "name": "names",
        "parameterType": {"type": "ARRAY", "arrayType": {"type": "STRING"}},
        "parameterValue": {"arrayValues": [{"value": "t0001"}]},
    }

    assert rows(f"{PARTITIONS} WHERE {condition}", parameters=[names]) == []


def test_an_outer_join_is_not_narrowed(store, rows):
    orders(store)

    query = f"""SELECT t.table_name FROM sales.INFORMATION_SCHEMA.TABLES AS t
        LEFT JOIN ({PARTITIONS}) AS p ON p.table_name = t.table_name WHERE p.table_name IS NULL"""
    assert rows(query) == []


def test_storage_counts_rows_without_the_streaming_buffer(store, rows):
    events(store)
    store.stream(ref("events"), pa.table({"id": [9], "day": pa.array([None], pa.date32())}))

    query = "SELECT table_name, total_rows, total_partitions, storage_last_modified_time, deleted"
    assert rows(f"{query} FROM {STORAGE}") == [("events", 3, 3, NOW, False)]


def test_storage_of_an_empty_table_was_never_modified(store, rows):
    a_table(store, "empty", {"id": "INT64"})

    assert rows(f"SELECT total_rows, storage_last_modified_time FROM {STORAGE}") == [(0, None)]


def test_storage_keeps_deleted_tables_and_leaves_out_views(store, sql, rows):
    orders(store)
    sql("CREATE VIEW sales.v AS SELECT 1 AS a")
    sql("DROP TABLE sales.orders")

    query = "SELECT table_name, deleted, table_deletion_time, table_deletion_reason"
    assert rows(f"{query} FROM {STORAGE}") == [("orders", True, NOW, "USER_DELETED")]


def test_a_region_shows_its_datasets_and_none_that_are_hidden(store, rows):
    store.create_dataset("shop", "america", {"location": "US"})
    store.create_dataset("shop", "_hidden", {"location": "EU"})

    query = "SELECT schema_name, location FROM `region-eu`.INFORMATION_SCHEMA.SCHEMATA"
    assert rows(query) == [("sales", "EU")]


def test_schemata_options(store, rows):
    store.patch_dataset("shop", "sales", {"defaultTableExpirationMs": "604800000"})

    query = "SELECT option_name, option_type, option_value FROM INFORMATION_SCHEMA.SCHEMATA_OPTIONS"
    assert rows(query) == [("default_table_expiration_days", "FLOAT64", "7.0")]


def test_views_show_their_definition(store, rows):
    store.create_table(ref("v"), {"view": {"query": "SELECT 1 AS a", "useLegacySql": False}})

    query = "SELECT table_name, view_definition, use_standard_sql FROM sales.INFORMATION_SCHEMA.VIEWS"
    assert rows(query) == [("v", "SELECT 1 AS a", "YES")]


@pytest.mark.parametrize(
    "name",
    [
        "`shop`.`region-eu`.INFORMATION_SCHEMA.TABLES",
        "`shop.region-EU.INFORMATION_SCHEMA.TABLES`",
        "shop.sales.INFORMATION_SCHEMA.TABLES",
        "`shop.sales.INFORMATION_SCHEMA.TABLES`",
        "`shop`.sales.information_schema.tables",
    ],
)
def test_every_way_of_writing_a_view_s_name(store, rows, name):
    orders(store)

    assert rows(f"SELECT table_name FROM {name}") == [("orders",)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("`region-us`.INFORMATION_SCHEMA.TABLES", "notFound", id="another region than the job's"),
        pytest.param("sales.INFORMATION_SCHEMA.TABLE_STORAGE", "notFound", id="storage of a dataset"),
        pytest.param("`region-eu`.INFORMATION_SCHEMA.PARTITIONS", "notFound", id="partitions of a region"),
        pytest.param("INFORMATION_SCHEMA.TABLES", "invalidQuery", id="no qualifier"),
        pytest.param("nope.INFORMATION_SCHEMA.TABLES", "notFound", id="unknown dataset"),
        pytest.param("sales.INFORMATION_SCHEMA.NOPE", "notFound", id="unknown view"),
    ],
)
def test_a_view_is_refused_where_bigquery_refuses_it(sql, name, reason):
    with pytest.raises(BigQueryError) as refusal:
        sql(f"SELECT * FROM {name}")

    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("view", "column", "kind"),
    [
        ("sales.INFORMATION_SCHEMA.TABLES", "creation_time", "TIMESTAMP"),
        ("sales.INFORMATION_SCHEMA.COLUMNS", "ordinal_position", "INTEGER"),
        ("sales.INFORMATION_SCHEMA.PARTITIONS", "last_modified_time", "TIMESTAMP"),
        (STORAGE, "deleted", "BOOLEAN"),
        (STORAGE, "total_logical_bytes", "INTEGER"),
        ("`region-eu`.INFORMATION_SCHEMA.JOBS", "labels", "RECORD"),
        ("sales.INFORMATION_SCHEMA.ROUTINES", "routine_name", "STRING"),
        ("sales.INFORMATION_SCHEMA.TABLE_SNAPSHOTS", "snapshot_time", "TIMESTAMP"),
    ],
)
def test_a_column_has_its_documented_type_even_without_rows(sql, view, column, kind):
    schema = {field["name"]: field["type"] for field in sql(f"SELECT * FROM {view}").schema}

    assert schema[column] == kind


def test_whole_rows_can_be_taken(store, rows):
    orders(store)

    found = rows("SELECT JSON_VALUE(TO_JSON_STRING(t), '$.table_type') FROM sales.INFORMATION_SCHEMA.TABLES AS t")
    assert found == [("BASE TABLE",)]


def test_times_are_to_the_millisecond(store, rows):
    orders(store)

    query = "SELECT creation_time FROM sales.INFORMATION_SCHEMA.TABLES"
    assert rows(query) == [(datetime(2024, 3, 15, 12, 30, tzinfo=UTC),)]
