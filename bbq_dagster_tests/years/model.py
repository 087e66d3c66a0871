"""What is true: which rows every table and partition ever held, and what is on record of their backups.

``Truth`` follows the sources: values only, no server and no clock. ``Record`` follows the catalog, and takes nothing
into it that cannot be so: a version of something that was not there, a second version of one state, an absence of what
is there. From both follows what a restore has to bring back, and what retention may delete.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from calendar import monthrange
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from bbq_dagster.core.tables import NULL_PARTITION, SPECIAL_PARTITIONS, DatasetRef, TableRef, Unit

DAY = timedelta(days=1)
FLUSH = timedelta(minutes=5)
"""How long streamed rows stay in the buffer: the embedded BigQuery's default."""

MOST_BETWEEN = timedelta(minutes=5)
"""From a plan to its run. A version is recorded as one of the table that was planned, even if another took its name."""

Row = tuple[int, int, int | None]
"""The columns n (which row it is), v (how often it was changed) and c (None in a table without that column)."""
Rows = frozenset[Row]


class Broken(AssertionError):
    """The product did what cannot be so, or did not do what it should have. ``day``: on which, where that is known."""

    def __init__(self, message: str, *, day: int = -1) -> None:
        super().__init__(message)
        self.day = day


class Kind(StrEnum):
    """How a table is partitioned."""

    PLAIN = "plain"
    DAY = "day"
    HOUR = "hour"
    MONTH = "month"
    RANGE = "range"
    INGESTED = "ingested"


@dataclass(slots=True)
class Table:
    """A table that is there now. ``parts`` has only partitions with rows; a plain table has one, None."""

    kind: Kind
    created_at: datetime
    parts: dict[str | None, Rows] = field(default_factory=dict)
    has_c: bool = False
    expires_at: datetime | None = None
    partition_days: int | None = None
    is_skipped: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """From ``at`` on a unit held ``rows``; None: it was not there. ``made_at``: when its table was created."""

    at: datetime
    rows: Rows | None
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Streamed:
    """Rows in a streaming buffer until ``due``."""

    table: TableRef
    partition: str | None
    rows: Rows
    due: datetime


