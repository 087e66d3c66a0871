"""``catalog_check`` and ``catalog_snapshot``: by hand, or daily by schedules that are off until somebody turns them on.

The check changes nothing: what can be repaired is repaired by `bbq catalog repair`, where somebody has looked at it.
The asset check ``record_and_copies_agree`` says of each dataset what the job found: one look at all copies serves all.
"""

from collections.abc import Collection, Iterator, Mapping

import dagster as dg

from bbq_dagster.core.drift import Drift
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.discovery import known_datasets
from bbq_dagster.defs.metadata import reasons_as_markdown
from bbq_dagster.defs.names import asset_key_of, dataset_of
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError

SNAPSHOT_AT = "0 9 * * *"
CHECK_AT = "0 8 * * *"
"""After the daily backups and retention: neither is under way then."""

CHECK = "record_and_copies_agree"

_DESCRIPTION = "Every version on record is there as it was recorded, and every copy is on record."
_LISTED = 200
_LISTED_PER_DATASET = 20


@dg.op
def compare_catalog_and_copies(context: dg.OpExecutionContext, bbq: BbqResource) -> dg.Output[None]:
    """Fails where the record and the copies disagree, or where something could not be looked at."""
    stack = bbq.stack()
    try:
        drift = stack.check_catalog()
    except BbqError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(str(drift))
    _report_checks(context, known_datasets(stack.settings), drift)
    metadata = drift_metadata(drift)
    if not drift.is_none:
        raise dg.Failure(str(drift), metadata=metadata, allow_retries=False)
    return dg.Output(None, metadata=metadata)


@dg.job(description="Compares what the catalog says with what the backup project holds. It changes nothing.")
def catalog_check() -> None:
    compare_catalog_and_copies()


catalog_check_daily = dg.ScheduleDefinition(
    name="catalog_check_daily",
    job=catalog_check,
    cron_schedule=CHECK_AT,
    execution_timezone="UTC",
    description="Compares record and copies daily. A run that finds something fails and names it.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)


@dg.op
def keep_catalog(bbq: BbqResource) -> dg.Output[None]:
    """Of a day the first snapshot is kept."""
    try:
        taken = bbq.stack().take_catalog_snapshot()
    except BbqError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    return dg.Output(None, metadata={"snapshot": str(taken.table)})


@dg.job(description="Keeps the catalog as it is in a table snapshot, in a dataset of its own.")
def catalog_snapshot() -> None:
    keep_catalog()


catalog_snapshot_daily = dg.ScheduleDefinition(
    name="catalog_snapshot_daily",
    job=catalog_snapshot,
    cron_schedule=SNAPSHOT_AT,
    execution_timezone="UTC",
    description="Takes a snapshot of the catalog daily.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)


def build_catalog(datasets: Collection[DatasetRef]) -> dg.Definitions:
    """The jobs with their schedules, and a check for each of ``datasets``."""
    return dg.Definitions(
        asset_checks=[build_record_checks(datasets)] if datasets else [],
        jobs=[catalog_check, catalog_snapshot],
        schedules=[catalog_check_daily, catalog_snapshot_daily],
    )


def build_record_checks(datasets: Collection[DatasetRef]) -> dg.AssetChecksDefinition:
    """The check of each of ``datasets``, by one op: however many are asked for, all copies are looked at once.

    Dagster adds it to every run that makes backups: there it is left out, as the look costs more than their backups do.
    """

    @dg.multi_asset_check(
        name="check_record",
        specs=[dg.AssetCheckSpec(CHECK, asset=asset_key_of(dataset), description=_DESCRIPTION) for dataset in datasets],
        can_subset=True,
    )
    def check_record(context: dg.AssetCheckExecutionContext, bbq: BbqResource) -> Iterator[dg.AssetCheckResult]:
        if context.run.asset_selection:
            context.log.info("this run makes backups: record and copies are compared by the job catalog_check")
            return
        try:
            drift = bbq.stack().check_catalog()
        except BbqError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for dataset in sorted(dataset_of(key.asset_key) for key in context.selected_asset_check_keys):
            of_dataset = drift.of(dataset)
            yield dg.AssetCheckResult(
                passed=of_dataset.is_none,
                asset_key=asset_key_of(dataset),
                check_name=CHECK,
                metadata=drift_metadata(of_dataset, limit=_LISTED_PER_DATASET),
            )

    return check_record


def _report_checks(context: dg.OpExecutionContext, datasets: Collection[DatasetRef], drift: Drift) -> None:
    """Let the check of each of these datasets say what was just found."""
    for dataset in datasets:
        of_dataset = drift.of(dataset)
        context.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset_key_of(dataset),
                check_name=CHECK,
                passed=of_dataset.is_none,
                metadata=drift_metadata(of_dataset, limit=_LISTED_PER_DATASET),
            )
        )


def drift_metadata(drift: Drift, *, limit: int = _LISTED) -> Mapping[str, dg.MetadataValue]:
    """How much was compared, and what disagrees: ``limit`` lines of it at most."""
    unseen = {str(dataset): why for dataset, why in drift.unseen.items()}
    return {
        "versions on record": dg.MetadataValue.int(drift.versions),
        "backup tables found": dg.MetadataValue.int(drift.tables),
        "findings": dg.MetadataValue.int(len(drift.findings)),
        "findings per kind": dg.MetadataValue.json({str(kind): count for kind, count in drift.count().items()}),
        "list": dg.MetadataValue.md(
            reasons_as_markdown({f"{f.kind}: {f.subject}": f.words for f in drift.findings}, limit=limit)
        ),
        "not looked at": dg.MetadataValue.md(reasons_as_markdown(unseen, limit=limit)),
    }
