"""Whatever goes wrong at whatever call: the run ends in words that name it, and the next one makes up for it.

By default a sample of all faults at all call sites, drawn from a seed; `make trust` takes all of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bbq_dagster_tests.trust.fault_matrix import consequences, matrix, sites_of
from bbq_dagster_tests.trust.operations import COMMANDS, REPAIR, RESTORE, RETENTION_APPLY, VERIFY, Operation
from bbq_dagster_tests.trust.scene import SceneOf

SEED, SAMPLE, PARTS = 20260301, 2, 16


FAULTED = tuple(command for command in COMMANDS if command is not VERIFY)
"""After a fault a verification finds other proofs and drills another table: docs/testing.md says why."""


@pytest.mark.slow
@pytest.mark.parametrize("operation", [RETENTION_APPLY, RESTORE, REPAIR], ids=str)
def test_some_troubles_are_named_and_the_next_run_makes_up_for_them(
    scene_of: SceneOf, operation: Operation, tmp_path: Path
) -> None:
    scene = scene_of(operation)
    troubles = random.Random(SEED).sample(matrix(sites_of(scene.undisturbed.calls)), SAMPLE)

    assert scene.what_went_wrong(consequences, troubles, tmp_path) == {}


@pytest.mark.trust
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("operation", FAULTED, ids=str)
def test_every_trouble_is_named_and_the_next_run_makes_up_for_it(
    scene_of: SceneOf, operation: Operation, part: int, tmp_path: Path
) -> None:
    scene = scene_of(operation)
    troubles = matrix(sites_of(scene.undisturbed.calls))[part::PARTS]

    assert scene.what_went_wrong(consequences, troubles, tmp_path) == {}
