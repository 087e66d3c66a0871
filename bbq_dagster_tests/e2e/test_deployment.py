"""Two days of a deployment: a first backup that the quota cuts short, a worker that is killed, and changes."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import Version
from bbq_dagster.defs.discovery import remember_datasets
from bbq_dagster.defs.names import asset_key_of, partitions_of
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack
from bbq_dagster_tests.defs.world import statuses
from bbq_dagster_tests.e2e.deployment import Deployment, deployed, environment, most_at_once, wait_until
from bbq_dagster_tests.postgres import running_postgres
from bbq_dagster_tests.warehouse.scene import BigQueryScene

SHOP, VAULT = "acme-shop", "acme-vault"
DATASETS = [DatasetRef(SHOP, f"part_{number}") for number in range(3)]
TABLES = [dataset.table(f"table_{number}") for dataset in DATASETS for number in range(10)]
QUOTA, UNITS_PER_RUN, COPY_SECONDS = 20, 4, 6
MATERIALIZED = {f"table_{number}": "MATERIALIZED" for number in range(10)}
NEXT_DAY = timedelta(hours=25)
"""A day on, and none of the copies of the first one counts against the quota any more."""
SETTINGS = f"""
endpoint: {{url}}
credentials: anonymous
backup_project: {VAULT}
catalog: {{{{location: EU}}}}
sources: [{{{{project: {SHOP}}}}}]
limits: {{{{copy_jobs_per_day: {QUOTA}, max_units_per_run: {UNITS_PER_RUN}, concurrent_runs: 3}}}}
"""

pytestmark = pytest.mark.deployment


@pytest.fixture
def deployment(bigquery: LocalBigQuery, tmp_path: Path) -> Iterator[Deployment]:
    (tmp_path / "bbq.yaml").write_text(SETTINGS.format(url=bigquery.url))
    scene = BigQueryScene(bigquery.client(SHOP))
    for dataset in DATASETS:
        scene.create_dataset(dataset)
    for table in TABLES:
        scene.create_table(table, rows=3)
    bigquery.settings(job_running_seconds=COPY_SECONDS)
    bigquery.limits(copy_jobs_per_day=QUOTA, requests_per_second=True)
    remember_datasets(load_settings(tmp_path / "bbq.yaml", {}), DATASETS)
    with running_postgres() as postgres, environment(tmp_path, postgres, "dagster"):
        postgres.create_database("dagster")
        with deployed(tmp_path) as deployment:
            yield deployment


@pytest.fixture
def instance(deployment: Deployment) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


@pytest.fixture
def stack(deployment: Deployment) -> Stack:
    return open_stack(load_settings(deployment.folder / "bbq.yaml", {}))


def test_two_days_of_three_workers(
    deployment: Deployment, instance: dg.DagsterInstance, stack: Stack, bigquery: LocalBigQuery
) -> None:
    def wait_for(versions: int) -> None:
        wait_until(lambda: len(made(stack)) >= versions and is_idle(instance), seconds=400, deployment=deployment)

    wait_until(lambda: bool(copied_tables(bigquery)), seconds=200, deployment=deployment)
    deployment.kill_a_worker()
    wait_for(QUOTA)
    first_day = made(stack)
    changed = [version.unit.table for version in first_day][:3]
    deployment.move_clock(NEXT_DAY.total_seconds())
    bigquery.advance(NEXT_DAY)
    for table in changed:
        BigQueryScene(bigquery.client(SHOP)).write(table, 5)
    wait_for(len(TABLES) + len(changed))

    versions = Counter(version.unit.table for version in made(stack))
    runs = instance.get_runs()
    assert len(first_day) == QUOTA
    assert versions == Counter([*TABLES, *changed]), "every state of every table once"
    assert copied_tables(bigquery) == versions, "no copy job was started twice"
    assert [call for call in bigquery.recent_calls() if call["status"] in (403, 429)] == [], "no limit was passed"
    assert all(statuses(instance, asset_key_of(d), partitions_of(d)) == MATERIALIZED for d in DATASETS)
    assert all(shown(deployment, dataset) == {"numMaterialized": 10, "numFailed": 0} for dataset in DATASETS)
    (killed,) = (run for run in runs if run.status != dg.DagsterRunStatus.SUCCESS)
    assert killed.run_id in {run.tags.get("dagster/parent_run_id") for run in runs}, "it was executed again"
    assert most_at_once(instance) == 3


def made(stack: Stack) -> list[Version]:
    return stack.catalog.versions(TABLES)


def is_idle(instance: dg.DagsterInstance) -> bool:
    return all(run.is_finished for run in instance.get_runs())


def copied_tables(bigquery: LocalBigQuery) -> Counter[TableRef]:
    """The sources of all copy jobs that the server has seen, refused ones included."""
    jobs = [job for job in bigquery.client(VAULT).list_jobs() if job.job_type == "copy"]
    sources = (source for job in jobs for source in job.sources)
    return Counter(TableRef(source.project, source.dataset_id, source.table_id) for source in sources)


def shown(deployment: Deployment, dataset: DatasetRef) -> dict[str, int]:
    """What the asset's page counts."""
    question = "query Page($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {"
    question += " partitionStats { numMaterialized numFailed } } } }"
    answer = deployment.ask(question, key={"path": [dataset.project, dataset.dataset]})
    return dict(answer["assetNodeOrError"]["partitionStats"])
