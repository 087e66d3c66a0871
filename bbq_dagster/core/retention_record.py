"""What retention writes into the catalog, and what it reads back: holds, deletions, and the record of a dataset.

From values to values. Which rows are read is said in ``catalog_sql``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from bbq_dagster.core.catalog import Event, EventKind, event_about
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.retention import RetentionRecord
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.verification_record import Outcome


def held(hold: Hold, about: Unit | DatasetRef, *, run_id: str) -> Event:
    """A hold was placed. ``about``: what the row is filed under, as a version id alone does not say its dataset."""
    return _of_hold(EventKind.HELD, hold, about, at=hold.since, run_id=run_id)


def released(hold: Hold, about: Unit | DatasetRef, *, at: datetime, run_id: str) -> Event:
    """A hold was released before its end."""
    return _of_hold(EventKind.RELEASED, hold, about, at=at, run_id=run_id)


def deletion_planned(version: StoredVersion, reason: str, *, at: datetime, run_id: str) -> Event:
    """A version is about to be deleted: from here on nobody knows whether it is there."""
    return _of_version(EventKind.DELETION_PLANNED, version, reason, at=at, run_id=run_id)


def version_deleted(version: StoredVersion, reason: str, *, at: datetime, run_id: str) -> Event:
    """A version is gone from the warehouse."""
    return _of_version(EventKind.VERSION_DELETED, version, reason, at=at, run_id=run_id)


def version_lost(version: StoredVersion, reason: str, *, at: datetime, run_id: str) -> Event:
    """The newest version of its unit is gone, though nobody deleted it: the copy counts as one that failed.

    So the next one of the same state gets another name, and a job of its own.
    """
    return replace(_of_version(EventKind.COPY_FAILED, version, reason, at=at, run_id=run_id), error=reason)


def about_of(event: Event) -> Unit | DatasetRef:
    """What a row of a hold is filed under."""
    return event.unit if event.source_table else DatasetRef(event.source_project, event.source_dataset)


def fold_holds(events: Iterable[Event]) -> list[Event]:
    """The events of the holds that were not released, oldest first; ``hold_of`` reads them.

    Of a hold that was placed several times the first time counts, and a release ends all of them.
    """
    events = sorted(events, key=lambda event: event.recorded_at, reverse=True)
    gone = {event.hold_id for event in events if event.event is EventKind.RELEASED}
    placed = {event.hold_id: event for event in events if event.event is EventKind.HELD and event.hold_id not in gone}
    return sorted(placed.values(), key=lambda event: (event.recorded_at, event.hold_id or ""))


def hold_of(event: Event) -> Hold:
    return Hold(
        target=event.held or "",
        owner=event.owner or "",
        reason=event.reason or "",
        since=event.recorded_at,
        until=event.held_until,
        given_id=event.hold_id or "",
    )


class RetentionFold:
    """Takes events of one dataset, in any order and each as often as one likes, and gives its record."""

    def __init__(self, dataset: DatasetRef) -> None:
        self._dataset = dataset
        self._stored: dict[str, tuple[datetime, bool, StoredVersion]] = {}
        self._absent: dict[Unit, tuple[datetime, EventKind]] = {}
        self._begun: dict[str, datetime] = {}
        self._words: dict[str, tuple[datetime, bool]] = {}
        self._scanned_at: datetime | None = None
        self._planned: dict[tuple[str, Unit], TableRef] = {}
        self._ended: set[tuple[str, Unit]] = set()

    def take(self, event: Event) -> None:
        at, unit = event.recorded_at, event.unit
        match event.event:
            case EventKind.VERSION_CREATED | EventKind.VERSION_DELETED:
                self._take_version(event)
            case EventKind.EMPTIED | EventKind.VANISHED:
                self._absent[unit] = max(self._absent.get(unit, (at, event.event)), (at, event.event))
            case EventKind.DELETION_PLANNED:
                identity = event.version_id or ""
                self._begun[identity] = max(at, self._begun.get(identity, at))
            case EventKind.VERIFIED if event.outcome != Outcome.COULD_NOT:
                word = at, event.outcome == Outcome.DIFFERS
                identity = event.version_id or ""
                self._words[identity] = max(word, self._words.get(identity, word))
            case EventKind.DATASET_SCANNED:
                self._scanned_at = max(at, self._scanned_at or at)
            case EventKind.COPY_PLANNED:
                self._planned[event.copy_id or "", unit] = event.backup
            case EventKind.COPY_FAILED:
                self._ended.add((event.copy_id or "", unit))

    def record(self) -> RetentionRecord:
        live = {identity: (at, version) for identity, (at, gone, version) in self._stored.items() if not gone}
        newest: dict[Unit, tuple[datetime, datetime]] = {}
        last: dict[Unit, datetime] = {}
        for at, version in live.values():
            captured = version.captured_at, at
            newest[version.unit] = max(captured, newest.get(version.unit, captured))
            last[version.unit] = max(at, last.get(version.unit, at))
        return RetentionRecord(
            self._dataset,
            versions=tuple(self._judged(version) for _, version in live.values()),
            # What was brought back since, older than the newest version, begins the grace anew and ends no absence.
            gone_since={
                unit: max(at, last[unit])
                for unit, (at, kind) in self._absent.items()
                if kind is EventKind.VANISHED and unit in newest and at > newest[unit][1]
            },
            scanned_at=self._scanned_at,
            departed=frozenset(
                unit for unit, (_, kind) in self._absent.items() if kind is EventKind.VANISHED and unit not in newest
            ),
            busy=frozenset(table for copy, table in self._planned.items() if copy not in self._ended),
            begun=frozenset(i for i, (at, _) in live.items() if i in self._begun and self._begun[i] >= at),
        )

    def _judged(self, version: StoredVersion) -> StoredVersion:
        _, is_bad = self._words.get(version.version_id, (None, False))
        return replace(version, is_bad=True) if is_bad else version

    def _take_version(self, event: Event) -> None:
        is_gone = event.event is EventKind.VERSION_DELETED
        if not is_gone:
            self._ended.add((event.copy_id or "", event.unit))
        identity = event.version_id or ""
        known = self._stored.get(identity)
        if known is None or (event.recorded_at, is_gone) >= known[:2]:
            self._stored[identity] = (event.recorded_at, is_gone, _stored(event))


def _stored(event: Event) -> StoredVersion:
    return StoredVersion(
        version_id=event.version_id or "",
        unit=event.unit,
        table=event.backup,
        captured_at=event.captured_at or event.recorded_at,
        rows=event.row_count,
        size_bytes=event.size_bytes,
        whole_table=bool(event.whole_table),
    )


def _of_hold(kind: EventKind, hold: Hold, about: Unit | DatasetRef, *, at: datetime, run_id: str) -> Event:
    dataset = about if isinstance(about, DatasetRef) else about.table.in_dataset
    event = Event(
        event=kind,
        recorded_at=at,
        run_id=run_id,
        source_project=dataset.project,
        source_dataset=dataset.dataset,
        reason=hold.reason,
        hold_id=hold.hold_id,
        held=hold.target,
        owner=hold.owner,
        held_until=hold.until,
    )
    if isinstance(about, Unit):
        event = replace(event, source_table=about.table.table, partition_id=about.partition)
    return event


def _of_version(kind: EventKind, version: StoredVersion, reason: str, *, at: datetime, run_id: str) -> Event:
    return replace(
        event_about(kind, version.unit, version.table, at=at, run_id=run_id),
        reason=reason,
        whole_table=version.whole_table,
        version_id=version.version_id,
        captured_at=version.captured_at,
        row_count=version.rows,
        size_bytes=version.size_bytes,
    )
