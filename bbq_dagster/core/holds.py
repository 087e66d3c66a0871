"""Holds: who forbade the deletion of which versions, why, and until when.

Decides what a hold protects. Placing and releasing one are events of the catalog.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase

from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.errors import Refused

_WILDCARDS = frozenset("*?[")
_VERSION_ID = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing that ``target`` names is deleted while ``now < until`` (None: until it is released).

    ``target`` is a version id, a table or partition as ``project.dataset.table$partition`` (a table stands for all its
    partitions), or a pattern for tables such as ``project.dataset.sales_*``. ``given_id``: of a hold that is
    the same for the same cause, whenever it is placed.
    """

    target: str
    owner: str
    reason: str
    since: datetime
    until: datetime | None = None
    given_id: str = field(default="", compare=False)

    @property
    def hold_id(self) -> str:
        """The same for the same hold, so that one that was placed twice is one."""
        if self.given_id:
            return self.given_id
        facts = "\n".join([self.target, self.owner, self.reason, self.since.isoformat(), str(self.until)])
        return hashlib.sha256(facts.encode()).hexdigest()[:12]

    @property
    def words(self) -> str:
        """``held: audit, by ada, until 2026-03-01 00:00``."""
        end = "it is released" if self.until is None else f"{self.until:%Y-%m-%d %H:%M}"
        return f"held: {self.reason}, by {self.owner}, until {end}"

    def is_over(self, now: datetime) -> bool:
        return self.until is not None and self.until <= now


def is_version_id(target: str) -> bool:
    return _VERSION_ID.fullmatch(target) is not None


def is_pattern(target: str) -> bool:
    return bool(_WILDCARDS & set(target))


def check_target(target: str) -> None:
    """Raises ``Refused`` where nothing could ever be what ``target`` names."""
    if is_version_id(target):
        return
    if not is_pattern(target):
        Unit.parse(target)
    elif target.count(".") < 2 or "$" in target:
        raise Refused(
            f"not a pattern for tables: {target!r}", hint="write project.dataset.table, with * for any text, in quotes"
        )


class Holds:
    """The holds that count at ``now``, ready to be asked for many versions."""

    def __init__(self, holds: Iterable[Hold], now: datetime) -> None:
        self._by_name: dict[str, list[Hold]] = {}
        self._patterns: list[Hold] = []
        self._of_table: dict[TableRef, tuple[str, ...]] = {}
        for hold in sorted(holds, key=lambda hold: (hold.since, hold.hold_id)):
            if hold.is_over(now):
                continue
            if is_pattern(hold.target):
                self._patterns.append(hold)
            else:
                self._by_name.setdefault(hold.target, []).append(hold)

    def reasons(self, version: StoredVersion) -> tuple[str, ...]:
        """The words of every hold that protects ``version``."""
        of_table = self._reasons_of_table(version.unit.table)
        if not self._by_name:
            return of_table
        names = [version.version_id, *([str(version.unit)] if version.unit.partition is not None else [])]
        return (*of_table, *(hold.words for name in names for hold in self._by_name.get(name, ())))

    def _reasons_of_table(self, table: TableRef) -> tuple[str, ...]:
        found = self._of_table.get(table)
        if found is None:
            name = str(table)
            matching = [hold for hold in self._patterns if fnmatchcase(name, hold.target)]
            found = tuple(hold.words for hold in (*self._by_name.get(name, ()), *matching))
            self._of_table[table] = found
        return found
