"""The backup plan: which copy jobs to run, where to, and why. A value; printing it is the dry run.

``plan_backup`` decides; it starts nothing and reads no clock. Grouping and quotas are decided here, whether a unit
needs a copy was decided in ``changes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby

from bbq_dagster.core.changes import Change, DatasetChanges, Vanished, Verdict
from bbq_dagster.core.inventory import Dataset, LeftOut, SourceTable
from bbq_dagster.core.naming import backup_dataset, backup_table
from bbq_dagster.core.tables import SPECIAL_PARTITIONS, DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy, DatasetRecord, PlannedUnit


@dataclass(frozen=True, slots=True)
class TableBackup:
    """One backup table to make: its copies, and whether it is created before the first of them.

    A partitioned backup table is created first, without the expirations of its source: a copy job would carry the
    partition expiration over, and old partitions would vanish at once (BigQuery: managing-partitioned-tables).
    """

    source: TableRef
    destination: TableRef
    location: str
    copies: tuple[Copy, ...]
    create_first: bool
    why_so: str
    unprotected_since: datetime | None = None
    """When its longest-waiting unit was last captured; None where one never was."""

    @property
    def units(self) -> tuple[PlannedUnit, ...]:
        return tuple(unit for copy in self.copies for unit in copy.units)


@dataclass(frozen=True, slots=True)
class Postponed:
    """A unit that needs a copy and does not get one in this plan."""

    unit: Unit
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetFailure:
    """A dataset that could not be looked at. Nothing is known of it, so nothing of it is planned or called deleted."""

    dataset: DatasetRef
    message: str


@dataclass(frozen=True, slots=True)
class Quota:
    """How many copy jobs may still be started, and out of how many a day."""

    copy_jobs_left: int
    copy_jobs_per_day: int

    @classmethod
    def of_day(cls, per_day: int, *, used: int) -> Quota:
        return cls(max(0, per_day - used), per_day)


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What a run would do and why, and what it would not do and why not."""

    planned_at: datetime
    backups: tuple[TableBackup, ...] = ()
    unfinished: tuple[Copy, ...] = ()
    """Copies of an earlier run that has no end on record: they are finished under the same names."""
    postponed: tuple[Postponed, ...] = ()
    emptied: tuple[Change, ...] = ()
    vanished: tuple[Vanished, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    failures: tuple[DatasetFailure, ...] = ()
    unchanged: int = 0
    changes: tuple[DatasetChanges, ...] = field(default=(), repr=False)

    @property
    def copies(self) -> tuple[Copy, ...]:
        """All copy jobs of the plan, those of an unfinished run first."""
        return (*self.unfinished, *(copy for backup in self.backups for copy in backup.copies))

    @property
    def units(self) -> tuple[PlannedUnit, ...]:
        return tuple(unit for copy in self.copies for unit in copy.units)

    @property
    def estimated_calls(self) -> int:
        """API calls that applying it takes, without retries and with one poll per 100 jobs: an estimate for people.

        Two to create a table, one to start a job; three per backup dataset to ensure and check it; two per record.
        """
        if not self.copies:
            return 2 if self.emptied or self.vanished else 0
        created = {copy.destination.table for copy in self.copies if copy.partitioned}
        datasets = {copy.destination.table.in_dataset for copy in self.copies}
        return 2 * len(created) + len(self.copies) + len(self.copies) // 100 + 3 * len(datasets) + 4

    @property
    def is_empty(self) -> bool:
        """Nothing to copy and nothing new to record."""
        return not (self.copies or self.emptied or self.vanished)

    def __str__(self) -> str:
        from bbq_dagster.core.render import render_plan

        return render_plan(self)


def plan_backup(
    datasets: Iterable[tuple[DatasetChanges, DatasetRecord]],
    *,
    into: str,
    now: datetime,
    quota: Quota,
    whole_table_share: Callable[[TableRef], float] = lambda _: 0.5,
    wanted: Callable[[Change], bool] = lambda change: change.needs_copy,
    salt: str = "",
    failures: Sequence[DatasetFailure] = (),
) -> BackupPlan:
    """Plan the copies of all units that are ``wanted``, into project ``into``.

    * Copies that an earlier run planned and did not finish come first and keep their names; their units wait for them.
    * An unpartitioned table is one copy job.
    * A partitioned table goes into one backup table a run: by one copy job as a whole where that is fewer jobs for
      little more storage (at least ``whole_table_share`` of its partitions are wanted) or the only documented way
      (``__NULL__``, ``__UNPARTITIONED__``), otherwise by one copy job per partition.
    * What does not fit into ``quota`` is postponed, the longest-unprotected tables go first.
    """
    datasets = list(datasets)
    unfinished = tuple(copy for _, record in datasets for copy in record.unfinished)
    in_hand = frozenset(unit.unit for copy in unfinished for unit in copy.units)
    candidates = [
        backup
        for changes, record in datasets
        for backup in _plan_dataset(
            changes,
            record,
            into=into,
            share=whole_table_share,
            most_jobs=quota.copy_jobs_per_day,
            wanted=wanted,
            in_hand=in_hand,
            salt=salt,
        )
    ]
    backups, postponed = _fit(candidates, Quota(quota.copy_jobs_left - len(unfinished), quota.copy_jobs_per_day))
    every = [change for changes, _ in datasets for change in changes.changes]
    return BackupPlan(
        planned_at=now,
        backups=tuple(backups),
        unfinished=unfinished,
        postponed=(*postponed, *(Postponed(c.unit, c.reason) for c in every if c.verdict is Verdict.WAITS)),
        emptied=tuple(change for change in every if change.verdict is Verdict.EMPTIED),
        vanished=tuple(gone for changes, _ in datasets for gone in changes.vanished),
        left_out=tuple(left for changes, _ in datasets for left in changes.left_out),
        failures=tuple(failures),
        unchanged=sum(change.verdict is Verdict.UNCHANGED for change in every) + _unlisted_units(datasets),
        changes=tuple(changes for changes, _ in datasets),
    )


def _plan_dataset(
    changes: DatasetChanges,
    record: DatasetRecord,
    *,
    into: str,
    share: Callable[[TableRef], float],
    most_jobs: int,
    wanted: Callable[[Change], bool],
    in_hand: frozenset[Unit],
    salt: str,
) -> Iterable[TableBackup]:
    dataset = changes.inventory.dataset
    tables = {table.ref: table for table in changes.inventory.tables}
    for ref, group in groupby(sorted(changes.changes, key=lambda c: c.unit.sort_key), key=lambda c: c.unit.table):
        listed = list(group)
        chosen = [change for change in listed if wanted(change) and change.unit not in in_hand]
        if chosen:
            yield _plan_table(
                dataset,
                tables[ref],
                chosen,
                record,
                into=into,
                why_whole=_why_whole(tables[ref], chosen, len(listed), share(ref), most_jobs),
                partitions=len(listed),
                salt=salt,
            )


def _plan_table(
    dataset: Dataset,
    table: SourceTable,
    chosen: Sequence[Change],
    record: DatasetRecord,
    *,
    into: str,
    why_whole: str,
    partitions: int,
    salt: str,
) -> TableBackup:
    name = backup_table(
        table.ref,
        [(change.unit, change.state) for change in chosen],
        created_at=table.created_at,
        supersedes=[change.last.version_id for change in chosen if change.last is not None],
        salt=salt,
    )
    destination = backup_dataset(dataset.ref, location=dataset.location, into=into).table(name)
    units = [PlannedUnit(change.unit, change.state, change.reason) for change in chosen]

    def copy(partition: str | None, held: Sequence[PlannedUnit]) -> Copy:
        return Copy(
            source=table.ref.unit(partition),
            destination=destination.unit(partition),
            location=dataset.location,
            source_created_at=table.created_at,
            units=tuple(held),
            attempt=1 + max(record.failures.get(unit.unit, 0) for unit in held),
            partitioned=table.is_partitioned,
        )

    captured = [change.last.captured_at for change in chosen if change.last is not None]
    return TableBackup(
        source=table.ref,
        destination=destination,
        location=dataset.location,
        copies=(copy(None, units),) if why_whole else tuple(copy(unit.unit.partition, [unit]) for unit in units),
        create_first=table.is_partitioned,
        why_so=why_whole or f"{len(chosen):,} of {partitions:,} partitions: a copy job each",
        unprotected_since=min(captured) if len(captured) == len(chosen) else None,
    )


def _why_whole(table: SourceTable, chosen: Sequence[Change], partitions: int, share: float, most_jobs: int) -> str:
    """Why one copy job takes the whole table; empty where partitions are copied one by one."""
    if not table.is_partitioned:
        return "not partitioned: one copy job"
    special = sorted({str(change.unit.partition) for change in chosen} & SPECIAL_PARTITIONS)
    if special:
        return f"no copy job can name {' or '.join(special)}: one copy job takes the whole table"
    if len(chosen) >= share * partitions:
        return f"{len(chosen):,} of {partitions:,} partitions: one copy job takes the whole table"
    if len(chosen) > most_jobs:
        return f"{len(chosen):,} partitions are more than a day has copy jobs: one copy job takes the whole table"
    return ""


def _fit(candidates: Iterable[TableBackup], quota: Quota) -> tuple[list[TableBackup], list[Postponed]]:
    """Those that fit into the quota, the longest-unprotected first, and the units of the others."""
    backups: list[TableBackup] = []
    postponed: list[Postponed] = []
    left = quota.copy_jobs_left
    for backup in sorted(candidates, key=_most_urgent_first):
        if len(backup.copies) <= left:
            left -= len(backup.copies)
            backups.append(backup)
        else:
            reason = f"waits for quota: {quota.copy_jobs_per_day:,} copy jobs a day are used up or promised"
            postponed += [Postponed(unit.unit, reason) for unit in backup.units]
    return backups, postponed


def _most_urgent_first(backup: TableBackup) -> tuple[datetime, TableRef]:
    return backup.unprotected_since or datetime.min.replace(tzinfo=UTC), backup.source


def _unlisted_units(datasets: Iterable[tuple[DatasetChanges, DatasetRecord]]) -> int:
    """Units of partitioned tables whose state did not move, so that nobody listed them."""
    count = 0
    for changes, record in datasets:
        unlisted = frozenset(changes.unlisted)
        count += sum(unit.table in unlisted and unit not in record.absent for unit in record.latest)
    return count


def request(changes: DatasetChanges, units: Iterable[Unit], *, by: str) -> tuple[DatasetChanges, Mapping[Unit, str]]:
    """Mark units as requested, whether or not they changed, and say which cannot be had.

    A table stands for all its partitions. Empty and unchanged units are copied as well (the original's on-demand
    rule); views, external tables, tables without a schema and what does not exist come back with a reason.
    """
    found = {change.unit for change in changes.changes}
    reasons = {left.table: left.reason for left in changes.left_out}
    reasons |= dict.fromkeys(changes.unlisted, "its partitions were not listed")
    wanted: set[Unit] = set()
    missing: dict[Unit, str] = {}
    for unit in units:
        matching = {unit} & found or {one for one in found if unit.partition is None and one.table == unit.table}
        wanted |= matching
        if not matching:
            missing[unit] = reasons.get(unit.table) or "there is no such table or partition"
    asked = {unit.table for unit in wanted}
    marked = tuple(_requested(change, by) if change.unit in wanted else change for change in changes.changes)
    return (
        replace(changes, changes=marked, left_out=tuple(left for left in changes.left_out if left.table not in asked)),
        missing,
    )


def _requested(change: Change, by: str) -> Change:
    if change.needs_copy or change.verdict is Verdict.WAITS:
        return change
    return Change(change.unit, change.state, Verdict.REQUESTED, f"requested by {by} ({change.reason})", change.last)
