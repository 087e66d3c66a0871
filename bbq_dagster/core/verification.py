"""Which versions are verified next, and what a verification found: the plan of a day, and the judgement of one.

``plan_verification`` and ``judge`` decide; nothing is read or written here.

What is first, until the day's budget is used up:

1. Restore drills, with half of the bytes at most.
2. With half of the rest, versions that nobody has looked at, while their source can still be read as it was when they
   were captured: oldest first, as BigQuery's time travel soon ends for them.
3. All others, the longest without a look first. The newest version of a table or partition counts as four times as long
   without: it is what a restore takes. The first of them comes before all else where half of the budget is too little
   for it, or it would wait for ever.
4. What was looked at today already.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from bbq_dagster.core.fingerprint import LEAST_BILLED, Fingerprint, content_difference, difference, row_difference
from bbq_dagster.core.tables import SPECIAL_PARTITIONS, TableRef
from bbq_dagster.core.undelete import TIME_TRAVEL
from bbq_dagster.core.verification_record import How, Outcome, Proof
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import counted, section, size

PARTITIONS_PER_QUERY = 500
NEWEST_COUNTS = 4
_STILL_READABLE = TIME_TRAVEL - timedelta(hours=1)
"""A run takes its time, and BigQuery does not wait for it."""

_NO_PROOF = Proof("")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live version with what is on record of its verifications. ``is_newest``: of its table or partition."""

    version: Version
    proof: Proof = _NO_PROOF
    is_newest: bool = False

    @property
    def looked_at(self) -> datetime:
        """Where nobody ever looked, it counts from its capture."""
        return self.proof.looked_at or self.version.captured_at


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left for a day: versions, bytes that queries read, and restore drills."""

    versions: int
    size_bytes: int
    drills: int = 0

    @classmethod
    def of_day(cls, *, share: float, versions: int, size_bytes: int, drills: int, live: int, spent: Spent) -> Budget:
        """``share`` of all ``live`` versions, ``versions`` at most, without what was ``spent`` today."""
        wanted = min(versions, math.ceil(share * live))
        return cls(
            max(0, wanted - spent.versions), max(0, size_bytes - spent.size_bytes), max(0, drills - spent.drills)
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What verifications of a day used up."""

    versions: int = 0
    size_bytes: int = 0
    drills: int = 0


@dataclass(frozen=True, slots=True)
class PlannedCheck:
    """A version that is to be looked at, and why now. ``with_source``: its source is read as well, as it was then."""

    version: Version
    with_source: bool
    why: str

    @property
    def cost(self) -> int:
        """Bytes that it may read: all columns of it, and of its source."""
        return _cost(self.version, reads=2 if self.with_source else 1)


@dataclass(frozen=True, slots=True)
class VerificationStep:
    """Versions of one backup table that one query reads."""

    backup: TableRef
    location: str
    checks: tuple[PlannedCheck, ...]


@dataclass(frozen=True, slots=True)
class NotNow:
    """A version that waits, and for what."""

    version: Version
    reason: str


