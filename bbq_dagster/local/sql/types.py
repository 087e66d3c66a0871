"""The three spellings of a type: REST field, BigQuery SQL (``ARRAY<STRUCT<a INT64>>``), and DuckDB.

Within SQL a BIGNUMERIC has 38 digits, 18 of them after the point; DuckDB has no wider decimal.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType
from sqlglot import exp

from bbq_dagster.local.errors import invalid_query, not_implemented
from bbq_dagster.local.schema import Field, Fields, is_repeated, type_name

_SQL_NAMES: Mapping[str, str] = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}

_DUCKDB_NAMES: Mapping[str, str] = {
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATE": "DATE",
    "TIME": "TIME",
    "DATETIME": "TIMESTAMP",
    "INTERVAL": "INTERVAL",
    "NUMERIC": "DECIMAL(38, 9)",
    "BIGNUMERIC": "DECIMAL(38, 18)",
    "JSON": "JSON",
    "GEOGRAPHY": "VARCHAR",
}

_REST_NAMES: Mapping[str, str] = {
    "boolean": "BOOLEAN",
    "tinyint": "INTEGER",
    "smallint": "INTEGER",
    "integer": "INTEGER",
    "bigint": "INTEGER",
    "hugeint": "INTEGER",
    "utinyint": "INTEGER",
    "usmallint": "INTEGER",
    "uinteger": "INTEGER",
    "ubigint": "INTEGER",
    "uhugeint": "INTEGER",
    "bignum": "INTEGER",
    "integer literal": "INTEGER",
    "float": "FLOAT",
    "double": "FLOAT",
    "varchar": "STRING",
    "string literal": "STRING",
    "char": "STRING",
    "enum": "STRING",
    "uuid": "STRING",
    "json": "JSON",
    "blob": "BYTES",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "DATETIME",
    "timestamp_s": "DATETIME",
    "timestamp_ms": "DATETIME",
    "timestamp_ns": "DATETIME",
    "timestamp with time zone": "TIMESTAMP",
    "interval": "INTERVAL",
    "null": "INTEGER",
}

_OF_SQL: Mapping[exp.DType, str] = {
    exp.DType.BIGINT: "INTEGER",
    exp.DType.INT: "INTEGER",
    exp.DType.SMALLINT: "INTEGER",
    exp.DType.TINYINT: "INTEGER",
    exp.DType.DOUBLE: "FLOAT",
    exp.DType.FLOAT: "FLOAT",
    exp.DType.BOOLEAN: "BOOLEAN",
    exp.DType.TEXT: "STRING",
    exp.DType.VARCHAR: "STRING",
    exp.DType.BINARY: "BYTES",
    exp.DType.VARBINARY: "BYTES",
    exp.DType.DATE: "DATE",
    exp.DType.TIME: "TIME",
    exp.DType.DATETIME: "DATETIME",
    exp.DType.TIMESTAMP: "DATETIME",
    exp.DType.TIMESTAMPTZ: "TIMESTAMP",
    exp.DType.INTERVAL: "INTERVAL",
    exp.DType.DECIMAL: "NUMERIC",
    exp.DType.BIGDECIMAL: "BIGNUMERIC",
    exp.DType.JSON: "JSON",
    exp.DType.GEOGRAPHY: "GEOGRAPHY",
}


def duckdb_type(field: Field) -> str:
    """The DuckDB type that holds a field's values."""
    return _nested(field, _duckdb_scalar, "{}[]", lambda parts: f"STRUCT({', '.join(parts)})", '"{}" {}')


def sql_type(field: Field) -> str:
    """The field's type as INFORMATION_SCHEMA and DDL print it."""
    return _struct_sql_type(field) if "fields" in field else _flat_sql_type(*map(field.get, _FLAT_KEYS))


def _struct_sql_type(field: Field) -> str:
    return _nested(field, _sql_scalar, "ARRAY<{}>", lambda parts: f"STRUCT<{', '.join(parts)}>", "{} {}")


# A thousand tables have the same few types: they are put into words once.
_FLAT_KEYS = ("type", "mode", "maxLength", "precision", "scale")


@lru_cache(maxsize=1024)
def _flat_sql_type(*described: str | None) -> str:
    return _struct_sql_type(dict(zip(_FLAT_KEYS, described, strict=True)))


def result_field(name: str, kind: DuckDBPyType) -> dict[str, Any]:
    """The REST field of a result column."""
    inner: list[Any] = kind.children if kind.id in ("list", "array", "struct") else []
    if kind.id in ("list", "array"):
        return result_field(name, inner[0][1]) | {"mode": "REPEATED"}
    if kind.id == "struct":
        children = [result_field(child, of) for child, of in inner]
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": children}
    return {"name": name, "type": _result_type(kind), "mode": "NULLABLE"}


