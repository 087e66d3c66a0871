"""The days: what happens on each, in which order, and what has to be so at its end.

06:00 the sources change. 11:58 rows are streamed, which are still in their buffer at 12:00, when the backup begins.
What disturbs it is part of the day. What was disturbed is asked for no more than that it is true; what was not has to
be complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.restore_request import OnExisting, RestoreRequest, Scope, Target
from bbq_dagster.core.tables import NULL_PARTITION, DatasetRef, TableRef, Unit
from bbq_dagster.errors import BbqError, Refused
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.years.actions import Action, Dice, DropDataset
from bbq_dagster_tests.years.estate import (
    LAB,
    LOCATIONS,
    LOST_SHARE,
    SMALLEST_ROWS,
    VAULT,
    Estate,
    Kill,
    Killed,
    policy_of,
)
from bbq_dagster_tests.years.model import DAY, Backup, Broken, Record, Row, Rows, Truth

START = datetime(2026, 1, 1, tzinfo=UTC)
_AUDIT_DAYS = 30
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at the server while the backup runs, whether or not it bears it."""

    match: tuple[tuple[str, Any], ...]
    action: tuple[str, Any]
    times: int = 1
    after: int = 0


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore as of ``ago`` before now, of tables by their place in the estate, beside the sources.

    ``again``: it is asked for once more, so, when a part of the restored rows is gone.
    """

    ago: timedelta
    places: tuple[int, ...]
    kill: Kill | None = None
    again: OnExisting | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """All that happens on one day, as values."""

    number: int
    morning: tuple[Action, ...] = ()
    streams: tuple[Action, ...] = ()
    races: tuple[Action, ...] = ()
    kill: Kill | None = None
    fault: Fault | None = None
    again: bool = False
    retention: bool = False
    retention_kill: Kill | None = None
    hold: int | None = None
    release: bool = False
    """The oldest hold, also one that the anomaly gate has placed."""
    undelete: bool = False
    """Some of what retention has deleted on this day."""
    verify: bool = False
    restore: Restore | None = None
    is_off: bool = False
    """Nobody backs up."""

    @property
    def at(self) -> datetime:
        return START + self.number * DAY

    @property
    def is_disturbed(self) -> bool:
        return bool(self.kill or self.fault or self.races)

    def __str__(self) -> str:
        """Only what is there, an action on each line."""
        told = [f"Day({self.number})"]
        for one in fields(self)[1:]:
            value = getattr(self, one.name)
            if isinstance(value, tuple):
                told += [f"  {one.name}: {action}" for action in value]
            elif value:
                told.append(f"  {one.name}: {value}")
        return "\n".join(told)


_DENIED: Mapping[str, object] = {"reason": "accessDenied"}
FAULTS = (
    Fault((("job_type", "copy"),), ("job_error", _DENIED), times=2),
    Fault((("job_type", "copy"),), ("job_error", {"reason": "backendError"})),
    Fault((("job_type", "copy"),), ("reset", "after")),
    Fault((("job_type", "copy"),), ("http_error", {"reason": "rateLimitExceeded"}), times=3),
    Fault((("job_type", "load"),), ("reset", "after")),
    Fault((("call", "tables.insert"),), ("http_error", _DENIED)),
    Fault((("call", "tables.insert"),), ("reset", "after")),
    Fault((("call", "jobs.insert"),), ("truncate", True)),
    Fault((("call", "datasets.list"),), ("http_error", _DENIED)),
    Fault((("call", "datasets.get"),), ("http_error", _DENIED), times=9),
    Fault((("sql", "INFORMATION_SCHEMA.PARTITIONS"),), ("http_error", _DENIED)),
    Fault((("sql", "INFORMATION_SCHEMA"),), ("http_error", {"reason": "backendError"}), after=2),
)


def draw_days(seed: int, *, days: int, tables: int) -> list[Day]:
    """The same seed gives the same days."""
    random = Random(seed)
    dice = Dice(random, table_names(tables))
    drawn = [Day(0, morning=tuple(dice.opening()))]
    return [*drawn, *(_draw_day(random, dice, number, tables) for number in range(1, days))]


def table_names(count: int) -> list[TableRef]:
    """In turn in each of the datasets."""
    datasets = list(LOCATIONS)
    return [datasets[place % len(datasets)].table(f"t{place:04}") for place in range(count)]


def _draw_day(random: Random, dice: Dice, number: int, tables: int) -> Day:
    def happens(chance: float) -> bool:
        return random.random() < chance

    def kill(calls: int) -> Kill:
        return Kill(random.randint(1, calls), after=happens(0.5))

    morning = dice.day(random.randint(0, 8) if happens(0.8) else 0)
    if happens(0.02):
        gone = random.choice(list(LOCATIONS))
        morning += [DropDataset(gone)] + ([dice.rebuilt(gone)] if happens(0.3) else [])
    if happens(0.2):
        morning += [dice.rebuilt(dataset) for dataset in LOCATIONS]
    trouble = random.choice(["kill", "fault", "race"]) if happens(0.2) else ""
    return Day(
        number,
        morning=tuple(morning),
        streams=tuple(dice.streams(1)) if happens(0.3) else (),
        races=tuple(dice.races(4)) if trouble == "race" else (),
        kill=kill(30) if trouble == "kill" else None,
        fault=random.choice(FAULTS) if trouble == "fault" else None,
        again=happens(0.5),
        retention=number % 5 == 0,
        retention_kill=kill(12) if happens(0.2) else None,
        hold=random.randrange(tables) if happens(0.02) else None,
        release=happens(0.1),
        undelete=number % 5 == 0 and happens(0.3),
        verify=happens(0.1),
        is_off=happens(0.08),
        restore=_draw_restore(random, number, tables, kill(20) if happens(0.2) else None) if happens(0.15) else None,
    )


def _draw_restore(random: Random, number: int, tables: int, kill: Kill | None) -> Restore:
    """Of one dataset, the tables that change most and some others, as of the last days or of any instant at all."""
    ago = timedelta(hours=random.uniform(0, 24 * random.choice([3, 40, number])))
    of_dataset = range(random.randrange(len(LOCATIONS)), tables, len(LOCATIONS))
    hot = of_dataset[: max(1, len(of_dataset) // 10)]
    chosen = {*random.sample(hot, k=min(3, len(hot))), *random.sample(of_dataset, k=min(3, len(of_dataset)))}
    return Restore(ago, tuple(sorted(chosen)), kill, again=random.choice([*OnExisting, None]))


@dataclass
class Years:
    """The run of some days. ``seen`` counts what happened, to tell that it did."""

    estate: Estate
    tables: Sequence[TableRef]
    truth: Truth = field(default_factory=lambda: Truth(LOCATIONS))
    seen: Counter[str] = field(default_factory=Counter)
    held: dict[str, Unit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.record = Record(self.truth)
        self._read_until = START
        self._known: set[str] = set()
        self._flagged: set[Unit] = set()
        self._lossy: set[Unit] = set()

    def live(self, days: Iterable[Day]) -> None:
        """Raises ``Broken`` with the place of the first day on which something is not as it has to be."""
        for place, day in enumerate(days):
            try:
                self._live(day)
            except Broken as broken:
                raise Broken(f"day {day.number}, {self.estate.now}: {broken}", day=place) from broken
        self.audit()

    def _live(self, day: Day) -> None:
        self._at(day.at + timedelta(hours=6))
        self.estate.carry_out(day.morning, self.truth)
        self._at(day.at + timedelta(hours=11, minutes=58))
        self.estate.carry_out(day.streams, self.truth)
        self._at(day.at + timedelta(hours=12))
        if not day.is_off:
            self._back_up(day)
        if day.hold is not None:
            self._hold(self.tables[day.hold % len(self.tables)])
        if day.release:
            self._release()
        if day.retention:
            self._at(day.at + timedelta(hours=20))
            deleted = self._expire(day)
            if day.undelete:
                self._at(day.at + timedelta(hours=21))
                self._undelete(deleted)
        if day.verify:
            self._at(day.at + timedelta(hours=21, minutes=30))
            self._verify()
        if day.restore is not None:
            self._at(day.at + timedelta(hours=22))
            self._restore(day, day.restore)
        if day.number % _AUDIT_DAYS == 0:
            self.audit()

    def _at(self, now: datetime) -> None:
        self.estate.turn_clock(now)
        self.truth.settle(now)

    # Backup

    def _back_up(self, day: Day) -> None:
        self._lossy.clear()
        is_complete = self._run_backup(day)
        if day.is_disturbed and day.again:
            self._at(day.at + timedelta(hours=13))
            is_complete = self._run_backup(Day(day.number))
        self.read_events()
        if is_complete:
            self.seen["complete backups"] += 1
            _refuse("not protected", self.record.not_protected(self.estate.now))
            not_flagged = (u for u in self._lossy if self._flagged.isdisjoint((u, u.table.unit())))
            _refuse("lost most of its rows and not flagged", sorted(map(str, not_flagged)))

    def _run_backup(self, day: Day) -> bool:
        """Whether it has to be complete."""
        run_id = f"{self.estate.now:%Y%m%d%H}"
        if day.fault is not None:
            fault = day.fault
            self.estate.fault(dict(fault.match), dict([fault.action]), times=fault.times, after=fault.after)
        stack = self.estate.stack(day.kill)
        try:
            plan = stack.plan_changed(now=self.estate.now)
            if day.races:
                self._at(self.estate.now + timedelta(minutes=1))
                self.estate.carry_out(day.races, self.truth)
                self._at(self.estate.now + timedelta(minutes=1))
                self.seen["races"] += 1
            report = stack.apply(plan, run_id=run_id)
        except Killed:
            self.seen["kills of backups"] += 1
            return False
        except BbqError as error:
            if not day.is_disturbed:
                raise Broken(f"the backup ended with {error}") from error
            self.seen["failed backups"] += 1
            return False
        finally:
            self.estate.clear_faults()
        if not (report.ok or day.is_disturbed):
            raise Broken(f"the backup was not disturbed, and failed:\n{report}")
        self.seen["faults survived"] += bool(day.fault and report.ok)
        return report.ok and not day.races and not plan.postponed

    def read_events(self) -> None:
        """Take into the record what the catalog has new."""
        for event in self.estate.events(self._read_until):
            if event["event_id"] not in self._known:
                self._known.add(event["event_id"])
                self._take(event)
        self._read_until = self.estate.now

    def _take(self, event: Mapping[str, Any]) -> None:
        unit = TableRef.parse(event["source"]).unit(event["partition_id"])
        kind = event["event"]
        self.seen[kind] += 1
        if kind == "version_created":
            place = TableRef(VAULT, event["backup_dataset"], event["backup_table"]).unit(unit.partition)
            self._take_version(event, unit, place)
        elif kind == "version_deleted":
            self.record.deleted(event["version_id"], unit)
        elif kind == "held":
            self.held[event["hold_id"]] = unit
            self._flagged.add(unit)
        else:
            self.record.absent(unit, event["recorded_at"], vanished=kind == "vanished")

    def _take_version(self, event: Mapping[str, Any], unit: Unit, place: Unit) -> None:
        identity, at = event["version_id"], event["captured_at"]
        if self.record.was_deleted(identity):
            self.record.brought_back(identity, place, at)
        else:
            rows = self.truth.rows_at(unit, at) or frozenset()
            if self.record.has_lost(unit, rows, share=LOST_SHARE, smallest=SMALLEST_ROWS):
                self._lossy.add(unit)
            self.record.made(Backup(identity, unit, at, place, rows), rows=event["row_count"])

    # Retention

    def _hold(self, table: TableRef) -> None:
        if any(unit.table == table for unit in self.record.live):
            hold = self.estate.stack().hold(str(table), owner="ada", reason="audit", until=None, run_id="ada")
            self.held[hold.hold_id] = table.unit()

    def _release(self) -> None:
        for hold_id in [*self.held][:1]:
            self.estate.stack().release(hold_id, run_id="ada")
            del self.held[hold_id]
            self.seen["releases"] += 1

    def _expire(self, day: Day) -> set[str]:
        """The ids of what was deleted, which is what has to be."""
        expected = self.record.expired(policy_of, self.estate.now, self.held.values())
        before = {backup.version_id for backup in self.record.backups()}
        if day.retention_kill is not None:
            self._run_retention(day.retention_kill)
        self._run_retention(None)
        self.read_events()
        deleted = before - {backup.version_id for backup in self.record.backups()}
        wrong = [f"deleted: {one}" for one in deleted - expected] + [f"kept: {one}" for one in expected - deleted]
        _refuse("retention is not what its policy says", wrong)
        self.seen["retentions"] += 1
        return deleted

    def _run_retention(self, kill: Kill | None) -> None:
        stack = self.estate.stack(kill)
        try:
            report = stack.apply_retention(stack.plan_retention(now=self.estate.now), run_id=f"{self.estate.now}")
        except Killed:
            self.seen["kills of retention"] += 1
            return
        if not report.ok:
            raise Broken(f"retention failed:\n{report}")

    def _undelete(self, deleted: Collection[str]) -> None:
        """Half of it comes back, but for what comes with its whole backup table only, and what has no source."""
        able = sorted(one for one in deleted if self.record.can_come_back(one))
        wanted = able[: (len(able) + 1) // 2]
        if not wanted:
            return
        stack = self.estate.stack()
        report = stack.apply_undelete(stack.plan_undelete(now=self.estate.now, version_ids=wanted), run_id="undelete")
        back = {version.version_id for version in report.back}
        if not report.ok or back != set(wanted):
            raise Broken(f"not all is back of {wanted}:\n{report}")
        self.read_events()
        self.seen["versions undeleted"] += len(back)

    # Verification

    def _verify(self) -> None:
        """Nobody touches what is backed up here, so nothing may be said to differ."""
        stack = self.estate.stack()
        report = stack.apply_verification(stack.plan_verification(now=self.estate.now), run_id="verify")
        live = {backup.version_id for backup in self.record.backups()}
        if not report.ok or any(one.version.version_id not in live for one in report.found):
            raise Broken(f"verification is wrong:\n{report}")
        self.seen.update(f"verified: {one.outcome}" for one in report.found)

    # Restore

    def _restore(self, day: Day, wish: Restore) -> None:
        """Of each dataset beside it, row for row what the record says for that instant."""
        as_of = max(START, self.estate.now - wish.ago)
        tables = {self.tables[place % len(self.tables)] for place in wish.places}
        for source, location in LOCATIONS.items():
            mine = {table for table in tables if table.in_dataset == source}
            expected = {
                unit: backup
                for unit in self.record.live
                if unit.table in mine and (backup := self.record.as_of(unit, as_of)) is not None
            }
            self._restore_dataset(
                mine, expected, as_of, DatasetRef(LAB, f"{source.dataset}_{day.number}"), wish, location
            )

    def _restore_dataset(
        self,
        tables: set[TableRef],
        expected: Mapping[Unit, Backup],
        as_of: datetime,
        target: DatasetRef,
        wish: Restore,
        location: str,
    ) -> None:
        restorable = {table for table in tables if any(unit.table == table for unit in expected)}
        for table in sorted(tables - restorable)[:1]:
            self._refused(table, as_of, target)
        if not restorable:
            return
        plan = self._plan_restore(restorable, as_of, target)
        if plan.conflicts:
            restorable -= self._in_conflict(plan, expected, target)
            if not restorable:
                return
            plan = self._plan_restore(restorable, as_of, target)
            _refuse("a restore has conflicts", plan.conflicts)
        self._apply_restore(plan, wish.kill)
        true = {
            target.table(unit.table.table).unit(unit.partition): backup.rows
            for unit, backup in expected.items()
            if unit.table in restorable
        }
        _refuse(f"restored as of {as_of}", _differences(_sorted(true), self.estate.rows_in(target, location)))
        if wish.again is not None:
            self._restore_again(restorable, as_of, target, true, wish.again)
        self.estate.drop(target, location)
        self.seen["restores"] += 1
        self.seen["rows compared"] += sum(map(len, true.values()))

    def _restore_again(
        self,
        tables: Iterable[TableRef],
        as_of: datetime,
        target: DatasetRef,
        restored: Mapping[Unit, Rows],
        mode: OnExisting,
    ) -> None:
        """Into tables that lost every other row. Where rows without a day are, all of a table has to be gone first."""
        of_null = {unit.table for unit in restored if unit.partition == NULL_PARTITION}
        true = {unit: rows for unit, rows in restored.items() if unit.table not in of_null}
        sources = [table for table in tables if target.table(table.table) not in of_null]
        if not true:
            return
        location = LOCATIONS[sources[0].in_dataset]
        self.estate.delete_every_other({unit.table for unit in true}, location)
        left = {unit: frozenset(row for row in rows if row[0] % 2) for unit, rows in true.items()}
        plan = self._plan_restore(sources, as_of, target, mode)
        self.seen[f"restores with {mode}"] += 1
        if mode is OnExisting.FAIL:
            named = {str(unit.table): "has rows" for unit, rows in left.items() if rows}
            _refuse("conflicts", _differences(named, {_table_of(line): "has rows" for line in plan.conflicts}))
            return
        if mode is OnExisting.SKIP and all(left.values()):
            if plan.items or not plan.conflicts:
                raise Broken(f"all is there, and a restore that skips it brings something:\n{plan}")
            return
        _refuse("a restore has conflicts", plan.conflicts)
        self._apply_restore(plan, None)
        found = {
            unit: rows for unit, rows in self.estate.rows_in(target, location).items() if unit.table not in of_null
        }
        _refuse(f"restored with {mode} as of {as_of}", _differences(_restored(true, left, mode), found))

    def _plan_restore(
        self,
        tables: Iterable[TableRef],
        as_of: datetime,
        target: DatasetRef,
        on_existing: OnExisting = OnExisting.FAIL,
    ) -> RestorePlan:
        what = tuple(Scope(table.in_dataset, table.table) for table in sorted(tables))
        into = Target(project=target.project, dataset=target.dataset)
        request = RestoreRequest(what, as_of=as_of, target=into, on_existing=on_existing)
        return self.estate.stack().plan_restore(request, now=self.estate.now)

    def _refused(self, table: TableRef, as_of: datetime, target: DatasetRef) -> None:
        """What the record has nothing of cannot be planned."""
        plan = self._plan_restore([table], as_of, target)
        if plan.items or not plan.conflicts:
            raise Broken(f"{table} was not there as of {as_of}, and a restore brings it:\n{plan}")
        self.seen["refusals"] += 1

    def _in_conflict(self, plan: RestorePlan, expected: Mapping[Unit, Backup], target: DatasetRef) -> set[TableRef]:
        """The tables that cannot be restored into one: ``__NULL__`` comes with its whole backup table only."""
        of_table: dict[TableRef, list[Backup]] = {}
        for unit, backup in expected.items():
            of_table.setdefault(unit.table, []).append(backup)
        with_null = {
            table
            for table, backups in of_table.items()
            if any(backup.unit.partition == NULL_PARTITION for backup in backups)
            and len({backup.place.table for backup in backups}) > 1
        }
        unforeseen = [
            conflict
            for conflict in plan.conflicts
            if not any(conflict.startswith(f"{target.table(table.table)}: {table.table}$") for table in with_null)
        ]
        _refuse("a restore has conflicts", unforeseen)
        self.seen["conflicts"] += 1
        return with_null

    def _apply_restore(self, plan: RestorePlan, kill: Kill | None) -> None:
        if kill is not None:
            try:
                self.estate.stack(kill).apply_restore(plan, run_id="killed")
            except Killed:
                self.seen["kills of restores"] += 1
        try:
            report = self.estate.stack().apply_restore(plan, run_id="restore")
        except Refused as error:
            raise Broken(f"the restore was refused: {error}\n{plan}") from error
        if not report.ok:
            raise Broken(f"the restore failed:\n{report}\n{plan}")

    # Everything

    def audit(self) -> None:
        """The versions of the catalog are those that were seen to be made, and each is where it says."""
        self.read_events()
        places = self.estate.backup_places()
        mine = {backup.version_id: backup.place for backup in self.record.backups()}
        _refuse("the catalog's versions", _differences(mine, self.estate.live_versions()))
        lost = [
            f"{backup.place} of {backup.unit}: {len(backup.rows)} rows on record, {places.get(backup.place, 0)} there"
            for backup in self.record.backups()
            if places.get(backup.place, 0) != len(backup.rows)
        ]
        _refuse("backup tables", lost)
        tables = {place.table for place in mine.values()}
        self.seen["orphans"] = len({place.table for place in places} - tables)
        self.seen["audits"] += 1


def _differences(true: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[str]:
    keys = sorted({*true, *found}, key=str)
    return [
        f"{key}: {true.get(key)} expected, {found.get(key)} found" for key in keys if true.get(key) != found.get(key)
    ]


def _sorted(units: Mapping[Unit, Collection[Row]]) -> dict[Unit, list[Row]]:
    return {unit: sorted(rows) for unit, rows in units.items() if rows or unit.partition is None}


def _restored(true: Mapping[Unit, Rows], left: Mapping[Unit, Rows], mode: OnExisting) -> dict[Unit, list[Row]]:
    """What is in each unit when its ``true`` rows were restored to where some were ``left``."""
    rules: Mapping[OnExisting, Callable[[Unit], Collection[Row]]] = {
        OnExisting.REPLACE: lambda unit: true[unit],
        OnExisting.SKIP: lambda unit: left[unit] or true[unit],
        OnExisting.APPEND: lambda unit: [*true[unit], *left[unit]],
    }
    return _sorted({unit: rules[mode](unit) for unit in true})


def _table_of(conflict: str) -> str:
    """A conflict begins with the unit that it is about."""
    return conflict.split()[0].partition("$")[0]


def _refuse(what: str, faults: Sequence[str]) -> None:
    if faults:
        more = f"\n… and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise Broken("\n  ".join([f"{what}:", *faults[:_SHOWN]]) + more)


def live_through(days: Sequence[Day], *, tables: int, folder: Path) -> Counter[str]:
    """Live these days on a server of their own, and tell what happened. Raises ``Broken``."""
    with LocalBigQuery(now=START) as server:
        years = Years(Estate(server, folder, START), table_names(tables))
        years.live(days)
        return years.seen
