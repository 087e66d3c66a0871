"""A dataset with days of backups behind it, for the tests of restore: what is on record, and the world to match.

Day ``n`` is noon of 1 January 2026 plus ``n`` days; a backup of it is captured then, and each backup run of a table
makes a backup table of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bbq_dagster.core.inventory import State, TableOptions, TableShape
from bbq_dagster.core.restore import RestorePlan, TableFacts, World, plan_restore
from bbq_dagster.core.restore_choice import Choice, Gone, Past, choose_versions
from bbq_dagster.core.restore_request import RestoreRequest, Scope
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Absence, Version, Writing

SALES = DatasetRef("acme-shop", "sales")
ORDERS, EVENTS = SALES.table("orders"), SALES.table("events")
BACKUPS = DatasetRef("acme-backup", "bbq_acme_shop__sales__eu")
LAB = "acme-lab"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FLAT = TableShape("BASE TABLE", (("id", "INT64"), ("note", "STRING")))
BY_DAY = TableShape("BASE TABLE", (("day", "DATE"), ("n", "INT64")), "day", "DATE", ("n",))
OPTIONS = TableOptions("what was sold", labels=(("team", "sales"),))


def at(day: float) -> datetime:
    return NOON + day * DAY


@dataclass
class Story:
    """What happened to a dataset, told day by day; then asked what a restore would do."""

    versions: list[Version] = field(default_factory=list)
    absences: list[Gone] = field(default_factory=list)
    locations: dict[DatasetRef, str] = field(default_factory=lambda: {SALES: "EU"})
    tables: dict[TableRef, TableFacts] = field(default_factory=dict)

    def back_up(
        self,
        day: float,
        table: TableRef,
        rows: int | Mapping[str, int],
        *,
        shape: TableShape | None = None,
        also_held: Mapping[str, int] | None = None,
        location: str = "EU",
        options: TableOptions = OPTIONS,
    ) -> list[Version]:
        """Versions of a table (rows), or of some of its partitions, in one backup table.

        ``also_held``: partitions that came with a copy of the whole table, and are no versions.
        """
        backup = BACKUPS.table(f"{table.table}-{day:g}")
        held = _held(rows)
        made = [
            Version(
                version_id=f"{table.unit(partition).key}@{day:g}",
                unit=table.unit(partition),
                backup=backup.unit(partition),
                location=location,
                captured_at=at(day),
                rows=count,
                size_bytes=count * 10,
                source=State(count, count * 10, at(day - 0.5)),
                source_created_at=at(-30),
                job_id="job",
                reason="modified",
                whole_table=bool(also_held),
                recorded_at=at(day) + timedelta(seconds=20),
                options=options,
            )
            for partition, count in held.items()
        ]
        shape = shape or (FLAT if isinstance(rows, int) else BY_DAY)
        self.tables[backup] = facts(shape, held | _held(also_held or {}))
        self.versions += made
        return made

    def lose(self, day: float, unit: Unit, absence: Absence = Absence.VANISHED) -> None:
        self.absences.append(Gone(unit, absence, at(day)))

    def put(self, table: TableRef, rows: int | Mapping[str, int], *, shape: TableShape | None = None) -> None:
        """A table that is at a target now."""
        held = _held(rows)
        self.locations.setdefault(table.in_dataset, "EU")
        self.tables[table] = facts(shape or (FLAT if isinstance(rows, int) else BY_DAY), held)

    def choose(self, request: RestoreRequest, *, day: float = 10) -> Choice:
        pasts = {SALES: Past(tuple(self.versions), tuple(self.absences))}
        return choose_versions(request, pasts, self.versions, now=at(day))

    def plan(self, request: RestoreRequest, *, day: float = 10, may_write: Iterable[str] = (LAB,)) -> RestorePlan:
        world = World(self.locations, self.tables)
        return plan_restore(request, self.choose(request, day=day), world, may_write=tuple(may_write), now=at(day))


def _held(rows: int | Mapping[str, int]) -> dict[str | None, int]:
    return {None: rows} if isinstance(rows, int) else dict(rows.items())


def facts(shape: TableShape, rows: Mapping[str | None, int]) -> TableFacts:
    return TableFacts(shape, {name: State(count, count * 10, at(0)) for name, count in rows.items() if count})


def a_request(*what: str, **given: Any) -> RestoreRequest:
    """Of the dataset, or of what is named."""
    return RestoreRequest(what=tuple(map(Scope.parse, what or (str(SALES),))), **given)


_OVER_ROWS = (Writing.REPLACE, Writing.APPEND)


def jobs_of(plan: RestorePlan) -> list[str]:
    """Each copy job as ``backup$p -> target$p``, with how it writes where that is not into an empty place."""
    return [
        f"{item.source.key} -> {item.target.key}"
        + (f" ({item.writing})" if item.writing in _OVER_ROWS else "")
        + "".join(f", without {unit.partition}" for unit in item.removed)
        for item in plan.items
    ]
