"""A run of Dagster as a process to break: what runs, and an event log that can end its process at any of its writes.

The storage is put in place by ``dagster.yaml``, as anybody's would be. It notes each write in a file, by the name of
the method that asks for it, and kills its process right before or right after the one that it is told to.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.definitions import build_definitions
from bbq_dagster.defs.names import asset_key_of, op_of
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.settings import load_settings
from bbq_dagster_tests.trust.shop import SALES, WEATHER

WRITES_IN = "BBQ_TRUST_WRITES"
"""The file in which each write is noted."""
KILLED_AT = "BBQ_TRUST_KILLED_AT"
"""``before 3``: right before the third write the process kills itself; ``after 3``: right after it."""

_NAME_TAG = "trust/name"


class BreakableEventLog(ConsolidatedSqliteEventLogStorage):
    """Dagster's event log in one SQLite file, whose process may end at a write."""

    def store_event(self, event: EventLogEntry) -> None:
        with _write(event.dagster_event_type.value if event.dagster_event_type else "log"):
            super().store_event(event)

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        with _write("add_dynamic_partitions"):
            super().add_dynamic_partitions(partitions_def_name, partition_keys)

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        with _write("delete_dynamic_partition"):
            super().delete_dynamic_partition(partitions_def_name, partition_key)


@contextmanager
def _write(name: str) -> Iterator[None]:
    if WRITES_IN not in os.environ:
        yield
        return
    with Path(os.environ[WRITES_IN]).open("a+") as file:
        file.seek(0)
        number = 1 + sum(1 for _ in file)
        file.write(f"{name}\n")
    moment, _, at = os.environ.get(KILLED_AT, "never 0").partition(" ")
    is_here = int(at) == number
    if is_here and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    yield
    if is_here and moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Request:
    """A run to make: of a dataset's asset with these keys, as the daily sensor asks for it, or of a job."""

    name: str
    keys: tuple[str, ...] = ()
    dataset: DatasetRef | None = None
    plan: str = ""

    @property
    def ops(self) -> Mapping[str, Any]:
        if self.plan:
            return {"restore_versions": {"config": {"dry_run": False, "plan": self.plan}}}
        if self.dataset is None:
            return {"delete_expired_versions": {"config": {"dry_run": False}}}
        return {op_of(self.dataset): {"config": {"keys": list(self.keys), "only_changed": True}}}


BACKUPS = (
    Request("sales", ("orders", "invoices", "events$20260102"), SALES),
    Request("weather", ("rain$20260103",), WEATHER),
)
RETENTION = (Request("retention"),)


def run_dagster(requests: Sequence[Request]) -> None:
    """Execute these runs one after the other; one that was made before is executed again, as its retry would be."""
    definitions = _definitions()
    with dg.DagsterInstance.get() as instance:
        done = [
            _execute(
                definitions,
                instance,
                name=request.name,
                job=None if request.dataset else request.name,
                assets=[asset_key_of(request.dataset)] if request.dataset else None,
                run_config={"ops": request.ops},
            )
            for request in requests
        ]
    raise SystemExit(0 if all(done) else 1)


def _definitions() -> dg.Definitions:
    settings = load_settings(None, os.environ)
    return build_definitions(settings, (SALES, WEATHER), bbq=BbqResource(config_path=str(settings.path)))


def _execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    *,
    name: str,
    job: str | None,
    assets: Sequence[dg.AssetKey] | None,
    run_config: Mapping[str, Any],
) -> bool:
    """A run of this name, as the retry of the last one of this name."""
    earlier = instance.get_runs(dg.RunsFilter(tags={_NAME_TAG: name}), ascending=True)
    tags = {_NAME_TAG: name}
    if earlier:
        tags |= {"dagster/root_run_id": earlier[0].run_id, "dagster/parent_run_id": earlier[-1].run_id}
    chosen = definitions.resolve_job_def(job) if job else definitions.resolve_implicit_global_asset_job_def()
    return chosen.execute_in_process(
        run_config=dict(run_config), instance=instance, tags=tags, asset_selection=assets, raise_on_error=False
    ).success


def dagster_yaml(home: Path) -> str:
    """An instance that keeps its events in a ``BreakableEventLog``."""
    return f"""
telemetry: {{enabled: false}}
event_log_storage:
  module: {BreakableEventLog.__module__}
  class: {BreakableEventLog.__name__}
  config: {{base_dir: {home / "events"}}}
"""


def data_versions_per_key(home: Path) -> dict[str, list[str]]:
    """The data versions that were materialized for each asset and partition, in the order of the event log."""
    found: dict[str, list[str]] = {}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for dataset in (SALES, WEATHER):
            key = asset_key_of(dataset)
            records = instance.fetch_materializations(key, limit=1000, ascending=True).records
            for record in records:
                made = record.asset_materialization
                assert made is not None
                version = (made.tags or {})["dagster/data_version"]
                found.setdefault(f"{dataset}.{made.partition}", []).append(version)
    return found
