"""INFORMATION_SCHEMA: each view a row source and a tuple of columns, as BigQuery documents them.

https://cloud.google.com/bigquery/docs/information-schema-intro. A view's rows are the store's own values (tables,
partitions, options, ...); a column is a function of such a row. Only the columns that a query names are built.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple
from zlib import crc32

import pyarrow as pa

from bbq_dagster.local.errors import invalid_query
from bbq_dagster.local.model import Dataset, Job, Part, Table
from bbq_dagster.local.partitioning import UNPARTITIONED, WHOLE
from bbq_dagster.local.schema import Field, arrow_type, is_required
from bbq_dagster.local.sql.ddl_text import dataset_ddl, table_ddl
from bbq_dagster.local.sql.names import Context, SystemView
from bbq_dagster.local.sql.options import DATASET_OPTIONS, TABLE_OPTIONS, OptionRow, shown
from bbq_dagster.local.sql.types import sql_type
from bbq_dagster.local.store import Store

Passing = Callable[[pa.Array, pa.Array], list[int]]
"""Of table_schema and table_name, the positions that a query's own conditions let pass."""

_LONG_TERM_MS = 90 * 86_400_000
_MOST_TABLES_OF_PARTITIONS = 1000
_TABLE_TYPES = {
    "TABLE": "BASE TABLE",
    "MATERIALIZED_VIEW": "MATERIALIZED VIEW",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What a view covers in one query.

    Attributes:
        passing: The query's conditions on names, to be applied before anything is built; None where it has none.
    """

    store: Store
    view: SystemView
    passing: Passing | None
    now_ms: int

    def datasets(self) -> list[Dataset]:
        """The dataset, or all of the region that are not hidden."""
        if self.view.dataset is not None:
            return [self.store.get_dataset(self.view.project, self.view.dataset)]
        return [d for d in self.store.datasets(self.view.project) if self._in_region(d) and not _is_hidden(d.dataset)]

    def tables(self) -> list[Table]:
        return self.filtered(chain.from_iterable(self.store.tables(d.project, d.dataset) for d in self.datasets()))

    def tombstones(self) -> list[Table]:
        """Deleted tables. Of a dataset that is gone too, the region is not known any more: it counts as this one."""
        elsewhere = {d.dataset for d in self.store.datasets(self.view.project) if not self._in_region(d)}
        return self.filtered(t for t in self.store.tombstones(self.view.project) if t.ref.dataset not in elsewhere)

    def filtered(self, tables: Iterable[Table]) -> list[Table]:
        found = list(tables)
        if self.passing is None:
            return found
        schemas = pa.array([t.ref.dataset for t in found], pa.string())
        return [found[i] for i in self.passing(schemas, pa.array([t.ref.table for t in found], pa.string()))]

    def _in_region(self, dataset: Dataset) -> bool:
        return self.view.region is None or dataset.location.lower() == self.view.region


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its REST type (TIMESTAMP values are milliseconds), and its value in a row."""

    name: str
    type: str
    value: Callable[[Any], Any]
    fields: tuple[Field, ...] = ()
    repeated: bool = False

    @property
    def field(self) -> dict[str, Any]:
        field = {"name": self.name, "type": self.type, "mode": "REPEATED" if self.repeated else "NULLABLE"}
        return field | {"fields": list(self.fields)} if self.fields else field

    def array(self, rows: Sequence[Any]) -> pa.Array:
        values, kind = list(map(self.value, rows)), arrow_type(self.field)
        if self.type == "TIMESTAMP":
            return pa.array(values, pa.timestamp("ms", tz="UTC")).cast(kind)
        return pa.array(values, kind)


@dataclass(frozen=True, slots=True)
class _View:
    """A view: what its rows are, its columns, and the qualifiers it takes (dataset, region; none means the project)."""

    rows: Callable[[Scope], Sequence[Any]]
    columns: tuple[_Column, ...]
    qualifiers: frozenset[str]

    def chosen(self, wanted: frozenset[str] | None) -> list[_Column]:
        chosen = [c for c in self.columns if wanted is None or c.name in wanted]
        return chosen or [self.columns[0]]


def read(scope: Scope, wanted: frozenset[str] | None, context: Context) -> pa.Table:
    """The columns of a view that are wanted (None: all); at least one, so that rows can be counted.

    A view that does not exist, or not under this qualifier, is ``notFound``.
    """
    view = _view(scope.view, context)
    columns = view.chosen(wanted)
    with _no_garbage():
        rows = view.rows(scope)
        return pa.Table.from_arrays([c.array(rows) for c in columns], names=[c.name for c in columns])


def fields(name: str, wanted: frozenset[str] | None) -> list[dict[str, Any]]:
    """The REST fields of what ``read`` gives."""
    return [column.field for column in _VIEWS[name].chosen(wanted)]


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Rows have no cycles; looking for some among all tables of the server would take a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _view(named: SystemView, context: Context) -> _View:
    view = _VIEWS.get(named.name)
    qualifier = "dataset" if named.dataset else "region" if named.region else "none"
    if view is not None and qualifier in view.qualifiers:
        return view
    if view is not None and qualifier == "none":
        raise invalid_query(
            f'Table "INFORMATION_SCHEMA.{named.name}" must be qualified with a dataset (e.g. dataset.table).'
        )
    raise context.not_found("Table", named)


# -- rows


# Rows are made by the hundred thousand: named tuples are made in half the time of a frozen dataclass.


class _TableOption(NamedTuple):
    table: Table
    option: OptionRow


class _DatasetOption(NamedTuple):
    dataset: Dataset
    option: OptionRow


class _TableColumn(NamedTuple):
    """A column of a table; ``position`` counts from 1, and is None for a pseudo column."""

    table: Table
    position: int | None
    field: Field
    path: str = ""


class _Partition(NamedTuple):
    """A partition with rows; the streaming buffer counts as ``__UNPARTITIONED__``."""

    table: Table
    id: str | None
    rows: int
    bytes: int
    modified_ms: int
    tier: str


class _Stored(NamedTuple):
    """A table with the time of the query."""

    table: Table
    now_ms: int


_PSEUDO_COLUMN: Field = {"name": "_PARTITIONTIME", "type": "TIMESTAMP", "mode": "NULLABLE"}


def _table_options(scope: Scope) -> list[_TableOption]:
    return [_TableOption(t, option) for t in scope.tables() for option in shown(TABLE_OPTIONS, t.resource)]


def _dataset_options(scope: Scope) -> list[_DatasetOption]:
    return [_DatasetOption(d, option) for d in scope.datasets() for option in shown(DATASET_OPTIONS, d.resource)]


def _table_columns(scope: Scope) -> list[_TableColumn]:
    return [column for table in scope.tables() for column in _columns_of(table)]


def _columns_of(table: Table) -> Iterator[_TableColumn]:
    for position, field in enumerate(table.fields, 1):
        yield _TableColumn(table, position, field)
    if table.partitioning.is_ingestion:
        yield _TableColumn(table, None, _PSEUDO_COLUMN)


def _field_paths(scope: Scope) -> list[_TableColumn]:
    return [
        _TableColumn(table, None, field, path)
        for table in scope.tables()
        for top in table.fields
        for path, field in _paths(top, "")
    ]


def _paths(field: Field, prefix: str) -> Iterator[tuple[str, Field]]:
    path = f"{prefix}{field['name']}"
    yield path, field
    for child in field.get("fields") or ():
        yield from _paths(child, f"{path}.")


def _partitions(scope: Scope) -> list[_Partition]:
    tables = [t for t in scope.tables() if t.holds_rows]
    if len(tables) > _MOST_TABLES_OF_PARTITIONS:
        raise invalid_query(
            "INFORMATION_SCHEMA.PARTITIONS query attempted to read too many tables. "
            "Please add more restrictive filters."
        )
    return [partition for table in tables for partition in _partitions_of(table, scope.now_ms)]


def _partitions_of(table: Table, now_ms: int) -> Iterator[_Partition]:
    parts: dict[str, Part] = dict(table.parts)
    if table.partitioning.is_partitioned:
        for part in (part for streamed in table.streamed for part in streamed.parts.values()):
            parts[UNPARTITIONED] = parts[UNPARTITIONED].merged_with(part) if UNPARTITIONED in parts else part
    for partition, part in sorted(parts.items()):
        if part.rows:
            tier = "LONG_TERM" if _is_long_term(part, now_ms) else "ACTIVE"
            name = None if partition == WHOLE else partition
            yield _Partition(table, name, part.rows, part.bytes, part.modified_ms, tier)


def _stored(scope: Scope) -> list[_Stored]:
    """Tables that have storage, live and deleted."""
    live = [t for t in scope.tables() if t.holds_rows or t.kind == "MATERIALIZED_VIEW"]
    return [_Stored(t, scope.now_ms) for t in (*live, *scope.tombstones())]


def _snapshots(scope: Scope) -> list[Table]:
    return [t for t in scope.tables() if t.kind == "SNAPSHOT"]


def _views(scope: Scope) -> list[Table]:
    return [t for t in scope.tables() if t.kind in ("VIEW", "MATERIALIZED_VIEW")]


def _materialized_views(scope: Scope) -> list[Table]:
    return [t for t in scope.tables() if t.kind == "MATERIALIZED_VIEW"]


def _jobs(scope: Scope) -> list[Job]:
    return [j for j in scope.store.jobs(scope.view.project) if j.location.lower() == scope.view.region]


def _routines(scope: Scope) -> list[Mapping[str, Any]]:
    return list(chain.from_iterable(scope.store.routines(d.project, d.dataset) for d in scope.datasets()))


# -- values


def _is_hidden(dataset: str) -> bool:
    return dataset.startswith("_")


def _is_long_term(part: Part, now_ms: int) -> bool:
    return now_ms - part.modified_ms >= _LONG_TERM_MS


def _yes(value: object) -> str:
    return "YES" if value else "NO"


def _table_type(table: Table) -> str:
    return "CLONE" if "cloneDefinition" in table.resource else _TABLE_TYPES.get(table.kind, table.kind)


def _base(table: Table, key: str) -> str | None:
    definition = table.resource.get("snapshotDefinition") or table.resource.get("cloneDefinition") or {}
    base = definition.get("baseTableReference") or {}
    return base.get(key)


def _base_time_ms(table: Table) -> int | None:
    snapshot, clone = table.resource.get("snapshotDefinition"), table.resource.get("cloneDefinition")
    text = snapshot["snapshotTime"] if snapshot else clone["cloneTime"] if clone else None
    if text is None:
        return None
    return int(text) if str(text).isdigit() else round(datetime.fromisoformat(text).timestamp() * 1000)


def _clustering_position(column: _TableColumn) -> int | None:
    names = [name.lower() for name in column.table.clustering]
    name = column.field["name"].lower()
    return names.index(name) + 1 if name in names else None


def _is_partitioning(column: _TableColumn) -> bool:
    by = column.table.partitioning
    if column.position is None:
        return True
    return by.column is not None and by.column.lower() == column.field["name"].lower()


def _storage_modified(table: Table) -> int | None:
    """The last write of data that is still there, streamed rows included; NULL for an empty table."""
    written = [part.modified_ms for part in table.parts.values() if part.rows]
    return max([*written, *(streamed.at_ms for streamed in table.streamed)], default=None)


def _long_term_bytes(row: _Stored) -> int:
    return sum(part.bytes for part in row.table.parts.values() if _is_long_term(part, row.now_ms))


def _active_bytes(row: _Stored) -> int:
    return row.table.version.bytes - _long_term_bytes(row)


def _total_partitions(row: _Stored) -> int:
    return len(row.table.parts) if row.table.partitioning.is_partitioned else 0


def _deletion_reason(row: _Stored) -> str | None:
    table = row.table
    if table.deleted_ms is None:
        return None
    expired = table.expires_ms is not None and table.expires_ms <= table.deleted_ms
    return "TABLE_EXPIRATION" if expired else "USER_DELETED"


def _past_bytes(row: _Stored) -> int:
    """Bytes that only time travel still needs."""
    held = {id(part) for part in row.table.parts.values()}
    return sum(p.bytes for past in row.table.past for p in past.parts.values() if p is not None and id(p) not in held)


def _view_query(table: Table) -> str:
    definition = table.resource.get("view") or table.resource["materializedView"]
    return str(definition["query"])


def _statistic(*path: str) -> Callable[[Job], Any]:
    def value(job: Job) -> Any:
        found: Any = job.statistics
        for key in path:
            found = (found or {}).get(key)
        return found

    return value


def _as_int(value: Callable[[Job], Any]) -> Callable[[Job], int | None]:
    return lambda job: None if value(job) is None else int(value(job))


def _job_table(job: Job) -> dict[str, str] | None:
    reference = (job.configuration.get(job.kind) or {}).get("destinationTable")
    if not reference:
        return None
    return {
        "project_id": reference.get("projectId", ""),
        "dataset_id": reference.get("datasetId", ""),
        "table_id": reference.get("tableId", ""),
    }


def _job_error(job: Job) -> dict[str, Any] | None:
    if not job.errors:
        return None
    first = job.errors[0]
    return {"reason": first.get("reason"), "location": first.get("location"), "message": first.get("message")}


def project_number(project: str) -> str:
    """A number that stays the same for a project."""
    return str(crc32(project.encode()))


# -- columns


def _string(name: str, value: Callable[[Any], Any]) -> _Column:
    return _Column(name, "STRING", value)


def _integer(name: str, value: Callable[[Any], Any]) -> _Column:
    return _Column(name, "INTEGER", value)


def _time(name: str, value: Callable[[Any], Any]) -> _Column:
    return _Column(name, "TIMESTAMP", value)


def _nothing(_: object) -> None:
    return None


def _always(value: str) -> Callable[[Any], str]:
    return lambda _: value


def _names(ref: str) -> tuple[_Column, ...]:
    """By the path of a row's ``TableRef``."""
    return (
        _string("table_catalog", attrgetter(f"{ref}.project")),
        _string("table_schema", attrgetter(f"{ref}.dataset")),
        _string("table_name", attrgetter(f"{ref}.table")),
    )


def _option_columns() -> tuple[_Column, ...]:
    return (
        _string("option_name", attrgetter("option.name")),
        _string("option_type", attrgetter("option.kind")),
        _string("option_value", attrgetter("option.value")),
    )


_POLICY_TAGS = _Column("policy_tags", "STRING", lambda c: (c.field.get("policyTags") or {}).get("names"), repeated=True)

_SCHEMATA = (
    _string("catalog_name", lambda d: d.project),
    _string("schema_name", lambda d: d.dataset),
    _string("schema_owner", _nothing),
    _time("creation_time", lambda d: d.created_ms),
    _time("last_modified_time", lambda d: d.modified_ms),
    _string("location", lambda d: d.location),
    _string("ddl", dataset_ddl),
    _string("default_collation_name", lambda d: d.resource.get("defaultCollation") or "NULL"),
)

_SCHEMATA_OPTIONS = (
    _string("catalog_name", lambda row: row.dataset.project),
    _string("schema_name", lambda row: row.dataset.dataset),
    *_option_columns(),
)

_TABLES = (
    *_names("ref"),
    _string("table_type", _table_type),
    _string("managed_table_type", lambda table: "NATIVE" if table.holds_rows else None),
    _string("is_insertable_into", lambda table: _yes(table.kind in ("TABLE", "CLONE"))),
    _string("is_fine_grained_mutations_enabled", _always("NO")),
    _string("is_typed", _always("NO")),
    _string("is_change_history_enabled", _always("NO")),
    _time("creation_time", lambda table: table.created_ms),
    _string("base_table_catalog", lambda table: _base(table, "projectId")),
    _string("base_table_schema", lambda table: _base(table, "datasetId")),
    _string("base_table_name", lambda table: _base(table, "tableId")),
    _time("snapshot_time_ms", _base_time_ms),
    _string("replica_source_catalog", _nothing),
    _string("replica_source_schema", _nothing),
    _string("replica_source_name", _nothing),
    _string("replication_status", _nothing),
    _string("replication_error", _nothing),
    _string("ddl", table_ddl),
    _string("default_collation_name", lambda table: table.resource.get("defaultCollation") or "NULL"),
    _time("upsert_stream_apply_watermark", _nothing),
)

_TABLE_OPTIONS = (*_names("table.ref"), *_option_columns())

_COLUMNS = (
    *_names("table.ref"),
    _string("column_name", lambda column: column.field["name"]),
    _integer("ordinal_position", lambda column: column.position),
    _string("is_nullable", lambda column: _yes(not is_required(column.field))),
    _string("data_type", lambda column: sql_type(column.field)),
    _string("is_generated", _always("NEVER")),
    _string("generation_expression", _nothing),
    _string("is_stored", _nothing),
    _string("is_hidden", lambda column: _yes(column.position is None)),
    _string("is_updatable", _nothing),
    _string("is_system_defined", lambda column: _yes(column.position is None)),
    _string("is_partitioning_column", lambda column: _yes(_is_partitioning(column))),
    _integer("clustering_ordinal_position", _clustering_position),
    _string("collation_name", lambda column: column.field.get("collation") or "NULL"),
    _string("column_default", lambda column: column.field.get("defaultValueExpression") or "NULL"),
    _string("rounding_mode", lambda column: column.field.get("roundingMode")),
    _POLICY_TAGS,
)

_COLUMN_FIELD_PATHS = (
    *_names("table.ref"),
    _string("column_name", lambda column: column.path.partition(".")[0]),
    _string("field_path", lambda column: column.path),
    _string("data_type", lambda column: sql_type(column.field)),
    _string("description", lambda column: column.field.get("description")),
    _string("collation_name", lambda column: column.field.get("collation") or "NULL"),
    _string("rounding_mode", lambda column: column.field.get("roundingMode")),
    _POLICY_TAGS,
)

_PARTITIONS = (
    *_names("table.ref"),
    _string("partition_id", lambda partition: partition.id),
    _integer("total_rows", lambda partition: partition.rows),
    _integer("total_logical_bytes", lambda partition: partition.bytes),
    _integer("total_billable_bytes", lambda partition: partition.bytes),
    _time("last_modified_time", lambda partition: partition.modified_ms),
    _string("storage_tier", lambda partition: partition.tier),
)

# Physical bytes are the logical ones: nothing here is compressed.
_TABLE_STORAGE = (
    _string("project_id", lambda row: row.table.ref.project),
    _integer("project_number", lambda row: int(project_number(row.table.ref.project))),
    *_names("table.ref"),
    _time("creation_time", lambda row: row.table.created_ms),
    _integer("total_rows", lambda row: row.table.version.rows),
    _integer("total_partitions", _total_partitions),
    _integer("total_logical_bytes", lambda row: row.table.version.bytes),
    _integer("active_logical_bytes", _active_bytes),
    _integer("long_term_logical_bytes", _long_term_bytes),
    _integer("current_physical_bytes", lambda row: row.table.version.bytes),
    _integer("total_physical_bytes", lambda row: row.table.version.bytes + _past_bytes(row)),
    _integer("active_physical_bytes", lambda row: _active_bytes(row) + _past_bytes(row)),
    _integer("long_term_physical_bytes", _long_term_bytes),
    _integer("time_travel_physical_bytes", _past_bytes),
    _time("storage_last_modified_time", lambda row: _storage_modified(row.table)),
    _Column("deleted", "BOOLEAN", lambda row: row.table.deleted_ms is not None),
    _string("table_type", lambda row: _table_type(row.table)),
    _string("managed_table_type", _always("NATIVE")),
    _integer("fail_safe_physical_bytes", lambda _: 0),
    _time("last_metadata_index_refresh_time", _nothing),
    _string("table_deletion_reason", _deletion_reason),
    _time("table_deletion_time", lambda row: row.table.deleted_ms),
)

_TABLE_SNAPSHOTS = (
    *_names("ref"),
    _string("base_table_catalog", lambda table: _base(table, "projectId")),
    _string("base_table_schema", lambda table: _base(table, "datasetId")),
    _string("base_table_name", lambda table: _base(table, "tableId")),
    _time("snapshot_time", _base_time_ms),
)

_VIEW_COLUMNS = (
    *_names("ref"),
    _string("view_definition", _view_query),
    _string("check_option", _nothing),
    _string("use_standard_sql", lambda table: _yes(not (table.resource.get("view") or {}).get("useLegacySql"))),
)

_ROUTINES = (
    _string("specific_catalog", lambda r: r["routineReference"]["projectId"]),
    _string("specific_schema", lambda r: r["routineReference"]["datasetId"]),
    _string("specific_name", lambda r: r["routineReference"]["routineId"]),
    _string("routine_catalog", lambda r: r["routineReference"]["projectId"]),
    _string("routine_schema", lambda r: r["routineReference"]["datasetId"]),
    _string("routine_name", lambda r: r["routineReference"]["routineId"]),
    _string("routine_type", lambda r: str(r.get("routineType", "")).removeprefix("SCALAR_")),
    _string("data_type", lambda r: (r.get("returnType") or {}).get("typeKind")),
    _string("routine_body", lambda r: "SQL" if r.get("language", "SQL") == "SQL" else "EXTERNAL"),
    _string("routine_definition", lambda r: r.get("definitionBody")),
    _string("external_language", lambda r: None if r.get("language", "SQL") == "SQL" else r["language"]),
)


def _strings(*names: str) -> tuple[Field, ...]:
    return tuple({"name": name, "type": "STRING", "mode": "NULLABLE"} for name in names)


# Queries read the base tables, so a view is never refreshed.
_MATERIALIZED_VIEW_COLUMNS = (
    *_names("ref"),
    _time("last_refresh_time", _nothing),
    _time("refresh_watermark", _nothing),
    _Column("last_refresh_status", "RECORD", _nothing, _strings("reason", "location", "debug_info", "message")),
)

_JOBS = (
    _time("creation_time", lambda job: job.created_ms),
    _string("project_id", lambda job: job.project),
    _integer("project_number", lambda job: int(project_number(job.project))),
    _string("job_id", lambda job: job.id),
    _string("job_type", lambda job: job.kind.upper()),
    _string("statement_type", _statistic("query", "statementType")),
    _string("priority", lambda job: (job.configuration.get("query") or {}).get("priority", "INTERACTIVE")),
    _time("start_time", lambda job: job.started_ms),
    _time("end_time", lambda job: job.ended_ms),
    _string("query", lambda job: (job.configuration.get("query") or {}).get("query")),
    _string("state", lambda job: job.state),
    _integer("total_bytes_processed", _as_int(_statistic("query", "totalBytesProcessed"))),
    _Column("error_result", "RECORD", _job_error, _strings("reason", "location", "message")),
    _Column("destination_table", "RECORD", _job_table, _strings("project_id", "dataset_id", "table_id")),
    _Column(
        "labels",
        "RECORD",
        lambda job: [{"key": k, "value": v} for k, v in sorted((job.configuration.get("labels") or {}).items())],
        _strings("key", "value"),
        repeated=True,
    ),
    _string("parent_job_id", _statistic("parentJobId")),
)

_TYPE_NUMBERS = {"TABLE": 1, "VIEW": 2, "EXTERNAL": 3, "MATERIALIZED_VIEW": 4, "SNAPSHOT": 5, "CLONE": 1}

# The table before INFORMATION_SCHEMA, which clients still ask: https://cloud.google.com/bigquery/docs/listing-tables
_META_TABLES = (
    _string("project_id", lambda table: table.ref.project),
    _string("dataset_id", lambda table: table.ref.dataset),
    _string("table_id", lambda table: table.ref.table),
    _integer("creation_time", lambda table: table.created_ms),
    _integer("last_modified_time", lambda table: table.modified_ms),
    _integer("row_count", lambda table: table.version.rows),
    _integer("size_bytes", lambda table: table.version.bytes),
    _integer("type", lambda table: _TYPE_NUMBERS[table.kind]),
)

_DATASET_OR_REGION = frozenset(("dataset", "region"))
_REGION_ONLY = frozenset(("region",))
_REGION_OR_PROJECT = frozenset(("region", "none"))

_VIEWS: Mapping[str, _View] = {
    "SCHEMATA": _View(Scope.datasets, _SCHEMATA, _REGION_OR_PROJECT),
    "SCHEMATA_OPTIONS": _View(_dataset_options, _SCHEMATA_OPTIONS, _REGION_OR_PROJECT),
    "TABLES": _View(Scope.tables, _TABLES, _DATASET_OR_REGION),
    "TABLE_OPTIONS": _View(_table_options, _TABLE_OPTIONS, _DATASET_OR_REGION),
    "COLUMNS": _View(_table_columns, _COLUMNS, _DATASET_OR_REGION),
    "COLUMN_FIELD_PATHS": _View(_field_paths, _COLUMN_FIELD_PATHS, _DATASET_OR_REGION),
    "PARTITIONS": _View(_partitions, _PARTITIONS, frozenset(("dataset",))),
    "TABLE_STORAGE": _View(_stored, _TABLE_STORAGE, _REGION_ONLY),
    "TABLE_STORAGE_BY_PROJECT": _View(_stored, _TABLE_STORAGE, _REGION_ONLY),
    "TABLE_SNAPSHOTS": _View(_snapshots, _TABLE_SNAPSHOTS, _DATASET_OR_REGION),
    "VIEWS": _View(_views, _VIEW_COLUMNS, _DATASET_OR_REGION),
    "MATERIALIZED_VIEWS": _View(_materialized_views, _MATERIALIZED_VIEW_COLUMNS, _DATASET_OR_REGION),
    "ROUTINES": _View(_routines, _ROUTINES, _DATASET_OR_REGION),
    "JOBS": _View(_jobs, _JOBS, _REGION_ONLY),
    "JOBS_BY_PROJECT": _View(_jobs, _JOBS, _REGION_ONLY),
    "JOBS_BY_USER": _View(_jobs, _JOBS, _REGION_ONLY),
    "__TABLES__": _View(Scope.tables, _META_TABLES, frozenset(("dataset",))),
}
