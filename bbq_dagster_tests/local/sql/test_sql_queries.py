"""Which tables a query reads, what it sees of them, and what is refused in which words."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from bbq_dagster.local.errors import BigQueryError
from bbq_dagster.local.model import empty_rows
from bbq_dagster_tests.local.sql.tables import a_table, events, orders, ref


@pytest.mark.parametrize(
    "name",
    ["shop.sales.orders", "`shop.sales.orders`", "`shop`.`sales`.orders", "`shop.sales`.orders", "sales.orders"],
)
def test_a_table_is_found_by_every_way_of_writing_its_name(store, rows, name):
    orders(store)

    assert rows(f"SELECT COUNT(*) FROM {name}") == [(3,)]


def test_a_project_may_have_dashes_and_a_domain(store, rows):
    for project in ("my-shop-1", "example.com:shop"):
        store.create_dataset(project, "sales", {"location": "EU"})
        store.create_table(ref("orders", project=project), {"schema": {"fields": [{"name": "id", "type": "INT64"}]}})

    assert rows("SELECT COUNT(*) FROM my-shop-1.sales.orders") == [(0,)]
    assert rows("SELECT COUNT(*) FROM `example.com:shop.sales.orders`") == [(0,)]


def test_the_default_dataset_completes_a_bare_name(store, rows):
    orders(store)

    assert rows("SELECT COUNT(*) FROM orders", default_dataset=("shop", "sales")) == [(3,)]


def test_a_name_of_a_cte_is_no_table(rows):
    assert rows("WITH orders AS (SELECT 1 AS id) SELECT id FROM orders") == [(1,)]


def test_repeated_columns_join_with_their_row(store, rows):
    a_table(store, "carts", {"id": "INT64", "items": "ARRAY<STRING>"}, {"id": [1, 2], "items": [["a", "b"], []]})

    assert rows("SELECT c.id, item FROM sales.carts AS c, c.items AS item ORDER BY item") == [(1, "a"), (1, "b")]


def test_wildcards_read_every_table_of_the_prefix(store, rows):
    a_table(store, "log_1", {"id": "INT64"}, {"id": [1]})
    a_table(store, "log_2", {"id": "INT64"}, {"id": [2]})

    assert rows("SELECT *, _TABLE_SUFFIX AS t FROM `shop.sales.log_*` ORDER BY id") == [(1, "1"), (2, "2")]
    assert rows("SELECT id FROM `shop.sales.log_*` WHERE _TABLE_SUFFIX = '2'") == [(2,)]


def test_pseudo_columns_can_be_asked_for_and_are_no_part_of_a_star(store, sql, rows):
    a_table(store, "visits", {"id": "INT64"}, {"id": [1]}, timePartitioning={"type": "DAY"})
    midnight = datetime(2024, 3, 15, tzinfo=UTC)

    assert rows("SELECT *, _PARTITIONTIME AS at FROM sales.visits WHERE _PARTITIONDATE = '2024-03-15'") == [
        (1, midnight)
    ]
    assert [f["name"] for f in sql("SELECT * FROM sales.visits").schema] == ["id"]


def test_the_streaming_buffer_is_seen_with_a_null_partition_time(store, rows):
    a_table(store, "visits", {"id": "INT64"}, timePartitioning={"type": "DAY"})
    store.stream(ref("visits"), pa.table({"id": [7]}))

    assert rows("SELECT id, _PARTITIONTIME IS NULL AS buffered FROM sales.visits") == [(7, True)]


def test_a_past_state_is_read_by_system_time(store, clock, rows):
    orders(store)
    clock.advance(timedelta(hours=2))
    store.append_rows(ref("orders"), pa.table({"id": [4], "item": ["cap"]}))

    hour_ago = "FOR SYSTEM_TIME AS OF TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 HOUR)"
    assert rows(f"SELECT COUNT(*) FROM sales.orders {hour_ago}") == [(3,)]
    assert rows("SELECT COUNT(*) FROM sales.orders") == [(4,)]


def test_views_expand_through_views(store, rows):
    orders(store)
    store.create_table(ref("low"), {"view": {"query": "SELECT id FROM sales.orders WHERE id < 3"}})
    store.create_table(ref("lowest"), {"view": {"query": "SELECT MIN(id) AS id FROM `shop.sales.low`"}})

    assert rows("SELECT id FROM sales.lowest") == [(1,)]


def test_a_view_that_reads_itself_is_refused(store, sql):
    store.create_table(ref("loop"), {"view": {"query": "SELECT * FROM sales.loop"}})

    with pytest.raises(BigQueryError, match="nested too deeply"):
        sql("SELECT * FROM sales.loop")


def test_bytes_and_tables_read_are_reported(store, sql):
    orders(store)
    result = sql("SELECT a.id FROM sales.orders AS a JOIN sales.orders AS b USING (id)")

    assert (result.referenced, result.total_bytes_processed) == (
        (ref("orders"),),
        2 * store.get_table(ref("orders")).version.bytes,
    )


def test_a_dry_run_gives_the_schema_and_no_rows(store, sql):
    orders(store)
    result = sql("SELECT id, item FROM sales.orders", dry_run=True)

    assert [f["name"] for f in result.schema] == ["id", "item"]
    assert result.rows.equals(empty_rows(result.schema))


_DUPLICATES = "Duplicate column names in the result are not supported. Found duplicate(s): a"


@pytest.mark.parametrize(
    ("query", "status", "reason", "message"),
    [
        pytest.param(
            "SELECT 1 FORM t WHERE",
            400,
            "invalidQuery",
            'Syntax error: Unexpected identifier "t" at [1:15]',
            id="syntax",
        ),
        pytest.param(
            "SELEC 1", 400, "invalidQuery", 'Syntax error: Unexpected identifier "SELEC" at [1:1]', id="first word"
        ),
        pytest.param(
            "SELECT (1", 400, "invalidQuery", "Syntax error: Unexpected end of script at [1:10]", id="open bracket"
        ),
        pytest.param(
            "SELECT 'a", 400, "invalidQuery", "Syntax error: Unclosed string literal at [1:8]", id="open quote"
        ),
        pytest.param(
            "SELECT * FROM sales.nope",
            404,
            "notFound",
            "Not found: Table shop:sales.nope was not found in location EU",
            id="unknown table",
        ),
        pytest.param(
            "SELECT * FROM nope.t",
            404,
            "notFound",
            "Not found: Dataset shop:nope was not found in location EU",
            id="unknown dataset",
        ),
        pytest.param(
            "SELECT * FROM america.t",
            404,
            "notFound",
            "Not found: Dataset shop:america was not found in location EU",
            id="dataset elsewhere",
        ),
        pytest.param(
            "SELECT * FROM orders",
            400,
            "invalidQuery",
            'Table "orders" must be qualified with a dataset (e.g. dataset.table).',
            id="bare name",
        ),
        pytest.param(
            "SELECT x FROM sales.orders", 400, "invalidQuery", "Unrecognized name: x at [1:8]", id="unknown column"
        ),
        pytest.param(
            "SELECT o.x FROM sales.orders AS o",
            400,
            "invalidQuery",
            "Name x not found inside o at [1:10]",
            id="unknown column of an alias",
        ),
        pytest.param(
            "SELECT\n  nofun(1)", 400, "invalidQuery", "Function not found: nofun at [2:3]", id="unknown function"
        ),
        pytest.param(
            "SELECT id FROM sales.orders, sales.orders AS b",
            400,
            "invalidQuery",
            "Column name id is ambiguous at [1:8]",
            id="ambiguous",
        ),
        pytest.param("SELECT 1 AS a, 2 AS A", 400, "invalidQuery", _DUPLICATES, id="duplicate names"),
        pytest.param("SELECT 1 / 0", 400, "invalidQuery", "division by zero: 1 / 0", id="division by zero"),
        pytest.param("SELECT CAST('a' AS INT64)", 400, "invalidQuery", "Bad int64 value: a", id="bad cast"),
        pytest.param("SELECT @p", 400, "invalidQuery", "Query parameter 'p' not found", id="unknown parameter"),
        pytest.param("", 400, "invalidQuery", "Syntax error: Unexpected end of statement at [1:1]", id="nothing"),
        pytest.param(
            "CALL sales.p(1)",
            501,
            "notImplemented",
            "The embedded BigQuery does not support the statement CALL sales.p(1)",
            id="not here",
        ),
    ],
)
def test_a_refusal_has_bigquery_s_status_reason_and_words(store, sql, query, status, reason, message):
    orders(store)
    store.create_dataset("shop", "america", {"location": "US"})

    with pytest.raises(BigQueryError) as refusal:
        sql(query)

    assert (refusal.value.status, refusal.value.reason, refusal.value.message) == (status, reason, message)


def test_a_table_that_requires_a_partition_filter_refuses_queries_without_one(store, sql, rows):
    events(store, requirePartitionFilter=True)

    with pytest.raises(BigQueryError, match=r"'shop.sales.events' without a filter over column\(s\) 'day'"):
        sql("SELECT * FROM sales.events")
    assert rows("SELECT id FROM sales.events WHERE day = '2024-01-01'") == [(1,)]


STRINGS = {"type": "ARRAY", "arrayType": {"type": "STRING"}}


@pytest.mark.parametrize(
    ("query", "kind", "value", "expected"),
    [
        pytest.param("SELECT @p", {"type": "INT64"}, {"value": "5"}, 5, id="a number"),
        pytest.param("SELECT @P", {"type": "STRING"}, {"value": "x"}, "x", id="names are case-insensitive"),
        pytest.param("SELECT @p", {"type": "BYTES"}, {"value": "YWJj"}, b"abc", id="bytes come in base64"),
        pytest.param("SELECT @p", {"type": "BOOL"}, {"value": "true"}, True, id="a bool"),
        pytest.param("SELECT @p", {"type": "INT64"}, {}, None, id="NULL"),
        pytest.param(
            "SELECT @p",
            {"type": "TIMESTAMP"},
            {"value": "2024-01-02 03:04:05.000006+00:00"},
            datetime(2024, 1, 2, 3, 4, 5, 6, UTC),
            id="a timestamp",
        ),
        pytest.param(
            "SELECT COUNTIF(x IN UNNEST(@p)) FROM UNNEST(['a', 'b']) AS x",
            STRINGS,
            {"arrayValues": [{"value": "a"}, {"value": "z"}]},
            1,
            id="an array",
        ),
        pytest.param("SELECT ARRAY_LENGTH(@p)", STRINGS, {"arrayValues": []}, 0, id="an empty array"),
        pytest.param(
            "SELECT @p.a + 1",
            {"type": "STRUCT", "structTypes": [{"name": "a", "type": {"type": "INT64"}}]},
            {"structValues": {"a": {"value": "1"}}},
            2,
            id="a struct",
        ),
    ],
)
def test_a_parameter_has_its_declared_type(rows, query, kind, value, expected):
    parameters = [{"name": "p", "parameterType": kind, "parameterValue": value}]

    assert rows(query, parameters=parameters) == [(expected,)]


def test_positional_parameters_are_taken_in_order(rows):
    numbers = [{"parameterType": {"type": "INT64"}, "parameterValue": {"value": str(n)}} for n in (7, 8)]

    assert rows("SELECT ?, x FROM UNNEST([?]) AS x", parameters=numbers) == [(7, 8)]


def test_a_script_runs_its_statements_in_order_and_keeps_each_result(store, sql):
    orders(store)
    result = sql(
        "DECLARE most INT64; SET most = (SELECT MAX(id) FROM sales.orders); SELECT most AS m; SELECT most + 1 AS n"
    )

    assert (result.statement_type, result.rows.to_pylist()) == ("SCRIPT", [{"n": 4}])
    assert [child.rows.to_pylist() for child in result.children] == [[{"m": 3}], [{"n": 4}]]
