"""Look, plan, apply: what Dagster and the CLI both do, on the warehouse and the catalog that the settings name.

Puts the parts together and decides nothing. Time comes in as ``now``, or as the ``clock`` that stamps what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bbq_dagster.apply.backup import apply_backup
from bbq_dagster.apply.backup import record_scan as apply_record_scan
from bbq_dagster.apply.copying import CopyLimits, Progress
from bbq_dagster.apply.report import BackupReport, UnitOutcome
from bbq_dagster.apply.scan import ProjectScan, ScannedDataset, Scope, scan_project
from bbq_dagster.core.changes import Change
from bbq_dagster.core.inventory import Dataset
from bbq_dagster.core.plan import BackupPlan, DatasetFailure, Quota, plan_backup, request
from bbq_dagster.core.selection import NotSelected
from bbq_dagster.core.status import TableStatus, table_statuses
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy
from bbq_dagster.errors import Refused
from bbq_dagster.settings import Settings
from bbq_dagster.warehouse.bigquery import BigQueryWarehouse
from bbq_dagster.warehouse.catalog_store import BigQueryCatalog
from bbq_dagster.warehouse.client import Patience, build_client
from bbq_dagster.warehouse.port import Catalog, Warehouse

QUOTA_WINDOW = timedelta(hours=24)
"""BigQuery gives the daily quota of copy jobs back "at regular intervals throughout the day" (BigQuery: quotas)."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Stack:
    """The settings with the warehouse and the catalog that they name."""

    settings: Settings
    warehouse: Warehouse
    catalog: Catalog
    clock: Callable[[], datetime] = utc_now

    def discover(self) -> tuple[Dataset, ...]:
        """The selected datasets of all sources. Raises where a project cannot be listed."""
        listed = (
            dataset for source in self.settings.sources for dataset in self.warehouse.list_datasets(source.project)
        )
        return tuple(dataset for dataset in listed if self._excluded_dataset(dataset.ref) is None)

    def plan_changed(
        self, *, now: datetime, projects: Collection[str] | None = None, datasets: Collection[DatasetRef] | None = None
    ) -> BackupPlan:
        """Plan a copy of everything that changed in these projects or datasets (None: all that the settings name)."""
        self._refuse_unknown(projects, datasets)
        scans, failures = self._scan(now=now, projects=projects, datasets=datasets)
        return self._plan(scans, failures, now=now)

    def plan_units(
        self, units: Collection[Unit], *, now: datetime, by: str, only_changed: bool, salt: str
    ) -> BackupPlan:
        """Plan a copy of these units; a table stands for all its partitions.

        ``only_changed``: of those that still need one. Otherwise of all, changed or not: ``by`` says in the reason who
        asked, and ``salt`` tells two such requests apart. Raises ``Refused``, naming every unit that cannot be had.
        """
        wanted = frozenset(units)
        datasets = {unit.table.in_dataset for unit in wanted}
        self._refuse_unknown(None, datasets)
        scans, failures = self._scan(now=now, datasets=datasets, partitions_of={unit.table for unit in wanted})

        def is_named(unit: Unit) -> bool:
            return unit in wanted or unit.table.unit() in wanted

        return self._plan(
            scans if only_changed else _request(scans, wanted, by=by),
            failures,
            now=now,
            wanted=lambda change: change.needs_copy and is_named(change.unit),
            # Other runs may have copies of this dataset in hand at this moment: they finish these themselves.
            adopted=lambda copy: any(is_named(unit.unit) for unit in copy.units),
            salt="" if only_changed else salt,
        )

    def apply(
        self,
        plan: BackupPlan,
        *,
        run_id: str,
        on_recorded: Callable[[Sequence[UnitOutcome]], None] = lambda _: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> BackupReport:
        """Carry out the plan. ``on_recorded`` gets each batch of outcomes once it is in the catalog."""
        return apply_backup(
            plan,
            self.warehouse,
            self.catalog,
            run_id=run_id,
            clock=self.clock,
            limits=self._copy_limits(),
            on_recorded=on_recorded,
            on_progress=on_progress,
        )

    def record_scan(self, plan: BackupPlan, *, run_id: str) -> None:
        """Record what the plan saw, without copying anything."""
        apply_record_scan(plan, self.catalog, run_id=run_id, clock=self.clock)

    def status(self, projects: Collection[str] | None = None) -> tuple[TableStatus, ...]:
        """What the catalog says of all tables, or of those of these projects."""
        records = self.catalog.records(None)
        return table_statuses({ref: rec for ref, rec in records.items() if projects is None or ref.project in projects})

    def _scan(
        self,
        *,
        now: datetime,
        projects: Collection[str] | None = None,
        datasets: Collection[DatasetRef] | None = None,
        partitions_of: Collection[TableRef] = (),
    ) -> tuple[list[ScannedDataset], list[DatasetFailure]]:
        self.catalog.prepare()
        scope = Scope(self._excluded_dataset, self.settings.exclusion, self._streaming_wait)
        scans: list[ProjectScan] = [
            scan_project(
                self.warehouse,
                self.catalog,
                project,
                now=now,
                backup_project=self.settings.backup_project,
                select=scope,
                only=datasets,
                list_all_partitions_of=partitions_of,
            )
            for project in self._projects_to_scan(projects, datasets)
        ]
        return (
            [dataset for scan in scans for dataset in scan.datasets],
            [failure for scan in scans for failure in scan.failures],
        )

    def _plan(
        self,
        scans: Iterable[ScannedDataset],
        failures: Sequence[DatasetFailure],
        *,
        now: datetime,
        wanted: Callable[[Change], bool] = lambda change: change.needs_copy,
        adopted: Callable[[Copy], bool] = lambda _: True,
        salt: str = "",
    ) -> BackupPlan:
        scans = list(scans)
        is_quiet = not any(scan.record.unfinished or scan.changes.to_copy for scan in scans)
        used = 0 if is_quiet else self.catalog.copy_jobs_since(now - QUOTA_WINDOW)
        return plan_backup(
            scans,
            into=self.settings.backup_project,
            now=now,
            quota=Quota.of_day(self.settings.limits.copy_jobs_per_day, used=used),
            whole_table_share=lambda table: self.settings.policy_for(table).whole_table_share.value,
            wanted=wanted,
            adopted=adopted,
            salt=salt,
            failures=failures,
        )

    def _projects_to_scan(
        self, projects: Collection[str] | None, datasets: Collection[DatasetRef] | None
    ) -> Sequence[str]:
        named = {dataset.project for dataset in datasets} if datasets is not None else None
        return [
            source.project
            for source in self.settings.sources
            if (projects is None or source.project in projects) and (named is None or source.project in named)
        ]

    def _refuse_unknown(self, projects: Collection[str] | None, datasets: Collection[DatasetRef] | None) -> None:
        for project in sorted({*(projects or ()), *(dataset.project for dataset in datasets or ())}):
            self.settings.source(project)
        for dataset in sorted(datasets or ()):
            if (reason := self._excluded_dataset(dataset)) is not None:
                raise Refused(f"{dataset} is not backed up: it is {reason}", hint=f"see {self.settings.path}")

    def _excluded_dataset(self, dataset: DatasetRef) -> str | None:
        decision = self.settings.selection_for(dataset.project).decide_dataset(dataset.dataset)
        return decision.reason if isinstance(decision, NotSelected) else None

    def _streaming_wait(self, table: TableRef) -> timedelta:
        return timedelta(minutes=self.settings.policy_for(table).streaming_wait_minutes.value)

    def _copy_limits(self) -> CopyLimits:
        limits = self.settings.limits
        return CopyLimits(
            threads=limits.threads,
            concurrent_jobs=limits.concurrent_jobs,
            requests_per_second=limits.requests_per_second,
        )


def open_stack(settings: Settings, *, clock: Callable[[], datetime] = utc_now) -> Stack:
    """The stack on BigQuery, or on what ``settings.endpoint`` serves in its place."""
    limits, catalog = settings.limits, settings.catalog
    patience = Patience(request_timeout=limits.request_timeout_seconds, give_up_after=limits.retry_for_seconds)
    client = build_client(
        settings.backup_project,
        endpoint=settings.endpoint,
        credentials=settings.credentials,
        pool_size=limits.threads + 8,
    )
    return Stack(
        settings,
        BigQueryWarehouse(client, patience=patience),
        BigQueryCatalog(
            client,
            backup_project=settings.backup_project,
            dataset=catalog.dataset,
            location=catalog.location,
            patience=patience,
        ),
        clock,
    )


def _request(scans: Iterable[ScannedDataset], units: Collection[Unit], *, by: str) -> list[ScannedDataset]:
    """Mark the requested units in each dataset. Raises ``Refused`` with every unit that cannot be had, and why."""
    marked: list[ScannedDataset] = []
    missing: dict[Unit, str] = {}
    for scan in scans:
        here = [unit for unit in units if unit.table.in_dataset == scan.changes.inventory.dataset.ref]
        changes, not_had = request(scan.changes, here, by=by)
        marked.append(scan._replace(changes=changes))
        missing.update(not_had)
    if missing:
        lines = [f"  {unit}: {missing[unit]}" for unit in sorted(missing)]
        raise Refused(
            "\n".join(["cannot be backed up, nothing was done:", *lines]), hint="`bbq plan` lists what is there"
        )
    return marked
