"""What is said of the proofs of a dataset."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.verification import Candidate
from bbq_dagster.core.verification_record import Proof
from bbq_dagster.core.verification_status import DatasetProof, dataset_proofs
from bbq_dagster_tests.builders import EVENTS, NOW, ORDERS, SALES, a_version

DAY = timedelta(days=1)
WEB = DatasetRef("acme-shop", "web")


def newest(proven: datetime | None = None, **proof: object) -> Candidate:
    return Candidate(a_version(ORDERS.unit()), Proof("v", NOW, proven, **proof), is_newest=True)  # type: ignore[arg-type]


def older(proven: datetime | None = None, **proof: object) -> Candidate:
    return Candidate(a_version(ORDERS.unit()), Proof("w", NOW, proven, **proof), is_newest=False)  # type: ignore[arg-type]


BAD = older(flaw="2 rows fewer")


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        pytest.param([newest()], DatasetProof(units=1, unproven=1), id="never proven"),
        pytest.param(
            [newest(NOW - DAY), newest(NOW - 3 * DAY), newest(None)],
            DatasetProof(units=3, unproven=1, oldest_proof_at=NOW - 3 * DAY),
            id="the oldest proof of the newest versions",
        ),
        pytest.param(
            [newest(NOW), older(NOW - 9 * DAY), older()],
            DatasetProof(units=1, oldest_proof_at=NOW),
            id="older versions are no units",
        ),
        pytest.param([newest(NOW), BAD], DatasetProof(1, 0, NOW, bad=(BAD,)), id="bad, newest or not"),
        pytest.param(
            [
                newest(NOW, drilled_at=NOW - DAY, drill_took=timedelta(seconds=5)),
                older(drilled_at=NOW - 2 * DAY, drill_took=timedelta(seconds=9)),
            ],
            DatasetProof(1, 0, NOW, drilled_at=NOW - DAY, drill_took=timedelta(seconds=5)),
            id="the last drill",
        ),
        pytest.param(
            [newest(NOW, drilled_at=NOW), older(drilled_at=NOW)],
            DatasetProof(1, 0, NOW, drilled_at=NOW),
            id="drills that never succeeded",
        ),
    ],
)
def test_the_proof_of_a_dataset_is_summed_up(candidates: list[Candidate], expected: DatasetProof) -> None:
    assert dataset_proofs(candidates) == {SALES: expected}


def test_each_dataset_has_a_proof_of_its_own() -> None:
    units = (WEB.table("visits").unit(), ORDERS.unit(), WEB.table("carts").unit(), EVENTS.unit("20240101"))
    proofs = dataset_proofs(Candidate(a_version(unit), is_newest=True) for unit in units)

    assert {dataset: proof.units for dataset, proof in proofs.items()} == {SALES: 2, WEB: 2}


@pytest.mark.parametrize(("bad", "expected"), [((), True), ((BAD,), False)])
def test_a_dataset_is_well_where_no_version_is_bad(bad: tuple[Candidate, ...], expected: bool) -> None:
    assert DatasetProof(units=1, unproven=1, bad=bad).ok is expected
