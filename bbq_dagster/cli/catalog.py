"""`bbq catalog`: make the catalog, and read what happened."""

from __future__ import annotations

from pathlib import Path

import click

from bbq_dagster.cli.options import as_json, datasets_option, reading_catalog, stack_of
from bbq_dagster.cli.output import show_json, show_table, waiting_for
from bbq_dagster.core.catalog import COLUMNS, EventKind
from bbq_dagster.core.tables import DatasetRef


@click.group()
def catalog() -> None:
    """The record of all versions, in BigQuery tables of the backup project."""


@catalog.command()
@as_json
@click.pass_obj
def init(config: Path | None, as_json: bool) -> None:
    """Create what is missing of the catalog; a backup does it as well."""
    stack = stack_of(config)
    with waiting_for("creating what is missing of the catalog"):
        stack.catalog.prepare()
    dataset = DatasetRef(stack.settings.backup_project, stack.settings.catalog.dataset)
    location = stack.settings.catalog.location
    if as_json:
        show_json({"dataset": dataset, "location": location})
    else:
        click.echo(f"{dataset} is ready, in {location}")


@catalog.command()
@as_json
def columns(as_json: bool) -> None:
    """Say what the columns of the events table mean."""
    if as_json:
        show_json(COLUMNS)
        return
    show_table("events", ("column", "type", "meaning"), ((c.name, c.type, c.description) for c in COLUMNS))


@catalog.command()
@datasets_option
@click.option(
    "--event",
    "kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in EventKind]),
    help="Only this kind of event; repeatable.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="How many at most.")
@as_json
@click.pass_obj
def history(config: Path | None, datasets: tuple[str, ...], kinds: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show what was recorded, newest first."""
    chosen = [DatasetRef.parse(dataset) for dataset in datasets]
    stack = stack_of(config)
    with waiting_for("reading the catalog"), reading_catalog(stack):
        events = stack.catalog.history(chosen or None, limit=limit, kinds=[EventKind(kind) for kind in kinds] or None)
    if as_json:
        show_json([event.as_row() for event in events])
        return
    show_table(
        "History",
        ("recorded at", "event", "what", "version", "reason", "error"),
        ((e.recorded_at, e.event, e.subject, e.version_id, e.reason, e.error) for e in events),
        empty="nothing is on record" + (f" of {', '.join((*datasets, *kinds))}" if datasets or kinds else " yet"),
    )
