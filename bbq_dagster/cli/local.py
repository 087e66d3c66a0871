"""`bbq local`: the embedded BigQuery, for trying things out. The only place beside tests that loads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from bbq_dagster.cli.output import show_json, show_table

DEFAULT_PORT = 9050
url_option = click.option(
    "--url", default=f"http://127.0.0.1:{DEFAULT_PORT}", show_default=True, help="Where it is served."
)


@click.group()
def local() -> None:
    """The embedded BigQuery: serve it, fill it with sample data, let a day pass."""


@local.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where its data is kept; in memory if not given.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535))
def serve(folder: Path | None, host: str, port: int) -> None:
    """Serve BigQuery's REST API until you press Ctrl-C."""
    from bbq_dagster.local.server import serve

    serve(folder, host=host, port=port)


@local.command()
@url_option
@click.option("--small", is_flag=True, help="A few rows of each table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def seed(url: str, small: bool, as_json: bool) -> None:
    """Make the sample sources: flights, weather and more over two projects and two locations."""
    from bbq_dagster.local.sample import seed

    report = seed(url, small=small)
    if as_json:
        show_json(report.tables)
    else:
        show_table("Sample tables", ("table", "rows"), ((t.ref, t.rows) for t in report.tables), numbers=("rows",))


@local.command()
@url_option
@click.option("--day", type=click.IntRange(min=1), help="Which day's changes; the next one if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def change(url: str, day: int | None, as_json: bool) -> None:
    """Make a believable day of changes in the sample sources."""
    from bbq_dagster.local.sample import change, next_day
    from bbq_dagster.local.server import LocalBigQueryAdmin

    client = LocalBigQueryAdmin(url).client()
    day = day or next_day(client)
    changes = change(client, day=day)
    if as_json:
        show_json(changes)
    else:
        show_table(f"Changes of day {day}", ("table", "change"), ((made.table, made.sentence) for made in changes))


@local.command()
@url_option
@click.option("--set", "instant", type=click.DateTime(["%Y-%m-%dT%H:%M:%S"]), help="Stop the clock at this time, UTC.")
@click.option("--advance-hours", type=float, help="Move it forward.")
@click.option("--real", is_flag=True, help="Let it be the time of this machine again.")
def clock(url: str, instant: datetime | None, advance_hours: float | None, real: bool) -> None:
    """Show or move the clock of the embedded BigQuery."""
    from bbq_dagster.local.server import LocalBigQueryAdmin

    admin = LocalBigQueryAdmin(url)
    if real:
        admin.use_real_clock()
    if instant is not None:
        admin.set_clock(instant.replace(tzinfo=UTC))
    if advance_hours is not None:
        admin.advance(timedelta(hours=advance_hours))
    click.echo(f"{admin.now():%Y-%m-%d %H:%M:%S} UTC")
