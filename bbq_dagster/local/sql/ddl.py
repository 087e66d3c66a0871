"""CREATE, ALTER and DROP of tables, views, snapshots and datasets: from SQL to the REST resources the store keeps.

https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language. What a resource may be, the
store checks; here is only what SQL says.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlglot import exp

from bbq_dagster.local.copy_limits import CopyUse, count_copy
from bbq_dagster.local.definition import new_table, what_a_copy_takes
from bbq_dagster.local.errors import BigQueryError, duplicate, invalid_query, not_implemented
from bbq_dagster.local.limits import Charge
from bbq_dagster.local.model import Part, Table, TableRef, conform, empty_rows, make_part, normalized
from bbq_dagster.local.partitioning import parse_partitioning, partition_rows
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.sql.constants import milliseconds, option_value
from bbq_dagster.local.sql.names import Context, SystemView, dataset_ref, name_of, resolve, table_ref
from bbq_dagster.local.sql.options import DATASET_OPTIONS, TABLE_OPTIONS, Option
from bbq_dagster.local.sql.parameters import Values
from bbq_dagster.local.sql.select import run_query
from bbq_dagster.local.sql.types import field_of
from bbq_dagster.local.store import Store

DDL = (exp.Create, exp.Drop, exp.Alter)

Resource = dict[str, Any]
_PSEUDO = ("_PARTITIONTIME", "_PARTITIONDATE")
_COPY = re.compile(
    r"CREATE\s+(?P<replace>OR\s+REPLACE\s+)?(?P<snapshot>SNAPSHOT\s+)?TABLE\s+(?P<exists>IF\s+NOT\s+EXISTS\s+)?"
    r"(?P<to>\S+)\s+(?P<how>CLONE|COPY)\s+(?P<source>\S+)"
    r"(?:\s+FOR\s+(?:SYSTEM_TIME|TIMESTAMP)\s+AS\s+OF\s+(?P<at>.+?))?(?:\s+OPTIONS\s*\((?P<options>.*)\))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_ALTER_SCHEMA = re.compile(
    r"ALTER\s+SCHEMA\s+(?P<exists>IF\s+EXISTS\s+)?(?P<name>\S+)\s+SET\s+OPTIONS\s*\((?P<options>.*)\)\s*",
    re.IGNORECASE | re.DOTALL,
)
_UNDROP_SCHEMA = re.compile(r"UNDROP\s+SCHEMA\s+(?P<exists>IF\s+NOT\s+EXISTS\s+)?(?P<name>\S+)\s*", re.IGNORECASE)
_DROP_SNAPSHOT = re.compile(r"DROP\s+SNAPSHOT\s+TABLE\s+(?P<exists>IF\s+EXISTS\s+)?(?P<name>\S+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Target:
    """What is to be created, and what to do if it is there already."""

    ref: TableRef
    replace: bool
    if_not_exists: bool


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is altered where, and what expressions in the statement are evaluated with."""

    store: Store
    context: Context
    values: Values


def run_ddl(statement: exp.Expr, context: Context, *, dry_run: bool = False) -> QueryResult:
    """Carry out one DDL statement; a dry run only understands it."""
    if dry_run:
        return _done(f"{statement.key.upper()}_{str(statement.args.get('kind') or '').upper()}", None)
    values = context.bind(statement)
    if isinstance(statement, exp.Drop):
        return _drop(statement, context)
    if isinstance(statement, exp.Alter):
        return _alter(statement, context, values)
    return _create(statement, context, values) if isinstance(statement, exp.Create) else _unknown(statement)


def run_ddl_text(text: str, context: Context) -> QueryResult | None:
    """DDL that the parser only knows as text: copies, clones, snapshots, ALTER SCHEMA; None if it is none of these."""
    for pattern, carry_out in _TEXTS:
        found = pattern.fullmatch(text)
        if found:
            return carry_out(found, context)
    return None


def _done(kind: str, operation: str | None, ref: TableRef | None = None) -> QueryResult:
    return QueryResult(schema=[], rows=empty_rows(()), statement_type=kind, destination=ref, ddl_operation=operation)


# -- CREATE


