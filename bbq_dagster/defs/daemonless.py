"""A day without the daemon: let each sensor look once, and execute the runs that it asks for, in this process.

What the demo, the benchmarks and the tests use in place of Dagster's daemon. Decides nothing: sensors and runs are
those of the definitions.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from bbq_dagster.defs.jobs import backup_now


@dataclass(frozen=True, slots=True)
class RunMade:
    """A run that a sensor asked for, executed: of an asset, or of a job. ``seconds`` is wall time."""

    run_id: str
    what: str
    ok: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Tick:
    """One look of one sensor: why it asked for nothing, or the runs that it asked for."""

    sensor: str
    skipped: str
    runs: tuple[RunMade, ...]


def tick_sensors(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Iterator[Tick]:
    """Let every sensor look once, as if it never had before: it is due at once."""
    repository = definitions.get_repository_def()
    resources = dict(definitions.resources or {})
    for sensor in repository.sensor_defs:
        with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
            answer = sensor.evaluate_tick(context)
        runs = tuple(_execute(definitions, instance, request) for request in answer.run_requests or ())
        yield Tick(sensor.name, answer.skip_message or "", runs)


def _execute(definitions: dg.Definitions, instance: dg.DagsterInstance, request: dg.RunRequest) -> RunMade:
    began = time.monotonic()
    keys = list(request.asset_selection or ())
    job = definitions.resolve_implicit_global_asset_job_def() if keys else definitions.resolve_job_def(backup_now.name)
    result = job.execute_in_process(
        run_config=request.run_config,
        instance=instance,
        tags=request.tags,
        asset_selection=keys or None,
        raise_on_error=False,
    )
    what = ", ".join(key.to_user_string() for key in keys) or job.name
    return RunMade(result.run_id, what, result.success, time.monotonic() - began)
