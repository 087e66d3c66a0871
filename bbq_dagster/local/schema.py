"""REST schemas and Arrow: types, conformity of rows to a schema, and BigQuery's logical sizes.

A REST schema (the ``fields`` list of a table's schema) is the authority; the Arrow schema follows from it.
Sizes: https://cloud.google.com/bigquery/pricing#data (data size calculation).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bbq_dagster.local.errors import invalid, not_implemented

Field = Mapping[str, Any]
Fields = Sequence[Field]

_CANONICAL: Mapping[str, str] = {
    "INT64": "INTEGER",
    "FLOAT64": "FLOAT",
    "BOOL": "BOOLEAN",
    "STRUCT": "RECORD",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
}

_ARROW: Mapping[str, pa.DataType] = {
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
    "INTERVAL": pa.month_day_nano_interval(),
    "JSON": pa.string(),
    "GEOGRAPHY": pa.string(),
}

_NOT_MODELLED = ("RANGE", "FOREIGN")

_FIXED_BYTES: Mapping[str, int] = {
    "INTEGER": 8,
    "FLOAT": 8,
    "BOOLEAN": 1,
    "TIMESTAMP": 8,
    "DATE": 8,
    "TIME": 8,
    "DATETIME": 8,
    "INTERVAL": 16,
    "NUMERIC": 16,
    "BIGNUMERIC": 32,
}

# The bytes BigQuery counts besides the text itself.
_TEXT_OVERHEAD: Mapping[str, int] = {"STRING": 2, "BYTES": 2, "JSON": 0, "GEOGRAPHY": 0}


def type_name(field: Field) -> str:
    """The REST name of the field's type: INT64 is INTEGER, STRUCT is RECORD."""
    name = str(field["type"]).upper()
    return _CANONICAL.get(name, name)


def is_repeated(field: Field) -> bool:
    return str(field.get("mode", "")).upper() == "REPEATED"


def is_required(field: Field) -> bool:
    return str(field.get("mode", "")).upper() == "REQUIRED"


def arrow_type(field: Field) -> pa.DataType:
    element = _element_type(field)
    return pa.list_(element) if is_repeated(field) else element


def arrow_schema(fields: Fields) -> pa.Schema:
    return pa.schema([pa.field(f["name"], arrow_type(f)) for f in fields])


def rest_fields(schema: pa.Schema) -> list[dict[str, Any]]:
    """The REST fields of an Arrow schema, all NULLABLE or REPEATED. JSON and GEOGRAPHY come back as STRING."""
    return [_rest_field(f) for f in schema]


def normalized(fields: Fields) -> list[dict[str, Any]]:
    """The fields as BigQuery gives them back: canonical types and a mode on each. Refuses what is malformed."""
    seen: set[str] = set()
    answer = []
    for field in fields:
        if not isinstance(field, Mapping) or not field.get("name") or not field.get("type"):
            raise invalid("Schema field shouldn't have an empty name or type")
        if field["name"].lower() in seen:
            raise invalid(f"Field {field['name']} already exists in schema")
        seen.add(field["name"].lower())
        answer.append(_normalized_field(field))
    return answer


def conform(rows: pa.Table, fields: Fields) -> pa.Table:
    """The rows under these fields: columns in their order, missing ones NULL, values cast where the type is another."""
    return conform_to(arrow_schema(fields), rows)


def conform_to(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    """The same, for many parts of one table: making the schema takes longer than finding that it is the same."""
    if rows.schema.equals(schema):
        return rows
    names = {name.lower(): index for index, name in enumerate(rows.schema.names)}
    columns = [_conform_column(rows, names.get(field.name.lower()), field) for field in schema]
    if not columns:
        return rows.select([])
    return pa.Table.from_arrays(columns, schema=schema)


def empty_rows(fields: Fields) -> pa.Table:
    return arrow_schema(fields).empty_table()


def logical_bytes(rows: pa.Table, fields: Fields) -> int:
    """The size of the rows by BigQuery's rules; the rows conform to the fields."""
    return sum(_column_bytes(chunk, field) for field in fields for chunk in rows.column(field["name"]).chunks)


def _element_type(field: Field) -> pa.DataType:
    name = type_name(field)
    if name == "RECORD":
        return pa.struct([pa.field(f["name"], arrow_type(f)) for f in field.get("fields", ())])
    if name in _NOT_MODELLED:
        raise not_implemented(f"columns of type {name}")
    if name not in _ARROW:
        raise invalid(f"Invalid value for type: {name} is not a valid value")
    return _ARROW[name]


def _rest_field(field: pa.Field) -> dict[str, Any]:
    if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
        return _rest_field(pa.field(field.name, field.type.value_type)) | {"mode": "REPEATED"}
    if pa.types.is_struct(field.type):
        children = [_rest_field(field.type.field(i)) for i in range(field.type.num_fields)]
        return {"name": field.name, "type": "RECORD", "mode": "NULLABLE", "fields": children}
    return {"name": field.name, "type": _rest_type(field.type), "mode": "NULLABLE"}


def _rest_type(kind: pa.DataType) -> str:
    for applies, name in _REST_TYPES:
        if applies(kind):
            return name
    raise not_implemented(f"Arrow type {kind}")


def _is_bignumeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind)) and (kind.scale > 9 or kind.precision - kind.scale > 29)


_REST_TYPES = (
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_integer, "INTEGER"),
    (pa.types.is_floating, "FLOAT"),
    (_is_bignumeric, "BIGNUMERIC"),
    (pa.types.is_decimal, "NUMERIC"),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), "STRING"),
    (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "BYTES"),
    (pa.types.is_date, "DATE"),
    (pa.types.is_time, "TIME"),
    (lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None, "TIMESTAMP"),
    (pa.types.is_timestamp, "DATETIME"),
    (pa.types.is_interval, "INTERVAL"),
    (pa.types.is_null, "STRING"),
)


def _normalized_field(field: Field) -> dict[str, Any]:
    answer = dict(field) | {"type": type_name(field), "mode": str(field.get("mode") or "NULLABLE").upper()}
    if answer["mode"] not in ("NULLABLE", "REQUIRED", "REPEATED"):
        raise invalid(f"Invalid field mode: {field['mode']}. Field: {field['name']}")
    if not (answer.get("policyTags") or {}).get("names"):
        answer.pop("policyTags", None)
    if answer["type"] == "RECORD":
        if not field.get("fields"):
            raise invalid(f"Field {field['name']} is type RECORD but has no schema")
        answer["fields"] = normalized(field["fields"])
    arrow_type(answer)
    return answer


def _conform_column(rows: pa.Table, index: int | None, field: pa.Field) -> pa.ChunkedArray:
    if index is None:
        return pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
    column = rows.column(index)
    return column if column.type.equals(field.type) else _cast(column, field)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        return pc.cast(column, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise invalid(f"Cannot convert value of field {field.name} to {field.type}: {error}") from error


def _column_bytes(values: pa.Array, field: Field) -> int:
    if is_repeated(field):
        return _value_bytes(values.flatten(), field)
    return _value_bytes(values, field)


def _value_bytes(values: pa.Array, field: Field) -> int:
    name = type_name(field)
    if name == "RECORD":
        return sum(_column_bytes(child, f) for child, f in zip(values.flatten(), field["fields"], strict=True))
    present: int = len(values) - values.null_count
    if name in _FIXED_BYTES:
        return _FIXED_BYTES[name] * present
    return _TEXT_OVERHEAD[name] * present + int(pc.sum(pc.binary_length(values)).as_py() or 0)
