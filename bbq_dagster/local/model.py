"""The values the server keeps: references, immutable data, and resources as they stand.

A table's data is a map from partition id to ``Part``; a Part points at immutable Arrow segments. Whoever copies,
snapshots, restores or travels in time copies pointers, whatever the size. Nothing here writes: ``store`` does.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from bbq_dagster.local.errors import invalid
from bbq_dagster.local.partitioning import (
    NULL_PARTITION,
    UNPARTITIONED,
    UNPARTITIONED_TABLE,
    WHOLE,
    Partitioning,
    parse_partitioning,
    partition_rows,
)
from bbq_dagster.local.schema import (
    Fields,
    arrow_schema,
    conform,
    conform_to,
    empty_rows,
    logical_bytes,
    normalized,
    rest_fields,
)

__all__ = [
    "NULL_PARTITION",
    "UNPARTITIONED",
    "UNPARTITIONED_TABLE",
    "WHOLE",
    "Dataset",
    "Decorated",
    "Fields",
    "Job",
    "Part",
    "Partitioning",
    "Past",
    "Segment",
    "Streamed",
    "Table",
    "TableRef",
    "TableVersion",
    "arrow_schema",
    "conform",
    "empty_rows",
    "logical_bytes",
    "make_part",
    "normalized",
    "parse_decorated",
    "parse_partitioning",
    "partition_rows",
    "rest_fields",
]

_segment_ids = itertools.count(1)
_LARGE_ENOUGH = 4096
"""Rows of a segment that is joined with no other: what a segment costs a reader does not count for so many."""


@dataclass(frozen=True, slots=True, order=True)
class TableRef:
    """A table by its three names; prints as BigQuery prints it in messages, ``project:dataset.table``."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"

    def as_json(self) -> dict[str, str]:
        return {"projectId": self.project, "datasetId": self.dataset, "tableId": self.table}


@dataclass(frozen=True, slots=True)
class Decorated:
    """A table with what may follow its name: ``t$20240131`` (a partition) or ``t@1700000000000`` (an instant, ms)."""

    ref: TableRef
    partition: str | None = None
    at_ms: int | None = None

    def __str__(self) -> str:
        return f"{self.ref}${self.partition}" if self.partition is not None else str(self.ref)


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Immutable rows, shared by every version and copy that holds them. The id names their stored bytes."""

    rows: pa.Table
    id: int = field(default_factory=lambda: next(_segment_ids))


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one partition; of an unpartitioned table, all of them.

    Attributes:
        rows: Number of rows.
        bytes: Logical size by BigQuery's rules.
        modified_ms: When data was last written into it.
    """

    segments: tuple[Segment, ...]
    rows: int
    bytes: int
    modified_ms: int

    def merged_with(self, other: "Part") -> "Part":
        """Both parts' rows, modified when ``other`` was."""
        segments = _with_fewer(self.segments + other.segments)
        return Part(segments, self.rows + other.rows, self.bytes + other.bytes, other.modified_ms)

    def at(self, modified_ms: int) -> "Part":
        return replace(self, modified_ms=modified_ms)


@dataclass(frozen=True, slots=True)
class TableVersion:
    """The data of a table since ``since_ms``: its fields, and its parts by partition id (``WHOLE`` if
    unpartitioned)."""

    since_ms: int
    fields: Fields
    parts: Mapping[str, Part]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts.values())

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts.values())

    def read(self, partitions: Iterable[str] | None = None) -> pa.Table:
        """The rows of these partitions (all by default), in the order of their ids, without pseudo columns."""
        wanted = sorted(self.parts) if partitions is None else partitions
        segments = [s for p in wanted if p in self.parts for s in self.parts[p].segments]
        schema = arrow_schema(self.fields)
        return pa.concat_tables([schema.empty_table(), *(conform_to(schema, s.rows) for s in segments)])


@dataclass(frozen=True, slots=True)
class Past:
    """How to undo one write: what held since ``since_ms`` in the places that the write changed (None: no such
    partition)."""

    since_ms: int
    fields: Fields
    parts: Mapping[str, Part | None]


@dataclass(frozen=True, slots=True)
class Streamed:
    """Rows of one insertAll that are still in the streaming buffer, by the partition that they will go to."""

    at_ms: int
    parts: Mapping[str, Part]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts.values())

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts.values())


