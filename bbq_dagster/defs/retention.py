"""``retention``: show which versions go and why, and delete them; by hand with a config, daily by a schedule.

A dry run is the default of the launchpad; the schedule, which is off until somebody turns it on, deletes.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

import dagster as dg
from pydantic import Field

from bbq_dagster.apply.expiry import RetentionReport
from bbq_dagster.core.retention import RetentionPlan
from bbq_dagster.core.retention_text import retention_summary
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.wording import size
from bbq_dagster.defs.events import remove_partitions
from bbq_dagster.defs.metadata import reasons_as_markdown
from bbq_dagster.defs.names import partitions_of
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError

RETENTION_AT = "0 6 * * *"
"""After the daily backups: what they listed is fresh."""

_BIGGEST = 20
_LISTED = 200


class RetentionConfig(dg.Config):
    """Of what ``retention`` deletes versions, and whether it does."""

    projects: list[str] = Field(default=[], description="Source projects, such as acme-shop. Empty: all of them.")
    datasets: list[str] = Field(
        default=[], description="Datasets, such as acme-shop.sales; not together with projects. Empty: all of them."
    )
    dry_run: bool = Field(default=True, description="Show the plan and delete nothing.")
    approved_digest: str = Field(
        default="",
        description="Delete only what the plan of this digest showed, even if it is more than the settings let one run"
        " delete. The digest is in the metadata of a dry run.",
    )


@dg.op
def delete_expired_versions(
    context: dg.OpExecutionContext, config: RetentionConfig, bbq: BbqResource
) -> dg.Output[None]:
    """Plan, show the plan, and delete what it lets go unless it is a dry run."""
    stack = bbq.stack()
    try:
        datasets = [DatasetRef.parse(dataset) for dataset in config.datasets]
        plan = stack.plan_retention(now=bbq.now(), projects=config.projects or None, datasets=datasets or None)
        context.log.info(str(plan))
        if config.dry_run:
            return dg.Output(None, metadata=plan_metadata(plan))
        report = stack.apply_retention(plan, run_id=context.run_id, approved=config.approved_digest or None)
    except BbqError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(str(report))
    retired = retire_partitions(context.instance, plan.departed)
    metadata = {**plan_metadata(plan), **report_metadata(report), "partitions retired": dg.MetadataValue.int(retired)}
    if not report.ok:
        raise dg.Failure(str(report), metadata=metadata, allow_retries=False)
    return dg.Output(None, metadata=metadata)


@dg.job(description="Deletes the versions that no rule of retention keeps; by default it only shows which and why.")
def retention() -> None:
    delete_expired_versions()


retention_daily = dg.ScheduleDefinition(
    name="retention_daily",
    job=retention,
    cron_schedule=RETENTION_AT,
    execution_timezone="UTC",
    run_config={"ops": {"delete_expired_versions": {"config": {"dry_run": False}}}},
    description="Deletes daily what no rule keeps. A run that would delete too much fails and asks for approval.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)


def retire_partitions(instance: dg.DagsterInstance, departed: Iterable[Unit]) -> int:
    """Take the partitions of units out of Dagster that nothing is left of, and say how many.

    Their materializations stay in the event log; a unit that comes back gets its partition again by its next backup.
    """
    retired = 0
    for dataset, units in groupby(sorted(departed), key=lambda unit: unit.table.in_dataset):
        partitions = partitions_of(dataset)
        keys = instance.get_existing_dynamic_partitions(str(partitions.name), [unit.key for unit in units])
        remove_partitions(instance, partitions, keys)
        retired += len(keys)
    return retired


def plan_metadata(plan: RetentionPlan) -> Mapping[str, dg.MetadataValue]:
    """What the plan would delete, keeps and leaves alone."""
    expired = list(plan.expired)
    biggest = sorted(expired, key=lambda fate: fate.version.size_bytes or 0, reverse=True)
    left = {str(what): why for what, why in (*plan.frozen, *plan.inconsistent)}
    return {
        "plan": dg.MetadataValue.text(retention_summary(plan)),
        "digest": dg.MetadataValue.text(plan.digest),
        "needs approval": dg.MetadataValue.text("; ".join(plan.tripped) or "no"),
        "expired": dg.MetadataValue.int(len(expired)),
        "bytes expired": dg.MetadataValue.int(plan.bytes_freed),
        "kept per reason": dg.MetadataValue.json(plan.kept_by_reason()),
        "biggest expired": dg.MetadataValue.md(
            reasons_as_markdown(
                {f"{f.version.place} ({size(f.version.size_bytes)})": f.why for f in biggest}, limit=_BIGGEST
            )
        ),
        "left alone": dg.MetadataValue.md(reasons_as_markdown(left, limit=_LISTED)),
    }


def report_metadata(report: RetentionReport) -> Mapping[str, dg.MetadataValue]:
    """What was deleted, and what could not be or was held meanwhile."""
    refused = {str(item.place): item.error for item in (*report.failures, *report.held)}
    return {
        "deleted": dg.MetadataValue.int(len(report.deleted)),
        "bytes freed": dg.MetadataValue.int(report.bytes_freed),
        "not deleted": dg.MetadataValue.md(reasons_as_markdown(refused, limit=_LISTED)),
    }
