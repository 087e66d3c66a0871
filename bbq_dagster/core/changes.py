"""Which units changed since their last backup, and why we think so.

``detect_change`` decides for one unit, ``detect_changes`` for a dataset, including what vanished. Nothing here asks
the warehouse or reads a clock; what cannot be known is copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bbq_dagster.core.inventory import Dataset, Inventory, LeftOut, SourceTable, State, UnitState
from bbq_dagster.core.tables import UNPARTITIONED, DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Absence, DatasetRecord, Version


class Verdict(StrEnum):
    """What to do with a unit, in the order in which the rules are asked."""

    NEVER_BACKED_UP = "never backed up"
    EMPTY = "empty, and never backed up"
    EMPTIED = "emptied"
    RECREATED = "created anew"
    MODIFIED = "modified"
    DIFFERS = "rows or bytes differ"
    UNKNOWN = "unknown"
    RETURNED = "returned"
    REQUESTED = "requested"
    WAITS = "waits"
    UNCHANGED = "unchanged"


_TO_COPY = frozenset(
    {
        Verdict.NEVER_BACKED_UP,
        Verdict.RECREATED,
        Verdict.MODIFIED,
        Verdict.DIFFERS,
        Verdict.UNKNOWN,
        Verdict.RETURNED,
        Verdict.REQUESTED,
    }
)


STREAMING_WAIT = timedelta(minutes=90)
"""How long rows may stay in the streaming buffer, where copy jobs do not see them (BigQuery: write-api-rest)."""

_NOTHING_TO_PROTECT = "empty, and never backed up: nothing to protect yet"


_NOTHING_LISTED = "BigQuery lists no partition of it: it is looked at again next time"


_AT_REST = frozenset({Verdict.UNCHANGED, Verdict.EMPTY})


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict on one unit with its reason in words that a user can read."""

    unit: Unit
    state: State
    verdict: Verdict
    reason: str
    last: Version | None = None

    @property
    def needs_copy(self) -> bool:
        return self.verdict in _TO_COPY


