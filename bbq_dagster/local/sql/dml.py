"""INSERT, UPDATE, DELETE, MERGE and TRUNCATE: only the partitions whose rows change are written anew.

INSERT appends. The others run in DuckDB on a temporary copy of the table in which each row carries its partition; the
rows of the partitions they touched become new parts, and no other partition moves. If the table has moved on meanwhile,
the statement is run again, and at last while nobody else may write: as BigQuery, which retries conflicting DML and then
queues it (data-manipulation-language).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from bbq_dagster.local.errors import invalid_query, not_implemented
from bbq_dagster.local.model import WHOLE, Fields, Part, Table, TableRef, conform, empty_rows, make_part
from bbq_dagster.local.partitioning import UNPARTITIONED, partition_at, partition_rows
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.schema import is_required
from bbq_dagster.local.sql.dialect import to_duckdb
from bbq_dagster.local.sql.engine import connection
from bbq_dagster.local.sql.names import Context, SystemView, resolve
from bbq_dagster.local.sql.parameters import used_in
from bbq_dagster.local.sql.sources import PSEUDO_COLUMNS, Sources, names_any, require_partition_filter
from bbq_dagster.local.sql.types import cast_by_place, duckdb_type
from bbq_dagster.local.store import StaleBasis, read_table

DML = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)

_PART = "__partition"
_STREAMING = "__STREAMING__"
_FREE_ATTEMPTS = 3
_STATISTICS = {"INSERT": "insertedRowCount", "UPDATE": "updatedRowCount", "DELETE": "deletedRowCount"}
_EMPTY = empty_rows(())


@dataclass(frozen=True, slots=True)
class _Changes:
    """What a statement did: how many rows by kind, the partitions it touched, and what rows they hold after it.

    Attributes:
        rows: Of the touched partitions and new ones, under the table's schema.
        held_in: The partition each row came from; NULL for a new row.
    """

    counts: Mapping[str, int]
    touched: frozenset[str]
    rows: pa.Table
    held_in: pa.ChunkedArray


def run_dml(statement: exp.Expr, context: Context, *, dry_run: bool = False) -> QueryResult:
    """Run one DML statement; a dry run resolves the table only."""
    ref = _target_ref(statement, context)
    if dry_run:
        _writable(ref, context)
        return _result(statement, ref, {}, None)
    for _ in range(_FREE_ATTEMPTS):
        with suppress(StaleBasis):
            return _run_once(statement.copy(), ref, context)
    with context.tables.writing():
        return _run_once(statement, ref, context)


def _run_once(statement: exp.Expr, ref: TableRef, context: Context) -> QueryResult:
    if isinstance(statement, exp.TruncateTable):
        return _truncate(statement, ref, context)
    with connection() as cursor:
        sources = Sources(context, cursor, context.bind(statement))
        counts = (
            _insert(statement, ref, sources) if isinstance(statement, exp.Insert) else _mutate(statement, ref, sources)
        )
    return _result(statement, ref, counts, sources)


def _result(statement: exp.Expr, ref: TableRef, counts: Mapping[str, int], sources: Sources | None) -> QueryResult:
    kind = "TRUNCATE_TABLE" if isinstance(statement, exp.TruncateTable) else statement.key.upper()
    return QueryResult(
        schema=[],
        rows=_EMPTY,
        statement_type=kind,
        affected_rows=sum(counts.values()),
        destination=ref,
        total_bytes_processed=0 if sources is None else sources.bytes,
        dml_stats={_STATISTICS[kind_of]: count for kind_of, count in counts.items() if count},
        referenced=() if sources is None else tuple(dict.fromkeys(sources.tables)),
    )


# -- the target


def _target_node(statement: exp.Expr) -> exp.Table:
    if isinstance(statement, exp.TruncateTable):
        target = statement.expressions[0]
    else:
        target = statement.this or statement.args["tables"][0]
    table: exp.Table = target.this if isinstance(target, exp.Schema) else target
    return table


def _target_ref(statement: exp.Expr, context: Context) -> TableRef:
    ref = resolve(_target_node(statement), context)
    if isinstance(ref, SystemView):
        raise invalid_query(f"{ref} is not allowed for this operation because it is a system view")
    return ref


def _writable(ref: TableRef, context: Context) -> Table:
    context.dataset(ref.project, ref.dataset)
    table = context.tables.find_table(ref)
    if table is None:
        raise context.not_found("Table", ref)
    if table.kind not in ("TABLE", "CLONE"):
        raise invalid_query(f"{ref} is not allowed for this operation because it is currently a {table.kind}.")
    return table


def _truncate(statement: exp.Expr, ref: TableRef, context: Context) -> QueryResult:
    table = _writable(ref, context)
    emptied: dict[str, Part | None] = dict.fromkeys(table.parts)
    if not table.partitioning.is_partitioned:
        emptied = {WHOLE: make_part(empty_rows(table.fields), table.fields, context.store.now_ms())}
    context.tables.write_parts(ref, emptied, basis=table.version)
    return _result(statement, ref, {"DELETE": table.version.rows}, None)


# -- INSERT


def _insert(statement: exp.Insert, ref: TableRef, sources: Sources) -> dict[str, int]:
    table = _writable(ref, sources.context)
    columns = _insert_columns(statement, table)
    source = _fill_defaults(statement.expression, columns, table.fields)
    sources.load(source)
    text = _insert_text(source, columns, table.fields, sources)
    rows = sources.connection.sql(text, params=used_in(text, sources.values)).to_arrow_table()
    _append(table, rows, sources.context)
    return {"INSERT": rows.num_rows}


def _insert_columns(statement: exp.Insert, table: Table) -> list[str]:
    known = {f["name"].lower(): f["name"] for f in table.fields}
    if table.partitioning.is_ingestion:
        known |= {name.lower(): name for name in PSEUDO_COLUMNS}
    if not isinstance(statement.this, exp.Schema):
        return [f["name"] for f in table.fields]
    for identifier in statement.this.expressions:
        if identifier.name.lower() not in known:
            raise invalid_query(f"Column {identifier.name} is not present in table {table.ref}")
    return [known[identifier.name.lower()] for identifier in statement.this.expressions]


def _fill_defaults(source: exp.Expr, columns: list[str], fields: Fields) -> exp.Expr:
    if isinstance(source, exp.Values):
        for row in source.expressions:
            for column, value in zip(columns, list(row.expressions), strict=False):
                if _is_default(value):
                    value.replace(_default_of(column, fields))
    return source


def _insert_text(source: exp.Expr, columns: list[str], fields: Fields, sources: Sources) -> str:
    """The source under the table's columns, with their types, and defaults for those it does not give."""
    given = {column.lower(): f"i{index}" for index, column in enumerate(columns)}
    now_us = sources.context.now_us
    _check_width(source, columns)
    text = to_duckdb(source, now_us)
    relation = sources.connection.sql(text, params=used_in(text, sources.values))
    kinds = dict(zip(given, relation.types, strict=False))
    casts = []
    for field in fields:
        value = given.get(field["name"].lower())
        if value is None:
            cast = f"CAST({to_duckdb(_default_of(field['name'], fields), now_us)} AS {duckdb_type(field)})"
        else:
            cast = cast_by_place(value, kinds[field["name"].lower()], field)
        casts.append(f'{cast} AS "{field["name"]}"')
    casts += [f'{given[name.lower()]} AS "{name}"' for name in PSEUDO_COLUMNS if name.lower() in given]
    names = ", ".join(given.values())
    return f"SELECT {', '.join(casts)} FROM ({text}) AS given({names})"


