"""The daily backup: a sensor per source project looks once a day and asks for runs of what changed.

When it is due is decided in ``schedule``, what to copy by the plan, which runs that makes in ``requests``. A tick that
starts nothing says why, and when one will.

Runs of assets can be asked for of those datasets alone that the code location has loaded. One more sensor takes care
of the others, by the job ``backup_now``: a new dataset is backed up on its first day, whenever somebody reloads.

The order is the safety: keys are added, the scan is recorded and new datasets are remembered before a run is asked for.
All of it may be done twice, and run keys are derived from what was seen: a tick that is repeated starts nothing twice.
"""

from collections.abc import Collection, Iterable
from datetime import date
from itertools import groupby

import dagster as dg

from bbq_dagster.apply.telling import now_and_then
from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.render import summary
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.discovery import known_datasets, remember_datasets
from bbq_dagster.defs.events import add_partitions
from bbq_dagster.defs.in_progress import units_in_hand
from bbq_dagster.defs.jobs import backup_now, backup_tables
from bbq_dagster.defs.names import asset_key_of, op_of, partitions_of, sensor_of
from bbq_dagster.defs.requests import WantedRun, wanted_runs
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.defs.schedule import Cursor, Daily, due_day
from bbq_dagster.errors import BbqError, Refused
from bbq_dagster.settings import Settings, Source
from bbq_dagster.stack import Stack

SECONDS_BETWEEN_TICKS = 60
NEW_DATASETS = "new_datasets"
ASSET_JOB = "__ASSET_JOB"
"""Dagster's job of all assets: the one target that serves assets with different partitions. It exists with assets."""


def build_daily_sensor(
    source: Source, loaded: Collection[DatasetRef], *, max_units_per_run: int
) -> dg.SensorDefinition:
    """The sensor of one source project; ``loaded`` are the datasets that have an asset in this code location."""
    daily = _daily_of(source)
    assets = frozenset(loaded)

    @dg.sensor(
        name=sensor_of(source.project),
        job_name=ASSET_JOB if assets else backup_now.name,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Backs up what changed in {source.project}, daily at {source.daily_at:%H:%M} ({source.time_zone})."
        " Reset the cursor to have it look at once.",
    )
    def daily_backup(context: dg.SensorEvaluationContext, bbq: BbqResource) -> dg.SensorResult:
        cursor, now = _cursor_of(context), bbq.now()
        last_day = cursor.days.get(source.project)
        day = due_day(daily, last_day, now)
        if day is None:
            return _skipped(_next_run(source, max(last_day or date.min, daily.latest_day(now))), cursor)
        stack = bbq.stack()
        say = now_and_then(lambda progress: context.log.info(str(progress)))
        plan = stack.plan_changed(now=now, projects=[source.project], on_progress=say)
        _prepare(context, stack, plan, run_id=f"{sensor_of(source.project)} {day}")
        in_hand = units_in_hand(context.instance, assets, now=now)
        runs = wanted_runs(plan, day=day, max_units=max_units_per_run, is_in_hand=in_hand)
        requests = [_run_of_asset(run) for run in runs if run.dataset in assets]
        after = cursor.after(day, [source.project])
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=str(after))
        left = len({run.dataset for run in runs} - assets)
        others = f"; {left:,} new datasets are left to {NEW_DATASETS}" if left else ""
        return _skipped(f"nothing to start for {day}: {summary(plan)}{others}; {_next_run(source, day)}", after)

    return daily_backup


