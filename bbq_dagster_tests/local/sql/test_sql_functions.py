"""Expressions mean in DuckDB what BigQuery documents: each rule of ``dialect`` and what sqlglot is relied on for."""

import datetime as dt
from decimal import Decimal

import pytest

from bbq_dagster.local.sql.farmhash import farm_fingerprint

UTC = dt.UTC

SCALARS = [
    # numbers
    pytest.param("1", "INTEGER", 1, id="an integer"),
    pytest.param("1.5", "FLOAT", 1.5, id="a number with a point is a FLOAT64, not a decimal"),
    pytest.param("1/2", "FLOAT", 0.5, id="division gives a FLOAT64"),
    pytest.param("CAST('1.25' AS NUMERIC)", "NUMERIC", Decimal("1.25"), id="NUMERIC keeps nine digits after the point"),
    pytest.param("CAST(1 AS BIGNUMERIC)", "BIGNUMERIC", Decimal(1), id="BIGNUMERIC"),
    pytest.param("SAFE_DIVIDE(1, 0)", "FLOAT", None, id="SAFE_DIVIDE by zero is NULL"),
    pytest.param("SAFE_CAST('a' AS INT64)", "INTEGER", None, id="SAFE_CAST of what is no number is NULL"),
    pytest.param("SAFE.PARSE_DATE('%Y', 'x')", "DATE", None, id="SAFE. turns an error into NULL"),
    pytest.param("MOD(7, 3) + DIV(7, 2)", "INTEGER", 4, id="MOD and DIV"),
    # text and bytes
    pytest.param("FORMAT('%s-%05d-%.1f', 'a', 42, 1.5)", "STRING", "a-00042-1.5", id="FORMAT as printf"),
    pytest.param("FORMAT('%t|%d%%', DATE '2024-01-02', 7)", "STRING", "2024-01-02|7%", id="FORMAT %t prints any value"),
    pytest.param(
        "TO_HEX(SHA256('a'))",
        "STRING",
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        id="SHA256 gives bytes, TO_HEX prints them in lower case",
    ),
    pytest.param("FARM_FINGERPRINT('1footrue')", "INTEGER", -1541654101129638711, id="FARM_FINGERPRINT of a string"),
    pytest.param("FARM_FINGERPRINT(b'1footrue')", "INTEGER", -1541654101129638711, id="FARM_FINGERPRINT of bytes"),
    pytest.param("b'abc'", "BYTES", b"abc", id="bytes"),
    pytest.param("REGEXP_CONTAINS('abc', r'^a.c$')", "BOOLEAN", True, id="REGEXP_CONTAINS"),
    pytest.param("BYTE_LENGTH('é')", "INTEGER", 2, id="BYTE_LENGTH counts the bytes of UTF-8"),
    pytest.param("REGEXP_EXTRACT('abc', r'(b)')", "STRING", "b", id="REGEXP_EXTRACT gives the group"),
    pytest.param("STARTS_WITH('abc', 'ab')", "BOOLEAN", True, id="STARTS_WITH"),
    pytest.param("SPLIT('a.b', '.')[OFFSET(1)]", "STRING", "b", id="offsets count from 0"),
    pytest.param("[1, 2][SAFE_OFFSET(5)]", "INTEGER", None, id="SAFE_OFFSET beyond the end is NULL"),
    # time
    pytest.param(
        "CURRENT_TIMESTAMP()", "TIMESTAMP", dt.datetime(2024, 3, 15, 12, 30, tzinfo=UTC), id="now is the store's now"
    ),
    pytest.param("CURRENT_DATE()", "DATE", dt.date(2024, 3, 15), id="today is the store's today"),
    pytest.param(
        "TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)",
        "TIMESTAMP",
        dt.datetime(2024, 3, 14, 12, 30, tzinfo=UTC),
        id="TIMESTAMP_SUB",
    ),
    pytest.param(
        "TIMESTAMP_DIFF(TIMESTAMP '2024-01-02 00:00:00', TIMESTAMP '2024-01-01 12:00:00', DAY)",
        "INTEGER",
        0,
        id="TIMESTAMP_DIFF counts whole days, not midnights",
    ),
    pytest.param(
        "DATE_DIFF(DATE '2024-02-01', DATE '2024-01-31', MONTH)", "INTEGER", 1, id="DATE_DIFF counts boundaries"
    ),
    pytest.param(
        "DATE_ADD(DATE '2024-01-31', INTERVAL 1 MONTH)", "DATE", dt.date(2024, 2, 29), id="DATE_ADD stays a DATE"
    ),
    pytest.param("DATE_TRUNC(DATE '2024-02-20', MONTH)", "DATE", dt.date(2024, 2, 1), id="DATE_TRUNC stays a DATE"),
    pytest.param(
        "TIMESTAMP_TRUNC(TIMESTAMP '2024-02-20 10:20:30', HOUR)",
        "TIMESTAMP",
        dt.datetime(2024, 2, 20, 10, tzinfo=UTC),
        id="TIMESTAMP_TRUNC stays a TIMESTAMP",
    ),
    pytest.param(
        "TIMESTAMP_MILLIS(5)", "TIMESTAMP", dt.datetime(1970, 1, 1, 0, 0, 0, 5000, UTC), id="TIMESTAMP_MILLIS"
    ),
    pytest.param("TIMESTAMP_SECONDS(5)", "TIMESTAMP", dt.datetime(1970, 1, 1, 0, 0, 5, 0, UTC), id="TIMESTAMP_SECONDS"),
    pytest.param("UNIX_MILLIS(TIMESTAMP '1970-01-01 00:00:01')", "INTEGER", 1000, id="UNIX_MILLIS"),
    pytest.param(
        "FORMAT_TIMESTAMP('%Y-%m-%dT%H:%M:%E*SZ', TIMESTAMP '2024-01-02 03:04:05.500')",
        "STRING",
        "2024-01-02T03:04:05.5Z",
        id="%E*S prints as many digits as there are",
    ),
    pytest.param(
        "FORMAT_TIMESTAMP('%F %E3S', TIMESTAMP '2024-01-02 03:04:05.5')",
        "STRING",
        "2024-01-02 05.500",
        id="%F and %E3S",
    ),
    pytest.param("PARSE_DATE('%Y%m%d', '20240102')", "DATE", dt.date(2024, 1, 2), id="PARSE_DATE"),
    pytest.param("EXTRACT(DAYOFWEEK FROM DATE '2024-03-17')", "INTEGER", 1, id="Sunday is day 1"),
    pytest.param(
        "DATE(TIMESTAMP '2024-01-01 23:30:00', 'Europe/Berlin')", "DATE", dt.date(2024, 1, 2), id="DATE in a zone"
    ),
    pytest.param(
        "DATETIME '2024-01-02 03:04:05'", "DATETIME", dt.datetime.fromisoformat("2024-01-02T03:04:05"), id="DATETIME"
    ),
    pytest.param("TIME '01:02:03'", "TIME", dt.time(1, 2, 3), id="TIME"),
    # JSON and structs
    pytest.param("JSON_VALUE('{\"a\": {\"b\": 1}}', '$.a.b')", "STRING", "1", id="JSON_VALUE gives a string"),
    pytest.param("PARSE_JSON('{\"a\":1}')", "JSON", '{"a":1}', id="JSON stays JSON"),
    pytest.param("TO_JSON_STRING(STRUCT(1 AS a, 'x' AS b))", "STRING", '{"a":1,"b":"x"}', id="TO_JSON_STRING"),
    pytest.param("TO_JSON_STRING(NULL)", "STRING", "null", id="TO_JSON_STRING of NULL is null"),
    pytest.param("STRUCT(1 AS a).a", "INTEGER", 1, id="a field of a struct"),
    pytest.param("IF(TRUE, 'a', 'b')", "STRING", "a", id="IF"),
    pytest.param("COALESCE(NULL, IFNULL(NULL, 3))", "INTEGER", 3, id="COALESCE and IFNULL"),
]