def _check_width(source: exp.Expr, columns: list[str]) -> None:
    rows = source.expressions if isinstance(source, exp.Values) else [source]
    for row in rows:
        width = len(row.expressions)
        if isinstance(source, exp.Values) and width != len(columns):
            raise invalid_query(f"Inserted row has wrong column count; Has {width}, expected {len(columns)}")


def _append(table: Table, rows: pa.Table, context: Context) -> None:
    pseudo = next((name for name in PSEUDO_COLUMNS if name in rows.column_names), None)
    plain = conform(rows, table.fields)
    if pseudo is None:
        context.tables.append_rows(table.ref, plain)
        return
    starts = pc.cast(pc.floor_temporal(rows.column(pseudo), unit=table.partitioning.unit.lower()), pa.timestamp("ms"))
    with context.tables.writing():
        for start in pc.unique(starts).to_pylist():
            at = int(pa.scalar(start, pa.timestamp("ms")).value)
            chosen = plain.filter(pc.equal(starts, pa.scalar(start, pa.timestamp("ms"))))
            context.tables.append_rows(table.ref, chosen, partition_at(table.partitioning, at))


# -- UPDATE, DELETE, MERGE


def _mutate(statement: exp.Expr, ref: TableRef, sources: Sources) -> dict[str, int]:
    table = _writable(ref, sources.context)
    node = _target_node(statement)
    require_partition_filter(node, table)
    temporary = _copy_to_temporary(table, names_any(statement, PSEUDO_COLUMNS), sources)
    sources.read(ref, table.version)
    sources.replace(node, temporary)
    sources.load(statement, known=frozenset((temporary,)))
    text = _WRITERS[type(statement)](statement, table, sources)
    changes = _run_on_temporary(text, statement.key.upper(), temporary, table, sources)
    _write(table, changes, sources.context)
    return dict(changes.counts)


