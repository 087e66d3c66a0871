"""Look, plan, apply: what Dagster and the CLI both do, on the warehouse and the catalog that the settings name.

Puts the parts together and decides nothing. Time comes in as ``now``, or as the ``clock`` that stamps what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from bbq_dagster.apply.backup import apply_backup
from bbq_dagster.apply.backup import record_scan as apply_record_scan
from bbq_dagster.apply.copying import CopyLimits, Progress
from bbq_dagster.apply.drill import drill_request
from bbq_dagster.apply.expiry import RetentionReport, apply_retention
from bbq_dagster.apply.holding import place_hold, release_hold
from bbq_dagster.apply.mending import RebuildReport, RepairReport, apply_adoption, apply_rebuild, apply_repair
from bbq_dagster.apply.report import BackupReport, UnitOutcome
from bbq_dagster.apply.restore import RestoreReport, apply_restore, refuse_conflicts
from bbq_dagster.apply.restore_look import look_at_world
from bbq_dagster.apply.scan import ScannedDataset, ScanProgress, Scope, SourceScan, scan_project, scan_projects
from bbq_dagster.apply.stocktaking import look_at_backups, look_at_original, read_catalog, tables_there
from bbq_dagster.apply.undelete import UndeleteReport, apply_undelete
from bbq_dagster.apply.verification import VerificationReport, apply_verification
from bbq_dagster.core.anomalies import is_of_gate
from bbq_dagster.core.catalog_snapshot import CatalogSnapshot
from bbq_dagster.core.changes import Change
from bbq_dagster.core.drift import BackupSide, CatalogSide, Drift, catalog_is_gone, find_drift
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.inventory import Dataset
from bbq_dagster.core.metrics import Figure, measured_figures
from bbq_dagster.core.naming import copy_id, job_id
from bbq_dagster.core.original import AdoptionPlan, Known, plan_adoption, source_project_of
from bbq_dagster.core.plan import BackupPlan, Quota, plan_backup, request
from bbq_dagster.core.rebuild import RebuildPlan, plan_rebuild
from bbq_dagster.core.restore import RestorePlan, plan_restore
from bbq_dagster.core.restore_choice import Past, choose_versions
from bbq_dagster.core.restore_record import ItemState, ItemStatus, item_statuses
from bbq_dagster.core.restore_request import RestoreRequest
from bbq_dagster.core.retention import Breaker, RetentionPlan, plan_retention
from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.retention_record import hold_of
from bbq_dagster.core.rto import RestoreTime
from bbq_dagster.core.selection import NotSelected
from bbq_dagster.core.slis import SliReport, measure
from bbq_dagster.core.status import TableStatus, table_statuses
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.undelete import TIME_TRAVEL, UndeletePlan, deleted_versions, plan_undelete
from bbq_dagster.core.verification import Budget, Candidate, VerificationPlan, candidates_of, plan_verification
from bbq_dagster.core.verification_record import fold_proofs
from bbq_dagster.core.versions import Copy, Version
from bbq_dagster.errors import Refused
from bbq_dagster.settings import Settings
from bbq_dagster.warehouse.bigquery import BigQueryWarehouse
from bbq_dagster.warehouse.catalog_store import BigQueryCatalog
from bbq_dagster.warehouse.client import Patience, build_client
from bbq_dagster.warehouse.port import Catalog, JobRef, Warehouse

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
        self,
        *,
        now: datetime,
        projects: Collection[str] | None = None,
        datasets: Collection[DatasetRef] | None = None,
        on_progress: Callable[[ScanProgress], None] = lambda _: None,
    ) -> BackupPlan:
        """Plan a copy of everything that changed in these projects or datasets (None: all that the settings name).

        A project that cannot be looked at is named in the plan, and stops no other one. Raises where all of them fail.
        """
        self._refuse_unknown(projects, datasets)
        scan = self._scan(now=now, projects=projects, datasets=datasets, on_progress=on_progress)
        return self._plan(scan, now=now)

    def plan_units(
        self,
        units: Collection[Unit],
        *,
        now: datetime,
        by: str,
        only_changed: bool,
        salt: str,
        made: Collection[Unit] = frozenset(),
        on_progress: Callable[[ScanProgress], None] = lambda _: None,
    ) -> BackupPlan:
        """Plan a copy of these units; a table stands for all its partitions, but for those that were ``made`` already.

        ``only_changed``: of those that still need one. Otherwise of all, changed or not: ``by`` says in the reason who
        asked, and ``salt`` tells two such requests apart. Raises ``Refused``, naming every unit that cannot be had.
        """
        wanted = frozenset(units)
        datasets = {unit.table.in_dataset for unit in wanted}
        self._refuse_unknown(None, datasets)
        tables = {unit.table for unit in wanted}
        scan = self._scan(now=now, datasets=datasets, tables=tables, on_progress=on_progress)

        def is_named(unit: Unit) -> bool:
            return unit in wanted or unit.table.unit() in wanted

        return self._plan(
            scan if only_changed else replace(scan, datasets=_request(scan.datasets, wanted, by=by)),
            now=now,
            wanted=lambda change: change.needs_copy and is_named(change.unit) and change.unit not in made,
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
        self.catalog.prepare()
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
        self.catalog.prepare()
        apply_record_scan(plan, self.catalog, run_id=run_id, clock=self.clock)

    def plan_restore(
        self, request: RestoreRequest, *, now: datetime, may_write: Collection[str] | None = None
    ) -> RestorePlan:
        """Plan what ``request`` asks for, on what the catalog and the warehouse say now. Changes nothing.

        ``may_write``: the projects to restore into, besides where a version came from; None: those of the settings.
        """
        choice = choose_versions(request, *self._on_record(request), now=now)
        sources = {chosen.version.unit.table.project for chosen in choice.chosen}
        may_write = self.settings.restore_projects if may_write is None else may_write
        world = look_at_world(self.warehouse, request, choice, may_look=sources.union(may_write))
        bad = self._flaws({chosen.version.unit.table.in_dataset for chosen in choice.chosen})
        return plan_restore(request, choice, world, may_write=may_write, now=now, flaws=bad)

    def _flaws(self, datasets: Collection[DatasetRef]) -> Mapping[str, str]:
        """How versions of these datasets differ from what was copied, by their ids; others are not in it."""
        proofs = fold_proofs(self.catalog.verifications(datasets)) if datasets else {}
        return {identity: proof.flaw for identity, proof in proofs.items() if proof.is_bad}

    def apply_restore(
        self,
        plan: RestorePlan,
        *,
        run_id: str,
        may_write: Collection[str] | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> RestoreReport:
        """Carry out a restore plan, or finish one that was begun.

        Raises ``Refused`` for a plan with conflicts, and where the world has moved since it was made.
        """
        refuse_conflicts(plan)
        self.catalog.prepare()
        if not self.catalog.restore_events(plan.restore_id):
            self._refuse_moved(plan, may_write)
        return apply_restore(
            plan,
            self.warehouse,
            self.catalog,
            run_id=run_id,
            clock=self.clock,
            limits=self._copy_limits(),
            on_progress=on_progress,
        )

    def restore_status(self, restore_id: str) -> tuple[ItemStatus, ...]:
        """Where every item of a restore is. Raises ``Refused`` where nothing is on record of it."""
        statuses = item_statuses(self.catalog.restore_events(restore_id))
        if not statuses:
            raise Refused(f"no restore {restore_id} is on record", hint="its plan tells the id; was it applied?")
        open_jobs = {
            JobRef(job_id(status.next_copy, tried=0), status.location): status.target
            for status in statuses
            if status.state is not ItemState.DONE
        }
        found = self.warehouse.copy_statuses(tuple(open_jobs)) if open_jobs else {}
        running = {open_jobs[job] for job, status in found.items() if not status.is_done}
        return tuple(replace(s, state=ItemState.IN_PROGRESS) if s.target in running else s for s in statuses)

    def copy_job_quota(self, *, now: datetime) -> Quota:
        """What is left of the day's copy jobs."""
        used = self.catalog.copy_jobs_since(now - QUOTA_WINDOW)
        return Quota.of_day(self.settings.limits.copy_jobs_per_day, used=used)

    def _on_record(self, request: RestoreRequest) -> tuple[Mapping[DatasetRef, Past], list[Version]]:
        if request.versions:
            return {}, self.catalog.versions_by_id(wish.version_id for wish in request.versions)
        return self.catalog.pasts({scope.dataset for scope in request.what}), []

    def _refuse_moved(self, plan: RestorePlan, may_write: Collection[str] | None) -> None:
        """The same request, planned for the same instant, has to give the same plan."""
        if self.plan_restore(plan.request, now=plan.planned_at, may_write=may_write).digest != plan.digest:
            raise Refused(
                f"{plan.restore_id}: the world has moved since this was planned: nothing was restored",
                hint="a target or a version is not as it was: plan again, and look what is different",
            )

    def status(self, projects: Collection[str] | None = None) -> tuple[TableStatus, ...]:
        """What the catalog says of all tables, or of those of these projects."""
        proofs = fold_proofs(self.catalog.verifications(None, projects=projects))
        return table_statuses(self.catalog.records(None, projects=projects), proofs)

    def slis(
        self,
        *,
        now: datetime,
        projects: Collection[str] | None = None,
        datasets: Collection[DatasetRef] | None = None,
        on_progress: Callable[[ScanProgress], None] = lambda _: None,
    ) -> SliReport:
        """Look at these projects or datasets (None: all) and say what is not protected as it should be."""
        self._refuse_unknown(projects, datasets)
        scan = self._scan(now=now, projects=projects, datasets=datasets, on_progress=on_progress)
        limits = self.settings.slis
        return measure(
            scan.datasets, now=now, limits=limits, failures=scan.failures, projects_failed=scan.projects_failed
        )

    def restore_times(
        self, *, projects: Collection[str] | None = None, datasets: Collection[DatasetRef] | None = None
    ) -> list[RestoreTime]:
        """How long restores and drills of the tables of these projects or datasets (None: of all) took."""
        return self.catalog.restore_times(datasets, projects=projects)

    def plan_retention(
        self, *, now: datetime, projects: Collection[str] | None = None, datasets: Collection[DatasetRef] | None = None
    ) -> RetentionPlan:
        """Plan what of these projects or datasets is deleted (None: of all on record).

        Raises ``Refused`` for a policy without rules, and for a project that is no source.
        """
        for project in sorted({*(projects or ()), *(dataset.project for dataset in datasets or ())}):
            self.settings.source(project)
        limits = self.settings.limits
        records = self.catalog.retention_records(datasets)
        return plan_retention(
            [record for record in records if projects is None or record.dataset.project in projects],
            policy_for=cache(self._retention_of),
            now=now,
            holds=self.holds(),
            breaker=Breaker(limits.retention_share_of_versions, limits.retention_share_of_bytes),
            max_scan_age=timedelta(hours=limits.retention_max_scan_age_hours),
        )

    def apply_retention(self, plan: RetentionPlan, *, run_id: str, approved: str | None = None) -> RetentionReport:
        """Delete what the plan lets go. Raises ``Refused`` where it needs approval, or is not the approved one."""
        self.catalog.prepare()
        return apply_retention(
            plan,
            self.warehouse,
            self.catalog,
            run_id=run_id,
            clock=self.clock,
            approved=approved,
            threads=self.settings.limits.threads,
            requests_per_second=self.settings.limits.requests_per_second,
        )

    def plan_verification(
        self, *, now: datetime, units: Collection[Unit] = (), size_bytes: int | None = None, with_drills: bool = True
    ) -> VerificationPlan:
        """Plan what of the day's budget is still to be verified; with ``units``, all versions of these and no drills.

        A unit that is a table stands for all its partitions. ``size_bytes`` replaces what is left of the day's bytes.
        Raises ``Refused`` where a unit has no version.
        """
        found = self.candidates({unit.table.in_dataset for unit in units} or None)
        asked = [c for c in found if not units or c.version.unit in units or c.version.unit.table.unit() in units]
        missing = {u for u in units if not any(u in (c.version.unit, c.version.unit.table.unit()) for c in asked)}
        if missing:
            raise Refused(f"{', '.join(map(str, sorted(missing)))} has no version: nothing was verified")
        budget = self._verification_budget(len(found), now=now)
        if units:
            budget = replace(budget, versions=len(asked), drills=0)
        if size_bytes is not None:
            budget = replace(budget, size_bytes=size_bytes)
        return plan_verification(asked, budget=budget if with_drills else replace(budget, drills=0), now=now)

    def candidates(self, datasets: Collection[DatasetRef] | None = None) -> list[Candidate]:
        """Every live version of these datasets (None: of all) with its proof, oldest first."""
        proofs = fold_proofs(self.catalog.verifications(datasets))
        return candidates_of(self.catalog.live_versions(datasets), proofs)

    def apply_verification(
        self, plan: VerificationPlan, *, run_id: str, on_progress: Callable[[str], None] = lambda _: None
    ) -> VerificationReport:
        """Read and compare what the plan names, and restore its drills into the scratch project."""
        self.catalog.prepare()

        def restore(planned: RestorePlan) -> str:
            report = self.apply_restore(planned, run_id=run_id, may_write=[self.settings.scratch_project])
            return "; ".join(item.error for item in (*report.failed, *report.unfinished))

        return apply_verification(
            plan,
            self.warehouse,
            self.catalog,
            run_id=run_id,
            clock=self.clock,
            scratch_project=self.settings.scratch_project,
            plan_drill=self._plan_drill,
            restore=restore,
            threads=self.settings.limits.threads,
            on_progress=on_progress,
        )

    def _plan_drill(self, version: Version) -> RestorePlan:
        project = self.settings.scratch_project
        return self.plan_restore(drill_request(version, into=project), now=self.clock(), may_write=[project])

    def _verification_budget(self, live: int, *, now: datetime) -> Budget:
        verify = self.settings.verify
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return Budget.of_day(
            share=verify.share_per_day,
            versions=verify.versions_per_day,
            size_bytes=verify.bytes_per_day,
            drills=verify.drills_per_day,
            live=live,
            spent=self.catalog.verified_since(midnight),
        )

    def holds(self) -> list[Hold]:
        """The holds that were not released, oldest first."""
        return [hold_of(event) for event in self.catalog.holds()]

    def figures(self, *, now: datetime) -> list[Figure]:
        """What a monitoring system gets of all sources: from one look at them, and from the catalog."""
        return measured_figures(
            self.slis(now=now),
            projects=[source.project for source in self.settings.sources],
            statuses=self.status(),
            looks=self.last_scans(),
            drill_times=self.catalog.drill_times(),
            flagged=self.anomalies(),
        )

    def last_scans(self) -> Mapping[DatasetRef, datetime]:
        """When each dataset was last looked at, by a backup or a look that was recorded."""
        return self.catalog.last_scans()

    def anomalies(self, projects: Collection[str] | None = None) -> list[Hold]:
        """What the anomaly gate flagged in these projects (None: in all) and nobody released, oldest first."""
        flagged = filter(is_of_gate, self.holds())
        return [hold for hold in flagged if projects is None or Unit.parse(hold.target).table.project in projects]

    def hold(self, target: str, *, owner: str, reason: str, until: datetime | None, run_id: str) -> Hold:
        """Forbid the deletion of what ``target`` names, from now on. Raises ``Refused`` where it names nothing."""
        self.catalog.prepare()
        now = self.clock()
        return place_hold(self.catalog, target, owner=owner, reason=reason, until=until, now=now, run_id=run_id)

    def release(self, hold_id: str, *, run_id: str) -> Hold:
        """Release a hold. Raises ``Refused`` where there is none of that id."""
        return release_hold(self.catalog, hold_id, now=self.clock(), run_id=run_id)

    def plan_undelete(
        self, *, now: datetime, version_ids: Collection[str] = (), run_id: str | None = None, tables: Sequence[str] = ()
    ) -> UndeletePlan:
        """Plan what of these versions comes back, and of what that run deleted of these tables or patterns.

        Raises ``Refused`` where nothing is named, and where nothing was deleted that is.
        """
        wanted = list(version_ids)
        if run_id or tables:
            deletions = self.catalog.deletions_since(now - TIME_TRAVEL)
            wanted += deleted_versions(deletions, run_id=run_id, targets=tables)
        if not wanted:
            raise Refused("nothing is named: nothing was brought back", hint="give version ids, a run, or tables")
        return plan_undelete(self.catalog.events_of_versions(wanted), version_ids=wanted, now=now)

    def apply_undelete(self, plan: UndeletePlan, *, run_id: str) -> UndeleteReport:
        """Bring back what the plan says. Raises ``Refused`` where nothing of it can come back."""
        self.catalog.prepare()
        return apply_undelete(
            plan, self.warehouse, self.catalog, run_id=run_id, clock=self.clock, limits=self._copy_limits()
        )

    def check_catalog(self) -> Drift:
        """Where the catalog and the backup project disagree. Changes nothing."""
        if not self.catalog.is_there():
            return catalog_is_gone(DatasetRef(self.settings.backup_project, self.settings.catalog.dataset))
        return find_drift(*self._both_sides())

    def repair_catalog(self, *, approved: str, run_id: str) -> RepairReport:
        """Check again, and do what can be done. Raises ``Refused`` where that is not what was approved."""
        drift = self.check_catalog()
        if drift.remedies:
            self.catalog.prepare()
        return apply_repair(drift, self.warehouse, self.catalog, run_id=run_id, clock=self.clock, approved=approved)

    def plan_rebuild(self) -> RebuildPlan:
        """Everything in the backup project that is not on record, as versions. Changes nothing.

        Raises ``Refused`` where no backup dataset is to be seen: that there is none cannot be told from that.
        """
        catalog, backup = self._both_sides()
        if not (backup.datasets or backup.unseen):
            raise Refused(
                f"{self.settings.backup_project} shows no backup dataset: nothing can be rebuilt",
                hint="give the account that bbq runs as bigquery.datasets.get on the backup datasets"
                " (role roles/bigquery.metadataViewer), or correct backup_project",
            )
        return plan_rebuild(catalog, backup)

    def rebuild_catalog(self, *, approved: str, run_id: str) -> RebuildReport:
        """Look again, and record it. Raises ``Refused`` where that is not what was approved."""
        return apply_rebuild(self.plan_rebuild(), self.catalog, run_id=run_id, clock=self.clock, approved=approved)

    def take_catalog_snapshot(self) -> CatalogSnapshot:
        """Keep the catalog as it is now, as long as the settings say; of a day the first snapshot is kept."""
        return self.catalog.take_snapshot(self.clock())

    def restore_catalog(self, name: str) -> CatalogSnapshot:
        """Have the events of a snapshot again, besides those that are there. Raises ``Refused`` where there is none."""
        snapshots = {snapshot.table.table: snapshot for snapshot in self.catalog.snapshots()}
        if name not in snapshots:
            raise Refused(
                f"there is no snapshot {name} of the catalog: nothing was restored",
                hint="`bbq catalog snapshots` lists them",
            )
        self.catalog.prepare_anew()
        self.catalog.read_back(snapshots[name])
        return snapshots[name]

    def plan_adoption(
        self, *, project: str | None = None, export: DatasetRef | None = None, datasets: Collection[DatasetRef] = ()
    ) -> AdoptionPlan:
        """What the original BBQ left in ``project`` (None: the backup project), as versions. Changes nothing.

        ``export``: its Datastore export, which tells what each copy is of. ``datasets``: all that there ever were.
        """
        project = project or self.settings.backup_project
        records = read_catalog(self.catalog).records
        exported = [] if export is None else self.warehouse.exported_backups(export, project)
        looked = look_at_original(self.warehouse, project)
        of = {source_project_of(found.ref, found.location) for found in looked.datasets}
        mine = [source.project for source in self.settings.sources if source.project in of]
        recorded = [version for record in records for version in record.versions]
        known = Known(
            exported={backup.backup: backup for backup in exported},
            tables=tables_there(self.warehouse, mine).union(version.unit.table for version in recorded),
            datasets=datasets,
        )
        on_record = {version.version_id for version in recorded}
        return plan_adoption(looked.datasets, on_record=on_record, known=known, unseen=looked.unseen)

    def adopt(self, plan: AdoptionPlan, *, approved: str, run_id: str) -> tuple[Version, ...]:
        """Record the versions of ``plan``. Raises ``Refused`` where that is not what was approved."""
        return apply_adoption(plan, self.catalog, run_id=run_id, clock=self.clock, approved=approved)

    def _both_sides(self) -> tuple[CatalogSide, BackupSide]:
        catalog = read_catalog(self.catalog)
        project = self.settings.backup_project
        return catalog, look_at_backups(self.warehouse, project, on_record=catalog.records)

    def _retention_of(self, table: TableRef) -> RetentionPolicy | None:
        """A project that is no source any more has no retention: its versions stay."""
        if table.project not in {source.project for source in self.settings.sources}:
            return None
        return self.settings.policy_for(table).retention.value

    def _scan(
        self,
        *,
        now: datetime,
        projects: Collection[str] | None = None,
        datasets: Collection[DatasetRef] | None = None,
        tables: Collection[TableRef] | None = None,
        on_progress: Callable[[ScanProgress], None] = lambda _: None,
    ) -> SourceScan:
        scope = Scope(self._excluded_dataset, self.settings.exclusion, self._streaming_wait)
        return scan_projects(
            {
                project: None if datasets is None else [ref for ref in datasets if ref.project == project]
                for project in self._projects_to_scan(projects, datasets)
            },
            lambda project, only: scan_project(
                self.warehouse,
                self.catalog,
                project,
                now=now,
                backup_project=self.settings.backup_project,
                select=scope,
                only=only,
                tables=None if tables is None else [ref for ref in tables if ref.project == project],
                on_progress=on_progress,
            ),
        )

    def _plan(
        self,
        scan: SourceScan,
        *,
        now: datetime,
        wanted: Callable[[Change], bool] = lambda change: change.needs_copy,
        adopted: Callable[[Copy], bool] = lambda _: True,
        salt: str = "",
    ) -> BackupPlan:
        is_quiet = not any(of_one.record.unfinished or of_one.changes.to_copy for of_one in scan.datasets)
        begun = [copy_id(copy) for of_one in scan.datasets for copy in of_one.record.unfinished if adopted(copy)]
        used = 0 if is_quiet else self.catalog.copy_jobs_since(now - QUOTA_WINDOW, besides=begun)
        return plan_backup(
            scan.datasets,
            into=self.settings.backup_project,
            now=now,
            quota=Quota.of_day(self.settings.limits.copy_jobs_per_day, used=used),
            whole_table_share=lambda table: self.settings.policy_for(table).whole_table_share.value,
            wanted=wanted,
            adopted=adopted,
            salt=salt,
            failures=scan.failures,
            projects_failed=scan.projects_failed,
            anomaly_policy=cache(lambda table: self.settings.policy_for(table).anomaly.value),
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
            concurrent_runs=limits.concurrent_runs,
            refused_for=timedelta(seconds=limits.retry_for_seconds),
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
            snapshots_dataset=catalog.snapshots_dataset,
            snapshots_kept=timedelta(days=catalog.snapshots_kept_days),
            patience=patience,
        ),
        clock,
    )


def _request(scans: Iterable[ScannedDataset], units: Collection[Unit], *, by: str) -> tuple[ScannedDataset, ...]:
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
    return tuple(marked)
