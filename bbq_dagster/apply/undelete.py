"""Carry out an undelete plan: look back, copy to where it was, check, record.

Nothing is recorded before it is there and holds as many rows as it had. A run that was stopped is finished by running
it again: what it copied is written once more, over itself. Retention decides on it anew: hold what is to stay.

* An unpartitioned table is one copy job from the past.
* A partitioned one is cloned from the past first, as a copy job would lose its partitioning (BigQuery:
  access-historical-data); its partitions are copied from the clone, which then goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from bbq_dagster.apply.checking import Check, CheckedCopy, Held, NotHeld, Wrong, check_copies
from bbq_dagster.apply.copying import (
    CopyEnd,
    CopyFailure,
    CopyLimits,
    CopyOutcome,
    CopyUnfinished,
    TableCopies,
    run_copies,
)
from bbq_dagster.apply.pace import Runtime
from bbq_dagster.core.catalog import Event, version_of
from bbq_dagster.core.inventory import State
from bbq_dagster.core.naming import description_of
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.core.undelete import NotBack, TableAsItWas, UndeletePlan, brought_back
from bbq_dagster.core.versions import Copy, PlannedUnit, Version, Writing
from bbq_dagster.core.wording import counted
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import Catalog, Warehouse

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class UndeleteReport:
    """What is back, what was tried and is not, what could not be tried, and what an earlier run had brought back."""

    run_id: str
    back: tuple[Version, ...] = ()
    failures: tuple[NotBack, ...] = ()
    refused: tuple[NotBack, ...] = ()
    back_before: tuple[Version, ...] = ()

    @property
    def ok(self) -> bool:
        return not (self.failures or self.refused)

    def __str__(self) -> str:
        missing = len(self.failures) + len(self.refused)
        return "\n".join(
            [
                f"run {self.run_id}: {counted(len(self.back), 'version')} back, {missing:,} not{self._before}",
                *(f"  {v.unit} as of {v.captured_at:%Y-%m-%d %H:%M} UTC is back in {v.backup}" for v in self.back),
                *(f"  failed: {item}" for item in self.failures),
                *(f"  cannot be brought back: {item}" for item in self.refused),
            ]
        )

    @property
    def _before(self) -> str:
        return f"; {counted(len(self.back_before), 'version')} back already" if self.back_before else ""


def apply_undelete(
    plan: UndeletePlan,
    warehouse: Warehouse,
    catalog: Catalog,
    *,
    run_id: str,
    clock: Callable[[], datetime],
    limits: CopyLimits | None = None,
    runtime: Runtime | None = None,
) -> UndeleteReport:
    """Bring back what ``plan`` says. One table that fails stops no other; run again, it is tried anew.

    Raises ``Refused`` where nothing can come back, and what the catalog raises: what was not recorded is no version.
    """
    plan.refuse_if_nothing_comes_back()
    run = _Run(warehouse, limits or CopyLimits(), runtime or Runtime(), attempt=_micros(clock()))
    faults = run.bring_back(plan.tables)
    created = [event for table in plan.tables for event in table.created]
    back = [brought_back(e, at=clock(), run_id=run_id) for e in created if e.version_id not in faults]
    if back:
        catalog.append(back)
    return UndeleteReport(
        run_id,
        back=tuple(map(version_of, back)),
        failures=tuple(
            NotBack(e.version_id or "", e.unit, faults[e.version_id]) for e in created if e.version_id in faults
        ),
        refused=plan.refused,
        back_before=plan.back_before,
    )


def _micros(at: datetime) -> int:
    """Two runs that begin in the same second are two."""
    return (at - _EPOCH) // timedelta(microseconds=1)


class _Run:
    """The copies of one run; ``attempt`` gives it jobs of its own, as one that failed is not run again."""

    def __init__(self, warehouse: Warehouse, limits: CopyLimits, runtime: Runtime, *, attempt: int) -> None:
        self._warehouse, self._limits, self._runtime, self._attempt = warehouse, limits, runtime, attempt

    def bring_back(self, tables: Sequence[TableAsItWas]) -> dict[str | None, str]:
        """Why the versions are not back that are not, by id. Looks at one table at two instants one after the other."""
        faults: dict[str | None, str] = {}
        for of_a_turn in _one_of_each(tables, key=lambda table: table.table):
            faults |= self._take_turn(of_a_turn)
        return faults

    def _take_turn(self, tables: Sequence[TableAsItWas]) -> dict[str | None, str]:
        partitioned = [table for table in tables if table.is_partitioned]
        faults = self._clone(partitioned)
        copies = [_copies(table, self._attempt) for table in tables if not _ids(table) <= faults.keys()]
        faults |= self._copy_and_check(copies)
        for table in partitioned:
            faults = self._drop_clone(table) | faults
        return faults

    def _clone(self, tables: Iterable[TableAsItWas]) -> dict[str | None, str]:
        """What a stopped run left of a clone goes first."""
        faults: dict[str | None, str] = {}
        clones = []
        for table in tables:
            if left := self._drop_clone(table):
                faults |= left
            else:
                clones.append(TableCopies(_clone_of(table), (_clone_job(table, self._attempt),)))
        return faults | _faults_of(self._ends(clones))

    def _copy_and_check(self, copies: Sequence[TableCopies]) -> dict[str | None, str]:
        ends = self._ends(copies)
        done = [end for end in ends if isinstance(end, CopyOutcome)]
        looked = check_copies(done, self._warehouse, sleep=self._runtime.sleep)
        unsure = [one for one in looked if isinstance(one, CopyUnfinished)]
        return _faults_of([*ends, *unsure]) | _differences(one for one in looked if isinstance(one, CheckedCopy))

    def _ends(self, tables: Sequence[TableCopies]) -> list[CopyEnd]:
        turns = run_copies(tables, self._warehouse, limits=self._limits, runtime=self._runtime)
        with closing(turns):
            return [end for ended in turns for end in ended]

    def _drop_clone(self, table: TableAsItWas) -> dict[str | None, str]:
        try:
            self._warehouse.delete_table(_clone_of(table))
        except BbqError as error:
            return dict.fromkeys(_ids(table), str(error))
        return {}


def _clone_of(table: TableAsItWas) -> TableRef:
    """Beside the backup table, under a name that no backup table has."""
    digest = hashlib.sha256(str(table.past).encode()).hexdigest()[:16]
    return table.table.in_dataset.table(f"undelete-{digest}")


def _clone_job(table: TableAsItWas, attempt: int) -> Copy:
    return _copy(table, table.past, _clone_of(table).unit(), _units(table), attempt, clone=True)


def _copies(table: TableAsItWas, attempt: int) -> TableCopies:
    """From the clone, or straight from the past."""
    if not table.is_partitioned:
        copy = _copy(table, table.past, table.table.unit(), _units(table), attempt, writing=Writing.REPLACE)
        return TableCopies(table.table, (copy,))
    clone, description = _clone_of(table), description_of(table.source)
    if table.needs_whole_table:
        # Only into an empty table, so that its job is the same one in every run: what it wrote is not in its own way.
        copy = _copy(table, clone.unit(), table.table.unit(), _units(table), attempt=1)
        return TableCopies(table.table, (copy,), create_like=clone, description=description, begun=True)
    copies = tuple(_partition_copy(table, clone, unit, attempt) for unit in _units(table))
    return TableCopies(table.table, copies, create_like=clone, description=description)


def _partition_copy(table: TableAsItWas, clone: TableRef, unit: PlannedUnit, attempt: int) -> Copy:
    partition = unit.unit.partition
    source, destination = clone.unit(partition), table.table.unit(partition)
    return _copy(table, source, destination, (unit,), attempt, writing=Writing.REPLACE)


def _copy(
    table: TableAsItWas,
    source: Unit,
    destination: Unit,
    units: tuple[PlannedUnit, ...],
    attempt: int,
    *,
    clone: bool = False,
    writing: Writing = Writing.INTO_EMPTY,
) -> Copy:
    return Copy(
        source=source,
        destination=destination,
        location=table.location,
        source_created_at=table.at,
        units=units,
        attempt=attempt,
        partitioned=table.is_partitioned,
        writing=writing,
        clone=clone,
    )


def _units(table: TableAsItWas) -> tuple[PlannedUnit, ...]:
    return tuple(map(_planned, table.created))


def _planned(created: Event) -> PlannedUnit:
    """With the id of the version in place of a reason."""
    return PlannedUnit(created.unit, State(created.row_count, created.size_bytes, None), created.version_id or "")


def _ids(table: TableAsItWas) -> set[str | None]:
    return {event.version_id for event in table.created}


def _faults_of(ends: Iterable[CopyEnd]) -> dict[str | None, str]:
    """Of the copies that did not end well. ``_planned`` has put the id of each version in place of a reason."""
    faults: dict[str | None, str] = {}
    for end in ends:
        match end:
            case CopyFailure(copy, _, error):
                faults |= dict.fromkeys((unit.reason for unit in copy.units), str(error))
            case CopyUnfinished(copy, _, reason):
                faults |= dict.fromkeys((unit.reason for unit in copy.units), reason)
    return faults


def _differences(checked: Iterable[CheckedCopy]) -> dict[str | None, str]:
    found = {check.unit.reason: _difference(check) for one in checked for check in one.checks}
    return {version_id: difference for version_id, difference in found.items() if difference}


def _difference(check: Check) -> str:
    """How what is back differs from its version; empty where it does not."""
    match check:
        case Wrong(_, error):
            return error
        case NotHeld():
            return "it came back without rows"
        case Held(unit, rows, _):
            same = None in (unit.state.rows, rows) or unit.state.rows == rows
            return "" if same else f"it has {rows:,} rows, its version has {unit.state.rows:,}"


def _one_of_each(items: Iterable[T], *, key: Callable[[T], object]) -> list[list[T]]:
    """Turns in each of which a key comes once at most."""
    turns: list[list[T]] = []
    taken: dict[object, int] = {}
    for item in items:
        turn = taken[key(item)] = taken.get(key(item), -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(item)
    return turns
