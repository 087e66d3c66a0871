"""`bbq plan` and `bbq backup`: what would be copied and why, and the copying itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from bbq_dagster.apply.report import BackupReport
from bbq_dagster.cli.exits import ExitCode, end_with
from bbq_dagster.cli.options import as_json, datasets_option, projects_option, stack_of
from bbq_dagster.cli.output import progress_bar, say, show_json, waiting_for
from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.render import plan_as_json, render_plan
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.errors import Refused

if TYPE_CHECKING:
    from bbq_dagster.stack import Stack

_LINES_OF_A_LIST = 12


@click.command()
@click.argument("tables", nargs=-1)
@projects_option
@datasets_option
@click.option("--all", "show_all", is_flag=True, help=f"Every line, not {_LINES_OF_A_LIST} of each list.")
@as_json
@click.pass_obj
def plan(
    config: Path | None,
    tables: tuple[str, ...],
    projects: tuple[str, ...],
    datasets: tuple[str, ...],
    show_all: bool,
    as_json: bool,
) -> None:
    """Show what `bbq backup` would do, and why; change nothing.

    A table is written project.dataset.table, a partition project.dataset.table$20240131.
    """
    chosen = _chosen(tables, projects, datasets)
    planned = _plan(stack_of(config), chosen, projects, run_id="plan")
    if as_json:
        show_json(plan_as_json(planned))
    else:
        say(render_plan(planned, limit=None if show_all else _LINES_OF_A_LIST))
    if not planned.is_complete:
        end_with(ExitCode.PARTLY_DONE)


@click.command()
@click.argument("tables", nargs=-1)
@projects_option
@datasets_option
@as_json
@click.pass_obj
def backup(
    config: Path | None, tables: tuple[str, ...], projects: tuple[str, ...], datasets: tuple[str, ...], as_json: bool
) -> None:
    """Back up what changed, or these TABLES whether or not they changed.

    A table is written project.dataset.table, a partition project.dataset.table$20240131.
    """
    chosen = _chosen(tables, projects, datasets)
    stack = stack_of(config)
    run_id = f"cli-{uuid4()}"
    planned = _plan(stack, chosen, projects, run_id=run_id)
    with progress_bar("copying", len(planned.copies), hidden=not planned.copies) as bar:
        report = stack.apply(planned, run_id=run_id, on_progress=bar.update)
    if as_json:
        show_json(_report_as_json(report))
    else:
        say(str(report))
    if not report.ok:
        end_with(ExitCode.PARTLY_DONE)


def _chosen(
    tables: tuple[str, ...], projects: tuple[str, ...], datasets: tuple[str, ...]
) -> list[Unit] | list[DatasetRef]:
    """The units or the datasets that were named. Raises ``Refused`` before BigQuery is asked for anything."""
    if tables and (projects or datasets):
        raise Refused("TABLES and --project or --dataset were given: nothing was done", hint="give one or the other")
    if projects and datasets:
        raise Refused("--project and --dataset were given: nothing was done", hint="give one or the other")
    return [Unit.parse(table) for table in tables] or [DatasetRef.parse(dataset) for dataset in datasets]


def _plan(stack: Stack, chosen: list[Unit] | list[DatasetRef], projects: tuple[str, ...], *, run_id: str) -> BackupPlan:
    units = [one for one in chosen if isinstance(one, Unit)]
    datasets = [one for one in chosen if isinstance(one, DatasetRef)]
    now = stack.clock()
    with waiting_for("looking at the sources") as say:
        if units:
            return stack.plan_units(units, now=now, by="bbq", only_changed=False, salt=run_id, on_progress=say)
        return stack.plan_changed(now=now, projects=projects or None, datasets=datasets or None, on_progress=say)


def _report_as_json(report: BackupReport) -> dict[str, object]:
    return {
        "run_id": report.run_id,
        "ok": report.ok,
        "versions": [made.version for made in report.versions],
        "failures": report.failures,
        "unfinished": report.unfinished,
        "not_captured": report.not_captured,
        "not_looked_at": [*report.projects_failed, *report.datasets_failed],
        "seconds": round(report.seconds.total, 3),
    }