@dataclass(frozen=True, slots=True)
class VerificationPlan:
    """What is verified, what is restored as a drill, and what waits. ``never_proven`` counts all live versions."""

    planned_at: datetime
    budget: Budget
    checks: tuple[PlannedCheck, ...] = ()
    drills: tuple[Version, ...] = ()
    waiting: tuple[NotNow, ...] = ()
    live: int = 0
    never_proven: int = 0
    bad: tuple[tuple[Version, str], ...] = ()

    @property
    def cost(self) -> int:
        return sum(check.cost for check in self.checks)

    @property
    def steps(self) -> Iterator[VerificationStep]:
        """The checks by backup table, each table in parts that fit into a query."""
        by_table = sorted(self.checks, key=lambda check: (check.version.backup.table, check.version.unit.sort_key))
        for table, of_table in groupby(by_table, key=lambda check: check.version.backup.table):
            checks = list(of_table)
            for start in range(0, len(checks), PARTITIONS_PER_QUERY):
                part = tuple(checks[start : start + PARTITIONS_PER_QUERY])
                yield VerificationStep(table, part[0].version.location, part)

    def __str__(self) -> str:
        return render_verification(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found out about one version.

    ``copy`` None: its backup table is not there. ``source`` is its source as it was, or why that cannot be had.
    """

    copy: Fingerprint | None
    stored: Fingerprint | None = None
    source: Fingerprint | str = "it was not asked for"
    flaw: str = ""


def plan_verification(candidates: Iterable[Candidate], *, budget: Budget, now: datetime) -> VerificationPlan:
    """Decide on every live version: it is verified now, or waits, with the reason."""
    candidates = list(candidates)
    drills = _drills(candidates, budget)
    purse = _Purse(budget.versions, budget.size_bytes - sum(_cost(version, reads=2) for version in drills))
    checks: dict[str, PlannedCheck] = {}
    waiting: dict[str, NotNow] = {}
    for candidate, share in _in_turn(candidates, now, purse.size_bytes):
        identity = candidate.version.version_id
        if identity in checks:
            continue
        check = _check(candidate, now)
        if reason := purse.refusal(check, share=share):
            waiting[identity] = NotNow(candidate.version, reason)
        else:
            checks[identity] = check
            waiting.pop(identity, None)
    return VerificationPlan(
        planned_at=now,
        budget=budget,
        checks=tuple(checks.values()),
        drills=drills,
        waiting=tuple(waiting.values()),
        live=len(candidates),
        never_proven=sum(candidate.proof.last_proven_at is None for candidate in candidates),
        bad=tuple((candidate.version, candidate.proof.flaw) for candidate in candidates if candidate.proof.is_bad),
    )


def judge(version: Version, evidence: Evidence) -> tuple[Outcome, How, str]:
    """What the evidence says of a version, and in what words.

    In doubt a version is not called bad: where the source has other rows than were copied, the copy job may not have
    seen them (a streaming buffer is read by queries, and not by copy jobs).
    """
    copy, stored, source = evidence.copy, evidence.stored, evidence.source
    if copy is None:
        return Outcome.DIFFERS, How.FINGERPRINT, "missing: the backup table is not there"
    if stored is not None:
        found = difference(stored, copy)
        words = str(found) if found else "it has what it had when it was first looked at"
        return Outcome.DIFFERS if found else Outcome.PROVEN, How.FINGERPRINT, words
    if version.rows is not None and (other := row_difference(version.rows, copy.rows)) is not None:
        return Outcome.DIFFERS, How.FINGERPRINT, str(other)
    if evidence.flaw:
        return Outcome.DIFFERS, How.SOURCE, evidence.flaw
    if isinstance(source, str):
        return Outcome.SOURCE_GONE, How.SOURCE, f"it has its rows; there is no source to compare it with: {source}"
    if source.rows != copy.rows:
        seen = f"a query sees {source.rows:,} rows of its source then, {copy.rows:,} were copied"
        return Outcome.SOURCE_GONE, How.SOURCE, f"it has its rows; they cannot be compared: {seen}"
    found = content_difference(source, copy)
    return (
        (Outcome.DIFFERS, How.SOURCE, str(found))
        if found
        else (Outcome.PROVEN, How.SOURCE, "it has what its source had when it was copied")
    )


def candidates_of(versions: Iterable[Version], proofs: dict[str, Proof]) -> list[Candidate]:
    """Every version with its proof, oldest first."""
    in_order = sorted(versions, key=lambda version: (version.captured_at, version.version_id))
    newest = {version.unit: version.version_id for version in in_order}
    return [
        Candidate(v, proofs.get(v.version_id, Proof(v.version_id)), newest[v.unit] == v.version_id) for v in in_order
    ]


def render_verification(plan: VerificationPlan, *, limit: int | None = 12) -> str:
    """The plan as text, ``limit`` lines per list at most (None: all)."""
    reads = [
        f"{check.version.unit} of {check.version.captured_at:%Y-%m-%d %H:%M} ({check.version.version_id}): {check.why}"
        for check in plan.checks
    ]
    drills = [f"{v.unit} of {v.captured_at:%Y-%m-%d %H:%M} ({v.version_id})" for v in plan.drills]
    waiting = [f"{w.version.unit} ({w.version.version_id}): {w.reason}" for w in plan.waiting]
    bad = [f"{version.unit} of {version.captured_at:%Y-%m-%d %H:%M}: {flaw}" for version, flaw in plan.bad]
    return "\n".join(
        [
            f"verification plan of {plan.planned_at:%Y-%m-%d %H:%M} UTC: {counted(len(plan.checks), 'version')} of"
            f" {plan.live:,}, {size(plan.cost)} to read at most; {counted(len(plan.drills), 'restore drill')};"
            f" {plan.never_proven:,} never proven, {len(plan.bad):,} bad",
            *section("differ from what was copied", bad, limit=limit),
            *section("verify", reads, limit=limit),
            *section("restore as a drill", drills, limit=limit),
            *section("wait", waiting, limit=limit),
        ]
    )


class _Purse:
    """What is left of a budget while a plan is made."""

    def __init__(self, versions: int, size_bytes: int) -> None:
        self._given_versions = self._versions = versions
        self._given_bytes = self.size_bytes = size_bytes

    def refusal(self, check: PlannedCheck, *, share: float) -> str:
        """Why there is nothing left for ``check`` of this share of the budget; nothing where it was paid."""
        if check.cost > self._given_bytes:
            return f"it would read {size(check.cost)}, and the budget of the day has {size(self._given_bytes)} left"
        if self._versions <= self._given_versions * (1 - share):
            return "its turn has not come"
        if self.size_bytes - check.cost < self._given_bytes * (1 - share):
            return f"its turn has not come: it would read {size(check.cost)}"
        self._versions -= 1
        self.size_bytes -= check.cost
        return ""


def _in_turn(candidates: Sequence[Candidate], now: datetime, size_bytes: int) -> Iterator[tuple[Candidate, float]]:
    """Every candidate in its turn, and of what share of the budget it is paid. One that had to wait may come again."""
    in_turn = sorted((c for c in candidates if not _is_urgent(c, now)), key=lambda c: _turn(c, now), reverse=True)
    rolling = [candidate for candidate in in_turn if not _is_of_today(candidate, now)]
    urgent = [candidate for candidate in candidates if _is_urgent(candidate, now)]
    yield from ((candidate, 1.0) for candidate in rolling[:1] if _check(candidate, now).cost > size_bytes / 2)
    yield from ((candidate, 0.5) for candidate in urgent)
    yield from ((candidate, 1.0) for candidate in rolling)
    yield from ((candidate, 1.0) for candidate in urgent)
    yield from ((candidate, 1.0) for candidate in in_turn if _is_of_today(candidate, now))


def _is_of_today(candidate: Candidate, now: datetime) -> bool:
    return candidate.proof.looked_at is not None and candidate.proof.looked_at.date() == now.date()


def _turn(candidate: Candidate, now: datetime) -> timedelta:
    return (now - candidate.looked_at) * (NEWEST_COUNTS if candidate.is_newest else 1)


def _is_urgent(candidate: Candidate, now: datetime) -> bool:
    """Never compared with its source, which can still be read as it was then.

    Of a version that was found without its copy job, nobody knows exactly when it was captured.
    """
    version = candidate.version
    return bool(version.job_id) and not candidate.proof.has_fingerprint and now - version.captured_at < _STILL_READABLE


def _check(candidate: Candidate, now: datetime) -> PlannedCheck:
    version, proof = candidate.version, candidate.proof
    if _is_urgent(candidate, now):
        ends = version.captured_at + TIME_TRAVEL
        return PlannedCheck(version, True, f"its source can be read as it was until {ends:%Y-%m-%d %H:%M}")
    if proof.looked_at is None:
        return PlannedCheck(version, False, "nobody has looked at it")
    return PlannedCheck(version, False, f"last looked at on {proof.looked_at:%Y-%m-%d}")


def _drills(candidates: Sequence[Candidate], budget: Budget) -> tuple[Version, ...]:
    """Newest versions of different tables, those of tables that were never drilled first, then the longest without."""
    drilled: dict[TableRef, datetime] = {}
    for c in candidates:
        if c.proof.drilled_at is not None:
            table = c.version.unit.table
            drilled[table] = max(c.proof.drilled_at, drilled.get(table, c.proof.drilled_at))
    fit = [c for c in candidates if c.is_newest and not c.proof.is_bad and _can_be_restored_alone(c.version)]
    fit.sort(key=lambda c: (c.version.unit.table in drilled, _drilled_at(c, drilled), c.version.unit.sort_key))
    chosen: dict[TableRef, Version] = {}
    left = budget.size_bytes / 2
    for candidate in fit:
        table, cost = candidate.version.unit.table, _cost(candidate.version, reads=2)
        if len(chosen) < budget.drills and table not in chosen and cost <= left:
            chosen[table] = candidate.version
            left -= cost
    return tuple(chosen.values())


def _drilled_at(candidate: Candidate, drilled: dict[TableRef, datetime]) -> datetime:
    return drilled.get(candidate.version.unit.table, candidate.looked_at)


def _can_be_restored_alone(version: Version) -> bool:
    return version.unit.partition not in SPECIAL_PARTITIONS and (version.rows or 0) > 0


def _cost(version: Version, *, reads: int) -> int:
    return reads * max(LEAST_BILLED, version.size_bytes or 0)
