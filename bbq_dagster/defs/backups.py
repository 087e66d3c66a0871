"""One Dagster run that makes backups: plan, apply, report. Used by the assets and by ``backup_now``.

What to copy is decided by the plan, copying is done by ``apply``; here both are tied to the run: its partitions, its
events, its end.

The order is the safety: a version is in the catalog before its event is in the event log. After a stop between the two
the next run that is asked for the unit finds it unchanged, and writes the missing event without copying.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

import dagster as dg

from bbq_dagster.apply.report import BackupReport, UnitFailure, UnitOutcome, UnitUnfinished, VersionMade
from bbq_dagster.apply.scan import ScanProgress
from bbq_dagster.apply.telling import now_and_then
from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.defs.events import (
    Materialized,
    RunEvents,
    add_partitions,
    data_versions,
    keep_connected,
    remember_states,
)
from bbq_dagster.defs.metadata import data_version_of, reasons_as_markdown, version_metadata
from bbq_dagster.defs.names import asset_key_of, partitions_of
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError, Refused
from bbq_dagster.stack import Stack

_ROOT_RUN = "dagster/root_run_id"
"""Dagster's tag on a run that executes another one again."""

_SHOWN = 20
"""What the description of a failure lists; its metadata has ten times as many, and the UI marks all of them."""


@dataclass(frozen=True, slots=True)
class BackupRun:
    """A run with all that it needs to make backups and to tell of them.

    ``tries`` are the ids of this run and of those that it tries again, ``recorded`` the units it has made so far.
    """

    stack: Stack
    events: RunEvents
    log: dg.DagsterLogManager
    now: Callable[[], datetime]
    root_run_id: str
    tries: frozenset[str]
    recorded: set[Unit] = field(default_factory=set)

    @classmethod
    def of(cls, context: dg.OpExecutionContext, bbq: BbqResource) -> "BackupRun":
        run, instance = context.run, context.instance
        keep_connected(instance)
        return cls(
            stack=bbq.stack(),
            events=RunEvents(instance, run.run_id, run.job_name, str(context.op_handle)),
            log=context.log,
            now=bbq.now,
            root_run_id=run.tags.get(_ROOT_RUN, run.run_id),
            tries=_tries_of(instance, run),
        )

    @contextmanager
    def failing(self, units: Collection[Unit]) -> Iterator[None]:
        """An error of ours ends the run in its own words; what was not made of ``units`` shows as failed."""
        try:
            yield
        except BbqError as error:
            self._report_failed(_with_partition(self.events.instance, set(units) - self.recorded))
            raise dg.Failure(str(error), allow_retries=False) from error

    def tables_in(self, dataset: DatasetRef) -> tuple[TableRef, ...]:
        """The tables of ``dataset`` that can be backed up. Raises ``Refused`` where it cannot be looked at."""
        plan = self.stack.plan_changed(now=self.now(), datasets=[dataset])
        if plan.failures:
            raise Refused(plan.failures[0].message)
        return tuple(table.ref for changes in plan.changes for table in changes.inventory.tables)

    def plan_changed(self, dataset: DatasetRef) -> BackupPlan:
        """All that changed in ``dataset``."""
        with self.failing(()):
            return self.stack.plan_changed(
                now=self.now(), datasets=[dataset], on_progress=now_and_then(self._say_progress)
            )

    def plan_units(self, units: Sequence[Unit], *, only_changed: bool) -> BackupPlan:
        """Copies of these units.

        Where they are copied whether or not they changed, without those that an earlier try of this run has made.
        """
        with self.failing(units):
            made = frozenset() if only_changed else self._made_by_earlier_tries(units)
            return self.stack.plan_units(
                [unit for unit in units if unit not in made],
                now=self.now(),
                by=f"run {self.root_run_id}",
                only_changed=only_changed,
                salt=self.root_run_id,
                made=made,
                on_progress=now_and_then(self._say_progress),
            )

    def apply(self, plan: BackupPlan) -> BackupReport:
        """Carry out the plan; each version and each failure shows in the UI as soon as it is in the catalog."""
        self.log.info(str(plan))
        units = {unit.unit for unit in plan.units}
        for dataset, of_dataset in _by_dataset(units):
            add_partitions(self.events.instance, partitions_of(dataset), [unit.key for unit in of_dataset])
        with self.failing(units):
            return self.stack.apply(
                plan,
                run_id=self.events.run_id,
                on_recorded=self._show,
                on_progress=lambda progress: self.log.info(str(progress)),
            )

    def finish(self, asked: Sequence[Unit], plan: BackupPlan, report: BackupReport) -> None:
        """Write the events that are missing for what was ``asked`` and not copied; fail where something failed."""
        self._heal(_uncopied(asked, plan))
        for dataset, _ in _by_dataset(self.recorded):
            remember_states(self.events.instance, asset_key_of(dataset), partitions_of(dataset))
        self.log.info(str(report))
        if not report.ok:
            raise _failure(report)

    def _show(self, outcomes: Sequence[UnitOutcome]) -> None:
        self._record(outcome.version for outcome in outcomes if isinstance(outcome, VersionMade))
        self._report_failed(outcome.unit for outcome in outcomes if isinstance(outcome, UnitFailure | UnitUnfinished))

    def _record(self, versions: Iterable[Version]) -> None:
        by_unit = {version.unit: version for version in sorted(versions, key=lambda version: version.captured_at)}
        for dataset, units in _by_dataset(by_unit):
            made = [_materialized(by_unit[unit]) for unit in units]
            self.events.record_materializations(asset_key_of(dataset), made, at=self.now())
        self.recorded.update(by_unit)

    def _report_failed(self, units: Iterable[Unit]) -> None:
        for dataset, of_dataset in _by_dataset(units):
            self.events.report_failed(asset_key_of(dataset), [unit.key for unit in of_dataset], at=self.now())

    def _say_progress(self, progress: ScanProgress) -> None:
        self.log.info(str(progress))

    def _made_by_earlier_tries(self, units: Sequence[Unit]) -> frozenset[Unit]:
        """Of ``units`` and their partitions, those that an earlier try made. A first try need not ask."""
        if len(self.tries) == 1:
            return frozenset()
        return frozenset(version.unit for version in self._latest(units) if version.run_id in self.tries)

    def _heal(self, units: Collection[Unit]) -> None:
        """Write an event for the latest version of each of these units where the event log has another one, or none.

        A run that was stopped wrote its versions to the catalog and not all of their events.
        """
        for dataset, versions in _by_dataset_of_version(self._latest(units)):
            key, keys = asset_key_of(dataset), [version.unit.key for version in versions]
            shown = data_versions(self.events.instance, key, keys)
            lagging = [version for version in versions if shown.get(version.unit.key) != data_version_of(version)]
            add_partitions(self.events.instance, partitions_of(dataset), [version.unit.key for version in lagging])
            self._record(lagging)

    def _latest(self, units: Collection[Unit]) -> list[Version]:
        """The latest versions of these units; a table stands for its partitions. No units, no query."""
        if not units:
            return []
        asked = frozenset(units)
        records = self.stack.catalog.table_records({unit.table for unit in asked})
        latest = (item for record in records.values() for item in record.latest.items())
        return [version for unit, version in latest if unit in asked or unit.table.unit() in asked]