def build_new_datasets_sensor(settings: Settings, loaded: Collection[DatasetRef]) -> dg.SensorDefinition:
    """The sensor for datasets that were found and have no asset until the code location is reloaded."""
    assets = frozenset(loaded)

    @dg.sensor(
        name=NEW_DATASETS,
        job=backup_now,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Backs up new datasets at once, and daily until a reload of this location gives them an asset.",
    )
    def new_datasets(context: dg.SensorEvaluationContext, bbq: BbqResource) -> dg.SensorResult:
        new = {str(dataset): dataset for dataset in known_datasets(settings) if dataset not in assets}
        cursor, now = _cursor_of(context).only(new), bbq.now()
        runs: list[WantedRun] = []
        failed: list[str] = []
        for source in settings.sources:
            daily = _daily_of(source)
            of_source = {name: dataset for name, dataset in new.items() if dataset.project == source.project}
            due = [name for name in of_source if due_day(daily, cursor.days.get(name), now)]
            if due:
                day = daily.latest_day(now)
                try:
                    plan = bbq.stack().plan_changed(now=now, datasets=[new[name] for name in due])
                except BbqError as error:
                    failed.append(f"{source.project} could not be looked at, and will be again: {error}")
                    context.log.error(failed[-1])
                    continue
                context.log.info(str(plan))
                runs += wanted_runs(plan, day=day, max_units=settings.limits.max_units_per_run)
                cursor = cursor.after(day, due)
        if runs:
            return dg.SensorResult(run_requests=[_run_of_backup_now(run) for run in runs], cursor=str(cursor))
        return _skipped("; ".join([*failed, _new_in_words(new)]), cursor)

    return new_datasets


def _daily_of(source: Source) -> Daily:
    return Daily(source.daily_at, source.time_zone)


def _cursor_of(context: dg.SensorEvaluationContext) -> Cursor:
    """A cursor that cannot be read is an empty one: looking once more than needed does no harm."""
    try:
        return Cursor.parse(context.cursor)
    except Refused as error:
        context.log.warning(f"{error}: looking at once")
        return Cursor()


def _skipped(why: str, cursor: Cursor) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=why, cursor=str(cursor))


def _prepare(context: dg.SensorEvaluationContext, stack: Stack, plan: BackupPlan, *, run_id: str) -> None:
    """What has to be there before a run is: partitions, the scan on record, new datasets in the list.

    What has to wait gets a partition as well, and shows as missing.
    """
    context.log.info(str(plan))
    units = sorted({*(unit.unit for unit in plan.units), *(waiting.unit for waiting in plan.postponed)})
    for dataset, of_dataset in groupby(units, key=lambda unit: unit.table.in_dataset):
        add_partitions(context.instance, partitions_of(dataset), [unit.key for unit in of_dataset])
    stack.record_scan(plan, run_id=run_id)
    _remember(context, stack, plan)


def _remember(context: dg.SensorEvaluationContext, stack: Stack, plan: BackupPlan) -> None:
    """New datasets get an asset with the next reload. Where they cannot be written down, the others go on."""
    found = [changes.inventory.dataset.ref for changes in plan.changes if not changes.is_gone]
    try:
        new = remember_datasets(stack.settings, found)
    except OSError as error:
        context.log.error(f"new datasets are not backed up: {stack.settings.state_dir} cannot be written: {error}")
    else:
        context.log.info(f"new datasets: {', '.join(map(str, new)) or 'none'}")


def _next_run(source: Source, day: date) -> str:
    at = _daily_of(source).next_after(day).astimezone(source.time_zone)
    return f"next daily run of {source.project} at {at:%Y-%m-%d %H:%M %Z}"


def _new_in_words(new: Iterable[str]) -> str:
    names = ", ".join(sorted(new))
    if not names:
        return "every dataset that was found has an asset"
    return f"nothing to start; reload this code location for the assets of {names}"


def _run_of_asset(run: WantedRun) -> dg.RunRequest:
    config = {"keys": list(run.keys), "only_changed": True}
    return dg.RunRequest(
        run_key=run.run_key,
        asset_selection=[asset_key_of(run.dataset)],
        asset_check_keys=[],  # planned and left out, a check would lose its last result
        run_config={"ops": {op_of(run.dataset): {"config": config}}},
    )


def _run_of_backup_now(run: WantedRun) -> dg.RunRequest:
    tables = [f"{run.dataset}.{key}" for key in run.keys or ["*"]]
    config = {"tables": tables, "only_changed": True}
    return dg.RunRequest(run_key=run.run_key, run_config={"ops": {backup_tables.name: {"config": config}}})
