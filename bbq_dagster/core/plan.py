"""The backup plan: which copy jobs to run, where to, and why. A value; printing it is the dry run.

``plan_backup`` decides; it starts nothing and reads no clock. Grouping and quotas are decided here, whether a unit
needs a copy was decided in ``changes``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby, islice

from bbq_dagster.core.anomalies import Anomaly, find_anomalies
from bbq_dagster.core.anomaly_policy import AnomalyPolicy
from bbq_dagster.core.changes import Change, DatasetChanges, Vanished, Verdict
from bbq_dagster.core.inventory import Dataset, LeftOut, SourceTable
from bbq_dagster.core.naming import backup_dataset, backup_table, is_created_first
from bbq_dagster.core.tables import SPECIAL_PARTITIONS, DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy, DatasetRecord, PlannedUnit


@dataclass(frozen=True, slots=True)
class TableBackup:
    """One backup table to make, by its copies."""

    source: TableRef
    destination: TableRef
    location: str
    copies: tuple[Copy, ...]
    why_so: str

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
class ProjectFailure:
    """A project whose datasets could not be listed. Nothing is known of any of them."""

    project: str
    message: str


@dataclass(frozen=True, slots=True)
class Quota:
    """How many copy jobs may still be started, and out of how many a day.

    ``jobs_per_table``: how many may go into one backup table. BigQuery allows 11,000 changes of partitions a day, which
    no table passes with its 10,000 partitions, but also 1,500 operations on a table, and does not say whether these
    hold for partitioned tables (BigQuery: quotas).
    """

    copy_jobs_left: int
    copy_jobs_per_day: int
    jobs_per_table: int = 1_500

    @classmethod
    def of_day(cls, per_day: int, *, used: int) -> Quota:
        return cls(max(0, per_day - used), per_day)


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long it takes until everything that is wanted now is copied, where a day's quota is not enough.

    ``copy_jobs`` are all of them, those of this plan included. The first of the ``days`` is the one that has been used
    in part.
    """

    copy_jobs: int
    copy_jobs_per_day: int
    days: int
    is_first_backup: bool

    def __str__(self) -> str:
        what = "first full backup" if self.is_first_backup else "all that is wanted now"
        return f"{what}: {self.days:,} days at {self.copy_jobs_per_day:,} copies a day"


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
    projects_failed: tuple[ProjectFailure, ...] = ()
    unchanged: int = 0
    forecast: Forecast | None = None
    """None where everything fits into what is left of the day."""
    anomalies: tuple[Anomaly, ...] = ()
    """What is flagged: older versions of it are kept until somebody releases them."""
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
        created = {copy.destination.table for copy in self.copies if is_created_first(copy)}
        datasets = {copy.destination.table.in_dataset for copy in self.copies}
        return 2 * len(created) + len(self.copies) + len(self.copies) // 100 + 3 * len(datasets) + 4

    @property
    def is_complete(self) -> bool:
        """Everything that was asked for could be looked at."""
        return not (self.failures or self.projects_failed)

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
    adopted: Callable[[Copy], bool] = lambda _: True,
    salt: str = "",
    failures: Sequence[DatasetFailure] = (),
    projects_failed: Sequence[ProjectFailure] = (),
    anomaly_policy: Callable[[TableRef], AnomalyPolicy] = lambda _: AnomalyPolicy(),
) -> BackupPlan:
    """Plan the copies of all units that are ``wanted``, into project ``into``.

    * Copies that an earlier run planned and did not finish come first and keep their names, those that are
      ``adopted``; units in others are postponed, as another run may have them in hand. A unit whose state has moved
      since gets a copy of its own as well: the job of the unfinished one may have run before.
    * An unpartitioned table is one copy job.
    * A partitioned table goes into one backup table a run: by one copy job as a whole where that is fewer jobs for
      little more storage (at least ``whole_table_share`` of its partitions are wanted), the only documented way
      (``__NULL__``, ``__UNPARTITIONED__``) or the only one that a day's quota allows; else by one per partition.
    * A backup table takes no more copy jobs than it may; further partitions go into another one.
    * What does not fit into ``quota`` is postponed. Half of the jobs go to the longest-unprotected tables, and half to
      the datasets in turn, of each to its longest-unprotected tables: so no dataset waits for all the others.
    """
    datasets = list(datasets)
    begun = [copy for _, record in datasets for copy in record.unfinished]
    unfinished = tuple(copy for copy in begun if adopted(copy))
    finishing = frozenset((unit.unit, unit.state) for copy in unfinished for unit in copy.units)
    elsewhere = {unit.unit for copy in begun for unit in copy.units} - {unit for unit, _ in finishing}

    def is_open(change: Change) -> bool:
        in_hand = begun and (change.unit in elsewhere or (change.unit, change.state) in finishing)
        return wanted(change) and not in_hand

    wishes = [
        wish
        for changes, record in datasets
        for wish in _wishes(
            changes,
            record,
            is_open,
            share=whole_table_share,
            quota=quota,
        )
    ]
    granted, postponed = _fit(wishes, replace(quota, copy_jobs_left=quota.copy_jobs_left - len(unfinished)))
    every = [change for changes, _ in datasets for change in changes.changes]
    anomalies = find_anomalies(datasets, anomaly_policy)
    flagged = {anomaly.target: anomaly.reason for anomaly in anomalies}
    return BackupPlan(
        planned_at=now,
        backups=tuple(_backup_of(wish, into=into, salt=salt, flagged=flagged) for wish in granted),
        unfinished=unfinished,
        postponed=(
            *postponed,
            *(Postponed(c.unit, _IN_HAND) for c in every if c.unit in elsewhere and wanted(c)),
            *(Postponed(c.unit, c.reason) for c in every if c.verdict is Verdict.WAITS),
        ),
        emptied=tuple(change for change in every if change.verdict is Verdict.EMPTIED),
        vanished=tuple(gone for changes, _ in datasets for gone in changes.vanished),
        left_out=tuple(left for changes, _ in datasets for left in changes.left_out),
        failures=tuple(failures),
        projects_failed=tuple(projects_failed),
        unchanged=sum(change.verdict is Verdict.UNCHANGED for change in every) + _unlisted_units(datasets),
        forecast=_forecast(wishes, len(unfinished), quota) if postponed else None,
        anomalies=tuple(anomalies),
        changes=tuple(changes for changes, _ in datasets),
    )