def _copy_to_temporary(table: Table, pseudo: bool, sources: Sources) -> str:
    hidden = pseudo and table.partitioning.is_ingestion
    pieces = [_marked(read_table(table, table.version, False, hidden, [p]), p) for p in sorted(table.parts)]
    buffered = read_table(table, table.version, True, hidden, [UNPARTITIONED])
    held = table.parts.get(UNPARTITIONED)
    pieces.append(_marked(buffered.slice(held.rows if held else 0), _STREAMING))
    name = sources.register(pa.concat_tables(pieces), table.fields)
    sources.connection.execute(f'CREATE TEMP TABLE "{name}_copy" AS SELECT * FROM "{name}"')
    return f"{name}_copy"


def _marked(rows: pa.Table, partition: str) -> pa.Table:
    return rows.append_column(_PART, pa.repeat(pa.scalar(partition), rows.num_rows))


def _delete_text(statement: exp.Expr, table: Table, sources: Sources) -> str:
    condition = statement.args.get("where")
    if condition is None:
        raise invalid_query(f"DELETE must have a WHERE clause: {table.ref}")
    target, now_us = _target_node(statement), sources.context.now_us
    return f"DELETE FROM {_aliased(target)} WHERE {to_duckdb(condition.this, now_us)} RETURNING 'DELETE', {_PART}"


def _update_text(statement: exp.Expr, table: Table, sources: Sources) -> str:
    condition, now_us = statement.args.get("where"), sources.context.now_us
    if condition is None:
        raise invalid_query(f"UPDATE must have a WHERE clause: {table.ref}")
    target, source = _target_node(statement), statement.args.get("from_")
    sets = ", ".join(_assignment(item, table, target.alias, now_us) for item in statement.expressions)
    where = to_duckdb(condition.this, now_us)
    if source is None:
        return f"UPDATE {_aliased(target)} SET {sets} WHERE {where} RETURNING 'UPDATE', {_PART}"
    # As a MERGE, so that a row with two matches is refused.
    using = to_duckdb(source.this, now_us)
    matched = f"WHEN MATCHED THEN UPDATE SET {sets}"
    return f"MERGE INTO {_aliased(target)} USING {using} ON {where} {matched} RETURNING merge_action, {_PART}"


def _merge_text(statement: exp.Expr, table: Table, sources: Sources) -> str:
    target, now_us = _target_node(statement), sources.context.now_us
    using, on = to_duckdb(statement.args["using"], now_us), to_duckdb(statement.args["on"], now_us)
    source = statement.args["using"].alias_or_name
    whens = " ".join(_when(when, table, target.alias, source, now_us) for when in statement.args["whens"].expressions)
    return f"MERGE INTO {_aliased(target)} USING {using} ON {on} {whens} RETURNING merge_action, {_PART}"


_WRITERS: Mapping[type[exp.Expr], Callable[[exp.Expr, Table, Sources], str]] = {
    exp.Delete: _delete_text,
    exp.Update: _update_text,
    exp.Merge: _merge_text,
}


def _when(when: exp.When, table: Table, alias: str, source: str, now_us: int) -> str:
    matched = "MATCHED" if when.args.get("matched") else "NOT MATCHED"
    side = " BY SOURCE" if when.args.get("source") else ""
    condition = when.args.get("condition")
    also = f" AND {to_duckdb(condition, now_us)}" if condition is not None else ""
    return f"WHEN {matched}{side}{also} THEN {_then(when.args['then'], table, alias, source, now_us)}"


def _then(then: exp.Expr, table: Table, alias: str, source: str, now_us: int) -> str:
    if isinstance(then, exp.Update):
        return "UPDATE SET " + ", ".join(_assignment(item, table, alias, now_us) for item in then.expressions)
    if isinstance(then, exp.Insert):
        return _merge_insert(then, table, source, now_us)
    return "DELETE"


def _merge_insert(then: exp.Insert, table: Table, source: str, now_us: int) -> str:
    columns, values = _inserted(then, table, source)
    given = {column.lower(): value for column, value in zip(columns, values, strict=True)}
    texts = []
    for field in table.fields:
        value = given.get(field["name"].lower())
        if value is None or _is_default(value):
            value = _default_of(field["name"], table.fields)
        texts.append(f"CAST({to_duckdb(value, now_us)} AS {duckdb_type(field)})")
    names = ", ".join(_quoted(field["name"]) for field in table.fields)
    return f"INSERT ({names}) VALUES ({', '.join(texts)})"


