"""What goes on record of a run, as events: what the scan saw, what became of each unit, which tables are settled.

Makes events; appending them is ``backup``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from bbq_dagster.apply.checking import Check, CheckedCopy, Held, NotHeld, Wrong
from bbq_dagster.apply.copying import CopyFailure, CopyOutcome, CopyUnfinished
from bbq_dagster.apply.report import NotCaptured, UnitFailure, UnitOutcome, UnitUnfinished, VersionMade
from bbq_dagster.core.catalog import (
    Event,
    copy_failed,
    dataset_scanned,
    emptied,
    table_settled,
    vanished,
    version_created,
    version_of,
)
from bbq_dagster.core.changes import settled_tables
from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.retention_record import held
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.versions import Copy, PlannedUnit


def scan_events(plan: BackupPlan, *, at: datetime, run_id: str) -> Iterator[Event]:
    """One event per dataset that was listed whole, per unit that is empty or gone, and per hold of the anomaly gate.

    The holds go in before anything is copied: what is flagged is held from the start.
    """
    for changes in plan.changes:
        if not (found := changes.inventory).is_whole:
            continue
        count = len(found.tables) + len(found.left_out)
        yield dataset_scanned(found.dataset.ref, location=found.dataset.location, tables=count, at=at, run_id=run_id)
    for change in plan.emptied:
        yield emptied(change, at=at, run_id=run_id)
    for gone in plan.vanished:
        yield vanished(gone, at=at, run_id=run_id)
    for anomaly in plan.anomalies:
        yield held(anomaly.hold(since=at), anomaly.target, run_id=run_id)


def fates(
    end: CheckedCopy | CopyFailure | CopyUnfinished, *, at: datetime, run_id: str
) -> Iterator[tuple[Event | None, UnitOutcome]]:
    """What is recorded of each unit of a copy, and what is told of it."""
    match end:
        case CopyFailure(copy, job, error):
            for unit in copy.units:
                yield _failed(copy, unit, job, str(error), at=at, run_id=run_id)
        case CopyUnfinished(copy, _, reason):
            for unit in copy.units:
                yield None, UnitUnfinished(unit.unit, reason, unit.reason)
        case CheckedCopy(outcome, checks):
            for check in checks:
                yield _fate(outcome, check, at=at, run_id=run_id)


def settlements(plan: BackupPlan, protected: frozenset[Unit], *, at: datetime, run_id: str) -> Iterator[Event]:
    """The tables that need no look at their partitions: each unit is unchanged, or among ``protected``."""
    for changes in plan.changes:
        for table in settled_tables(changes, protected):
            yield table_settled(table, at=at, run_id=run_id)


def _fate(outcome: CopyOutcome, check: Check, *, at: datetime, run_id: str) -> tuple[Event, UnitOutcome]:
    match check:
        case Wrong(unit, error):
            return _failed(outcome.copy, unit, outcome.job_id, error, at=at, run_id=run_id)
        case NotHeld(unit, reason):
            event, _ = _failed(outcome.copy, unit, outcome.job_id, reason, at=at, run_id=run_id)
            return event, NotCaptured(unit.unit, reason)
        case Held(unit, rows, size_bytes):
            event = version_created(
                outcome.copy,
                unit,
                job_id=outcome.job_id,
                captured_at=outcome.started_at,
                rows=rows,
                size_bytes=size_bytes,
                at=at,
                run_id=run_id,
            )
            return event, VersionMade(version_of(event))


def _failed(
    copy: Copy, unit: PlannedUnit, job: str, error: str, *, at: datetime, run_id: str
) -> tuple[Event, UnitFailure]:
    event = copy_failed(copy, unit, job_id=job, error=error, at=at, run_id=run_id)
    return event, UnitFailure(unit.unit, error, unit.reason)
