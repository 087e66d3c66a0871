"""`bbq slis`: what is not protected as it should be, what would be lost now, and how long it took to have it back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from bbq_dagster.cli.exits import ExitCode, end_with
from bbq_dagster.cli.options import as_json, datasets_option, projects_option, stack_of
from bbq_dagster.cli.output import say, show_json, show_table, waiting_for
from bbq_dagster.core.rto import RestoreTime
from bbq_dagster.core.slis import SliReport, TableRpo
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.errors import Refused


@click.command()
@projects_option
@datasets_option
@as_json
@click.pass_obj
def slis(config: Path | None, projects: tuple[str, ...], datasets: tuple[str, ...], as_json: bool) -> None:
    """Look at the sources and say what is not protected as it should be.

    Besides, of each table: what would be lost now (RPO), and how long its restores and drills took (RTO).

    Ends with exit code 1 where something is not. The limits are in bbq.yaml, under slis.
    """
    if projects and datasets:
        raise Refused("--project and --dataset were given: nothing was done", hint="give one or the other")
    chosen = [DatasetRef.parse(dataset) for dataset in datasets]
    stack = stack_of(config)
    with waiting_for("looking at the sources") as say:
        report = stack.slis(now=stack.clock(), projects=projects or None, datasets=chosen or None, on_progress=say)
        times = stack.restore_times(projects=projects or None, datasets=chosen or None)
    if as_json:
        show_json(_fields(report, times))
    else:
        _show(report, times)
    if not report.ok:
        end_with(ExitCode.PARTLY_DONE)


def _show(report: SliReport, times: Sequence[RestoreTime]) -> None:
    say(str(report))
    show_table(
        "Changed since the last version",
        ("table", "units", "as of", "RPO"),
        ((rpo.table, rpo.units, rpo.captured_at, _hours(rpo)) for rpo in report.rpos),
        numbers=("units",),
        empty="nothing has changed since its last version",
    )
    show_table(
        "How long it took to have it back",
        ("table", "by", "last at", "RTO", "longest"),
        ((time.table, time.way, time.at, _seconds(time.took), _seconds(time.longest)) for time in times),
        numbers=("RTO", "longest"),
        empty="no restore and no drill is on record",
    )


def _hours(rpo: TableRpo) -> str:
    return "all of it" if rpo.rpo is None else f"{rpo.rpo.total_seconds() / 3600:,.1f} h"


def _seconds(took: timedelta) -> str:
    return f"{took.total_seconds():,.1f} s"


def _fields(report: SliReport, times: Sequence[RestoreTime]) -> dict[str, object]:
    return {
        "at": report.at,
        "ok": report.ok,
        "datasets": report.datasets,
        "violations": report.violations,
        "rpos": [
            {
                "table": rpo.table,
                "units": rpo.units,
                "captured_at": rpo.captured_at,
                "rpo_seconds": None if rpo.rpo is None else rpo.rpo.total_seconds(),
            }
            for rpo in report.rpos
        ],
        "rtos": [
            {
                "table": time.table,
                "by": time.way,
                "at": time.at,
                "rto_seconds": time.took.total_seconds(),
                "longest_seconds": time.longest.total_seconds(),
            }
            for time in times
        ],
    }
