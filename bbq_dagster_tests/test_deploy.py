"""What is in ``deploy/``: taken by those who will read it, as far as they are here, and in agreement with itself."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.config import PoolGranularity
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_docker import DockerRunLauncher

from bbq_dagster.settings import load_settings
from bbq_dagster_tests.postgres import Postgres, running_postgres

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
REQUESTS_AT_ONCE, COPY_JOBS_A_DAY = 300, 100_000
"""BigQuery: quotas, of a user and of a project."""


def parsed(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.fixture
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        postgres.create_database("dagster")
        yield postgres


@pytest.fixture
def instance(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """What ``deploy/dagster.yaml`` makes."""
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "dagster.yaml").read_text())
    for name, value in {"DAGSTER_HOME": str(tmp_path), **postgres.environment("dagster")}.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_dagster_takes_its_file(instance: dg.DagsterInstance) -> None:
    pools = instance.get_concurrency_config().pool_config

    assert isinstance(instance.run_launcher, DockerRunLauncher)
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert (pools.default_pool_limit, pools.pool_granularity) == (3, PoolGranularity.RUN)
    assert instance.run_monitoring_enabled
    assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)


def test_runs_that_copy_at_once_stay_within_the_limits_of_bigquery() -> None:
    at_once = parsed("dagster.yaml")["concurrency"]["pools"]["default_limit"]
    limits = load_settings(DEPLOY / "bbq.yaml", {}).limits
    unknown_to_a_plan = (at_once - 1) * limits.max_units_per_run

    assert limits.concurrent_runs == at_once
    assert at_once * limits.threads <= REQUESTS_AT_ONCE
    assert limits.copy_jobs_per_day + unknown_to_a_plan <= COPY_JOBS_A_DAY


@pytest.mark.parametrize("key", ["concurrency", "run_retries"])
def test_kubernetes_gets_the_same(key: str) -> None:
    assert parsed("helm-values.yaml")["additionalInstanceConfig"][key] == parsed("dagster.yaml")[key]


def test_a_run_in_a_container_has_what_the_code_server_has() -> None:
    compose, launcher = parsed("compose.yaml"), parsed("dagster.yaml")["run_launcher"]["config"]
    code = compose["services"]["code"]
    environment = dict(code["environment"])

    assert environment.pop("DAGSTER_CURRENT_IMAGE") == code["image"]
    assert sorted(environment) == sorted(launcher["env_vars"])
    assert code["volumes"] == launcher["container_kwargs"]["volumes"]
    assert [compose["networks"][name]["name"] for name in code["networks"]] == [launcher["network"]]
    assert compose["volumes"]["bbq"]["name"] == "bbq"


def test_services_have_what_dagsters_file_asks_for() -> None:
    asked = {value["env"] for value in parsed("dagster.yaml")["storage"]["postgres"]["postgres_db"].values()}
    services = parsed("compose.yaml")["services"]

    for name in ("code", "webserver", "daemon"):
        assert asked <= services[name]["environment"].keys(), name


def test_the_workspace_names_the_code_server() -> None:
    (location,) = parsed("workspace.yaml")["load_from"]
    server = location["grpc_server"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()

    assert server["host"] in parsed("compose.yaml")["services"]
    assert f'"--port", "{server["port"]}"' in dockerfile
    assert parsed("helm-values.yaml")["dagster-user-deployments"]["deployments"][0]["port"] == server["port"]


def test_the_image_holds_what_is_there_and_is_of_this_version(project: dict[str, Any]) -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    sources = [name for line in re.findall(r"^COPY (.*)$", dockerfile, re.M) for name in line.split()[:-1]]
    (extras,) = re.findall(r"'\.\[(.*)\]'", dockerfile)
    image = parsed("helm-values.yaml")["dagsterDaemon"]["image"]

    assert [name for name in sources if not (ROOT / name).exists()] == []
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert parsed("compose.yaml")["services"]["code"]["image"] == f"bbq_dagster:{project['version']}"
    assert image["tag"] == project["version"]


def test_the_image_puts_the_settings_where_the_volumes_are() -> None:
    (settings,) = re.findall(r"BBQ_CONFIG=(\S+)", (DEPLOY / "Dockerfile").read_text())
    (deployment,) = parsed("helm-values.yaml")["dagster-user-deployments"]["deployments"]
    mounts = {mount["name"]: mount["mountPath"] for mount in deployment["volumeMounts"]}

    assert parsed("compose.yaml")["services"]["code"]["environment"]["BBQ_CONFIG"] == settings
    assert parsed("compose.yaml")["services"]["code"]["volumes"] == [f"bbq:{Path(settings).parent}"]
    assert mounts == {"settings": settings, "state": str(Path(settings).parent)}
