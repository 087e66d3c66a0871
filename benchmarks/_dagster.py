"""Dagster as a benchmark needs it: instances on SQLite and Postgres, and a day of backups on a warehouse in memory."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.definitions import build_definitions
from bbq_dagster.defs.daemonless import tick_sensors
from bbq_dagster.defs.events import add_partitions
from bbq_dagster.defs.names import asset_key_of, partitions_of
from bbq_dagster.settings import Limits, Settings
from bbq_dagster_tests.defs.world import SALES, World, resource_of, settings_in
from bbq_dagster_tests.postgres import running_postgres
from benchmarks._figure import print_figure
from benchmarks._spent import Aside, Spent

QUIET = "telemetry: {enabled: false}\n"
UNITS = 10_000
UNITS_PER_RUN = 1000
NO_LIMITS = replace(Limits(), requests_per_second=1_000_000, max_units_per_run=UNITS_PER_RUN)


@contextmanager
def on_sqlite() -> Iterator[dg.DagsterInstance]:
    """A fresh home in a temporary folder."""
    with TemporaryDirectory() as home, _instance_in(Path(home), QUIET) as instance:
        yield instance


@contextmanager
def on_postgres() -> Iterator[dg.DagsterInstance]:
    """A fresh database in a server of its own, durable as it is by default."""
    with running_postgres() as postgres, TemporaryDirectory() as home:
        postgres.create_database("dagster")
        config = f"{QUIET}storage:\n  postgres:\n    postgres_url: {postgres.url('dagster')}\n"
        with _instance_in(Path(home), config) as instance:
            yield instance


@contextmanager
def _instance_in(home: Path, config: str) -> Iterator[dg.DagsterInstance]:
    (home / "dagster.yaml").write_text(config)
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        yield instance


@dataclass(frozen=True, slots=True)
class Day:
    """A daily backup, executed: ``seconds`` in all, ``in_dagster`` of these beside planning and copying.

    What the catalog in memory takes is left out: it searches all that it has for each question.
    """

    units: int
    runs: int
    seconds: float
    in_dagster: float

    @property
    def ms_per_unit(self) -> float:
        return self.in_dagster / self.units * 1000


def print_per_unit(name: str, instance: dg.DagsterInstance, *, target_ms: float) -> None:
    """Dagster's share per unit: of a tenth of the units, to be looked at, and of all of them, against the target."""
    units = size_asked_for(UNITS)
    back_up_day(instance, 1, dataset=DatasetRef("acme-shop", "warming_up"))
    tenth = back_up_day(instance, units // 10, dataset=DatasetRef("acme-shop", "tenth"))
    whole = back_up_day(instance, units)
    for day in (tenth, whole):
        print(f"{day.units:,} units in {day.runs:,} runs: {day.seconds:.1f} s, {day.in_dagster:.1f} s in Dagster")
    print_figure(f"{name}, a tenth", tenth.ms_per_unit, "ms/unit", target=None)
    print_figure(name, whole.ms_per_unit, "ms/unit", target=target_ms)


def size_asked_for(default: int) -> int:
    """The size that the command line names, if it does."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else default


def back_up_day(instance: dg.DagsterInstance, units: int, *, dataset: DatasetRef = SALES) -> Day:
    """The first day of a dataset with so many tables: the sensor looks, and the runs that it asks for are executed.

    The warehouse is one in memory, and nothing limits how fast it is asked.
    """

    def by_sensor(definitions: dg.Definitions) -> list[bool]:
        return [run.ok for tick in tick_sensors(definitions, instance) for run in tick.runs]

    return _day(instance, units, dataset, by_sensor)


def back_up_day_by_partition(instance: dg.DagsterInstance, units: int, *, dataset: DatasetRef) -> Day:
    """The same by a run for each partition, as Dagster makes them of a selection of scattered partitions."""
    keys = list(_tables(units))
    add_partitions(instance, partitions_of(dataset), keys)

    def by_partition(definitions: dg.Definitions) -> list[bool]:
        job = definitions.resolve_implicit_global_asset_job_def()
        return [_execute_partition(job, instance, dataset, key).success for key in keys]

    return _day(instance, units, dataset, by_partition)


def _execute_partition(
    job: dg.JobDefinition, instance: dg.DagsterInstance, dataset: DatasetRef, key: str
) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(
        instance=instance, asset_selection=[asset_key_of(dataset)], tags={"dagster/partition": key}
    )


def _day(
    instance: dg.DagsterInstance, units: int, dataset: DatasetRef, execute: Callable[[dg.Definitions], list[bool]]
) -> Day:
    world = World()
    world.put(*(f"{dataset}.{table}" for table in _tables(units)))
    world.pass_time(hours=1)
    world.catalog = catalog = Aside(world.catalog)
    gc.freeze()  # a run's process does not hold the warehouse, and has nothing of it to search for garbage
    with TemporaryDirectory() as folder:
        settings: Settings = replace(settings_in(Path(folder)), limits=NO_LIMITS)
        definitions = build_definitions(settings, [dataset], bbq=resource_of(world, settings))
        with Spent.measured() as spent, (Path(folder) / "log").open("w") as log, redirect_stderr(log):
            began = time.perf_counter()
            runs = execute(definitions)
            wall = time.perf_counter() - began
    assert all(runs)
    assert len(instance.get_materialized_partitions(asset_key_of(dataset))) == units
    return Day(units, len(runs), wall - catalog.seconds, spent.in_dagster(wall))


def _tables(count: int) -> Iterator[str]:
    return (f"table_{number:06}" for number in range(count))
