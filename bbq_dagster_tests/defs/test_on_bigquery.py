"""The definitions as they are deployed, on the embedded BigQuery: from discovery to a second day without changes."""

from pathlib import Path

import dagster as dg
import pytest

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.definitions import defs
from bbq_dagster.defs.discovery import remember_datasets
from bbq_dagster.defs.names import asset_key_of, partitions_of
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import open_stack
from bbq_dagster_tests.defs.world import statuses
from bbq_dagster_tests.warehouse.scene import BigQueryScene

SALES = DatasetRef("acme-shop", "sales")
DAYS = {f"202603{day:02}": day for day in range(1, 6)}
CONFIG = """
backup_project: acme-backup
catalog: {location: EU}
sources: [{project: acme-shop}]
"""


@pytest.fixture
def repository(bigquery: LocalBigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.RepositoryDefinition:
    scene = BigQueryScene(bigquery.client("acme-shop"))
    scene.create_dataset(SALES)
    scene.create_table(SALES.table("Größe 1"), rows=3)
    scene.create_partitioned_table(SALES.table("events"), DAYS)
    (tmp_path / "bbq.yaml").write_text(CONFIG)
    monkeypatch.setenv("BBQ_CONFIG", str(tmp_path / "bbq.yaml"))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
    stack = open_stack(load_settings(tmp_path / "bbq.yaml", {"BIGQUERY_EMULATOR_HOST": bigquery.url}))
    remember_datasets(stack.settings, [dataset.ref for dataset in stack.discover()])
    return defs().get_repository_def()


def launch(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, request: dg.RunRequest
) -> dg.ExecuteInProcessResult:
    return repository.get_job("__ASSET_JOB").execute_in_process(
        run_config=request.run_config, instance=instance, asset_selection=list(request.asset_selection or ())
    )


def test_every_table_and_partition_is_backed_up_and_none_twice(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    resources = repository.get_top_level_resources()

    def tick() -> list[dg.RunRequest]:
        with dg.build_sensor_context(instance, repository_def=repository, resources=resources) as context:
            return list(repository.get_sensor_def("daily_acme_shop").evaluate_tick(context).run_requests or ())

    (request,) = tick()
    launch(repository, instance, request)
    again = tick()
    launch(repository, instance, request)
    shown = statuses(instance, asset_key_of(SALES), partitions_of(SALES))
    rows = sorted(
        (record.partition_key, record.asset_materialization.metadata["dagster/row_count"].value)
        for record in instance.fetch_materializations(asset_key_of(SALES), limit=100).records
    )

    assert shown == dict.fromkeys(["Größe 1", *(f"events${day}" for day in DAYS)], "MATERIALIZED")
    assert rows == [("Größe 1", 3), *((f"events${day}", count) for day, count in DAYS.items())]
    assert again == []
