"""One statement or several: each handed to what carries it out, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlglot import exp

from bbq_dagster.local.errors import BigQueryError, invalid_query, not_implemented
from bbq_dagster.local.model import empty_rows
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.sql.ddl import DDL, run_ddl, run_ddl_text
from bbq_dagster.local.sql.dml import DML, run_dml
from bbq_dagster.local.sql.names import Context
from bbq_dagster.local.sql.parameters import Variable
from bbq_dagster.local.sql.parsing import parse_script, with_position
from bbq_dagster.local.sql.select import run_query
from bbq_dagster.local.sql.types import duckdb_type, field_of
from bbq_dagster.local.store import Store


def run(
    store: Store,
    sql: str,
    *,
    project: str,
    location: str | None = None,
    default_dataset: tuple[str, str] | None = None,
    parameters: Sequence[Mapping[str, Any]] = (),
    job_id: str = "",  # noqa: ARG001 (part of what a job hands over; nothing in SQL asks for it yet)
    dry_run: bool = False,
) -> QueryResult:
    """Run a statement or script as a query job does.

    Args:
        project: The job's: tables named without a project are its.
        location: Where the job runs; datasets elsewhere are not found. None: wherever the datasets are.
        default_dataset: (project, dataset) for tables named without a dataset.
        parameters: REST ``queryParameters``.
        dry_run: Check only: nothing is written, no rows are given.

    Raises:
        BigQueryError: What BigQuery refuses, in its words; ``notImplemented`` for what only this server cannot do.
    """
    context = Context(store, project, location, default_dataset, tuple(parameters))
    try:
        return _run_script(parse_script(sql), context, dry_run)
    except BigQueryError as error:
        raise with_position(error, sql) from error


def _run_script(statements: Sequence[exp.Expr], context: Context, dry_run: bool) -> QueryResult:
    """The statements in order; each sees the time at which it starts."""
    results: list[QueryResult] = []
    for statement in statements:
        context = replace(context, now_us=context.store.now_ms() * 1000)
        if isinstance(statement, exp.Declare | exp.Set):
            context = _with_variables(statement, context)
        else:
            results.append(_run_one(statement, context, dry_run))
    if len(statements) == 1 and results:
        return results[0]
    last = results[-1] if results else QueryResult(schema=[], rows=empty_rows(()))
    return replace(last, statement_type="SCRIPT", children=tuple(results))


def _with_variables(statement: exp.Declare | exp.Set, context: Context) -> Context:
    """The context after DECLARE or SET."""
    variables = dict(context.variables)
    for item in statement.expressions:
        assigned = _declared(item, context) if isinstance(statement, exp.Declare) else _assigned(item, context)
        variables |= assigned
    return replace(context, variables=variables)


def _declared(item: exp.Expr, context: Context) -> dict[str, Variable]:
    default, kind = item.args.get("default") or exp.Null(), item.args.get("kind")
    if kind is None:
        raise not_implemented("DECLARE without a type")
    variable = _evaluated(default, duckdb_type(field_of("", kind)), context)
    names = item.this if isinstance(item.this, list) else [item.this]
    return {name.name.lower(): variable for name in names}


def _assigned(item: exp.Expr, context: Context) -> dict[str, Variable]:
    """``SET a = x``, or ``SET (a, b) = (x, y)`` with a struct or a query that gives one."""
    target, value = item.this.this, item.this.expression
    names = [column.name for column in target.find_all(exp.Column)] or [target.name]
    kinds = [_variable(name, context).kind for name in names]
    if not isinstance(target, exp.Tuple | exp.Paren):
        return {names[0].lower(): _evaluated(value, kinds[0], context)}
    found = _value(value.copy(), context)
    parts = list(found.values()) if isinstance(found, dict) else [found]
    if len(parts) != len(names):
        raise invalid_query(f"SET has {len(names)} variables and {len(parts)} values")
    return {name.lower(): Variable(kind, part) for name, kind, part in zip(names, kinds, parts, strict=True)}


def _variable(name: str, context: Context) -> Variable:
    if name.lower() not in context.variables:
        raise invalid_query(f"Undeclared variable: {name}")
    return context.variables[name.lower()]


def _evaluated(expression: exp.Expr, kind: str, context: Context) -> Variable:
    """A value that may read tables, as in ``SET x = (SELECT MAX(a) FROM t)``."""
    return Variable(kind, _value(exp.cast(expression.copy(), exp.DataType.build(kind, dialect="duckdb")), context))


def _value(expression: exp.Expr, context: Context) -> Any:
    return run_query(exp.select(exp.alias_(expression, "value")), context).rows.column(0).to_pylist()[0]


def _run_one(statement: exp.Expr, context: Context, dry_run: bool) -> QueryResult:
    if isinstance(statement, exp.Query):
        return run_query(statement, context, dry_run=dry_run)
    if isinstance(statement, DML):
        return run_dml(statement, context, dry_run=dry_run)
    if isinstance(statement, DDL):
        return run_ddl(statement, context, dry_run=dry_run)
    text = statement.sql("bigquery")
    result = run_ddl_text(text, context) if isinstance(statement, exp.Command) and not dry_run else None
    if result is None:
        raise not_implemented(f"the statement {text[:80]}")
    return result