def _create(statement: exp.Create, context: Context, values: Values) -> QueryResult:
    kind = str(statement.args["kind"]).upper()
    properties = statement.args.get("properties") or exp.Properties(expressions=[])
    if kind == "SCHEMA":
        return _create_schema(statement, properties, context, values)
    if statement.args.get("clone") is not None:
        return run_ddl_text(statement.sql("bigquery"), context) or _unknown(statement)
    if kind not in ("TABLE", "VIEW") or properties.find(exp.ExternalProperty):
        return _unknown(statement)
    ref = _created_ref(statement, properties, context)
    target = _Target(ref, bool(statement.args.get("replace")), bool(statement.args.get("exists")))
    build = _table_of if kind == "TABLE" else _view_of
    name = _kind_of(statement, properties)
    if _exists(target, context) and target.if_not_exists:
        return _done(name, "SKIP", target.ref)
    resource, rows = build(statement, properties, context, values)
    return _put(target, resource, rows, context, name)


def _created_ref(statement: exp.Create, properties: exp.Properties, context: Context) -> TableRef:
    """A temporary table has no dataset but ``_SESSION``; it hides another of its name."""
    named = _named(statement)
    if properties.find(exp.TemporaryProperty) is None:
        return table_ref(name_of(named), context) if len(named.parts) == 1 else _ref(named, context)
    if statement.args["kind"] != "TABLE":
        _unknown(statement)
    if named.db.upper() not in ("", "_SESSION"):
        raise invalid_query("CREATE TEMP TABLE cannot have a dataset in the table name")
    return context.tables.temporary_ref(named.name)


def _unknown(statement: exp.Expr) -> QueryResult:
    raise not_implemented(f"the statement {statement.sql('bigquery')[:80]}")


def _kind_of(statement: exp.Create, properties: exp.Properties) -> str:
    if statement.args["kind"] == "VIEW":
        return "CREATE_MATERIALIZED_VIEW" if properties.find(exp.MaterializedProperty) else "CREATE_VIEW"
    return "CREATE_TABLE" if statement.expression is None else "CREATE_TABLE_AS_SELECT"


def _exists(target: _Target, context: Context) -> bool:
    context.dataset(target.ref.project, target.ref.dataset)
    return context.tables.find_table(target.ref) is not None


def _changed_store(ref: TableRef, context: Context) -> Store:
    """The store of a table that a statement creates, alters or drops: in a transaction, a temporary one only."""
    store = context.tables.store_of(ref)
    if store is context.store and context.tables.in_transaction:
        raise invalid_query("A transaction cannot contain DDL statements except those of temporary tables")
    return store


def _put(target: _Target, resource: Resource, rows: pa.Table | None, context: Context, kind: str) -> QueryResult:
    """Create, or replace in one transaction, the table with its first rows."""
    store = _changed_store(target.ref, context)
    with store.transaction():
        replaced = _exists(target, context)
        if replaced and not target.replace:
            raise duplicate("Table", target.ref)
        new_table(target.ref, resource)
        parts = _first_parts(resource, rows, store.now_ms())
        if replaced:
            store.delete_table(target.ref)
        store.create_table(target.ref, resource, parts)
    return _done(kind, "REPLACE" if replaced else "CREATE", target.ref)


def _first_parts(resource: Resource, rows: pa.Table | None, now_ms: int) -> dict[str, Part]:
    if rows is None:
        return {}
    fields = normalized(resource["schema"]["fields"])
    split = partition_rows(parse_partitioning(resource), conform(rows, fields), now_ms)
    return {partition: make_part(part, fields, now_ms) for partition, part in split.items()}


def _table_of(
    statement: exp.Create, properties: exp.Properties, context: Context, values: Values
) -> tuple[Resource, pa.Table | None]:
    like = properties.find(exp.LikeProperty)
    resource: Resource = {}
    rows = None
    if like is not None:
        resource = what_a_copy_takes(_existing(_ref(like.this, context), context).resource)
    if statement.expression is not None:
        result = run_query(statement.expression, context)
        resource["schema"], rows = {"fields": result.schema}, result.rows
    if isinstance(statement.this, exp.Schema):
        resource |= _declared(statement.this)
    fields = (resource.get("schema") or {}).get("fields") or []
    for item in properties.expressions:
        if isinstance(item, exp.PartitionedByProperty):
            resource |= _partitioning(item.this, fields)
        elif isinstance(item, exp.Cluster | exp.ClusterProperty):
            resource["clustering"] = {"fields": [column.name for column in item.expressions]}
    _merge(resource, _options(properties, TABLE_OPTIONS, context, values))
    return resource, rows


