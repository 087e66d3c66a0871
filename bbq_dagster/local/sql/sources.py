"""What a statement reads: every table it names, found in the store and made known to DuckDB.

Tables come in as the store's Arrow rows, without a copy; views as temporary views over what they read;
INFORMATION_SCHEMA as Arrow columns built for this statement. Nothing is read that the statement does not name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
from sqlglot import exp

from bbq_dagster.local.errors import BigQueryError, invalid, invalid_query, not_implemented
from bbq_dagster.local.model import Fields, Table, TableRef, TableVersion
from bbq_dagster.local.sql import information_schema
from bbq_dagster.local.sql.constants import milliseconds
from bbq_dagster.local.sql.dialect import to_duckdb
from bbq_dagster.local.sql.names import Context, SystemView, name_of, resolve
from bbq_dagster.local.sql.parameters import Values, used_in
from bbq_dagster.local.sql.parsing import parse_query
from bbq_dagster.local.sql.pushdown import columns_named, conditions_on_names, is_used_as_row
from bbq_dagster.local.sql.routines import with_functions_written_out
from bbq_dagster.local.sql.session import Session
from bbq_dagster.local.sql.types import duckdb_type, for_duckdb, needs_cast
from bbq_dagster.local.sql.workspace import Workspace
from bbq_dagster.local.store import read_table

PSEUDO_COLUMNS = ("_PARTITIONTIME", "_PARTITIONDATE")
_SUFFIX = "_TABLE_SUFFIX"
_DEEPEST_VIEW = 16


@dataclass(slots=True)
class Sources:
    """The tables of one statement, on one connection.

    Attributes:
        values: Of the statement's parameters.
        tables: Those read, in the order of their names in the text.
        bytes: Logical bytes of what was read.
    """

    context: Context
    connection: duckdb.DuckDBPyConnection
    values: Values
    tables: list[TableRef] = field(default_factory=list)
    bytes: int = 0
    _count: int = 0

    def load(self, statement: exp.Expr, depth: int = 0, known: frozenset[str] = frozenset()) -> None:
        """Make every table that the statement reads known, and write the name it has there into the statement.

        Tables whose names are ``known`` to DuckDB already are left alone.
        """
        wanted = columns_named(statement)
        pseudo = names_any(statement, (*PSEUDO_COLUMNS, _SUFFIX))
        for table in [t for t in _tables_of(statement) if t.name not in known]:
            source = resolve(table, self.context)
            if isinstance(source, SystemView):
                self._load_system_view(table, source, wanted)
            elif source.table.endswith("*"):
                self._load_wildcard(table, source)
            else:
                self._load_table(table, source, pseudo, depth)

    def replace(self, table: exp.Table, name: str) -> None:
        """The name in the statement by the one in DuckDB, under the alias by which the statement knows it."""
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name_of(table).rpartition(".")[2], quoted=True)))
        elif name_of(table) == table.alias:
            table.args["alias"].set("this", exp.to_identifier(table.alias.rpartition(".")[2], quoted=True))
        table.set("this", exp.to_identifier(name, quoted=True))
        for part in ("db", "catalog", "version", "when"):
            table.set(part, None)

    def register(self, rows: pa.Table, fields: Fields = ()) -> str:
        """Rows under a new name. ``fields`` tell which columns hold what Arrow does not say, e.g. JSON."""
        name = self._new_name()
        casts = [f'CAST("{f["name"]}" AS {duckdb_type(f)}) AS "{f["name"]}"' for f in fields if needs_cast(f)]
        if not casts:
            self.connection.register(name, rows)
            return name
        self.connection.register(f"{name}_arrow", for_duckdb(rows, fields))
        self.connection.execute(
            f'CREATE TEMP VIEW "{name}" AS SELECT * REPLACE ({", ".join(casts)}) FROM "{name}_arrow"'
        )
        return name

    def read(self, ref: TableRef, version: TableVersion | None) -> None:
        """Count a table among those read."""
        self.tables.append(ref)
        self.bytes += 0 if version is None else version.bytes

    def _new_name(self) -> str:
        self._count += 1
        return f"source_{self._count}"

    def _load_table(self, node: exp.Table, ref: TableRef, pseudo: bool, depth: int) -> None:
        table, version = self._find(node, ref)
        if table.kind in ("VIEW", "MATERIALIZED_VIEW"):
            self._load_view(node, table, depth)
            return
        if not table.holds_rows:
            raise not_implemented(f"queries over tables of type {table.kind}")
        require_partition_filter(node, table)
        self.read(ref, version)
        hidden = pseudo and table.partitioning.is_ingestion
        rows = read_table(table, version, version is table.version, hidden)
        if hidden:
            _hide(node, PSEUDO_COLUMNS)
        self.replace(node, self.register(rows, version.fields))

    def _find(self, node: exp.Table, ref: TableRef) -> tuple[Table, TableVersion]:
        self.context.dataset(ref.project, ref.dataset)
        at = node.args.get("version")
        if at is not None:
            instant = milliseconds(at.expression, self.context.now_us, self.values)
            return self.context.tables.table_at(ref, instant)
        found = self.context.tables.find_table(ref)
        if found is None:
            raise self.context.not_found("Table", ref)
        return found, found.version

    def _load_view(self, node: exp.Table, view: Table, depth: int) -> None:
        if depth == _DEEPEST_VIEW:
            raise invalid(f"View {view.ref} is nested too deeply: the maximum is {_DEEPEST_VIEW} levels")
        self.tables.append(view.ref)
        definition = view.resource.get("view") or view.resource["materializedView"]
        within = _within(self.context, view)
        query = with_functions_written_out(parse_query(definition["query"]), within)
        inner = Sources(within, self.connection, {}, self.tables, 0, self._count + 1)
        try:
            inner.load(query, depth + 1)
        except BigQueryError as error:
            raise BigQueryError(
                error.status, error.reason, f"{error.message} while analyzing view {view.ref}"
            ) from error
        self.bytes, self._count = self.bytes + inner.bytes, inner._count
        name = self._new_name()
        self.connection.execute(f'CREATE TEMP VIEW "{name}" AS {to_duckdb(query, self.context.now_us)}')
        self.replace(node, name)

    def _load_system_view(self, node: exp.Table, view: SystemView, wanted: frozenset[str] | None) -> None:
        chosen = None if wanted is None or is_used_as_row(node) else wanted
        scope = information_schema.Scope(
            self.context.store, view, self._names_passing(node), self.context.now_us // 1000
        )
        rows = information_schema.read(scope, chosen, self.context)
        self.replace(node, self.register(rows, information_schema.fields(view.name, chosen)))

    def _names_passing(self, node: exp.Table) -> information_schema.Passing | None:
        """The query's own conditions on table_schema and table_name, to be applied before anything is built."""
        conditions = list(conditions_on_names(node))
        if not conditions:
            return None

        def passing(schemas: pa.Array, names: pa.Array) -> list[int]:
            query = exp.select("position").from_("names_to_filter").where(*[c.copy() for c in conditions])
            text = to_duckdb(query, self.context.now_us)
            positions = pa.array(range(len(names)), pa.int64())
            rows = pa.table({"table_schema": schemas, "table_name": names, "position": positions})
            self.connection.register("names_to_filter", rows)
            return sorted(row[0] for row in self.connection.execute(text, used_in(text, self.values)).fetchall())

        return passing

    def _load_wildcard(self, node: exp.Table, ref: TableRef) -> None:
        prefix = ref.table[:-1]
        self.context.dataset(ref.project, ref.dataset)
        of_dataset = self.context.store.tables(ref.project, ref.dataset)
        found = [t for t in of_dataset if t.ref.table.startswith(prefix) and t.holds_rows]
        if not found:
            raise invalid_query(f"{ref.project}:{ref.dataset}.{ref.table} does not match any table.")
        newest = max(found, key=lambda t: t.created_ms)
        pieces = []
        for table in found:
            self.read(table.ref, table.version)
            rows = TableVersion(0, newest.fields, table.parts).read()
            suffix = pa.repeat(pa.scalar(table.ref.table[len(prefix) :]), rows.num_rows)
            pieces.append(rows.append_column(_SUFFIX, suffix))
        _hide(node, (_SUFFIX,))
        self.replace(node, self.register(pa.concat_tables(pieces), newest.fields))


