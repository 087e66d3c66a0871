"""What a copy, snapshot or clone takes of the limits, whether a copy job makes it or a statement of SQL."""

from collections.abc import Iterator
from dataclasses import dataclass

from bbq_dagster.local.copying import CLONE, SNAPSHOT
from bbq_dagster.local.limits import Charge, is_based_on
from bbq_dagster.local.model import TableRef
from bbq_dagster.local.partitioning import Partitioning
from bbq_dagster.local.store import Store


@dataclass(frozen=True, slots=True)
class CopyUse:
    """A copy about to be made: of which table, into which one, and how many partitions it writes there.

    Attributes:
        project: Of the job.
        operation: COPY, SNAPSHOT, CLONE or RESTORE.
        partitioning: Of the target.
    """

    project: str
    operation: str
    base: TableRef
    target: TableRef
    partitioning: Partitioning
    partitions: int
    crosses_locations: bool = False


def count_copy(store: Store, use: CopyUse) -> None:
    """Refused as a whole, before anything is changed."""
    if not store.limits:
        return
    if use.operation in (SNAPSHOT, CLONE):
        _hold_relatives(store, use.base)
    store.limits.check("partitions_per_copy_job", use.partitions)
    store.count_write(use.target, use.partitioning, use.partitions, list(_charges(use)))


def _charges(use: CopyUse) -> Iterator[Charge]:
    if use.operation == SNAPSHOT:
        yield Charge("snapshots_per_table_per_day", use.base)
        yield Charge("snapshots_per_day", use.project)
    if use.crosses_locations:
        yield Charge("cross_region_copies_per_table_per_day", use.target)
        yield Charge("cross_region_copies_per_day", use.project)


def _hold_relatives(store: Store, base: TableRef) -> None:
    if store.limits.restricts("snapshots_and_clones_per_table"):
        relatives = sum(is_based_on(table, base) for table in store.live_tables())
        store.limits.hold("snapshots_and_clones_per_table", relatives)
    store.limits.hold("snapshot_chain_depth", _depth(store, base))


def _depth(store: Store, ref: TableRef) -> int:
    """How many snapshots and clones lie between a table and the one that they all come from."""
    table = store.find_table(ref)
    bases = [] if table is None else [b for b in store.live_tables() if is_based_on(table, b.ref)]
    return 1 + _depth(store, bases[0].ref) if bases else 0
