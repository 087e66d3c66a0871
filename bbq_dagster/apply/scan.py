"""Look at a source project: its datasets, what they hold, and what the catalog says of them.

Gathers and decides nothing: scope, changes and reasons are the core's. A day without changes costs one listing of
datasets, one query per location, one query per dataset, and one query of the catalog, whatever the number of tables.
What moved costs a query of the catalog per 5,000 such tables, and one of their partitions per dataset and 1,000.

A dataset that cannot be looked at is named in ``failures`` and stops no other one, and so is a project.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeVar

from bbq_dagster.core.changes import (
    STREAMING_WAIT,
    DatasetChanges,
    dataset_is_gone,
    detect_changes,
    needs_partition_list,
    tables_to_read,
)
from bbq_dagster.core.inventory import Dataset, Inventory, State, take_inventory
from bbq_dagster.core.plan import DatasetFailure, ProjectFailure
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import DatasetRecord
from bbq_dagster.errors import BbqError, Permanent, Refused
from bbq_dagster.warehouse.port import Catalog, Warehouse

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scope:
    """What is left out: the reason for a dataset or a table, None where it is looked at.

    ``streaming_wait``: how long rows of a table in the streaming buffer may keep a copy waiting.
    """

    excluded_dataset: Callable[[DatasetRef], str | None] = lambda _: None
    excluded_table: Callable[[TableRef], str | None] = lambda _: None
    streaming_wait: Callable[[TableRef], timedelta] = lambda _: STREAMING_WAIT


class ScannedDataset(NamedTuple):
    """A dataset compared with its record, as ``plan_backup`` takes it."""

    changes: DatasetChanges
    record: DatasetRecord


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far the look at one project is. ``doing`` is what is done with each of its datasets now."""

    project: str
    doing: str
    datasets_done: int
    datasets: int
    tables: int

    def __str__(self) -> str:
        done = f"{self.datasets_done:,} of {self.datasets:,} datasets"
        return f"{self.project}: {self.doing}, {done}, {self.tables:,} tables"


