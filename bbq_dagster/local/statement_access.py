"""What a statement needs: permissions by the tables it reads and writes, before it is run.

A row per kind of statement; every table that is not its target is read. Sources: data-manipulation-language,
data-definition-language and the INFORMATION_SCHEMA pages, each under "required permissions".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlglot import exp

from bbq_dagster.local.access import Need, Place, place_of
from bbq_dagster.local.model import Job, TableRef
from bbq_dagster.local.sql import Session, Sessions
from bbq_dagster.local.sql.blocks import expressions_in, parse_script
from bbq_dagster.local.sql.names import Context, SystemView, dataset_ref, name_of, resolve, table_ref
from bbq_dagster.local.sql.parsing import parse_query
from bbq_dagster.local.sql.routines import is_about_function
from bbq_dagster.local.sql.workspace import Workspace
from bbq_dagster.local.store import Store

# Of the target of a statement; a table that does not exist yet is a matter of its dataset.
_DML: Mapping[type[exp.Expr], tuple[str, ...]] = {
    exp.Insert: ("tables.updateData",),
    exp.Update: ("tables.getData", "tables.updateData"),
    exp.Delete: ("tables.getData", "tables.updateData"),
    exp.Merge: ("tables.getData", "tables.updateData"),
    exp.TruncateTable: ("tables.updateData",),
    exp.Alter: ("tables.get", "tables.update"),
}
_SCHEMA: Mapping[type[exp.Expr], tuple[str, ...]] = {exp.Create: ("datasets.create",), exp.Drop: ("datasets.delete",)}
# Statements that the parser only knows as text.
_TEXTS = (
    (re.compile(r"DROP\s+SNAPSHOT\s+TABLE\s+(?:IF\s+EXISTS\s+)?(\S+)", re.I), "tables.deleteSnapshot"),
    (re.compile(r"UNDROP\s+SCHEMA\s+(?:IF\s+NOT\s+EXISTS\s+)?(\S+)", re.I), "datasets.create"),
    (re.compile(r"ALTER\s+SCHEMA\s+(?:IF\s+EXISTS\s+)?(\S+)", re.I), "datasets.update"),
)
_COPY = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(SNAPSHOT\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\S+)\s+(?:CLONE|COPY)\s+(\S+)", re.I
)
# Of a view of INFORMATION_SCHEMA; any other needs what TABLES needs.
_VIEWS = {
    "SCHEMATA": ("datasets.get",),
    "SCHEMATA_OPTIONS": ("datasets.get",),
    "TABLE_SNAPSHOTS": ("tables.list",),
    "ROUTINES": ("routines.get", "routines.list"),
    "JOBS": ("jobs.listAll",),
    "JOBS_BY_PROJECT": ("jobs.listAll",),
    "JOBS_BY_USER": ("jobs.list",),
}
_VIEW = ("tables.get", "tables.list")


def needs_of_query(store: Store, sessions: Sessions, job: Job, configuration: Mapping[str, Any]) -> list[Need]:
    """What all statements of a query job need. Raises what the parser refuses.

    What is temporary needs nothing. What EXECUTE IMMEDIATE runs is not looked into.
    """
    default = configuration.get("defaultDataset")
    named = (default.get("projectId") or job.project, default["datasetId"]) if default else None
    session = sessions.of(job.project, job.location, job.id, configuration)
    context = Context(store, job.project, session, None, named)
    statements = list(expressions_in(parse_script(configuration.get("query") or "")))
    _mark_temporary(statements)
    needs = [need for statement in statements for need in _needs(statement, context)]
    return [(permission, at) for permission, at in needs if (at.project, at.dataset) != context.tables.dataset]


def _mark_temporary(statements: Iterable[exp.Expr]) -> None:
    """Write ``_SESSION.t`` for every table ``t`` that a CREATE TEMP TABLE among them makes."""
    made = [s for s in statements if isinstance(s, exp.Create) and s.find(exp.TemporaryProperty)]
    names = {target.name for s in made if (target := _target(s)) is not None}
    for statement in statements if names else ():
        for table in statement.find_all(exp.Table):
            if table.name in names and not table.db:
                table.set("db", exp.to_identifier("_SESSION"))


def _needs(statement: exp.Expr, context: Context) -> Iterator[Need]:
    if is_about_function(statement):
        yield from _needs_of_function(statement, context)
        return
    if isinstance(statement, exp.Command):
        yield from _needs_of_text(statement.sql("bigquery"), context)
        return
    target = _target(statement)
    if target is not None:
        yield from _needs_of_target(statement, target, context)
    yield from _needs_of_reading(statement, target, context)


def _target(statement: exp.Expr) -> exp.Table | None:
    if not isinstance(statement, (*_DML, *_SCHEMA)):
        return None
    named = statement.this or next(iter(statement.args.get("tables") or statement.expressions), None)
    return named.find(exp.Table) if isinstance(named, exp.Expr) else None


def _needs_of_target(statement: exp.Expr, target: exp.Table, context: Context) -> Iterator[Need]:
    if str(statement.args.get("kind")).upper() == "SCHEMA":
        project, dataset = dataset_ref(target, context)
        place = Place(project) if isinstance(statement, exp.Create) else Place(project, dataset)
        yield from ((permission, place) for permission in _SCHEMA[type(statement)])
        return
    ref = resolve(target, context)
    if isinstance(ref, SystemView):
        return
    if isinstance(statement, exp.Create):
        yield from _needs_of_creating(ref, bool(statement.args.get("replace")), context)
    elif isinstance(statement, exp.Drop):
        yield ("tables.delete", place_of(ref))
    else:
        yield from ((permission, place_of(ref)) for permission in _DML[type(statement)])


def _needs_of_function(statement: exp.Expr, context: Context) -> Iterator[Need]:
    """Of CREATE and DROP FUNCTION, if it is kept in a dataset."""
    if statement.find(exp.TemporaryProperty) is None:
        named = statement.this.this if isinstance(statement, exp.Create) else statement.args["tables"][0]
        ref = table_ref(name_of(named), context)
        verb = "create" if isinstance(statement, exp.Create) else "delete"
        yield (f"routines.{verb}", Place(ref.project, ref.dataset))


def _needs_of_creating(ref: TableRef, replace: bool, context: Context) -> Iterator[Need]:
    yield ("tables.create", Place(ref.project, ref.dataset))
    if replace and context.store.find_table(ref) is not None:
        yield from ((permission, place_of(ref)) for permission in ("tables.update", "tables.updateData"))


def _needs_of_reading(statement: exp.Expr, target: exp.Table | None, context: Context) -> Iterator[Need]:
    ctes = {cte.alias.lower() for cte in statement.find_all(exp.CTE)}
    for table in statement.find_all(exp.Table):
        if table is target or not isinstance(table.this, exp.Identifier) or (name_of(table).lower() in ctes):
            continue
        source = resolve(table, context)
        if isinstance(source, SystemView):
            place = Place(source.project, source.dataset)
            yield from ((permission, place) for permission in _VIEWS.get(source.name, _VIEW))
        else:
            yield ("tables.getData", place_of(source))
            yield from _needs_of_view(source, context)


def _needs_of_view(ref: TableRef, context: Context) -> Iterator[Need]:
    """Who queries a view needs to see what it reads too: no view is authorized here."""
    table = context.store.find_table(ref)
    definition = None if table is None else table.resource.get("view") or table.resource.get("materializedView")
    if definition:
        own = Session(Workspace(context.store, ref.project))
        yield from _needs_of_reading(parse_query(definition["query"]), None, Context(context.store, ref.project, own))


def _needs_of_text(text: str, context: Context) -> Iterator[Need]:
    copied = _COPY.match(text)
    if copied:
        source, target = (table_ref(name.strip("`;"), context) for name in (copied[3], copied[2]))
        names = ("get", "getData", *(["createSnapshot"] if copied[1] else []))
        yield from ((f"tables.{name}", place_of(source)) for name in names)
        yield ("tables.create", Place(target.project, target.dataset))
    for pattern, permission in _TEXTS:
        found = pattern.match(text)
        if found:
            name = found[1].strip("`;")
            yield (
                permission,
                place_of(table_ref(name, context)) if "tables" in permission else _dataset(name, context),
            )


def _dataset(name: str, context: Context) -> Place:
    project, _, dataset = name.rpartition(".")
    return Place(project or context.project, dataset)
