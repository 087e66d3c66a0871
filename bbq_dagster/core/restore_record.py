"""What is on record of a restore: the copies of its plan, their events, and the status of each item. Pure.

Decides no restore; appending and reading events is the catalog's work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from bbq_dagster.core.catalog import Event, EventKind, event_about
from bbq_dagster.core.inventory import State
from bbq_dagster.core.naming import copy_id
from bbq_dagster.core.restore import RestoreItem, RestorePlan, TableRestore
from bbq_dagster.core.restore_choice import Gone
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.versions import Absence, Copy, PlannedUnit


class ItemState(StrEnum):
    """Where one item of a restore is."""

    PENDING = "pending"
    IN_PROGRESS = "in progress"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ItemStatus:
    """One item as the record has it. ``message``: BigQuery's, where it failed; ``attempts`` that failed so far."""

    target: Unit
    backup: Unit
    location: str
    restore_id: str
    state: ItemState
    at: datetime
    rows: int | None = None
    message: str = ""
    attempts: int = 0

    @property
    def next_copy(self) -> Copy:
        """The copy whose job is running, where one is."""
        return Copy(
            self.backup, self.target, self.location, _UNDATED, (), self.attempts + 1, restore_id=self.restore_id
        )


def copy_of(plan: RestorePlan, table: TableRestore, item: RestoreItem, *, attempt: int) -> Copy:
    """The copy that carries ``item`` out. Each restore and each attempt has job ids of its own."""
    units = tuple(PlannedUnit(unit.unit, State(unit.rows, unit.size_bytes), table.how) for unit in item.units)
    return Copy(
        source=item.source,
        destination=item.target,
        location=table.location,
        source_created_at=plan.planned_at,
        units=units,
        attempt=attempt,
        partitioned=table.is_partitioned,
        restore_id=plan.restore_id,
        writing=item.writing,
    )


def restore_planned(plan: RestorePlan, *, at: datetime, run_id: str) -> tuple[Event, ...]:
    """A restore is about to begin: an event for each of its items."""
    return tuple(
        _event(EventKind.RESTORE_PLANNED, plan, table, item, at=at, run_id=run_id, attempt=1)
        for table in plan.tables
        for item in table.items
    )


def restored(
    plan: RestorePlan, table: TableRestore, item: RestoreItem, *, job_id: str, attempt: int, at: datetime, run_id: str
) -> Event:
    """An item was copied, and its target was looked at."""
    return _event(EventKind.RESTORED, plan, table, item, at=at, run_id=run_id, attempt=attempt, job_id=job_id)


def restore_failed(
    plan: RestorePlan,
    table: TableRestore,
    item: RestoreItem,
    *,
    job_id: str,
    error: str,
    attempt: int,
    at: datetime,
    run_id: str,
) -> Event:
    """An item was not restored; the same restore, run again, tries it anew."""
    return _event(
        EventKind.RESTORE_FAILED, plan, table, item, at=at, run_id=run_id, attempt=attempt, job_id=job_id, error=error
    )


def item_statuses(events: Iterable[Event]) -> tuple[ItemStatus, ...]:
    """The status of every item of one restore, from its events in any order. What is done stays done."""
    statuses: dict[Unit, ItemStatus] = {}
    for event in sorted(events, key=lambda event: (event.recorded_at, event.event is not EventKind.RESTORE_PLANNED)):
        target = Unit.parse(event.target or "")
        before = statuses.get(target)
        if before is None or before.state is not ItemState.DONE:
            statuses[target] = _status(event, target, before)
    return tuple(statuses[target] for target in sorted(statuses))


def gone_of(event: Event) -> Gone:
    """The absence that an ``emptied`` or ``vanished`` event records."""
    return Gone(event.unit, Absence(event.event), event.recorded_at)


def _status(event: Event, target: Unit, before: ItemStatus | None) -> ItemStatus:
    attempts = 0 if before is None else before.attempts
    if event.event is EventKind.RESTORE_FAILED:
        attempts = max(attempts, event.attempt or 1)
    return ItemStatus(
        target=target,
        backup=event.backup.unit(target.partition),
        location=event.location or "",
        restore_id=event.restore_id or "",
        state=_STATES[event.event],
        at=event.recorded_at,
        rows=event.row_count,
        message=event.error or "",
        attempts=attempts,
    )


_UNDATED = datetime.min.replace(tzinfo=UTC)
_STATES = {
    EventKind.RESTORE_PLANNED: ItemState.PENDING,
    EventKind.RESTORED: ItemState.DONE,
    EventKind.RESTORE_FAILED: ItemState.FAILED,
}


def _event(
    kind: EventKind,
    plan: RestorePlan,
    table: TableRestore,
    item: RestoreItem,
    *,
    at: datetime,
    run_id: str,
    attempt: int,
    job_id: str | None = None,
    error: str | None = None,
) -> Event:
    return replace(
        event_about(kind, table.source.unit(item.source.partition), item.source.table, at=at, run_id=run_id),
        location=table.location,
        reason=table.how,
        partitioned=table.is_partitioned,
        whole_table=item.source.partition is None,
        copy_id=copy_id(copy_of(plan, table, item, attempt=attempt)),
        attempt=attempt,
        job_id=job_id,
        row_count=item.rows,
        error=error,
        restore_id=plan.restore_id,
        target=str(item.target),
    )
