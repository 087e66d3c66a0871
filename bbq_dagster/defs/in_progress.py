"""What queued and running runs already have in hand, so that nobody asks for it a second time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.defs.names import asset_key_of, op_of, partitions_of

_FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_UNFINISHED = [status for status in dg.DagsterRunStatus if status not in _FINISHED]
_GONE_AFTER = timedelta(hours=12)
"""A run that is older has lost its worker: Dagster calls one that was killed "started" for ever, unless it is told to
monitor runs. Less than a day, so that the next daily run takes over. To be wrong is to ask twice, not to copy twice."""

_PARTITION = "dagster/partition"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True, slots=True)
class _InHand:
    """Keys of one dataset, a table standing for all its partitions; ``everything``: whatever changed in it."""

    keys: frozenset[str] = frozenset()
    everything: bool = False

    def holds(self, unit: Unit) -> bool:
        return self.everything or unit.key in self.keys or unit.table.table in self.keys


def units_in_hand(
    instance: dg.DagsterInstance, datasets: Iterable[DatasetRef], *, now: datetime
) -> Callable[[Unit], bool]:
    """A function that says whether an unfinished run of one of these datasets' assets was asked for a unit."""
    recent = dg.RunsFilter(statuses=_UNFINISHED, created_after=now - _GONE_AFTER)
    unfinished = instance.get_runs(recent)
    in_hand = {dataset: _in_hand(instance, dataset, unfinished) for dataset in datasets}
    return lambda unit: unit.table.in_dataset in in_hand and in_hand[unit.table.in_dataset].holds(unit)


def _in_hand(instance: dg.DagsterInstance, dataset: DatasetRef, runs: Iterable[dg.DagsterRun]) -> _InHand:
    asset = asset_key_of(dataset)
    asked = [_asked(instance, dataset, run) for run in runs if asset in (run.asset_selection or ())]
    return _InHand(frozenset(key for keys in asked for key in keys), everything=not all(asked))


def _asked(instance: dg.DagsterInstance, dataset: DatasetRef, run: dg.DagsterRun) -> list[str]:
    """The keys that a run was launched with, in its config or as partitions; none is all that changed."""
    ops: Any = run.run_config.get("ops", {})
    if keys := ops.get(op_of(dataset), {}).get("config", {}).get("keys"):
        return list(keys)
    if _PARTITION in run.tags:
        return [run.tags[_PARTITION]]
    first, last = (run.tags.get(tag) for tag in _RANGE)
    return [] if first is None or last is None else _between(instance, dataset, first, last)


def _between(instance: dg.DagsterInstance, dataset: DatasetRef, first: str, last: str) -> list[str]:
    """The keys of a range; Dagster orders them by the time at which they were added."""
    keys = instance.get_dynamic_partitions(str(partitions_of(dataset).name))
    return list(keys[keys.index(first) : keys.index(last) + 1]) if {first, last} <= set(keys) else []