@dataclass(frozen=True, slots=True)
class Vanished:
    """A unit with versions that a successful scan no longer found."""

    unit: Unit
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetChanges:
    """The outcome of comparing one dataset with its record."""

    inventory: Inventory
    changes: tuple[Change, ...]
    vanished: tuple[Vanished, ...]
    left_out: tuple[LeftOut, ...]
    unlisted: tuple[TableRef, ...] = ()
    """Partitioned tables whose partitions were not listed, because the table is in its settled state."""
    is_gone: bool = False
    """The dataset itself is not there any more."""

    @property
    def to_copy(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.needs_copy)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rules look at: a unit with its newest live version."""

    table: SourceTable
    state: State
    last: Version
    absence: Absence | None


def _empty_then_and_now(seen: _Seen) -> str | None:
    unmoved = seen.state.is_empty and seen.last.rows == 0 and seen.absence is None
    return "empty then and now" if unmoved else None


def _still_empty(seen: _Seen) -> str | None:
    known = seen.state.is_empty and seen.absence is Absence.EMPTIED
    return "still empty: the last good version is kept" if known else None


def _emptied(seen: _Seen) -> str | None:
    if not seen.state.is_empty or seen.last.rows == 0:
        return None
    return f"emptied, it had {_count(seen.last.rows)} rows: the last good version is kept"


def _recreated(seen: _Seen) -> str | None:
    """Or replaced by an older one: a table that was renamed keeps the time of its creation (managing-tables)."""
    created_at, known = seen.table.created_at, seen.last.source_created_at
    if known is None:
        # Read off its backup table, which does not say. A table that is younger than the copy is another one.
        known = min(created_at, seen.last.captured_at)
    if created_at == known:
        return None
    how = "dropped and created anew" if created_at > known else "replaced by another table, created"
    return f"{how} at {_at(created_at)}"


def _modified(seen: _Seen) -> str | None:
    at, until = seen.state.modified_at, seen.last.holds_until
    if at is None or (until is not None and at < until):
        return None
    if until == seen.last.captured_at:
        return f"modified {_at(at)}, last backup captured {_at(until)}"
    holds = "does not say what it holds" if until is None else f"surely holds only what was written before {_at(until)}"
    return f"modified {_at(at)}, last backup {holds}"


def _differs(seen: _Seen) -> str | None:
    state, last = seen.state, seen.last
    if state == last.source and state.modified_at is not None and state.modified_at + STREAMING_WAIT < last.captured_at:
        # The very state that was copied, when nothing was on its way: another copy would differ in the same way.
        return None
    if state.rows is not None and last.rows is not None and state.rows != last.rows:
        return f"{_count(state.rows)} rows, the last backup has {_count(last.rows)}"
    if state.size_bytes is not None and last.size_bytes is not None and state.size_bytes != last.size_bytes:
        return f"{_count(state.size_bytes)} bytes, the last backup has {_count(last.size_bytes)}"
    return None


def _unknown(seen: _Seen) -> str | None:
    known = seen.state.modified_at is not None and seen.state.rows is not None
    return None if known else "BigQuery does not say when it was modified, or how many rows it has"


def _returned(seen: _Seen) -> str | None:
    """An undropped dataset, a partition that a listing missed: only a new version ends an absence on record."""
    return None if seen.absence is None else f"it was recorded as {seen.absence}, and is there again"


_RULES: tuple[tuple[Verdict, Callable[[_Seen], str | None]], ...] = (
    (Verdict.UNCHANGED, _empty_then_and_now),
    (Verdict.UNCHANGED, _still_empty),
    (Verdict.EMPTIED, _emptied),
    (Verdict.RECREATED, _recreated),
    (Verdict.MODIFIED, _modified),
    (Verdict.DIFFERS, _differs),
    (Verdict.UNKNOWN, _unknown),
    (Verdict.RETURNED, _returned),
)


def detect_change(table: SourceTable, unit: UnitState, last: Version | None, absence: Absence | None = None) -> Change:
    """Compare a unit with its newest live version.

    The original BBQ's predicate (its rules 4 to 8) is the floor, but for empty tables: it copied those that were never
    backed up.

    First match wins:

    * never backed up: copy, unless it is empty
    * emptied, the last version is not: nothing is copied, the good version stays the latest
    * its table was dropped and created anew, or another one was renamed into its place: copy
    * modified at or after the last version was captured: copy. (Times have milliseconds: the same one may be either.)
    * rows or bytes differ from the last version: copy
    * BigQuery does not say when it was modified, or how many rows it has: copy
    * it was recorded as emptied or vanished: copy, as it would count as gone until there is a new version
    * otherwise unchanged
    """
    if last is None:
        return _first_look(unit)
    seen = _Seen(table, unit.state, last, absence)
    for verdict, rule in _RULES:
        if (reason := rule(seen)) is not None:
            return Change(unit.unit, unit.state, verdict, reason, last)
    return Change(unit.unit, unit.state, Verdict.UNCHANGED, f"unchanged since {_at(last.captured_at)}", last)


def _first_look(unit: UnitState) -> Change:
    if unit.state.is_empty:
        return Change(unit.unit, unit.state, Verdict.EMPTY, _NOTHING_TO_PROTECT)
    return Change(unit.unit, unit.state, Verdict.NEVER_BACKED_UP, "never backed up")


def needs_partition_list(table: SourceTable, record: DatasetRecord) -> bool:
    """Whether a partitioned table moved since all its partitions were last seen to be protected.

    Listing partitions costs a query per 1,000 tables; a table still in the state at which it was settled needs none.
    """
    return table.is_partitioned and _has_moved(table, record)


def _has_moved(table: SourceTable, record: DatasetRecord) -> bool:
    settled = record.settled.get(table.ref)
    return settled is None or None in _facts(table.state) or settled != (table.created_at, table.state)


def tables_to_read(inventory: Inventory, record: DatasetRecord) -> list[TableRef]:
    """The settled tables whose units have to be known one by one: those that moved, and those that are gone.

    Not those that are gone for long, with every unit on record as vanished.
    """
    there = {table.ref for table in inventory.tables}
    unmoved = {table.ref for table in inventory.tables if table.is_partitioned and not _has_moved(table, record)}
    left_alone = unmoved.union(left.table for left in inventory.left_out if left.by_choice)
    vanished = Counter(unit.table for unit, how in record.absent.items() if how is Absence.VANISHED)
    return [
        ref for ref, units in record.unread.items() if ref not in left_alone and (ref in there or vanished[ref] < units)
    ]


def dataset_is_gone(ref: DatasetRef, record: DatasetRecord) -> DatasetChanges:
    """All units of a dataset that is not there any more have vanished.

    ``record`` names every unit that is not on record as vanished. The dataset is where its versions are.
    """
    dataset = Dataset(ref, next((version.location for version in record.latest.values()), ""))
    there = sorted(unit for unit in record.latest if record.absent.get(unit) is not Absence.VANISHED)
    vanished = tuple(Vanished(unit, "its dataset is gone") for unit in there)
    return DatasetChanges(Inventory(dataset, (), ()), (), vanished, (), is_gone=True)


def detect_changes(
    inventory: Inventory,
    partitions: Iterable[UnitState],
    record: DatasetRecord,
    *,
    now: datetime,
    streaming_wait: Callable[[TableRef], timedelta] = lambda _: STREAMING_WAIT,
) -> DatasetChanges:
    """Compare all of a dataset with its record.

    ``partitions`` are those of the tables for which ``needs_partition_list`` says yes. Rows in a streaming buffer
    cannot be copied (BigQuery: up to 90 minutes): ``__UNPARTITIONED__`` waits while it may be one.
    """
    units = _units_by_table(inventory, partitions, record)
    protected = {unit.table for unit in record.latest}
    changes, left_out = [], list(inventory.left_out)
    for table in inventory.tables:
        is_known = table.ref in protected
        for unit in units.get(table.ref, ()):
            last = record.latest.get(unit.unit) if is_known else None
            change = detect_change(table, unit, last, None if last is None else record.absent.get(unit.unit))
            if change.needs_copy and (reason := _reason_to_wait(table, unit, now, streaming_wait)):
                change = Change(unit.unit, unit.state, Verdict.WAITS, reason, change.last)
            changes.append(change)
        if not is_known and table.ref in units and all(unit.state.is_empty for unit in units[table.ref]):
            left_out.append(LeftOut(table.ref, _NOTHING_TO_PROTECT if table.state.is_empty else _NOTHING_LISTED))
    unlisted = tuple(table.ref for table in inventory.tables if table.is_partitioned and table.ref not in units)
    vanished = _find_vanished(inventory, units, unlisted, record) if record.latest else ()
    return DatasetChanges(inventory, tuple(changes), vanished, tuple(left_out), unlisted)


def settled_tables(changes: DatasetChanges, copied: frozenset[Unit]) -> tuple[SourceTable, ...]:
    """The partitioned tables that need no look at their partitions until their state moves.

    Every unit of the table was listed now, all its rows are in them, and each is unchanged or among ``copied``. A
    table with rows in ``__UNPARTITIONED__`` is never settled: they may be on their way into a partition.
    """
    by_table: dict[TableRef, list[Change]] = {}
    for change in changes.changes:
        by_table.setdefault(change.unit.table, []).append(change)
    unlisted = frozenset(changes.unlisted)
    return tuple(
        table
        for table in changes.inventory.tables
        if table.is_partitioned
        and table.ref not in unlisted
        and None not in _facts(table.state)
        and _are_all_settled(table, by_table.get(table.ref, []), copied)
    )


def _are_all_settled(table: SourceTable, changes: Sequence[Change], copied: frozenset[Unit]) -> bool:
    """Whether these are all units of the table, by their rows, and none needs another look.

    TABLE_STORAGE and PARTITIONS lag differently: settling on a part of the partitions would hide the others.
    """
    is_complete = sum(change.state.rows or 0 for change in changes) == table.state.rows
    return is_complete and all(
        change.unit.partition != UNPARTITIONED and (change.unit in copied or change.verdict in _AT_REST)
        for change in changes
    )


def _units_by_table(
    inventory: Inventory, partitions: Iterable[UnitState], record: DatasetRecord
) -> Mapping[TableRef, list[UnitState]]:
    units = {
        table.ref: [] if table.is_partitioned else [UnitState(table.ref.unit(), table.state)]
        for table in inventory.tables
        if not table.is_partitioned or needs_partition_list(table, record)
    }
    for partition in partitions:
        if (listed := units.get(partition.unit.table)) is not None:
            listed.append(partition)
    return units


def _reason_to_wait(
    table: SourceTable, unit: UnitState, now: datetime, streaming_wait: Callable[[TableRef], timedelta]
) -> str | None:
    """Why ``__UNPARTITIONED__`` is not copied now; None where it should be.

    An ingestion-time table has only its streaming buffer there. Other tables may keep rows there for good (values
    outside the range, dates before 1960): those are old enough after a wait (BigQuery: partitioned-tables).
    """
    if unit.unit.partition != UNPARTITIONED:
        return None
    if table.is_partitioned_by_ingestion_time:
        return "rows in the streaming buffer cannot be copied: they are backed up once they are in their partition"
    wait = streaming_wait(table.ref)
    if unit.state.modified_at is not None and now - unit.state.modified_at < wait:
        return f"may be rows in the streaming buffer: waits until {_at(unit.state.modified_at + wait)}"
    return None


def _find_vanished(
    inventory: Inventory,
    units: Mapping[TableRef, Sequence[UnitState]],
    unlisted: tuple[TableRef, ...],
    record: DatasetRecord,
) -> tuple[Vanished, ...]:
    unseen = set(record.latest).difference(unit.unit for listed in units.values() for unit in listed)
    if not unseen:
        return ()
    in_scope = {table.ref: table for table in inventory.tables}
    left_out = {left.table: left for left in inventory.left_out}
    known_as_listed = frozenset(unlisted)
    vanished = []
    for unit in sorted(unseen, key=lambda unit: unit.sort_key):
        if unit.table in known_as_listed or record.absent.get(unit) is Absence.VANISHED:
            continue
        reason = _reason_it_vanished(unit, in_scope.get(unit.table), left_out.get(unit.table))
        if reason is not None:
            vanished.append(Vanished(unit, reason))
    return tuple(vanished)


def _reason_it_vanished(unit: Unit, table: SourceTable | None, left_out: LeftOut | None) -> str | None:
    if left_out is not None:
        return None if left_out.by_choice else f"something else has its name: {left_out.reason}"
    if table is None:
        return "the table is gone"
    if unit.partition is None:
        return "the table is partitioned now"
    return "the partition is gone" if table.is_partitioned else "the table is not partitioned any more"


def _facts(state: State) -> tuple[object, ...]:
    return state.rows, state.size_bytes, state.modified_at


def _count(number: int | None) -> str:
    return "an unknown number of" if number is None else f"{number:,}"


def _at(instant: datetime) -> str:
    """As ``%Y-%m-%d %H:%M:%S UTC``; formatting by a pattern takes three times as long, and every unit has a reason."""
    return f"{instant.replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"