def _view_of(
    statement: exp.Create, properties: exp.Properties, context: Context, values: Values
) -> tuple[Resource, pa.Table | None]:
    query = statement.expression
    text = query.sql("bigquery")
    fields = run_query(query.copy(), context, dry_run=True).schema
    if isinstance(statement.this, exp.Schema):
        names = [column.name for column in statement.this.expressions]
        fields = [{**field, "name": name} for field, name in zip(fields, names, strict=True)]
        text = f"SELECT * FROM ({text}) AS view_of({', '.join(names)})" if names else text
    materialized = properties.find(exp.MaterializedProperty) is not None
    definition = (
        {"materializedView": {"query": text}} if materialized else {"view": {"query": text, "useLegacySql": False}}
    )
    resource: Resource = {**definition, "schema": {"fields": fields}}
    _merge(resource, _options(properties, TABLE_OPTIONS, context, values))
    return resource, None


def _declared(schema: exp.Schema) -> Resource:
    columns = [part for part in schema.expressions if isinstance(part, exp.ColumnDef)]
    resource: Resource = {"schema": {"fields": [_field(column) for column in columns]}}
    key = next((part for part in schema.expressions if isinstance(part, exp.PrimaryKey)), None)
    if key is not None:
        resource["tableConstraints"] = {"primaryKey": {"columns": [column.name for column in key.expressions]}}
    return resource


def _field(column: exp.ColumnDef) -> Resource:
    field = field_of(column.name, column.args["kind"])
    for constraint in column.args.get("constraints") or ():
        kind = constraint.args.get("kind")
        if isinstance(kind, exp.NotNullColumnConstraint) and not kind.args.get("allow_null"):
            field["mode"] = "REQUIRED"
        elif isinstance(kind, exp.DefaultColumnConstraint):
            field["defaultValueExpression"] = kind.this.sql("bigquery")
        elif isinstance(kind, exp.Properties):
            field |= {p.this.name: p.args["value"].name for p in kind.expressions if p.this.name == "description"}
    return field


def _partitioning(by: exp.Expr, fields: Sequence[Mapping[str, Any]]) -> Resource:
    """PARTITION BY: a column, a column cut to a unit, ranges of an integer, or ingestion time."""
    if isinstance(by, exp.RangeBucket):
        series = by.expression
        bounds = {
            "start": series.args["start"].sql(),
            "end": series.args["end"].sql(),
            "interval": series.args["step"].sql() if series.args.get("step") else "1",
        }
        return {"rangePartitioning": {"field": by.this.name, "range": bounds}}
    column = by.name if isinstance(by, exp.Identifier | exp.Column) else by.this.name
    unit = by.text("unit").upper() or "DAY"
    if column.upper() in _PSEUDO:
        return {"timePartitioning": {"type": unit}}
    spelled = next((f["name"] for f in fields if f["name"].lower() == column.lower()), column)
    return {"timePartitioning": {"type": unit, "field": spelled}}


def _create_schema(statement: exp.Create, properties: exp.Properties, context: Context, values: Values) -> QueryResult:
    project, dataset = dataset_ref(statement.this, context)
    location = properties.find(exp.LocationProperty)
    resource = _options(properties, DATASET_OPTIONS, context, values)
    resource["location"] = location.this.name if location is not None else context.location or "US"
    try:
        context.store.create_dataset(project, dataset, resource)
    except BigQueryError as error:
        if error.reason == "duplicate" and statement.args.get("exists"):
            return _done("CREATE_SCHEMA", "SKIP")
        raise
    return _done("CREATE_SCHEMA", "CREATE")


# -- copies, clones and snapshots


