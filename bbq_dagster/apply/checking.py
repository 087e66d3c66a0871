"""Is what was copied there? Compares a copy job's own figures with what its backup table holds.

``check_copy`` decides what became of each unit of a copy; ``check_copies`` asks the warehouse, once per backup dataset,
and removes expirations. Neither records anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from bbq_dagster.apply.copying import CopyOutcome, CopyUnfinished
from bbq_dagster.core.inventory import State
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import Copy, PlannedUnit
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import BackupTableFacts, Warehouse


@dataclass(frozen=True, slots=True)
class Held:
    """The backup table holds the unit."""

    unit: PlannedUnit
    rows: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class NotHeld:
    """The copy is good, and the unit is not in it."""

    unit: PlannedUnit
    reason: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """The copy is not what its job says."""

    unit: PlannedUnit
    error: str


_MISSING = "the copy is not there"
_NOT_CAPTURED = "its rows were still in the streaming buffer, or gone, when the copy started"

Check = Held | NotHeld | Wrong

LOOK_AGAIN_AFTER = (5.0, 20.0)
"""Seconds before each further look at a copy that seems wrong: INFORMATION_SCHEMA may lag behind the job."""


@dataclass(frozen=True, slots=True)
class CheckedCopy:
    """A copy that was looked at, and what became of each of its units."""

    outcome: CopyOutcome
    checks: tuple[Check, ...]

    @property
    def is_wrong(self) -> bool:
        return any(isinstance(check, Wrong) for check in self.checks)


def check_copies(
    outcomes: Iterable[CopyOutcome], warehouse: Warehouse, *, sleep: Callable[[float], None]
) -> list[CheckedCopy | CopyUnfinished]:
    """Look at all these copies, one query or two per backup dataset, and see to it that they do not expire.

    What could not be looked at, or still expires, is unfinished: it is there, and is not to be copied again.
    """
    return [
        checked
        for (dataset, location), same in groupby(sorted(outcomes, key=_home), _home)
        for checked in _check_dataset(dataset, location, list(same), warehouse, sleep)
    ]


def check_copy(outcome: CopyOutcome, facts: BackupTableFacts | None) -> tuple[Check, ...]:
    """What became of each unit of a copy; ``facts`` are None where the backup table is not there.

    * Wrong, all of them: the table is not there, or holds other rows than the job copied.
    * Not held: the source had rows, or may have had, and none of them are in the copy. Such a unit is no version: an
      empty one would supersede a good one.
    * Held: everything else, an empty unit that was asked for among them.
    """
    fault = _MISSING if facts is None else _fault(outcome, facts)
    partitions = {} if facts is None else facts.partitions
    return tuple(Wrong(unit, fault) if fault else _look_for(unit, partitions) for unit in outcome.copy.units)


def _home(outcome: CopyOutcome) -> tuple[DatasetRef, str]:
    return outcome.copy.destination.table.in_dataset, outcome.copy.location


def _check_dataset(
    dataset: DatasetRef,
    location: str,
    outcomes: Sequence[CopyOutcome],
    warehouse: Warehouse,
    sleep: Callable[[float], None],
) -> list[CheckedCopy | CopyUnfinished]:
    looked = _look(dataset, location, outcomes, warehouse)
    for pause in LOOK_AGAIN_AFTER:
        doubtful = [one.outcome for one in looked if isinstance(one, CheckedCopy) and one.is_wrong]
        if doubtful:
            sleep(pause)
            again = _look(dataset, location, doubtful, warehouse)
            looked = [one for one in looked if isinstance(one, CopyUnfinished) or not one.is_wrong] + again
    return looked


def _look(
    dataset: DatasetRef, location: str, outcomes: Sequence[CopyOutcome], warehouse: Warehouse
) -> list[CheckedCopy | CopyUnfinished]:
    tables = {outcome.copy.destination.table.table for outcome in outcomes}
    try:
        facts = warehouse.backup_tables(dataset, location, tables)
    except BbqError as fault:
        return [_unfinished(outcome, f"copied, and not checked: {fault}") for outcome in outcomes]
    expiring = {table: _let_live(dataset.table(table), warehouse) for table, found in facts.items() if found.expires}
    looked: list[CheckedCopy | CopyUnfinished] = []
    for outcome in outcomes:
        table = outcome.copy.destination.table.table
        if error := expiring.get(table):
            looked.append(_unfinished(outcome, f"copied, and its backup table still expires: {error}"))
        else:
            looked.append(CheckedCopy(outcome, check_copy(outcome, facts.get(table))))
    return looked


def _let_live(table: TableRef, warehouse: Warehouse) -> BbqError | None:
    try:
        warehouse.remove_expirations(table)
    except BbqError as error:
        return error
    return None


def _unfinished(outcome: CopyOutcome, reason: str) -> CopyUnfinished:
    return CopyUnfinished(outcome.copy, outcome.job_id, reason)


def _look_for(unit: PlannedUnit, partitions: Mapping[str | None, State]) -> Held | NotHeld:
    found = partitions.get(unit.unit.partition, State(rows=0, size_bytes=0))
    if found.is_empty and not unit.state.is_empty:
        return NotHeld(unit, _NOT_CAPTURED)
    return Held(unit, found.rows, found.size_bytes)


def _fault(outcome: CopyOutcome, facts: BackupTableFacts) -> str:
    """Why the copy is not to be trusted; empty where its rows are as the job says, or nobody counts them."""
    written = _written_by(outcome.copy, facts.partitions)
    rows = [state.rows for state in written if state.rows is not None]
    if outcome.rows is None:
        return "" if written else _MISSING
    if len(rows) < len(written) or sum(rows) == outcome.rows:
        return ""
    return f"the job copied {outcome.rows:,} rows, the copy has {sum(rows):,}" if sum(rows) else _MISSING


def _written_by(copy: Copy, partitions: Mapping[str | None, State]) -> list[State]:
    if copy.whole_table:
        return list(partitions.values())
    return [state for name, state in partitions.items() if name == copy.destination.partition]
