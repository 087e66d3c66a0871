"""How well the versions of a dataset are proven, summed up. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.verification import Candidate


@dataclass(frozen=True, slots=True)
class DatasetProof:
    """What is known of the versions of one dataset.

    * ``units``: tables and partitions with a version. ``unproven``: those whose newest version was never proven.
    * ``oldest_proof_at``: of the newest versions that were, the one whose last proof is the longest ago.
    * ``bad``: all versions that differ from what was copied, newest or not.
    * ``drilled_at``, ``drill_took``: the last restore drill, and the time of its restore.
    """

    units: int = 0
    unproven: int = 0
    oldest_proof_at: datetime | None = None
    bad: tuple[Candidate, ...] = ()
    drilled_at: datetime | None = None
    drill_took: timedelta | None = None

    @property
    def ok(self) -> bool:
        return not self.bad


def dataset_proofs(candidates: Iterable[Candidate]) -> dict[DatasetRef, DatasetProof]:
    """The proof of every dataset that has versions."""
    by_dataset = sorted(candidates, key=lambda candidate: candidate.version.unit.table.in_dataset)
    return {
        dataset: _proof(list(of_dataset))
        for dataset, of_dataset in groupby(by_dataset, key=lambda candidate: candidate.version.unit.table.in_dataset)
    }


def _proof(candidates: list[Candidate]) -> DatasetProof:
    newest = [candidate.proof.last_proven_at for candidate in candidates if candidate.is_newest]
    drills = [(c.proof.drilled_at, c.proof.drill_took) for c in candidates if c.proof.drilled_at is not None]
    drilled_at, drill_took = max(drills, key=lambda drill: drill[0], default=(None, None))
    return DatasetProof(
        units=len(newest),
        unproven=newest.count(None),
        oldest_proof_at=min((at for at in newest if at is not None), default=None),
        bad=tuple(candidate for candidate in candidates if candidate.proof.is_bad),
        drilled_at=drilled_at,
        drill_took=drill_took,
    )
