"""``verify``: read and compare a part of all versions every day, and restore some for trial.

The asset check ``proven_restorable`` of each dataset says what is on record of its versions. It reads the catalog
alone, and the job evaluates it for all datasets, so that it is never older than the last verification.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

import dagster as dg
from pydantic import Field

from bbq_dagster.apply.verification import VerificationReport
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.verification import VerificationPlan, render_verification
from bbq_dagster.core.verification_record import How, Outcome
from bbq_dagster.core.verification_status import DatasetProof, dataset_proofs
from bbq_dagster.defs.discovery import known_datasets
from bbq_dagster.defs.metadata import reasons_as_markdown
from bbq_dagster.defs.names import asset_key_of, dataset_of
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError
from bbq_dagster.stack import Stack

VERIFY_AT = "0 9 * * *"
"""After the daily backups and retention: new versions are compared while BigQuery has their sources as they were."""

CHECK = "proven_restorable"

_DESCRIPTION = "No version is known to differ from what was copied. What is proven, and since when, is in the metadata."
_LISTED = 200


class VerifyConfig(dg.Config):
    """What ``verify`` reads, and whether it does."""

    tables: list[str] = Field(
        default=[],
        description="All versions of these, as project.dataset.table or project.dataset.table$20240131, and no drills."
        " Empty: what is left of the day's share.",
    )
    bytes: int = Field(default=-1, description="Read so many at most. -1: what is left of the day's.")
    drills: bool = Field(default=True, description="Restore some for trial as well, as many as the settings say.")
    dry_run: bool = Field(default=False, description="Show the plan and read nothing.")


@dg.op
def verify_versions(context: dg.OpExecutionContext, config: VerifyConfig, bbq: BbqResource) -> dg.Output[None]:
    """Plan, read, compare; fails where a version differs from what was copied, or could not be read."""
    stack = bbq.stack()
    try:
        plan = stack.plan_verification(
            now=bbq.now(),
            units=[Unit.parse(table) for table in config.tables],
            size_bytes=None if config.bytes < 0 else config.bytes,
            with_drills=config.drills,
        )
        context.log.info(str(plan))
        if config.dry_run:
            return dg.Output(None, metadata=plan_metadata(plan))
        report = stack.apply_verification(plan, run_id=context.run_id, on_progress=context.log.info)
        _report_checks(context, stack)
    except BbqError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(str(report))
    metadata = {**plan_metadata(plan), **report_metadata(report)}
    if not report.ok:
        raise dg.Failure(str(report), metadata=metadata, allow_retries=False)
    return dg.Output(None, metadata=metadata)


@dg.job(description="Reads a part of all versions, compares them with what was copied, and restores some for trial.")
def verify() -> None:
    verify_versions()


verify_daily = dg.ScheduleDefinition(
    name="verify_daily",
    job=verify,
    cron_schedule=VERIFY_AT,
    execution_timezone="UTC",
    description="Verifies the day's share of all versions. What it may read is in the settings.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)


def build_verification(datasets: Collection[DatasetRef]) -> dg.Definitions:
    """The job with its schedule, and a check for each of ``datasets``."""
    return dg.Definitions(
        asset_checks=[build_proof_checks(datasets)] if datasets else [], jobs=[verify], schedules=[verify_daily]
    )


def build_proof_checks(datasets: Collection[DatasetRef]) -> dg.AssetChecksDefinition:
    """The check of each of ``datasets``, by one op, which reads the catalog once and no version.

    Dagster adds it to every run that makes backups: there it is left out, as it is no affair of theirs.
    """

    @dg.multi_asset_check(
        name="check_proofs",
        specs=[dg.AssetCheckSpec(CHECK, asset=asset_key_of(dataset), description=_DESCRIPTION) for dataset in datasets],
        can_subset=True,
    )
    def check_proofs(context: dg.AssetCheckExecutionContext, bbq: BbqResource) -> Iterator[dg.AssetCheckResult]:
        if context.run.asset_selection:
            context.log.info("this run makes backups: what is proven is left to the job verify")
            return
        wanted = sorted(dataset_of(key.asset_key) for key in context.selected_asset_check_keys)
        try:
            proofs = dataset_proofs(bbq.stack().candidates(wanted))
        except BbqError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for dataset in wanted:
            proof = proofs.get(dataset, DatasetProof())
            yield dg.AssetCheckResult(
                passed=proof.ok, asset_key=asset_key_of(dataset), check_name=CHECK, metadata=proof_metadata(proof)
            )

    return check_proofs


def _report_checks(context: dg.OpExecutionContext, stack: Stack) -> None:
    """Let the checks of all datasets that have an asset say what is known now."""
    datasets = known_datasets(stack.settings)
    proofs = dataset_proofs(stack.candidates(datasets)) if datasets else {}
    for dataset, proof in proofs.items():
        context.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset_key_of(dataset), check_name=CHECK, passed=proof.ok, metadata=proof_metadata(proof)
            )
        )


def proof_metadata(proof: DatasetProof) -> Mapping[str, dg.MetadataValue]:
    """What is proven of a dataset and what is not; what never happened is left out."""
    bad = {f"{c.version.unit} of {c.version.captured_at:%Y-%m-%d %H:%M}": c.proof.flaw for c in proof.bad}
    stated = {
        "units": dg.MetadataValue.int(proof.units),
        "never proven": dg.MetadataValue.int(proof.unproven),
        "oldest proof": _instant(proof.oldest_proof_at),
        "last restore drill": _instant(proof.drilled_at),
        "seconds of that restore": None
        if proof.drill_took is None
        else dg.MetadataValue.float(proof.drill_took.total_seconds()),
        "bad versions": dg.MetadataValue.md(reasons_as_markdown(bad, limit=_LISTED)),
    }
    return {name: value for name, value in stated.items() if value is not None}


def plan_metadata(plan: VerificationPlan) -> Mapping[str, dg.MetadataValue]:
    """What the plan would read, and what waits."""
    waiting = {f"{w.version.unit} ({w.version.version_id})": w.reason for w in plan.waiting}
    return {
        "plan": dg.MetadataValue.text(render_verification(plan, limit=0).splitlines()[0]),
        "to verify": dg.MetadataValue.int(len(plan.checks)),
        "bytes at most": dg.MetadataValue.int(plan.cost),
        "never proven": dg.MetadataValue.int(plan.never_proven),
        "waiting": dg.MetadataValue.md(reasons_as_markdown(waiting, limit=_LISTED)),
    }


def report_metadata(report: VerificationReport) -> Mapping[str, dg.MetadataValue]:
    """How many ended how, what they cost, and what is wrong."""
    drills = {str(one.version.unit): one.reason for one in report.found if one.how is How.DRILL}
    return {
        **{outcome.value: dg.MetadataValue.int(len(report.of(outcome))) for outcome in Outcome},
        "bytes read": dg.MetadataValue.int(report.bytes_scanned),
        "restore drills": dg.MetadataValue.md(reasons_as_markdown(drills, limit=_LISTED)),
        "differ": dg.MetadataValue.md(reasons_as_markdown(_reasons(report, Outcome.DIFFERS), limit=_LISTED)),
        "could not be read": dg.MetadataValue.md(
            reasons_as_markdown(_reasons(report, Outcome.COULD_NOT), limit=_LISTED)
        ),
    }


def _instant(instant: datetime | None) -> dg.MetadataValue | None:
    return None if instant is None else dg.MetadataValue.timestamp(instant)


def _reasons(report: VerificationReport, outcome: Outcome) -> dict[str, str]:
    return {f"{one.version.unit} ({one.version.version_id})": one.reason for one in report.of(outcome)}
