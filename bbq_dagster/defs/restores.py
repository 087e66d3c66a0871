"""The job ``restore``: plan what its config asks for, show the plan, and, where it is told to, do it.

The plan of every run is kept as a file under ``state_dir``, by the id of the restore: a later run applies exactly that
plan, or finishes it after a stop. What to restore is decided by the plan; here it is tied to a run of Dagster.
"""

from pathlib import Path

import dagster as dg
from pydantic import Field

from bbq_dagster.apply.restore import RestoreReport
from bbq_dagster.core.restore import RestorePlan, copy_jobs_fault
from bbq_dagster.core.restore_render import read_plan, render_restore, summary, write_plan
from bbq_dagster.core.restore_request import (
    Create,
    OnExisting,
    Partitions,
    RestoreRequest,
    Scope,
    Target,
    VersionWish,
    instant_of,
    read_version_list,
)
from bbq_dagster.defs.assets import POOL
from bbq_dagster.defs.metadata import reasons_as_markdown
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError, Refused
from bbq_dagster.settings import Settings
from bbq_dagster.stack import Stack

_SHOWN = 200


class RestoreConfig(dg.Config):
    """What the job restores; docs/restore.md explains each option with an example."""

    dry_run: bool = Field(default=True, description="Only show the plan. False: do it in the same run.")
    plan: str = Field(
        default="",
        description="Id of a restore that an earlier run showed: do exactly that plan, or finish it. Nothing else of"
        " the config counts then but dry_run.",
    )
    what: list[str] = Field(
        default=[],
        description="project.dataset, project.dataset.table, a pattern such as project.dataset.sales_*, or"
        " project.dataset.table$20240131.",
    )
    as_of: str = Field(
        default="", description="As it was then, such as 2026-01-31T12:00+01:00 (without a zone: UTC). Empty: latest."
    )
    partitions: list[str] = Field(default=[], description="Only these partitions of partitioned tables, by their ids.")
    first_partition: str = Field(default="", description="Only partitions from this one on.")
    last_partition: str = Field(default="", description="Only partitions up to this one, included.")
    last_days: int = Field(default=0, description="Only partitions of so many days. 0: of all.")
    versions: list[str] = Field(default=[], description="Versions by their ids, instead of what and as_of.")
    version_list: str = Field(
        default="", description="Versions as the text of a list, JSON or CSV: version, table. Beside versions."
    )
    into_project: str = Field(
        default="", description="A restore project of the settings. Empty: where each version came from."
    )
    into_dataset: str = Field(default="", description="Another dataset. Empty: the same name.")
    prefix: str = Field(default="", description="Put before the names of the tables.")
    suffix: str = Field(default="", description="Put after the names of the tables.")
    names: dict[str, str] = Field(default={}, description="New names of tables by their old ones.")
    on_existing: OnExisting = Field(
        default=OnExisting.FAIL, description="What happens where a table or partition has rows already."
    )
    create: Create = Field(default=Create.IF_NEEDED, description="Whether missing datasets and tables are created.")
    keep_partition_expiration: bool = Field(
        default=False, description="Give new tables the partition expiration that their source had."
    )

    even_if_bad: bool = Field(
        default=False, description="Restore versions too that a verification found to differ from what was copied."
    )

    def request(self) -> RestoreRequest:
        """Raises ``Refused`` where the config says what cannot be understood."""
        listed = read_version_list(self.version_list) if self.version_list else ()
        return RestoreRequest(
            what=tuple(map(Scope.parse, self.what)),
            versions=(*map(VersionWish, self.versions), *listed),
            partitions=Partitions(
                tuple(self.partitions),
                self.first_partition or None,
                self.last_partition or None,
                self.last_days or None,
            ),
            as_of=instant_of(self.as_of) if self.as_of else None,
            target=Target(
                self.into_project or None,
                self.into_dataset or None,
                self.prefix,
                self.suffix,
                tuple(sorted(self.names.items())),
            ),
            on_existing=self.on_existing,
            create=self.create,
            keep_partition_expiration=self.keep_partition_expiration,
            even_if_bad=self.even_if_bad,
        )


@dg.op(pool=POOL)
def restore_versions(context: dg.OpExecutionContext, config: RestoreConfig, bbq: BbqResource) -> None:
    """Plan, show, and apply unless it is a dry run; fails where something stands against it or an item failed."""
    stack = bbq.stack()
    try:
        plan = _planned(config, bbq, stack)
        context.log.info(str(plan))
        _show(context, plan)
        if fault := copy_jobs_fault(plan, stack.copy_job_quota(now=bbq.now())):
            context.log.warning(fault)
        if config.dry_run:
            return
        report = stack.apply_restore(
            plan, run_id=context.run_id, on_progress=lambda progress: context.log.info(str(progress))
        )
    except BbqError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(str(report))
    if not report.ok:
        raise _failure(report)
    context.add_output_metadata(_done(report))


@dg.job(description="Restores what its config names. A dry run, which it is unless told otherwise, shows the plan.")
def restore() -> None:
    restore_versions()


def _planned(config: RestoreConfig, bbq: BbqResource, stack: Stack) -> RestorePlan:
    if config.plan:
        return _kept(stack.settings, config.plan)
    plan = stack.plan_restore(config.request(), now=bbq.now())
    if plan.conflicts:
        raise Refused(render_restore(plan))
    file = _file_of(stack.settings, plan.restore_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(write_plan(plan), "utf-8")
    return plan


def _kept(settings: Settings, restore_id: str) -> RestorePlan:
    file = _file_of(settings, restore_id)
    if not restore_id.replace("_", "").isalnum() or not file.is_file():
        raise Refused(
            f"there is no plan {restore_id}: nothing was restored", hint="a dry run makes one and tells its id"
        )
    return read_plan(file.read_text("utf-8"), name=str(file))


def _file_of(settings: Settings, restore_id: str) -> Path:
    return settings.state_dir / "restores" / f"{restore_id}.json"


def _show(context: dg.OpExecutionContext, plan: RestorePlan) -> None:
    tables = {str(table.target): f"{len(table.items):,} copy jobs: {table.how}" for table in plan.tables}
    left_out = {str(item.unit): item.reason for item in plan.left_out}
    context.add_output_metadata(
        {
            "restore id": dg.MetadataValue.text(plan.restore_id),
            "digest": dg.MetadataValue.text(plan.digest),
            "summary": dg.MetadataValue.text(summary(plan)),
            "copy jobs": dg.MetadataValue.int(len(plan.items)),
            "tables": dg.MetadataValue.md(reasons_as_markdown(tables, limit=_SHOWN)),
            "left out": dg.MetadataValue.md(reasons_as_markdown(left_out, limit=_SHOWN)),
        }
    )


def _done(report: RestoreReport) -> dict[str, dg.MetadataValue]:
    rows = {str(item.target): "rows unknown" if item.rows is None else f"{item.rows:,} rows" for item in report.done}
    return {
        "restored": dg.MetadataValue.int(len(report.done)),
        "restored by an earlier run": dg.MetadataValue.int(report.done_before),
        "items": dg.MetadataValue.md(reasons_as_markdown(rows, limit=_SHOWN)),
    }


def _failure(report: RestoreReport) -> dg.Failure:
    bad = {str(item.target): item.error for item in (*report.failed, *report.unfinished)}
    return dg.Failure(
        f"{report}\nHINT: run it again with plan: {report.restore_id}, it finishes the rest",
        metadata={
            "restored": dg.MetadataValue.int(len(report.done)),
            "not restored": dg.MetadataValue.md(reasons_as_markdown(bad, limit=_SHOWN)),
        },
        allow_retries=False,
    )
