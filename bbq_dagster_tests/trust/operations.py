"""What is broken: the operations that change anything, each with the stage of the shop that it begins in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from bbq_dagster.cli.exits import ExitCode
from bbq_dagster.core.catalog import EventKind
from bbq_dagster.core.restore_render import read_plan
from bbq_dagster_tests.trust.dagster_side import (
    BACKUPS,
    RETENTION,
    WRITES_IN,
    Request,
    dagster_yaml,
    run_dagster,
)
from bbq_dagster_tests.trust.processes import Running, run_bbq, start
from bbq_dagster_tests.trust.shop import SALES, THINNING, Shop, Stage, build_shop

SECONDS = 120
"""No run takes longer, however often it asks again; one that does hangs."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A command of `bbq`, or runs of Dagster.

    ``look_up``: what its user asks for before each run, and gives to it: a digest to approve, an id.
    ``has_events``: Dagster keeps a log of it.
    ``does_again``: a run after one that was stopped does again what that one had done, with the same result.
    ``ends_again``: with what a run may end that another one came before.
    """

    name: str
    stage: Stage
    start: Callable[[Shop, Mapping[str, str]], Running]
    look_up: Callable[[Shop], str] | None = None
    has_events: bool = False
    does_again: bool = False
    ends_again: frozenset[int] = frozenset({ExitCode.DONE})

    def __str__(self) -> str:
        return self.name

    def write_down(self, shop: Shop) -> None:
        """Look up what the next run is given."""
        if self.look_up is not None:
            shop.given.write_text(self.look_up(shop))

    def run_again(self, shop: Shop, meanwhile: Callable[[], None] = lambda: None) -> str:
        """The run after one that was stopped or went wrong: what it says if it does not end well, else nothing.

        A plan that moved between the look and the run is refused: its user looks once more.
        """
        for _ in range(1 if self.look_up is None else 2):
            self.write_down(shop)
            run = self.start(shop, {})
            meanwhile()
            code = run.end(seconds=SECONDS)
            if code in self.ends_again:
                return ""
            if code != ExitCode.NOT_DONE:
                break
        return f"the next run ended with {code}: {run.said[-2000:]}"


def command(name: str, stage: Stage, *arguments: str) -> Operation:
    """`bbq` with these arguments; ``PLAN`` is the file of the restore plan, ``GIVEN`` for what was looked up."""

    def begin(shop: Shop, environment: Mapping[str, str]) -> Running:
        words = {"PLAN": str(shop.restore_plan), "GIVEN": shop.given.read_text() if shop.given.exists() else ""}
        given = [words.get(argument, argument) for argument in arguments]
        return start(
            run_bbq, "--config", str(shop.settings), *given, environment=environment, said_in=shop.folder / "said"
        )

    return Operation(name, stage, begin)


def dagster_runs(name: str, stage: Stage, requests: Callable[[Shop], tuple[Request, ...]]) -> Operation:
    """These runs of Dagster, in one process."""

    def begin(shop: Shop, environment: Mapping[str, str]) -> Running:
        _write_home(shop.dagster_home)
        variables = {"BBQ_CONFIG": str(shop.settings), "DAGSTER_HOME": str(shop.dagster_home), **environment}
        return start(run_dagster, requests(shop), environment=variables, said_in=shop.folder / "said")

    return Operation(name, stage, begin, has_events=True)


def build_for(operation: Operation, folder: Path) -> None:
    """Leave the shop in ``folder`` as the operation finds it; making Dagster's tables takes longer than a run."""
    build_shop(folder, operation.stage, operation.write_down)
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


def _hold_of_the_shop(shop: Shop) -> str:
    """It has one; on record it stays when it is released."""
    return shop.stack().catalog.history(limit=1, kinds=[EventKind.HELD])[0].hold_id or ""


def _snapshot_of_the_shop(shop: Shop) -> str:
    return shop.stack().catalog.snapshots()[0].table.table


def _kept_restore(shop: Shop) -> tuple[Request, ...]:
    """The plan where an earlier run, a dry one, has put it."""
    plan = shop.restore_plan.read_text()
    restore_id = read_plan(plan, name="the plan").restore_id
    kept = shop.folder / "state" / "restores" / f"{restore_id}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(plan)
    return (Request("restore", plan=restore_id),)


FIRST_BACKUP = command("bbq backup, the first", Stage.NEW, "backup")
BACKUP = command("bbq backup", Stage.CHANGED, "backup")
RETENTION_APPLY = command("bbq retention apply", Stage.OLD, "retention", "apply")
RESTORE = command("bbq restore apply", Stage.OLD, "restore", "apply", "PLAN")
VERIFY = replace(command("bbq verify run", Stage.OLD, "verify", "run"), does_again=True)
REBUILD = replace(
    command("bbq catalog rebuild", Stage.LOST, "catalog", "rebuild", "--approve", "GIVEN"),
    look_up=lambda shop: shop.stack().plan_rebuild().digest,
)
REPAIR = replace(
    command("bbq catalog repair", Stage.DRIFTED, "catalog", "repair", "--approve", "GIVEN"),
    look_up=lambda shop: shop.stack().check_catalog().digest,
)
UNDELETE = replace(
    command("bbq undelete", Stage.THINNED, "undelete", "--run", THINNING),
    does_again=True,
)
HOLD = command(
    "bbq hold add", Stage.OLD, "hold", "add", f"{SALES}.invoices", "--owner", "bob", "--reason", "a question"
)
RELEASE = replace(
    command("bbq hold release", Stage.OLD, "hold", "release", "GIVEN"),
    look_up=_hold_of_the_shop,
    ends_again=frozenset({ExitCode.DONE, ExitCode.NOT_DONE}),
)
SNAPSHOT = command("bbq catalog snapshot", Stage.OLD, "catalog", "snapshot")
SNAPSHOT_RESTORE = replace(
    command("bbq catalog restore", Stage.KEPT, "catalog", "restore", "GIVEN"), look_up=_snapshot_of_the_shop
)
DAGSTER_BACKUP = dagster_runs("backups by Dagster", Stage.CHANGED, lambda _: BACKUPS)
DAGSTER_RETENTION = dagster_runs("retention by Dagster", Stage.OLD, lambda _: RETENTION)
DAGSTER_RESTORE = dagster_runs("restore by Dagster", Stage.OLD, _kept_restore)

COMMANDS = (
    FIRST_BACKUP,
    BACKUP,
    RETENTION_APPLY,
    RESTORE,
    VERIFY,
    REBUILD,
    REPAIR,
    UNDELETE,
    HOLD,
    RELEASE,
    SNAPSHOT,
    SNAPSHOT_RESTORE,
)
BY_DEFAULT = (FIRST_BACKUP, RETENTION_APPLY, RESTORE, VERIFY, REBUILD, REPAIR, UNDELETE, DAGSTER_BACKUP)
"""Those that the default run breaks: with all of them it would take minutes longer."""
OPERATIONS = (*COMMANDS, DAGSTER_BACKUP, DAGSTER_RETENTION, DAGSTER_RESTORE)