class Truth:
    """The sources, as they are and as they were."""

    def __init__(self, locations: Mapping[DatasetRef, str]) -> None:
        self.locations = dict(locations)
        self.datasets = set(locations)
        self.tables: dict[TableRef, Table] = {}
        self.views: set[TableRef] = set()
        self.buffer: list[Streamed] = []
        self._past: dict[Unit, list[Moment]] = {}
        self._written: dict[Unit, datetime] = {}
        self.news: set[Unit] = set()
        """What held other rows before. ``Record`` takes out what it has settled."""

    # As it was

    def rows_at(self, unit: Unit, at: datetime) -> Rows | None:
        """What a copy that starts at ``at`` finds: rows of the streaming buffer are not among it."""
        moment = self._moment_at(unit, at)
        return None if moment is None else moment.rows

    def made_at(self, unit: Unit, at: datetime) -> datetime | None:
        """When the table was created that held the unit at ``at``."""
        moment = self._moment_at(unit, at)
        return None if moment is None else moment.made_at

    def was_written(self, unit: Unit, since: datetime) -> bool:
        """Whether BigQuery may say of it that it was modified at ``since`` or later, whatever its rows are now."""
        return unit in self._written and self._written[unit] >= since

    def _moment_at(self, unit: Unit, at: datetime) -> Moment | None:
        past = self._past.get(unit, [])
        place = bisect_right(past, at, key=lambda moment: moment.at)
        return past[place - 1] if place else None

    # What happens

    def is_streaming(self, ref: TableRef) -> bool:
        return any(streamed.table == ref for streamed in self.buffer)

    def is_skipped(self, ref: TableRef) -> bool:
        """Whether its owner wants no backups of it."""
        return ref in self.tables and self.tables[ref].is_skipped

    def create(self, ref: TableRef, table: Table) -> None:
        self.tables[ref] = table
        if table.kind is Kind.PLAIN:
            self.write(ref, None, frozenset(), table.created_at)

    def write(self, ref: TableRef, partition: str | None, rows: Rows, at: datetime) -> None:
        """Replace what a partition holds; without rows there is no partition any more."""
        table = self.tables[ref]
        if rows or partition is None:
            table.parts[partition] = rows
            self._note(ref.unit(partition), rows, at, table.created_at)
        else:
            table.parts.pop(partition, None)
            self._note(ref.unit(partition), None, at, table.created_at)

    def touch(self, ref: TableRef, at: datetime) -> None:
        """Something happened to the table that changes no row: a copy is allowed and not wanted."""
        for partition in self.tables[ref].parts:
            self._written[ref.unit(partition)] = at

    def drop(self, ref: TableRef, at: datetime) -> None:
        self.views.discard(ref)
        table = self.tables.pop(ref, None)
        if table is not None:
            for partition in table.parts:
                self._note(ref.unit(partition), None, at, table.created_at)

    def drop_dataset(self, dataset: DatasetRef, at: datetime) -> None:
        self.datasets.discard(dataset)
        for ref in [ref for ref in (*self.tables, *self.views) if ref.in_dataset == dataset]:
            self.drop(ref, at)

    def stream(self, ref: TableRef, partition: str | None, rows: Rows, at: datetime) -> None:
        self.buffer.append(Streamed(ref, partition, rows, at + FLUSH))
        self._written[ref.unit(partition)] = at

    def settle(self, now: datetime) -> None:
        """Let time pass: buffers are flushed, tables and partitions expire."""
        for streamed in [streamed for streamed in self.buffer if streamed.due <= now]:
            self.buffer.remove(streamed)
            there = self.tables[streamed.table].parts.get(streamed.partition, frozenset())
            self.write(streamed.table, streamed.partition, there | streamed.rows, streamed.due)
        for ref, table in [*self.tables.items()]:
            if table.expires_at is not None and table.expires_at <= now:
                self.drop(ref, table.expires_at)
            elif table.partition_days is not None:
                for partition, ends in _expiries(table, timedelta(days=table.partition_days)):
                    if ends <= now:
                        self.write(ref, partition, frozenset(), ends)

    def _note(self, unit: Unit, rows: Rows | None, at: datetime, made_at: datetime) -> None:
        self._past.setdefault(unit, []).append(Moment(at, rows, made_at))
        self._written[unit] = at
        self.news.add(unit)


def _expiries(table: Table, after: timedelta) -> list[tuple[str, datetime]]:
    """Days expire so long after their start."""
    days = [partition for partition in table.parts if partition is not None and partition != NULL_PARTITION]
    return [(day, datetime.combine(date.fromisoformat(day), time(tzinfo=UTC)) + after) for day in days]


@dataclass(frozen=True, slots=True)
class Backup:
    """A version on record: where it is, and what it holds."""

    version_id: str
    unit: Unit
    captured_at: datetime
    place: Unit
    rows: Rows


