"""`bbq slis`: what is not protected as it should be, and how much of each table would be lost now."""

from __future__ import annotations

from pathlib import Path

import click

from bbq_dagster.cli.exits import ExitCode, end_with
from bbq_dagster.cli.options import as_json, datasets_option, projects_option, stack_of
from bbq_dagster.cli.output import show_json, show_table, waiting_for
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

    Ends with exit code 1 where something is not. The limits are in bbq.yaml, under slis.
    """
    if projects and datasets:
        raise Refused("--project and --dataset were given: nothing was done", hint="give one or the other")
    chosen = [DatasetRef.parse(dataset) for dataset in datasets]
    stack = stack_of(config)
    with waiting_for("looking at the sources") as say:
        report = stack.slis(now=stack.clock(), projects=projects or None, datasets=chosen or None, on_progress=say)
    if as_json:
        show_json(_fields(report))
    else:
        _show(report)
    if not report.ok:
        end_with(ExitCode.PARTLY_DONE)


def _show(report: SliReport) -> None:
    click.echo(str(report))
    show_table(
        "Changed since the last version",
        ("table", "units", "as of", "RPO"),
        ((rpo.table, rpo.units, rpo.captured_at, _hours(rpo)) for rpo in report.rpos),
        numbers=("units",),
        empty="nothing has changed since its last version",
    )


def _hours(rpo: TableRpo) -> str:
    return "all of it" if rpo.rpo is None else f"{rpo.rpo.total_seconds() / 3600:,.1f} h"


def _fields(report: SliReport) -> dict[str, object]:
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
    }
