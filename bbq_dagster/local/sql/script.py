"""A script carried out: each statement handed to what knows it, in the order that its blocks say."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sqlglot import exp

from bbq_dagster.local.errors import BigQueryError, invalid_query, not_implemented
from bbq_dagster.local.model import empty_rows
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.sql.blocks import (
    Assertion,
    Block,
    Branches,
    Execute,
    ForEach,
    Guarded,
    Leave,
    Loop,
    Node,
    Raise,
    Statement,
    parse_script,
)
from bbq_dagster.local.sql.ddl import DDL, run_ddl, run_ddl_text
from bbq_dagster.local.sql.dml import DML, run_dml
from bbq_dagster.local.sql.names import Context
from bbq_dagster.local.sql.parameters import Variable
from bbq_dagster.local.sql.parsing import with_position
from bbq_dagster.local.sql.routines import is_about_function, run_routine_ddl, with_functions_written_out
from bbq_dagster.local.sql.select import run_query
from bbq_dagster.local.sql.session import Session
from bbq_dagster.local.sql.types import duckdb_type, field_of
from bbq_dagster.local.sql.workspace import Workspace
from bbq_dagster.local.store import Store

_MOST_ROUNDS = 100_000
_ABORT = re.compile(r"CALL\s+BQ\.ABORT_SESSION\s*\(\s*\)", re.IGNORECASE)
_remembered = lru_cache(maxsize=128)(parse_script)
"""Clients ask the same again and again. Whoever runs a block leaves it as it is: it copies what it changes."""
_LONGEST_REMEMBERED = 10_000
_NOTHING = QueryResult(schema=[], rows=empty_rows(()), statement_type="SCRIPT")


def run(
    store: Store,
    sql: str,
    *,
    project: str,
    location: str | None = None,
    default_dataset: tuple[str, str] | None = None,
    parameters: Sequence[Mapping[str, Any]] = (),
    session: Session | None = None,
    dry_run: bool = False,
) -> QueryResult:
    """Run a statement or script as a query job does.

    Args:
        project: The job's: tables named without a project are its.
        location: Where the job runs; datasets elsewhere are not found. None: wherever the datasets are.
        default_dataset: (project, dataset) for tables named without a dataset.
        parameters: REST ``queryParameters``.
        session: Of the job; None for one that ends with the script.
        dry_run: Check only: nothing is written, no rows are given.

    Raises:
        BigQueryError: What BigQuery refuses, in its words; ``notImplemented`` for what only this server cannot do.
    """
    lasting = session if session is not None else Session(Workspace(store, project))
    context = Context(store, project, lasting, location, default_dataset, tuple(parameters))
    try:
        return _Script(context, dry_run).run(_block_of(sql))
    except BigQueryError as error:
        raise with_position(error, sql) from error
    finally:
        if not lasting.id and lasting.workspace.in_transaction:
            lasting.workspace.rollback()


def _block_of(sql: str) -> Block:
    return _remembered(sql) if len(sql) <= _LONGEST_REMEMBERED else parse_script(sql)


class _Left(Exception):
    """BREAK, CONTINUE or RETURN, on its way to the loop or script that it leaves."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


