"""Asset checks of every dataset, by one look at the sources: protected in time, like its source, nothing flagged.

What counts is decided in ``core.slis`` and ``core.anomalies``. The job ``health`` runs them all, and so does its
schedule, which is off until somebody turns it on. Dagster adds the checks of an asset to every run that materializes
it: there they are left out, as a look for each of many runs of a day would cost more than their backups do.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

import dagster as dg

from bbq_dagster.core.holds import Hold
from bbq_dagster.core.slis import Sli, SliReport, Violation
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.defs.metadata import reasons_as_markdown
from bbq_dagster.defs.names import asset_key_of, dataset_of
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import BbqError

HEALTH_AT = "0 8 * * *"
"""After the daily backups had their time."""

PROTECTED = "protected_in_time"
ALIKE = "copies_match_unmodified_sources"
NO_ANOMALY = "no_anomaly"

_SLIS: Mapping[str, tuple[Sli, ...]] = {
    PROTECTED: (Sli.NEVER_BACKED_UP, Sli.UNPROTECTED, Sli.COPIES_FAIL, Sli.NOT_LOOKED_AT),
    ALIKE: (Sli.DIFFERS,),
}
_DESCRIPTIONS = {
    PROTECTED: "Every change and every new table is backed up in time, and the dataset could be looked at.",
    ALIKE: "What nobody wrote to since it was copied has the rows and bytes of its newest version.",
    NO_ANOMALY: "Nothing lost so much, or changed so, since its last version that its older versions are held.",
}
_LISTED = 200


def build_health(datasets: Collection[DatasetRef]) -> dg.Definitions:
    """The checks of these datasets with their job and its schedule; nothing at all where there is no dataset."""
    if not datasets:
        return dg.Definitions()
    checks = build_health_checks(datasets)
    job = dg.define_asset_job(
        "health",
        selection=dg.AssetSelection.checks(checks),
        description="Looks at all sources, and checks that they are protected as they should be.",
    )
    schedule = dg.ScheduleDefinition(
        name="health_daily",
        job=job,
        cron_schedule=HEALTH_AT,
        execution_timezone="UTC",
        description="Checks daily that every dataset is protected as it should be.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    return dg.Definitions(asset_checks=[checks], jobs=[job], schedules=[schedule])


def build_health_checks(datasets: Collection[DatasetRef]) -> dg.AssetChecksDefinition:
    """Three checks for each of ``datasets``, all by one op: one look at the sources serves all of them."""

    @dg.multi_asset_check(
        name="check_health",
        specs=[
            dg.AssetCheckSpec(name, asset=asset_key_of(dataset), description=description)
            for dataset in datasets
            for name, description in _DESCRIPTIONS.items()
        ],
        can_subset=True,
    )
    def check_health(context: dg.AssetCheckExecutionContext, bbq: BbqResource) -> Iterator[dg.AssetCheckResult]:
        if context.run.asset_selection:
            context.log.info("this run makes backups: the checks are left to the job health")
            return
        wanted = context.selected_asset_check_keys
        stack = bbq.stack()
        try:
            report = stack.slis(now=bbq.now(), datasets={dataset_of(key.asset_key) for key in wanted})
            flagged = stack.anomalies()
        except BbqError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.log.info(str(report))
        for key in sorted(wanted, key=str):
            yield _result(key, report, flagged)

    return check_health


def _result(key: dg.AssetCheckKey, report: SliReport, flagged: Iterable[Hold]) -> dg.AssetCheckResult:
    dataset = dataset_of(key.asset_key)
    if key.name == NO_ANOMALY:
        return _evaluated(key, {hold.target: hold.reason for hold in flagged if _is_in(hold, dataset)}, {})
    rpos = [rpo.rpo for rpo in report.rpos if rpo.table.in_dataset == dataset and rpo.rpo is not None]
    oldest = max(rpos, default=None)
    seconds = {} if oldest is None or key.name != PROTECTED else {"RPO in seconds": int(oldest.total_seconds())}
    return _evaluated(key, _reasons(report.of(dataset, *_SLIS[key.name])), seconds)


def _evaluated(key: dg.AssetCheckKey, reasons: Mapping[str, str], numbers: Mapping[str, int]) -> dg.AssetCheckResult:
    """A warning: nothing waits for it, and what is late is still protected as of its last version."""
    return dg.AssetCheckResult(
        passed=not reasons,
        asset_key=key.asset_key,
        check_name=key.name,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "violations": dg.MetadataValue.int(len(reasons)),
            "which": dg.MetadataValue.md(reasons_as_markdown(reasons, limit=_LISTED)),
            **{name: dg.MetadataValue.int(number) for name, number in numbers.items()},
        },
    )


def _reasons(violations: Iterable[Violation]) -> dict[str, str]:
    found: dict[str, str] = {}
    for violation in violations:
        name = str(violation.subject)
        found[name] = "; ".join(filter(None, [found.get(name), f"{violation.sli}: {violation.reason}"]))
    return found


def _is_in(hold: Hold, dataset: DatasetRef) -> bool:
    return Unit.parse(hold.target).table.in_dataset == dataset
