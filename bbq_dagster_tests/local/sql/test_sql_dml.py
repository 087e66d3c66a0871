"""DML changes the rows it should, and moves no partition that it does not touch."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest

from bbq_dagster.local.errors import BigQueryError
from bbq_dagster_tests.local.sql.tables import a_table, events, orders, ref


def _modified(store, clock, table="events"):
    """Partitions written since the clock was moved."""
    return {p for p, part in store.get_table(ref(table)).parts.items() if part.modified_ms == clock.now_ms()}


def test_insert_fills_missing_columns_with_their_default(store, sql, rows):
    sql("CREATE TABLE sales.t (id INT64, item STRING DEFAULT 'pen', note STRING)")
    result = sql("INSERT INTO sales.t (id) VALUES (1), (2)")

    assert rows("SELECT * FROM sales.t") == [(1, "pen", None), (2, "pen", None)]
    assert (result.affected_rows, result.dml_stats, result.destination) == (2, {"insertedRowCount": 2}, ref("t"))


def test_insert_casts_to_the_column_s_type(store, sql, rows):
    sql("CREATE TABLE sales.t (at TIMESTAMP, price NUMERIC, doc JSON, tags ARRAY<STRING>)")
    sql("INSERT INTO sales.t SELECT '2024-01-01 00:00:00', 1, JSON '{\"a\":1}', ['x']")

    assert rows("SELECT UNIX_SECONDS(at), price = 1, JSON_VALUE(doc, '$.a'), tags FROM sales.t") == [
        (1704067200, True, "1", ["x"])
    ]


def test_insert_goes_to_the_partition_of_its_partition_time(store, sql):
    a_table(store, "visits", {"id": "INT64"}, timePartitioning={"type": "DAY"})
    sql("INSERT INTO sales.visits (_PARTITIONTIME, id) VALUES (TIMESTAMP '2024-01-01', 1), (TIMESTAMP '2024-01-02', 2)")

    assert set(store.get_table(ref("visits")).parts) == {"20240101", "20240102"}


def test_update_moves_only_the_partition_it_touches(store, clock, sql, rows):
    events(store)
    clock.advance(timedelta(minutes=1))
    result = sql("UPDATE sales.events SET id = 10 WHERE id = 1")

    assert rows("SELECT id FROM sales.events ORDER BY id") == [(2,), (3,), (10,)]
    assert _modified(store, clock) == {"20240101"}
    assert result.dml_stats == {"updatedRowCount": 1}


def test_a_row_whose_partitioning_column_changes_moves_to_its_new_partition(store, clock, sql):
    events(store)
    clock.advance(timedelta(minutes=1))
    sql("UPDATE sales.events SET day = '2024-01-02' WHERE id = 1")

    assert {p: part.rows for p, part in store.get_table(ref("events")).parts.items()} == {"20240102": 2, "__NULL__": 1}
    assert _modified(store, clock) == {"20240102"}


def test_update_from_another_table(store, sql, rows):
    orders(store)
    sql("UPDATE sales.orders o SET o.item = n.item FROM (SELECT 2 AS id, 'brush' AS item) n WHERE o.id = n.id")

    assert rows("SELECT item FROM sales.orders ORDER BY id") == [("pen",), ("brush",), ("nib",)]


def test_update_from_a_join(store, sql, rows):
    orders(store)
    sql("""UPDATE sales.orders AS o SET item = 'x'
        FROM sales.orders AS a JOIN (SELECT 3 AS id) AS b ON a.id = b.id WHERE o.id = a.id""")

    assert rows("SELECT id FROM sales.orders WHERE item = 'x'") == [(3,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sales.orders o SET item = s.item FROM {source} WHERE o.id = s.id",
        "MERGE sales.orders o USING {source} ON o.id = s.id WHEN MATCHED THEN UPDATE SET item = s.item",
    ],
)
def test_a_row_with_two_matches_is_refused(store, sql, statement):
    orders(store)
    source = "(SELECT 1 AS id, 'a' AS item UNION ALL SELECT 1, 'b') AS s"

    with pytest.raises(BigQueryError, match="must match at most one source row for each target row"):
        sql(statement.format(source=source))


def test_delete_removes_a_partition_that_it_empties(store, clock, sql):
    events(store)
    clock.advance(timedelta(minutes=1))
    result = sql("DELETE FROM sales.events WHERE day = '2024-01-01'")

    assert set(store.get_table(ref("events")).parts) == {"20240102", "__NULL__"}
    assert (_modified(store, clock), result.dml_stats) == (set(), {"deletedRowCount": 1})


def test_dml_that_matches_nothing_moves_nothing(store, clock, sql):
    before = events(store)
    clock.advance(timedelta(minutes=1))
    sql("DELETE FROM sales.events WHERE id = 99")

    assert store.get_table(ref("events")).revision == before.revision


def test_delete_by_partition_time_keeps_the_partitions_of_other_rows(store, sql):
    a_table(store, "visits", {"id": "INT64"}, timePartitioning={"type": "DAY"})
    sql("INSERT INTO sales.visits (_PARTITIONTIME, id) VALUES (TIMESTAMP '2024-01-01', 1), (TIMESTAMP '2024-01-02', 2)")
    sql("DELETE FROM sales.visits WHERE _PARTITIONTIME = TIMESTAMP '2024-01-01'")

    assert set(store.get_table(ref("visits")).parts) == {"20240102"}


def test_merge_inserts_updates_and_deletes_in_one_statement(store, sql, rows):
    orders(store)
    result = sql("""
        MERGE sales.orders AS t USING (SELECT 1 AS id, 'PEN' AS item UNION ALL SELECT 9, 'cap') AS s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET item = s.item
        WHEN NOT MATCHED THEN INSERT ROW
        WHEN NOT MATCHED BY SOURCE AND t.id = 2 THEN DELETE""")

    assert rows("SELECT * FROM sales.orders ORDER BY id") == [(1, "PEN"), (3, "nib"), (9, "cap")]
    assert result.dml_stats == {"insertedRowCount": 1, "updatedRowCount": 1, "deletedRowCount": 1}


def test_merge_that_only_inserts_keeps_the_rows_that_are_there(store, sql, rows):
    orders(store)
    sql("MERGE sales.orders t USING (SELECT 4 AS id) s ON FALSE WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)")

    assert rows("SELECT id FROM sales.orders ORDER BY id") == [(1,), (2,), (3,), (4,)]


def test_no_update_is_lost_among_concurrent_ones(store, sql, rows):
    sql("CREATE TABLE sales.counter AS SELECT 0 AS n")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sql, ["UPDATE sales.counter SET n = n + 1 WHERE TRUE"] * 20))

    assert rows("SELECT n FROM sales.counter") == [(20,)]


def test_truncate_empties_the_table_and_keeps_its_schema(store, sql):
    events(store)
    result = sql("TRUNCATE TABLE sales.events")

    table = store.get_table(ref("events"))
    assert (dict(table.parts), [f["name"] for f in table.fields]) == ({}, ["id", "day"])
    assert (result.statement_type, result.affected_rows) == ("TRUNCATE_TABLE", 3)


def test_rows_in_the_streaming_buffer_cannot_be_changed(store, sql):
    orders(store)
    store.stream(ref("orders"), pa.table({"id": [7], "item": ["cap"]}))

    with pytest.raises(BigQueryError, match="would affect rows in the streaming buffer, which is not supported"):
        sql("DELETE FROM sales.orders WHERE id = 7")


def test_rows_beside_the_streaming_buffer_can_be_changed(store, sql, rows):
    orders(store)
    store.stream(ref("orders"), pa.table({"id": [7], "item": ["cap"]}))
    sql("DELETE FROM sales.orders WHERE id = 1")

    assert rows("SELECT id FROM sales.orders ORDER BY id") == [(2,), (3,), (7,)]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        pytest.param("DELETE FROM sales.orders", "DELETE must have a WHERE clause", id="delete without a filter"),
        pytest.param("UPDATE sales.orders SET x = 1 WHERE TRUE", "Unrecognized name: x", id="unknown column"),
        pytest.param(
            "INSERT INTO sales.orders (x) VALUES (1)", "Column x is not present in table", id="unknown target"
        ),
        pytest.param(
            "INSERT INTO sales.orders VALUES (1)", "wrong column count; Has 1, expected 2", id="too few values"
        ),
        pytest.param("INSERT INTO sales.keyed (id) VALUES (NULL)", "Required field id cannot be null", id="required"),
        pytest.param("DELETE FROM sales.nope WHERE TRUE", "Not found: Table shop:sales.nope", id="unknown table"),
        pytest.param("DELETE FROM sales.seen WHERE TRUE", "currently a VIEW", id="a view"),
    ],
)
def test_dml_that_bigquery_refuses_is_refused(store, sql, statement, words):
    orders(store)
    sql("CREATE TABLE sales.keyed (id INT64 NOT NULL)")
    sql("CREATE VIEW sales.seen AS SELECT id FROM sales.orders")

    with pytest.raises(BigQueryError, match=words):
        sql(statement)
