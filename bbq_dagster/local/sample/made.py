"""What a change to the sample was: of which kind, in a sentence, and what the next backup has to make of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bbq_dagster.core.tables import TableRef, Unit


class ChangeKind(StrEnum):
    """What happened, in the words of whoever did it."""

    ROWS_APPENDED = "rows appended"
    LATE_ROWS = "late rows in an old partition"
    ROWS_UPDATED = "rows corrected"
    ROWS_DELETED = "rows deleted"
    ROWS_STREAMED = "rows streamed"
    PARTITIONS_ADDED = "partitions added"
    PARTITION_DROPPED = "partition dropped"
    TABLE_CREATED = "table created"
    TABLE_DROPPED = "table dropped"
    TABLE_RECREATED = "table dropped and created anew"
    TABLE_TRUNCATED = "table truncated"
    DESCRIBED = "description or labels edited"


@dataclass(frozen=True, slots=True)
class Effect:
    """What follows for the units of the table that changed; units in none of these have nothing to back up.

    * ``copied``: their data changed.
    * ``waiting``: rows are in the streaming buffer, which no copy sees; ``flushed`` has the units that get them.
    * ``emptied``, ``vanished``: nothing is left to copy, the last good version is kept.
    """

    copied: frozenset[Unit] = frozenset()
    waiting: frozenset[Unit] = frozenset()
    flushed: frozenset[Unit] = frozenset()
    emptied: frozenset[Unit] = frozenset()
    vanished: frozenset[Unit] = frozenset()

    @classmethod
    def of_all(cls, changes: Iterable[ChangeMade]) -> Effect:
        """The changes of a day together."""
        effects = [change.effect for change in changes]
        return cls(
            copied=frozenset().union(*(effect.copied for effect in effects)),
            waiting=frozenset().union(*(effect.waiting for effect in effects)),
            flushed=frozenset().union(*(effect.flushed for effect in effects)),
            emptied=frozenset().union(*(effect.emptied for effect in effects)),
            vanished=frozenset().union(*(effect.vanished for effect in effects)),
        )


@dataclass(frozen=True, slots=True)
class ChangeMade:
    """A change that was made. ``rows`` counts those written, corrected or deleted; 0 where that is not the point."""

    table: TableRef
    kind: ChangeKind
    sentence: str
    effect: Effect
    rows: int = 0

    def __str__(self) -> str:
        return f"{self.table}, {self.kind}: {self.sentence}"
