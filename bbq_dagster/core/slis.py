"""Service level indicators: what is not protected as it should be, by what a look at the sources just showed.

``measure`` decides, from a scan and the record that it was compared with, whatever a run would do about it. What it
cannot see: units that are copied wrongly and look alike (verification), copies that nobody recorded (the check of the
catalog), and the partitions of settled tables, which no look lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby

from bbq_dagster.core.changes import STREAMING_WAIT, Change, DatasetChanges
from bbq_dagster.core.inventory import State
from bbq_dagster.core.plan import DatasetFailure, ProjectFailure
from bbq_dagster.core.tables import UNPARTITIONED, DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import DatasetRecord, Version
from bbq_dagster.core.wording import counted, section

HOUR = timedelta(hours=1)


class Sli(StrEnum):
    """What can be violated. The values are the words for people and for metrics."""

    NEVER_BACKED_UP = "never backed up"
    UNPROTECTED = "unprotected"
    COPIES_FAIL = "copies fail"
    DIFFERS = "differs from its unmodified source"
    NOT_LOOKED_AT = "not looked at"


@dataclass(frozen=True, slots=True)
class SliLimits:
    """From when on it counts.

    * ``protected_within``: a change, or a new table, has to be backed up so long after it was written.
    * ``unmodified_for``: a source that nobody wrote to for so long has to look like its version.
    * ``copies_failed``: so many copies of a unit may not fail in a row. A unit that is written to all the time is never
      unprotected for long by its last write: it shows here.
    """

    protected_within: timedelta = 48 * HOUR
    unmodified_for: timedelta = 72 * HOUR
    copies_failed: int = 3


@dataclass(frozen=True, slots=True)
class Violation:
    """One unit, dataset or project that is not as it should be, and why."""

    sli: Sli
    subject: Unit | DatasetRef | str
    reason: str

    def is_of(self, dataset: DatasetRef) -> bool:
        match self.subject:
            case Unit(table=table):
                return table.in_dataset == dataset
            case DatasetRef():
                return self.subject == dataset
        return self.subject == dataset.project


@dataclass(frozen=True, slots=True)
class TableRpo:
    """A table with units that changed since their last version: how much would be lost if it were gone now.

    ``captured_at`` is that of the oldest version of them; None where one of them has none, and so all would be lost.
    """

    table: TableRef
    units: int
    captured_at: datetime | None
    rpo: timedelta | None


@dataclass(frozen=True, slots=True)
class SliReport:
    """What ``measure`` found. A table that is not in ``rpos`` has not changed since its last version."""

    at: datetime
    datasets: tuple[DatasetRef, ...] = ()
    violations: tuple[Violation, ...] = ()
    rpos: tuple[TableRpo, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.violations

    def of(self, dataset: DatasetRef, *slis: Sli) -> tuple[Violation, ...]:
        """The violations of these indicators in one dataset."""
        return tuple(violation for violation in self.violations if violation.sli in slis and violation.is_of(dataset))

    def __str__(self) -> str:
        lines = [f"{counted(len(self.datasets), 'dataset')} at {self.at:%Y-%m-%d %H:%M} UTC: {_found(self.violations)}"]
        for sli in Sli:
            same = (f"{found.subject}: {found.reason}" for found in self.violations if found.sli is sli)
            lines += section(sli, same, limit=None)
        return "\n".join(lines)


def measure(
    datasets: Iterable[tuple[DatasetChanges, DatasetRecord]],
    *,
    now: datetime,
    limits: SliLimits,
    failures: Iterable[DatasetFailure] = (),
    projects_failed: Iterable[ProjectFailure] = (),
) -> SliReport:
    """Look at each unit of these datasets.

    * Never backed up, and written longer ago than ``protected_within``.
    * Changed since its version, and written longer ago than ``protected_within``. A copy that was begun and has no end
      tells of an earlier write.
    * ``copies_failed`` copies failed since its version.
    * Nobody wrote to it since it was copied, and for ``unmodified_for``, and rows or bytes are others than those of its
      version.
    * What could not be looked at is a violation: nobody knows.
    """
    datasets = list(datasets)
    units = (violation for changes, record in datasets for violation in _of_dataset(changes, record, now, limits))
    found = sorted(units, key=lambda violation: str(violation.subject))
    found += [Violation(Sli.NOT_LOOKED_AT, failure.project, failure.message) for failure in projects_failed]
    found += [Violation(Sli.NOT_LOOKED_AT, failure.dataset, failure.message) for failure in failures]
    return SliReport(
        at=now,
        datasets=tuple(sorted(changes.inventory.dataset.ref for changes, _ in datasets)),
        violations=tuple(found),
        rpos=tuple(rpo for changes, _ in datasets for rpo in _rpos(changes, now)),
    )


def _of_dataset(
    changes: DatasetChanges, record: DatasetRecord, now: datetime, limits: SliLimits
) -> Iterator[Violation]:
    created = {table.ref: table.created_at for table in changes.inventory.tables}
    begun = {unit.unit: unit.state for copy in record.unfinished for unit in copy.units}
    for change in changes.changes:
        reasons = {
            Sli.NEVER_BACKED_UP if change.last is None else Sli.UNPROTECTED: _late(
                change, _written_at(change, created[change.unit.table], begun), now, limits
            ),
            Sli.COPIES_FAIL: _failing(record.failures.get(change.unit, 0), limits),
            Sli.DIFFERS: _differing(change, now, limits),
        }
        yield from (Violation(sli, change.unit, reason) for sli, reason in reasons.items() if reason)


def _late(change: Change, written_at: datetime, now: datetime, limits: SliLimits) -> str:
    waited = now - written_at
    if not change.needs_copy or waited <= limits.protected_within:
        return ""
    return f"written {_at(written_at)}, {_ago(waited)} ago"


def _written_at(change: Change, created_at: datetime, begun: Mapping[Unit, State]) -> datetime:
    """The earliest write that is known to be in no version. Where BigQuery does not say, the earliest there can be."""
    bound = created_at if change.last is None else change.last.captured_at
    known = [change.state.modified_at or bound]
    if change.unit in begun:
        known.append(begun[change.unit].modified_at or bound)
    return max(bound, min(known))


def _failing(failed: int, limits: SliLimits) -> str:
    return f"{failed:,} copies of it failed in a row" if failed >= limits.copies_failed else ""


def _differing(change: Change, now: datetime, limits: SliLimits) -> str:
    last, at = change.last, change.state.modified_at
    if last is None or at is None or change.state.is_empty or change.unit.partition == UNPARTITIONED:
        return ""
    is_at_rest = at + STREAMING_WAIT < last.captured_at and now - at >= limits.unmodified_for
    return _difference(change.state, last) if is_at_rest else ""


def _difference(state: State, last: Version) -> str:
    figures = (("rows", state.rows, last.rows), ("bytes", state.size_bytes, last.size_bytes))
    return "; ".join(
        f"{there:,} {what}, its version has {held:,}"
        for what, there, held in figures
        if there is not None and held is not None and there != held
    )


def _rpos(changes: DatasetChanges, now: datetime) -> Iterator[TableRpo]:
    to_copy = sorted(changes.to_copy, key=lambda change: change.unit.sort_key)
    for table, of_table in groupby(to_copy, key=lambda change: change.unit.table):
        captured = [None if change.last is None else change.last.captured_at for change in of_table]
        known = [at for at in captured if at is not None]
        oldest = min(known) if len(known) == len(captured) else None
        yield TableRpo(table, len(captured), oldest, None if oldest is None else now - oldest)


def _found(violations: Iterable[Violation]) -> str:
    slis = [violation.sli for violation in violations]
    return ", ".join(f"{slis.count(sli):,} {sli}" for sli in Sli if sli in slis) or "all is protected as it should be"


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"


def _ago(waited: timedelta) -> str:
    return counted(waited.days, "day") if waited.days > 2 else counted(waited // HOUR, "hour")
