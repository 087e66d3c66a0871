"""Carry out a restore plan: record it, create what is missing, copy, look, record how each item ended.

The order is the safety; the same plan applied again finishes what is left and does nothing twice:

1. Record every item as planned, in one append. From here on the restore is one that has begun.
2. Create datasets and tables that are missing; those that are not partitioned are made by their copy jobs. Doing that
   twice is doing it once.
3. Copy. Job ids follow from restore, item and attempt: a job of an earlier run is found and not started again.
4. Finish each target: describe it, remove what came along. Compare its rows and columns with its version; then record
   the item, a batch at a time.
5. Only then what lies over a base: the base would refuse a table that is not empty.

An item that failed is tried anew when the plan is applied again. One failing item stops no other; a catalog that cannot
be written stops all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from bbq_dagster.apply.checking import LOOK_AGAIN_AFTER
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
from bbq_dagster.apply.finishing import finish_targets
from bbq_dagster.apply.pace import Runtime
from bbq_dagster.apply.restore_look import tables_as_they_are
from bbq_dagster.core.catalog import Event
from bbq_dagster.core.naming import job_id
from bbq_dagster.core.restore import RestoreItem, RestorePlan, TableFacts, TableRestore
from bbq_dagster.core.restore_record import (
    ItemState,
    ItemStatus,
    copy_of,
    item_statuses,
    restore_failed,
    restore_planned,
    restored,
)
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Writing
from bbq_dagster.errors import BbqError, Refused
from bbq_dagster.warehouse.port import Catalog, Warehouse

BATCH_ITEMS = 500
BATCH_SECONDS = 15.0
"""A batch is recorded when it has so many items, or when its oldest one has waited for so long."""


@dataclass(frozen=True, slots=True)
class ItemDone:
    """The target holds what the version holds."""

    target: Unit
    rows: int | None


@dataclass(frozen=True, slots=True)
class ItemNotDone:
    """The target does not, or nobody knows. ``error`` is BigQuery's message, or what the comparison found."""

    target: Unit
    error: str


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What became of each item. ``done_before``: by an earlier run of the same restore."""

    restore_id: str
    done: tuple[ItemDone, ...] = ()
    failed: tuple[ItemNotDone, ...] = ()
    unfinished: tuple[ItemNotDone, ...] = ()
    done_before: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not (self.failed or self.unfinished)

    def __str__(self) -> str:
        rows = sum(item.rows or 0 for item in self.done)
        before = f", {self.done_before:,} by an earlier run" if self.done_before else ""
        return "\n".join(
            [
                f"{self.restore_id}: {len(self.done):,} restored{before}, {rows:,} rows in {self.seconds:,.1f} s;"
                f" {len(self.failed):,} failed, {len(self.unfinished):,} unfinished",
                *(f"  failed: {item.target}: {item.error}" for item in self.failed),
                *(f"  unfinished: {item.target}: {item.error}" for item in self.unfinished),
            ]
        )


def apply_restore(
    plan: RestorePlan,
    warehouse: Warehouse,
    catalog: Catalog,
    *,
    run_id: str,
    clock: Callable[[], datetime],
    limits: CopyLimits | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    runtime: Runtime | None = None,
) -> RestoreReport:
    """Carry ``plan`` out, or finish it where an earlier run has begun it.

    Raises ``Refused`` for a plan with conflicts or without items, and what the catalog raises: what was copied and not
    recorded is adopted when the plan is applied again. All other errors are in the report.
    """
    refuse_conflicts(plan)
    run = _Run(plan, warehouse, catalog, run_id, clock, limits or CopyLimits(), runtime or Runtime(), on_progress)
    return run.restore()


def refuse_conflicts(plan: RestorePlan) -> None:
    """Raises ``Refused`` with all that stands against ``plan``."""
    if plan.conflicts:
        raise Refused("\n".join(["nothing was restored:", *(f"  {conflict}" for conflict in plan.conflicts)]))
    if not plan.items:
        raise Refused("nothing was restored: the plan has nothing to restore")


@dataclass(frozen=True, slots=True)
class _Job:
    """An item with its table and the attempt that it is at."""

    table: TableRestore
    item: RestoreItem
    attempt: int


class _Run:
    """One run of a restore: what is on record of it, what is in the batch, what became of the others."""

    def __init__(
        self,
        plan: RestorePlan,
        warehouse: Warehouse,
        catalog: Catalog,
        run_id: str,
        clock: Callable[[], datetime],
        limits: CopyLimits,
        runtime: Runtime,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._plan, self._warehouse, self._catalog = plan, warehouse, catalog
        self._run_id, self._clock, self._limits, self._runtime = run_id, clock, limits, runtime
        self._on_progress = on_progress
        self._began = runtime.monotonic()
        self._batch: list[CopyEnd] = []
        self._batch_began = self._began
        self._before: Mapping[Unit, ItemStatus] = {}
        self._jobs: dict[Unit, _Job] = {}
        self._done: dict[Unit, ItemDone] = {}
        self._failed: list[ItemNotDone] = []
        self._unfinished: list[ItemNotDone] = []

    def restore(self) -> RestoreReport:
        self._before = {s.target: s for s in item_statuses(self._catalog.restore_events(self._plan.restore_id))}
        if not self._before:
            self._catalog.append(restore_planned(self._plan, at=self._clock(), run_id=self._run_id))
        self._jobs = {item.target: self._job(table, item) for table in self._plan.tables for item in table.items}
        missing = self._create_datasets()
        self._copy(self._to_do(missing, follows=False))
        self._copy(self._to_do(missing, follows=True))
        return RestoreReport(
            restore_id=self._plan.restore_id,
            done=tuple(self._done.values()),
            failed=tuple(self._failed),
            unfinished=tuple(self._unfinished),
            done_before=sum(self._was_done(target) for target in self._jobs),
            seconds=self._runtime.monotonic() - self._began,
        )

    def _job(self, table: TableRestore, item: RestoreItem) -> _Job:
        before = self._before.get(item.target)
        return _Job(table, item, attempt=1 if before is None else before.attempts + 1)

    def _was_done(self, target: Unit) -> bool:
        before = self._before.get(target)
        return before is not None and before.state is ItemState.DONE

    def _create_datasets(self) -> Mapping[DatasetRef, BbqError]:
        """The datasets that cannot be had, each with its error."""
        left = {
            (job.table.target.in_dataset, job.table.location)
            for target, job in self._jobs.items()
            if not self._was_done(target)
        }
        return {dataset: error for dataset, location in sorted(left) if (error := self._ensure(dataset, location))}

    def _ensure(self, dataset: DatasetRef, location: str) -> BbqError | None:
        try:
            self._warehouse.ensure_restore_dataset(dataset, location=location)
        except BbqError as error:
            return error
        return None

    def _to_do(self, missing: Mapping[DatasetRef, BbqError], *, follows: bool) -> list[TableCopies]:
        """The copies that can be made now, by table; what cannot be made ends here."""
        tables: list[TableCopies] = []
        for table in self._plan.tables:
            jobs = [self._jobs[item.target] for item in table.items if item.follows is follows]
            jobs = [job for job in jobs if not self._was_done(job.item.target)]
            copies = tuple(copy_of(self._plan, table, job.item, attempt=job.attempt) for job in jobs)
            if (error := missing.get(table.target.in_dataset)) is not None:
                self._take_in(CopyFailure(copy, job_id(copy, tried=0), error) for copy in copies)
            elif follows and not self._has_base(table):
                self._unfinished += [ItemNotDone(job.item.target, _WAITS_FOR_BASE) for job in jobs]
            elif copies:
                tables.append(
                    TableCopies(
                        table.target,
                        copies,
                        create_like=None if follows or table.is_made_by_copy else table.create_like,
                        begun=bool(self._before),
                        options=table.options,
                    )
                )
        return tables

    def _has_base(self, table: TableRestore) -> bool:
        bases = [item.target for item in table.items if not item.follows]
        return all(target in self._done or self._was_done(target) for target in bases)

    def _copy(self, tables: Sequence[TableCopies]) -> None:
        """Run the copies, and record those that ended while others run."""
        said: deque[Progress] = deque()
        turns = run_copies(tables, self._warehouse, limits=self._limits, runtime=self._runtime, on_progress=said.append)
        with closing(self._runtime.aside(turns)) as ahead:
            for ended in ahead:
                self._take_in(ended)
                if self._is_batch_due():
                    self._flush()
                self._tell(said)
        self._flush()
        self._tell(said)

    def _tell(self, said: deque[Progress]) -> None:
        while said:
            self._on_progress(said.popleft())

    # Batches

    def _take_in(self, ended: Iterable[CopyEnd]) -> None:
        if not self._batch:
            self._batch_began = self._runtime.monotonic()
        self._batch += ended

    def _is_batch_due(self) -> bool:
        waited = self._runtime.monotonic() - self._batch_began
        return bool(self._batch) and (waited >= BATCH_SECONDS or len(self._batch) >= BATCH_ITEMS)

    def _flush(self) -> None:
        """Finish and compare what was copied, then record the batch."""
        batch, self._batch = self._finish(self._batch), []
        if not batch:
            return
        faults = self._faults([end for end in batch if isinstance(end, CopyOutcome)])
        at = self._clock()
        events = [event for end in batch if (event := self._fate(end, faults, at)) is not None]
        if events:
            self._catalog.append(events)

    def _finish(self, batch: Sequence[CopyEnd]) -> list[CopyEnd]:
        """The batch, where a copy whose target could not be finished is unfinished: the next run finishes it."""
        copied = [self._job_of(end) for end in batch if isinstance(end, CopyOutcome)]
        errors = finish_targets(
            [(job.table, job.item) for job in copied], self._warehouse, limits=self._limits, runtime=self._runtime
        )
        return [
            CopyUnfinished(end.copy, end.job_id, f"copied, and not finished: {error}")
            if (error := errors.get(end.copy.destination)) is not None
            else end
            for end in batch
        ]

    def _job_of(self, end: CopyEnd) -> _Job:
        return self._jobs[end.copy.destination]

    def _fate(self, end: CopyEnd, faults: Mapping[Unit, str], at: datetime) -> Event | None:
        """What is recorded of a copy that ended; the report gets it as well."""
        target, job = end.copy.destination, self._job_of(end)
        match end:
            case CopyOutcome(_, job_name, _, rows, _) if target not in faults:
                self._done[target] = ItemDone(target, rows)
                return restored(
                    self._plan, job.table, job.item, job_id=job_name, attempt=job.attempt, at=at, run_id=self._run_id
                )
            case CopyOutcome(_, job_name, _, _, _):
                return self._fail(job, job_name, faults[target], at)
            case CopyFailure(_, job_name, error):
                return self._fail(job, job_name, str(error), at)
            case _:
                self._unfinished.append(ItemNotDone(target, end.reason))
                return None

    def _fail(self, job: _Job, job_name: str, error: str, at: datetime) -> Event:
        self._failed.append(ItemNotDone(job.item.target, error))
        return restore_failed(
            self._plan,
            job.table,
            job.item,
            job_id=job_name,
            error=error,
            attempt=job.attempt,
            at=at,
            run_id=self._run_id,
        )

    # Comparing

    def _faults(self, outcomes: Sequence[CopyOutcome]) -> dict[Unit, str]:
        """What is wrong with each target that is not as its version; looked at again where it seems so."""
        faults = self._compare(outcomes)
        for pause in LOOK_AGAIN_AFTER:
            doubtful = [outcome for outcome in outcomes if outcome.copy.destination in faults]
            if doubtful:
                self._runtime.sleep(pause)
                faults = self._compare(doubtful)
        return faults

    def _compare(self, outcomes: Sequence[CopyOutcome]) -> dict[Unit, str]:
        by_home = sorted(outcomes, key=lambda outcome: (outcome.copy.destination.table, outcome.job_id))
        faults: dict[Unit, str] = {}
        for _, same in groupby(by_home, key=lambda outcome: outcome.copy.destination.table.in_dataset):
            faults |= self._compare_in_dataset(list(same))
        return faults

    def _compare_in_dataset(self, outcomes: Sequence[CopyOutcome]) -> dict[Unit, str]:
        homes = [(outcome.copy.destination.table, outcome.copy.location) for outcome in outcomes]
        try:
            there = tables_as_they_are(self._warehouse, homes)
        except BbqError as error:
            return {outcome.copy.destination: f"copied, and not compared: {error}" for outcome in outcomes}
        found = {outcome.copy.destination: self._difference(outcome, there) for outcome in outcomes}
        return {target: fault for target, fault in found.items() if fault}

    def _difference(self, outcome: CopyOutcome, there: Mapping[TableRef, TableFacts]) -> str:
        job = self._jobs[outcome.copy.destination]
        return difference(job.table, job.item, outcome.rows, there.get(job.item.target.table))


_WAITS_FOR_BASE = "it goes over the rest of its table, which is not there yet"


def difference(table: TableRestore, item: RestoreItem, copied_rows: int | None, there: TableFacts | None) -> str:
    """How the target differs from the versions of ``item``; empty where it does not.

    Where rows were appended the target has others too: what the job copied is compared.
    """
    if there is None:
        return "the target is not there"
    if there.shape.columns != table.columns:
        return f"the target has the columns {_names(there.shape.columns)}, not {_names(table.columns)}"
    if item.writing is Writing.APPEND:
        same = None in (copied_rows, item.rows) or copied_rows == item.rows
        return "" if same else f"the job copied {copied_rows:,} rows, the version has {item.rows:,}"
    for unit in item.units:
        rows = there.state_of(unit.unit.partition).rows
        if None not in (rows, unit.rows) and rows != unit.rows:
            return f"{unit.unit.key} has {rows:,} rows, its version has {unit.rows:,}"
    left = [unit.key for unit in item.removed if unit.partition in there.held]
    return f"{left[0]} came along with the copy, and is still there" if left else ""


def _names(columns: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns)
