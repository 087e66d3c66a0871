"""What the catalog knows: versions, copies that were planned, what happened to a unit since.

Values only. Reading and writing them is the catalog store's work; what follows from them is decided in ``changes``,
``plan``, ``retention`` and ``restore``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from bbq_dagster.core.inventory import State, TableOptions
from bbq_dagster.core.tables import TableRef, Unit


@dataclass(frozen=True, slots=True)
class Version:
    """One unit as it was at ``captured_at``, held by ``backup``.

    ``captured_at`` is the start of the copy job (the original BBQ's watermark, its PR #21): what was written later
    is not in it. ``rows`` and ``size_bytes`` are those of the copy, not of the source.

    A version whose copy job is not on record (an empty ``job_id``) was read off its backup table: ``captured_at`` is
    then the end of the copy, and ``source`` knows the last write that is in it for certain.
    """

    version_id: str
    unit: Unit
    backup: Unit
    location: str
    captured_at: datetime
    rows: int | None
    size_bytes: int | None
    source: State
    source_created_at: datetime | None
    job_id: str
    reason: str
    whole_table: bool = False
    recorded_at: datetime | None = None
    run_id: str = ""
    options: TableOptions = field(default_factory=TableOptions)
    """Of its source, when the copy was planned."""
    schema: str | None = None
    """``SourceTable.schema`` then; None where nobody noted it."""

    @property
    def holds_until(self) -> datetime | None:
        """Every write before this instant is in the version; None where that is not known."""
        return self.captured_at if self.job_id else self.source.modified_at


class Absence(StrEnum):
    """Why a unit with versions has nothing to copy now."""

    EMPTIED = "emptied"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """One unit inside a planned copy: the state that was seen, and why it is copied."""

    unit: Unit
    state: State
    reason: str


class Writing(StrEnum):
    """What a copy does with rows that are at its destination already. ``INTO_NEW`` makes the table as well."""

    INTO_EMPTY = "into empty"
    INTO_NEW = "into new"
    REPLACE = "replace"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy job: a whole table, or one partition of it, into one place in another table.

    A backup copies a source into a backup table. With ``restore_id`` it is the other way round, into a table that is
    there, and each restore has jobs of its own.

    ``source`` and ``destination`` name a partition together or not at all. ``attempt`` counts the copies of the same
    state into the same place that are known to have failed, so that each try has a job id of its own.

    ``clone``: the destination shares the storage of a source that is named as of an instant, and its partitioning.
    """

    source: Unit
    destination: Unit
    location: str
    source_created_at: datetime
    units: tuple[PlannedUnit, ...]
    attempt: int = 1
    partitioned: bool = False
    options: TableOptions = field(default_factory=TableOptions)
    restore_id: str = ""
    writing: Writing = Writing.INTO_EMPTY
    clone: bool = False
    schema: str | None = None

    @property
    def whole_table(self) -> bool:
        """The copy holds every partition of its source, not only ``units``."""
        return self.source.partition is None


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """All that the catalog says of one source dataset, as a run needs it.

    * ``latest``: the newest live version of each unit.
    * ``absent``: units whose last event says that there is nothing to copy, with that event's kind.
    * ``settled``: when a partitioned table was created, and its state when all its partitions were protected; while
      the table is still in that state, its partitions need not be listed.
    * ``unfinished``: copies that were planned and have no end on record.
    * ``failures``: how many copies of a unit failed since its latest version.
    * ``scanned_at``: when all tables of the dataset were last listed.
    * ``unread``: settled tables whose partitions were counted and are not in ``latest``. A scan needs them only where
      the table moved since.
    """

    latest: Mapping[Unit, Version] = field(default_factory=dict)
    absent: Mapping[Unit, Absence] = field(default_factory=dict)
    settled: Mapping[TableRef, tuple[datetime, State]] = field(default_factory=dict)
    unfinished: tuple[Copy, ...] = ()
    failures: Mapping[Unit, int] = field(default_factory=dict)
    scanned_at: datetime | None = None
    unread: Mapping[TableRef, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """No unit has a version."""
        return not (self.latest or self.unread)

    def count_units_there(self, tables: Iterable[TableRef]) -> int:
        """How many units of these tables have a version, and are neither emptied nor vanished."""
        chosen = frozenset(tables)
        counted = sum(count for table, count in self.unread.items() if table in chosen)
        read = sum(unit.table in chosen for unit in self.latest)
        absent = sum(unit.table in chosen and self._has_version(unit) for unit in self.absent)
        return counted + read - absent

    def with_units_of(self, tables: DatasetRecord) -> DatasetRecord:
        """With all units of the tables that ``tables`` is the record of."""
        read = {unit.table for unit in tables.latest}
        return replace(
            self,
            latest={**self.latest, **tables.latest},
            absent={**self.absent, **tables.absent},
            unread={table: count for table, count in self.unread.items() if table not in read},
        )

    def without_settled_units(self) -> DatasetRecord:
        """The partitions of settled tables counted, and left out of ``latest``."""
        counted = Counter(unit.table for unit in self.latest if self._is_settled(unit))
        kept = {unit: version for unit, version in self.latest.items() if not self._is_settled(unit)}
        return replace(self, latest=kept, unread=dict(counted))

    def _is_settled(self, unit: Unit) -> bool:
        return unit.partition is not None and unit.table in self.settled

    def _has_version(self, unit: Unit) -> bool:
        return unit in self.latest or (unit.partition is not None and unit.table in self.unread)