def field_of(name: str, kind: exp.DataType) -> dict[str, Any]:
    """The REST field of a column declared in SQL."""
    if kind.this == exp.DType.ARRAY:
        return field_of(name, kind.expressions[0]) | {"mode": "REPEATED"}
    if kind.this == exp.DType.STRUCT:
        children = [field_of(part.name, part.args["kind"]) for part in kind.expressions]
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": children}
    if kind.this == exp.DType.RANGE:
        raise not_implemented("the type RANGE")
    if kind.this not in _OF_SQL:
        raise invalid_query(f"Type not found: {kind.sql('bigquery')}")
    return {"name": name, "type": _OF_SQL[kind.this], "mode": "NULLABLE"} | _parameters(_OF_SQL[kind.this], kind)


def data_type(kind: str) -> exp.DataType:
    """A BigQuery type by its SQL text."""
    return exp.DataType.build(kind, dialect="bigquery")


def cast_by_place(text: str, kind: DuckDBPyType, field: Field) -> str:
    """A value of this DuckDB type as the field's: structs are converted field by field, by place and not by name."""
    inner: list[Any] = kind.children if kind.id in ("list", "array", "struct") else []
    if type_name(field) != "RECORD" or not inner:
        return f"CAST({text} AS {duckdb_type(field)})"
    if is_repeated(field):
        element = {**field, "mode": "NULLABLE"}
        return f"LIST_TRANSFORM({text}, LAMBDA e: {cast_by_place('e', inner[0][1], element)})"
    fields = field.get("fields", ())
    if len(inner) != len(fields):
        raise invalid_query(f"A struct of {len(inner)} fields cannot be assigned to {field['name']} of {len(fields)}")
    parts = [
        f'"{child["name"]}" := {cast_by_place(f"STRUCT_EXTRACT_AT({text}, {place})", of, child)}'
        for place, ((_, of), child) in enumerate(zip(inner, fields, strict=True), 1)
    ]
    return f"CASE WHEN {text} IS NULL THEN NULL ELSE STRUCT_PACK({', '.join(parts)}) END"


def needs_cast(field: Field) -> bool:
    """Whether DuckDB would take the field's Arrow values for another type."""
    if type_name(field) == "RECORD":
        return any(needs_cast(child) for child in field.get("fields", ()))
    return type_name(field) in ("JSON", "BIGNUMERIC")


def for_duckdb(rows: pa.Table, fields: Fields) -> pa.Table:
    """The rows with decimals in a width that DuckDB reads; refused where a value does not fit."""
    for index, field in enumerate(fields):
        if type_name(field) == "BIGNUMERIC" and not is_repeated(field):
            try:
                rows = rows.set_column(index, field["name"], rows.column(index).cast(pa.decimal128(38, 18)))
            except pa.ArrowInvalid as error:
                raise not_implemented("BIGNUMERIC values of more than 38 digits in SQL") from error
    return rows


def _nested(
    field: Field, scalar: Callable[[Field], str], array: str, struct: Callable[[Sequence[str]], str], part: str
) -> str:
    if is_repeated(field):
        return array.format(_nested({**field, "mode": "NULLABLE"}, scalar, array, struct, part))
    if type_name(field) == "RECORD":
        children = field.get("fields", ())
        return struct([part.format(f["name"], _nested(f, scalar, array, struct, part)) for f in children])
    return scalar(field)


def _duckdb_scalar(field: Field) -> str:
    return _DUCKDB_NAMES[type_name(field)]


def _sql_scalar(field: Field) -> str:
    name = _SQL_NAMES.get(type_name(field), type_name(field))
    if field.get("maxLength"):
        return f"{name}({field['maxLength']})"
    if field.get("precision"):
        return f"{name}({field['precision']}{', ' + str(field['scale']) if field.get('scale') else ''})"
    return name


def _parameters(name: str, kind: exp.DataType) -> dict[str, str]:
    values = [parameter.name for parameter in kind.expressions]
    if name in ("STRING", "BYTES"):
        return dict(zip(["maxLength"], values, strict=False))
    return dict(zip(["precision", "scale"], values, strict=False)) if "NUMERIC" in name else {}


def _result_type(kind: DuckDBPyType) -> str:
    if str(kind) == "JSON":
        return "JSON"
    if kind.id == "decimal":
        parts: dict[str, Any] = dict(kind.children)
        precision, scale = parts["precision"], parts["scale"]
        return "BIGNUMERIC" if scale > 9 or precision - scale > 29 else "NUMERIC"
    if kind.id not in _REST_NAMES:
        raise not_implemented(f"results of type {kind}")
    return _REST_NAMES[kind.id]