@pytest.mark.parametrize(("expression", "kind", "value"), SCALARS)
def test_an_expression_has_the_type_and_value_of_bigquery(sql, expression, kind, value):
    result = sql(f"SELECT {expression} AS x")

    assert (result.schema[0]["type"], result.rows.column(0).to_pylist()) == (kind, [value])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("SELECT x FROM UNNEST(GENERATE_ARRAY(1, 3)) AS x", [(1,), (2,), (3,)], id="GENERATE_ARRAY"),
        pytest.param(
            "SELECT d FROM UNNEST(GENERATE_DATE_ARRAY('2024-01-31', '2024-02-01')) AS d",
            [(dt.date(2024, 1, 31),), (dt.date(2024, 2, 1),)],
            id="GENERATE_DATE_ARRAY gives dates",
        ),
        pytest.param(
            "SELECT x, o FROM UNNEST(['a', 'b']) AS x WITH OFFSET AS o", [("a", 0), ("b", 1)], id="offsets count from 0"
        ),
        pytest.param(
            "SELECT k, v FROM UNNEST([STRUCT('a' AS k, 1 AS v), ('b', 2)])",
            [("a", 1), ("b", 2)],
            id="the first struct names the fields of all",
        ),
        pytest.param(
            "SELECT * FROM UNNEST(GENERATE_TIMESTAMP_ARRAY('2024-01-01 22:00:00', '2024-01-01 23:00:00', "
            "INTERVAL 1 HOUR))",
            [(dt.datetime(2024, 1, 1, 22, tzinfo=UTC),), (dt.datetime(2024, 1, 1, 23, tzinfo=UTC),)],
            id="GENERATE_TIMESTAMP_ARRAY gives timestamps",
        ),
        pytest.param("SELECT * FROM UNNEST([5])", [(5,)], id="elements without a name"),
        pytest.param("SELECT x FROM UNNEST([1, 2, 3]) AS x WHERE x IN UNNEST([1, 3])", [(1,), (3,)], id="IN UNNEST"),
        pytest.param(
            "SELECT ARRAY_AGG(x ORDER BY x DESC LIMIT 1)[OFFSET(0)] FROM UNNEST([1, 3, 2]) AS x",
            [(3,)],
            id="the first of an ordered ARRAY_AGG",
        ),
        pytest.param(
            "SELECT ARRAY_AGG(x IGNORE NULLS ORDER BY x LIMIT 2) FROM UNNEST([3, NULL, 1, 2]) AS x",
            [([1, 2],)],
            id="ARRAY_AGG with IGNORE NULLS, ORDER BY and LIMIT",
        ),
        pytest.param(
            "SELECT ARRAY_AGG(STRUCT(x AS a, -x AS b) ORDER BY x) FROM UNNEST([1, 2]) AS x",
            [([{"a": 1, "b": -1}, {"a": 2, "b": -2}],)],
            id="ARRAY_AGG of structs",
        ),
        pytest.param(
            "SELECT COUNTIF(x > 1), SUM(x), STRING_AGG(CAST(x AS STRING), ',' ORDER BY x) FROM UNNEST([1, 2, 3]) AS x",
            [(2, 6, "1,2,3")],
            id="COUNTIF, SUM, STRING_AGG",
        ),
        pytest.param(
            "SELECT x FROM UNNEST([1, 2, 3]) AS x WHERE TRUE QUALIFY ROW_NUMBER() OVER (ORDER BY x DESC) = 1",
            [(3,)],
            id="QUALIFY",
        ),
        pytest.param(
            "SELECT x FROM UNNEST([2, NULL, 1]) AS x ORDER BY x", [(None,), (1,), (2,)], id="NULLs come first"
        ),
        pytest.param(
            "WITH t AS (SELECT 1 AS a, 2 AS b) SELECT * EXCEPT (a) REPLACE (b * 10 AS b) FROM t",
            [(20,)],
            id="EXCEPT and REPLACE",
        ),
        pytest.param("SELECT 1 UNION ALL SELECT 2 ORDER BY 1", [(1,), (2,)], id="UNION ALL"),
        pytest.param("SELECT ARRAY(SELECT AS STRUCT 1 AS a)", [([{"a": 1}],)], id="ARRAY of a query of structs"),
    ],
)
def test_a_query_gives_what_bigquery_gives(rows, query, expected):
    assert rows(query) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("3true", -4880158226897771312, id="up to 16 bytes"),
        pytest.param("Nepal premier won't resign.", 0x8EB3808D1CCFC779 - 2**64, id="up to 32 bytes"),
        pytest.param("", -7286425919675154353, id="nothing"),
        pytest.param("a", -5528939962900187677, id="one byte"),
        pytest.param("abcd", 1897425971756105985, id="4 bytes"),
        pytest.param("abcdefg", 4341691227789030229, id="7 bytes"),
        pytest.param("x" * 17, -7140662122295251035, id="17 bytes"),
        pytest.param("x" * 33, -6176378663766452681, id="33 bytes"),
        pytest.param("x" * 64, 6916188127298655160, id="64 bytes"),
        pytest.param("x" * 65, 4935023790501551929, id="65 bytes"),
        pytest.param("x" * 129, -653596692693254474, id="129 bytes"),
        pytest.param("é", 693143013273849025, id="UTF-8"),
        pytest.param("test" * 64, 3500507768004279527, id="longer"),
        pytest.param(
            "How can you write a big system without C++?  -Paul Glick", 0x5A0A6EFD52E84E2A, id="up to 64 bytes"
        ),
    ],
)
def test_fingerprints_are_those_of_farmhash(text, expected):
    """The first from BigQuery's reference of FARM_FINGERPRINT, the others from FarmHash's tests and code."""
    assert farm_fingerprint(text.encode()) == expected


def test_columns_without_a_name_are_numbered(sql):
    result = sql("SELECT 1, 2 AS b, 3")

    assert [field["name"] for field in result.schema] == ["f0_", "b", "f1_"]
