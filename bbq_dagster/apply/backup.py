"""Carry out a backup plan: copy, check, record.

The order is the safety; whatever line a run stops at, the next run finishes its work and copies nothing twice:

1. Record the scan and every planned copy, in one append. From here on the next run knows what to ask for.
2. Create backup datasets and, where a copy needs it first, backup tables. Doing that twice is doing it once.
3. Copy. A copy that was made and not recorded is found by its job id: it is adopted, not copied again.
4. Look whether the copy is there, whole, and free of expirations; then record it, a batch at a time. A version on
   record is a version that exists.
5. Tell whoever wants to know. What was not told is on record.
6. Record which tables are settled. Without that, the next run looks at their partitions once more.

A copy is recorded as failed only where it is known that no job of it wrote anything or still can. If that is not known
it stays planned. No fault of one unit stops another one; a catalog that cannot be written stops all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import groupby
from typing import TypeVar

from bbq_dagster.apply.checking import check_copies
from bbq_dagster.apply.copying import (
    CopyEnd,
    CopyFailure,
    CopyLimits,
    CopyOutcome,
    CopyUnfinished,
    Progress,
    TableCopies,
    run_copies,
)
from bbq_dagster.apply.pace import Runtime
from bbq_dagster.apply.recording import fates, scan_events, settlements
from bbq_dagster.apply.report import (
    BackupReport,
    NotCaptured,
    Seconds,
    UnitFailure,
    UnitOutcome,
    UnitUnfinished,
    VersionMade,
)
from bbq_dagster.core.catalog import Event, copy_planned
from bbq_dagster.core.naming import description_of, is_created_first, job_id
from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.core.versions import Copy
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import Catalog, Warehouse

Clock = Callable[[], datetime]
OnRecorded = Callable[[Sequence[UnitOutcome]], None]

BATCH_UNITS = 500
BATCH_SECONDS = 15.0
"""A batch is recorded when it has so many units, or when its oldest one has waited for so long."""

T = TypeVar("T")


def apply_backup(
    plan: BackupPlan,
    warehouse: Warehouse,
    catalog: Catalog,
    *,
    run_id: str,
    clock: Clock,
    limits: CopyLimits | None = None,
    on_recorded: OnRecorded = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    runtime: Runtime | None = None,
) -> BackupReport:
    """Carry ``plan`` out; the report names every unit that has no version now, and why.

    ``on_recorded`` gets each unit's outcome once, in batches, after it is on record. ``clock`` says when events are
    recorded. Both, and ``on_progress``, are called in the caller's thread.

    Raises what the catalog raises: what was copied and not recorded is adopted by the next run. All other errors are in
    the report.
    """
    run = _Run(plan, warehouse, catalog, run_id, clock, limits or CopyLimits(), runtime or Runtime(), on_recorded)
    if plan.copies:
        run.begin()
        run.copy(run.prepare(), on_progress)
        run.settle()
    else:
        run.record_scan()
    return run.report()


def record_scan(plan: BackupPlan, catalog: Catalog, *, run_id: str, clock: Clock) -> None:
    """Record what a scan saw on a day when there is nothing to copy: one append, or none for an empty plan."""
    at = clock()
    events = [*scan_events(plan, at=at, run_id=run_id), *settlements(plan, frozenset(), at=at, run_id=run_id)]
    if events:
        catalog.append(events)


class _Run:
    """One backup run: what is in the batch, what became of the others, where the time went."""

    def __init__(
        self,
        plan: BackupPlan,
        warehouse: Warehouse,
        catalog: Catalog,
        run_id: str,
        clock: Clock,
        limits: CopyLimits,
        runtime: Runtime,
        on_recorded: OnRecorded,
    ) -> None:
        self._plan, self._warehouse, self._catalog = plan, warehouse, catalog
        self._run_id, self._clock, self._limits, self._runtime = run_id, clock, limits, runtime
        self._on_recorded = on_recorded
        self._batch: list[CopyEnd] = []
        self._batch_began, self._batch_units = 0.0, 0
        self._outcomes: list[UnitOutcome] = []
        self._began = runtime.monotonic()
        self._spent = {"catalog": 0.0, "on_recorded": 0.0}

    def record_scan(self) -> None:
        with self._measured("catalog"):
            record_scan(self._plan, self._catalog, run_id=self._run_id, clock=self._clock)

    def begin(self) -> None:
        at = self._clock()
        planned = (copy for backup in self._plan.backups for copy in backup.copies)
        self._append(
            [
                *scan_events(self._plan, at=at, run_id=self._run_id),
                *(event for copy in planned for event in copy_planned(copy, at=at, run_id=self._run_id)),
            ]
        )

    def prepare(self) -> list[TableCopies]:
        """Create the backup datasets; the copies into those that there are now."""
        tables = _tables_of(self._plan)
        copies = {table.destination.in_dataset: table.copies[0] for table in tables}
        with self._runtime.executor(self._limits.threads) as pool:
            errors = dict(zip(copies, pool.map(self._ensure_dataset, copies.values()), strict=True))
        for table in tables:
            if (error := errors[table.destination.in_dataset]) is not None:
                self._add(_refused(table, error))
        return [table for table in tables if errors[table.destination.in_dataset] is None]

    def _ensure_dataset(self, copy: Copy) -> BbqError | None:
        """For a copy that goes there: all copies into one backup dataset come from one dataset in one location."""
        home, source = copy.destination.table.in_dataset, copy.source.table.in_dataset
        try:
            self._warehouse.ensure_dataset(home, location=copy.location, description=description_of(source))
        except BbqError as error:
            return error
        return None

    def copy(self, tables: Sequence[TableCopies], on_progress: Callable[[Progress], None]) -> None:
        """Run the copies, and record those that ended while others run."""
        said: deque[Progress] = deque()
        turns = run_copies(tables, self._warehouse, limits=self._limits, runtime=self._runtime, on_progress=said.append)
        with closing(self._runtime.aside(turns)) as ahead:
            for ended in ahead:
                self._add(ended)
                if self._is_batch_due():
                    self._flush()
                _tell(said, on_progress)
        self._flush()
        _tell(said, on_progress)

    def settle(self) -> None:
        at = self._clock()
        self._append(list(settlements(self._plan, self._protected(), at=at, run_id=self._run_id)))

    def _protected(self) -> frozenset[Unit]:
        """Units whose state in the scan is in a version now. A copy of an earlier run may be older than the scan."""
        begun = {unit.unit for copy in self._plan.unfinished for unit in copy.units}
        every = (change for changes in self._plan.changes for change in changes.changes)
        seen = {change.unit: change.state.modified_at for change in every if change.unit in begun}
        return frozenset(
            made.unit
            for made in self._of(VersionMade)
            if made.unit not in begun or ((at := seen.get(made.unit)) is not None and at < made.version.captured_at)
        )

    def report(self) -> BackupReport:
        return BackupReport(
            run_id=self._run_id,
            versions=self._of(VersionMade),
            failures=self._of(UnitFailure),
            unfinished=self._of(UnitUnfinished),
            not_captured=self._of(NotCaptured),
            datasets_failed=self._plan.failures,
            projects_failed=self._plan.projects_failed,
            seconds=Seconds(self._runtime.monotonic() - self._began, **self._spent),
        )

    def _of(self, kind: type[T]) -> tuple[T, ...]:
        return tuple(outcome for outcome in self._outcomes if isinstance(outcome, kind))

    # Batches

    def _add(self, ended: Iterable[CopyEnd]) -> None:
        if not self._batch:
            self._batch_began = self._runtime.monotonic()
        for end in ended:
            self._batch.append(end)
            self._batch_units += len(end.copy.units)

    def _is_batch_due(self) -> bool:
        waited = self._runtime.monotonic() - self._batch_began
        return bool(self._batch) and (waited >= BATCH_SECONDS or self._batch_units >= BATCH_UNITS)

    def _flush(self) -> None:
        """Check and record the batch, then tell of it."""
        batch, self._batch, self._batch_units = self._batch, [], 0
        done = [end for end in batch if isinstance(end, CopyOutcome)]
        not_done = [end for end in batch if not isinstance(end, CopyOutcome)]
        checked = check_copies(done, self._warehouse, sleep=self._runtime.sleep)
        at = self._clock()
        recorded = [fate for end in (*not_done, *checked) for fate in fates(end, at=at, run_id=self._run_id)]
        self._append([event for event, _ in recorded if event is not None])
        outcomes = [outcome for _, outcome in recorded]
        self._outcomes += outcomes
        if outcomes:
            with self._measured("on_recorded"):
                self._on_recorded(outcomes)

    def _append(self, events: Sequence[Event]) -> None:
        if events:
            with self._measured("catalog"):
                self._catalog.append(events)

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        began = self._runtime.monotonic()
        yield
        self._spent[name] += self._runtime.monotonic() - began


def _tell(said: deque[Progress], on_progress: Callable[[Progress], None]) -> None:
    while said:
        on_progress(said.popleft())


def _tables_of(plan: BackupPlan) -> list[TableCopies]:
    """What an earlier run began goes first: it has waited longest."""
    begun = groupby(sorted(plan.unfinished, key=lambda copy: copy.destination.table), lambda c: c.destination.table)
    return [
        *(_copies_into(destination, tuple(copies), begun=True) for destination, copies in begun),
        *(_copies_into(backup.destination, backup.copies, begun=False) for backup in plan.backups),
    ]


def _copies_into(destination: TableRef, copies: tuple[Copy, ...], *, begun: bool) -> TableCopies:
    source = copies[0].source.table
    return TableCopies(
        destination,
        copies,
        create_like=source if is_created_first(copies[0]) else None,
        description=description_of(source),
        begun=begun,
    )


def _refused(table: TableCopies, error: BbqError) -> Iterator[CopyEnd]:
    """The copies of a table whose backup dataset cannot be had. No job was started now, maybe by an earlier run."""
    for copy in table.copies:
        job = job_id(copy, tried=0)
        yield CopyUnfinished(copy, job, str(error)) if table.begun else CopyFailure(copy, job, error)
