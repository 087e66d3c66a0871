"""Which commands `bbq` has and what each is for. Their modules, and all that they need, are loaded only to run them."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NamedTuple

import click

from bbq_dagster.cli.exits import ExitCode


class Place(NamedTuple):
    """The module in ``bbq_dagster.cli`` that has a command, and what the command says of itself first."""

    module: str
    help: str


COMMANDS = {
    "plan": Place("backups", "Show what `bbq backup` would do, and why; change nothing."),
    "backup": Place("backups", "Back up what changed, or these TABLES whether or not they changed."),
    "status": Place("protected", "Show what is protected, since when, and what failed."),
    "versions": Place("protected", "List the versions of TABLE, or of one partition of it, newest first."),
    "slis": Place("slis", "Look at the sources and say what is not protected as it should be."),
    "metrics": Place("metrics", "Write the figures that Prometheus reads."),
    "restore": Place("restore", "Bring versions back: plan, look at the plan, apply it, see how far it is."),
    "retention": Place("retention", "Show which versions go and why, and delete them."),
    "hold": Place("retention", "Forbid the deletion of versions, list such holds, release them."),
    "anomaly": Place("anomalies", "What lost or changed too much; its older versions are held until released."),
    "undelete": Place("retention", "Bring deleted VERSIONS back, within BigQuery's time travel of 7 days."),
    "verify": Place("verify", "Read versions, compare them with what was copied, and restore some of them for trial."),
    "discover": Place("discovery", "Find the datasets of all sources, and keep them for Dagster to load."),
    "catalog": Place("catalog", "The record of all versions, in BigQuery tables of the backup project."),
    "settings": Place("settings", "Check bbq.yaml and ask what it says."),
    "local": Place("local", "The embedded BigQuery: serve it, fill it with sample data, let a day pass."),
    "dev": Place("sandbox", "Dagster's UI on the embedded BigQuery with the sample, sensors on; Ctrl-C ends it."),
    "demo": Place(
        "demo",
        "Seed real data, back it up, back up a day of changes, lose a table, restore it; all through Dagster.",
    ),
}


class LazyCommands(click.Group):
    """`bbq` itself: ``COMMANDS``, in that order."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"bbq_dagster.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Where the reader goes away (`bbq plan | head`), nobody is left to be told: that is no failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The interpreter flushes standard output once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(ExitCode.DONE)