@dataclass(frozen=True, slots=True)
class Table:
    """A table, view or external table as it stands, or as it stood when it was deleted.

    Attributes:
        id: Tells two tables of the same name apart, and names the stored record.
        resource: The REST properties that users set (schema, partitioning, labels, view, expirationTime, ...).
        defined_ms: When its metadata was last changed.
        revision: Moves with every change of data or metadata; the etag follows from it.
        past: Earlier states of the data, oldest first, as far back as time travel may ask.
        streamed: The streaming buffer.
        deleted_ms: When it was deleted, for a tombstone.
    """

    id: int
    ref: TableRef
    resource: Mapping[str, Any]
    partitioning: Partitioning
    version: TableVersion
    created_ms: int
    modified_ms: int
    defined_ms: int
    revision: int = 1
    past: tuple[Past, ...] = ()
    streamed: tuple[Streamed, ...] = ()
    deleted_ms: int | None = None

    @property
    def fields(self) -> Fields:
        return self.version.fields

    @property
    def parts(self) -> Mapping[str, Part]:
        return self.version.parts

    @property
    def kind(self) -> str:
        """TABLE, VIEW, MATERIALIZED_VIEW, EXTERNAL or SNAPSHOT. A clone is a TABLE with a ``cloneDefinition``."""
        return str(self.resource.get("type", "TABLE"))

    @property
    def holds_rows(self) -> bool:
        return self.kind in ("TABLE", "SNAPSHOT")

    @property
    def clustering(self) -> tuple[str, ...]:
        return tuple((self.resource.get("clustering") or {}).get("fields") or ())

    @property
    def expires_ms(self) -> int | None:
        at = self.resource.get("expirationTime")
        return None if at is None else int(at)

    @property
    def etag(self) -> str:
        return f"{self.id:x}.{self.revision:x}"

    def version_at(self, at_ms: int) -> TableVersion | None:
        """The data as it was at that instant; None before the table existed or further back than it remembers."""
        if at_ms < self.created_ms:
            return None
        version = self.version
        for past in reversed(self.past):
            if version.since_ms <= at_ms:
                return version
            version = _undone(version, past)
        return version if version.since_ms <= at_ms else None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as it stands, or stood when it was deleted; ``resource`` has the REST properties that users set, and
    always a ``location``."""

    project: str
    dataset: str
    resource: Mapping[str, Any]
    created_ms: int
    modified_ms: int
    revision: int = 1
    deleted_ms: int | None = None
    undeleted_ms: int | None = None

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}"

    @property
    def location(self) -> str:
        return str(self.resource["location"])

    @property
    def etag(self) -> str:
        return f"{self.created_ms:x}.{self.revision:x}"

    @property
    def time_travel_hours(self) -> int:
        return int(self.resource.get("maxTimeTravelHours") or 168)

    def default_ms(self, name: str) -> int | None:
        """``defaultTableExpirationMs`` or ``defaultPartitionExpirationMs``, if set."""
        value = self.resource.get(name)
        return int(value) if value else None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands: what was asked for (``configuration``, ``labels`` in it) and how far it is.

    Attributes:
        state: PENDING, RUNNING or DONE.
        statistics: The REST statistics of its kind, e.g. ``{"copy": {"copiedRows": "3"}}``; times are added from the
            fields.
        errors: REST error objects; the first is the job's ``errorResult``.
        user: The identity that started it; empty where none was told.
    """

    project: str
    location: str
    id: str
    configuration: Mapping[str, Any]
    created_ms: int
    state: str = "PENDING"
    started_ms: int | None = None
    ended_ms: int | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[Mapping[str, Any], ...] = ()
    user: str = ""

    def __str__(self) -> str:
        return f"{self.project}:{self.location}.{self.id}"

    @property
    def kind(self) -> str:
        """copy, query, load or extract."""
        return next((k for k in ("copy", "query", "load", "extract") if k in self.configuration), "")


def make_part(rows: pa.Table, fields: Fields, modified_ms: int) -> Part:
    """A part that holds these rows, which conform to the fields."""
    segments = (Segment(rows),) if rows.num_rows else ()
    return Part(segments, rows.num_rows, logical_bytes(rows, fields), modified_ms)


def _with_fewer(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The same rows, small neighbours of about one size joined: of n writes of a row each some log n segments are left.

    So what a reader pays does not grow with the number of writes, and no row is written again more than log n times.
    """
    kept = list(segments)
    while len(kept) > 1 and _belong_together(*kept[-2:]):
        last = kept.pop()
        kept[-1] = Segment(pa.concat_tables([kept[-1].rows, last.rows]).combine_chunks())
    return tuple(kept)


def _belong_together(first: Segment, second: Segment) -> bool:
    rows = first.rows.num_rows
    is_alike = rows <= 2 * second.rows.num_rows and rows < _LARGE_ENOUGH
    return is_alike and bool(first.rows.schema.equals(second.rows.schema))


def parse_decorated(project: str, dataset: str, name: str) -> Decorated:
    """``t``, ``t$20240131`` or ``t@1700000000000``; a partition together with an instant is refused, as BigQuery
    does."""
    table, at, instant = name.partition("@")
    table, dollar, partition = table.partition("$")
    if at and dollar:
        raise invalid(f"Invalid table ID {name}: partition decorators and snapshot decorators cannot be combined")
    if at and not re.fullmatch(r"-?\d+", instant):
        raise invalid(f"Invalid snapshot time {instant} for table {project}:{dataset}.{table}")
    return Decorated(TableRef(project, dataset, table), partition if dollar else None, int(instant) if at else None)


def reserve_segment_ids(highest: int) -> None:
    """Ids given from now on are above the highest one that a folder already holds."""
    global _segment_ids
    _segment_ids = itertools.count(max(next(_segment_ids), highest + 1))


def _undone(version: TableVersion, past: Past) -> TableVersion:
    parts = {p: part for p, part in version.parts.items() if p not in past.parts}
    parts |= {p: part for p, part in past.parts.items() if part is not None}
    return TableVersion(past.since_ms, past.fields, parts)
