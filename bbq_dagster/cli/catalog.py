"""`bbq catalog`: make the catalog, and read what happened."""

from __future__ import annotations

from pathlib import Path

import click

from bbq_dagster.cli.backups import as_json, stack_of
from bbq_dagster.cli.output import show_json, show_table
from bbq_dagster.core.catalog import COLUMNS
from bbq_dagster.core.tables import DatasetRef


@click.group()
def catalog() -> None:
    """The record of all versions, in BigQuery tables of the backup project."""


@catalog.command()
@click.pass_obj
def init(config: Path | None) -> None:
    """Create what is missing of the catalog; a backup does it as well."""
    stack = stack_of(config)
    stack.catalog.prepare()
    settings = stack.settings
    click.echo(f"{settings.backup_project}.{settings.catalog.dataset} is ready, in {settings.catalog.location}")


@catalog.command()
@as_json
def columns(as_json: bool) -> None:
    """Say what the columns of the events table mean."""
    if as_json:
        show_json(COLUMNS)
        return
    show_table("events", ("column", "type", "meaning"), ((c.name, c.type, c.description) for c in COLUMNS))


@catalog.command()
@click.option("--dataset", "datasets", multiple=True, help="Only this project.dataset; repeatable.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1))
@as_json
@click.pass_obj
def history(config: Path | None, datasets: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show what was recorded, newest first."""
    chosen = [DatasetRef.parse(dataset) for dataset in datasets]
    events = stack_of(config).catalog.history(chosen or None, limit=limit)
    if as_json:
        show_json([event.as_row() for event in events])
        return
    show_table(
        "History",
        ("recorded at", "event", "what", "reason", "error"),
        ((e.recorded_at, e.event, e.subject, e.reason, e.error) for e in events),
    )
