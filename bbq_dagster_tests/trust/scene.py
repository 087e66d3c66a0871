"""The shop as an operation finds it, what the operation does to it undisturbed, and the cases that disturb it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bbq_dagster_tests.trust.kill_points import Undisturbed
from bbq_dagster_tests.trust.operations import Operation

Case = TypeVar("Case")
HappensTo = Callable[[Operation, Case, Path, Path, Undisturbed], list[str]]
"""Lets a case happen to the shop that is built in one folder, in another; what was not as it must be, a line each."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An operation, the folder with the shop that it finds, and what it does if nobody disturbs it."""

    operation: Operation
    built: Path
    undisturbed: Undisturbed

    def what_went_wrong(self, happen: HappensTo[Case], cases: Sequence[Case], folder: Path) -> dict[str, list[str]]:
        """The cases after which the world is not as it must be, with why not."""
        met = {str(case): happen(self.operation, case, self.built, folder / "case", self.undisturbed) for case in cases}
        print(f"{self.operation}: {len(cases)} cases")
        return {case: wrong for case, wrong in met.items() if wrong}


SceneOf = Callable[[Operation], Scene]
