"""Events of the catalog as a test tells them: what happened to a unit, and when."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

from bbq_dagster.core.catalog import (
    Event,
    EventKind,
    copy_failed,
    copy_planned,
    dataset_scanned,
    emptied,
    event_about,
    table_settled,
    vanished,
    version_created,
    version_of,
)
from bbq_dagster.core.changes import Change, Vanished, Verdict
from bbq_dagster.core.inventory import SourceTable, State
from bbq_dagster.core.naming import copy_id
from bbq_dagster.core.retention_record import deletion_planned, version_deleted
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.versions import Copy, PlannedUnit
from bbq_dagster_tests.builders import BACKUPS, EVENTS, NOW, ORDERS, SALES, a_copy, a_table


def days(number: int) -> timedelta:
    return timedelta(days=number)


def backed_up_by(copy: Copy, unit: PlannedUnit, *, at: datetime) -> Event:
    return version_created(
        copy,
        unit,
        job_id=f"{copy_id(copy)}_1",
        captured_at=at,
        rows=unit.state.rows,
        size_bytes=unit.state.size_bytes,
        at=at,
        run_id="run-1",
    )


def backed_up(unit: Unit, *, at: datetime) -> Event:
    copy = a_copy(unit, destination=_backup(unit, at))
    return backed_up_by(copy, copy.units[0], at=at)


def failed(unit: Unit, *, at: datetime) -> Event:
    copy = a_copy(unit, destination=_backup(unit, at))
    return copy_failed(copy, copy.units[0], job_id=f"{copy_id(copy)}_1", error="no", at=at, run_id="run-1")


def found_empty(unit: Unit, *, at: datetime) -> Event:
    return emptied(Change(unit, State(0, 0, at), Verdict.EMPTIED, "emptied"), at=at, run_id="run-1")


def found_gone(unit: Unit, *, at: datetime) -> Event:
    return vanished(Vanished(unit, "the table is gone"), at=at, run_id="run-1")


def of_restore(restore_id: str, done: bool, unit: Unit, *, at: datetime, into: str = "acme-lab.sales") -> Event:
    """A unit that is about to be restored into a dataset, or that was."""
    kind = EventKind.RESTORED if done else EventKind.RESTORE_PLANNED
    target = DatasetRef.parse(into).table(unit.table.table).unit(unit.partition)
    return replace(event_about(kind, unit, at=at, run_id="run-1"), restore_id=restore_id, target=str(target))


def scanned(*, at: datetime) -> Event:
    return dataset_scanned(SALES, location="EU", tables=3, at=at, run_id="run-1")


def deletion_begun(created: Event, *, at: datetime) -> Event:
    return deletion_planned(_stored(created), "beyond keep_last 1", at=at, run_id="run-1")


def deleted(created: Event, *, at: datetime) -> Event:
    return version_deleted(_stored(created), "beyond keep_last 1", at=at, run_id="run-1")


def _stored(created: Event) -> StoredVersion:
    return StoredVersion.of(version_of(created))


def random_events(chance: random.Random, *, number: int) -> list[Event]:
    """The story of a few units of ``SALES`` in random order of events, one a minute."""
    units = [ORDERS.unit(), SALES.table("stock").unit(), *(EVENTS.unit(f"2024010{day}") for day in range(1, 5))]
    story: list[Event] = []
    for minute in range(number):
        at, unit = NOW + timedelta(minutes=minute), chance.choice(units)
        kind = chance.choice(list(EventKind))
        if kind is EventKind.COPY_PLANNED:
            story += copy_planned(a_copy(unit, destination=_backup(unit, at)), at=at, run_id="run-1")
        elif kind is EventKind.TABLE_SETTLED:
            story.append(table_settled(_settled(minute), at=at, run_id="run-1"))
        elif kind in (EventKind.VERSION_CREATED, EventKind.COPY_FAILED):
            story.append(_end_of_a_plan(chance, story, kind) or backed_up(unit, at=at))
        elif kind in (EventKind.EMPTIED, EventKind.VANISHED):
            story.append(found_empty(unit, at=at) if kind is EventKind.EMPTIED else found_gone(unit, at=at))
        elif kind in (EventKind.VERSION_DELETED, EventKind.DELETION_PLANNED):
            story += _of_a_version(chance, story, kind, at)
    return story


def _of_a_version(chance: random.Random, story: list[Event], kind: EventKind, at: datetime) -> list[Event]:
    created = [event for event in story if event.event is EventKind.VERSION_CREATED]
    if not created:
        return []
    tell = deleted if kind is EventKind.VERSION_DELETED else deletion_begun
    return [tell(chance.choice(created), at=at)]


def _end_of_a_plan(chance: random.Random, story: list[Event], kind: EventKind) -> Event | None:
    planned = [event for event in story if event.event is EventKind.COPY_PLANNED]
    if not planned:
        return None
    plan = chance.choice(planned)
    at = story[-1].recorded_at + timedelta(seconds=1)
    end = backed_up(plan.unit, at=at) if kind is EventKind.VERSION_CREATED else failed(plan.unit, at=at)
    return replace(end, copy_id=plan.copy_id)


def _settled(minute: int) -> SourceTable:
    return a_table(EVENTS, partitioned=True, state=State(minute, minute * 10, NOW))


def _backup(unit: Unit, at: datetime) -> Unit:
    source = f"{unit.table.project}-{unit.table.dataset}-{unit.table.table}"
    return BACKUPS.table(f"{source}-{at:%Y%m%dT%H%M%S%f}").unit(unit.partition)
