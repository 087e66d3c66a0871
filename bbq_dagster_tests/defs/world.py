"""A small world for Dagster's side: the fakes of the ports with a scene of a few tables, and the settings for them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from bbq_dagster.core.catalog import Event
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy, DatasetRecord
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError, Permanent
from bbq_dagster.settings import CatalogSettings, Limits, Settings, Source
from bbq_dagster.stack import Stack
from bbq_dagster.warehouse.port import JobRef
from bbq_dagster_tests.fakes import FakeCatalog, FakeClock, FakeWarehouse

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SALES = DatasetRef("acme-shop", "sales")


class _BySource(FakeWarehouse):
    """Remembers and fails copies by what is copied, as the tests here do not care where to."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.copied: dict[JobRef, Unit] = {}
        self.faults: dict[Unit, BbqError] = {}

    def start_copy(self, copy: Copy, job: JobRef) -> None:
        if copy.source in self.faults and job not in self.copied:
            self.fail_jobs_into(copy.destination, self.faults[copy.source])
        self.copied.setdefault(job, copy.source)
        super().start_copy(copy, job)


class World:
    """What is in the warehouse and in the catalog, an hour before ``NOW``.

    ``faults`` are the errors of copies, by source unit.
    """

    def __init__(self) -> None:
        self.clock = FakeClock(NOW - timedelta(hours=1))
        self.warehouse = _BySource(self.clock)
        self.catalog = FakeCatalog()
        self.faults = self.warehouse.faults
        self._datasets: set[DatasetRef] = set()
        self._tables: set[TableRef] = set()

    def put(self, *names: str, rows: int = 10) -> None:
        """Write into tables and partitions, ``project.dataset.key``, which are made where they are not there."""
        for unit in map(Unit.parse, names):
            self._make(unit)
            self.warehouse.write(unit, rows=rows)

    def _make(self, unit: Unit) -> None:
        if unit.table.in_dataset not in self._datasets:
            self.warehouse.create_dataset(unit.table.in_dataset)
        if unit.table not in self._tables and unit.partition:
            self.warehouse.create_partitioned_table(unit.table, {})
        elif unit.table not in self._tables:
            self.warehouse.create_table(unit.table)
        self._datasets.add(unit.table.in_dataset)
        self._tables.add(unit.table)

    def deny_listing(self, dataset: DatasetRef) -> None:
        self.warehouse.calls.fail_next("list_tables", denied(f"dataset {dataset}"), about=dataset, times=100)

    def lose_next_versions(self) -> None:
        """The next versions cannot be recorded."""
        error = Permanent("the catalog is not there")
        self.catalog.calls.fail_next("append", error, about="version_created")

    def pass_time(self, *, days: int = 0, hours: int = 0, minutes: int = 0) -> None:
        self.clock.sleep(86400 * days + 3600 * hours + 60 * minutes)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def copies(self) -> list[str]:
        """The sources of all copy jobs that were started, in order of their names within a run."""
        return [str(unit) for unit in self.warehouse.copied.values()]

    @property
    def events(self) -> list[Event]:
        return self.catalog.events

    @property
    def record(self) -> DatasetRecord:
        return self.catalog.records([SALES])[SALES]


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
            return Stack(settings, world.warehouse, world.catalog, world.clock.now)

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