def _tries_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> frozenset[str]:
    """Ids of this run and of all that began with the same run."""
    if (root := run.tags.get(_ROOT_RUN)) is None:
        return frozenset({run.run_id})
    again = instance.get_runs(dg.RunsFilter(tags={_ROOT_RUN: root}))
    return frozenset({run.run_id, root, *(other.run_id for other in again)})


def _materialized(version: Version) -> Materialized:
    return Materialized(version.unit.key, version.reason, version_metadata(version), data_version_of(version))


def _uncopied(asked: Sequence[Unit], plan: BackupPlan) -> list[Unit]:
    copied = {one for unit in plan.units for one in (unit.unit, unit.unit.table.unit())}
    return [unit for unit in asked if unit not in copied]


def _by_dataset(units: Iterable[Unit]) -> Iterator[tuple[DatasetRef, list[Unit]]]:
    in_order = sorted(units, key=lambda unit: unit.sort_key)
    for dataset, of_dataset in groupby(in_order, key=lambda unit: unit.table.in_dataset):
        yield dataset, list(of_dataset)


def _by_dataset_of_version(versions: Iterable[Version]) -> Iterator[tuple[DatasetRef, list[Version]]]:
    by_unit = {version.unit: version for version in versions}
    for dataset, units in _by_dataset(by_unit):
        yield dataset, [by_unit[unit] for unit in units]


def _with_partition(instance: dg.DagsterInstance, units: Iterable[Unit]) -> Iterator[Unit]:
    """Those that the UI has a partition for: what is unknown, or a whole partitioned table, cannot be shown."""
    for dataset, of_dataset in _by_dataset(units):
        name = str(partitions_of(dataset).name)
        existing = instance.get_existing_dynamic_partitions(name, [unit.key for unit in of_dataset])
        yield from (unit for unit in of_dataset if unit.key in existing)


def _failure(report: BackupReport) -> dg.Failure:
    bad: tuple[UnitFailure | UnitUnfinished, ...] = (*report.failures, *report.unfinished)
    units = {str(one.unit): one.error for one in bad}
    datasets = {str(failure.dataset): failure.message for failure in report.datasets_failed}
    datasets |= {f"all of {failure.project}": failure.message for failure in report.projects_failed}
    counts = [f"{len(units):,} tables and partitions were not backed up"] if units else []
    counts += [f"{len(datasets):,} datasets could not be looked at"] if datasets else []
    return dg.Failure(
        "\n".join([f"{', '.join(counts)}; {len(report.versions):,} were backed up.", *_lines(units | datasets)]),
        metadata={
            "backed up": dg.MetadataValue.int(len(report.versions)),
            "not backed up": dg.MetadataValue.md(reasons_as_markdown(units, limit=10 * _SHOWN)),
            "not looked at": dg.MetadataValue.md(reasons_as_markdown(datasets, limit=10 * _SHOWN)),
        },
        allow_retries=False,
    )


def _lines(reasons: Mapping[str, str]) -> list[str]:
    shown = [f"  {name}: {reason}" for name, reason in list(reasons.items())[:_SHOWN]]
    return [*shown, f"  … and {len(reasons) - _SHOWN:,} more"] if len(reasons) > _SHOWN else shown
