"""What is found in the backup project, and which versions can be read off it.

The catalog is the record; this is what can be had without it: names, descriptions, rows, bytes and the time of the last
write, as INFORMATION_SCHEMA shows them. ``versions_in`` says what a backup table holds, and what it cannot say stays
unknown. Nothing here asks the warehouse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bbq_dagster.core.inventory import Dataset, State
from bbq_dagster.core.naming import (
    dataset_source_of,
    described_source,
    is_shortened,
    newest_write_of,
    source_of,
    version_id,
)
from bbq_dagster.core.tables import SPECIAL_PARTITIONS, DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.errors import Refused

_HOLDS_ROWS = frozenset({"BASE TABLE", "CLONE"})


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table of a backup dataset.

    ``partitions`` are those that hold rows, and ``None`` stands for an unpartitioned table; ``expires`` says that the
    table or its partitions have an expiration.
    """

    ref: TableRef
    kind: str
    created_at: datetime
    partitions: Mapping[str | None, State] = field(default_factory=dict)
    is_partitioned: bool = False
    expires: bool = False
    description: str | None = None

    @property
    def held(self) -> Mapping[str | None, State]:
        """The partitions, and an unpartitioned table without rows as one that has none."""
        if self.partitions or self.is_partitioned:
            return self.partitions
        return {None: State(0, 0, self.created_at)}


@dataclass(frozen=True, slots=True)
class FoundDataset:
    """A dataset of the backup project with all its tables. ``source`` is None where it holds no backups of ours."""

    ref: DatasetRef
    location: str
    source: DatasetRef | None
    tables: tuple[FoundTable, ...] = ()


def source_of_dataset(dataset: Dataset) -> DatasetRef | None:
    """What a backup dataset holds the backups of, by its name or else by its description; None where it is not ours."""
    by_name = dataset_source_of(dataset.ref)
    if by_name is not None or (described := described_source(dataset.description)) is None:
        return by_name
    try:
        return DatasetRef.parse(described)
    except Refused:
        return None


def source_of_table(table: FoundTable, source: DatasetRef) -> TableRef | None:
    """What a table in the backup dataset of ``source`` is a backup of; None where it is no backup table of ours."""
    if table.kind not in _HOLDS_ROWS:
        return None
    if (name := source_of(table.ref.table)) is not None:
        return source.table(name)
    described = _described(table) if is_shortened(table.ref.table) else None
    return described if described is not None and described.in_dataset == source else None


def other_description(table: FoundTable, source: TableRef) -> str | None:
    """The source that the description names, where it is another one than the name does."""
    described = described_source(table.description)
    return described if described not in (None, str(source)) else None


def versions_in(table: FoundTable, source: TableRef, *, location: str, reason: str) -> Iterator[Version]:
    """A version for each partition that the backup table of ``source`` holds, or for the table itself.

    * ``captured_at`` is the last write into the copy: the end of its copy job, where nobody wrote there since.
    * What the source was like is known only as far as the name tells: when it was last written to.
    * Of a partitioned table every partition with rows is one, those too that only came along with a whole table. One
      that was backed up empty leaves no trace.
    """
    newest_write = newest_write_of(table.ref.table)
    is_whole = not SPECIAL_PARTITIONS.isdisjoint(table.partitions)
    for partition, state in sorted(table.held.items(), key=lambda held: held[0] or ""):
        yield found_version(
            source.unit(partition),
            table.ref,
            state,
            location=location,
            captured_at=state.modified_at or table.created_at,
            written_at=newest_write,
            whole_table=is_whole,
            reason=reason,
        )


def found_version(
    unit: Unit,
    backup_table: TableRef,
    state: State,
    *,
    location: str,
    captured_at: datetime,
    written_at: datetime | None,
    whole_table: bool,
    reason: str,
) -> Version:
    """A version of ``unit`` as far as it can be told without a record; ``written_at``: the last write into its source.

    ``state`` is that of the copy.
    """
    backup = backup_table.unit(unit.partition)
    return Version(
        version_id=version_id(backup),
        unit=unit,
        backup=backup,
        location=location,
        captured_at=captured_at,
        rows=state.rows,
        size_bytes=state.size_bytes,
        source=State(modified_at=written_at),
        source_created_at=None,
        job_id="",
        reason=reason,
        whole_table=whole_table,
    )


def by_table(found: Iterable[FoundDataset]) -> dict[TableRef, FoundTable]:
    """All found tables by what they are called."""
    return {table.ref: table for dataset in found for table in dataset.tables}


def _described(table: FoundTable) -> TableRef | None:
    if (described := described_source(table.description)) is None:
        return None
    try:
        return TableRef.parse(described)
    except Refused:
        return None
