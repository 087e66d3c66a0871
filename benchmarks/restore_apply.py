"""Tables restored per second, against what a loop over 32 threads of a bare client makes of the same copies.

Small tables, one backup table each, into a dataset of a restore project that is not there yet. Restore and loop take
turns on one server in a process of its own, which sets no limits. The restore looks whether the world has moved since
the plan, records every item before and after, and compares rows and columns of each target; the loop only copies. The
figure is the median of the rounds' ratios.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from statistics import median

from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.restore_request import RestoreRequest, Scope, Target
from bbq_dagster.stack import Stack
from benchmarks._copies import SALES, VAULT, House, house
from benchmarks._figure import print_figure
from benchmarks._loop import copy_in_a_loop, seconds_of

SIZES, ROUNDS = (250, 2_500), 3
LAB = "lab"


def main() -> None:
    for tables in SIZES:
        with house(tables) as made:
            stack = _with_backups(made)
            rounds = [_round(made, stack, number) for number in range(ROUNDS)]
        for number, (loop, engine) in enumerate(rounds, 1):
            print(f"round {number}: loop {loop:.0f} tables/s, restore {engine:.0f}")
        name = f"restore_apply {tables:,}"
        print_figure(f"{name}, per second", median(engine for _, engine in rounds), "tables/s", target=None)
        print_figure(name, median(engine / loop for loop, engine in rounds), "of the loop", target=None)


def _with_backups(made: House) -> Stack:
    report = made.stack.apply(made.plan("backup"), run_id="backup")
    assert report.ok, str(report)
    return replace(made.stack, settings=replace(made.stack.settings, restore_projects=(LAB,)))


def _round(made: House, stack: Stack, number: int) -> tuple[float, float]:
    """Tables per second of the loop, and of the restore."""
    request = RestoreRequest((Scope(SALES),), target=Target(LAB, f"restored_{number}"))
    plan = stack.plan_restore(request, now=datetime.now(UTC))
    assert len(plan.tables) == made.tables, str(plan)
    loop = seconds_of(lambda: _loop(made, plan, f"loop_{number}"))
    engine = seconds_of(lambda: _restore(stack, plan))
    return made.tables / loop, made.tables / engine


def _restore(stack: Stack, plan: RestorePlan) -> None:
    report = stack.apply_restore(plan, run_id="restore")
    assert report.ok, str(report)


def _loop(made: House, plan: RestorePlan, dataset: str) -> None:
    made.admin.client(LAB, location="EU").create_dataset(dataset)
    pairs = [(str(item.source), f"{LAB}.{dataset}.{item.target.table.table}") for item in plan.items]
    copy_in_a_loop(made.admin.client(VAULT, location="EU"), pairs)


if __name__ == "__main__":
    main()
