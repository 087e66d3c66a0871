"""Query parameters: REST ``queryParameters`` as typed values for DuckDB.

https://cloud.google.com/bigquery/docs/reference/rest/v2/QueryParameter
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from bbq_dagster.local.errors import invalid_query, not_implemented
from bbq_dagster.local.sql.types import data_type, duckdb_type, field_of

Values = dict[str, Any]
_NO_VARIABLES: Mapping[str, "Variable"] = {}


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a script: its DuckDB type and value."""

    kind: str
    value: Any


def bind(
    statement: exp.Expr, parameters: Sequence[Mapping[str, Any]], variables: Mapping[str, Variable] = _NO_VARIABLES
) -> Values:
    """Put a typed DuckDB parameter in place of each ``@name``, ``?`` and variable; gives their values by name.

    ``variables`` are those of a script, by name in lower case.
    """
    names = {str(p.get("name", "")).lower(): i for i, p in enumerate(parameters) if p.get("name")}
    values: Values = {}
    _refuse_system_variables(statement)
    for node in list(statement.find_all(exp.Parameter)):
        _bind_one(node, names.get(node.name.lower()), parameters, values, node.name)
    for position, mark in enumerate(list(statement.find_all(exp.Placeholder, bfs=False))):
        _bind_one(mark, position if position < len(parameters) else None, parameters, values, None)
    for column in list(statement.find_all(exp.Column)) if variables else ():
        variable = variables.get(column.name.lower()) if not column.table else None
        if variable is not None:
            values[f"v_{column.name.lower()}"] = variable.value
            column.replace(_reference(f"v_{column.name.lower()}", variable.kind))
    return values


def field_of_parameter(name: str, kind: Mapping[str, Any]) -> dict[str, Any]:
    """A REST ``parameterType`` as a field."""
    name_of_type = str(kind.get("type", "STRING")).upper()
    if name_of_type == "ARRAY":
        return field_of_parameter(name, kind["arrayType"]) | {"mode": "REPEATED"}
    if name_of_type in ("STRUCT", "RECORD"):
        children = [field_of_parameter(part.get("name", ""), part["type"]) for part in kind["structTypes"]]
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": children}
    return field_of(name, data_type(name_of_type))


def _bind_one(
    node: exp.Expr, index: int | None, parameters: Sequence[Mapping[str, Any]], values: Values, name: str | None
) -> None:
    if index is None:
        raise invalid_query(_TOO_FEW if name is None else f"Query parameter '{name}' not found")
    parameter = parameters[index]
    field = field_of_parameter("", parameter.get("parameterType") or {})
    values[f"p{index}"] = _value(field, parameter.get("parameterValue") or {})
    node.replace(_reference(f"p{index}", duckdb_type(field)))


def _reference(name: str, kind: str) -> exp.Expr:
    return exp.Cast(this=exp.Parameter(this=exp.Var(this=name)), to=exp.DataType.build(kind, dialect="duckdb"))


_TOO_FEW = "Number of positional parameters is smaller than the number of ? in the query"


def _value(field: Mapping[str, Any], value: Mapping[str, Any]) -> Any:
    """Text, lists and dicts of text; DuckDB casts them to the declared type. Only BYTES are decoded here."""
    if field.get("mode") == "REPEATED":
        element = {**field, "mode": "NULLABLE"}
        return [_value(element, item) for item in value.get("arrayValues") or ()]
    if field["type"] == "RECORD":
        values = value.get("structValues") or {}
        return {child["name"]: _value(child, values.get(child["name"]) or {}) for child in field["fields"]}
    text = value.get("value")
    return base64.b64decode(text) if field["type"] == "BYTES" and text is not None else text


def _refuse_system_variables(statement: exp.Expr) -> None:
    for node in statement.find_all(exp.Parameter):
        if isinstance(node.this, exp.Parameter):
            raise not_implemented(f"the system variable @@{node.this.name}")


def used_in(text: str, values: Values) -> Values | None:
    """Those values that a text for DuckDB refers to, which refuses any others."""
    return {name: value for name, value in values.items() if f"${name}" in text} or None
