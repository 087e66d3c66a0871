"""What a copy job may do, and what it will put where.

``plan_copy`` decides, by the rows of ``_RULES``: each is one documented refusal. Nothing here writes or asks the time.
Sources: managing-tables, managing-partitioned-tables, table-snapshots-*, REST JobConfigurationTableCopy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bbq_dagster.local.definition import what_a_copy_takes
from bbq_dagster.local.errors import BigQueryError, refused
from bbq_dagster.local.model import WHOLE, Dataset, Decorated, Fields, Part, Table, TableVersion, partition_rows
from bbq_dagster.local.partitioning import check_partition_id, is_same_or_coarser, moment, partition_at
from bbq_dagster.local.schema import is_repeated, type_name

MAX_SOURCES = 1200
SNAPSHOT, RESTORE, CLONE = "SNAPSHOT", "RESTORE", "CLONE"


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a copy: what was named, the table it is, and its data at the start of the job."""

    named: Decorated
    table: Table
    version: TableVersion
    dataset: Dataset

    @property
    def parts(self) -> dict[str, Part]:
        """What is copied: all partitions, or the one that was named."""
        if self.named.partition is None:
            return dict(self.version.parts)
        return {p: part for p, part in self.version.parts.items() if p == self.named.partition}

    @property
    def shape(self) -> tuple[Any, ...]:
        """What must be identical between several sources."""
        columns = tuple((f["name"].lower(), type_name(f), is_repeated(f)) for f in self.version.fields)
        return (columns, self.table.partitioning.spec, self.table.clustering)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy job's request, with what its names stand for. ``existing`` is the destination if it exists."""

    sources: tuple[Source, ...]
    destination: Decorated
    dataset: Dataset
    existing: Table | None
    write: str
    create: str
    operation: str
    expires_ms: int | None
    now_ms: int

    @property
    def first(self) -> Source:
        return self.sources[0]

    @property
    def crosses_locations(self) -> bool:
        return any(source.dataset.location != self.dataset.location for source in self.sources)

    @property
    def replaces_table(self) -> bool:
        return self.write == "WRITE_TRUNCATE" and self.destination.partition is None


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What to write.

    Attributes:
        parts: By partition of the destination.
        fields: The schema the destination gets, or None if it keeps its own.
        resource: The table to create, or None if there is one.
    """

    parts: Mapping[str, Part]
    fields: Fields | None
    resource: Mapping[str, Any] | None
    rows: int
    bytes: int


def plan_copy(copy: Copy) -> CopyPlan:
    """What the copy will write. Raises the refusal of the first rule that it breaks."""
    for rule in _RULES:
        culprit = rule.broken_by(copy)
        if culprit:
            raise refused(rule.reason, rule.words.format(copy=copy, culprit=culprit))
    parts = _target_parts(copy)
    return CopyPlan(
        parts=parts,
        fields=copy.first.version.fields if copy.existing is not None and copy.replaces_table else None,
        resource=None if copy.existing is not None else _new_resource(copy),
        rows=sum(part.rows for part in parts.values()),
        bytes=sum(part.bytes for part in parts.values()),
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    """``broken_by`` gives what breaks the rule (for the words), or a falsy value."""

    broken_by: Callable[[Copy], object]
    reason: str
    words: str


def _too_many_sources(copy: Copy) -> object:
    return len(copy.sources) > MAX_SOURCES and len(copy.sources)


def _source_that_is_no_table(copy: Copy) -> object:
    return next((s.named for s in copy.sources if not s.table.holds_rows), None)


def _other_operation_across_locations(copy: Copy) -> object:
    return copy.operation != "COPY" and copy.crosses_locations and copy.first.dataset.location


def _several_sources_across_locations(copy: Copy) -> object:
    return copy.crosses_locations and len(copy.sources) > 1 and len(copy.sources)


def _append_across_locations(copy: Copy) -> object:
    return copy.crosses_locations and copy.write == "WRITE_APPEND" and copy.destination


def _existing_across_locations(copy: Copy) -> object:
    """Elsewhere WRITE_EMPTY is content with a table that has no rows."""
    return copy.crosses_locations and copy.write == "WRITE_EMPTY" and copy.existing is not None and copy.destination


def _policy_tags_across_locations(copy: Copy) -> object:
    return copy.crosses_locations and any(_has_policy_tags(f) for f in copy.first.version.fields) and copy.first.named


def _differing_source(copy: Copy) -> object:
    return next((s.named for s in copy.sources[1:] if s.shape != copy.first.shape), None)


def _source_partition_of_unpartitioned(copy: Copy) -> object:
    return next(
        (s.named for s in copy.sources if s.named.partition is not None and not s.table.partitioning.is_partitioned),
        None,
    )


def _bad_partition_id(copy: Copy) -> object:
    named = [(s.table, s.named) for s in copy.sources]
    named += [(copy.existing, copy.destination)] if copy.existing and copy.existing.partitioning.is_partitioned else []
    return next((d for table, d in named if d.partition is not None and not _is_id_of(table, d.partition)), None)


def _missing_source_partition(copy: Copy) -> object:
    return next((s.named for s in copy.sources if s.named.partition is not None and not s.parts), None)


def _snapshot_of_partition(copy: Copy) -> object:
    return copy.operation != "COPY" and next((s.named for s in copy.sources if s.named.partition is not None), None)


def _several_sources_for_other_operation(copy: Copy) -> object:
    return copy.operation != "COPY" and len(copy.sources) > 1 and copy.operation


def _snapshot_over_existing(copy: Copy) -> object:
    return copy.operation == SNAPSHOT and copy.existing and copy.destination


def _snapshot_with_other_disposition(copy: Copy) -> object:
    return copy.operation == SNAPSHOT and copy.write != "WRITE_EMPTY" and copy.write


def _restore_of_no_snapshot(copy: Copy) -> object:
    return copy.operation == RESTORE and copy.first.table.kind != SNAPSHOT and copy.first.named


def _clone_over_existing(copy: Copy) -> object:
    return copy.operation == CLONE and copy.existing and copy.destination


def _missing_destination(copy: Copy) -> object:
    wants_table = copy.create == "CREATE_NEVER" or copy.destination.partition is not None
    return copy.existing is None and wants_table and copy.destination


def _destination_that_is_no_table(copy: Copy) -> object:
    return copy.existing is not None and copy.existing.kind != "TABLE" and copy.destination


def _destination_partition_of_unpartitioned(copy: Copy) -> object:
    existing, partition = copy.existing, copy.destination.partition
    return (
        existing is not None and partition is not None and not existing.partitioning.is_partitioned and copy.destination
    )


def _destination_with_rows(copy: Copy) -> object:
    if copy.existing is None or copy.write != "WRITE_EMPTY":
        return None
    parts, partition = copy.existing.parts, copy.destination.partition
    held = parts.values() if partition is None else [parts[partition]] if partition in parts else []
    return any(part.rows for part in held) and copy.destination


def _unpartitioned_into_column_partitioned(copy: Copy) -> object:
    if copy.existing is None or _is_partitioned(copy.first) or copy.destination.partition is not None:
        return None
    return copy.existing.partitioning.is_partitioned and not copy.existing.partitioning.is_ingestion


def _other_partitioning(copy: Copy) -> object:
    if copy.existing is None or not _is_partitioned(copy.first) or not copy.existing.partitioning.is_partitioned:
        return None
    source, target = copy.first.table.partitioning, copy.existing.partitioning
    coarser = source.is_ingestion and target.is_ingestion and copy.destination.partition is not None
    return source.spec != target.spec and not coarser and f"{target.spec} but {source.spec}"


def _other_clustering(copy: Copy) -> object:
    if copy.existing is None or not copy.existing.partitioning.is_partitioned:
        return None
    return copy.first.table.clustering != copy.existing.clustering and (
        f"{list(copy.existing.clustering)} but {list(copy.first.table.clustering)}"
    )


def _column_partition_into_another(copy: Copy) -> object:
    if copy.destination.partition is None or not _is_partitioned(copy.first):
        return None
    if copy.first.table.partitioning.is_ingestion:
        return None
    return {p for s in copy.sources for p in s.parts} - {copy.destination.partition} and copy.destination


def _ingestion_partition_into_finer(copy: Copy) -> object:
    target = copy.destination.partition
    if target is None or not copy.first.table.partitioning.is_ingestion:
        return None
    partitions = {p for s in copy.sources for p in s.parts}
    return any(not is_same_or_coarser(p, target) for p in partitions) and copy.destination


def _rows_of_another_partition(copy: Copy) -> object:
    """Unpartitioned rows into ``t$p`` of a column-partitioned table: they must all belong there."""
    target = copy.destination.partition
    if (
        copy.existing is None
        or target is None
        or _is_partitioned(copy.first)
        or copy.existing.partitioning.is_ingestion
    ):
        return None
    found = {p for s in copy.sources for p in partition_rows(copy.existing.partitioning, s.version.read(), copy.now_ms)}
    return found - {target} and copy.destination


def _missing_column(copy: Copy) -> object:
    if (
        copy.existing is None
        or copy.replaces_table
        or (copy.write == "WRITE_EMPTY" and copy.destination.partition is None)
    ):
        return None
    held = {f["name"].lower(): f for f in copy.existing.fields}
    return next((f["name"] for f in copy.first.version.fields if not _takes(held.get(f["name"].lower()), f)), None)


_TYPE = (
    "{culprit} is not allowed for this operation because of its type. "
    "Try using a different table that is of type TABLE."
)
_PARTITION_OF_UNPARTITIONED = "Cannot read partition information from a table that is not partitioned: {culprit}"

_RULES = (
    _Rule(_too_many_sources, "invalid", f"Too many source tables: {{culprit}}, the maximum is {MAX_SOURCES}"),
    _Rule(_source_that_is_no_table, "invalid", _TYPE),
    _Rule(
        _other_operation_across_locations,
        "invalid",
        "Cannot read and write in different locations: source: {culprit}, destination: {copy.dataset.location}",
    ),
    _Rule(
        _several_sources_across_locations,
        "invalid",
        "Only one source table is allowed for a copy across locations, found {culprit}",
    ),
    _Rule(_append_across_locations, "invalid", "A copy across locations cannot append to Table {culprit}"),
    _Rule(_existing_across_locations, "duplicate", "Already Exists: Table {culprit}"),
    _Rule(
        _policy_tags_across_locations,
        "invalid",
        "Table {culprit} has columns with policy tags and cannot be copied across locations",
    ),
    _Rule(
        _differing_source,
        "invalid",
        "Schema, partitioning and clustering of all source tables must be identical: {culprit} differs",
    ),
    _Rule(_source_partition_of_unpartitioned, "invalid", _PARTITION_OF_UNPARTITIONED),
    _Rule(_bad_partition_id, "invalid", "Invalid partition id: {culprit}"),
    _Rule(_missing_source_partition, "notFound", "Not found: Table {culprit}"),
    _Rule(_several_sources_for_other_operation, "invalid", "Only one source table is allowed for operation {culprit}"),
    _Rule(
        _snapshot_of_partition, "invalid", "Operation {copy.operation} does not support a single partition: {culprit}"
    ),
    _Rule(_snapshot_with_other_disposition, "invalid", "Snapshots only support WRITE_EMPTY, found {culprit}"),
    _Rule(_snapshot_over_existing, "duplicate", "Already Exists: Table {culprit}"),
    _Rule(_clone_over_existing, "duplicate", "Already Exists: Table {culprit}"),
    _Rule(_restore_of_no_snapshot, "invalid", "Only snapshots can be restored: {culprit} is not one"),
    _Rule(_missing_destination, "notFound", "Not found: Table {culprit}"),
    _Rule(_destination_that_is_no_table, "invalid", _TYPE),
    _Rule(_destination_partition_of_unpartitioned, "invalid", _PARTITION_OF_UNPARTITIONED),
    _Rule(_destination_with_rows, "duplicate", "Already Exists: Table {culprit}"),
    _Rule(
        _unpartitioned_into_column_partitioned,
        "invalid",
        "Failed to copy Non partitioned table to Column partitioned table: not supported.",
    ),
    _Rule(
        _other_partitioning,
        "invalid",
        "Incompatible table partitioning specification. Expects {culprit} was given for {copy.destination}",
    ),
    _Rule(
        _other_clustering,
        "invalid",
        "Incompatible table clustering specification. Expects {culprit} was given for {copy.destination}",
    ),
    _Rule(
        _column_partition_into_another,
        "invalid",
        "Source and destination partitions of a column-partitioned table must be identical: "
        "{copy.first.named} and {culprit}",
    ),
    _Rule(
        _ingestion_partition_into_finer,
        "invalid",
        "The destination partition must be the source's or a coarser one: {copy.first.named} and {culprit}",
    ),
    _Rule(
        _rows_of_another_partition,
        "invalid",
        "Some rows belong to different partitions rather than destination partition {culprit}",
    ),
    _Rule(
        _missing_column,
        "invalid",
        "Provided Schema does not match Table {copy.destination.ref}. Cannot add or change field {culprit}",
    ),
)


def _is_partitioned(source: Source) -> bool:
    return source.table.partitioning.is_partitioned


def _is_id_of(table: Table, partition: str) -> bool:
    try:
        check_partition_id(table.partitioning, partition)
    except BigQueryError:
        return False
    return True


def _takes(held: Mapping[str, Any] | None, field: Mapping[str, Any]) -> bool:
    """Whether a column of the destination can hold what the source's column has, nested fields included."""
    if held is None or type_name(held) != type_name(field) or is_repeated(held) != is_repeated(field):
        return False
    inside = {f["name"].lower(): f for f in held.get("fields") or ()}
    return all(_takes(inside.get(f["name"].lower()), f) for f in field.get("fields") or ())


