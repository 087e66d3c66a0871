"""Avro files: their schema as columns and back, and the rows in them.

Sources: loading-data-cloud-storage-avro (conversions) and exporting-data (Avro export details). Without
``useAvroLogicalTypes`` a file's values are read as the bare types that hold them, and dates and times are written as
texts that name their type.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import fastavro
import pyarrow as pa

from bbq_dagster.local.decimals import type_for
from bbq_dagster.local.errors import invalid, not_implemented
from bbq_dagster.local.schema import Field, Fields, arrow_schema, is_repeated, is_required, type_name

_PLAIN = {
    "boolean": "BOOLEAN",
    "int": "INTEGER",
    "long": "INTEGER",
    "float": "FLOAT",
    "double": "FLOAT",
    "bytes": "BYTES",
    "string": "STRING",
    "enum": "STRING",
    "fixed": "BYTES",
}
_LOGICAL = {
    "date": "DATE",
    "time-millis": "TIME",
    "time-micros": "TIME",
    "timestamp-millis": "TIMESTAMP",
    "timestamp-micros": "TIMESTAMP",
    "local-timestamp-millis": "DATETIME",
    "local-timestamp-micros": "DATETIME",
    "datetime": "DATETIME",
    "uuid": "STRING",
}
_CODECS = {"NONE": "null", "DEFLATE": "deflate", "SNAPPY": "snappy"}
_NUMERIC = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9}
_BIGNUMERIC = {"type": "bytes", "logicalType": "decimal", "precision": 77, "scale": 38}
# How columns are written: with logical types, and without.
_WRITTEN: Mapping[str, tuple[Any, Any]] = {
    "STRING": ("string", "string"),
    "BYTES": ("bytes", "bytes"),
    "INTEGER": ("long", "long"),
    "FLOAT": ("double", "double"),
    "BOOLEAN": ("boolean", "boolean"),
    "NUMERIC": (_NUMERIC, _NUMERIC),
    "BIGNUMERIC": (_BIGNUMERIC, _BIGNUMERIC),
    "TIMESTAMP": ({"type": "long", "logicalType": "timestamp-micros"},) * 2,
    "DATE": ({"type": "int", "logicalType": "date"}, {"type": "string", "sqlType": "DATE"}),
    "TIME": ({"type": "long", "logicalType": "time-micros"}, {"type": "string", "sqlType": "TIME"}),
    "DATETIME": ({"type": "string", "logicalType": "datetime"}, {"type": "string", "sqlType": "DATETIME"}),
    "JSON": ({"type": "string", "sqlType": "JSON"},) * 2,
    "GEOGRAPHY": ({"type": "string", "sqlType": "GEOGRAPHY"},) * 2,
}


def read_avro(content: bytes, *, logical: bool, decimals: Sequence[str]) -> tuple[Fields, pa.Table]:
    """The columns of an Avro file and its rows. Raises ``invalid`` for what is none.

    Args:
        logical: Whether logical types make DATE, TIMESTAMP, NUMERIC, ... of what holds them.
        decimals: The types that decimals may get, narrowest first.
    """
    try:
        records: Any = fastavro.reader(io.BytesIO(content if logical else _without_logical_types(content)))
        fields = _Columns(logical, decimals).of(records.writer_schema)
        rows = [{field["name"]: _value(field, record[field["name"]]) for field in fields} for record in records]
    except ModuleNotFoundError as error:
        raise not_implemented("this codec of Avro files") from error
    except (ValueError, EOFError, KeyError, IndexError, TypeError) as error:
        raise invalid(f"Error while reading data, error message: The Apache Avro library failed: {error}") from error
    return fields, pa.Table.from_pylist(rows, arrow_schema(fields))


def write_avro(fields: Fields, rows: pa.Table, *, logical: bool, compression: str) -> bytes:
    if compression not in _CODECS:
        raise invalid(f"Compression {compression} is not supported for AVRO")
    content = io.BytesIO()
    schema = fastavro.parse_schema(_record("Root", fields, 0 if logical else 1))
    encoded = [_encoded_record(fields, row, logical) for row in rows.to_pylist()]
    fastavro.writer(content, schema, encoded, codec=_CODECS[compression])
    return content.getvalue()


def _without_logical_types(content: bytes) -> bytes:
    """The file with the word unsaid in its header: who reads an Avro schema passes over names that he does not know."""
    schema = fastavro.reader(io.BytesIO(content)).metadata["avro.schema"].encode()
    return content.replace(schema, schema.replace(b'"logicalType"', b'"logicalTyp_"'), 1)


class _Columns:
    """The columns of a schema; named types may be used again by their name."""

    def __init__(self, logical: bool, decimals: Sequence[str]) -> None:
        self._logical, self._decimals = logical, decimals
        self._named: dict[str, Any] = {}

    def of(self, schema: Any) -> list[dict[str, Any]]:
        if not isinstance(schema, Mapping) or schema.get("type") != "record":
            raise invalid("Error while reading data, error message: the Avro schema is not a record")
        return [self._field(field["name"], field["type"]) for field in schema["fields"]]

    def _field(self, name: str, kind: Any) -> dict[str, Any]:
        kind = self._named.get(kind, kind) if isinstance(kind, str) else kind
        if isinstance(kind, list):
            return self._union(name, kind)
        full = {"type": kind} if isinstance(kind, str) else kind
        if "name" in full:
            self._named[full["name"]] = full
        if isinstance(full["type"], (list, Mapping)):
            return self._field(name, full["type"])
        if full["type"] == "array":
            return self._repeated(name, full["items"])
        if full["type"] == "map":
            pair = [self._field("key", "string"), self._field("value", full["values"])]
            return {"name": name, "type": "RECORD", "mode": "REPEATED", "fields": pair}
        if full["type"] == "record":
            return {"name": name, "type": "RECORD", "mode": "REQUIRED", "fields": self.of(full)}
        return {"name": name, "type": self._type(full), "mode": "REQUIRED"}

    def _union(self, name: str, kinds: Sequence[Any]) -> dict[str, Any]:
        present = [kind for kind in kinds if kind != "null"]
        if len(present) != 1:
            raise not_implemented(f"Avro unions of several types (field {name})")
        field = self._field(name, present[0])
        return field if is_repeated(field) or len(present) == len(kinds) else {**field, "mode": "NULLABLE"}

    def _repeated(self, name: str, items: Any) -> dict[str, Any]:
        field = self._field(name, items)
        if is_repeated(field):
            raise invalid(f"Error while reading data, error message: field {name} is an array of arrays")
        return {**field, "mode": "REPEATED"}

    def _type(self, kind: Mapping[str, Any]) -> str:
        logical = kind.get("logicalType") if self._logical else None
        if logical == "decimal":
            return type_for(int(kind["precision"]), int(kind.get("scale", 0)), self._decimals)
        if logical in _LOGICAL:
            return _LOGICAL[logical]
        if kind["type"] not in _PLAIN:
            raise not_implemented(f"Avro type {kind['type']}")
        return _PLAIN[kind["type"]]


def _value(field: Field, value: Any) -> Any:
    """A value as Arrow takes it: a map as pairs, a text as the DATETIME that it is."""
    if value is None:
        return None
    if is_repeated(field):
        items = [{"key": k, "value": v} for k, v in value.items()] if isinstance(value, Mapping) else value
        return [_value({**field, "mode": "NULLABLE"}, item) for item in items]
    if type_name(field) == "RECORD":
        return {inner["name"]: _value(inner, value[inner["name"]]) for inner in field["fields"]}
    if type_name(field) == "DATETIME" and isinstance(value, str):
        return datetime.fromisoformat(value)
    return str(value) if type_name(field) == "STRING" else value


def _record(name: str, fields: Fields, column: int) -> dict[str, Any]:
    written = [{"name": field["name"], "type": _written(name, field, column)} for field in fields]
    return {"type": "record", "name": name, "fields": written}


def _written(parent: str, field: Field, column: int) -> Any:
    kind = type_name(field)
    if kind not in _WRITTEN and kind != "RECORD":
        raise not_implemented(f"columns of type {kind} in Avro files")
    inner = (
        _record(f"{parent}_{field['name']}", field["fields"], column) if kind == "RECORD" else _WRITTEN[kind][column]
    )
    if is_repeated(field):
        return {"type": "array", "items": inner}
    return inner if is_required(field) else ["null", inner]


def _encoded_record(fields: Fields, row: Mapping[str, Any], logical: bool) -> dict[str, Any]:
    return {field["name"]: _encoded(field, row[field["name"]], logical) for field in fields}


def _encoded(field: Field, value: Any, logical: bool) -> Any:
    if is_repeated(field):
        return [_encoded({**field, "mode": "NULLABLE"}, item, logical) for item in value or ()]
    if value is None:
        return None
    if type_name(field) == "RECORD":
        return _encoded_record(field["fields"], value, logical)
    if type_name(field) == "DATETIME" or (not logical and isinstance(value, (date, time)) and not _is_instant(value)):
        return value.isoformat()
    return value


def _is_instant(value: date | time) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None
