from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from bbq_dagster_tests.trust.kill_points import Undisturbed, run_undisturbed
from bbq_dagster_tests.trust.operations import Operation, build_for
from bbq_dagster_tests.trust.shop import Patience


@dataclass(frozen=True, slots=True)
class Scene:
    """The shop as an operation finds it, and what the operation does to it if nobody disturbs it."""

    operation: Operation
    built: Path
    undisturbed: Undisturbed


SceneOf = Callable[[Operation], Scene]


@pytest.fixture(scope="session")
def scene_of(tmp_path_factory: pytest.TempPathFactory) -> SceneOf:
    """Builds the shop once for each operation."""

    @cache
    def prepare(operation: Operation) -> Scene:
        folder = tmp_path_factory.mktemp("scene")
        build_for(operation, folder / "built")
        return Scene(
            operation, folder / "built", run_undisturbed(operation, folder / "built", folder / "c", Patience())
        )

    return prepare
