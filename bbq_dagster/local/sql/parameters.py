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
    statement: exp.Expr,
    parameters: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Variable] = _NO_VARIABLES,
    given: Sequence[tuple[str, Variable]] = (),
) -> Values:
    """Put a typed DuckDB parameter in place of each ``@name``, ``?`` and variable; gives their values by name.

    ``variables`` are those of a script, by name in lower case; ``given`` are parameters of EXECUTE IMMEDIATE.
    """
    values: Values = {}
    named = [node for node in statement.find_all(exp.Parameter) if not isinstance(node.parent, exp.Parameter)]
    marks = list(statement.find_all(exp.Placeholder, bfs=False))
    sources = _Sources(parameters, variables, given)
    for node in named:
        _bind_named(node, sources, values)
    for position, mark in enumerate(marks):
        _bind_marked(mark, position, sources, values)
    for column in list(statement.find_all(exp.Column)) if variables else ():
        _bind_variable(column, variables, values)
    return values


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where values come from; those of EXECUTE IMMEDIATE hide the job's."""

    parameters: Sequence[Mapping[str, Any]]
    variables: Mapping[str, Variable]
    given: Sequence[tuple[str, Variable]]


def _bind_named(node: exp.Parameter, sources: _Sources, values: Values) -> None:
    if isinstance(node.this, exp.Parameter):
        _bind_system_variable(node, sources.variables, values)
        return
    name = node.name.lower()
    for index, (given, variable) in enumerate(sources.given):
        if given == name:
            _bind(node, f"g{index}", variable, values)
            return
    names = {str(p.get("name", "")).lower(): i for i, p in enumerate(sources.parameters) if p.get("name")}
    if name not in names:
        raise invalid_query(f"Query parameter '{node.name}' not found")
    _bind_parameter(node, names[name], sources.parameters, values)


def _bind_marked(mark: exp.Expr, position: int, sources: _Sources, values: Values) -> None:
    if position >= len(sources.given or sources.parameters):
        raise invalid_query("Number of positional parameters is smaller than the number of ? in the query")
    if sources.given:
        _bind(mark, f"g{position}", sources.given[position][1], values)
    else:
        _bind_parameter(mark, position, sources.parameters, values)


def _bind_variable(column: exp.Column, variables: Mapping[str, Variable], values: Values) -> None:
    """A variable ``x``, or ``x.field`` of one that is a struct."""
    first, *fields = column.parts
    name = first.name.lower()
    variable = variables.get(name)
    if variable is None or (fields and not variable.kind.startswith("STRUCT")):
        return
    values[f"v_{name}"] = variable.value
    reference = _reference(f"v_{name}", variable.kind)
    column.replace(exp.Dot.build([reference, *(f.copy() for f in fields)]) if fields else reference)


def _bind_system_variable(node: exp.Parameter, variables: Mapping[str, Variable], values: Values) -> None:
    """``@@error.message`` in a handler; no other is known."""
    dotted = node.parent if isinstance(node.parent, exp.Dot) else None
    name = f"@@{node.this.name}.{dotted.name}" if dotted is not None else f"@@{node.this.name}"
    if name.lower() not in variables:
        raise not_implemented(f"the system variable {name}")
    _bind(node if dotted is None else dotted, "system", variables[name.lower()], values)


def _bind(node: exp.Expr, name: str, variable: Variable, values: Values) -> None:
    values[name] = variable.value
    node.replace(_reference(name, variable.kind))


def field_of_parameter(name: str, kind: Mapping[str, Any]) -> dict[str, Any]:
    """A REST ``parameterType`` as a field."""
    name_of_type = str(kind.get("type", "STRING")).upper()
    if name_of_type == "ARRAY":
        return field_of_parameter(name, kind["arrayType"]) | {"mode": "REPEATED"}
    if name_of_type in ("STRUCT", "RECORD"):
        children = [field_of_parameter(part.get("name", ""), part["type"]) for part in kind["structTypes"]]
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": children}
    return field_of(name, data_type(name_of_type))


def _bind_parameter(node: exp.Expr, index: int, parameters: Sequence[Mapping[str, Any]], values: Values) -> None:
    parameter = parameters[index]
    field = field_of_parameter("", parameter.get("parameterType") or {})
    values[f"p{index}"] = _value(field, parameter.get("parameterValue") or {})
    node.replace(_reference(f"p{index}", duckdb_type(field)))


def _reference(name: str, kind: str) -> exp.Expr:
    return exp.Cast(this=exp.Parameter(this=exp.Var(this=name)), to=exp.DataType.build(kind, dialect="duckdb"))


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


def used_in(text: str, values: Values) -> Values | None:
    """Those values that a text for DuckDB refers to, which refuses any others."""
    return {name: value for name, value in values.items() if f"${name}" in text} or None
