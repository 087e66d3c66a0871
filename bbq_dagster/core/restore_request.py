"""What somebody asks to be restored: which versions, as of when, where to, and what may happen to what is there.

Values and their parsing; what follows from them is decided in ``restore_choice`` and ``restore``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from bbq_dagster.core.selection import matches, pattern_fault
from bbq_dagster.core.tables import SPECIAL_PARTITIONS, DatasetRef, TableRef
from bbq_dagster.errors import Refused


class OnExisting(StrEnum):
    """What happens where a table or partition that is to be restored has rows already.

    ``fail``, ``append`` and ``replace`` are the original's WRITE_EMPTY, WRITE_APPEND and WRITE_TRUNCATE.
    """

    FAIL = "fail"
    SKIP = "skip"
    REPLACE = "replace"
    APPEND = "append"


class Create(StrEnum):
    """Whether datasets and tables that are missing are created: the original's CREATE_IF_NEEDED and CREATE_NEVER."""

    IF_NEEDED = "if_needed"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing that was asked for: a dataset, its tables by a pattern, or one partition of one table."""

    dataset: DatasetRef
    tables: str = "*"
    partition: str | None = None

    @classmethod
    def parse(cls, text: str) -> Scope:
        """``project.dataset``, ``project.dataset.orders``, ``….sales_*`` or ``….events$20240131``, else ``Refused``."""
        if text.count(".") < 1:
            raise Refused(f"not something to restore: {text!r}", hint=_HOW_TO_NAME)
        try:
            return cls(DatasetRef.parse(text))
        except Refused:
            return cls._parse_tables(text)

    @classmethod
    def _parse_tables(cls, text: str) -> Scope:
        dataset, _, name = text.rpartition(".")
        tables, _, partition = name.partition("$")
        if fault := pattern_fault(tables, dots=0):
            raise Refused(f"not something to restore: {text!r}: {fault}", hint=_HOW_TO_NAME)
        if name.endswith("$"):
            raise Refused(f"not something to restore: {text!r} has no partition after the $", hint=_HOW_TO_NAME)
        return cls(DatasetRef.parse(dataset), tables, partition or None)

    def takes(self, table: TableRef) -> bool:
        is_in_dataset = (table.project, table.dataset) == (self.dataset.project, self.dataset.dataset)
        return is_in_dataset and matches(self.tables, table.table)

    def __str__(self) -> str:
        partition = "" if self.partition is None else f"${self.partition}"
        return f"{self.dataset}.{self.tables}{partition}"


_LONGEST_PARTITION = 20
"""Characters of the id of a partition by integer range: those of the least INT64."""
_MOST_DAYS = 36_500

_HOW_TO_NAME = "write project.dataset, project.dataset.table, project.dataset.sales_* or project.dataset.table$20240131"


@dataclass(frozen=True, slots=True)
class Partitions:
    """Which partitions of partitioned tables; tables that are not partitioned are not touched by it.

    ``first`` and ``last`` are ids and both included. ``last_days`` counts back from the instant of the restore, its own
    day (UTC) included, as ``maxPartitionDays`` of the original did.
    """

    ids: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    last_days: int | None = None

    @property
    def are_limited(self) -> bool:
        return bool(self.ids) or self.has_bounds or self.last_days is not None

    @property
    def has_bounds(self) -> bool:
        return self.first is not None or self.last is not None

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with it, whatever there is to restore."""
        found = []
        for name, bound in (("first", self.first), ("last", self.last)):
            if bound is not None and not _is_number(bound):
                found.append(f"the {name} partition {bound!r} is no partition id: write it as 20240131")
        if not found and self.first is not None and self.last is not None and int(self.first) > int(self.last):
            found.append(f"the first partition {self.first} is after the last one, {self.last}")
        if self.last_days is not None and self.last_days < 1:
            found.append(f"the last {self.last_days} days are none: 1 is the day of the restore alone")
        if self.last_days is not None and self.last_days > _MOST_DAYS:
            found.append(f"the last {self.last_days} days are more than the {_MOST_DAYS:,} that can be named")
        return tuple(found)

    def take(self, partition: str, *, at: datetime, by_number: bool) -> bool:
        """Whether a partition is among them; ``by_number``: its table is partitioned by integer range.

        Partitions without a place in the order (``__NULL__``, ``__UNPARTITIONED__``) are only taken by their ids.
        """
        if self.ids:
            return partition in self.ids
        if not self.are_limited:
            return True
        if partition in SPECIAL_PARTITIONS:
            return False
        return self._is_between(partition) and (self.last_days is None or by_number or self._is_recent(partition, at))

    def _is_between(self, partition: str) -> bool:
        after_first = self.first is None or int(partition) >= int(self.first)
        return after_first and (self.last is None or int(partition) <= int(self.last))

    def _is_recent(self, partition: str, at: datetime) -> bool:
        """The end of the partition's period counts: a month is recent while its last days are."""
        assert self.last_days is not None
        oldest = date.fromordinal(max(1, at.toordinal() - (self.last_days - 1)))
        day = oldest.isoformat().replace("-", "")  # %Y does not fill up years before 1000
        return partition[: len(day)] >= day[: len(partition)]


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) <= _LONGEST_PARTITION