def _inserted(then: exp.Insert, table: Table, source: str) -> tuple[list[str], list[exp.Expr]]:
    """Columns and values of INSERT ROW, INSERT VALUES (...) and INSERT (...) VALUES (...)."""
    every = [field["name"] for field in table.fields]
    if isinstance(then.this, exp.Var):
        return every, [exp.column(name, table=source, quoted=True) for name in every]
    if not then.expression:
        values = list(then.this.expressions[0].expressions)
        columns = every
    else:
        columns, values = [c.name for c in then.this.expressions], list(then.expression.expressions)
    if len(columns) != len(values):
        raise invalid_query(f"Inserted row has wrong column count; Has {len(values)}, expected {len(columns)}")
    return columns, values


def _assignment(item: exp.Expr, table: Table, alias: str, now_us: int) -> str:
    column, value = item.this, item.expression
    path = [part.name for part in column.parts]
    if len(path) > 1 and path[0].lower() in (alias.lower(), table.ref.table.lower()):
        path = path[1:]
    field = next((f for f in table.fields if f["name"].lower() == path[0].lower()), None)
    if field is None:
        raise invalid_query(f"Unrecognized name: {path[0]}")
    if len(path) > 2:
        raise not_implemented("UPDATE of fields more than one level deep")
    text = to_duckdb(_default_of(field["name"], table.fields) if _is_default(value) else value, now_us)
    if len(path) == 2:
        text = f"STRUCT_UPDATE({_quoted(field['name'])}, {_quoted(path[1])} := {text})"
    return f"{_quoted(field['name'])} = CAST({text} AS {duckdb_type(field)})"


def _run_on_temporary(text: str, kind: str, temporary: str, table: Table, sources: Sources) -> _Changes:
    done = Counter(sources.connection.execute(text, used_in(text, sources.values)).fetchall())
    touched = frozenset(partition for _, partition in done if partition is not None)
    if _STREAMING in touched:
        ref = table.ref
        raise invalid_query(
            f"{kind} statement over table {ref.project}.{ref.dataset}.{ref.table} would affect rows in the streaming "
            "buffer, which is not supported"
        )
    counts: Counter[str] = Counter()
    for (action, _), count in done.items():
        counts[str(action)] += count
    rows = _rows_after(temporary, touched, table, sources)
    return _Changes(counts, touched, conform(rows.drop_columns([_PART]), table.fields), rows.column(_PART))


def _rows_after(temporary: str, touched: Iterable[str], table: Table, sources: Sources) -> pa.Table:
    columns = ", ".join([*(_quoted(field["name"]) for field in table.fields), _PART])
    wanted = f"{_PART} IS NULL OR {_PART} IN (SELECT UNNEST(CAST($touched AS VARCHAR[])))"
    text = f'SELECT {columns} FROM "{temporary}" WHERE {wanted}'
    return sources.connection.sql(text, params={"touched": list(touched)}).to_arrow_table()


def _write(table: Table, changes: _Changes, context: Context) -> None:
    """Touched partitions are replaced; rows that came into another partition are added to it."""
    _require_values(changes.rows, table.fields)
    now = context.store.now_ms()
    changed: dict[str, Part | None] = dict.fromkeys(changes.touched)
    if WHOLE in changes.touched:
        changed[WHOLE] = make_part(empty_rows(table.fields), table.fields, now)
    for partition, rows in _split(table, changes, now).items():
        part = make_part(rows, table.fields, now)
        held = None if partition in changes.touched else table.parts.get(partition)
        changed[partition] = held.merged_with(part) if held is not None else part
    if changed:
        context.tables.write_parts(table.ref, changed, basis=table.version)


def _split(table: Table, changes: _Changes, now_ms: int) -> dict[str, pa.Table]:
    if not table.partitioning.is_ingestion:
        return partition_rows(table.partitioning, changes.rows, now_ms)
    held = pc.fill_null(changes.held_in, partition_at(table.partitioning, now_ms))
    return {p: changes.rows.filter(pc.equal(held, p)) for p in pc.unique(held).to_pylist()}


def _require_values(rows: pa.Table, fields: Fields) -> None:
    for field in fields:
        if is_required(field) and rows.column(field["name"]).null_count:
            raise invalid_query(f"Required field {field['name']} cannot be null")


# -- text


def _is_default(value: exp.Expr) -> bool:
    return isinstance(value, (exp.Var, exp.Column)) and value.name.upper() == "DEFAULT"


def _default_of(column: str, fields: Fields) -> exp.Expr:
    text = next((f.get("defaultValueExpression") for f in fields if f["name"] == column), None)
    return exp.maybe_parse(text, dialect="bigquery") if text else exp.Null()


def _aliased(target: exp.Table) -> str:
    return f"{_quoted(target.name)} AS {_quoted(target.alias)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
