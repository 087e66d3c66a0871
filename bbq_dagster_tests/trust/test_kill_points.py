"""Killed with signal 9 at a side effect and run again, every operation ends as if nobody had disturbed it.

The same versions in the same places with the same rows, each copied once and recorded once; deletions confirmed once,
restored rows there once, a materialization for each key; and nothing left to do. By default a sample of the points,
drawn from a seed; `make trust` takes all of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bbq_dagster_tests.trust.kill_points import differences_after_a_kill
from bbq_dagster_tests.trust.operations import BY_DEFAULT, OPERATIONS, Operation
from bbq_dagster_tests.trust.scene import SceneOf

SEED, SAMPLE, PARTS = 20260301, 1, 4


@pytest.mark.slow
@pytest.mark.parametrize("operation", BY_DEFAULT, ids=str)
def test_after_a_kill_at_some_points_the_next_run_leaves_the_world_as_if_there_had_been_none(
    scene_of: SceneOf, operation: Operation, tmp_path: Path
) -> None:
    scene = scene_of(operation)
    points = random.Random(SEED).sample(scene.undisturbed.points(), SAMPLE)

    assert scene.what_went_wrong(differences_after_a_kill, points, tmp_path) == {}


@pytest.mark.trust
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_after_a_kill_at_any_point_the_next_run_leaves_the_world_as_if_there_had_been_none(
    scene_of: SceneOf, operation: Operation, part: int, tmp_path: Path
) -> None:
    scene = scene_of(operation)
    points = scene.undisturbed.points()[part::PARTS]

    assert scene.what_went_wrong(differences_after_a_kill, points, tmp_path) == {}
