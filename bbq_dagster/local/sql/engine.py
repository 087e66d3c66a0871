"""The DuckDB that answers: one in-memory instance per process, and a connection of its own for every statement.

What a statement registers or creates is temporary, so seen by its connection alone; the instance itself holds only
macros and functions, made once. Errors leave here in BigQuery's words.
"""

import atexit
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from bbq_dagster.local.errors import BigQueryError, invalid_query, not_implemented
from bbq_dagster.local.sql.farmhash import farm_fingerprint
from bbq_dagster.local.sql.json_text import json_text
from bbq_dagster.local.sql.macros import MACROS
from bbq_dagster.local.sql.unsupported import is_unsupported


class _Engine:
    """Opened on first use, closed when the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._root: duckdb.DuckDBPyConnection | None = None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._root is None:
                self._root = _open()
                atexit.register(self.close)
            return self._root.cursor()

    def close(self) -> None:
        with self._lock:
            if self._root is not None:
                self._root.close()
            self._root = None


_engine = _Engine()


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own, with nothing in it; what DuckDB refuses comes out as ``invalidQuery``."""
    cursor = _engine.cursor()
    try:
        yield cursor
    except duckdb.Error as error:
        raise in_bigquery_words(error) from error
    finally:
        cursor.close()


def in_bigquery_words(error: duckdb.Error) -> BigQueryError:
    """BigQuery's words for what DuckDB says; its own first line where no rule knows better."""
    text = str(error)
    unknown = re.search(r"Function with name (\S+) does not exist", text)
    if unknown is not None and is_unsupported(unknown[1].strip('"')):
        return not_implemented(f"the function {unknown[1].upper()}")
    for pattern, words in _WORDS:
        found = re.search(pattern, text, re.DOTALL)
        if found:
            return invalid_query(words(found))
    return invalid_query(re.sub(r"^[\w ]*Error: ", "", text.split("\n")[0]))


def _open() -> duckdb.DuckDBPyConnection:
    root = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    root.execute("SET GLOBAL python_enable_replacements = false")
    root.execute("SELECT 1")
    root.execute("SET GLOBAL TimeZone = 'UTC'")
    _add_function(root, "farm_fingerprint", _fingerprints, ["BLOB"], "BIGINT")
    _add_function(root, "bq_sha512", _sha512, ["BLOB"], "BLOB")
    _add_function(root, "json_text", _json_texts, ["VARCHAR", "VARCHAR"], "VARCHAR")
    for macro in MACROS:
        root.execute(f"CREATE MACRO {macro}")
    return root


def _add_function(
    root: duckdb.DuckDBPyConnection, name: str, function: Callable[..., pa.Array], takes: list[Any], gives: str
) -> None:
    root.create_function(
        name, function, takes, gives, type=PythonUDFType.ARROW, null_handling=FunctionNullHandling.SPECIAL
    )


def _fingerprints(values: pa.ChunkedArray) -> pa.Array:
    """Of each different value once: it takes many times as long as finding out which are the same."""
    rows = values.to_pylist()
    known = {value: farm_fingerprint(value) for value in set(rows) - {None}}
    return pa.array(map(known.get, rows), pa.int64())


def _sha512(values: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if v is None else hashlib.sha512(v).digest() for v in values.to_pylist()], pa.binary())


def _json_texts(written: pa.ChunkedArray, kinds: pa.ChunkedArray) -> pa.Array:
    return pa.array(
        [json_text(*value) for value in zip(written.to_pylist(), kinds.to_pylist(), strict=True)], pa.string()
    )


_WORDS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r'Referenced column "([^"]+)" was not found', lambda m: f"Unrecognized name: {m[1]}"),
    (r'Referenced column "([^"]+)" not found', lambda m: f"Unrecognized name: {m[1]}"),
    (r'Referenced table "([^"]+)" not found', lambda m: f"Unrecognized name: {m[1]}"),
    (r'list "([^"]+)" does not have a column named "([^"]+)"', lambda m: f"Name {m[2]} not found inside {m[1]}"),
    (r'Column "([^"]+)" (?:referenced|not found|in EXCLUDE)', lambda m: f"Unrecognized name: {m[1]}"),
    (r"Column with name (\S+) does not exist", lambda m: f"Unrecognized name: {m[1]}"),
    (r'Could not find key "([^"]+)" in struct', lambda m: f"Field name {m[1]} does not exist in STRUCT"),
    (r"Function with name (\S+) does not exist", lambda m: f"Function not found: {m[1].strip(chr(34))}"),
    (r'Ambiguous reference to column name "([^"]+)"', lambda m: f"Column name {m[1]} is ambiguous"),
    (
        r'column "([^"]+)" must appear in the GROUP BY',
        lambda m: f"SELECT list expression references column {m[1]} which is neither grouped nor aggregated",
    ),
    (r"No function matches the given name and argument types '(\w+)\((.*?)\)'", lambda m: _no_signature(m[1], m[2])),
    (r'best candidate function for the function call "(.+?)\((.*?)\)"', lambda m: _no_signature(m[1], m[2])),
    (r'invalid (date|timestamp|time) field format: "(.*?)"', lambda m: f"Invalid {m[1]}: '{m[2]}'"),
    (r"Division by zero in expression \((.*?)\)\.", lambda m: f"division by zero: {m[1]}"),
    (r"Overflow in \w+ of INT(?:32|64) \((.*?)\)", lambda m: f"int64 overflow: {m[1]}"),
    (r"Malformed JSON at byte (\d+) of input: (.*?)\.", lambda m: f"syntax error while parsing JSON at {m[1]}: {m[2]}"),
    (r"Could not convert string '(.*?)' to (\w+)", lambda m: f"Bad {m[2].lower()} value: {m[1]}"),
    (
        r"cannot affect the same target row more than once",
        lambda _: "UPDATE/MERGE must match at most one source row for each target row",
    ),
    (r"More than one row returned by a subquery", lambda _: "Scalar subquery produced more than one element"),
    (r"Cannot compare values of type (\S+) and type (\S+)", lambda m: f"No matching signature for {m[1]}, {m[2]}"),
)


def _no_signature(name: str, types: str) -> str:
    return f"No matching signature for function {name.upper()} for argument types: {types}"
