"""What is left to do at a target when its copy job is done. What that is was decided in the plan of the restore.

* A table that the job made gets description, friendly name, labels and default collation.
* Partitions that came along with a whole backup table, and are not wanted, are removed.

Many targets at once, at the pace that BigQuery allows. Doing it twice is doing it once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from bbq_dagster.apply.copying import CopyLimits
from bbq_dagster.apply.pace import Runtime, TokenBucket
from bbq_dagster.core.inventory import TableOptions
from bbq_dagster.core.restore import RestoreItem, TableRestore
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import Warehouse


def finish_targets(
    copied: Iterable[tuple[TableRestore, RestoreItem]],
    warehouse: Warehouse,
    *,
    limits: CopyLimits,
    runtime: Runtime,
) -> dict[Unit, BbqError]:
    """Finish the targets of these items; the answer has those that could not be finished, each with its error."""
    pace = _Pace(limits)
    with runtime.executor(limits.threads) as pool:
        asked = []
        for table, item in copied:
            for call in _calls(table, item, warehouse):
                if (wait := pace.seconds_until_next(table.target, runtime.monotonic())) > 0:
                    runtime.sleep(wait)
                asked.append((item.target, pool.submit(_error_of, call)))
        return {target: error for target, answer in asked if (error := answer.result()) is not None}


def _calls(table: TableRestore, item: RestoreItem, warehouse: Warehouse) -> Iterator[Callable[[], None]]:
    if table.is_made_by_copy and table.options != TableOptions():
        yield partial(warehouse.describe_table, table.target, table.options)
    for unit in item.removed:
        yield partial(warehouse.delete_partition, unit)


def _error_of(call: Callable[[], None]) -> BbqError | None:
    try:
        call()
    except BbqError as error:
        return error
    return None


class _Pace:
    """Of all requests together, and of those that change one table."""

    def __init__(self, limits: CopyLimits) -> None:
        rate, updates = limits.requests_per_second, limits.updates_in_10_seconds_of_partitioned
        self._requests = TokenBucket(rate=rate, burst=max(1, rate / 10))
        self._updates: defaultdict[TableRef, TokenBucket] = defaultdict(lambda: TokenBucket.within(updates, seconds=10))

    def seconds_until_next(self, table: TableRef, now: float) -> float:
        return max(self._requests.take(now), self._updates[table].take(now)) - now
