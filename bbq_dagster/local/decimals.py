"""Which type a decimal column of a file gets, of NUMERIC, BIGNUMERIC and STRING: the first wide enough.

REST JobConfigurationLoad, ``decimalTargetTypes``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bbq_dagster.local.errors import invalid
from bbq_dagster.local.model import rest_fields
from bbq_dagster.local.schema import Field

_DEFAULT: Mapping[str, tuple[str, ...]] = {"ORC": ("NUMERIC", "STRING")}
# What holds a decimal: digits before the point, and behind it.
_WIDTHS = {"NUMERIC": (29, 9), "BIGNUMERIC": (38, 38), "STRING": (10_000, 10_000)}


def wanted_types(configuration: Mapping[str, Any]) -> Sequence[str]:
    """The types that a load job allows, narrowest first; the order in which it names them does not count."""
    given = [str(name).upper() for name in configuration.get("decimalTargetTypes") or ()]
    if len(set(given)) < len(given):
        raise invalid("Invalid value for decimalTargetTypes: it contains duplicate types", "decimalTargetTypes")
    default = _DEFAULT.get(str(configuration.get("sourceFormat")).upper(), ("NUMERIC",))
    return [name for name in _WIDTHS if name in (given or default)]


def type_for(precision: int, scale: int, wanted: Sequence[str]) -> str:
    """If none is wide enough, the widest: values that it cannot hold are errors."""
    fits = (n for n in wanted if precision - scale <= _WIDTHS[n][0] and scale <= _WIDTHS[n][1])
    return next(fits, wanted[-1])


def fields_with_decimals(schema: pa.Schema, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """The REST fields of a file's schema, its decimals being what is wanted."""
    return [_field(arrow.type, field, wanted) for arrow, field in zip(schema, rest_fields(schema), strict=True)]


def check_decimals(rows: pa.Table, fields: Sequence[Field]) -> None:
    """Refuse values that the column of the same name cannot hold."""
    for field in fields:
        if field["type"] in ("NUMERIC", "BIGNUMERIC") and field["name"] in rows.column_names:
            _check_column(rows.column(field["name"]), field)


def _field(kind: pa.DataType, field: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _field(kind.value_type, field, wanted)
    if pa.types.is_struct(kind):
        children = zip((kind.field(i).type for i in range(kind.num_fields)), field["fields"], strict=True)
        return {**field, "fields": [_field(inner, child, wanted) for inner, child in children]}
    return {**field, "type": type_for(kind.precision, kind.scale, wanted)} if pa.types.is_decimal(kind) else field


def _check_column(column: pa.ChunkedArray, field: Field) -> None:
    if not pa.types.is_decimal(column.type):
        return
    kind = pa.decimal128(38, 9) if field["type"] == "NUMERIC" else pa.decimal256(76, 38)
    try:
        pc.cast(column, kind)
    except pa.ArrowInvalid as error:
        words = f"a value of field {field['name']} is out of valid {field['type']} range"
        raise invalid(f"Error while reading data, error message: {words}") from error