@dataclass(slots=True)
class _Script:
    """A script under way: the results of its statements so far, and the error that is being handled."""

    context: Context
    dry_run: bool
    results: list[QueryResult] = field(default_factory=list)
    error: BigQueryError | None = None

    def run(self, block: Block) -> QueryResult:
        try:
            self._run_block(block)
        except _Left as left:
            if left.word != "RETURN":
                raise invalid_query(f"{left.word} is only allowed inside of a loop body") from left
        if len(block) == 1 and isinstance(block[0], Statement) and self.results:
            return self.results[0]
        last = self.results[-1] if self.results else _NOTHING
        return replace(last, statement_type="SCRIPT", children=tuple(self.results))

    def _run_block(self, block: Block) -> None:
        for node in block:
            self.context = replace(self.context, now_us=self.context.store.now_ms() * 1000)
            _NODES[type(node)](self, node)

    def statement(self, node: Statement) -> None:
        expression = with_functions_written_out(node.expression.copy(), self.context)
        if isinstance(expression, exp.Declare | exp.Set):
            self._set_variables(expression)
        elif _ABORT.fullmatch(node.text):
            self._abort_session()
        elif type(expression) in _TRANSACTIONS or node.text.upper() == "BEGIN":
            self._control_transaction(expression)
        else:
            self.results.append(replace(_run_one(expression, self.context, self.dry_run), text=node.text))

    def _abort_session(self) -> None:
        if not self.context.session.id:
            raise invalid_query("BQ.ABORT_SESSION without an ID is only allowed in a session")
        self.context.session.is_open = False

    def _control_transaction(self, expression: exp.Expr) -> None:
        if not self.dry_run:
            kind, carry_out = _TRANSACTIONS.get(type(expression), _TRANSACTIONS[exp.Transaction])
            carry_out(self.context.session.workspace)
            self.results.append(replace(_NOTHING, statement_type=kind, text=expression.sql("bigquery")))

    # -- blocks

    def branches(self, node: Branches) -> None:
        taken = next((body for condition, body in node.branches if self._holds(condition)), node.otherwise)
        self._run_block(taken)

    def loop(self, node: Loop) -> None:
        for _ in range(_MOST_ROUNDS):
            if node.condition is not None and not self._holds(node.condition):
                return
            if self._leaves_loop(node.body) or (node.until is not None and self._holds(node.until)):
                return
        raise invalid_query(f"A loop of more than {_MOST_ROUNDS} rounds")

    def for_each(self, node: ForEach) -> None:
        query = with_functions_written_out(node.query.copy(), self.context)
        result = run_query(query.unnest() if isinstance(query, exp.Subquery) else query, self.context)
        kind = duckdb_type({"name": "", "type": "RECORD", "fields": result.schema})
        before = dict(self.variables)
        for row in result.rows.to_pylist():
            self.variables[node.variable.lower()] = Variable(kind, row)
            if self._leaves_loop(node.body):
                break
        self._forget_since(before)

    def guarded(self, node: Guarded) -> None:
        before = dict(self.variables)
        try:
            self._run_block(node.body)
        except BigQueryError as error:
            self._forget_since(before)
            if node.handler is None or error.reason == "notImplemented":
                raise
            self._handle(error, node.handler)
        self._forget_since(before)

    def _handle(self, error: BigQueryError, handler: Block) -> None:
        outer, self.error = self.error, error
        self.variables["@@error.message"] = Variable("VARCHAR", error.message)
        try:
            self._run_block(handler)
        finally:
            self.error = outer

    def leave(self, node: Leave) -> None:
        raise _Left(node.word)

    def _leaves_loop(self, body: Block) -> bool:
        """Run the body of a loop once; whether BREAK was met."""
        try:
            self._run_block(body)
        except _Left as left:
            if left.word == "RETURN":
                raise
            return left.word == "BREAK"
        return False

    def _forget_since(self, before: Mapping[str, Variable]) -> None:
        """Variables declared since then end with their block."""
        for name in [name for name in self.variables if name not in before]:
            del self.variables[name]

    # -- statements that only scripts have

    def raise_error(self, node: Raise) -> None:
        if node.message is not None:
            raise invalid_query(str(self._value(node.message)))
        if self.error is None:
            raise invalid_query("Cannot re-raise: there is no error being handled")
        raise self.error

    def assertion(self, node: Assertion) -> None:
        if not self._holds(node.condition):
            raise invalid_query(node.description)
        self.results.append(replace(_NOTHING, statement_type="ASSERT"))

    def execute(self, node: Execute) -> None:
        block = parse_script(str(self._value(node.sql)))
        if len(block) != 1 or not isinstance(block[0], Statement):
            raise invalid_query("EXECUTE IMMEDIATE takes one statement")
        given = tuple(self._parameter(name, value) for name, value in node.using)
        outer, self.context = self.context, replace(self.context, given=given)
        try:
            self.statement(block[0])
        finally:
            self.context = replace(outer, now_us=self.context.now_us)
        if node.into:
            self._store_row(node.into)

    def _parameter(self, name: str, value: exp.Expr) -> tuple[str, Variable]:
        result = self._selected(value)
        return name.lower(), Variable(duckdb_type(result.schema[0]), result.rows.column(0).to_pylist()[0])

    def _store_row(self, names: Sequence[str]) -> None:
        result = self.results[-1]
        if result.rows.num_rows > 1 or len(result.schema) != len(names):
            raise invalid_query("EXECUTE IMMEDIATE ... INTO needs a query of one row with a column for every variable")
        row = result.rows.to_pylist()[0] if result.rows.num_rows else {}
        for name, column in zip(names, result.schema, strict=True):
            self.variables[name.lower()] = Variable(self._variable(name).kind, row.get(column["name"]))

    # -- variables and values

    @property
    def variables(self) -> dict[str, Variable]:
        return self.context.session.variables

    def _set_variables(self, statement: exp.Expr) -> None:
        assign: Callable[[exp.Expr], dict[str, Variable]] = (
            self._declared if isinstance(statement, exp.Declare) else self._assigned
        )
        for item in statement.expressions:
            self.variables.update(assign(item))

    def _declared(self, item: exp.Expr) -> dict[str, Variable]:
        default, kind = item.args.get("default") or exp.Null(), item.args.get("kind")
        variable = self._untyped(default) if kind is None else self._typed(default, duckdb_type(field_of("", kind)))
        names = item.this if isinstance(item.this, list) else [item.this]
        return {name.name.lower(): variable for name in names}

    def _assigned(self, item: exp.Expr) -> dict[str, Variable]:
        """``SET a = x``, or ``SET (a, b) = (x, y)`` with a struct or a query that gives one."""
        target, value = item.this.this, item.this.expression
        names = [column.name for column in target.find_all(exp.Column)] or [target.name]
        kinds = [self._variable(name).kind for name in names]
        if not isinstance(target, exp.Tuple | exp.Paren):
            return {names[0].lower(): self._typed(value, kinds[0])}
        found = self._value(value)
        parts = list(found.values()) if isinstance(found, dict) else [found]
        if len(parts) != len(names):
            raise invalid_query(f"SET has {len(names)} variables and {len(parts)} values")
        return {name.lower(): Variable(kind, part) for name, kind, part in zip(names, kinds, parts, strict=True)}

    def _variable(self, name: str) -> Variable:
        if name.lower() not in self.variables:
            raise invalid_query(f"Undeclared variable: {name}")
        return self.variables[name.lower()]

    def _untyped(self, expression: exp.Expr) -> Variable:
        result = self._selected(expression)
        return Variable(duckdb_type(result.schema[0]), result.rows.column(0).to_pylist()[0])

    def _typed(self, expression: exp.Expr, kind: str) -> Variable:
        cast = exp.cast(expression.copy(), exp.DataType.build(kind, dialect="duckdb"))
        return Variable(kind, self._value(cast))

    def _holds(self, condition: exp.Expr) -> bool:
        return self._value(condition) is True

    def _value(self, expression: exp.Expr) -> Any:
        return self._selected(expression).rows.column(0).to_pylist()[0]

    def _selected(self, expression: exp.Expr) -> QueryResult:
        """A value that may read tables, as in ``SET x = (SELECT MAX(a) FROM t)``."""
        query = exp.select(exp.alias_(expression.copy(), "value"))
        return run_query(with_functions_written_out(query, self.context), self.context)


