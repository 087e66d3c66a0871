"""``catalog_check`` and ``catalog_snapshot``: by hand, or daily by schedules that are off until somebody turns them on.

The check changes nothing: what can be repaired is repaired by `bbq catalog repair`, where somebody has looked at it.
"""

from collections.abc import Mapping

import dagster as dg

from bbq_dagster.core.drift import Drift
from bbq_dagster.defs.metadata import reasons_as_markdown
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError

SNAPSHOT_AT = "0 9 * * *"
CHECK_AT = "0 8 * * *"
"""After the daily backups and retention: neither is under way then."""

_LISTED = 200


@dg.op
def compare_catalog_and_copies(context: dg.OpExecutionContext, bbq: BbqResource) -> dg.Output[None]:
    """Fails where the record and the copies disagree, or where something could not be looked at."""
    try:
        drift = bbq.stack().check_catalog()
    except BbqError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(str(drift))
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


@dg.job(description="Keeps the catalog as it is for 30 days, in a dataset of its own.")
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


def drift_metadata(drift: Drift) -> Mapping[str, dg.MetadataValue]:
    """How much was compared, and what disagrees."""
    unseen = {str(dataset): why for dataset, why in drift.unseen.items()}
    return {
        "versions on record": dg.MetadataValue.int(drift.versions),
        "backup tables found": dg.MetadataValue.int(drift.tables),
        "findings": dg.MetadataValue.int(len(drift.findings)),
        "findings per kind": dg.MetadataValue.json({str(kind): count for kind, count in drift.count().items()}),
        "list": dg.MetadataValue.md(
            reasons_as_markdown({f"{f.kind}: {f.subject}": f.words for f in drift.findings}, limit=_LISTED)
        ),
        "not looked at": dg.MetadataValue.md(reasons_as_markdown(unseen, limit=_LISTED)),
    }
