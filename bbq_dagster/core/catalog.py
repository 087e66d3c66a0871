"""The events of the catalog: what is written down, and what a run reads back from it.

``Event`` is one row of ``bbq_catalog.events``; ``COLUMNS`` says what each column means. ``fold_record`` turns the rows
that matter for a dataset into a ``DatasetRecord``. Nothing is ever updated: a later event tells more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter

from bbq_dagster.core.changes import Change, Vanished
from bbq_dagster.core.inventory import SourceTable, State, TableOptions
from bbq_dagster.core.json_values import from_json, to_json
from bbq_dagster.core.naming import copy_id, version_id
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Absence, Copy, DatasetRecord, PlannedUnit, Version


class EventKind(StrEnum):
    """What can happen. The values are the words in the catalog."""

    DATASET_SCANNED = "dataset_scanned"
    TABLE_SETTLED = "table_settled"
    COPY_PLANNED = "copy_planned"
    VERSION_CREATED = "version_created"
    COPY_FAILED = "copy_failed"
    EMPTIED = "emptied"
    VANISHED = "vanished"
    RESTORE_PLANNED = "restore_planned"
    RESTORED = "restored"
    RESTORE_FAILED = "restore_failed"
    HELD = "held"
    RELEASED = "released"
    DELETION_PLANNED = "deletion_planned"
    VERSION_DELETED = "version_deleted"
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the events table: BigQuery type, whether it is required, and what it means."""

    name: str
    type: str
    description: str
    required: bool = False


