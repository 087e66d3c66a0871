"""CREATE and DROP FUNCTION, and which function a call in a statement means."""

from sqlglot import exp

from bbq_dagster.local.errors import duplicate, not_found
from bbq_dagster.local.model import empty_rows
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.sql.functions import Function, expand, function_of, function_of_routine, routine_of
from bbq_dagster.local.sql.names import Context, name_of, table_ref
from bbq_dagster.local.store import RoutineKey


def is_about_function(statement: exp.Expr) -> bool:
    return isinstance(statement, exp.Create | exp.Drop) and str(statement.args.get("kind")).upper() == "FUNCTION"


def run_routine_ddl(statement: exp.Expr, context: Context, *, dry_run: bool = False) -> QueryResult:
    """Create or drop a function; a dry run only understands it."""
    if isinstance(statement, exp.Create):
        return _create(statement, context, dry_run)
    return _drop(statement, context, dry_run)


def with_functions_written_out(statement: exp.Expr, context: Context) -> exp.Expr:
    """The statement without calls of functions that users define. CREATE FUNCTION keeps those in its body."""
    return statement if is_about_function(statement) else expand(statement, lambda path: _find(path, context))


def _find(path: tuple[str, ...], context: Context) -> Function | None:
    """A temporary function, or ``dataset.function`` and ``project.dataset.function``; None for what is built in."""
    if len(path) == 1:
        return context.session.functions.get(path[0].lower())
    key = _key(".".join(path), context)
    if context.store.find_dataset(*key[:2]) is None:
        return None
    routine = context.store.find_routine(key)
    if routine is None:
        raise not_found("Function", f"{key[0]}:{key[1]}.{key[2]}")
    return function_of_routine(routine)


def _create(statement: exp.Create, context: Context, dry_run: bool) -> QueryResult:
    function, named = function_of(statement), statement.this.this
    if dry_run:
        return _done("CREATE_FUNCTION", None)
    if statement.find(exp.TemporaryProperty):
        context.session.functions[named.name.lower()] = function
        return _done("CREATE_FUNCTION", "CREATE")
    return _done("CREATE_FUNCTION", _put(_key(name_of(named), context), function, statement, context))


def _put(key: RoutineKey, function: Function, statement: exp.Create, context: Context) -> str:
    store, now = context.store, str(context.store.now_ms())
    with store.transaction():
        context.dataset(*key[:2])
        existing = store.find_routine(key)
        if existing is not None and statement.args.get("exists"):
            return "SKIP"
        if existing is not None and not statement.args.get("replace"):
            raise duplicate("Routine", f"{key[0]}:{key[1]}.{key[2]}")
        reference = dict(zip(("projectId", "datasetId", "routineId"), key, strict=True))
        created = now if existing is None else existing["creationTime"]
        times = {"creationTime": created, "lastModifiedTime": now, "etag": now}
        store.put_routine(key, {"routineReference": reference, **routine_of(function), **times})
    return "CREATE" if existing is None else "REPLACE"


def _drop(statement: exp.Expr, context: Context, dry_run: bool) -> QueryResult:
    key = _key(name_of(statement.args["tables"][0]), context)
    context.dataset(*key[:2])
    missing = context.store.find_routine(key) is None
    if missing and not statement.args.get("exists"):
        raise context.not_found("Routine", f"{key[0]}:{key[1]}.{key[2]}")
    if not missing and not dry_run:
        context.store.put_routine(key, None)
    return _done("DROP_FUNCTION", "SKIP" if missing else "DROP")


def _key(name: str, context: Context) -> RoutineKey:
    ref = table_ref(name, context)
    return (ref.project, ref.dataset, ref.table)


def _done(kind: str, operation: str | None) -> QueryResult:
    return QueryResult(schema=[], rows=empty_rows(()), statement_type=kind, ddl_operation=operation)
