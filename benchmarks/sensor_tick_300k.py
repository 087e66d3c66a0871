"""Seconds of a look of the daily sensor over 300,000 tables in three datasets, all backed up before, on Postgres.

1,000 of them have changed. The warehouse and the catalog are in memory, and the time of the catalog is left out, which
searches all that it has for each question: what is measured is comparing, planning, and Dagster. Beside it a tenth of
the tables, and the very first look, which finds all of them new and adds their partitions.
A number of tables may be given: `python -m benchmarks.sensor_tick_300k 30000`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from bbq_dagster.core.catalog import Event, version_created
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.versions import PlannedUnit
from bbq_dagster.definitions import build_definitions
from bbq_dagster.defs.events import add_partitions
from bbq_dagster.defs.names import partitions_of
from bbq_dagster_tests.builders import a_copy, a_state
from bbq_dagster_tests.defs.world import World, resource_of, settings_in
from benchmarks._dagster import NO_LIMITS, on_postgres, size_asked_for
from benchmarks._figure import print_figure
from benchmarks._spent import Aside

TABLES, DATASETS, CHANGED = 300_000, 3, 1_000
TARGET_SECONDS = 20
_BETWEEN = timedelta(hours=1)  # from the writing of a table to its backup


def main() -> None:
    tables = size_asked_for(TABLES)
    with on_postgres() as instance:
        tenth = _seconds_of_tick(instance, _datasets("tenth", tables // 10))
        new = _datasets("new", tables)
        first = _tick(instance, _world_of(new), new)
        whole = _seconds_of_tick(instance, _datasets("whole", tables))
    print_figure("sensor_tick_300k, a tenth", tenth, "s", target=None)
    print_figure("sensor_tick_300k, the first look", first, "s", target=None)
    print_figure("sensor_tick_300k", whole, "s", target=TARGET_SECONDS)


def _datasets(name: str, tables: int) -> dict[DatasetRef, list[str]]:
    keys = [f"table_{number:06}" for number in range(tables // DATASETS)]
    return {DatasetRef("acme-shop", f"{name}_{number}"): keys for number in range(DATASETS)}


def _seconds_of_tick(instance: dg.DagsterInstance, datasets: dict[DatasetRef, list[str]]) -> float:
    world = _world_of(datasets)
    units = [dataset.table(key).unit() for dataset, keys in datasets.items() for key in keys]
    world.catalog.append(list(_versions(units, world)))
    for dataset, keys in datasets.items():
        add_partitions(instance, partitions_of(dataset), keys)
    world.pass_time(days=1)
    world.put(*map(str, units[:CHANGED]), rows=20)
    world.pass_time(hours=1)
    return _tick(instance, world, datasets)


def _world_of(datasets: dict[DatasetRef, list[str]]) -> World:
    world = World()
    world.put(*(f"{dataset}.{key}" for dataset, keys in datasets.items() for key in keys))
    world.clock.sleep(_BETWEEN.total_seconds())
    return world


def _versions(units: list[Unit], world: World) -> Iterator[Event]:
    written_at = world.now - _BETWEEN
    for unit in units:
        planned = PlannedUnit(unit, a_state(10, modified_at=written_at), "never backed up")
        copy = a_copy(unit, units=[planned], source_created_at=written_at)
        yield version_created(
            copy, planned, job_id="job", captured_at=world.now, rows=10, size_bytes=100, at=world.now, run_id="run"
        )


def _tick(instance: dg.DagsterInstance, world: World, datasets: dict[DatasetRef, list[str]]) -> float:
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log, redirect_stderr(log):
        settings = replace(settings_in(Path(folder)), limits=NO_LIMITS)
        world.catalog = catalog = Aside(world.catalog)
        bbq = resource_of(world, settings)
        repository = build_definitions(settings, list(datasets), bbq=bbq).get_repository_def()
        sensor = repository.get_sensor_def("daily_acme_shop")
        gc.freeze()
        with dg.build_sensor_context(instance, repository_def=repository, resources={"bbq": bbq}) as context:
            began = time.perf_counter()
            answer = sensor.evaluate_tick(context)
            seconds = time.perf_counter() - began - catalog.seconds
    tables, runs = sum(map(len, datasets.values())), len(answer.run_requests or ())
    print(f"{tables:,} tables: {seconds:.1f} s and {catalog.seconds:.1f} s of the catalog; {runs:,} runs", flush=True)
    return seconds


if __name__ == "__main__":
    main()
