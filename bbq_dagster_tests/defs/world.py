"""A small world for Dagster's side: two tables and two partitions in memory, behind the ports, and Dagster around it.

The plan, the copying and the record are the real ones; only what is beyond the ports is made up.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from bbq_dagster.core.catalog import Event, EventKind, fold_record
from bbq_dagster.core.inventory import Dataset, SourceTable, State, UnitState
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy, DatasetRecord, Version
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError, Permanent
from bbq_dagster.settings import CatalogSettings, Limits, Settings, Source
from bbq_dagster.stack import Stack
from bbq_dagster.warehouse.port import BackupTableFacts, CopyStatus, JobRef

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SALES = DatasetRef("acme-shop", "sales")


@dataclass
class World:
    """What is in the warehouse and in the catalog. ``faults`` are the errors of copies, by source unit."""

    now: datetime = NOW
    sources: dict[DatasetRef, dict[Unit, State]] = field(default_factory=dict)
    copied: dict[JobRef, tuple[Copy, datetime]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    faults: dict[Unit, BbqError] = field(default_factory=dict)
    unlistable: dict[DatasetRef, BbqError] = field(default_factory=dict)
    catalog_faults: list[BbqError] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def put(self, *names: str, rows: int = 10, modified_at: datetime | None = None) -> None:
        """Write into units, by ``project.dataset.key``."""
        for unit in map(Unit.parse, names):
            states = self.sources.setdefault(unit.table.in_dataset, {})
            states[unit] = State(rows, rows * 8, modified_at or self.now - timedelta(hours=1))

    def pass_time(self, **amount: float) -> None:
        self.now += timedelta(**amount)

    @property
    def copies(self) -> list[str]:
        """The sources of all copy jobs that ran, in order."""
        return [str(copy.source) for copy, _ in self.copied.values()]

    # The warehouse

    def list_datasets(self, project: str) -> list[Dataset]:
        self.calls.append("list_datasets")
        return [Dataset(ref, "EU") for ref in self.sources if ref.project == project]

    def table_states(self, project: str, location: str) -> Mapping[TableRef, State]:
        return {
            table: _sum(states, table)
            for ref, states in self.sources.items()
            if ref.project == project
            for table in {unit.table for unit in states}
        }

    def list_tables(self, dataset: Dataset, states: Mapping[TableRef, State]) -> list[SourceTable]:
        if dataset.ref in self.unlistable:
            raise self.unlistable[dataset.ref]
        partitioned = {unit.table for unit in self.sources[dataset.ref] if unit.partition}
        return [
            SourceTable(
                table,
                "BASE TABLE",
                NOW - timedelta(days=100),
                columns=3,
                state=states[table],
                partition_column="day" if table in partitioned else None,
                partition_type="DATE" if table in partitioned else None,
            )
            for table in {unit.table for unit in self.sources[dataset.ref]}
        ]

    def list_partitions(self, dataset: Dataset, tables: Sequence[TableRef]) -> Iterator[UnitState]:
        states = self.sources[dataset.ref].items()
        return (UnitState(unit, state) for unit, state in states if unit.table in tables)

    def ensure_dataset(self, ref: DatasetRef, *, location: str, description: str) -> None: ...

    def create_table_like(self, source: TableRef, destination: TableRef, *, description: str) -> None: ...

    def start_copy(self, copy: Copy, job: JobRef) -> None:
        self.copied.setdefault(job, (copy, self.now))

    def copy_statuses(self, jobs: Collection[JobRef]) -> Mapping[JobRef, CopyStatus]:
        return {job: self._status(*self.copied[job]) for job in jobs if job in self.copied}

    def _status(self, copy: Copy, started_at: datetime) -> CopyStatus:
        if error := self.faults.get(copy.source):
            return CopyStatus(True, started_at, error=error)
        states = [unit.state for unit in copy.units]
        rows = sum(state.rows or 0 for state in states)
        return CopyStatus(True, started_at, rows=rows, size_bytes=rows * 8)

    def backup_tables(
        self, dataset: DatasetRef, location: str, tables: Collection[str]
    ) -> Mapping[str, BackupTableFacts]:
        facts: dict[str, dict[str | None, State]] = {}
        for copy, _ in self.copied.values():
            if copy.destination.table.in_dataset == dataset and copy.source not in self.faults:
                held = facts.setdefault(copy.destination.table.table, {})
                held.update({unit.unit.partition: unit.state for unit in copy.units})
        return {table: BackupTableFacts(held) for table, held in facts.items() if table in tables}

    def remove_expirations(self, table: TableRef) -> None: ...

    # The catalog

    def prepare(self) -> None: ...

    def records(self, datasets: Collection[DatasetRef] | None) -> Mapping[DatasetRef, DatasetRecord]:
        refs = {_dataset_of(event) for event in self.events} if datasets is None else set(datasets)
        return {ref: fold_record(event for event in self.events if _dataset_of(event) == ref) for ref in refs}

    def copy_jobs_since(self, since: datetime) -> int:
        return 0

    def append(self, events: Sequence[Event]) -> None:
        if self.catalog_faults and any(event.event is EventKind.VERSION_CREATED for event in events):
            raise self.catalog_faults.pop()
        self.events.extend(events)

    def versions(self, tables: Iterable[TableRef]) -> list[Version]:
        raise NotImplementedError

    def history(self, datasets: Collection[DatasetRef] | None, *, limit: int) -> list[Event]:
        raise NotImplementedError


def _sum(states: Mapping[Unit, State], table: TableRef) -> State:
    of_table = [state for unit, state in states.items() if unit.table == table]
    rows = sum(state.rows or 0 for state in of_table)
    return State(rows, rows * 8, max(state.modified_at for state in of_table if state.modified_at))


def _dataset_of(event: Event) -> DatasetRef:
    return DatasetRef(event.source_project, event.source_dataset)


def settings_in(folder: Path, **limits: int) -> Settings:
    return Settings(
        endpoint=None,
        credentials="anonymous",
        backup_project="acme-backup",
        catalog=CatalogSettings("bbq_catalog", "EU"),
        sources=(Source("acme-shop"),),
        limits=replace(Limits(), **limits),
        state_dir=folder,
        path=folder / "bbq.yaml",
    )


def resource_of(world: World, settings: Settings) -> BbqResource:
    """The resource on ``world`` and its clock."""

    class InMemory(BbqResource):
        def stack(self) -> Stack:
            return Stack(settings, world, world, lambda: world.now)

        def now(self) -> datetime:
            return world.now

    return InMemory()


def denied(what: str) -> Permanent:
    return Permanent(f"Access Denied: {what}", reason="accessDenied")


def statuses(instance: dg.DagsterInstance, key: dg.AssetKey, partitions: dg.PartitionsDefinition) -> dict[str, str]:
    """What the Partitions tab of an asset shows, by key; partitions that show nothing are left out."""
    keys = instance.get_dynamic_partitions(str(partitions.name))
    shown = instance.get_status_by_partition(key, keys, partitions) or {}
    return {partition: status.value for partition, status in shown.items() if status is not None}
