"""`bbq demo` and `bbq dev`: the embedded BigQuery with the sample, and Dagster on it, in one folder.

Starts and stops processes; what the demo shows is in ``demo``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from bbq_dagster.cli.output import say
from bbq_dagster.errors import Permanent

DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
run_queue:
  max_concurrent_runs: 2
"""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A folder with everything in it: BigQuery's data, bbq.yaml, Dagster's home."""

    folder: Path
    url: str
    server_pid: int

    @property
    def config(self) -> Path:
        return self.folder / "bbq.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that Dagster and `bbq` need to work in it."""
        return {"BBQ_CONFIG": str(self.config), "DAGSTER_HOME": str(self.folder / "dagster")}


@contextmanager
def sandbox(folder: Path, *, port: int) -> Iterator[Sandbox]:
    """The embedded BigQuery served from ``folder`` in a process of its own, with settings for the sample.

    Raises ``Permanent`` where the server does not come up; its own message is on standard error.
    """
    from bbq_dagster.local.sample import sample_settings

    folder = folder.absolute()
    (folder / "dagster").mkdir(parents=True, exist_ok=True)
    (folder / "dagster" / "dagster.yaml").write_text(DAGSTER_YAML)
    port = port or _free_port()
    url = f"http://127.0.0.1:{port}"
    (folder / "bbq.yaml").write_text(sample_settings(url, folder))
    command = [sys.executable, "-m", "bbq_dagster.cli", "local", "serve", "--folder", str(folder / "bigquery")]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        _wait_until_served(server, port)
        yield Sandbox(folder, url, server.pid)
    finally:
        server.terminate()
        server.wait(timeout=30)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".bbq/dev"), show_default=True)
@click.option("--port", default=3000, show_default=True, help="Of Dagster's UI.")
@click.option("--bigquery-port", default=9050, show_default=True, help="Of the embedded BigQuery.")
def dev(folder: Path, port: int, bigquery_port: int) -> None:
    """Dagster's UI on the embedded BigQuery with the sample, sensors on; Ctrl-C ends it."""
    from bbq_dagster.local.sample import seed

    with sandbox(folder, port=bigquery_port) as made:
        if not (folder / "seeded").exists():
            say("seeding the sample sources …")
            seed(made.url)
            (folder / "seeded").touch()
        _bbq(made, "discover")
        say(f"Dagster: http://127.0.0.1:{port}   BigQuery: {made.url}   settings: {made.config}")
        say(f"bbq beside it: export BBQ_CONFIG={made.config}; let a day pass: bbq local change --url {made.url}")
        dagster = [sys.executable, "-m", "dagster", "dev", "-m", "bbq_dagster.definitions", "--port", str(port)]
        subprocess.run(dagster, env=_with(made.environment), check=False)


def _bbq(made: Sandbox, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "bbq_dagster.cli", *arguments], env=_with(made.environment), check=True)


def _with(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **more}


def _wait_until_served(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise Permanent("the embedded BigQuery did not start", hint=f"is port {port} taken? try another one")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Permanent(f"the embedded BigQuery did not answer on port {port} in 30 seconds")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
