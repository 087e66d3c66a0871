"""Which runs a plan asks for: keys in batches, and run keys derived from what was seen. No Dagster.

Copies nothing and plans nothing: a run plans again, from the keys that it was given.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy, PlannedUnit


@dataclass(frozen=True, slots=True)
class WantedRun:
    """A run to ask for. Without ``keys`` it looks for itself what changed in ``dataset``."""

    dataset: DatasetRef
    keys: tuple[str, ...]
    run_key: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """What cannot be split between runs: one partition, or a table that one copy job takes as a whole.

    A table that is copied as a whole is asked for by its name: with its partitions in two runs, each would see a part
    of it and start a copy job for every partition.
    """

    table: TableRef
    keys: tuple[str, ...]
    units: tuple[PlannedUnit, ...]
    attempt: int

    @property
    def seen(self) -> list[object]:
        """What identifies the states that are to be copied, and the try."""
        return [self.attempt, *([str(unit.unit), repr(unit.state)] for unit in self.units)]


def wanted_runs(
    plan: BackupPlan, *, day: date, max_units: int, is_in_hand: Callable[[Unit], bool] = lambda _: False
) -> tuple[WantedRun, ...]:
    """The runs that carry out ``plan``, each for one dataset with at most ``max_units`` units.

    * Units that a queued or running run has in hand are not asked for.
    * Partitions of a table stay in one run where they fit into one; a table that one copy job takes always does.
    * A dataset that could not be looked at gets a run that looks again, and fails by name if it still cannot.
    * The same states on the same day give the same run keys, so that looking twice starts them once. Tomorrow, or
      after a failure on record, they are asked for again.
    """
    pieces = sorted(_pieces(plan.copies, is_in_hand), key=lambda piece: (piece.table, piece.keys))
    runs = [
        _wanted_run(dataset, batch, day)
        for dataset, of_dataset in groupby(pieces, key=lambda piece: piece.table.in_dataset)
        for batch in _batches(list(of_dataset), max_units)
    ]
    return (
        *runs,
        *(WantedRun(failure.dataset, (), f"{failure.dataset}@{day}:look-again") for failure in plan.failures),
    )


def _pieces(copies: Iterable[Copy], is_in_hand: Callable[[Unit], bool]) -> Iterator[_Piece]:
    for copy in copies:
        units = tuple(unit for unit in copy.units if not is_in_hand(unit.unit))
        if units:
            complete = copy.whole_table and len(units) == len(copy.units)
            keys = (copy.source.key,) if complete else tuple(unit.unit.key for unit in units)
            yield _Piece(copy.source.table, keys, units, copy.attempt)


def _batches(pieces: Sequence[_Piece], max_units: int) -> Iterator[list[_Piece]]:
    tables = (list(of_table) for _, of_table in groupby(pieces, key=lambda piece: piece.table))
    parts = (part for table in tables for part in _next_fit(([piece] for piece in table), max_units))
    return _next_fit(parts, max_units)


def _next_fit(chunks: Iterable[list[_Piece]], max_units: int) -> Iterator[list[_Piece]]:
    """The chunks in order, as many to a batch as fit; one that alone is too large is a batch of its own."""
    batch: list[_Piece] = []
    held = 0
    for chunk in chunks:
        size = _size(chunk)
        if batch and held + size > max_units:
            yield batch
            batch, held = [], 0
        batch += chunk
        held += size
    if batch:
        yield batch


def _size(pieces: Iterable[_Piece]) -> int:
    return sum(len(piece.units) for piece in pieces)


def _wanted_run(dataset: DatasetRef, batch: Sequence[_Piece], day: date) -> WantedRun:
    seen = json.dumps([piece.seen for piece in batch])
    digest = hashlib.sha256(seen.encode()).hexdigest()[:16]
    keys = dict.fromkeys(key for piece in batch for key in piece.keys)  # a unit may be in two copies, old and new
    return WantedRun(dataset, tuple(keys), f"{dataset}@{day}:{digest}")
