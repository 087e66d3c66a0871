"""Whatever goes wrong at whatever call: the run ends in words that name it, and the next one makes up for it.

By default a sample of all faults at all call sites, drawn from a seed; `make trust` takes all of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from bbq_dagster_tests.trust.conftest import Scene, SceneOf
from bbq_dagster_tests.trust.fault_matrix import Trouble, consequences, matrix, sites_of
from bbq_dagster_tests.trust.operations import BACKUP, FIRST_BACKUP, RESTORE, RETENTION_APPLY, Operation

SEED, SAMPLE, PARTS = 20260301, 3, 16
COMMANDS = (FIRST_BACKUP, BACKUP, RETENTION_APPLY, RESTORE)


def what_went_wrong(scene: Scene, troubles: Sequence[Trouble], folder: Path) -> dict[str, list[str]]:
    """The troubles that did not end as documented, or did harm that lasts, with what was wrong."""
    met = {
        str(trouble): consequences(scene.operation, trouble, scene.built, folder / "case", scene.undisturbed)
        for trouble in troubles
    }
    print(f"{scene.operation}: {len(troubles)} troubles")
    return {trouble: wrong for trouble, wrong in met.items() if wrong}


@pytest.mark.slow
@pytest.mark.parametrize("operation", COMMANDS, ids=str)
def test_some_troubles_are_named_and_the_next_run_makes_up_for_them(
    scene_of: SceneOf, operation: Operation, tmp_path: Path
) -> None:
    scene = scene_of(operation)
    troubles = random.Random(SEED).sample(matrix(sites_of(scene.undisturbed.calls)), SAMPLE)

    assert what_went_wrong(scene, troubles, tmp_path) == {}


@pytest.mark.trust
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("operation", COMMANDS, ids=str)
def test_every_trouble_is_named_and_the_next_run_makes_up_for_it(
    scene_of: SceneOf, operation: Operation, part: int, tmp_path: Path
) -> None:
    scene = scene_of(operation)

    assert what_went_wrong(scene, matrix(sites_of(scene.undisturbed.calls))[part::PARTS], tmp_path) == {}
