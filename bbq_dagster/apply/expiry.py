"""Carry out a retention plan: mark, delete, confirm.

The order is the safety; whatever line a run stops at, the next run finishes its work:

1. Mark a batch of versions in the catalog. From here on nobody relies on them, and the next plan finishes them.
2. Delete their places. One that is not there is deleted already.
3. Confirm what was deleted. A version that is not confirmed is still on record, and its place is asked for once more.

A place that cannot be deleted leaves its versions as they are and stops no other one. Holds are read before every
batch: one that was placed after the plan was made counts too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bbq_dagster.apply.pace import Runtime, TokenBucket
from bbq_dagster.core.holds import Holds
from bbq_dagster.core.retention import Deletion, RetentionPlan
from bbq_dagster.core.retention_record import deletion_planned, hold_of, version_deleted
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.wording import counted, size
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import Catalog, Warehouse

BATCH_VERSIONS = 500
"""A batch is marked and confirmed by one load job each, and a stop leaves so many versions marked."""


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """A place that is still there, as far as is known, with the versions that it holds, and why."""

    place: Unit
    versions: tuple[StoredVersion, ...]
    error: str


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What was deleted and confirmed, what could not be deleted, and what a new hold protected."""

    run_id: str
    digest: str
    deleted: tuple[StoredVersion, ...] = ()
    failures: tuple[NotDeleted, ...] = ()
    held: tuple[NotDeleted, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def bytes_freed(self) -> int:
        return sum(version.size_bytes or 0 for version in self.deleted)

    def __str__(self) -> str:
        lines = [
            f"run {self.run_id}, plan {self.digest}: {counted(len(self.deleted), 'version')} deleted,"
            f" {size(self.bytes_freed)} freed; {counted(len(self.failures), 'place')} could not be deleted"
        ]
        lines += [f"  {failure.place}: {failure.error}" for failure in self.failures]
        lines += [f"  {item.place}: kept, {item.error}" for item in self.held]
        return "\n".join(lines)


def apply_retention(
    plan: RetentionPlan,
    warehouse: Warehouse,
    catalog: Catalog,
    *,
    run_id: str,
    clock: Callable[[], datetime],
    approved: str | None = None,
    threads: int = 8,
    requests_per_second: float = 90,
    batch_versions: int = BATCH_VERSIONS,
    runtime: Runtime | None = None,
) -> RetentionReport:
    """Delete what ``plan`` lets go. Raises ``Refused`` where it is not the approved one, or needs approval.

    Raises what the catalog raises: without a record nothing is deleted.
    """
    plan.refuse_unless_approved(approved)
    runtime = runtime or Runtime()
    bucket = TokenBucket(rate=requests_per_second)
    reasons = {fate.version.version_id: fate.why for fate in plan.expired}
    ends: list[_End] = []
    with runtime.executor(threads) as pool:

        def delete(deletion: Deletion) -> Callable[[], str]:
            runtime.sleep(max(0.0, bucket.take(runtime.monotonic()) - runtime.monotonic()))
            return pool.submit(_delete, warehouse, deletion.place).result

        for batch in _batches(plan.deletions, batch_versions):
            free, protected = _without_held(batch, catalog, clock())
            ends += protected
            versions = [version for deletion in free for version in deletion.versions]
            catalog.append([deletion_planned(v, reasons[v.version_id], at=clock(), run_id=run_id) for v in versions])
            waiting = [(deletion, delete(deletion)) for deletion in free]
            done = [_End(deletion, error=result()) for deletion, result in waiting]
            gone = [version for end in done if end.is_deleted for version in end.deletion.versions]
            catalog.append([version_deleted(v, reasons[v.version_id], at=clock(), run_id=run_id) for v in gone])
            ends += done
    return _report(run_id, plan.digest, ends)


@dataclass(frozen=True, slots=True)
class _End:
    deletion: Deletion
    error: str = ""
    held: str = ""

    @property
    def is_deleted(self) -> bool:
        return not (self.error or self.held)


def _delete(warehouse: Warehouse, place: Unit) -> str:
    """The warehouse's message where it cannot be deleted, else nothing."""
    try:
        if place.partition is None:
            warehouse.delete_table(place.table)
        else:
            warehouse.delete_partition(place)
    except BbqError as error:
        return str(error)
    return ""


def _without_held(batch: Iterable[Deletion], catalog: Catalog, now: datetime) -> tuple[list[Deletion], list[_End]]:
    holds = Holds(map(hold_of, catalog.holds()), now)
    free, protected = [], []
    for deletion in batch:
        reasons = [reason for version in deletion.versions for reason in holds.reasons(version)]
        if reasons:
            protected.append(_End(deletion, held="; ".join(dict.fromkeys(reasons))))
        else:
            free.append(deletion)
    return free, protected


def _batches(deletions: Sequence[Deletion], most: int) -> Iterator[list[Deletion]]:
    """A place is never split: what is in it is marked together."""
    batch: list[Deletion] = []
    held = 0
    for deletion in deletions:
        if batch and held + len(deletion.versions) > most:
            yield batch
            batch, held = [], 0
        batch.append(deletion)
        held += len(deletion.versions)
    if batch:
        yield batch


def _report(run_id: str, digest: str, ends: Sequence[_End]) -> RetentionReport:
    return RetentionReport(
        run_id,
        digest,
        deleted=tuple(version for end in ends if end.is_deleted for version in end.deletion.versions),
        failures=tuple(NotDeleted(e.deletion.place, e.deletion.versions, e.error) for e in ends if e.error),
        held=tuple(NotDeleted(e.deletion.place, e.deletion.versions, e.held) for e in ends if e.held),
    )