class Record:
    """The catalog as far as it was read, each event checked against the truth before it is believed."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.live: dict[Unit, list[Backup]] = {}
        self._absent: dict[Unit, list[datetime]] = {}
        self._vanished: dict[Unit, datetime] = {}
        self._deleted: dict[Unit, datetime] = {}
        self._gone: dict[str, Backup] = {}

    def backups(self) -> Iterator[Backup]:
        return (backup for of_unit in self.live.values() for backup in of_unit)

    def made(self, backup: Backup, *, rows: int) -> None:
        """A version was recorded that has so many rows."""
        unit, at = backup.unit, backup.captured_at
        true = self._truth.rows_at(unit, at)
        if true is None or len(true) != rows:
            there = "not there" if true is None else f"{len(true)} rows"
            raise Broken(f"{unit} was captured at {at} with {rows} rows, and was {there}")
        if (last := self.newest(unit)) is not None and not self._has_moved(last, at):
            raise Broken(f"{unit} was captured at {at} in the state that was captured at {last.captured_at}")
        self._add(backup)
        self._vanished.pop(unit, None)

    def brought_back(self, version_id: str, place: Unit, captured_at: datetime) -> None:
        """A version that was deleted is on record again: the same one, where it was."""
        backup = self._gone.pop(version_id)
        if (backup.place, backup.captured_at) != (place, captured_at):
            raise Broken(f"{backup} came back in {place}, captured at {captured_at}")
        self._add(backup)

    def _add(self, backup: Backup) -> None:
        of_unit = self.live.setdefault(backup.unit, [])
        insort(of_unit, backup, key=lambda one: one.captured_at)
        self._truth.news.add(backup.unit)

    def has_lost(self, unit: Unit, rows: Rows, *, share: float, smallest: int) -> bool:
        """Whether it has so few rows that the anomaly gate has to flag it, going by the version before."""
        last = self.newest(unit)
        if last is None or len(last.rows) < smallest or self._was_absent(unit, last.captured_at):
            return False
        return len(last.rows) - len(rows) > share * len(last.rows)

    def _was_absent(self, unit: Unit, since: datetime) -> bool:
        return any(since <= absent for absent in self._absent.get(unit, ()))

    def was_deleted(self, version_id: str) -> bool:
        return version_id in self._gone

    def can_come_back(self, version_id: str) -> bool:
        """Alone, and to a source that is there: of one that is gone nobody says since when, once it is back."""
        unit = self._gone[version_id].unit
        return unit.partition not in SPECIAL_PARTITIONS and unit not in self._vanished

    def absent(self, unit: Unit, at: datetime, *, vanished: bool) -> None:
        """A unit was recorded as vanished or emptied."""
        true = self._truth.rows_at(unit, at)
        if true if vanished is False else true is not None:
            raise Broken(f"{unit} was recorded as gone at {at}, and had {len(true or ())} rows")
        self._absent.setdefault(unit, []).append(at)
        self._truth.news.add(unit)
        if vanished:
            self._vanished.setdefault(unit, at)

    def deleted(self, version_id: str, unit: Unit) -> None:
        gone = next(one for one in self.live[unit] if one.version_id == version_id)
        self.live[unit].remove(gone)
        self._gone[version_id] = gone
        self._deleted[unit] = max(gone.captured_at, self._deleted.get(unit, gone.captured_at))
        if not self.live[unit]:
            del self.live[unit]

    def newest(self, unit: Unit) -> Backup | None:
        of_unit = self.live.get(unit)
        return of_unit[-1] if of_unit else None

    def as_of(self, unit: Unit, at: datetime) -> Backup | None:
        """What a restore as of ``at`` takes: the newest version by then, unless the unit was seen to be gone since."""
        of_unit = self.live.get(unit, [])
        place = bisect_right(of_unit, at, key=lambda one: one.captured_at)
        if not place:
            return None
        found = of_unit[place - 1]
        gone = any(found.captured_at < absent <= at for absent in self._absent.get(unit, ()))
        return None if gone else found

    def not_protected(self, now: datetime) -> list[str]:
        """What a run that nothing disturbed has left without the version, or the absence, of its present state.

        Looks at what had news, of the source or of the record, since it was found to be as it has to be.
        """
        faults = []
        for unit in sorted(self._truth.news, key=lambda one: one.sort_key):
            if self._truth.is_skipped(unit.table):
                continue
            backup = self.as_of(unit, now)
            true, found = self._truth.rows_at(unit, now) or None, None if backup is None else backup.rows
            if true == found or not self._is_complete(unit):
                self._truth.news.remove(unit)
            else:
                faults.append(f"{unit} has {_told(true)}, a restore as of now brings {_told(found)}")
        return faults

    def _is_complete(self, unit: Unit) -> bool:
        """No version was deleted that is newer than what is left."""
        last = self.newest(unit)
        deleted = self._deleted.get(unit)
        return deleted is None or (last is not None and deleted < last.captured_at)

    def _has_moved(self, last: Backup, at: datetime) -> bool:
        unit = last.unit
        made_then = self._truth.made_at(unit, last.captured_at)
        was_planned = last.captured_at - MOST_BETWEEN
        made_anew = made_then != self._truth.made_at(unit, at) or (made_then is not None and made_then > was_planned)
        return made_anew or self._was_absent(unit, last.captured_at) or self._truth.was_written(unit, last.captured_at)

    # Retention

    def expired(self, policy_of: Callable[[TableRef], Policy], now: datetime, held: Collection[Unit]) -> set[str]:
        """The ids of the versions that retention deletes. ``held``: what it may not touch, a table with all of it."""
        kept = {
            backup.version_id
            for unit, of_unit in self.live.items()
            for backup in (
                of_unit
                if unit in held or unit.table.unit() in held
                else policy_of(unit.table).kept(of_unit, self._vanished.get(unit), now)
            )
        }
        needed = {backup.place.table for backup in self.backups() if backup.version_id in kept}
        return {
            backup.version_id
            for backup in self.backups()
            if backup.version_id not in kept
            and not (backup.unit.partition in SPECIAL_PARTITIONS and backup.place.table in needed)
        }


@dataclass(frozen=True, slots=True)
class Policy:
    """The retention of a table, told once more and simply. Every version of this model has rows.

    ``young``: how many the rules of the original BBQ keep of the last ``young_months``; 0 where they do not count.
    """

    last: int = 0
    hours: int = 0
    days: int = 0
    weeks: int = 0
    months: int = 0
    years: int = 0
    within: timedelta = timedelta(0)
    young: int = 0
    young_months: int = 2
    grace: timedelta = 30 * DAY

    def kept(self, backups: Sequence[Backup], gone_since: datetime | None, now: datetime) -> list[Backup]:
        if gone_since is not None and now - gone_since > self.grace:
            return []
        periods: tuple[tuple[int, Callable[[datetime], object]], ...] = (
            (self.last, lambda at: at),
            (self.hours, lambda at: (at.date(), at.hour)),
            (self.days, lambda at: at.date()),
            (self.weeks, lambda at: at.isocalendar()[:2]),
            (self.months, lambda at: (at.year, at.month)),
            (self.years, lambda at: at.year),
        )
        newest_first = sorted(backups, key=lambda one: one.captured_at, reverse=True)
        kept = {newest_first[0].version_id} | self._kept_by_original(newest_first, now)
        kept |= {backup.version_id for backup in backups if self.within and now - backup.captured_at <= self.within}
        for count, period_of in periods:
            newest: dict[object, str] = {}
            for backup in newest_first:
                newest.setdefault(period_of(backup.captured_at), backup.version_id)
            kept |= set(list(newest.values())[:count])
        return [backup for backup in backups if backup.version_id in kept]

    def _kept_by_original(self, newest_first: Sequence[Backup], now: datetime) -> set[str]:
        """The newest of each day: of the young ones so many, of the old ones the newest."""
        of_days: dict[date, str] = {}
        for backup in newest_first:
            of_days.setdefault(backup.captured_at.date(), backup.version_id)
        young = [one for day, one in of_days.items() if day >= self._young_since(now)]
        old = [one for day, one in of_days.items() if day < self._young_since(now)]
        return {*young[: self.young], *old[:1]} if self.young else set()

    def _young_since(self, now: datetime) -> date:
        """The same day so many months ago, or the last of a month that has no such day."""
        year, month = divmod(now.year * 12 + now.month - 1 - self.young_months, 12)
        return date(year, month + 1, min(now.day, monthrange(year, month + 1)[1]))

    def settings(self) -> str:
        """The same in bbq.yaml."""
        rules = (
            f"keep_last: {self.last}, keep_hourly: {self.hours}, keep_daily: {self.days}, keep_weekly: {self.weeks},"
            f" keep_monthly: {self.months}, keep_yearly: {self.years}"
        )
        within = f", keep_within: {self.within.days}d" if self.within else ""
        original = f", preset: bbq, bbq_count: {self.young}, bbq_months: {self.young_months}" if self.young else ""
        grace = f", grace_after_source_deleted: {self.grace.days}d"
        return f"{{{rules}{within}{original}{grace}}}"


def _told(rows: Rows | None) -> str:
    return "nothing" if rows is None else f"{len(rows)} rows {sorted(row[:2] for row in rows)[:5]}"
