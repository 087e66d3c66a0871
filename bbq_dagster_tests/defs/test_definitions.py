"""What the code location loads, and what it asks the outside world for while it does: nothing."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.discovery import remember_datasets
from bbq_dagster.defs.names import asset_key_of
from bbq_dagster.settings import load_settings

CONFIG = """
backup_project: acme-backup
catalog: {location: EU}
sources:
  - project: acme-shop
    daily_at: "02:30"
    time_zone: Europe/London
  - project: example.com:crm
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where BigQuery would be; it never answers, and shows whether somebody called."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture
def environment(tmp_path: Path, listener: socket.socket) -> dict[str, str]:
    (tmp_path / "bbq.yaml").write_text(CONFIG)
    (tmp_path / "home").mkdir()
    return {
        **os.environ,
        "BBQ_CONFIG": str(tmp_path / "bbq.yaml"),
        "BIGQUERY_EMULATOR_HOST": f"http://127.0.0.1:{listener.getsockname()[1]}",
        "DAGSTER_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def loaded(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dg.RepositoryDefinition:
    """The repository as the code server loads it."""
    from bbq_dagster.definitions import defs

    for name in ("BBQ_CONFIG", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.setenv(name, environment[name])
    return defs().get_repository_def()


def validate(environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "bbq_dagster.definitions"]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("count", [0, 2, 200])
def test_each_known_dataset_is_an_asset_and_loading_asks_bigquery_nothing(
    count: int, environment: dict[str, str], listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = [DatasetRef("acme-shop", f"dataset_{number:03}") for number in range(count)]
    remember_datasets(load_settings(None, environment), datasets)
    repository = loaded(environment, monkeypatch)

    assert repository.asset_graph.get_all_asset_keys() == {asset_key_of(dataset) for dataset in datasets}
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "daily_acme_shop",
        "daily_exampleDOTcomCOLONcrm",
        "new_datasets",
    }
    assert repository.has_job("backup_now")
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_an_asset_shows_where_it_comes_from(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    sales = DatasetRef("acme-shop", "sales")
    remember_datasets(load_settings(None, environment), [sales])
    node = loaded(environment, monkeypatch).asset_graph.get(asset_key_of(sales))

    assert (node.group_name, node.kinds) == ("acme_shop", {"bigquery"})
    assert node.metadata["console"].value.endswith("project=acme-shop&ws=!1m4!1m3!3m2!1sacme-shop!2ssales")
    assert node.backfill_policy == dg.BackfillPolicy.multi_run(500)


@pytest.mark.slow
def test_dagster_finds_the_definitions_valid(environment: dict[str, str], tmp_path: Path) -> None:
    datasets = [DatasetRef("example.com:crm", f"dataset_{number}") for number in range(2)]
    remember_datasets(load_settings(None, environment), datasets)

    validated = validate(environment, tmp_path)

    assert validated.returncode == 0, validated.stderr


@pytest.mark.slow
def test_settings_that_are_wrong_are_named_in_dagsters_error(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bbq.yaml").write_text(CONFIG.replace("backup_project", "backup_projekt"))

    validated = validate(environment, tmp_path)

    assert validated.returncode == 1
    assert "bbq.yaml: 2 problems" in validated.stdout
    assert "backup_projekt" in validated.stdout
