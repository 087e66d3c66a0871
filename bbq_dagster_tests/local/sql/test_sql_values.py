"""Values written by SQL: structs by the place of their fields, names by their case or without, forms of MERGE."""

from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import bigquery as bq


def rows(client: bq.Client, query: str) -> list[tuple[Any, ...]]:
    return [row.values() for row in client.query_and_wait(query)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        pytest.param("VALUES (STRUCT('x', 1))", {"a": "x", "b": 1}, id="a struct without names"),
        pytest.param("VALUES (('x', 1))", {"a": "x", "b": 1}, id="a tuple"),
        pytest.param("VALUES (STRUCT('x' AS a, 1 AS b))", {"a": "x", "b": 1}, id="a struct with the names"),
        pytest.param("SELECT STRUCT('x' AS y, 1 AS z)", {"a": "x", "b": 1}, id="a struct with other names"),
        pytest.param("SELECT ('x', 1)", {"a": "x", "b": 1}, id="a tuple in a query"),
        pytest.param("SELECT STRUCT<STRING, INT64>('x', 1)", {"a": "x", "b": 1}, id="a struct with types"),
        pytest.param("VALUES (NULL)", None, id="NULL"),
    ],
)
def test_fields_of_an_inserted_struct_go_by_place(client: bq.Client, statement: str, expected: Any) -> None:
    """conversion_rules: a struct is coerced to another field by field."""
    client.query_and_wait("CREATE TABLE sales.t (s STRUCT<a STRING, b INT64>)")

    client.query_and_wait(f"INSERT INTO sales.t {statement}")

    assert rows(client, "SELECT s FROM sales.t") == [(expected,)]


def test_structs_in_arrays_go_by_place_too(client: bq.Client) -> None:
    client.query_and_wait("CREATE TABLE sales.t (l ARRAY<STRUCT<a STRING, b INT64>>)")

    client.query_and_wait("INSERT INTO sales.t SELECT [STRUCT('x' AS y, 1 AS z)]")
    client.query_and_wait("INSERT INTO sales.t SELECT ARRAY<STRUCT<a STRING, b INT64>>[('y', 2)]")

    expected = [([{"a": "x", "b": 1}],), ([{"a": "y", "b": 2}],)]
    assert rows(client, "SELECT l FROM sales.t ORDER BY l[OFFSET(0)].b") == expected


def test_a_struct_of_another_size_is_refused(client: bq.Client) -> None:
    client.query_and_wait("CREATE TABLE sales.t (s STRUCT<a STRING, b INT64>)")

    with pytest.raises(BadRequest, match="struct of 1 fields cannot be assigned to s of 2"):
        client.query_and_wait("INSERT INTO sales.t SELECT STRUCT('x')")


def test_columns_are_known_without_regard_to_case(client: bq.Client) -> None:
    """lexical#case_sensitivity."""
    client.query_and_wait("CREATE TABLE sales.t (Id INT64, Item STRUCT<Name STRING>)")

    client.query_and_wait("INSERT INTO sales.t (ID, ITEM) VALUES (1, STRUCT('pen'))")
    client.query_and_wait("UPDATE sales.t SET iD = 2 WHERE id = 1")

    assert rows(client, "SELECT id, iTEM.nAME FROM sales.t WHERE ID = 2") == [(2, "pen")]


def test_tables_are_known_by_their_case(client: bq.Client) -> None:
    """lexical#case_sensitivity: by default."""
    client.query_and_wait("CREATE TABLE sales.Orders AS SELECT 1 AS a; CREATE TABLE sales.orders AS SELECT 2 AS a")

    assert rows(client, "SELECT a FROM sales.Orders") == [(1,)]
    with pytest.raises(NotFound, match="ORDERS"):
        rows(client, "SELECT a FROM sales.ORDERS")


@pytest.mark.parametrize(
    ("whens", "expected"),
    [
        pytest.param("WHEN MATCHED THEN UPDATE SET v = s.v", [(1, "old"), (2, "new")], id="update"),
        pytest.param("WHEN MATCHED THEN DELETE", [(1, "old")], id="delete"),
        pytest.param("WHEN MATCHED AND s.v = 'x' THEN DELETE", [(1, "old"), (2, "old")], id="a condition"),
        pytest.param("WHEN NOT MATCHED THEN INSERT ROW", [(1, "old"), (2, "old"), (3, "new")], id="insert the row"),
        pytest.param(
            "WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)", [(1, "old"), (2, "old"), (3, None)], id="insert columns"
        ),
        pytest.param(
            "WHEN NOT MATCHED BY TARGET AND s.id > 3 THEN INSERT VALUES (id, v)",
            [(1, "old"), (2, "old")],
            id="by target",
        ),
        pytest.param("WHEN NOT MATCHED BY SOURCE THEN DELETE", [(2, "old")], id="delete what the source has not"),
        pytest.param(
            "WHEN NOT MATCHED BY SOURCE AND t.id = 1 THEN UPDATE SET v = 'gone'",
            [(1, "gone"), (2, "old")],
            id="update what the source has not",
        ),
        pytest.param(
            "WHEN MATCHED THEN UPDATE SET v = CONCAT(t.v, s.v) WHEN NOT MATCHED THEN INSERT ROW "
            "WHEN NOT MATCHED BY SOURCE THEN DELETE",
            [(2, "oldnew"), (3, "new")],
            id="all three",
        ),
    ],
)
def test_merge_has_all_its_forms(client: bq.Client, whens: str, expected: list[Any]) -> None:
    """dml-syntax#merge_statement."""
    client.query_and_wait("CREATE TABLE sales.t AS SELECT id, 'old' AS v FROM UNNEST([1, 2]) AS id")
    source = "(SELECT id, 'new' AS v FROM UNNEST([2, 3]) AS id)"

    client.query_and_wait(f"MERGE sales.t AS t USING {source} AS s ON t.id = s.id {whens}")

    assert rows(client, "SELECT * FROM sales.t ORDER BY id") == expected


def test_a_content_hash_does_not_depend_on_the_order_of_rows(client: bq.Client) -> None:
    """BIT_XOR of fingerprints of rows as JSON, over every kind of column."""
    columns = (
        "id, 'é' AS s, 1.5 AS f, TRUE AS b, DATE '2024-01-01' AS d, TIMESTAMP '2024-01-01 00:00:00.5' AS ts, "
        "b'x' AS y, NUMERIC '1.50' AS n, [1, 2] AS l, STRUCT(1 AS a, 'x' AS b) AS st, JSON '{\"a\":1}' AS j"
    )
    for name, order in (("t", "ORDER BY id"), ("u", "ORDER BY id DESC")):
        client.query_and_wait(f"CREATE TABLE sales.{name} AS SELECT {columns} FROM UNNEST([1, 2, 3]) AS id {order}")

    t, u = (
        rows(client, f"SELECT BIT_XOR(FARM_FINGERPRINT(TO_JSON_STRING(r))), COUNT(*) FROM sales.{name} AS r")
        for name in ("t", "u")
    )

    assert t == u
    assert rows(client, "SELECT TO_JSON_STRING(r) FROM sales.t AS r WHERE id = 1") == [
        (
            '{"id":1,"s":"é","f":1.5,"b":true,"d":"2024-01-01","ts":"2024-01-01T00:00:00.500Z","y":"eA==","n":"1.5",'
            '"l":[1,2],"st":{"a":1,"b":"x"},"j":{"a":1}}',
        )
    ]
