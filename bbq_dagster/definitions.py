"""The composition root: settings and known datasets in, Dagster's definitions out. ``workspace.yaml`` names it.

Loading reads bbq.yaml and the files of ``discovery``, and asks BigQuery nothing. Before anything was discovered there
are sensors and jobs, and no assets yet: the sensors' first ticks discover them, or ``bbq discover`` does, and they show
after a reload of the code location.
"""

import os
from collections.abc import Collection

import dagster as dg

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.assets import build_backup_asset
from bbq_dagster.defs.catalog import build_catalog
from bbq_dagster.defs.discovery import known_datasets
from bbq_dagster.defs.health import build_health
from bbq_dagster.defs.jobs import backup_now
from bbq_dagster.defs.notifications import build_notification_sensors
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.defs.restores import restore
from bbq_dagster.defs.retention import retention, retention_daily
from bbq_dagster.defs.sensors import build_daily_sensor, build_new_datasets_sensor
from bbq_dagster.defs.verification import build_verification
from bbq_dagster.settings import Settings, Source, load_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Raises ``SettingsInvalid`` with all that is wrong with bbq.yaml."""
    settings = load_settings(None, os.environ)
    return build_definitions(settings, known_datasets(settings), bbq=BbqResource(config_path=str(settings.path)))


def build_definitions(settings: Settings, datasets: Collection[DatasetRef], *, bbq: BbqResource) -> dg.Definitions:
    """An asset with its checks for each of ``datasets``, a sensor for each source project, and the jobs.

    A run is one process: a step process of its own would double the start-up time of a run, and could outlive it.
    """
    backups = dg.Definitions(
        assets=[build_backup_asset(dataset) for dataset in datasets],
        jobs=[backup_now, restore, retention],
        schedules=[retention_daily],
        sensors=[
            *(_daily_sensor(settings, source, datasets) for source in settings.sources),
            build_new_datasets_sensor(settings, datasets),
            *build_notification_sensors(settings),
        ],
        resources={"bbq": bbq},
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(backups, build_catalog(datasets), build_health(datasets), build_verification(datasets))


def _daily_sensor(settings: Settings, source: Source, datasets: Collection[DatasetRef]) -> dg.SensorDefinition:
    of_source = [dataset for dataset in datasets if dataset.project == source.project]
    return build_daily_sensor(source, of_source, max_units_per_run=settings.limits.max_units_per_run)
