"""`bbq local`: the embedded BigQuery, for trying things out. The only place beside tests that loads it."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bbq_dagster.cli.options import as_json
from bbq_dagster.cli.output import say, show_json, show_table, waiting_for
from bbq_dagster.errors import Refused
from bbq_dagster.local.errors import LocalServerError

if TYPE_CHECKING:
    from bbq_dagster.local.server import LocalBigQueryAdmin

DEFAULT_PORT = 9050


def _http_url(_context: click.Context, _parameter: click.Parameter, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} is no URL: write it as http://127.0.0.1:{DEFAULT_PORT}")
    return url


url_option = click.option(
    "--url",
    default=f"http://127.0.0.1:{DEFAULT_PORT}",
    show_default=True,
    callback=_http_url,
    help="Where it is served.",
)


@click.group()
def local() -> None:
    """The embedded BigQuery: serve it, fill it with sample data, let a day pass."""


@local.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where its data is kept; in memory if not given.")
@click.option(
    "--buckets", type=click.Path(path_type=Path), help="The folder that stands for gs://; else FOLDER/buckets."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one."
)
def serve(folder: Path | None, buckets: Path | None, host: str, port: int) -> None:
    """Serve BigQuery's REST API until you press Ctrl-C."""
    from bbq_dagster.local.server import LocalBigQuery

    try:
        server = LocalBigQuery(folder, host, port, buckets=buckets)
    except LocalServerError as error:
        raise Refused(str(error)) from error
    ended = _told_to_end()
    with server:
        say(f"BigQuery's REST API is served at {server.url}, its data is kept in {folder or 'memory'}")
        say("in bbq.yaml: endpoint and `credentials: anonymous`; Ctrl-C ends it")
        ended.wait()


@local.command()
@url_option
@click.option("--small", is_flag=True, help="A few rows of each table.")
@as_json
def seed(url: str, small: bool, as_json: bool) -> None:
    """Make the sample sources: flights, weather and more over two projects and two locations."""
    from bbq_dagster.local.sample import seed

    admin = _running_at(url)
    with waiting_for("loading the sample"):
        report = seed(admin.url, small=small)
    if as_json:
        show_json(report.tables)
    else:
        show_table("Sample tables", ("table", "rows"), ((t.ref, t.rows) for t in report.tables), numbers=("rows",))


@local.command()
@url_option
@click.option("--day", type=click.IntRange(min=1), help="Which day's changes; the next one if not given.")
@as_json
def change(url: str, day: int | None, as_json: bool) -> None:
    """Make a believable day of changes in the sample sources."""
    from bbq_dagster.local.sample import change, next_day

    client = _running_at(url).client()
    day = day or next_day(client)
    with waiting_for(f"making the changes of day {day}"):
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
@as_json
def clock(url: str, instant: datetime | None, advance_hours: float | None, real: bool, as_json: bool) -> None:
    """Show or move the clock of the embedded BigQuery."""
    if sum((instant is not None, advance_hours is not None, real)) > 1:
        raise click.UsageError("--set, --advance-hours and --real exclude each other: give one of them")
    admin = _running_at(url)
    if real:
        admin.use_real_clock()
    if instant is not None:
        admin.set_clock(instant.replace(tzinfo=UTC))
    if advance_hours is not None:
        admin.advance(timedelta(hours=advance_hours))
    now = admin.now()
    if as_json:
        show_json({"now": now})
    else:
        say(f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _running_at(url: str) -> LocalBigQueryAdmin:
    """Raises ``LocalServerError`` at once where no embedded BigQuery answers; its client would try for ten minutes."""
    from bbq_dagster.local.server import LocalBigQueryAdmin

    admin = LocalBigQueryAdmin(url)
    try:
        admin.now()
    except (ValueError, KeyError) as error:
        raise LocalServerError(
            f"What answers at {url} is no embedded BigQuery\nHINT: start one with `bbq local serve`."
        ) from error
    return admin


def _told_to_end() -> threading.Event:
    """Set by Ctrl-C or a polite kill, from now on: whoever reads that the server is there may end it at once."""
    ended = threading.Event()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: ended.set())
    return ended