def _copy(found: re.Match[str], context: Context) -> QueryResult:
    """CREATE [SNAPSHOT] TABLE ... CLONE or COPY: the source's parts under another name."""
    source_ref = _ref(_table_in(found["source"]), context)
    source = _existing(source_ref, context)
    version, at_ms = source.version, context.store.now_ms()
    if found["at"]:
        at_ms = milliseconds(_expression_in(found["at"]), context.now_us, {})
        source, version = context.tables.table_at(source_ref, at_ms)
    if not source.holds_rows:
        raise invalid_query(f"{source_ref} is not allowed for this operation because it is currently a {source.kind}.")
    kind, statement_kind = _kind_of_copy(found)
    target = _Target(_ref(_table_in(found["to"]), context), bool(found["replace"]), bool(found["exists"]))
    resource = what_a_copy_takes(source.resource) | {"schema": {"fields": list(version.fields)}}
    resource |= _definition_of_copy(kind, source_ref, at_ms)
    _merge(resource, _options_in(found["options"], TABLE_OPTIONS, context))
    partitioning = parse_partitioning(resource)
    use = CopyUse(context.project, kind, source_ref, target.ref, partitioning, len(version.parts))
    return _put_copy(target, resource, version.parts, use, context, statement_kind)


def _kind_of_copy(found: re.Match[str]) -> tuple[str, str]:
    if found["snapshot"]:
        return "SNAPSHOT", "CREATE_SNAPSHOT_TABLE"
    return found["how"].upper(), "CREATE_TABLE"


def _definition_of_copy(kind: str, source: TableRef, at_ms: int) -> Resource:
    at = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"
    base = {"baseTableReference": source.as_json()}
    definitions: Mapping[str, Resource] = {
        "SNAPSHOT": {"type": "SNAPSHOT", "snapshotDefinition": {**base, "snapshotTime": at}},
        "CLONE": {"cloneDefinition": {**base, "cloneTime": at}},
    }
    return definitions.get(kind, {})


def _count_copy(use: CopyUse, store: Store) -> None:
    """quotas#copy_jobs and #table_snapshots: clones and snapshots count, in SQL as in a copy job."""
    store.limits.spend([Charge("copy_jobs_per_day", use.project)], store.now_ms())
    count_copy(store, use)


def _put_copy(
    target: _Target, resource: Resource, parts: Mapping[str, Part], use: CopyUse, context: Context, kind: str
) -> QueryResult:
    store = _changed_store(target.ref, context)
    with store.transaction():
        replaced = _exists(target, context)
        if replaced and target.if_not_exists:
            return _done(kind, "SKIP", target.ref)
        if replaced and (not target.replace or kind == "CREATE_SNAPSHOT_TABLE"):
            raise duplicate("Table", target.ref)
        new_table(target.ref, resource)
        _count_copy(use, store)
        if replaced:
            store.delete_table(target.ref)
        now = store.now_ms()
        store.create_table(target.ref, resource, {p: part.at(now) for p, part in parts.items()})
    return _done(kind, "REPLACE" if replaced else "CREATE", target.ref)


# -- DROP


def _drop(statement: exp.Drop, context: Context) -> QueryResult:
    kind, named = str(statement.args["kind"]).upper(), statement.args["tables"][0]
    if kind == "SCHEMA":
        return _drop_schema(statement, named, context)
    if kind not in ("TABLE", "VIEW"):
        return _unknown(statement)
    wanted = "MATERIALIZED VIEW" if statement.args.get("materialized") else kind
    return _drop_table(_ref(named, context), wanted, bool(statement.args.get("exists")), context)


_DROPPABLE = {
    "TABLE": ("TABLE", "CLONE"),
    "VIEW": ("VIEW",),
    "MATERIALIZED VIEW": ("MATERIALIZED_VIEW",),
    "SNAPSHOT TABLE": ("SNAPSHOT",),
}


def _drop_table(ref: TableRef, wanted: str, if_exists: bool, context: Context) -> QueryResult:
    statement_kind = "DROP_" + wanted.replace(" ", "_")
    table = context.tables.find_table(ref)
    if table is None and if_exists:
        return _done(statement_kind, "SKIP", ref)
    if _existing(ref, context).kind not in _DROPPABLE[wanted]:
        raise invalid_query(f"Cannot drop {ref} with DROP {wanted}: it is a {_existing(ref, context).kind}")
    _changed_store(ref, context).delete_table(ref)
    return _done(statement_kind, "DROP", ref)


