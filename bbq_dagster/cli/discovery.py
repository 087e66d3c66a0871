"""`bbq discover`: the datasets that Dagster is to show."""

from __future__ import annotations

from pathlib import Path

import click

from bbq_dagster.cli.options import as_json, stack_of
from bbq_dagster.cli.output import show_json, show_table, waiting_for
from bbq_dagster.errors import Refused


@click.command()
@as_json
@click.pass_obj
def discover(config: Path | None, as_json: bool) -> None:
    """Find the datasets of all sources, and keep them for Dagster to load."""
    from bbq_dagster.defs.discovery import remember_datasets

    stack = stack_of(config)
    with waiting_for("listing the datasets of the sources"):
        found = stack.discover()
    try:
        new = set(remember_datasets(stack.settings, [dataset.ref for dataset in found]))
    except OSError as error:
        raise Refused(
            f"what was found cannot be kept in {stack.settings.state_dir}: {error.strerror}",
            hint=f"`state_dir` in {stack.settings.path} must be a folder that you may write to",
        ) from error
    if as_json:
        show_json([{"dataset": d.ref, "location": d.location, "labels": d.labels, "new": d.ref in new} for d in found])
        return
    show_table(
        "Datasets",
        ("dataset", "location", "new"),
        ((d.ref, d.location, "new" if d.ref in new else "") for d in found),
        empty="no datasets: the sources have none, or bbq.yaml leaves them all out",
    )