def _within(context: Context, view: Table) -> Context:
    """What a view sees: its own project, and nothing of the session."""
    own = Session(Workspace(context.store, view.ref.project))
    return Context(context.store, view.ref.project, own, context.location, now_us=context.now_us)


def _tables_of(statement: exp.Expr) -> Iterator[exp.Table]:
    for table in statement.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and not _is_cte(table):
            yield table


def _is_cte(table: exp.Table) -> bool:
    if table.db:
        return False
    node: exp.Expr | None = table.parent
    while node is not None:
        clause = node.args.get("with_") or node.args.get("with")
        if isinstance(clause, exp.With) and any(c.alias.lower() == table.name.lower() for c in clause.expressions):
            return True
        node = node.parent
    return False


def names_any(statement: exp.Expr, columns: tuple[str, ...]) -> bool:
    """Whether the statement names one of these columns, given in upper case."""
    return any(identifier.name.upper() in columns for identifier in statement.find_all(exp.Identifier))


def _hide(table: exp.Table, columns: tuple[str, ...]) -> None:
    """Keep pseudo columns out of ``*``."""
    select = table.find_ancestor(exp.Select)
    hidden = [exp.to_identifier(column) for column in columns]
    for projection in select.expressions if select is not None else ():
        star = projection.this if isinstance(projection, exp.Column) else projection
        owner = projection.table if isinstance(projection, exp.Column) else ""
        if isinstance(star, exp.Star) and owner in ("", table.alias_or_name):
            excluded = star.args.get("except_") or star.args.get("except") or []
            key = "except_" if "except_" in exp.Star.arg_types else "except"
            star.set(key, [*excluded, *(h.copy() for h in hidden)])


def require_partition_filter(node: exp.Table, table: Table) -> None:
    """Refuse what would read every partition of a table that asks for a filter (querying-partitioned-tables)."""
    asked = table.resource.get("requirePartitionFilter") or (table.resource.get("timePartitioning") or {}).get(
        "requirePartitionFilter"
    )
    if not asked or not table.partitioning.is_partitioned:
        return
    column = table.partitioning.column
    names = (column,) if column else ("_PARTITION_LOAD_TIME", "_PARTITIONDATE", "_PARTITIONTIME")
    if not _is_filtered(node, {name.lower() for name in names}):
        listed = ", ".join(f"'{name}'" for name in names)
        ref = table.ref
        raise invalid_query(
            f"Cannot query over table '{ref.project}.{ref.dataset}.{ref.table}' without a filter over column(s) "
            f"{listed} that can be used for partition elimination"
        )


def _is_filtered(node: exp.Table, columns: set[str]) -> bool:
    scope: exp.Expr | None = node.parent
    while scope is not None:
        conditions = [scope.args.get("where"), scope.args.get("on")] if not isinstance(scope, exp.Join) else []
        found = (c for condition in conditions if condition is not None for c in condition.find_all(exp.Column))
        if any(column.name.lower() in columns for column in found):
            return True
        scope = scope.parent
    return False