def _drop_snapshot(found: re.Match[str], context: Context) -> QueryResult:
    return _drop_table(_ref(_table_in(found["name"]), context), "SNAPSHOT TABLE", bool(found["exists"]), context)


def _drop_schema(statement: exp.Drop, named: exp.Table, context: Context) -> QueryResult:
    project, dataset = dataset_ref(named, context)
    missing = all(d.dataset != dataset for d in context.store.datasets(project))
    if missing and statement.args.get("exists"):
        return _done("DROP_SCHEMA", "SKIP")
    context.dataset(project, dataset)
    context.store.delete_dataset(project, dataset, delete_contents=bool(statement.args.get("cascade")))
    return _done("DROP_SCHEMA", "DROP")


# -- ALTER


def _alter(statement: exp.Alter, context: Context, values: Values) -> QueryResult:
    ref, kind = _ref(statement.this, context), f"ALTER_{str(statement.args['kind']).upper()}"
    if context.tables.find_table(ref) is None and statement.args.get("exists"):
        return _done(kind, "SKIP", ref)
    _existing(ref, context)
    setting = _Setting(_changed_store(ref, context), context, values)
    actions = statement.args["actions"]
    if any(type(action) not in _ALTERATIONS for action in actions):
        return _unknown(statement)
    with setting.store.transaction():
        for action in actions:
            _ALTERATIONS[type(action)](action, setting.store.get_table(ref), setting)
    return _done(kind, "ALTER", ref)


def _set_options(action: exp.AlterSet, table: Table, setting: _Setting) -> None:
    patch: Resource = {}
    for properties in action.find_all(exp.Properties):
        _merge(patch, _options(properties, TABLE_OPTIONS, setting.context, setting.values))
    setting.store.patch_table(table.ref, _in_place_of(table.resource, patch))


def _in_place_of(old: Mapping[str, Any], options: Resource) -> Resource:
    """A patch after which the labels are those of ``options``: SET OPTIONS replaces a value, and PATCH merges labels.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#alter_table_set_options_statement
    """
    labels = options.get("labels")
    return options if labels is None else options | {"labels": {**dict.fromkeys(old.get("labels") or {}), **labels}}


def _add_column(action: exp.ColumnDef, table: Table, setting: _Setting) -> None:
    if any(f["name"].lower() == action.name.lower() for f in table.fields):
        if action.args.get("exists"):
            return
        raise invalid_query(f"Column already exists: {action.name}")
    setting.store.patch_table(table.ref, {"schema": {"fields": [*table.fields, _field(action)]}})


def _drop_column(action: exp.Drop, table: Table, setting: _Setting) -> None:
    name = action.args["tables"][0].name
    kept = [f for f in table.fields if f["name"].lower() != name.lower()]
    if len(kept) == len(table.fields):
        if action.args.get("exists"):
            return
        raise invalid_query(f"Column not found: {name}")
    if name.lower() in (str(table.partitioning.column).lower(), *(c.lower() for c in table.clustering)):
        raise invalid_query(f"Cannot drop column {name}: it is used for partitioning or clustering")
    setting.store.rewrite_table(table.ref, kept, lambda rows: rows)


def _rename_column(action: exp.RenameColumn, table: Table, setting: _Setting) -> None:
    old, new = action.this.name, action.args["to"].name
    if all(f["name"].lower() != old.lower() for f in table.fields):
        raise invalid_query(f"Column not found: {old}")
    fields = [{**f, "name": new} if f["name"].lower() == old.lower() else f for f in table.fields]
    names = [f["name"] for f in fields]
    setting.store.rewrite_table(table.ref, fields, lambda rows: rows.rename_columns(names))


def _alter_column(action: exp.AlterColumn, table: Table, setting: _Setting) -> None:
    name = action.this.name.lower()
    if all(f["name"].lower() != name for f in table.fields):
        raise invalid_query(f"Column not found: {action.this.name}")
    if action.args.get("dtype") is not None:
        kind = field_of(action.this.name, action.args["dtype"])
        fields = [{**f, "type": kind["type"]} if f["name"].lower() == name else f for f in table.fields]
        setting.store.rewrite_table(table.ref, fields, lambda rows: rows)
        return
    if not action.args.get("allow_null"):
        _unknown(action)
    fields = [{**f, "mode": "NULLABLE"} if f["name"].lower() == name else f for f in table.fields]
    setting.store.patch_table(table.ref, {"schema": {"fields": fields}})


