"""What is written down of a verification, and what is read back: the proof of each version.

From values to values. The newest word on a version counts; a verification that could not look says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bbq_dagster.core.catalog import Event, EventKind, event_about
from bbq_dagster.core.fingerprint import METHOD, Fingerprint
from bbq_dagster.core.versions import Version


class Outcome(StrEnum):
    """What a verification found.

    * ``PROVEN``: the version has what was copied, or what it had when it was first looked at.
    * ``DIFFERS``: it has not. Such a version is bad: it is no replacement for a good one.
    * ``SOURCE_GONE``: it can be read and has its rows, and there is nothing any more to compare it with. What it holds
      now is what it will be compared with.
    * ``COULD_NOT``: it was not looked at, or not for certain.
    """

    PROVEN = "proven"
    DIFFERS = "differs"
    SOURCE_GONE = "source_gone"
    COULD_NOT = "could_not"


class How(StrEnum):
    """What a version was compared with."""

    SOURCE = "source"
    FINGERPRINT = "fingerprint"
    DRILL = "drill"


@dataclass(frozen=True, slots=True)
class Verified:
    """One version after one verification, with the reason in words. ``milliseconds`` of a drill: of its restore."""

    version: Version
    outcome: Outcome
    how: How
    reason: str
    fingerprint: Fingerprint | None = None
    bytes_scanned: int = 0
    milliseconds: int = 0

    def __str__(self) -> str:
        return f"{self.version.version_id} of {self.version.unit}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Proof:
    """What is on record of a version.

    * ``looked_at``: the last verification, whatever it found. ``last_proven_at``: the last that proved it.
    * ``drilled_at``: the last time that it was restored and compared. ``drill_took``: the last restore that succeeded.
    * ``flaw``: how it differs, by the newest word on it; empty where it does not.
    * ``has_fingerprint``: one is on record, so that the source is not needed any more.
    """

    version_id: str
    looked_at: datetime | None = None
    last_proven_at: datetime | None = None
    drilled_at: datetime | None = None
    drill_took: timedelta | None = None
    flaw: str = ""
    has_fingerprint: bool = False

    @property
    def is_bad(self) -> bool:
        return bool(self.flaw)


def verified(found: Verified, *, at: datetime, run_id: str) -> Event:
    """A version was verified, or could not be."""
    version = found.version
    return replace(
        event_about(EventKind.VERIFIED, version.unit, version.backup.table, at=at, run_id=run_id),
        location=version.location,
        reason=found.reason,
        version_id=version.version_id,
        captured_at=version.captured_at,
        row_count=None if found.fingerprint is None else found.fingerprint.rows,
        outcome=found.outcome.value,
        how=found.how.value,
        fingerprint=None if found.fingerprint is None else str(found.fingerprint),
        bytes_scanned=found.bytes_scanned,
        duration_ms=found.milliseconds,
    )


def fold_proofs(events: Iterable[Event]) -> dict[str, Proof]:
    """The proof of each version that these events are about, in any order."""
    proofs: dict[str, Proof] = {}
    for event in sorted(events, key=lambda event: event.recorded_at):
        if event.event is EventKind.VERIFIED:
            identity = event.version_id or ""
            proofs[identity] = _after(proofs.get(identity, Proof(identity)), event)
    return proofs


def stored_fingerprint(events: Iterable[Event]) -> Fingerprint | None:
    """What a version was first found to hold, of its events in any order; None where nobody looked.

    The first one: each later one that proved it is the same, and those that differed do not count.
    """
    kept = [
        event
        for event in events
        if event.event is EventKind.VERIFIED
        and event.outcome in (Outcome.PROVEN, Outcome.SOURCE_GONE)
        and event.fingerprint is not None
    ]
    for event in sorted(kept, key=lambda event: event.recorded_at):
        found = Fingerprint.parse(event.fingerprint or "")
        if found.method == METHOD:
            return found
    return None


def _after(proof: Proof, event: Event) -> Proof:
    at, outcome = event.recorded_at, Outcome(event.outcome or "")
    proof = replace(proof, looked_at=at)
    if event.how == How.DRILL:
        proof = replace(proof, drilled_at=at)
        if event.duration_ms:
            proof = replace(proof, drill_took=timedelta(milliseconds=event.duration_ms))
    match outcome:
        case Outcome.PROVEN:
            return replace(proof, last_proven_at=at, flaw="", has_fingerprint=True)
        case Outcome.SOURCE_GONE:
            return replace(proof, flaw="", has_fingerprint=True)
        case Outcome.DIFFERS:
            return replace(proof, flaw=event.reason or outcome.value)
    return proof
