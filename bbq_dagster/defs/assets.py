"""An asset per source dataset, with a partition per unit: what the UI shows, and where backups of it are launched.

A run copies what it is asked for:

* ``keys`` in the run config: these (the sensors' runs: those of them that still need a copy)
* partitions chosen in the UI: exactly these, whether or not they changed
* neither: all that changed in the dataset
"""

from collections.abc import Iterator, Sequence

import dagster as dg
from pydantic import Field

from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.defs.backups import BackupRun
from bbq_dagster.defs.metadata import dataset_link
from bbq_dagster.defs.names import asset_key_of, group_of, op_of, partitions_of
from bbq_dagster.defs.resources import BbqResource

POOL = "bigquery_copy"
"""The concurrency pool of all runs that copy; a limit for it is set in Dagster, not here."""

MAX_PARTITIONS_PER_BACKFILL_RUN = 500


class BackupConfig(dg.Config):
    """What a run of a dataset's asset backs up."""

    keys: list[str] = Field(
        default=[],
        description="Tables and partitions of this dataset, such as orders or events$20240131; a table stands for all"
        " its partitions. Empty: the partitions that the run was launched with, else all that changed.",
    )
    only_changed: bool = Field(
        default=False,
        description="Of the keys, back up those alone that changed since their last backup. Without it: all of them.",
    )


def build_backup_asset(dataset: DatasetRef) -> dg.AssetsDefinition:
    """The asset ``project/dataset``. It returns no output: the run writes one event per unit itself."""
    spec = dg.AssetSpec(
        asset_key_of(dataset),
        description=f"Backups of {dataset}: a partition for each table, or for each partition of a partitioned one.",
        group_name=group_of(dataset.project),
        kinds={"bigquery"},
        metadata={"dataset": str(dataset), "console": dg.MetadataValue.url(dataset_link(dataset))},
        partitions_def=partitions_of(dataset),
        skippable=True,
    )

    @dg.multi_asset(
        name=op_of(dataset),
        specs=[spec],
        backfill_policy=dg.BackfillPolicy.multi_run(MAX_PARTITIONS_PER_BACKFILL_RUN),
        pool=POOL,
    )
    def backup(
        context: dg.AssetExecutionContext, config: BackupConfig, bbq: BbqResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        run = BackupRun.of(context.op_execution_context, bbq)
        asked = [Unit.of_key(dataset, key) for key in config.keys or _partitions_of_run(context)]
        plan = run.plan_units(asked, only_changed=config.only_changed) if asked else run.plan_changed(dataset)
        run.finish(asked, plan, run.apply(plan))
        yield from ()

    return backup


def _partitions_of_run(context: dg.AssetExecutionContext) -> Sequence[str]:
    return context.partition_keys if context.has_partition_key or context.has_partition_key_range else ()
