"""Constant expressions in places that are not queries: options, FOR SYSTEM_TIME AS OF, variables of scripts."""

from typing import Any

from sqlglot import exp

from bbq_dagster.local.errors import invalid_query
from bbq_dagster.local.sql.dialect import to_duckdb
from bbq_dagster.local.sql.engine import connection
from bbq_dagster.local.sql.parameters import Values, used_in


def evaluate(expression: exp.Expr, now_us: int, values: Values, kind: str) -> Any:
    """The value of an expression that reads no table, as this DuckDB type; parameters in it are bound already."""
    text = f"SELECT CAST({to_duckdb(exp.Paren(this=expression.copy()), now_us)} AS {kind})"
    with connection() as cursor:
        found = cursor.execute(text, used_in(text, values)).fetchone()
    return None if found is None else found[0]


def milliseconds(expression: exp.Expr, now_us: int, values: Values) -> int:
    """The instant that an expression means; refused if it is NULL."""
    instant = exp.cast(expression.copy(), exp.DataType.build("TIMESTAMPTZ"))
    found = evaluate(exp.Anonymous(this="EPOCH_MS", expressions=[instant]), now_us, values, "BIGINT")
    if found is None:
        raise invalid_query("The timestamp must not evaluate to NULL")
    return int(found)


def option_value(expression: exp.Expr, now_us: int, values: Values) -> Any:
    """The value of an option: None, a number, a bool, text, pairs for labels, or milliseconds for a time."""
    if isinstance(expression, exp.Null):
        return None
    if isinstance(expression, exp.Boolean):
        return bool(expression.this)
    if isinstance(expression, exp.Literal):
        return expression.name if expression.is_string else float(expression.name)
    if isinstance(expression, exp.Array):
        return [tuple(part.name for part in pair.expressions) for pair in expression.expressions]
    return milliseconds(expression, now_us, values)
