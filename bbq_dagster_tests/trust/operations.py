"""What is broken: the operations that change anything, each with the stage of the shop that it begins in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from bbq_dagster_tests.trust.dagster_side import BACKUPS, RETENTION, WRITES_IN, Request, dagster_yaml, run_dagster
from bbq_dagster_tests.trust.processes import Running, run_bbq, start
from bbq_dagster_tests.trust.shop import Shop, Stage, build_shop

SECONDS = 120
"""No run takes longer, however often it asks again; one that does hangs."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A command of `bbq`, or runs of Dagster."""

    name: str
    stage: Stage
    start: Callable[[Shop, Mapping[str, str]], Running]
    has_events: bool = False
    """Whether Dagster keeps a log of it."""

    def __str__(self) -> str:
        return self.name


def command(name: str, stage: Stage, *arguments: str) -> Operation:
    """`bbq` with these arguments; ``PLAN`` stands for the file of the restore plan."""

    def begin(shop: Shop, environment: Mapping[str, str]) -> Running:
        given = [argument.replace("PLAN", str(shop.restore_plan)) for argument in arguments]
        return start(
            run_bbq, "--config", str(shop.settings), *given, environment=environment, said_in=shop.folder / "said"
        )

    return Operation(name, stage, begin)


def dagster_runs(name: str, stage: Stage, requests: tuple[Request, ...]) -> Operation:
    """These runs of Dagster, in one process."""

    def begin(shop: Shop, environment: Mapping[str, str]) -> Running:
        _write_home(shop.dagster_home)
        variables = {"BBQ_CONFIG": str(shop.settings), "DAGSTER_HOME": str(shop.dagster_home), **environment}
        return start(run_dagster, requests, environment=variables, said_in=shop.folder / "said")

    return Operation(name, stage, begin, has_events=True)


def build_for(operation: Operation, folder: Path) -> None:
    """Leave the shop in ``folder`` as the operation finds it; making Dagster's tables takes longer than a run."""
    build_shop(folder, operation.stage)
    if operation.has_events:
        _write_home(folder / "dagster")
        with dg.DagsterInstance.from_config(str(folder / "dagster")):
            pass


def writes_of(shop: Shop) -> Mapping[str, str]:
    """The environment in which a run of Dagster notes what it writes into its log."""
    return {WRITES_IN: str(shop.folder / "writes")}


def _write_home(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(dagster_yaml(home))


FIRST_BACKUP = command("bbq backup, the first", Stage.NEW, "backup")
BACKUP = command("bbq backup", Stage.CHANGED, "backup")
RETENTION_APPLY = command("bbq retention apply", Stage.OLD, "retention", "apply")
RESTORE = command("bbq restore apply", Stage.OLD, "restore", "apply", "PLAN")
DAGSTER_BACKUP = dagster_runs("backups by Dagster", Stage.CHANGED, BACKUPS)
DAGSTER_RETENTION = dagster_runs("retention by Dagster", Stage.OLD, RETENTION)

OPERATIONS = (FIRST_BACKUP, BACKUP, RETENTION_APPLY, RESTORE, DAGSTER_BACKUP, DAGSTER_RETENTION)
