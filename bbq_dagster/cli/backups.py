"""`bbq plan`, `bbq backup`, `bbq status`, `bbq versions`, `bbq discover`: what is and what would be protected."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import click

from bbq_dagster.apply.report import BackupReport
from bbq_dagster.cli.output import console, progress_bar, show_json, show_table, size
from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.render import plan_as_json, render_plan
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.errors import Refused
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
projects_option = click.option("--project", "projects", multiple=True, help="Only this source project; repeatable.")
datasets_option = click.option("--dataset", "datasets", multiple=True, help="Only this project.dataset; repeatable.")


def stack_of(config: Path | None) -> Stack:
    """The stack that the settings at ``config`` name. Raises ``SettingsInvalid``."""
    return open_stack(load_settings(config, os.environ))


@click.command()
@click.argument("tables", nargs=-1)
@projects_option
@datasets_option
@click.option("--all", "show_all", is_flag=True, help="Every line, however many.")
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
    """Show what `bbq backup` would do, and why; change nothing."""
    planned = _plan(stack_of(config), tables, projects, datasets, run_id="plan")
    if as_json:
        show_json(plan_as_json(planned))
    else:
        console().print(render_plan(planned, limit=None if show_all else 12), markup=False, soft_wrap=True)
    if planned.failures:
        raise SystemExit(1)


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
    stack = stack_of(config)
    run_id = f"cli-{uuid4()}"
    planned = _plan(stack, tables, projects, datasets, run_id=run_id)
    with progress_bar("copying", len(planned.copies), hidden=not planned.copies) as bar:
        report = stack.apply(planned, run_id=run_id, on_progress=bar.update)
    if as_json:
        show_json(_report_as_json(report))
    else:
        console().print(str(report), markup=False, soft_wrap=True)
    if not report.ok:
        raise SystemExit(1)


@click.command()
@projects_option
@as_json
@click.pass_obj
def status(config: Path | None, projects: tuple[str, ...], as_json: bool) -> None:
    """Show what is protected, since when, and what failed."""
    stack = stack_of(config)
    statuses = stack.status(projects or None)
    if as_json:
        show_json(statuses)
        return
    show_table(
        "Protected tables",
        ("table", "units", "rows", "size", "newest version", "oldest version", "gone", "failed", "unfinished"),
        (
            (s.table, s.units, s.rows, size(s.size_bytes), s.newest_at, s.oldest_at, s.gone, s.failed, s.unfinished)
            for s in statuses
        ),
        numbers=("units", "rows", "size", "gone", "failed", "unfinished"),
    )


@click.command()
@click.argument("table")
@as_json
@click.pass_obj
def versions(config: Path | None, table: str, as_json: bool) -> None:
    """List the versions of TABLE, or of one partition of it, newest first."""
    unit = Unit.parse(table)
    found = [
        version
        for version in stack_of(config).catalog.versions([unit.table])
        if unit.partition is None or version.unit == unit
    ]
    if as_json:
        show_json(found)
        return
    show_table(
        f"Versions of {unit}",
        ("unit", "captured at", "rows", "size", "version", "why", "backup table"),
        ((v.unit.key, v.captured_at, v.rows, size(v.size_bytes), v.version_id, v.reason, v.backup) for v in found),
        numbers=("rows", "size"),
    )
    if not found:
        raise SystemExit(1)


@click.command()
@as_json
@click.pass_obj
def discover(config: Path | None, as_json: bool) -> None:
    """Find the datasets of all sources, and keep them for Dagster to load."""
    from bbq_dagster.defs.discovery import remember_datasets

    stack = stack_of(config)
    found = stack.discover()
    new = set(remember_datasets(stack.settings, [dataset.ref for dataset in found]))
    if as_json:
        show_json(found)
        return
    show_table(
        "Datasets", ("dataset", "location", "new"), ((d.ref, d.location, "new" if d.ref in new else "") for d in found)
    )


def _plan(
    stack: Stack, tables: tuple[str, ...], projects: tuple[str, ...], datasets: tuple[str, ...], *, run_id: str
) -> BackupPlan:
    if not tables:
        chosen = [DatasetRef.parse(dataset) for dataset in datasets]
        return stack.plan_changed(now=stack.clock(), projects=projects or None, datasets=chosen or None)
    if projects or datasets:
        raise Refused("TABLES and --project or --dataset were given: nothing was done", hint="give one or the other")
    units = [Unit.parse(table) for table in tables]
    return stack.plan_units(units, now=stack.clock(), by="bbq", only_changed=False, salt=run_id)


def _report_as_json(report: BackupReport) -> dict[str, object]:
    return {
        "run_id": report.run_id,
        "ok": report.ok,
        "versions": [made.version for made in report.versions],
        "failures": report.failures,
        "unfinished": report.unfinished,
        "not_captured": report.not_captured,
        "not_looked_at": report.datasets_failed,
        "seconds": round(report.seconds.total, 3),
    }