_IN_HAND = "in a copy that another run has planned, and has not finished yet"


@dataclass(frozen=True, slots=True)
class _Wish:
    """What one table would have copied: these units of its ``partitions``, as a whole for a reason or one by one."""

    dataset: Dataset
    table: SourceTable
    record: DatasetRecord
    chosen: tuple[Change, ...]
    partitions: int
    why_whole: str

    @property
    def jobs(self) -> int:
        return 1 if self.why_whole else len(self.chosen)

    @property
    def unprotected_since(self) -> datetime:
        """When its longest-waiting unit was last captured; the beginning of time where one never was."""
        return min(map(_last_captured, self.chosen))

    def most_urgent(self, count: int) -> _Wish:
        """So many of its units, the longest-unprotected ones."""
        return replace(self, chosen=tuple(sorted(self.chosen, key=_last_captured)[:count]))


def _wishes(
    changes: DatasetChanges,
    record: DatasetRecord,
    wanted: Callable[[Change], bool],
    *,
    share: Callable[[TableRef], float],
    quota: Quota,
) -> Iterator[_Wish]:
    dataset = changes.inventory.dataset
    in_order = sorted(filter(wanted, changes.changes), key=lambda change: change.unit.sort_key)
    moved = {change.unit.table for change in in_order}
    tables = {table.ref: table for table in changes.inventory.tables if table.ref in moved}
    listed = Counter(change.unit.table for change in changes.changes if change.unit.table in moved)
    for ref, of_table in groupby(in_order, key=lambda change: change.unit.table):
        chosen = tuple(of_table)
        why_whole = _why_whole(tables[ref], chosen, listed[ref], share(ref), quota.copy_jobs_per_day)
        for start in range(0, len(chosen), len(chosen) if why_whole else quota.jobs_per_table):
            part = chosen if why_whole else chosen[start : start + quota.jobs_per_table]
            yield _Wish(dataset, tables[ref], record, part, listed[ref], why_whole)


def _last_captured(change: Change) -> datetime:
    return datetime.min.replace(tzinfo=UTC) if change.last is None else change.last.captured_at


def _fit(wishes: Iterable[_Wish], quota: Quota) -> tuple[list[_Wish], list[Postponed]]:
    """Those that fit into the quota, the longest-unprotected first, and what has to wait.

    Partitions that are copied one by one are granted as far as the quota goes, so that no table waits for a day on
    which it fits as a whole.
    """
    in_order = sorted(wishes, key=lambda wish: (wish.unprotected_since, wish.table.ref))
    jobs = Counter(islice(_turns(in_order), max(0, quota.copy_jobs_left)))
    granted: list[_Wish] = []
    waiting: list[Change] = []
    for place, wish in enumerate(in_order):
        taken = wish if wish.jobs == jobs[place] else wish.most_urgent(jobs[place])
        if taken.chosen:
            granted.append(taken)
        if taken is not wish:
            kept = {change.unit for change in taken.chosen}
            waiting += [change for change in wish.chosen if change.unit not in kept]
    reason = f"waits for quota: {quota.copy_jobs_per_day:,} copy jobs a day are used up or promised"
    return granted, [Postponed(change.unit, reason) for change in waiting]


