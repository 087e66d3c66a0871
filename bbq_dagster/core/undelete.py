"""Which deleted versions can be brought back, and as what they were when: the plan of an undelete.

Decides; copies nothing and reads no clock. BigQuery shows a whole table as it was at an instant of its time travel
window, a deleted one too, and never one partition of it (BigQuery: access-historical-data, restore-deleted-tables).
Versions that were in one backup table at one instant are therefore brought back together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from bbq_dagster.core.catalog import Event, EventKind, version_of
from bbq_dagster.core.holds import check_target, is_pattern
from bbq_dagster.core.tables import SPECIAL_PARTITIONS, TableRef, Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import counted, section
from bbq_dagster.errors import Refused

TIME_TRAVEL = timedelta(days=7)
"""How far back a table can be read, unless its dataset says less (BigQuery: time-travel)."""

_CLOCKS_DIFFER_BY = timedelta(minutes=1)
"""A table is read as it was so long before it was marked: our clock may be ahead of BigQuery's."""

_BEFORE = "undeleted; before: "


@dataclass(frozen=True, slots=True)
class TableAsItWas:
    """A backup table as it was ``at``, and what is taken from it: the events that recorded these versions."""

    table: TableRef
    at: datetime
    created: tuple[Event, ...]

    @property
    def past(self) -> Unit:
        """``t@milliseconds`` is the table as it was then."""
        name = f"{self.table.table}@{int(self.at.timestamp() * 1000)}"
        return TableRef(self.table.project, self.table.dataset, name).unit()

    @property
    def is_partitioned(self) -> bool:
        return any(event.partition_id is not None for event in self.created)

    @property
    def needs_whole_table(self) -> bool:
        """No copy job is documented to name these partitions."""
        return any(event.partition_id in SPECIAL_PARTITIONS for event in self.created)

    @property
    def location(self) -> str:
        return self.created[0].location or ""

    @property
    def source(self) -> TableRef:
        """The table that this is a backup of."""
        return self.created[0].unit.table


@dataclass(frozen=True, slots=True)
class NotBack:
    """A version that is not brought back, what it was of as far as that is known, and why not."""

    version_id: str
    unit: Unit | None
    reason: str

    def __str__(self) -> str:
        return f"{self.version_id}{f' of {self.unit}' if self.unit else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class UndeletePlan:
    """What is brought back, by backup table and instant, what cannot be, and what was before and is there."""

    planned_at: datetime
    tables: tuple[TableAsItWas, ...] = ()
    refused: tuple[NotBack, ...] = ()
    back_before: tuple[Version, ...] = ()

    @property
    def count(self) -> int:
        return sum(len(table.created) for table in self.tables)

    def refuse_if_nothing_comes_back(self) -> None:
        """Raises ``Refused``, with why not for each version. What is back already came back."""
        if not (self.tables or self.back_before):
            raise Refused("\n".join([*map(str, self.refused), "nothing was brought back"]), hint=_HINT)

    def __str__(self) -> str:
        return render_undelete(self)


_HINT = "`bbq catalog history --event version_deleted` has what was deleted, and when"


def render_undelete(plan: UndeletePlan, *, limit: int | None = 12) -> str:
    """The plan as text, ``limit`` lines per list at most (None: all)."""
    back = [
        f"{version_of(event).backup} as it was at {table.at:%Y-%m-%d %H:%M:%S}: {event.unit}"
        f" of {event.captured_at:%Y-%m-%d %H:%M} ({event.version_id})"
        for table in plan.tables
        for event in table.created
    ]
    return "\n".join(
        [
            f"undelete plan of {plan.planned_at:%Y-%m-%d %H:%M} UTC: {counted(plan.count, 'version')} from"
            f" {counted(len({table.table for table in plan.tables}), 'backup table')};"
            f" {len(plan.refused):,} cannot be brought back",
            *section("bring back", back, limit=limit),
            *section("back already", (f"{v.backup} ({v.version_id})" for v in plan.back_before), limit=limit),
            *section("cannot be brought back", map(str, plan.refused), limit=limit),
        ]
    )


