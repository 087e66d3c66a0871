"""Bring a deleted version back, as long as BigQuery's time travel reaches it.

The copy job is derived from the version and the instant, so that a run that was stopped is finished by running it
again. The version is recorded only once the copy is there. Retention decides on it anew: hold what is to stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bbq_dagster.apply.pace import Runtime
from bbq_dagster.core.catalog import Event, EventKind, version_of
from bbq_dagster.core.naming import job_id
from bbq_dagster.core.tables import TableRef
from bbq_dagster.core.versions import Copy, PlannedUnit, Version
from bbq_dagster.errors import Permanent, Refused, Transient
from bbq_dagster.warehouse.port import Catalog, CopyStatus, JobRef, Warehouse

TIME_TRAVEL = timedelta(days=7)
"""How far back a deleted table can be read, unless its dataset says less (BigQuery: time-travel)."""

_CLOCKS_DIFFER_BY = timedelta(minutes=1)
"""The table is read as it was so long before it was marked: our clock may be ahead of BigQuery's."""

_POLLS, _PAUSE_SECONDS = 300, 2.0


def undelete(
    version_id: str,
    warehouse: Warehouse,
    catalog: Catalog,
    *,
    now: datetime,
    run_id: str,
    runtime: Runtime | None = None,
) -> Version:
    """Copy the version back to where it was, and record it. Raises ``Refused`` where that cannot be done."""
    created, deleted, begun = _story(version_id, catalog.events_of_version(version_id))
    if now - begun.recorded_at > TIME_TRAVEL:
        raise Refused(
            f"version {version_id} was deleted at {deleted.recorded_at:%Y-%m-%d %H:%M} UTC: time travel reaches back"
            f" {TIME_TRAVEL.days} days, nothing was brought back"
        )
    copy = _copy(version_of(created), max(created.recorded_at, begun.recorded_at - _CLOCKS_DIFFER_BY))
    status = _copied(warehouse, copy, JobRef(job_id(copy, tried=0), copy.location), runtime or Runtime())
    if status.rows != created.row_count:
        raise Permanent(
            f"{copy.destination} was brought back with {status.rows} rows, the version has {created.row_count}:"
            " it was not recorded"
        )
    back = replace(created, recorded_at=now, run_id=run_id, reason=f"undeleted; before: {created.reason}")
    catalog.append([back])
    return version_of(back)


def _story(version_id: str, events: Sequence[Event]) -> tuple[Event, Event, Event]:
    """The last creation and deletion of the version, and the mark before it, at which it was still there."""
    of_kind = {event.event: event for event in events}
    created, deleted = of_kind.get(EventKind.VERSION_CREATED), of_kind.get(EventKind.VERSION_DELETED)
    if created is None:
        raise Refused(f"there was never a version {version_id}", hint="`bbq catalog history` has the deleted ones")
    if deleted is None or deleted.recorded_at < created.recorded_at:
        raise Refused(f"version {version_id} is not deleted: there is nothing to bring back")
    if created.partition_id is not None:
        raise Refused(
            f"version {version_id} is a partition: time travel of BigQuery brings back whole tables only",
            hint=f"read it with FOR SYSTEM_TIME AS OF while {created.backup_table} exists",
        )
    return created, deleted, of_kind.get(EventKind.DELETION_PLANNED, deleted)


def _copy(version: Version, at: datetime) -> Copy:
    """``t@milliseconds`` is the table as it was then (BigQuery: restore-deleted-tables)."""
    table = version.backup.table
    past = TableRef(table.project, table.dataset, f"{table.table}@{int(at.timestamp() * 1000)}")
    return Copy(
        source=past.unit(),
        destination=version.backup,
        location=version.location,
        source_created_at=version.source_created_at,
        units=(PlannedUnit(version.unit, version.source, "undelete"),),
    )


def _copied(warehouse: Warehouse, copy: Copy, job: JobRef, runtime: Runtime) -> CopyStatus:
    warehouse.start_copy(copy, job)
    for _ in range(_POLLS):
        status = warehouse.copy_statuses([job]).get(job)
        if status is not None and status.error is not None:
            raise status.error
        if status is not None and status.is_done:
            return status
        runtime.sleep(_PAUSE_SECONDS)
    raise Transient(f"{job.job_id}, which brings back {copy.destination}, is not done yet: run it again")