@dataclass(frozen=True, slots=True)
class ProjectScan:
    """The datasets of a project, each looked at, failed or skipped. ``skipped`` has the reason of each."""

    datasets: tuple[ScannedDataset, ...] = ()
    failures: tuple[DatasetFailure, ...] = ()
    skipped: tuple[tuple[DatasetRef, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SourceScan:
    """The datasets of several projects, and the projects that could not be looked at."""

    datasets: tuple[ScannedDataset, ...] = ()
    failures: tuple[DatasetFailure, ...] = ()
    projects_failed: tuple[ProjectFailure, ...] = ()


def scan_projects(
    wanted: Mapping[str, Collection[DatasetRef] | None],
    scan: Callable[[str, Collection[DatasetRef] | None], ProjectScan],
) -> SourceScan:
    """Look at each project, or only at the datasets that are named for it, by ``scan``.

    Raises the error of the first project where every one of them fails.
    """
    scans: list[ProjectScan] = []
    failed: dict[str, BbqError] = {}
    for project, only in wanted.items():
        try:
            scans.append(scan(project, only))
        except BbqError as error:
            failed[project] = error
    if failed and not scans:
        raise next(iter(failed.values()))
    return SourceScan(
        datasets=tuple(dataset for scan in scans for dataset in scan.datasets),
        failures=tuple(failure for scan in scans for failure in scan.failures),
        projects_failed=tuple(ProjectFailure(project, str(error)) for project, error in failed.items()),
    )


def scan_project(
    warehouse: Warehouse,
    catalog: Catalog,
    project: str,
    *,
    now: datetime,
    backup_project: str,
    select: Scope | None = None,
    only: Collection[DatasetRef] | None = None,
    tables: Collection[TableRef] | None = None,
    threads: int = 8,
    on_progress: Callable[[ScanProgress], None] = lambda _: None,
) -> ProjectScan:
    """Look at the datasets of ``project``, or of these ``only``; and of these at ``tables`` alone where they are given.

    * Partitions are listed of the tables that moved since all of theirs were protected, and of ``tables``, whether they
      moved or not.
    * A dataset on record that is not listed is asked for by its name. Where the warehouse says that there is none, all
      its units have vanished; where it does not say so, it is a failure, and nothing is known of it.
    * ``on_progress`` is called in the caller's thread.

    Raises what the warehouse raises where the datasets of the project cannot be listed, what the catalog raises,
    ``Permanent`` where the list is empty and nothing is on record, and ``Refused`` for the backup project, whose
    backups need no backup.
    """
    if project == backup_project:
        raise Refused(f"{project} is the backup project", hint="name another project as source")
    scope = Scope() if select is None else select
    listed = sorted(warehouse.list_datasets(project), key=lambda dataset: dataset.ref)
    chosen, skipped = _choose(listed, scope, only)
    if tables is None:
        records = catalog.scan_records(project, only=only, besides=[ref for ref, _ in skipped])
    else:
        records = catalog.table_records(tables)
    missing = _missing({dataset.ref for dataset in listed}, records, scope, only)
    if not (listed or missing):
        raise _nothing_to_see(project)
    with ThreadPoolExecutor(threads) as pool:
        look = _Look(warehouse, catalog, pool, scope, now, None if tables is None else frozenset(tables))
        progress = _Progress(on_progress, project, len(chosen))
        found = look.at_tables(project, chosen, progress)
        scans = look.at_changes([one for one in found if isinstance(one, Inventory)], records, progress)
        gone = look.for_missing(missing, records)
    every = (*found, *scans, *gone)
    return ProjectScan(
        datasets=tuple(one for one in every if isinstance(one, ScannedDataset)),
        failures=tuple(sorted((one for one in every if isinstance(one, DatasetFailure)), key=lambda one: one.dataset)),
        skipped=tuple(skipped),
    )


def _nothing_to_see(project: str) -> Permanent:
    """BigQuery leaves out of the list what may not be seen: without a permission, a project looks empty."""
    return Permanent(
        f"{project} shows no dataset: there is none, or the account that bbq runs as may not see any",
        hint=f"give it bigquery.datasets.get on project {project} (role roles/bigquery.metadataViewer);"
        " a project without datasets is no source yet",
    )


def _choose(
    listed: Iterable[Dataset], scope: Scope, only: Collection[DatasetRef] | None
) -> tuple[list[Dataset], list[tuple[DatasetRef, str]]]:
    chosen, skipped = [], []
    for dataset in listed:
        if only is not None and dataset.ref not in only:
            continue
        if (reason := scope.excluded_dataset(dataset.ref)) is not None:
            skipped.append((dataset.ref, reason))
        else:
            chosen.append(dataset)
    return chosen, skipped


def _missing(
    listed: Collection[DatasetRef],
    records: Mapping[DatasetRef, DatasetRecord],
    scope: Scope,
    only: Collection[DatasetRef] | None,
) -> list[DatasetRef]:
    """The datasets that were asked for, or have versions, and were not listed."""
    expected = {ref for ref, record in records.items() if not record.is_empty} if only is None else set(only)
    return sorted(ref for ref in expected.difference(listed) if scope.excluded_dataset(ref) is None)


@dataclass(frozen=True, slots=True)
class _Progress:
    """Tells how far the look at a project is."""

    on_progress: Callable[[ScanProgress], None]
    project: str
    datasets: int

    def follow(self, doing: str, items: Iterable[T], tables_in: Callable[[T], int]) -> list[T]:
        """The items, one per dataset, with word of each that is done."""
        done: list[T] = []
        tables = 0
        for item in items:
            done.append(item)
            tables += tables_in(item)
            self.on_progress(ScanProgress(self.project, doing, len(done), self.datasets, tables))
        return done


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the datasets of a project, by several threads."""

    warehouse: Warehouse
    catalog: Catalog
    pool: Executor
    scope: Scope
    now: datetime
    tables: frozenset[TableRef] | None

    def at_tables(
        self, project: str, datasets: Sequence[Dataset], progress: _Progress
    ) -> list[Inventory | DatasetFailure]:
        locations = sorted({dataset.location for dataset in datasets})
        asked = self.pool.map(partial(self._states, project), locations)
        states = dict(zip(locations, asked, strict=True))
        found = self.pool.map(lambda dataset: self._inventory(dataset, states[dataset.location]), datasets)
        return progress.follow("listing tables", found, _tables_in)

    def at_changes(
        self, found: Iterable[Inventory], records: Mapping[DatasetRef, DatasetRecord], progress: _Progress
    ) -> list[ScannedDataset | DatasetFailure]:
        """Compare each dataset with its record. What is on record of tables that moved is read for all of them at once:
        the catalog is one table, however many datasets there are."""
        known = [
            (inventory, self._without_settlements(records.get(inventory.dataset.ref, DatasetRecord())))
            for inventory in found
        ]
        more = self._read([table for inventory, record in known for table in tables_to_read(inventory, record)])
        compared = self.pool.map(
            lambda pair: self._compare(pair[0], pair[1].with_units_of(more.get(pair[0].dataset.ref, DatasetRecord()))),
            known,
        )
        return progress.follow("detecting changes", compared, _tables_in)

    def for_missing(
        self, missing: Sequence[DatasetRef], records: Mapping[DatasetRef, DatasetRecord]
    ) -> list[ScannedDataset | DatasetFailure]:
        return list(self.pool.map(lambda ref: self._look_for(ref, records.get(ref, DatasetRecord())), missing))

    def _inventory(self, dataset: Dataset, states: Mapping[TableRef, State] | BbqError) -> Inventory | DatasetFailure:
        if isinstance(states, BbqError):
            return DatasetFailure(dataset.ref, str(states))
        try:
            tables = self.warehouse.list_tables(dataset, states, self.tables)
        except BbqError as error:
            return DatasetFailure(dataset.ref, str(error))
        is_whole = self.tables is None
        return take_inventory(dataset, tables, exclusion=self.scope.excluded_table, is_whole=is_whole)

    def _compare(self, inventory: Inventory, record: DatasetRecord) -> ScannedDataset | DatasetFailure:
        dataset = inventory.dataset
        to_list = [table.ref for table in inventory.tables if needs_partition_list(table, record)]
        try:
            partitions = self.warehouse.list_partitions(dataset, to_list) if to_list else ()
            wait = self.scope.streaming_wait
            changes = detect_changes(inventory, partitions, record, now=self.now, streaming_wait=wait)
        except BbqError as error:
            return DatasetFailure(dataset.ref, str(error))
        return ScannedDataset(changes, record)

    def _look_for(self, ref: DatasetRef, record: DatasetRecord) -> ScannedDataset | DatasetFailure:
        """Of a dataset that is not in the list of its project."""
        try:
            found = self.warehouse.find_dataset(ref)
        except BbqError as error:
            return DatasetFailure(ref, f"it is gone, or we may not see it: {error}")
        if found is not None:
            return DatasetFailure(ref, "the list of its project does not show it, and it is there: look again")
        if record.is_empty:
            return DatasetFailure(ref, "there is no such dataset, and nothing of it is on record")
        empty = Inventory(Dataset(ref, ""), (), ())
        record = record.with_units_of(self._read(tables_to_read(empty, record)).get(ref, DatasetRecord()))
        return ScannedDataset(dataset_is_gone(ref, record), record)

    def _read(self, tables: Collection[TableRef]) -> Mapping[DatasetRef, DatasetRecord]:
        return self.catalog.table_records(tables) if tables else {}

    def _without_settlements(self, record: DatasetRecord) -> DatasetRecord:
        """Tables that are settled would not get their partitions listed."""
        return record if self.tables is None else replace(record, settled={})

    def _states(self, project: str, location: str) -> Mapping[TableRef, State] | BbqError:
        """The error as a value: it is one of every dataset in this location, and of no other one."""
        try:
            return self.warehouse.table_states(project, location, self.tables)
        except BbqError as error:
            return error


def _tables_in(look: Inventory | ScannedDataset | DatasetFailure) -> int:
    match look:
        case Inventory(tables=tables) | ScannedDataset(changes=DatasetChanges(inventory=Inventory(tables=tables))):
            return len(tables)
    return 0