def _turns(wishes: Sequence[_Wish]) -> Iterator[int]:
    """Whose copy job is the next, by the place of its wish: in turn the first one's, and that of the next dataset.

    Of each dataset the first wish goes first. How many are let through changes nothing about their order, so that more
    quota never takes a unit out of a plan.
    """
    left = [wish.jobs for wish in wishes]

    def one_by_one(places: Iterable[int]) -> Iterator[int]:
        for place in places:
            while left[place]:
                left[place] -= 1
                yield place

    of_dataset: dict[DatasetRef, list[int]] = {}
    for place, wish in enumerate(wishes):
        of_dataset.setdefault(wish.dataset.ref, []).append(place)
    return _alternately([one_by_one(range(len(wishes))), _alternately(map(one_by_one, of_dataset.values()))])


def _alternately(lines: Iterable[Iterator[int]]) -> Iterator[int]:
    """One of each line in turn, until all of them are at their end."""
    waiting = deque(lines)
    while waiting:
        line = waiting.popleft()
        if (found := next(line, None)) is not None:
            yield found
            waiting.append(line)


def _forecast(wishes: Sequence[_Wish], unfinished: int, quota: Quota) -> Forecast:
    jobs, per_day = unfinished + sum(wish.jobs for wish in wishes), quota.copy_jobs_per_day
    used_today = per_day - min(quota.copy_jobs_left, per_day)
    never = any(change.last is None for wish in wishes for change in wish.chosen)
    return Forecast(jobs, per_day, days=-((used_today + jobs) // -per_day), is_first_backup=never)


def _backup_of(wish: _Wish, *, into: str, salt: str, flagged: Mapping[Unit, str]) -> TableBackup:
    table, dataset = wish.table, wish.dataset
    failures = wish.record.failures
    attempt = 1 + (max(failures.get(change.unit, 0) for change in wish.chosen) if failures else 0)
    name = backup_table(
        table.ref,
        [(change.unit, change.state) for change in wish.chosen],
        created_at=table.created_at,
        supersedes=[change.last.version_id for change in wish.chosen if change.last is not None],
        attempt=attempt,
        salt=salt,
    )
    destination = backup_dataset(dataset.ref, location=dataset.location, into=into).table(name)
    units = [PlannedUnit(change.unit, change.state, _reason(change, flagged)) for change in wish.chosen]

    def copy(partition: str | None, held: Sequence[PlannedUnit]) -> Copy:
        return Copy(
            source=table.ref.unit(partition),
            destination=destination.unit(partition),
            location=dataset.location,
            source_created_at=table.created_at,
            units=tuple(held),
            attempt=attempt,
            partitioned=table.is_partitioned,
            options=replace(table.options, labels=tuple(sorted(table.labels.items()))),
            schema=table.schema,
        )

    return TableBackup(
        source=table.ref,
        destination=destination,
        location=dataset.location,
        copies=(copy(None, units),) if wish.why_whole else tuple(copy(unit.unit.partition, [unit]) for unit in units),
        why_so=wish.why_whole or f"{len(units):,} of {wish.partitions:,} partitions: a copy job each",
    )


def _reason(change: Change, flagged: Mapping[Unit, str]) -> str:
    """Why it is copied, and why its version is flagged where it is."""
    anomaly = flagged.get(change.unit) or flagged.get(change.unit.table.unit())
    return f"{change.reason}; flagged: {anomaly}" if anomaly else change.reason


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


def _unlisted_units(datasets: Iterable[tuple[DatasetChanges, DatasetRecord]]) -> int:
    """Units of partitioned tables whose state did not move, so that nobody listed them."""
    return sum(record.count_units_there(changes.unlisted) for changes, record in datasets)


def request(changes: DatasetChanges, units: Iterable[Unit], *, by: str) -> tuple[DatasetChanges, Mapping[Unit, str]]:
    """Mark units as requested, whether or not they changed, and say which cannot be had.

    A table stands for all its partitions. Empty and unchanged units are copied as well (the original's on-demand
    rule); views, external tables, tables without a schema and what does not exist come back with a reason.
    """
    of_table: dict[TableRef, set[Unit]] = {}
    for change in changes.changes:
        of_table.setdefault(change.unit.table, set()).add(change.unit)
    reasons = {left.table: left.reason for left in changes.left_out}
    reasons |= dict.fromkeys(changes.unlisted, "its partitions were not listed")
    wanted: set[Unit] = set()
    missing: dict[Unit, str] = {}
    for unit in units:
        there = of_table.get(unit.table, set())
        matching = there if unit.partition is None else {unit} & there
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
    why = "empty" if change.verdict is Verdict.EMPTY else change.reason
    return Change(change.unit, change.state, Verdict.REQUESTED, f"requested by {by} ({why})", change.last)
