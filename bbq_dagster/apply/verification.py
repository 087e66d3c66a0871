"""Carry out a verification plan: read, compare, record.

Nothing is changed but the record, so a run may stop anywhere: what it had recorded counts, the rest is planned anew.
What a query would read is asked for first, and BigQuery is told to refuse more; with no budget left nothing is read.
One version that cannot be read stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, islice
from threading import Lock

from bbq_dagster.apply.drill import drill
from bbq_dagster.apply.pace import Runtime
from bbq_dagster.core.catalog import Event
from bbq_dagster.core.fingerprint import Fingerprint, Question, TableLayout, layout_difference
from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.verification import Evidence, NotNow, PlannedCheck, VerificationPlan, VerificationStep, judge
from bbq_dagster.core.verification_record import How, Outcome, Verified, stored_fingerprint, verified
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import counted, section, size
from bbq_dagster.errors import BbqError, Transient
from bbq_dagster.warehouse.port import Catalog, Warehouse

STEPS_PER_BATCH = 16
"""Backup tables that are read before a batch is recorded, by one load job."""

MOST_THREADS = 8

_SAYS_IT_IS_GONE = frozenset({"notFound", "invalid", "invalidQuery"})
"""A table, or its past, that is not there; and columns that cannot be read any more as they were (BigQuery:
error-messages). Any other error says nothing of the source."""

RestoreDrill = Callable[[Version], RestorePlan]
"""Plans the restore of a version into its scratch dataset."""

ApplyRestore = Callable[[RestorePlan], str]
"""Restores; gives the errors as text, nothing where there were none."""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What was found, and what had to wait after all because a query would have read more than was left."""

    run_id: str
    found: tuple[Verified, ...] = ()
    waiting: tuple[NotNow, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing differs, and everything that was tried could be looked at."""
        return not any(one.outcome in (Outcome.DIFFERS, Outcome.COULD_NOT) for one in self.found)

    @property
    def bytes_scanned(self) -> int:
        return sum(one.bytes_scanned for one in self.found)

    def of(self, outcome: Outcome) -> list[Verified]:
        return [one for one in self.found if one.outcome is outcome]

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.of(outcome)):,} {outcome}" for outcome in Outcome)
        return "\n".join(
            [
                f"run {self.run_id}: {counts}; {size(self.bytes_scanned)} read",
                *section("differ from what was copied", map(str, self.of(Outcome.DIFFERS)), limit=None),
                *section("could not be verified", map(str, self.of(Outcome.COULD_NOT)), limit=None),
                *section("restored as a drill", map(_drill_line, self._drills), limit=None),
            ]
        )

    @property
    def _drills(self) -> list[Verified]:
        return [one for one in self.found if one.how is How.DRILL]


def apply_verification(
    plan: VerificationPlan,
    warehouse: Warehouse,
    catalog: Catalog,
    *,
    run_id: str,
    clock: Callable[[], datetime],
    scratch_project: str,
    plan_drill: RestoreDrill,
    restore: ApplyRestore,
    threads: int = MOST_THREADS,
    runtime: Runtime | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> VerificationReport:
    """Verify what the plan names, then restore its drills. Raises what the catalog raises."""
    runtime = runtime or Runtime()
    reader = _Reader(warehouse, _Purse(plan.budget.size_bytes))
    found: list[Verified] = []
    waiting: list[NotNow] = []
    remaining = plan.steps
    with runtime.executor(min(threads, MOST_THREADS)) as pool:
        while batch := list(islice(remaining, STEPS_PER_BATCH)):
            stored = _stored_fingerprints(catalog, [check.version for step in batch for check in step.checks])
            ends = list(pool.map(lambda step, stored=stored: reader.verify(step, stored), batch))
            now_found = [one for end in ends for one in end if isinstance(one, Verified)]
            waiting += [one for end in ends for one in end if isinstance(one, NotNow)]
            catalog.append([verified(one, at=clock(), run_id=run_id) for one in now_found])
            found += now_found
            on_progress(f"{counted(len(found), 'version')} of {len(plan.checks):,}")
    for version in plan.drills:
        drilled = drill(
            version,
            _stored_fingerprints(catalog, [version]).get(version.version_id),
            warehouse,
            into=scratch_project,
            plan_drill=plan_drill,
            restore=restore,
            runtime=runtime,
        )
        catalog.append([verified(drilled, at=clock(), run_id=run_id)])
        found.append(drilled)
        on_progress(_drill_line(drilled))
    return VerificationReport(run_id, tuple(found), tuple(waiting))


class _Purse:
    """The bytes that are left of a budget, shared by the threads of a run."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes
        self._lock = Lock()

    def pay(self, size_bytes: int) -> bool:
        with self._lock:
            if size_bytes > self._left:
                return False
            self._left -= size_bytes
            return True


class _TooDear(Exception):
    """A query would read more than is left of the budget."""


class _Reader:
    """Reads versions and their sources within a budget."""

    def __init__(self, warehouse: Warehouse, purse: _Purse) -> None:
        self._warehouse, self._purse = warehouse, purse

    def verify(self, step: VerificationStep, stored: Mapping[str, Fingerprint]) -> list[Verified | NotNow]:
        """What is found of each version of a backup table."""
        partitions = tuple(check.version.unit.partition for check in step.checks)
        try:
            layout = self._warehouse.table_layout(step.backup)
            if layout is None:
                return [_found(check, Evidence(None)) for check in step.checks]
            copies, scanned = self._read(Question(step.backup, step.location, layout, partitions))
        except _TooDear as error:
            return [NotNow(check.version, str(error)) for check in step.checks]
        except BbqError as error:
            return [_not_looked_at(check, str(error)) for check in step.checks]
        ends = list(self._compare(step, layout, copies, stored))
        return _with_cost(ends, scanned)

    def _compare(
        self,
        step: VerificationStep,
        layout: TableLayout,
        copies: Mapping[str | None, Fingerprint],
        stored: Mapping[str, Fingerprint],
    ) -> Iterator[Verified]:
        """The versions that were captured at one instant are compared with their source by one query."""
        by_instant = sorted(step.checks, key=lambda check: check.version.captured_at)
        for _, together in groupby(by_instant, key=lambda check: check.version.captured_at):
            checks = list(together)
            asked = [c for c in checks if c.with_source and c.version.version_id not in stored]
            try:
                sources = self._sources(asked, layout) if asked else _Sources()
            except BbqError as error:
                # Within the time travel the source can be had another day: no reason to take the copy's word for it.
                yield from (_not_looked_at(check, f"its source could not be read: {error}") for check in asked)
                checks, sources = [check for check in checks if check not in asked], _Sources()
            for check in checks:
                version = check.version
                evidence = Evidence(
                    copy=copies.get(version.unit.partition, Fingerprint.of_nothing(layout)),
                    stored=stored.get(version.version_id),
                    source=sources.of(check),
                    flaw=sources.flaw,
                )
                yield replace(_found(check, evidence), bytes_scanned=sources.share_of(check))

    def _sources(self, checks: Sequence[PlannedCheck], copy: TableLayout) -> _Sources:
        """The sources of versions of one table and instant, as they were then, or why they cannot be had.

        Raises every error that does not say so: what may pass, or is hidden from us, is not gone.
        """
        version = checks[0].version
        ids = frozenset(check.version.version_id for check in checks)
        try:
            layout = self._warehouse.table_layout(version.unit.table)
            if layout is None:
                return _Sources(ids, gone="it is not there any more")
            if layout.created_at is not None and layout.created_at > version.captured_at:
                return _Sources(ids, gone="another table has its name now")
            if (other := layout_difference(copy, layout)) is not None:
                if layout.modified_at is not None and layout.modified_at < version.captured_at:
                    return _Sources(ids, flaw=str(other))
                return _Sources(ids, gone=f"{other.words}; they may have changed since")
            partitions = tuple(check.version.unit.partition for check in checks)
            question = Question(version.unit.table, version.location, layout, partitions, as_of=version.captured_at)
            read, scanned = self._read(question)
        except _TooDear as error:
            return _Sources(ids, gone=str(error))
        except BbqError as error:
            if isinstance(error, Transient) or error.reason not in _SAYS_IT_IS_GONE:
                raise
            return _Sources(ids, gone=str(error))
        return _Sources(ids, read, nothing=Fingerprint.of_nothing(layout), scanned=scanned)

    def _read(self, question: Question) -> tuple[Mapping[str | None, Fingerprint], int]:
        would_read = self._warehouse.scan_bytes(question)
        if not self._purse.pay(would_read):
            raise _TooDear(f"its query would read {size(would_read)}, more than is left of the day's budget")
        return self._warehouse.fingerprints(question, at_most=would_read)


@dataclass(frozen=True, slots=True)
class _Sources:
    """What was found of the sources of some versions: all of them are of one table, at one instant."""

    ids: frozenset[str] = frozenset()
    read: Mapping[str | None, Fingerprint] | None = None
    nothing: Fingerprint | None = None
    gone: str = "it is too long ago to read its source as it was"
    flaw: str = ""
    scanned: int = 0

    def of(self, check: PlannedCheck) -> Fingerprint | str:
        if check.version.version_id not in self.ids or self.read is None or self.nothing is None:
            return self.gone
        return self.read.get(check.version.unit.partition, self.nothing)

    def share_of(self, check: PlannedCheck) -> int:
        return self.scanned // len(self.ids) if check.version.version_id in self.ids else 0


def _found(check: PlannedCheck, evidence: Evidence) -> Verified:
    outcome, how, reason = judge(check.version, evidence)
    return Verified(check.version, outcome, how, reason, evidence.copy)


def _not_looked_at(check: PlannedCheck, error: str) -> Verified:
    how = How.SOURCE if check.with_source else How.FINGERPRINT
    return Verified(check.version, Outcome.COULD_NOT, how, error)


def _with_cost(found: Sequence[Verified], scanned: int) -> list[Verified | NotNow]:
    """What one query read, in equal parts, the rest with the first."""
    part, rest = divmod(scanned, len(found))
    return [
        replace(one, bytes_scanned=one.bytes_scanned + part + (rest if place == 0 else 0))
        for place, one in enumerate(found)
    ]


def _stored_fingerprints(catalog: Catalog, versions: Iterable[Version]) -> dict[str, Fingerprint]:
    events: dict[str, list[Event]] = {}
    for event in catalog.events_of_versions(version.version_id for version in versions):
        events.setdefault(event.version_id or "", []).append(event)
    found = {identity: stored_fingerprint(of_one) for identity, of_one in events.items()}
    return {identity: fingerprint for identity, fingerprint in found.items() if fingerprint is not None}


def _drill_line(drilled: Verified) -> str:
    return f"{drilled.version.unit}: {drilled.outcome} after {drilled.milliseconds / 1000:,.1f} s: {drilled.reason}"
