"""What is used every day, with the values that BigQuery's reference gives, asked by Google's own client.

Each table of cases names the page of the reference that its values come from. The queries read no table, or those that
``client`` has made; nothing writes, so one server does for all.
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError, MethodNotImplemented
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery

UTC = dt.UTC
SALES = (
    "WITH sales AS (SELECT 'Kale' AS product, 51 AS sales, 'Q1' AS quarter UNION ALL SELECT 'Kale', 23, 'Q2' "
    "UNION ALL SELECT 'Apple', 77, 'Q1' UNION ALL SELECT 'Apple', 1, 'Q2') "
)


@pytest.fixture(scope="module")
def client() -> Iterator[bq.Client]:
    with LocalBigQuery() as server, server.client("shop") as client:
        client.create_dataset("logs")
        for day in ("20240101", "20240102", "20250101"):
            client.query_and_wait(f"CREATE TABLE logs.events_{day} AS SELECT {day} AS id, 'e' AS Name")
        client.query_and_wait("CREATE TABLE logs.nested (s STRUCT<a INT64, b STRING>, l ARRAY<STRUCT<x INT64>>)")
        yield client


def rows(client: bq.Client, query: str) -> list[tuple[Any, ...]]:
    return [row.values() for row in client.query_and_wait(query)]


TEXT = [
    pytest.param("REGEXP_EXTRACT_ALL('`a` and `b`', '`(.+?)`')", ["a", "b"], id="REGEXP_EXTRACT_ALL gives the group"),
    pytest.param("REGEXP_EXTRACT_ALL('a1b22', r'[0-9]+')", ["1", "22"], id="REGEXP_EXTRACT_ALL without a group"),
    pytest.param("REGEXP_EXTRACT('abc', 'x')", None, id="REGEXP_EXTRACT without a match is NULL"),
    pytest.param("REGEXP_EXTRACT('ab12cd34', '[0-9]+', 5)", "34", id="REGEXP_EXTRACT from a position"),
    pytest.param(
        "REGEXP_REPLACE('# Heading', r'^# ([a-zA-Z ]+)$', r'<h1>\\1</h1>')", "<h1>Heading</h1>", id="REGEXP_REPLACE"
    ),
    pytest.param("REGEXP_REPLACE('aXbX', 'X', '-')", "a-b-", id="REGEXP_REPLACE replaces all"),
    pytest.param("SUBSTR('apple', -2)", "le", id="SUBSTR from the end"),
    pytest.param("SUBSTR('apple', 2, 2)", "pp", id="SUBSTR"),
    pytest.param("SUBSTR('apple', 0, 2)", "ap", id="SUBSTR from 0 is from 1"),
    pytest.param("STRPOS('foo@example.com', '@')", 4, id="STRPOS"),
    pytest.param("CONTAINS_SUBSTR('the Blue house', 'blue')", True, id="CONTAINS_SUBSTR ignores case"),
    pytest.param("LPAD('abc', 5, '-') || RPAD('d', 3, '+')", "--abcd++", id="LPAD and RPAD"),
    pytest.param("LEFT('apple', 3) || RIGHT('apple', 2)", "apple", id="LEFT and RIGHT"),
    pytest.param("TRIM('***a***', '*')", "a", id="TRIM of characters"),
    pytest.param("INITCAP('hello World')", "Hello World", id="INITCAP"),
    pytest.param("REVERSE('foo')", "oof", id="REVERSE"),
    pytest.param("REPEAT('ab', 2)", "abab", id="REPEAT"),
    pytest.param("TRANSLATE('cookie', 'oi', 'ay')", "caakye", id="TRANSLATE"),
    pytest.param("SPLIT('a,b')", ["a", "b"], id="SPLIT by a comma"),
    pytest.param("ARRAY_TO_STRING(['a', NULL, 'b'], '-', 'x')", "a-x-b", id="ARRAY_TO_STRING with a word for NULL"),
    pytest.param("ARRAY_TO_STRING(['a', NULL, 'b'], '-')", "a-b", id="ARRAY_TO_STRING omits NULL"),
    pytest.param("CHAR_LENGTH('é') + LENGTH(b'ab') + BYTE_LENGTH('é')", 5, id="lengths"),
    pytest.param("ENDS_WITH('apple', 'e')", True, id="ENDS_WITH"),
    pytest.param("UPPER('a') || LOWER('B')", "Ab", id="UPPER and LOWER"),
    pytest.param("NORMALIZE('\\u00ea') = NORMALIZE('\\u0065\\u0302')", True, id="NORMALIZE"),
    pytest.param("ASCII('A') + UNICODE('é')", 298, id="ASCII and UNICODE"),
    pytest.param("CHR(65) || CODE_POINTS_TO_STRING([98, 99])", "Abc", id="CHR and CODE_POINTS_TO_STRING"),
    pytest.param("TO_CODE_POINTS('ab')", [97, 98], id="TO_CODE_POINTS"),
    pytest.param("SAFE_CONVERT_BYTES_TO_STRING(b'abc')", "abc", id="SAFE_CONVERT_BYTES_TO_STRING"),
    pytest.param("'a' LIKE 'A%' OR 'abc' LIKE '_b%'", True, id="LIKE"),
    pytest.param("FORMAT('%d-%s-%.2f', 7, 'x', 3.14159)", "7-x-3.14", id="FORMAT"),
    pytest.param('FORMAT("%\'d", 1234567)', "1,234,567", id="FORMAT with thousands"),
    pytest.param(
        "FORMAT('%x|%08.3f|%5s|%-5s|', 255, 3.14159, 'a', 'b')", "ff|0003.142|    a|b    |", id="FORMAT widths"
    ),
    pytest.param("EDIT_DISTANCE('abc', 'adb')", 2, id="EDIT_DISTANCE"),
]

HASHES = [
    pytest.param("FARM_FINGERPRINT('')", -7286425919675154353, id="FARM_FINGERPRINT of nothing"),
    pytest.param("FARM_FINGERPRINT(NULL)", None, id="FARM_FINGERPRINT of NULL"),
    pytest.param(
        "FARM_FINGERPRINT(CONCAT(CAST(1 AS STRING), 'foo', CAST(TRUE AS STRING)))", -1541654101129638711, id="1"
    ),
    pytest.param(
        "FARM_FINGERPRINT(CONCAT(CAST(2 AS STRING), 'apple', CAST(FALSE AS STRING)))", 2794438866806483259, id="2"
    ),
    pytest.param("FARM_FINGERPRINT(CONCAT(CAST(3 AS STRING), '', CAST(TRUE AS STRING)))", -4880158226897771312, id="3"),
    pytest.param("TO_HEX(MD5('Hello World'))", "b10a8db164e0754105b7a99be72e3fe5", id="MD5"),
    pytest.param("TO_BASE64(SHA1('Hello World'))", "Ck1VqNd45QIvq3AZd8XYQLvEhtA=", id="SHA1"),
    pytest.param("SUBSTR(TO_HEX(SHA512('Hello World')), 1, 16)", "2c74fd17edafd80e", id="SHA512"),
    pytest.param("MD5(b'a') = MD5('a')", True, id="MD5 of bytes"),
    pytest.param("FROM_HEX('00ff')", b"\x00\xff", id="FROM_HEX"),
    pytest.param("FROM_BASE64('/+A=')", b"\xff\xe0", id="FROM_BASE64"),
    pytest.param("TO_HEX(b'\\x00\\x01\\xee')", "0001ee", id="TO_HEX"),
    pytest.param(
        "TO_HEX(SHA256(b'\\xff\\x00'))",
        "ea5dbf9596d187e9500f23e9a680109475341cf4e81f7e043f7d97152c10772f",
        id="SHA256 of bytes",
    ),
]

NUMBERS = [
    pytest.param("SAFE_CAST('apple' AS INT64)", None, id="SAFE_CAST"),
    pytest.param("CAST('0x1F' AS INT64)", 31, id="a hexadecimal number"),
    pytest.param("CAST(1.5 AS INT64)", 2, id="a half is rounded away from zero"),
    pytest.param("CAST(-2.5 AS INT64)", -3, id="also below zero"),
    pytest.param("ROUND(2.5) + ROUND(-2.5)", 0.0, id="ROUND away from zero"),
    pytest.param("ROUND(1235, -2)", 1200.0, id="ROUND before the point"),
    pytest.param("TRUNC(1.78, 1)", 1.7, id="TRUNC"),
    pytest.param("CEIL(2.3) + FLOOR(2.7)", 5.0, id="CEIL and FLOOR"),
    pytest.param("IEEE_DIVIDE(1, 0)", float("inf"), id="IEEE_DIVIDE"),
    pytest.param("MOD(-25, 12)", -1, id="MOD keeps the sign"),
    pytest.param("SAFE_ADD(9223372036854775807, 1)", None, id="SAFE_ADD"),
    pytest.param("SAFE_MULTIPLY(2, 3) + SAFE_SUBTRACT(5, 1) + SAFE_NEGATE(1)", 9, id="SAFE_MULTIPLY and the like"),
    pytest.param("GREATEST(1, 3, 2) + LEAST(5, 4)", 7, id="GREATEST and LEAST"),
    pytest.param("GREATEST(1, NULL, 2)", None, id="GREATEST with NULL is NULL"),
    pytest.param("SIGN(-3) + ABS(-4)", 3, id="SIGN and ABS"),
    pytest.param("POW(2, 3) + SQRT(16) + EXP(0) + LN(1)", 13.0, id="POW, SQRT, EXP, LN"),
    pytest.param("LOG(8, 2) + LOG10(100)", 5.0, id="LOG to a base"),
    pytest.param("RANGE_BUCKET(20, [0, 10, 20, 30, 40, 50])", 3, id="RANGE_BUCKET"),
    pytest.param("5 & 3 | (8 ^ 1)", 9, id="bits"),
    pytest.param("1 << 4 >> 1", 8, id="shifts"),
    pytest.param("BIT_COUNT(255)", 8, id="BIT_COUNT"),
    pytest.param("NUMERIC '1.5' + 1", Decimal("2.5"), id="NUMERIC and INT64"),
    pytest.param("CAST(NUMERIC '1.50' AS STRING)", "1.5", id="a NUMERIC as STRING has no zeros at its end"),
    pytest.param("CAST(1.0 AS STRING) || CAST(TRUE AS STRING)", "1true", id="FLOAT64 and BOOL as STRING"),
    pytest.param("CAST(0.1 AS STRING)", "0.1", id="FLOAT64 as STRING"),
    pytest.param("NULLIF(1, 1)", None, id="NULLIF"),
    pytest.param("COALESCE(NULL, 2)", 2, id="COALESCE"),
    pytest.param("IS_NAN(CAST('nan' AS FLOAT64)) AND IS_INF(CAST('-inf' AS FLOAT64))", True, id="IS_NAN and IS_INF"),
    pytest.param("1 IS DISTINCT FROM NULL", True, id="IS DISTINCT FROM"),
    pytest.param("2147483647 + 1 + 100000 * 100000", 12147483648, id="numbers are INT64"),
    pytest.param("DIV(7, 2) * 1000 + CAST(7 / 2 AS INT64)", 3004, id="DIV"),
    pytest.param("10 * DIV(46, 5 + 5)", 40, id="DIV inside and around arithmetic"),
    pytest.param("10 * MOD(46, 5 + 5)", 60, id="MOD inside and around arithmetic"),
    pytest.param("PARSE_NUMERIC('-1.50')", Decimal("-1.5"), id="PARSE_NUMERIC"),
]

DATES = [
    pytest.param("DATE_TRUNC(DATE '2024-03-15', WEEK(MONDAY))", dt.date(2024, 3, 11), id="DATE_TRUNC to Monday"),
    pytest.param("DATE_TRUNC(DATE '2024-03-15', WEEK)", dt.date(2024, 3, 10), id="weeks begin on Sunday"),
    pytest.param("DATE_TRUNC(DATE '2024-03-15', ISOWEEK)", dt.date(2024, 3, 11), id="ISOWEEK begins on Monday"),
    pytest.param("DATE_TRUNC(DATE '2024-08-15', QUARTER)", dt.date(2024, 7, 1), id="QUARTER"),
    pytest.param("DATE_TRUNC(DATE '2024-08-15', YEAR)", dt.date(2024, 1, 1), id="YEAR"),
    pytest.param("DATE_TRUNC(DATE '2015-06-15', ISOYEAR)", dt.date(2014, 12, 29), id="ISOYEAR"),
    pytest.param(
        "DATE_TRUNC(DATE '2017-11-05', WEEK(WEDNESDAY))", dt.date(2017, 11, 1), id="weeks that begin on Wednesday"
    ),
    pytest.param(
        "TIMESTAMP_TRUNC(TIMESTAMP '2024-03-15 10:00:00', WEEK(MONDAY))",
        dt.datetime(2024, 3, 11, tzinfo=UTC),
        id="TIMESTAMP_TRUNC to Monday",
    ),
    pytest.param(
        "TIMESTAMP_TRUNC(TIMESTAMP '2024-03-15 10:00:00+00', DAY, 'America/Los_Angeles')",
        dt.datetime(2024, 3, 15, 7, tzinfo=UTC),
        id="TIMESTAMP_TRUNC in a zone",
    ),
    pytest.param(
        "DATETIME_TRUNC(DATETIME '2024-03-15 10:20:30', HOUR)",
        dt.datetime.fromisoformat("2024-03-15T10:00:00"),
        id="DATETIME_TRUNC",
    ),
    pytest.param("DATE_DIFF(DATE '2017-10-15', DATE '2017-10-14', WEEK)", 1, id="DATE_DIFF of weeks counts Sundays"),
    pytest.param(
        "DATE_DIFF(DATE '2017-12-18', DATE '2017-12-17', ISOWEEK)", 1, id="DATE_DIFF of ISO weeks counts Mondays"
    ),
    pytest.param(
        "DATE_DIFF(DATE '2017-12-18', DATE '2017-12-17', WEEK(MONDAY))", 1, id="DATE_DIFF of weeks from Monday"
    ),
    pytest.param("DATE_DIFF(DATE '2017-12-30', DATE '2014-12-30', YEAR)", 3, id="DATE_DIFF of years"),
    pytest.param("DATE_DIFF(DATE '2024-03-01', DATE '2024-02-01', DAY)", 29, id="DATE_DIFF of days"),
    pytest.param(
        "TIMESTAMP_DIFF(TIMESTAMP '2010-07-07 10:20:00+00', TIMESTAMP '2008-12-25 15:30:00+00', HOUR)",
        13410,
        id="TIMESTAMP_DIFF",
    ),
    pytest.param(
        "TIMESTAMP_DIFF(TIMESTAMP '2018-08-14', TIMESTAMP '2018-10-14', DAY)", -61, id="TIMESTAMP_DIFF below zero"
    ),
    pytest.param(
        "TIMESTAMP_DIFF('2001-02-01 01:00:00', '2001-02-01 00:00:01', HOUR)", 0, id="TIMESTAMP_DIFF of whole hours"
    ),
    pytest.param(
        "DATETIME_DIFF(DATETIME '2010-07-07T10:20:00', DATETIME '2008-12-25T15:30:00', DAY)",
        559,
        id="DATETIME_DIFF counts boundaries",
    ),
    pytest.param("TIME_DIFF(TIME '15:30:00', TIME '14:35:00', MINUTE)", 55, id="TIME_DIFF"),
    pytest.param("DATE_ADD(DATE '2008-12-25', INTERVAL 5 DAY)", dt.date(2008, 12, 30), id="DATE_ADD"),
    pytest.param("DATE_SUB(DATE '2024-03-31', INTERVAL 1 MONTH)", dt.date(2024, 2, 29), id="DATE_SUB of a month"),
    pytest.param("DATE_ADD(DATE '2024-01-31', INTERVAL 1 QUARTER)", dt.date(2024, 4, 30), id="DATE_ADD of a quarter"),
    pytest.param("DATE_ADD(DATE '2024-01-01', INTERVAL 2 WEEK)", dt.date(2024, 1, 15), id="DATE_ADD of weeks"),
    pytest.param("DATE '2024-01-01' + 1", dt.date(2024, 1, 2), id="a DATE and a number of days"),
    pytest.param("DATE '2024-01-03' - 1", dt.date(2024, 1, 2), id="a DATE less a number of days"),
    pytest.param(
        "TIMESTAMP_ADD(TIMESTAMP '2008-12-25 15:30:00+00', INTERVAL 10 MINUTE)",
        dt.datetime(2008, 12, 25, 15, 40, tzinfo=UTC),
        id="TIMESTAMP_ADD",
    ),
    pytest.param(
        "DATETIME_ADD(DATETIME '2008-12-25 15:30:00', INTERVAL 1 MONTH)",
        dt.datetime.fromisoformat("2009-01-25T15:30:00"),
        id="DATETIME_ADD",
    ),
    pytest.param(
        "DATETIME_SUB(DATETIME '2008-12-25 15:30:00', INTERVAL 10 MINUTE)",
        dt.datetime.fromisoformat("2008-12-25T15:20:00"),
        id="DATETIME_SUB",
    ),
    pytest.param("TIME_ADD(TIME '15:30:00', INTERVAL 10 MINUTE)", dt.time(15, 40), id="TIME_ADD"),
    pytest.param("LAST_DAY(DATE '2008-11-25')", dt.date(2008, 11, 30), id="LAST_DAY"),
    pytest.param("LAST_DAY(DATE '2008-11-25', YEAR)", dt.date(2008, 12, 31), id="LAST_DAY of the year"),
    pytest.param("EXTRACT(WEEK FROM DATE '2013-12-25')", 51, id="WEEK counts Sundays"),
    pytest.param("EXTRACT(ISOWEEK FROM DATE '2015-12-31')", 53, id="ISOWEEK"),
    pytest.param("EXTRACT(ISOYEAR FROM DATE '2016-01-01')", 2015, id="ISOYEAR of a day"),
    pytest.param("EXTRACT(DAYOFYEAR FROM DATE '2024-12-31')", 366, id="DAYOFYEAR"),
    pytest.param("EXTRACT(QUARTER FROM DATE '2024-12-31')", 4, id="QUARTER of a day"),
    pytest.param(
        "EXTRACT(HOUR FROM TIMESTAMP '2024-01-01 23:00:00+00' AT TIME ZONE 'Europe/Berlin')", 0, id="HOUR in a zone"
    ),
    pytest.param("EXTRACT(MILLISECOND FROM TIMESTAMP '2024-01-01 00:00:05.123+00')", 123, id="MILLISECOND"),
    pytest.param("EXTRACT(MICROSECOND FROM TIMESTAMP '2024-01-01 00:00:05.123456+00')", 123456, id="MICROSECOND"),
    pytest.param(
        "EXTRACT(DATE FROM TIMESTAMP '2024-01-01 23:00:00+00')", dt.date(2024, 1, 1), id="DATE of a TIMESTAMP"
    ),
    pytest.param("FORMAT_DATE('%b-%d-%Y', DATE '2008-12-25')", "Dec-25-2008", id="FORMAT_DATE"),
    pytest.param(
        "FORMAT_DATE('%A %a %B %j %U %V %G %u %w %y %e', DATE '2008-12-05')",
        "Friday Fri December 340 48 49 2008 5 5 08  5",
        id="FORMAT_DATE of everything",
    ),
    pytest.param("FORMAT_DATE('%Y%m%d', '2024-01-02')", "20240102", id="FORMAT_DATE of a literal"),
    pytest.param("FORMAT_DATE('%Q', DATE '2024-05-01')", "2", id="FORMAT_DATE of a quarter"),
    pytest.param("FORMAT_DATE('%x', DATE '2008-12-25')", "12/25/08", id="%x is short"),
    pytest.param(
        "FORMAT_TIMESTAMP('%c', TIMESTAMP '2050-12-25 15:30:55+00', 'UTC')",
        "Sun Dec 25 15:30:55 2050",
        id="FORMAT_TIMESTAMP %c",
    ),
    pytest.param(
        "FORMAT_TIMESTAMP('%F %H', TIMESTAMP '2024-01-01 23:00:00+00', 'Europe/Berlin')",
        "2024-01-02 00",
        id="FORMAT_TIMESTAMP in a zone",
    ),
    pytest.param("FORMAT_DATETIME('%I:%M %p', DATETIME '2024-01-01 15:04:00')", "03:04 PM", id="FORMAT_DATETIME"),
    pytest.param("FORMAT_TIME('%R', TIME '15:30:00')", "15:30", id="FORMAT_TIME"),
    pytest.param(
        "PARSE_TIMESTAMP('%a %b %e %I:%M:%S %Y', 'Thu Dec 25 07:30:00 2008')",
        dt.datetime(2008, 12, 25, 7, 30, tzinfo=UTC),
        id="PARSE_TIMESTAMP",
    ),
    pytest.param(
        "PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%E*S', '2024-01-02 03:04:05.678')",
        dt.datetime(2024, 1, 2, 3, 4, 5, 678000, UTC),
        id="PARSE_TIMESTAMP with a fraction",
    ),
    pytest.param(
        "PARSE_TIMESTAMP('%F %T', '2024-01-02 03:04:05', 'Europe/Berlin')",
        dt.datetime(2024, 1, 2, 2, 4, 5, 0, UTC),
        id="PARSE_TIMESTAMP in a zone",
    ),
    pytest.param(
        "PARSE_TIMESTAMP('%s', '1000')", dt.datetime(1970, 1, 1, 0, 16, 40, 0, UTC), id="PARSE_TIMESTAMP of seconds"
    ),
    pytest.param("PARSE_DATE('%A %b %e %Y', 'Thursday Dec 25 2008')", dt.date(2008, 12, 25), id="PARSE_DATE"),
    pytest.param("PARSE_DATE('%F', '2024-01-02')", dt.date(2024, 1, 2), id="PARSE_DATE %F"),
    pytest.param(
        "PARSE_DATETIME('%Y-%m-%d %H:%M:%S', '1998-10-18 13:45:55')",
        dt.datetime.fromisoformat("1998-10-18T13:45:55"),
        id="PARSE_DATETIME",
    ),
    pytest.param("PARSE_TIME('%H:%M', '14:30')", dt.time(14, 30), id="PARSE_TIME"),
    pytest.param("UNIX_SECONDS(TIMESTAMP '2008-12-25 15:30:00+00')", 1230219000, id="UNIX_SECONDS"),
    pytest.param("UNIX_MICROS(TIMESTAMP '2008-12-25 15:30:00+00')", 1230219000000000, id="UNIX_MICROS"),
    pytest.param("UNIX_DATE(DATE '2008-12-25')", 14238, id="UNIX_DATE"),
    pytest.param("DATE_FROM_UNIX_DATE(14238)", dt.date(2008, 12, 25), id="DATE_FROM_UNIX_DATE"),
    pytest.param(
        "TIMESTAMP_MICROS(1230219000000000)", dt.datetime(2008, 12, 25, 15, 30, tzinfo=UTC), id="TIMESTAMP_MICROS"
    ),
    pytest.param("DATE(2016, 12, 25)", dt.date(2016, 12, 25), id="DATE of its parts"),
    pytest.param("DATE(DATETIME '2016-12-25 23:59:59')", dt.date(2016, 12, 25), id="DATE of a DATETIME"),
    pytest.param(
        "DATETIME(2005, 12, 25, 5, 30, 0)", dt.datetime.fromisoformat("2005-12-25T05:30:00"), id="DATETIME of its parts"
    ),
    pytest.param(
        "DATETIME(TIMESTAMP '2024-01-01 23:00:00+00', 'Europe/Berlin')",
        dt.datetime.fromisoformat("2024-01-02T00:00:00"),
        id="DATETIME of a TIMESTAMP",
    ),
    pytest.param(
        "TIMESTAMP('2008-12-25 15:30:00', 'America/Los_Angeles')",
        dt.datetime(2008, 12, 25, 23, 30, tzinfo=UTC),
        id="TIMESTAMP in a zone",
    ),
    pytest.param("TIMESTAMP(DATE '2008-12-25')", dt.datetime(2008, 12, 25, tzinfo=UTC), id="TIMESTAMP of a DATE"),
    pytest.param("TIMESTAMP '2024-01-02T03:04:05Z'", dt.datetime(2024, 1, 2, 3, 4, 5, 0, UTC), id="a TIMESTAMP with Z"),
    pytest.param("TIME(15, 30, 5)", dt.time(15, 30, 5), id="TIME of its parts"),
    pytest.param("TIME(TIMESTAMP '2008-12-25 15:30:05+00')", dt.time(15, 30, 5), id="TIME of a TIMESTAMP"),
    pytest.param(
        "STRING(TIMESTAMP '2008-12-25 15:30:00+00', 'UTC')", "2008-12-25 15:30:00+00", id="STRING of a TIMESTAMP"
    ),
    pytest.param(
        "CAST(TIMESTAMP '2024-01-02 03:04:05.5+00' AS STRING)", "2024-01-02 03:04:05.500+00", id="a TIMESTAMP as STRING"
    ),
    pytest.param("CAST(DATE '2024-01-02' AS STRING)", "2024-01-02", id="a DATE as STRING"),
    pytest.param("CAST(DATETIME '2024-01-02 03:04:05' AS STRING)", "2024-01-02 03:04:05", id="a DATETIME as STRING"),
    pytest.param("CAST('2024-01-02' AS TIMESTAMP)", dt.datetime(2024, 1, 2, tzinfo=UTC), id="a STRING as TIMESTAMP"),
    pytest.param(
        "GENERATE_DATE_ARRAY(DATE '2016-10-05', DATE '2016-10-09', INTERVAL 2 DAY)",
        [dt.date(2016, 10, 5), dt.date(2016, 10, 7), dt.date(2016, 10, 9)],
        id="GENERATE_DATE_ARRAY with a step",
    ),
]

JSONS = [
    pytest.param('JSON_VALUE(\'{"a": {"b": "c"}}\', \'$.a.b\')', "c", id="JSON_VALUE"),
    pytest.param('JSON_VALUE(\'{"a": {"b": "c"}}\', \'$.a\')', None, id="JSON_VALUE of an object is NULL"),
    pytest.param("JSON_VALUE('\"x\"')", "x", id="JSON_VALUE of the whole"),
    pytest.param("JSON_EXTRACT_SCALAR('{\"a\": 1}', '$.a')", "1", id="JSON_EXTRACT_SCALAR"),
    pytest.param('JSON_VALUE_ARRAY(\'["a", "b"]\')', ["a", "b"], id="JSON_VALUE_ARRAY"),
    pytest.param("JSON_VALUE(JSON '{\"a\": 1}', '$.a')", "1", id="JSON_VALUE of JSON"),
    pytest.param("STRING(JSON '\"a\"')", "a", id="STRING of JSON"),
    pytest.param("INT64(JSON '7') + LAX_INT64(JSON '\"8\"')", 15, id="INT64 of JSON"),
    pytest.param("JSON_TYPE(JSON '[1]')", "array", id="JSON_TYPE"),
    pytest.param("TO_JSON(STRUCT(1 AS a, [TRUE] AS b))", {"a": 1, "b": [True]}, id="TO_JSON"),
    pytest.param("TO_JSON_STRING(STRUCT(1, 'a'))", '{"":1,"":"a"}', id="fields without a name"),
    pytest.param("TO_JSON_STRING([1, 2])", "[1,2]", id="TO_JSON_STRING of an array"),
    pytest.param(
        "TO_JSON_STRING(STRUCT(NULL AS a, 1.5 AS b))", '{"a":null,"b":1.5}', id="TO_JSON_STRING of NULL and FLOAT64"
    ),
    pytest.param("JSON_OBJECT('a', 1)", {"a": 1}, id="JSON_OBJECT"),
    pytest.param("JSON_ARRAY(1, 'a')", [1, "a"], id="JSON_ARRAY"),
]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param(*case.values, id=f"{group}: {case.id}")
        for group, cases in {"text": TEXT, "hash": HASHES, "number": NUMBERS, "time": DATES, "json": JSONS}.items()
        for case in cases
    ],
)
def test_a_function_gives_what_the_reference_says(client: bq.Client, expression: str, expected: Any) -> None:
    """string_functions, hash_functions, mathematical_functions, date_functions, json_functions, ..."""
    assert rows(client, f"SELECT {expression}") == [(expected,)]


QUERIES = [
    # aggregates
    pytest.param(
        "SELECT ARRAY_AGG(x IGNORE NULLS ORDER BY x DESC LIMIT 2) FROM UNNEST([1, NULL, 3, 2]) AS x",
        [([3, 2],)],
        id="ARRAY_AGG",
    ),
    pytest.param(
        "SELECT ARRAY_AGG(DISTINCT x ORDER BY x) FROM UNNEST([2, 1, 2]) AS x", [([1, 2],)], id="ARRAY_AGG DISTINCT"
    ),
    pytest.param(
        "SELECT ARRAY_CONCAT_AGG(x) FROM UNNEST([STRUCT([1, 2] AS x), STRUCT([3] AS x)])",
        [([1, 2, 3],)],
        id="ARRAY_CONCAT_AGG",
    ),
    pytest.param(
        "SELECT STRING_AGG(DISTINCT x, '-' ORDER BY x DESC LIMIT 2) FROM UNNEST(['a', 'c', 'b', 'a']) AS x",
        [("c-b",)],
        id="STRING_AGG with LIMIT",
    ),
    pytest.param("SELECT STRING_AGG(x) FROM UNNEST(['a', NULL, 'b']) AS x", [("a,b",)], id="STRING_AGG by a comma"),
    pytest.param(
        "SELECT COUNTIF(x < 0), LOGICAL_OR(x < 0), LOGICAL_AND(x < 0) FROM UNNEST([5, -2, 3]) AS x",
        [(1, True, False)],
        id="COUNTIF, LOGICAL_OR, LOGICAL_AND",
    ),
    pytest.param(
        "SELECT BIT_XOR(x), BIT_AND(x), BIT_OR(x) FROM UNNEST([5678, 1234]) AS x",
        [(4860, 1026, 5886)],
        id="BIT_XOR, BIT_AND, BIT_OR",
    ),
    pytest.param(
        "SELECT BIT_XOR(x) FROM UNNEST(CAST([] AS ARRAY<INT64>)) AS x", [(None,)], id="BIT_XOR of nothing is NULL"
    ),
    pytest.param("SELECT BIT_XOR(x) FROM UNNEST([1, NULL, 3]) AS x", [(2,)], id="BIT_XOR leaves NULLs out"),
    pytest.param(
        "SELECT BIT_XOR(FARM_FINGERPRINT(x)) FROM UNNEST(['a', 'b', 'a', '']) AS x",
        [(4130656391915942233,)],
        id="BIT_XOR of fingerprints",
    ),
    pytest.param("SELECT BIT_XOR(DISTINCT x) FROM UNNEST([1, 1, 2]) AS x", [(3,)], id="BIT_XOR DISTINCT"),
    pytest.param(
        "SELECT APPROX_COUNT_DISTINCT(x) FROM UNNEST([0, 1, 1, 2, 3, 5]) AS x", [(5,)], id="APPROX_COUNT_DISTINCT"
    ),
    pytest.param(
        "SELECT APPROX_QUANTILES(x, 2) FROM UNNEST([1, 1, 1, 4, 5, 6, 7, 8, 9, 10]) AS x",
        [([1, 5, 10],)],
        id="APPROX_QUANTILES",
    ),
    pytest.param("SELECT ANY_VALUE(x), MIN(x), MAX(x) FROM UNNEST([2, 2]) AS x", [(2, 2, 2)], id="ANY_VALUE"),
    pytest.param(
        "SELECT ANY_VALUE(a HAVING MAX b), ANY_VALUE(a HAVING MIN b) FROM UNNEST([STRUCT('x' AS a, 1 AS b), ('y', 2)])",
        [("y", "x")],
        id="HAVING MAX",
    ),
    pytest.param(
        "SELECT MAX_BY(a, b), MIN_BY(a, b) FROM UNNEST([STRUCT('x' AS a, 1 AS b), ('y', 2)])", [("y", "x")], id="MAX_BY"
    ),
    pytest.param(
        "SELECT SUM(x), AVG(x), COUNT(*), COUNT(DISTINCT x) FROM UNNEST([1, 2, 2]) AS x",
        [(5, 5 / 3, 3, 2)],
        id="SUM, AVG, COUNT",
    ),
    pytest.param("SELECT SUM(x) FROM UNNEST(CAST([] AS ARRAY<INT64>)) AS x", [(None,)], id="SUM of nothing is NULL"),
    pytest.param(
        "SELECT STDDEV_POP(x), VAR_SAMP(x), CORR(x, x) FROM UNNEST([1.0, 3.0]) AS x", [(1.0, 2.0, 1.0)], id="statistics"
    ),
    pytest.param(
        SALES + "SELECT product, SUM(sales) FROM sales GROUP BY ROLLUP (product) ORDER BY product",
        [(None, 152), ("Apple", 78), ("Kale", 74)],
        id="ROLLUP",
    ),
    pytest.param(
        SALES + "SELECT product, quarter, SUM(sales) FROM sales GROUP BY GROUPING SETS (product, quarter) ORDER BY 3",
        [(None, "Q2", 24), ("Kale", None, 74), ("Apple", None, 78), (None, "Q1", 128)],
        id="GROUPING SETS",
    ),
    pytest.param(
        SALES + "SELECT GROUPING(product), SUM(sales) FROM sales GROUP BY CUBE (product) ORDER BY 1, 2",
        [(0, 74), (0, 78), (1, 152)],
        id="CUBE and GROUPING",
    ),
    pytest.param(
        SALES + "SELECT product, SUM(sales) AS total FROM sales GROUP BY ALL HAVING total > 75",
        [("Apple", 78)],
        id="GROUP BY ALL and HAVING",
    ),
    pytest.param(
        "SELECT MOD(x, 2) AS r, COUNT(*) FROM UNNEST([1, 2, 3]) AS x GROUP BY 1 ORDER BY r",
        [(0, 1), (1, 2)],
        id="GROUP BY a place",
    ),
    # PIVOT
    pytest.param(
        SALES + "SELECT * FROM sales PIVOT(SUM(sales) FOR quarter IN ('Q1', 'Q2')) ORDER BY product",
        [("Apple", 77, 1), ("Kale", 51, 23)],
        id="PIVOT",
    ),
    pytest.param(
        SALES + "SELECT * FROM sales PIVOT(SUM(sales) AS t, COUNT(*) AS n FOR quarter IN ('Q1' AS a)) ORDER BY product",
        [("Apple", 77, 1), ("Kale", 51, 1)],
        id="PIVOT with names",
    ),
    pytest.param(
        "SELECT * FROM (SELECT 'Kale' AS product, 51 AS Q1, 23 AS Q2) UNPIVOT(sales FOR quarter IN (Q1, Q2)) "
        "ORDER BY quarter",
        [("Kale", 51, "Q1"), ("Kale", 23, "Q2")],
        id="UNPIVOT",
    ),
    pytest.param(
        "SELECT * FROM (SELECT 1 AS a, NULL AS b) UNPIVOT(v FOR n IN (a, b))", [(1, "a")], id="UNPIVOT leaves NULLs out"
    ),
    # windows
    pytest.param(
        "SELECT x, SUM(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM UNNEST([1, 2, 3]) AS "
        "x ORDER BY x",
        [(1, 1), (2, 3), (3, 5)],
        id="a frame of rows",
    ),
    pytest.param(
        "SELECT x, COUNT(*) OVER (ORDER BY x RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM UNNEST([1, 2, 5]) "
        "AS x ORDER BY x",
        [(1, 2), (2, 2), (5, 1)],
        id="a frame of a range",
    ),
    pytest.param(
        "SELECT x, LAG(x) OVER w, LEAD(x, 1, 0) OVER w, FIRST_VALUE(x) OVER w FROM UNNEST([1, 2]) AS x WINDOW w "
        "AS (ORDER BY x) ORDER BY x",
        [(1, None, 2, 1), (2, 1, 0, 1)],
        id="a named window",
    ),
    pytest.param(
        "SELECT LAST_VALUE(x IGNORE NULLS) OVER (ORDER BY o ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED "
        "FOLLOWING) FROM UNNEST([1, NULL]) AS x WITH OFFSET AS o",
        [(1,), (1,)],
        id="LAST_VALUE IGNORE NULLS",
    ),
    pytest.param(
        "SELECT x, RANK() OVER (ORDER BY x), DENSE_RANK() OVER (ORDER BY x), NTILE(2) OVER (ORDER BY x), "
        "PERCENT_RANK() OVER (ORDER BY x) FROM UNNEST([1, 1, 2]) AS x ORDER BY 1, 4",
        [(1, 1, 1, 1, 0.0), (1, 1, 1, 1, 0.0), (2, 3, 2, 2, 1.0)],
        id="ranks",
    ),
    pytest.param(
        "SELECT DISTINCT PERCENTILE_CONT(x, 0.5) OVER (), PERCENTILE_DISC(x, 0.5) OVER () FROM UNNEST([0, 3, 1, "
        "2]) AS x",
        [(1.5, 1)],
        id="PERCENTILE_CONT and PERCENTILE_DISC",
    ),
    pytest.param(
        "SELECT x FROM UNNEST([3, 1, 2]) AS x QUALIFY ROW_NUMBER() OVER (ORDER BY x) = 1",
        [(1,)],
        id="QUALIFY without WHERE",
    ),
    # arrays and structs
    pytest.param(
        "SELECT x, o FROM UNNEST(['a', 'b']) AS x WITH OFFSET o ORDER BY o DESC", [("b", 1), ("a", 0)], id="WITH OFFSET"
    ),
    pytest.param("SELECT x, offset FROM UNNEST(['a']) AS x WITH OFFSET", [("a", 0)], id="WITH OFFSET without a name"),
    pytest.param(
        "WITH t AS (SELECT 1 AS id, [10, 20] AS xs) SELECT id, x FROM t, UNNEST(xs) AS x ORDER BY x",
        [(1, 10), (1, 20)],
        id="a correlated UNNEST",
    ),
    pytest.param(
        "WITH t AS (SELECT 1 AS id, CAST([] AS ARRAY<INT64>) AS xs) SELECT id, x FROM t LEFT JOIN UNNEST(xs) AS x",
        [(1, None)],
        id="LEFT JOIN UNNEST",
    ),
    pytest.param(
        "WITH t AS (SELECT [STRUCT(1 AS a, 'x' AS b)] AS ss) SELECT s.a, s.b FROM t, UNNEST(ss) AS s",
        [(1, "x")],
        id="UNNEST of structs",
    ),
    pytest.param(
        "SELECT ARRAY_LENGTH([1, 2]), ARRAY_REVERSE([1, 2]), ARRAY_CONCAT([1], [2])",
        [(2, [2, 1], [1, 2])],
        id="ARRAY_LENGTH, ARRAY_REVERSE, ARRAY_CONCAT",
    ),
    pytest.param(
        "SELECT ARRAY(SELECT x * 2 FROM UNNEST([1, 2]) AS x ORDER BY x DESC)", [([4, 2],)], id="ARRAY of a query"
    ),
    pytest.param("SELECT AS STRUCT 1 AS a, 2 AS b", [(1, 2)], id="SELECT AS STRUCT"),
    pytest.param("SELECT STRUCT<a INT64, b STRING>(1, 'x').b", [("x",)], id="a typed struct"),
    pytest.param("SELECT s.* FROM (SELECT STRUCT(1 AS a, 2 AS b) AS s)", [(1, 2)], id="all fields of a struct"),
    pytest.param("SELECT (SELECT AS STRUCT 1 AS a, 2 AS b).b", [(2,)], id="a struct of a query"),
    pytest.param("SELECT STRUCT(1, 'a') = (1, 'a')", [(True,)], id="structs are compared"),
    pytest.param(
        "SELECT 2 IN UNNEST([1, 2]), EXISTS(SELECT 1), 3 IN (1, 2)", [(True, True, False)], id="IN and EXISTS"
    ),
    pytest.param(
        "SELECT GENERATE_ARRAY(0, 10, 5), GENERATE_ARRAY(3, 1, -1)", [([0, 5, 10], [3, 2, 1])], id="GENERATE_ARRAY"
    ),
    pytest.param(
        "SELECT ARRAY_FIRST([1, 2]), ARRAY_LAST([1, 2]), ARRAY_SLICE([1, 2, 3], 0, 1)",
        [(1, 2, [1, 2])],
        id="ARRAY_FIRST, ARRAY_LAST, ARRAY_SLICE",
    ),
    pytest.param("SELECT ID FROM (SELECT 1 AS id)", [(1,)], id="columns without regard to case"),
    # shapes of queries
    pytest.param("SELECT * EXCEPT (b) FROM (SELECT 1 AS a, 2 AS b)", [(1,)], id="EXCEPT columns"),
    pytest.param("SELECT * REPLACE (a + 1 AS a) FROM (SELECT 1 AS a, 2 AS b)", [(2, 2)], id="REPLACE columns"),
    pytest.param("SELECT t.* EXCEPT (b) FROM (SELECT 1 AS a, 2 AS b) AS t", [(1,)], id="EXCEPT columns of a table"),
    pytest.param("SELECT 1 UNION DISTINCT SELECT 1", [(1,)], id="UNION DISTINCT"),
    pytest.param("SELECT x FROM UNNEST([1, 2, 2]) AS x EXCEPT DISTINCT SELECT 1", [(2,)], id="EXCEPT DISTINCT"),
    pytest.param("SELECT x FROM UNNEST([1, 2]) AS x INTERSECT DISTINCT SELECT 1", [(1,)], id="INTERSECT DISTINCT"),
    pytest.param(
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n ORDER BY i",
        [(1,), (2,), (3,)],
        id="WITH RECURSIVE",
    ),
    pytest.param(
        "SELECT a.x, b.y FROM UNNEST([1, 2]) AS x2, (SELECT 1 AS x) AS a JOIN (SELECT 1 AS x, 5 AS y) AS b "
        "USING (x) LIMIT 1",
        [(1, 5)],
        id="USING",
    ),
    pytest.param("SELECT x FROM UNNEST([1, 2, 3]) AS x ORDER BY x LIMIT 1 OFFSET 1", [(2,)], id="LIMIT and OFFSET"),
    pytest.param(
        "SELECT x FROM UNNEST([1, NULL]) AS x ORDER BY x DESC", [(1,), (None,)], id="NULLs come last downwards"
    ),
    pytest.param("SELECT x FROM UNNEST([1, NULL]) AS x ORDER BY x NULLS LAST", [(1,), (None,)], id="NULLS LAST"),
    pytest.param(
        "SELECT CASE x WHEN 1 THEN 'a' ELSE 'b' END, IF(x > 1, 1, 0) FROM UNNEST([1]) AS x",
        [("a", 0)],
        id="CASE and IF",
    ),
    pytest.param("FROM UNNEST([1, 2, 3]) AS x |> WHERE x > 1 |> AGGREGATE SUM(x) AS total", [(5,)], id="a pipe"),
    # tables
    pytest.param("SELECT id FROM `logs.events_*` WHERE _TABLE_SUFFIX = '20240102'", [(20240102,)], id="_TABLE_SUFFIX"),
    pytest.param(
        "SELECT _TABLE_SUFFIX, id FROM `shop.logs.events_2024*` ORDER BY 1",
        [("0101", 20240101), ("0102", 20240102)],
        id="a wildcard",
    ),
    pytest.param(
        "SELECT COUNT(*) FROM `logs.events_*` WHERE _TABLE_SUFFIX BETWEEN '20240102' AND '20251231'",
        [(2,)],
        id="suffixes between",
    ),
    pytest.param(
        "SELECT MAX(_TABLE_SUFFIX) FROM `logs.events*`",
        [("_20250101",)],
        id="the last suffix",
    ),
    pytest.param(
        "SELECT NAME, ID FROM logs.events_20240101", [("e", 20240101)], id="columns of a table without regard to case"
    ),
    pytest.param(
        "SELECT events_20240101.id FROM shop.logs.events_20240101", [(20240101,)], id="a table's own name as its alias"
    ),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_a_query_gives_what_the_reference_says(client: bq.Client, query: str, expected: Any) -> None:
    """query-syntax, aggregate_functions, window-function-calls, arrays, querying-wildcard-tables."""
    assert rows(client, query) == expected


@pytest.mark.parametrize(
    ("query", "words"),
    [
        pytest.param("SELECT ERROR('no')", "no", id="ERROR"),
        pytest.param("SELECT IF(FALSE, 1, ERROR('no'))", "no", id="ERROR in a branch"),
        pytest.param("SELECT CAST('x' AS INT64)", "Bad int64 value: x", id="a bad INT64"),
        pytest.param("SELECT CAST('x' AS DATE)", "Invalid date: 'x'", id="a bad DATE"),
        pytest.param("SELECT 1 / 0", "division by zero: 1 / 0", id="division by zero"),
        pytest.param("SELECT MOD(1, 0)", "division by zero", id="MOD by zero"),
        pytest.param("SELECT 9223372036854775807 + 1", "int64 overflow", id="an overflow"),
        pytest.param("SELECT NOPE(1)", r"Function not found: NOPE at \[1:8\]", id="an unknown function"),
        pytest.param("SELECT nope FROM (SELECT 1 AS a)", r"Unrecognized name: nope at \[1:8\]", id="an unknown column"),
        pytest.param("SELECT * FROM `logs.nope_*`", "does not match any table", id="a wildcard without tables"),
        pytest.param(
            "SELECT a FROM (SELECT 1 AS a, 2 AS b) GROUP BY b", "neither grouped nor aggregated", id="not grouped"
        ),
        pytest.param("SELECT PARSE_JSON('{')", "syntax error while parsing", id="bad JSON"),
    ],
)
def test_a_query_fails_in_bigquery_s_words(client: bq.Client, query: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        rows(client, query)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT RANGE<DATE> '[2020-01-01, UNBOUNDED)'", id="a RANGE literal"),
        pytest.param("SELECT RANGE(DATE '2020-01-01', NULL)", id="RANGE"),
        pytest.param("CREATE TABLE logs.r (r RANGE<DATE>)", id="a RANGE column"),
        pytest.param("SELECT HLL_COUNT.MERGE(x) FROM UNNEST([b'a']) AS x", id="HLL_COUNT"),
        pytest.param("SELECT NET.HOST('http://a')", id="NET"),
        pytest.param("SELECT KEYS.NEW_KEYSET('AEAD_AES_GCM_256')", id="KEYS"),
        pytest.param("SELECT ST_GEOGPOINT(1, 2)", id="geography"),
        pytest.param("SELECT SOUNDEX('a')", id="SOUNDEX"),
        pytest.param("SELECT INSTR('banana', 'an', 1, 2)", id="INSTR with an occurrence"),
        pytest.param("SELECT REGEXP_INSTR('ab@cd', '@')", id="REGEXP_INSTR"),
        pytest.param("SELECT JSON_KEYS(JSON '{}')", id="JSON_KEYS"),
        pytest.param("SELECT APPROX_TOP_COUNT(x, 1) FROM UNNEST([1]) AS x", id="APPROX_TOP_COUNT"),
        pytest.param("SELECT DATE_BUCKET(DATE '2024-01-05', INTERVAL 2 DAY)", id="DATE_BUCKET"),
        pytest.param("SELECT FORMAT('%T', 'a')", id="FORMAT with a literal"),
        pytest.param("SELECT CAST(DATE '2024-01-01' AS STRING FORMAT 'YYYY')", id="CAST with FORMAT"),
        pytest.param("SELECT * FROM ML.PREDICT(MODEL logs.m, (SELECT 1))", id="ML"),
    ],
)
def test_what_is_not_supported_is_refused_as_such(client: bq.Client, query: str) -> None:
    with pytest.raises(MethodNotImplemented, match="The embedded BigQuery does not support"):
        rows(client, query)


def test_nothing_is_an_internal_error(client: bq.Client) -> None:
    """Whatever is asked is answered, or refused with a reason."""
    for query in (
        "SELECT",
        "SELECT 1 +",
        "))",
        "SELECT * FROM",
        "WITH a AS (SELECT 1)",
        "SELECT a.b.c.d.e FROM x",
        ";",
    ):
        with pytest.raises(GoogleAPICallError) as refused:
            rows(client, query)
        assert refused.value.code in (400, 404, 501)