COLUMNS = (
    Column("event_id", "STRING", "Derived from the event: one that was written twice counts once", required=True),
    Column("event", "STRING", "What happened: " + ", ".join(EventKind), required=True),
    Column("recorded_at", "TIMESTAMP", "When it was written down", required=True),
    Column("run_id", "STRING", "The Dagster run, or the call of bbq, that wrote it"),
    Column("source_project", "STRING", "Project of the source", required=True),
    Column("source_dataset", "STRING", "Dataset of the source", required=True),
    Column("source_table", "STRING", "Table of the source"),
    Column("partition_id", "STRING", "Partition of the source; NULL for a table that is not partitioned"),
    Column("location", "STRING", "Location of source and backup"),
    Column("reason", "STRING", "Why, in words"),
    Column("source_created_at", "TIMESTAMP", "When the source table was created"),
    Column("source_modified_at", "TIMESTAMP", "Last data write that was seen in the source"),
    Column("source_rows", "INT64", "Rows that were seen in the source"),
    Column("source_bytes", "INT64", "Logical bytes that were seen in the source"),
    Column("partitioned", "BOOL", "Whether the source table is partitioned"),
    Column(
        "whole_table", "BOOL", "Whether the backup table holds all partitions of its source, not only those on record"
    ),
    Column("backup_project", "STRING", "Project of the backup table"),
    Column("backup_dataset", "STRING", "Dataset of the backup table"),
    Column("backup_table", "STRING", "The backup table"),
    Column("copy_id", "STRING", "The planned copy; ties copy_planned to version_created or copy_failed"),
    Column("attempt", "INT64", "1, and one more for each copy of this state that failed before"),
    Column("job_id", "STRING", "The copy job that made the version, or the last one that failed"),
    Column("version_id", "STRING", "The version: one unit as it was at captured_at"),
    Column("captured_at", "TIMESTAMP", "Start of the copy job: later writes to the source are not in the version"),
    Column("row_count", "INT64", "Rows of the version"),
    Column("size_bytes", "INT64", "Logical bytes of the version"),
    Column("error", "STRING", "BigQuery's message where the copy failed"),
    Column("source_options", "STRING", "Description, labels and other options of the source table, as JSON"),
    Column("source_schema", "STRING", "Fingerprint of the columns of the source table: another one is another schema"),
    Column("restore_id", "STRING", "The restore that a row is about"),
    Column("target", "STRING", "Where it is restored to, as project.dataset.table$partition"),
    Column("hold_id", "STRING", "The hold; ties held to released"),
    Column("held", "STRING", "What a hold protects: a version id, a table or partition, or a pattern for tables"),
    Column("owner", "STRING", "Whose hold it is"),
    Column("held_until", "TIMESTAMP", "When a hold ends by itself; NULL for one that has to be released"),
    Column("outcome", "STRING", "What a verification found: proven, differs, source_gone, could_not"),
    Column("how", "STRING", "What a version was compared with: source, fingerprint, or drill for a restored copy"),
    Column("fingerprint", "STRING", "Rows, schema and sums of hashes of the version, as JSON"),
    Column("bytes_scanned", "INT64", "What the queries of a verification read"),
    Column("duration_ms", "INT64", "How long a verification took; that of a drill is the time of the restore"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the catalog; the fields are the columns, described in ``COLUMNS``. Times are aware UTC."""

    event: EventKind
    recorded_at: datetime
    source_project: str
    source_dataset: str
    run_id: str = ""
    source_table: str | None = None
    partition_id: str | None = None
    location: str | None = None
    reason: str | None = None
    source_created_at: datetime | None = None
    source_modified_at: datetime | None = None
    source_rows: int | None = None
    source_bytes: int | None = None
    partitioned: bool | None = None
    whole_table: bool | None = None
    backup_project: str | None = None
    backup_dataset: str | None = None
    backup_table: str | None = None
    copy_id: str | None = None
    attempt: int | None = None
    job_id: str | None = None
    version_id: str | None = None
    captured_at: datetime | None = None
    row_count: int | None = None
    size_bytes: int | None = None
    error: str | None = None
    source_options: str | None = None
    source_schema: str | None = None
    restore_id: str | None = None
    target: str | None = None
    hold_id: str | None = None
    held: str | None = None
    owner: str | None = None
    held_until: datetime | None = None
    outcome: str | None = None
    how: str | None = None
    fingerprint: str | None = None
    bytes_scanned: int | None = None
    duration_ms: int | None = None

    @property
    def event_id(self) -> str:
        """The same for the same facts, whoever writes them and however often."""
        return _id_of(list(map(_plain, _values_of(self))))

    @property
    def unit(self) -> Unit:
        return Unit(TableRef(self.source_project, self.source_dataset, self.source_table or ""), self.partition_id)

    @property
    def backup(self) -> TableRef:
        """The backup table, of an event that is about one."""
        return TableRef(self.backup_project or "", self.backup_dataset or "", self.backup_table or "")

    @property
    def subject(self) -> str:
        """The unit that it is about, or the dataset."""
        return str(self.unit) if self.source_table else f"{self.source_project}.{self.source_dataset}"

    @property
    def source_state(self) -> State:
        return State(self.source_rows, self.source_bytes, self.source_modified_at)

    def as_row(self) -> dict[str, object]:
        """The row as JSON for a load job: times in ISO 8601, columns that are not set left out."""
        values = list(map(_plain, _values_of(self)))
        named = zip(_FIELDS, values, strict=True)
        return {"event_id": _id_of(values), **{name: value for name, value in named if value is not None}}


_FIELDS = tuple(field.name for field in fields(Event))
_values_of = attrgetter(*_FIELDS)


def _id_of(facts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def event_about(kind: EventKind, unit: Unit, backup: TableRef | None = None, *, at: datetime, run_id: str) -> Event:
    """The beginning of an event: what happened to which unit, and the backup table where it is about one."""
    return Event(
        event=kind,
        recorded_at=at,
        run_id=run_id,
        source_project=unit.table.project,
        source_dataset=unit.table.dataset,
        source_table=unit.table.table,
        partition_id=unit.partition,
        backup_project=None if backup is None else backup.project,
        backup_dataset=None if backup is None else backup.dataset,
        backup_table=None if backup is None else backup.table,
    )


def dataset_scanned(dataset: DatasetRef, *, location: str, tables: int, at: datetime, run_id: str) -> Event:
    """The tables of a dataset were listed, all of them: what was not there is known to be gone."""
    return Event(
        event=EventKind.DATASET_SCANNED,
        recorded_at=at,
        run_id=run_id,
        source_project=dataset.project,
        source_dataset=dataset.dataset,
        location=location,
        reason=f"{tables:,} tables",
    )


def table_settled(table: SourceTable, *, at: datetime, run_id: str) -> Event:
    """All partitions of a table in this state are protected: they need no look until it moves."""
    settled = event_about(EventKind.TABLE_SETTLED, table.ref.unit(), at=at, run_id=run_id)
    return replace(_seen(settled, table.state), source_created_at=table.created_at)


def copy_planned(copy: Copy, *, at: datetime, run_id: str) -> tuple[Event, ...]:
    """A copy is about to be started: one event per unit that it is to hold."""
    return tuple(_of_copy(EventKind.COPY_PLANNED, copy, unit, at=at, run_id=run_id) for unit in copy.units)


def version_created(
    copy: Copy,
    unit: PlannedUnit,
    *,
    job_id: str,
    captured_at: datetime,
    rows: int | None,
    size_bytes: int | None,
    at: datetime,
    run_id: str,
) -> Event:
    """A unit was copied and the copy was looked at."""
    return replace(
        _of_copy(EventKind.VERSION_CREATED, copy, unit, at=at, run_id=run_id),
        job_id=job_id,
        version_id=version_id(backup_of(copy, unit.unit)),
        captured_at=captured_at,
        row_count=rows,
        size_bytes=size_bytes,
    )


def version_found(version: Version, *, at: datetime, run_id: str) -> Event:
    """A copy that nobody recorded is a version from now on: what is known of it was read off its backup table."""
    event = event_about(EventKind.VERSION_CREATED, version.unit, version.backup.table, at=at, run_id=run_id)
    return replace(
        _seen(event, version.source),
        location=version.location,
        reason=version.reason,
        partitioned=version.unit.partition is not None,
        whole_table=version.whole_table,
        version_id=version.version_id,
        captured_at=version.captured_at,
        row_count=version.rows,
        size_bytes=version.size_bytes,
    )


def copy_failed(copy: Copy, unit: PlannedUnit, *, job_id: str, error: str, at: datetime, run_id: str) -> Event:
    """A unit was not copied, and this copy of it will not be tried again."""
    failed = _of_copy(EventKind.COPY_FAILED, copy, unit, at=at, run_id=run_id)
    return replace(failed, job_id=job_id, error=error)


def emptied(change: Change, *, at: datetime, run_id: str) -> Event:
    """A unit has no rows any more; its last good version stays the latest."""
    event = event_about(EventKind.EMPTIED, change.unit, at=at, run_id=run_id)
    return replace(_seen(event, change.state), reason=change.reason)


def vanished(gone: Vanished, *, at: datetime, run_id: str) -> Event:
    """A unit is gone from its source: a successful listing did not show it."""
    return replace(event_about(EventKind.VANISHED, gone.unit, at=at, run_id=run_id), reason=gone.reason)


def backup_of(copy: Copy, unit: Unit) -> Unit:
    """Where the copy keeps ``unit``: the same partition of the backup table."""
    return copy.destination.table.unit(unit.partition)


def fold_record(events: Iterable[Event]) -> DatasetRecord:
    """What these events say of their dataset, in any order.

    Expected are: the version that is the latest of each unit, every absence and failure after it, the newest
    settlement of each table, the planned copies without an end, and the newest scan. More events do no harm.
    ``row_count`` of a settlement is the number of partitions whose versions are not among the events.
    """
    once = list(dict.fromkeys(events))
    ended = {_end_of(event) for event in once if event.event in (EventKind.VERSION_CREATED, EventKind.COPY_FAILED)}
    live = live_events(once)
    in_order = sorted(live, key=lambda event: (event.recorded_at, event.event is not EventKind.COPY_PLANNED))
    latest: dict[Unit, Version] = {}
    absent: dict[Unit, Absence] = {}
    settled: dict[TableRef, tuple[datetime, State]] = {}
    failures: dict[Unit, int] = {}
    open_copies: dict[tuple[str, Unit], Event] = {}
    scanned_at: datetime | None = None
    unread: dict[TableRef, int] = {}
    for event in in_order:
        unit = event.unit
        match event.event:
            case EventKind.VERSION_CREATED:
                version = version_of(event)
                if unit not in latest or latest[unit].captured_at <= version.captured_at:
                    latest[unit] = version
                    absent.pop(unit, None)
                    failures.pop(unit, None)
            case EventKind.COPY_FAILED:
                failures[unit] = failures.get(unit, 0) + 1
            case EventKind.COPY_PLANNED if _end_of(event) not in ended:
                open_copies[_end_of(event)] = event
            case EventKind.EMPTIED | EventKind.VANISHED:
                absent[unit] = Absence(event.event)
            case EventKind.TABLE_SETTLED if event.source_created_at is not None:
                settled[unit.table] = (event.source_created_at, event.source_state)
                unread[unit.table] = event.row_count or 0
            case EventKind.DATASET_SCANNED:
                scanned_at = event.recorded_at
    return DatasetRecord(
        latest,
        absent,
        settled,
        _copies_of(list(open_copies.values())),
        failures,
        scanned_at,
        {table: count for table, count in unread.items() if count},
    )


def _end_of(event: Event) -> tuple[str, Unit]:
    """What ties the end of a copy to its plan. A version that was deleted since was the end of its copy."""
    return event.copy_id or "", event.unit


def live_events(events: Iterable[Event]) -> list[Event]:
    """The events without the versions that were deleted: of each version the newest word counts."""
    events = list(events)
    deleted: dict[str | None, datetime] = {}
    for event in events:
        if event.event is EventKind.VERSION_DELETED:
            deleted[event.version_id] = max(event.recorded_at, deleted.get(event.version_id, event.recorded_at))

    def is_overtaken(event: Event) -> bool:
        is_version = event.event is EventKind.VERSION_CREATED and event.version_id in deleted
        return is_version and event.recorded_at <= deleted[event.version_id]

    return [event for event in events if not is_overtaken(event)]


def version_of(event: Event) -> Version:
    """The version that a ``version_created`` event records."""
    assert event.captured_at is not None, f"{event.event_id} records a version without captured_at"
    return Version(
        version_id=event.version_id or "",
        unit=event.unit,
        backup=event.backup.unit(event.partition_id),
        location=event.location or "",
        captured_at=event.captured_at,
        rows=event.row_count,
        size_bytes=event.size_bytes,
        source=event.source_state,
        source_created_at=event.source_created_at,
        job_id=event.job_id or "",
        reason=event.reason or "",
        whole_table=bool(event.whole_table),
        recorded_at=event.recorded_at,
        run_id=event.run_id,
        options=_options(event),
        schema=event.source_schema,
    )


def _copies_of(planned: Sequence[Event]) -> tuple[Copy, ...]:
    by_copy: dict[str, list[Event]] = {}
    for event in planned:
        by_copy.setdefault(event.copy_id or "", []).append(event)
    return tuple(_copy_of(events) for _, events in sorted(by_copy.items()))


def _copy_of(events: Sequence[Event]) -> Copy:
    events = sorted(events, key=lambda event: event.unit)
    first = events[0]
    partition = None if first.whole_table else first.partition_id
    return Copy(
        source=first.unit.table.unit(partition),
        destination=first.backup.unit(partition),
        location=first.location or "",
        source_created_at=first.source_created_at or first.recorded_at,
        units=tuple(PlannedUnit(event.unit, event.source_state, event.reason or "") for event in events),
        attempt=first.attempt or 1,
        partitioned=bool(first.partitioned),
        options=_options(first),
        schema=first.source_schema,
    )


def _of_copy(kind: EventKind, copy: Copy, unit: PlannedUnit, *, at: datetime, run_id: str) -> Event:
    event = event_about(kind, unit.unit, copy.destination.table, at=at, run_id=run_id)
    return replace(
        _seen(event, unit.state),
        location=copy.location,
        reason=unit.reason,
        source_created_at=copy.source_created_at,
        partitioned=copy.partitioned,
        whole_table=copy.whole_table,
        copy_id=copy_id(copy),
        attempt=copy.attempt,
        source_options=None if copy.options == TableOptions() else json.dumps(to_json(copy.options)),
        source_schema=copy.schema,
    )


def _options(event: Event) -> TableOptions:
    return from_json(TableOptions, json.loads(event.source_options)) if event.source_options else TableOptions()


def _seen(event: Event, state: State) -> Event:
    return replace(event, source_rows=state.rows, source_bytes=state.size_bytes, source_modified_at=state.modified_at)


def _plain(value: object) -> object:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
