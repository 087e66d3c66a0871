"""SQL functions that users define: what CREATE FUNCTION keeps, and calls written out as their bodies.

https://cloud.google.com/bigquery/docs/user-defined-functions. A call becomes the body with the arguments in place of
the parameters, each cast to its declared type. Persistent functions are routines of a dataset, as the REST API has
them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from bbq_dagster.local.errors import invalid_query, not_implemented
from bbq_dagster.local.sql.parsing import parse_expression
from bbq_dagster.local.sql.types import data_type
from bbq_dagster.local.sql.unsupported import is_namespace

_DEEPEST = 32
Routine = Mapping[str, Any]
Finder = Callable[[tuple[str, ...]], "Function | None"]


@dataclass(frozen=True, slots=True)
class Function:
    """A function: its parameters with their types (None is ANY TYPE), its type if declared, and its body as SQL."""

    parameters: tuple[tuple[str, exp.DataType | None], ...]
    returns: exp.DataType | None
    body: str


def function_of(statement: exp.Create) -> Function:
    """What a CREATE FUNCTION declares. Refuses other languages than SQL, aggregates and table functions."""
    properties = statement.args.get("properties") or exp.Properties(expressions=[])
    returns, body = properties.find(exp.ReturnsProperty), statement.expression
    language = properties.find(exp.LanguageProperty)
    if language is not None and language.name.upper() != "SQL":
        raise not_implemented(f"functions in the language {language.name}")
    if not isinstance(body, exp.Paren | exp.Subquery) or (returns is not None and returns.args.get("is_table")):
        raise not_implemented(f"the statement {statement.sql('bigquery')[:80]}")
    parameters = tuple((p.name, _declared(p.args["kind"])) for p in statement.this.expressions)
    return Function(parameters, None if returns is None else returns.this, _body_text(body))


def function_of_routine(routine: Routine) -> Function:
    """The function that a routine of the REST API is."""
    if routine.get("routineType") != "SCALAR_FUNCTION" or routine.get("language", "SQL") != "SQL":
        raise not_implemented(f"calling routines other than SQL functions, such as {_name_of(routine)}")
    parameters = tuple((a["name"], _of_json(a.get("dataType"))) for a in routine.get("arguments") or ())
    return Function(parameters, _of_json(routine.get("returnType")), str(routine["definitionBody"]))


def routine_of(function: Function) -> dict[str, Any]:
    """The properties of a routine that a function becomes."""
    returns = {} if function.returns is None else {"returnType": _as_json(function.returns)}
    arguments = [
        {"name": name, "argumentKind": "ANY_TYPE"} if kind is None else {"name": name, "dataType": _as_json(kind)}
        for name, kind in function.parameters
    ]
    return {
        "routineType": "SCALAR_FUNCTION",
        "language": "SQL",
        "arguments": arguments,
        "definitionBody": function.body,
        **returns,
    }


def expand(statement: exp.Expr, find: Finder) -> exp.Expr:
    """The statement with every call of a function that ``find`` knows written out, and of those that these call."""
    _refuse_namespaces(statement)
    for _ in range(_DEEPEST):
        calls = [(call, function) for call in _calls(statement) if (function := find(_path(call))) is not None]
        if not calls:
            return statement
        for call, function in reversed(calls):
            written = _written_out(function, _path(call), _arguments(call))
            if call is statement:
                statement = written
            else:
                call.replace(written)
    raise invalid_query("Functions call each other too deeply, or one calls itself")


def _refuse_namespaces(statement: exp.Expr) -> None:
    if statement.find(exp.Predict) is not None:
        raise not_implemented("functions of ML")
    for call in _calls(statement):
        path = _path(call)
        if len(path) == 2 and is_namespace(path[0]):
            raise not_implemented(f"the function {'.'.join(path).upper()}")


def _calls(statement: exp.Expr) -> Iterator[exp.Expr]:
    for call in statement.find_all(exp.Anonymous):
        outer: exp.Expr = call
        while isinstance(outer.parent, exp.Dot) and outer.arg_key == "expression":
            outer = outer.parent
        yield outer


def _path(call: exp.Expr) -> tuple[str, ...]:
    if isinstance(call, exp.Dot):
        return (*_path(call.this), *_path(call.expression))
    return tuple(call.name.split("."))


def _arguments(call: exp.Expr) -> list[exp.Expr]:
    return list(call.expressions if isinstance(call, exp.Anonymous) else call.expression.expressions)


def _written_out(function: Function, path: Sequence[str], arguments: Sequence[exp.Expr]) -> exp.Expr:
    if len(arguments) != len(function.parameters):
        raise invalid_query(
            f"Number of arguments does not match for function {'.'.join(path)}: "
            f"expected {len(function.parameters)}, got {len(arguments)}"
        )
    given = {name.lower(): _typed(a, kind) for (name, kind), a in zip(function.parameters, arguments, strict=True)}
    body = exp.Paren(this=parse_expression(function.body))
    for column in list(body.find_all(exp.Column)):
        _put_argument(column, given)
    return _typed(body, function.returns)


def _put_argument(column: exp.Column, given: Mapping[str, exp.Expr]) -> None:
    """``x``, or ``x.field`` of a parameter that is a struct."""
    first, *fields = column.parts
    value = given.get(first.name.lower())
    if value is not None:
        column.replace(exp.Dot.build([value.copy(), *(f.copy() for f in fields)]) if fields else value.copy())


def _typed(value: exp.Expr, kind: exp.DataType | None) -> exp.Expr:
    return exp.Paren(this=value.copy()) if kind is None else exp.Cast(this=value.copy(), to=kind.copy())


def _declared(kind: exp.DataType) -> exp.DataType | None:
    return None if kind.this == exp.DType.VARIANT else kind


def _body_text(body: exp.Expr) -> str:
    inner = body.this if isinstance(body, exp.Paren) else body
    return str(inner.sql("bigquery"))


def _name_of(routine: Routine) -> str:
    return ".".join(routine["routineReference"][part] for part in ("projectId", "datasetId", "routineId"))


# -- StandardSqlDataType of the REST API


def _as_json(kind: exp.DataType) -> dict[str, Any]:
    if kind.this == exp.DType.ARRAY:
        return {"typeKind": "ARRAY", "arrayElementType": _as_json(kind.expressions[0])}
    if kind.this == exp.DType.STRUCT:
        fields = [{"name": part.name, "type": _as_json(part.args["kind"])} for part in kind.expressions]
        return {"typeKind": "STRUCT", "structType": {"fields": fields}}
    return {"typeKind": kind.sql("bigquery")}


def _of_json(kind: Mapping[str, Any] | None) -> exp.DataType | None:
    return None if kind is None else data_type(_sql_of_json(kind))


def _sql_of_json(kind: Mapping[str, Any]) -> str:
    if kind["typeKind"] == "ARRAY":
        return f"ARRAY<{_sql_of_json(kind['arrayElementType'])}>"
    if kind["typeKind"] == "STRUCT":
        fields = [f"`{f['name']}` {_sql_of_json(f['type'])}" for f in kind["structType"]["fields"]]
        return f"STRUCT<{', '.join(fields)}>"
    return str(kind["typeKind"])
