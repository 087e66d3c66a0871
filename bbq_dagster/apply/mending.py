"""Carry out what makes the catalog and the backup project agree again: a repair, a rebuild, an adoption.

Nothing is deleted, whatever is found: copies get a record, records learn that their copy is gone, copies are let live.
The order is the safety; a run that stops is finished by the next one, which finds what is left:

* A repair removes expirations before anything else: these copies are in danger.
* A rebuild places holds before it records versions, so that no retention decides on them before somebody has looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bbq_dagster.core.catalog import Event, version_found
from bbq_dagster.core.drift import Adopt, Drift, LetLive, MarkLost
from bbq_dagster.core.original import AdoptionPlan
from bbq_dagster.core.rebuild import RebuildPlan, holds_for
from bbq_dagster.core.retention_record import held, hold_of, version_deleted, version_lost
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import counted
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import Catalog, Warehouse

LOST = "lost: its copy was not there when the catalog was checked"
"""The reason of a ``version_deleted`` that nobody asked for."""

BATCH_EVENTS = 10_000
"""One load job each."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was adopted, recorded as lost, let live, and what still expires, with why."""

    run_id: str
    adopted: tuple[Version, ...] = ()
    lost: tuple[StoredVersion, ...] = ()
    let_live: tuple[TableRef, ...] = ()
    failures: dict[TableRef, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failures

    def __str__(self) -> str:
        return "\n".join(
            [
                f"run {self.run_id}: {counted(len(self.adopted), 'version')} adopted, {len(self.lost):,} recorded as"
                f" lost, {counted(len(self.let_live), 'backup table')} let live, {len(self.failures):,} still expire",
                *(f"  {table}: {error}" for table, error in self.failures.items()),
            ]
        )


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What was recorded anew, and which datasets are held until somebody has looked."""

    run_id: str
    versions: tuple[Version, ...]
    held: tuple[DatasetRef, ...]

    def __str__(self) -> str:
        return (
            f"run {self.run_id}: {counted(len(self.versions), 'version')} recorded;"
            f" {counted(len(self.held), 'dataset')} held until released"
        )


def apply_repair(
    drift: Drift,
    warehouse: Warehouse,
    catalog: Catalog,
    *,
    run_id: str,
    clock: Callable[[], datetime],
    approved: str,
) -> RepairReport:
    """Do what the findings' remedies say. Raises ``Refused`` where it is not what was approved.

    A copy that cannot be let live stops nothing. Raises what the catalog raises.
    """
    drift.refuse_unless_approved(approved)
    remedies = drift.remedies
    expiring = [remedy.table for remedy in remedies if isinstance(remedy, LetLive)]
    failures = {table: error for table in expiring if (error := _let_live(warehouse, table))}
    adopted = [version for remedy in remedies if isinstance(remedy, Adopt) for version in remedy.versions]
    lost = [remedy for remedy in remedies if isinstance(remedy, MarkLost)]
    at = clock()
    _append(
        catalog,
        [
            *(version_found(version, at=at, run_id=run_id) for version in adopted),
            *(version_deleted(gone.version, LOST, at=at, run_id=run_id) for gone in lost),
            *(version_lost(gone.version, LOST, at=at, run_id=run_id) for gone in lost if gone.is_newest),
        ],
    )
    let_live = tuple(table for table in expiring if table not in failures)
    return RepairReport(run_id, tuple(adopted), tuple(gone.version for gone in lost), let_live, failures)


def apply_rebuild(
    plan: RebuildPlan, catalog: Catalog, *, run_id: str, clock: Callable[[], datetime], approved: str
) -> RebuildReport:
    """Record what the plan has, held. Raises ``Refused`` where it is another plan, and what the catalog raises."""
    plan.refuse_unless_approved(approved)
    catalog.prepare_anew()
    at = clock()
    holds = holds_for(plan, map(hold_of, catalog.holds()), at=at)
    about = {f"{dataset}.*": dataset for dataset in plan.datasets}
    _append(catalog, [held(hold, about[hold.target], run_id=run_id) for hold in holds])
    _append(catalog, [version_found(version, at=at, run_id=run_id) for version in plan.versions])
    return RebuildReport(run_id, plan.versions, tuple(about[hold.target] for hold in holds))


def apply_adoption(
    plan: AdoptionPlan, catalog: Catalog, *, run_id: str, clock: Callable[[], datetime], approved: str
) -> tuple[Version, ...]:
    """Record what the original BBQ has made. Raises as ``apply_rebuild`` does."""
    plan.refuse_unless_approved(approved)
    catalog.prepare()
    at = clock()
    _append(catalog, [version_found(version, at=at, run_id=run_id) for version in plan.versions])
    return plan.versions


def _let_live(warehouse: Warehouse, table: TableRef) -> str:
    """The warehouse's message where it still expires, else nothing."""
    try:
        warehouse.remove_expirations(table)
    except BbqError as error:
        return str(error)
    return ""


def _append(catalog: Catalog, events: Sequence[Event]) -> None:
    for batch in _batches(events):
        catalog.append(batch)


def _batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    for start in range(0, len(events), BATCH_EVENTS):
        yield events[start : start + BATCH_EVENTS]