def deleted_versions(deletions: Iterable[Event], *, run_id: str | None, targets: Sequence[str]) -> list[str]:
    """The ids of what ``run_id`` deleted (None: any run) of these tables, partitions or patterns (none: of all).

    Raises ``Refused`` for a target that can name nothing, and where nothing was deleted so.
    """
    for target in targets:
        _check_target(target)
    found = [
        event.version_id or ""
        for event in deletions
        if run_id in (None, event.run_id) and (not targets or any(_is_of(event.unit, target) for target in targets))
    ]
    if not found:
        of = f" of {', '.join(targets)}" if targets else ""
        by = f" by run {run_id}" if run_id else ""
        raise Refused(f"nothing{of} was deleted{by} in the last {TIME_TRAVEL.days} days", hint=_HINT)
    return list(dict.fromkeys(found))


def plan_undelete(events: Iterable[Event], *, version_ids: Collection[str], now: datetime) -> UndeletePlan:
    """Decide on each of ``version_ids``; ``events`` are all that is on record of them, in any order."""
    stories: dict[str, list[Event]] = {identity: [] for identity in version_ids}
    for event in sorted(events, key=lambda event: (event.recorded_at, event.event)):
        stories[event.version_id or ""].append(event)
    fates = [_fate(identity, story, now) for identity, story in stories.items()]
    return UndeletePlan(
        planned_at=now,
        tables=tuple(_together(fate for fate in fates if isinstance(fate, TableAsItWas))),
        refused=tuple(fate for fate in fates if isinstance(fate, NotBack)),
        back_before=tuple(fate for fate in fates if isinstance(fate, Version)),
    )


def brought_back(created: Event, *, at: datetime, run_id: str) -> Event:
    """The version is there again: its creation once more, later than its deletion."""
    reason = f"{_BEFORE}{(created.reason or '').removeprefix(_BEFORE)}"
    return replace(created, recorded_at=at, run_id=run_id, reason=reason)


def _check_target(target: str) -> None:
    if is_pattern(target):
        check_target(target)
    else:
        Unit.parse(target)


def _is_of(unit: Unit, target: str) -> bool:
    if is_pattern(target):
        return fnmatchcase(str(unit.table), target)
    return target in (str(unit), str(unit.table))


def _fate(version_id: str, story: Sequence[Event], now: datetime) -> TableAsItWas | NotBack | Version:
    """A version that was deleted and is there again is its own fate."""
    last = {event.event: event for event in story}
    created, deleted = last.get(EventKind.VERSION_CREATED), last.get(EventKind.VERSION_DELETED)
    if created is None:
        return NotBack(version_id, None, "there was never such a version")
    if deleted is None:
        return NotBack(version_id, created.unit, "it is not deleted")
    if deleted.recorded_at < created.recorded_at:
        return version_of(created)
    at = _last_seen(story, created, deleted, now)
    if at is None:
        when = f"{deleted.recorded_at:%Y-%m-%d %H:%M}"
        reach = f"time travel reaches back {TIME_TRAVEL.days} days"
        return NotBack(version_id, created.unit, f"it was deleted at {when} UTC, {reach}")
    return TableAsItWas(version_of(created).backup.table, at, (created,))


def _last_seen(story: Sequence[Event], created: Event, deleted: Event, now: datetime) -> datetime | None:
    """Shortly before the first mark that time travel reaches.

    A run that stops between deleting and confirming leaves a mark, and the next one marks again what is gone by then.
    """
    marks = [
        event.recorded_at
        for event in story
        if event.event is EventKind.DELETION_PLANNED and event.recorded_at >= created.recorded_at
    ]
    seen = [max(created.recorded_at, mark - _CLOCKS_DIFFER_BY) for mark in (*marks, deleted.recorded_at)]
    return next((at for at in seen if now - at <= TIME_TRAVEL), None)


def _together(found: Iterable[TableAsItWas]) -> list[TableAsItWas]:
    """One look back for all versions of a backup table that were in it at the earliest of their instants."""
    joined: list[TableAsItWas] = []
    for one in sorted(found, key=lambda one: (one.table, one.at)):
        last = joined[-1] if joined else None
        if last is not None and last.table == one.table and one.created[0].recorded_at <= last.at:
            joined[-1] = TableAsItWas(last.table, last.at, (*last.created, *one.created))
        else:
            joined.append(one)
    return joined
