"""`bbq anomaly`: what the anomaly gate flagged, and letting it go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import click

from bbq_dagster.cli.options import as_json, reading_catalog, stack_of
from bbq_dagster.cli.output import say, show_json, show_table, waiting_for
from bbq_dagster.core.anomalies import chosen_anomalies
from bbq_dagster.core.holds import Hold


@click.group()
def anomaly() -> None:
    """What lost or changed too much; its older versions are held until released."""


@anomaly.command("list")
@as_json
@click.pass_obj
def list_command(config: Path | None, as_json: bool) -> None:
    """List what is flagged and was not released."""
    stack = stack_of(config)
    with waiting_for("reading the catalog"), reading_catalog(stack):
        flagged = stack.anomalies()
    if as_json:
        show_json(map(flag_fields, flagged))
        return
    show_table(
        "Flagged",
        ("id", "what", "why", "since"),
        ((hold.hold_id, hold.target, hold.reason, hold.since) for hold in flagged),
        empty="nothing is flagged",
    )


@anomaly.command()
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Release all that is flagged.")
@as_json
@click.pass_obj
def release(config: Path | None, names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Release what is flagged, by its id or by its table: its older versions are up to the rules of retention again.

    A table project.dataset.table stands for all its partitions. Nothing is released where a name is of nothing flagged.
    """
    stack = stack_of(config)
    with waiting_for("reading the catalog"), reading_catalog(stack):
        flagged = stack.anomalies()
    chosen: Sequence[Hold] = flagged if everything else chosen_anomalies(flagged, names)
    run_id = f"cli-{uuid4()}"
    for hold in chosen:
        stack.release(hold.hold_id, run_id=run_id)
    if as_json:
        show_json({"released": [hold.hold_id for hold in chosen]})
        return
    for hold in chosen:
        say(f"{hold.hold_id} is released: {hold.target}")
    if not chosen:
        say("nothing is flagged")


def flag_fields(hold: Hold) -> dict[str, object]:
    """What is flagged as an object of JSON."""
    return {"id": hold.hold_id, "target": hold.target, "reason": hold.reason, "since": hold.since}