@dataclass(frozen=True, slots=True)
class VersionWish:
    """A version by its id, and the table it is restored to where that is not its own name."""

    version_id: str
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where restored tables go. ``None``: where they came from. ``names`` are pairs of old and new table names.

    A name of the list or of ``names`` is taken as it is; all others get ``prefix`` and ``suffix``.
    """

    project: str | None = None
    dataset: str | None = None
    prefix: str = ""
    suffix: str = ""
    names: tuple[tuple[str, str], ...] = ()

    def of(self, source: TableRef, *, named: str | None = None) -> TableRef:
        name = named or dict(self.names).get(source.table) or f"{self.prefix}{source.table}{self.suffix}"
        return TableRef(self.project or source.project, self.dataset or source.dataset, name)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """All that somebody decides about a restore. ``as_of`` None is "the latest"."""

    what: tuple[Scope, ...] = ()
    versions: tuple[VersionWish, ...] = ()
    partitions: Partitions = Partitions()
    as_of: datetime | None = None
    target: Target = Target()
    on_existing: OnExisting = OnExisting.FAIL
    create: Create = Create.IF_NEEDED
    keep_partition_expiration: bool = False
    even_if_bad: bool = False
    """Versions too that a verification found to differ from what was copied."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the request itself."""
        if not self.what and not self.versions:
            return ("nothing is named: name a dataset, a table, a partition or a version",)
        if self.versions and (self.what or self.as_of is not None or self.partitions.are_limited):
            return ("versions are named by their ids: no table, instant or partition goes with them",)
        return (*self.partitions.faults, *self._same_wishes())

    def _same_wishes(self) -> tuple[str, ...]:
        seen: set[VersionWish] = set()
        twice = [wish for wish in self.versions if wish in seen or seen.add(wish)]  # type: ignore[func-returns-value]
        return tuple(f"version {wish.version_id} is named twice" for wish in twice)


def instant_of(text: str) -> datetime:
    """An instant in ISO 8601, UTC where it has no zone. Raises ``Refused``."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        hint = "write it as 2026-01-31T12:00+01:00; without a zone it is UTC"
        raise Refused(f"not a time: {text!r}", hint=hint) from error


def read_version_list(text: str) -> tuple[VersionWish, ...]:
    """The versions of a list: JSON (ids, or objects with ``version`` and perhaps ``table``) or CSV with such a header.

    Raises ``Refused`` with the entry that is none.
    """
    wishes = tuple(_wish(entry, at) for at, entry in enumerate(_entries(text), start=1))
    if not wishes:
        raise Refused("the list has no versions: nothing was done")
    return wishes


def _entries(text: str) -> list[object]:
    if not text.lstrip().startswith(("[", "{")):
        return _rows(text)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        raise Refused(f"the list is no JSON: {error}: nothing was done") from error
    if not isinstance(found, list):
        raise Refused("the list is no JSON array: nothing was done", hint='write ["version id", …]')
    return found


def _rows(text: str) -> list[object]:
    try:
        return list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    except csv.Error as error:
        raise Refused(f"the list is no CSV: {error}: nothing was done") from error


def _wish(entry: object, at: int) -> VersionWish:
    fields: object = {"version": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, Mapping):
        raise Refused(f"entry {at} of the list is no version: {entry!r}", hint=_HOW_TO_LIST)
    version, table = fields.get("version"), fields.get("table") or None
    if not isinstance(version, str) or not version or not (table is None or isinstance(table, str)):
        raise Refused(f"entry {at} of the list has no version: {entry!r}", hint=_HOW_TO_LIST)
    if unknown := {str(name) for name in fields} - {"version", "table"}:
        raise Refused(f"entry {at} of the list has {sorted(unknown)[0]!r}, which nobody knows", hint=_HOW_TO_LIST)
    return VersionWish(version, table)


_HOW_TO_LIST = 'a CSV with the header version,table, or JSON: [{"version": "…", "table": "…"}]; table may be left out'
