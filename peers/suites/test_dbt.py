"""dbt-bigquery builds a small project, twice: a seed, a partitioned incremental model, a snapshot, a view and tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from google.cloud import bigquery

_PROJECT = Path(__file__).parent / "dbt_project"
_PROFILE = """
peers:
  target: local
  outputs:
    local:
      type: bigquery
      method: oauth
      project: {project}
      dataset: built
      location: US
      threads: 2
      api_endpoint: {url}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dbt") / "project"
    shutil.copytree(_PROJECT, folder)
    profile = _PROFILE.format(project=os.environ["GOOGLE_CLOUD_PROJECT"], url=os.environ["BIGQUERY_EMULATOR_HOST"])
    (folder / "profiles.yml").write_text(profile)
    return folder


def dbt(folder, *arguments):
    command = ["dbt", "--no-use-colors", "--no-send-anonymous-usage-stats", *arguments, "--profiles-dir", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def first(project):
    return dbt(project, "build")


@pytest.fixture(scope="module")
def second(project, first):
    first.check_returncode()
    seed = project / "seeds" / "orders_raw.csv"
    seed.write_text(seed.read_text().replace("2,ink,2024-01-02,5", "2,ink,2024-01-02,6") + "4,cap,2024-01-03,1\n")
    return dbt(project, "build")


def rows(sql):
    return [tuple(row.values()) for row in bigquery.Client().query_and_wait(sql)]


def test_the_project_is_built(first):
    assert first.returncode == 0, first.stdout


@pytest.mark.usefixtures("first")
def test_the_model_is_partitioned_and_clustered():
    table = bigquery.Client().get_table("built.orders")

    assert (table.time_partitioning.field, table.clustering_fields) == ("day", ["item"])


def test_the_second_build_passes(second):
    assert second.returncode == 0, second.stdout


@pytest.mark.usefixtures("second")
def test_the_incremental_model_takes_what_changed():
    assert rows("SELECT id, amount FROM built.orders ORDER BY id") == [(1, 3), (2, 6), (3, 4), (4, 1)]


@pytest.mark.usefixtures("second")
def test_the_model_that_overwrites_partitions_takes_what_changed():
    assert rows("SELECT id, amount FROM built.orders_by_day ORDER BY id") == [(1, 3), (2, 6), (3, 4), (4, 1)]


@pytest.mark.usefixtures("second")
def test_the_snapshot_has_both_versions():
    found = rows("SELECT amount, dbt_valid_to IS NULL FROM built.orders_snapshot WHERE id = 2 ORDER BY amount")

    assert found == [(5, False), (6, True)]


@pytest.mark.usefixtures("second")
def test_documentation_is_generated(project):
    done = dbt(project, "docs", "generate")

    assert done.returncode == 0, done.stdout
