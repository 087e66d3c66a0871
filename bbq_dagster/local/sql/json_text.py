"""The text that TO_JSON_STRING gives, made from DuckDB's JSON of a value and the name of its type.

https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#json_encodings. Both are needed: DuckDB's
JSON does not tell a TIMESTAMP from a STRING, and the type is known only where the query runs.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring as _string
from typing import Any

import duckdb
from duckdb.sqltypes import DuckDBPyType

Writer = Callable[[Any], str]
Reader = Callable[[str], Any]

_EXACT = 2**53
_any = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def json_text(written: str | None, kind: str) -> str:
    """The text of a value, of DuckDB's JSON for it (None for NULL) and its type as ``typeof`` names it."""
    if written is None:
        return "null"
    read, write = _codec(kind)
    return write(read(written))


class _Written(float):
    """A number that remembers its digits, of which a NUMERIC has more than a float holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


_exact_reader = json.JSONDecoder(parse_float=_Written).decode
_reader = json.JSONDecoder().decode


@lru_cache(maxsize=1024)
def _codec(kind: str) -> tuple[Reader, Writer]:
    return _exact_reader if "DECIMAL" in kind else _reader, _writer(duckdb.sqltype(kind))


def _writer(kind: DuckDBPyType) -> Writer:
    """How values of a type are written. Nulls are handled where they are met: a call for each would cost the most."""
    inner: list[Any] = kind.children if kind.id in ("list", "array", "struct") else []
    if kind.id in ("list", "array"):
        return _list_writer(_writer(inner[0][1]))
    if kind.id == "struct":
        named = enumerate(inner, 1)
        return _struct_writer([(name, f"{_string(_shown(name, place))}:", _writer(of)) for place, (name, of) in named])
    return _any if str(kind) == "JSON" else _WRITERS.get(kind.id, _any)


def _shown(name: str, place: int) -> str:
    """A field without a name, which ``dialect`` numbers, is shown as ``""`` (json_functions#json_encodings)."""
    return "" if name == f"_field_{place}" else name


def _list_writer(element: Writer) -> Writer:
    return lambda values: f"[{','.join(['null' if v is None else element(v) for v in values])}]"


def _struct_writer(children: Sequence[tuple[str, str, Writer]]) -> Writer:
    def write_struct(value: Mapping[str, Any]) -> str:
        texts = [key + ("null" if (v := value[name]) is None else write(v)) for name, key, write in children]
        return f"{{{','.join(texts)}}}"

    return write_struct


def _integer(value: int) -> str:
    """Beyond what a double holds exactly, as a string."""
    return str(value) if -_EXACT <= value <= _EXACT else f'"{value}"'


def _float(value: float) -> str:
    if not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    short = f"{value:.15g}"
    return short if float(short) == value else f"{value:.17g}"


def _decimal(value: int | _Written) -> str:
    """A number if it is whole and a double holds it exactly, else a string."""
    text = str(value) if isinstance(value, int) else value.text.rstrip("0").rstrip(".")
    return f'"{text}"' if "." in text else _integer(int(text))


def _timestamp(value: str) -> str:
    return f'"{_day_and_clock(value.removesuffix("+00"))}Z"'


def _datetime(value: str) -> str:
    return f'"{_day_and_clock(value)}"'


def _day_and_clock(text: str) -> str:
    day, _, clock = text.partition(" ")
    return f"{day}T{_clock(clock)}"


def _clock(text: str) -> str:
    """With a fraction of 0, 3 or 6 digits."""
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(3 if len(fraction) <= 3 else 6, '0')}" if fraction else whole


def _bytes(value: str) -> str:
    """DuckDB writes bytes that are no letters as ``\\x0A``."""
    raw = re.sub(r"\\x([0-9A-F]{2})", lambda byte: chr(int(byte[1], 16)), value).encode("latin-1")
    return f'"{base64.b64encode(raw).decode()}"'


_WHOLE_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint")
_WRITERS: Mapping[str, Writer] = {
    **dict.fromkeys(_WHOLE_NUMBERS, _integer),
    "float": _float,
    "double": _float,
    "decimal": _decimal,
    "varchar": _string,
    "date": _string,
    "timestamp with time zone": _timestamp,
    "timestamp": _datetime,
    "time": lambda value: f'"{_clock(value)}"',
    "blob": _bytes,
}
