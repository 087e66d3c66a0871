"""What retention would delete and why: the plan over all units.

``plan_retention`` decides; it deletes nothing and reads no clock. What is kept whatever the policy says:

* everything of a table without retention, of a dataset that is frozen, of a unit whose record is inconsistent;
* what a hold protects;
* the newest good version of a unit whose source exists, or is gone within its grace (``retention_rules``).

A version whose deletion was begun, and that nobody knows to be there, counts for nothing: the plan finishes it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bbq_dagster.core.holds import Hold, Holds
from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.retention_rules import Fate, StoredVersion, judge, newest_first
from bbq_dagster.core.tables import SPECIAL_PARTITIONS, DatasetRef, TableRef, Unit
from bbq_dagster.errors import Refused

PolicyOf = Callable[[TableRef], RetentionPolicy | None]

MAX_SCAN_AGE = timedelta(hours=48)
"""A dataset that was not listed for so long is frozen: whether its tables exist is not known any more."""

_NO_RETENTION = ("no retention is configured",)
_BEGUN = ("its deletion was begun",)


@dataclass(frozen=True, slots=True)
class RetentionRecord:
    """What the catalog says of one source dataset, as retention needs it.

    * ``versions``: all live ones. ``begun``: the ids of those whose deletion was begun and is not confirmed.
    * ``gone_since``: units that the last look did not find, and when that was first seen.
    * ``scanned_at``: when all tables of the dataset were last listed.
    * ``departed``: units that vanished and have no version any more.
    * ``busy``: backup tables into which a copy was planned that has no end on record.
    """

    dataset: DatasetRef
    versions: tuple[StoredVersion, ...] = ()
    gone_since: Mapping[Unit, datetime] = field(default_factory=dict)
    scanned_at: datetime | None = None
    busy: frozenset[TableRef] = frozenset()
    begun: frozenset[str] = frozenset()
    departed: frozenset[Unit] = frozenset()


@dataclass(frozen=True, slots=True)
class Breaker:
    """The shares of all versions, and of their bytes, that one run may delete unless its very plan is approved."""

    versions: float = 0.5
    size_bytes: float = 0.5


@dataclass(frozen=True, slots=True)
class Deletion:
    """One place that is deleted, a backup table or a partition of one, with the versions that go with it."""

    place: Unit
    versions: tuple[StoredVersion, ...]


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """One fate for every version. ``tripped`` says why it is carried out only where its digest is approved.

    ``departed``: units that nothing is left of, in the source or in the backups.
    """

    planned_at: datetime
    fates: tuple[Fate, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    frozen: tuple[tuple[DatasetRef, str], ...] = ()
    inconsistent: tuple[tuple[Unit, str], ...] = ()
    tripped: tuple[str, ...] = ()
    departed: tuple[Unit, ...] = ()

    @property
    def kept(self) -> Iterator[Fate]:
        return (fate for fate in self.fates if fate.is_kept)

    @property
    def expired(self) -> Iterator[Fate]:
        return (fate for fate in self.fates if not fate.is_kept)

    @property
    def bytes_freed(self) -> int:
        return sum(fate.version.size_bytes or 0 for fate in self.expired)

    @property
    def digest(self) -> str:
        """The same for the same deletions, whenever they are planned."""
        lines = sorted(f"{d.place} {' '.join(sorted(v.version_id for v in d.versions))}" for d in self.deletions)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def kept_by_reason(self) -> dict[str, int]:
        """How many versions each reason keeps, without their numbers; most first."""
        counted = Counter(reason.split(" #")[0] for fate in self.kept for reason in fate.reasons)
        return dict(counted.most_common())

    def refuse_unless_approved(self, approved: str | None) -> None:
        """Raises ``Refused`` where the plan needs a digest, or is not the one that was approved."""
        if approved is not None and approved != self.digest:
            raise Refused(
                f"the plan {approved} was approved, this one is {self.digest}: nothing was deleted",
                hint="something changed since it was shown: look at `bbq retention plan` again",
            )
        if self.tripped and approved is None:
            raise Refused(
                "\n".join([*self.tripped, "nothing was deleted"]),
                hint=f"if that is meant, approve this very plan: bbq retention apply --approve {self.digest}",
            )

    def __str__(self) -> str:
        from bbq_dagster.core.retention_text import render_retention

        return render_retention(self)


def plan_retention(
    records: Iterable[RetentionRecord],
    *,
    policy_for: PolicyOf,
    now: datetime,
    holds: Iterable[Hold] = (),
    breaker: Breaker | None = None,
    max_scan_age: timedelta = MAX_SCAN_AGE,
) -> RetentionPlan:
    """Decide on every version of these records. ``policy_for`` gives None for a table without retention.

    A record has all versions of its dataset: what of a backup table is needed follows from them. Raises ``Refused``
    where a policy has no rule that keeps anything.
    """
    records = sorted(records, key=lambda record: record.dataset)
    in_force = Holds(holds, now)
    frozen = {record.dataset: reason for record in records if (reason := _frozen(record, now, max_scan_age))}
    fates: list[Fate] = []
    inconsistent: dict[Unit, str] = {}
    for record in records:
        units = _by_unit(record.versions)
        faults = _faults(record.versions, units, now)
        inconsistent |= faults
        decide = _Decision(record, policy_for, in_force, frozen.get(record.dataset), faults, now)
        of_dataset = [fate for unit in sorted(units, key=lambda unit: unit.sort_key) for fate in decide(units[unit])]
        fates += _only_deletable(of_dataset, record.busy)
    busy = frozenset[TableRef]().union(*(record.busy for record in records))
    return RetentionPlan(
        planned_at=now,
        fates=tuple(fates),
        deletions=tuple(_deletions(fates, busy)),
        frozen=tuple(frozen.items()),
        inconsistent=tuple(inconsistent.items()),
        tripped=_tripped(fates, breaker or Breaker()),
        departed=tuple(sorted(unit for record in records for unit in record.departed)),
    )


@dataclass(frozen=True, slots=True)
class _Decision:
    """What decides on the units of one dataset."""

    record: RetentionRecord
    policy_for: PolicyOf
    holds: Holds
    frozen: str | None
    faults: Mapping[Unit, str]
    at: datetime

    def __call__(self, versions: Sequence[StoredVersion]) -> list[Fate]:
        unit = versions[0].unit
        versions = sorted(versions, key=newest_first)
        policy = self.policy_for(unit.table)
        if policy is not None:
            policy.refuse_if_empty(str(unit.table))
        untouched = self._untouched(unit, policy)
        return [self._held(fate) for fate in (untouched(versions) if untouched else self._judge(versions, policy))]

    def _untouched(
        self, unit: Unit, policy: RetentionPolicy | None
    ) -> Callable[[Sequence[StoredVersion]], list[Fate]] | None:
        if policy is None:
            return lambda versions: [Fate(version, True, _NO_RETENTION) for version in versions]
        reason = f"frozen: {self.frozen}" if self.frozen else ""
        if unit in self.faults:
            reason = f"inconsistent: {self.faults[unit]}"
        return (lambda versions: [Fate(version, True, (reason,)) for version in versions]) if reason else None

    def _judge(self, versions: Sequence[StoredVersion], policy: RetentionPolicy | None) -> list[Fate]:
        assert policy is not None, "a unit without a policy is left untouched"
        begun = self.record.begun
        certain = [version for version in versions if version.version_id not in begun]
        if not any(version.is_good for version in certain):
            certain = list(versions)
        known = {version.version_id for version in certain}
        gone_since = self.record.gone_since.get(versions[0].unit)
        return [
            *judge(certain, policy, gone_since=gone_since, now=self.at),
            *(Fate(v, False, _BEGUN) for v in versions if v.version_id not in known),
        ]

    def _held(self, fate: Fate) -> Fate:
        reasons = self.holds.reasons(fate.version)
        if not reasons:
            return fate
        return Fate(fate.version, True, (*(fate.reasons if fate.is_kept else ()), *reasons))


def _frozen(record: RetentionRecord, now: datetime, max_scan_age: timedelta) -> str:
    if record.scanned_at is None:
        return "its tables were never listed: which of them still exist is not known"
    if now - record.scanned_at > max_scan_age:
        hours = max_scan_age // timedelta(hours=1)
        return f"its tables were last listed at {record.scanned_at:%Y-%m-%d %H:%M}, more than {hours} hours ago"
    return ""


def _by_unit(versions: Iterable[StoredVersion]) -> dict[Unit, list[StoredVersion]]:
    units: dict[Unit, list[StoredVersion]] = {}
    for version in versions:
        units.setdefault(version.unit, []).append(version)
    return units


def _faults(
    versions: Sequence[StoredVersion], units: Mapping[Unit, Sequence[StoredVersion]], now: datetime
) -> dict[Unit, str]:
    """The units whose record cannot be true, and why: nothing of them is deleted."""
    source_of: dict[TableRef, TableRef] = {}
    shared = {v.table for v in versions if source_of.setdefault(v.table, v.unit.table) != v.unit.table}
    return {unit: fault for unit, of_unit in units.items() if (fault := _fault(of_unit, shared, now))}


def _fault(versions: Sequence[StoredVersion], shared: frozenset[TableRef] | set[TableRef], now: datetime) -> str:
    if len({version.table for version in versions}) < len(versions):
        return "two versions are recorded in one place"
    if len({version.version_id for version in versions}) < len(versions):
        return "two versions have one id"
    for version in versions:
        if version.table in shared:
            return f"{version.table} is recorded as the backup of two tables"
        if version.captured_at > now:
            return f"version {version.version_id} was captured in the future"
    return ""


def _only_deletable(fates: Sequence[Fate], busy: frozenset[TableRef]) -> list[Fate]:
    """What can only go with its whole backup table, while that is needed, is kept."""
    needed = {fate.version.table for fate in fates if fate.is_kept} | busy
    return [_kept_with_its_table(fate) if _is_stuck(fate, needed) else fate for fate in fates]


def _is_stuck(fate: Fate, needed: set[TableRef]) -> bool:
    """A special partition cannot be deleted on its own (BigQuery: managing-partitioned-tables)."""
    partition = fate.version.unit.partition
    return not fate.is_kept and fate.version.table in needed and (partition is None or partition in SPECIAL_PARTITIONS)


def _kept_with_its_table(fate: Fate) -> Fate:
    return Fate(fate.version, True, (f"goes with its backup table, which is still needed ({fate.why})",))


def _deletions(fates: Iterable[Fate], busy: frozenset[TableRef]) -> Iterator[Deletion]:
    """The whole table once nothing in it is kept: it may hold partitions that no version names."""
    needed = set(busy)
    expired: dict[TableRef, list[StoredVersion]] = {}
    for fate in fates:
        if fate.is_kept:
            needed.add(fate.version.table)
        else:
            expired.setdefault(fate.version.table, []).append(fate.version)
    for table, versions in sorted(expired.items()):
        if table in needed:
            yield from (Deletion(version.place, (version,)) for version in versions)
        else:
            yield Deletion(table.unit(), tuple(versions))


def _tripped(fates: Iterable[Fate], breaker: Breaker) -> tuple[str, ...]:
    versions = size = versions_gone = size_gone = 0
    for fate in fates:
        size_of_one = fate.version.size_bytes or 0
        versions += 1
        size += size_of_one
        versions_gone += not fate.is_kept
        size_gone += 0 if fate.is_kept else size_of_one
    shares = (
        ("versions", versions_gone, versions, breaker.versions),
        ("bytes", size_gone, size, breaker.size_bytes),
    )
    return tuple(
        f"it would delete {gone:,} of {total:,} {what}, more than {limit:.0%} in one run"
        for what, gone, total, limit in shares
        if gone > limit * total
    )