_NODES: Mapping[type[Node], Callable[[_Script, Any], None]] = {
    Statement: _Script.statement,
    Branches: _Script.branches,
    Loop: _Script.loop,
    ForEach: _Script.for_each,
    Guarded: _Script.guarded,
    Leave: _Script.leave,
    Raise: _Script.raise_error,
    Execute: _Script.execute,
    Assertion: _Script.assertion,
}
_TRANSACTIONS: Mapping[type[exp.Expr], tuple[str, Callable[[Workspace], None]]] = {
    exp.Transaction: ("BEGIN_TRANSACTION", Workspace.begin),
    exp.Commit: ("COMMIT_TRANSACTION", Workspace.commit),
    exp.Rollback: ("ROLLBACK_TRANSACTION", Workspace.rollback),
}


def _run_one(statement: exp.Expr, context: Context, dry_run: bool) -> QueryResult:
    if isinstance(statement, exp.Query):
        return run_query(statement, context, dry_run=dry_run)
    if isinstance(statement, DML):
        return run_dml(statement, context, dry_run=dry_run)
    if is_about_function(statement):
        return run_routine_ddl(statement, context, dry_run=dry_run)
    if isinstance(statement, DDL):
        return run_ddl(statement, context, dry_run=dry_run)
    text = statement.sql("bigquery")
    result = run_ddl_text(text, context) if isinstance(statement, exp.Command) and not dry_run else None
    if result is None:
        raise not_implemented(f"the statement {text[:80]}")
    return result
