"""Killed with signal 9 at a side effect and run again, every operation ends as if nobody had disturbed it.

The same versions in the same places with the same rows, each copied once and recorded once; deletions confirmed once,
restored rows there once, a materialization for each key; and nothing left to do. By default a sample of the points,
drawn from a seed; `make trust` takes all of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from bbq_dagster_tests.trust.conftest import Scene, SceneOf
from bbq_dagster_tests.trust.kill_points import Point, differences_after_a_kill
from bbq_dagster_tests.trust.operations import OPERATIONS, Operation

SEED, SAMPLE, PARTS = 20260301, 2, 4


def what_went_wrong(scene: Scene, points: Sequence[Point], folder: Path) -> dict[str, list[str]]:
    """The points after which the world is another one, with the differences."""
    killed = {
        str(point): differences_after_a_kill(scene.operation, point, scene.built, folder / "case", scene.undisturbed)
        for point in points
    }
    print(f"{scene.operation}: killed at {len(points)} points")
    return {point: differences for point, differences in killed.items() if differences}


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_after_a_kill_at_some_points_the_next_run_leaves_the_world_as_if_there_had_been_none(
    scene_of: SceneOf, operation: Operation, tmp_path: Path
) -> None:
    scene = scene_of(operation)
    points = random.Random(SEED).sample(scene.undisturbed.points(), SAMPLE)

    assert what_went_wrong(scene, points, tmp_path) == {}


@pytest.mark.trust
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_after_a_kill_at_any_point_the_next_run_leaves_the_world_as_if_there_had_been_none(
    scene_of: SceneOf, operation: Operation, part: int, tmp_path: Path
) -> None:
    scene = scene_of(operation)

    assert what_went_wrong(scene, scene.undisturbed.points()[part::PARTS], tmp_path) == {}
