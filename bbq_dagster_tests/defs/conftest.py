"""Dagster around the world in memory: definitions, ticks and runs, on an instance of its own."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.definitions import build_definitions
from bbq_dagster.defs.names import asset_key_of, op_of, partitions_of
from bbq_dagster.settings import Settings
from bbq_dagster_tests.defs.world import SALES, World, resource_of, settings_in, statuses


@dataclass
class Orchestra:
    """A code location with an asset for each of ``datasets``."""

    instance: dg.DagsterInstance
    world: World
    settings: Settings
    datasets: tuple[DatasetRef, ...] = (SALES,)

    @property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.settings, self.datasets, bbq=resource_of(self.world, self.settings))

    def tick(self, cursor: str | None = None, *, sensor: str = "daily_acme_shop") -> SensorExecutionData:
        repository = self.definitions.get_repository_def()
        resources = {"bbq": resource_of(self.world, self.settings)}
        with dg.build_sensor_context(self.instance, cursor, repository_def=repository, resources=resources) as context:
            return repository.get_sensor_def(sensor).evaluate_tick(context)

    def run(
        self,
        dataset: DatasetRef = SALES,
        *,
        keys: Sequence[str] = (),
        only_changed: bool = False,
        tags: dict[str, str] | None = None,
        run_id: str | None = None,
        **partitions: str,
    ) -> dg.ExecuteInProcessResult:
        """A run of the dataset's asset, as the daemon or the UI would launch it."""
        config = {"keys": list(keys), "only_changed": only_changed}
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            run_config={"ops": {op_of(dataset): {"config": config}}},
            instance=self.instance,
            asset_selection=[asset_key_of(dataset)],
            tags={**(tags or {}), **{f"dagster/{name}": value for name, value in partitions.items()}},
            raise_on_error=False,
            run_id=run_id,
        )

    def launch(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """What the daemon makes of a run request."""
        assets = list(request.asset_selection or ())
        job = "__ASSET_JOB" if assets else "backup_now"
        return (
            self.definitions.get_repository_def()
            .get_job(job)
            .execute_in_process(
                run_config=request.run_config,
                instance=self.instance,
                asset_selection=assets or None,
                tags=request.tags,
                raise_on_error=False,
            )
        )

    def backup_now(self, *tables: str, only_changed: bool = False) -> dg.ExecuteInProcessResult:
        config = {"tables": list(tables), "only_changed": only_changed}
        return self.definitions.get_job_def("backup_now").execute_in_process(
            run_config={"ops": {"backup_tables": {"config": config}}}, instance=self.instance, raise_on_error=False
        )

    def statuses(self, dataset: DatasetRef = SALES) -> dict[str, str]:
        return statuses(self.instance, asset_key_of(dataset), partitions_of(dataset))

    def materializations(self, dataset: DatasetRef = SALES) -> list[dg.AssetMaterialization]:
        """All of them, oldest first."""
        records = self.instance.fetch_materializations(asset_key_of(dataset), limit=10_000, ascending=True).records
        return [record.asset_materialization for record in records if record.asset_materialization]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def orchestra(world: World, instance: dg.DagsterInstance, tmp_path: Path) -> Orchestra:
    return Orchestra(instance, world, settings_in(tmp_path))


@pytest.fixture
def failure_of() -> Callable[[dg.ExecuteInProcessResult], str]:
    """What a failed run says of itself."""

    def description(result: dg.ExecuteInProcessResult) -> str:
        failed = [event for event in result.all_events if event.is_step_failure]
        return re.sub(r"^dagster.*?Failure: ", "", failed[0].step_failure_data.user_failure_data.description)

    return description