def _has_policy_tags(field: Mapping[str, Any]) -> bool:
    tagged = bool((field.get("policyTags") or {}).get("names"))
    return tagged or any(_has_policy_tags(child) for child in field.get("fields") or ())


def _target_parts(copy: Copy) -> dict[str, Part]:
    answer: dict[str, Part] = {}
    for source in copy.sources:
        for partition, part in source.parts.items():
            target = _target_partition(copy, partition)
            part = part.at(copy.now_ms)
            answer[target] = answer[target].merged_with(part) if target in answer else part
    return answer


def _target_partition(copy: Copy, partition: str) -> str:
    if copy.destination.partition is not None:
        return copy.destination.partition
    if copy.existing is None:
        return partition if _keeps_partitioning(copy) else WHOLE
    if not copy.existing.partitioning.is_partitioned:
        return WHOLE
    return partition if _is_partitioned(copy.first) else partition_at(copy.existing.partitioning, copy.now_ms)


def _keeps_partitioning(copy: Copy) -> bool:
    """A COPY of ``t@millis`` into a new table does not take the partitioning along (access-historical-data)."""
    return _is_partitioned(copy.first) and (copy.operation != "COPY" or copy.first.named.at_ms is None)


def _new_resource(copy: Copy) -> dict[str, Any]:
    resource = what_a_copy_takes(copy.first.table.resource) | {"schema": {"fields": list(copy.first.version.fields)}}
    if not _keeps_partitioning(copy):
        resource.pop("timePartitioning", None)
        resource.pop("rangePartitioning", None)
    if copy.operation in (SNAPSHOT, RESTORE) and "timePartitioning" in resource:
        # The snapshot takes the partition expiration of the dataset it is in (table-snapshots-intro).
        resource["timePartitioning"] = {k: v for k, v in resource["timePartitioning"].items() if k != "expirationMs"}
    # Across locations the expiration of the source is copied (managing-tables), elsewhere it is not.
    expires_ms = copy.first.table.expires_ms if copy.expires_ms is None and copy.crosses_locations else copy.expires_ms
    if expires_ms is not None:
        resource["expirationTime"] = str(expires_ms)
    return resource | _base(copy)


def _base(copy: Copy) -> dict[str, Any]:
    """What makes the new table a snapshot or a clone: its type and its base table, at the instant it shows."""
    at = moment(copy.now_ms if copy.first.named.at_ms is None else copy.first.version.since_ms).isoformat(
        timespec="milliseconds"
    )
    base = {"baseTableReference": copy.first.named.ref.as_json()}
    if copy.operation == SNAPSHOT:
        return {"type": SNAPSHOT, "snapshotDefinition": base | {"snapshotTime": at.replace("+00:00", "Z")}}
    return {"cloneDefinition": base | {"cloneTime": at.replace("+00:00", "Z")}} if copy.operation == CLONE else {}
