from functools import cache

import pytest

from bbq_dagster_tests.trust.kill_points import run_undisturbed
from bbq_dagster_tests.trust.operations import Operation, build_for
from bbq_dagster_tests.trust.scene import Scene, SceneOf
from bbq_dagster_tests.trust.shop import Patience


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