def _rename_table(action: exp.AlterRename, table: Table, setting: _Setting) -> None:
    """What may refuse it comes first: the limits of both names, then the new one."""
    new = TableRef(table.ref.project, table.ref.dataset, action.this.name)
    setting.store.count_update(table.ref, table.partitioning)
    setting.store.create_table(new, table.resource, table.parts, created_ms=table.created_ms)
    setting.store.delete_table(table.ref)


_ALTERATIONS: Mapping[type[exp.Expr], Callable[[Any, Table, _Setting], None]] = {
    exp.AlterSet: _set_options,
    exp.ColumnDef: _add_column,
    exp.Drop: _drop_column,
    exp.RenameColumn: _rename_column,
    exp.AlterColumn: _alter_column,
    exp.AlterRename: _rename_table,
}


def _alter_schema(found: re.Match[str], context: Context) -> QueryResult:
    project, _, dataset = found["name"].replace("`", "").rpartition(".")
    project = project or context.project
    old = context.dataset(project, dataset)
    options = _options_in(found["options"], DATASET_OPTIONS, context)
    context.store.patch_dataset(project, dataset, _in_place_of(old.resource, options))
    return _done("ALTER_SCHEMA", "ALTER")


def _undrop_schema(found: re.Match[str], context: Context) -> QueryResult:
    """https://cloud.google.com/bigquery/docs/restore-deleted-datasets"""
    project, _, dataset = found["name"].replace("`", "").rpartition(".")
    project = project or context.project
    if found["exists"] and context.store.find_dataset(project, dataset) is not None:
        return _done("UNDROP_SCHEMA", "SKIP")
    context.store.undelete_dataset(project, dataset)
    return _done("UNDROP_SCHEMA", "UNDROP")


_TEXTS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str], Context], QueryResult]]] = (
    (_COPY, _copy),
    (_ALTER_SCHEMA, _alter_schema),
    (_UNDROP_SCHEMA, _undrop_schema),
    (_DROP_SNAPSHOT, _drop_snapshot),
)


# -- names and options


def _named(statement: exp.Create) -> exp.Table:
    named = statement.this
    table: exp.Table = named.this if isinstance(named, exp.Schema) else named
    return table


def _ref(named: exp.Table, context: Context) -> TableRef:
    ref = resolve(named, context)
    if isinstance(ref, SystemView):
        raise invalid_query(f"{ref} cannot be created, altered or dropped")
    return ref


def _table_in(text: str) -> exp.Table:
    return exp.to_table(text, dialect="bigquery")


def _expression_in(text: str) -> exp.Expr:
    return exp.maybe_parse(text, dialect="bigquery")


def _existing(ref: TableRef, context: Context) -> Table:
    context.dataset(ref.project, ref.dataset)
    table = context.tables.find_table(ref)
    if table is None:
        raise context.not_found("Table", ref)
    return table


def _options(properties: exp.Properties, known: Sequence[Option], context: Context, values: Values) -> Resource:
    """The REST patch of OPTIONS(...)."""
    by_name = {option.name: option for option in known}
    patch: Resource = {}
    for item in properties.expressions:
        if isinstance(item, exp.Property) and type(item) is exp.Property:
            option = by_name.get(item.this.name.lower())
            if option is None:
                raise invalid_query(f"Unknown option: {item.this.name}")
            _merge(patch, option.patch(option_value(item.args["value"], context.now_us, values)))
    return patch


def _options_in(text: str | None, known: Sequence[Option], context: Context) -> Resource:
    if not text:
        return {}
    altered: exp.Expr = exp.maybe_parse(f"ALTER TABLE t SET OPTIONS({text})", dialect="bigquery")
    properties = altered.find(exp.Properties)
    return {} if properties is None else _options(properties, known, context, {})


def _merge(resource: Resource, patch: Mapping[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, Mapping) and isinstance(resource.get(key), Mapping) and key != "labels":
            resource[key] = {**resource[key], **value}
        else:
            resource[key] = value
