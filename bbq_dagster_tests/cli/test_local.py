"""`bbq local …`: the embedded BigQuery from the command line."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bbq_dagster.local.server import LocalBigQuery, LocalBigQueryAdmin
from bbq_dagster_tests.cli.conftest import Bbq

NEEDS_A_SERVER = [("seed", "--small"), ("change",), ("clock",)]


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL at which nobody answers: its port is taken and not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def stranger() -> Iterator[str]:
    """A URL at which somebody else answers."""

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_sample_is_seeded_once_and_changes_day_by_day(bigquery: LocalBigQuery, anywhere: Bbq) -> None:
    seeded = anywhere("local", "seed", "--small", "--json", "--url", bigquery.url).json
    again = anywhere("local", "seed", "--small", "--url", bigquery.url)
    first = anywhere("local", "change", "--json", "--url", bigquery.url).json
    second = anywhere("local", "change", "--url", bigquery.url)

    assert isinstance(seeded, list)
    assert {"ref": "acme-flights.reference.airlines", "rows": 16} in seeded
    assert again.code == 2
    assert "the sample is there already" in again.err
    assert isinstance(first, list)
    assert list(first[0]) == ["table", "kind", "sentence", "effect", "rows"]
    assert "acme-flights.ops.flights" in {made["table"] for made in first}
    assert second.out.startswith("Changes of day 2\n")


def test_changes_of_a_sample_that_was_not_seeded_are_refused(bigquery: LocalBigQuery, anywhere: Bbq) -> None:
    answer = anywhere("local", "change", "--url", bigquery.url)

    assert answer.code == 2
    assert "HINT: make it by: bbq local seed" in answer.err


def test_the_clock_is_shown_set_and_moved(bigquery: LocalBigQuery, anywhere: Bbq) -> None:
    set_to = anywhere("local", "clock", "--url", bigquery.url, "--set", "2026-01-01T00:00:00")
    moved = anywhere("local", "clock", "--url", bigquery.url, "--advance-hours", "1.5")
    shown = anywhere("local", "clock", "--url", bigquery.url, "--json")

    assert set_to.out == "2026-01-01 00:00:00 UTC\n"
    assert moved.out == "2026-01-01 01:30:00 UTC\n"
    assert shown.json == {"now": "2026-01-01T01:30:00+00:00"}


def test_the_clock_takes_one_wish_at_a_time(bigquery: LocalBigQuery, anywhere: Bbq) -> None:
    before = bigquery.now()

    answer = anywhere("local", "clock", "--url", bigquery.url, "--real", "--advance-hours", "1000")

    assert answer.code == 2
    assert "exclude each other" in answer.err
    assert (bigquery.now() - before).total_seconds() < 3600


@pytest.mark.parametrize("command", NEEDS_A_SERVER, ids=" ".join)
def test_a_server_that_does_not_run_is_told_at_once(anywhere: Bbq, nobody: str, command: tuple[str, ...]) -> None:
    answer = anywhere("local", *command, "--url", nobody)

    assert answer.code == 3
    assert f"No embedded BigQuery answers at {nobody}" in answer.err
    assert "HINT: start one with `bbq local serve`" in answer.err


@pytest.mark.parametrize("command", NEEDS_A_SERVER, ids=" ".join)
def test_a_server_of_somebody_else_is_left_alone(anywhere: Bbq, stranger: str, command: tuple[str, ...]) -> None:
    answer = anywhere("local", *command, "--url", stranger)

    assert answer.code == 3
    assert f"What answers at {stranger} is no embedded BigQuery" in answer.err


def test_a_url_without_http_is_refused(anywhere: Bbq) -> None:
    answer = anywhere("local", "clock", "--url", "localhost:9050")

    assert answer.code == 2
    assert "write it as http://127.0.0.1:9050" in answer.err


def test_serve_refuses_a_port_that_is_taken(bigquery: LocalBigQuery, anywhere: Bbq) -> None:
    port = bigquery.url.rpartition(":")[2]

    answer = anywhere("local", "serve", "--port", port)

    assert answer.code == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in answer.err
    assert "HINT: choose another port" in answer.err


def test_serve_refuses_a_folder_that_it_cannot_use(anywhere: Bbq, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    answer = anywhere("local", "serve", "--port", "0", "--folder", str(file))

    assert answer.code == 2
    assert f"The folder {file} cannot be used" in answer.err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "a polite kill"])
def test_serve_says_where_it_serves_and_ends_well(tmp_path: Path, stop: signal.Signals) -> None:
    command = [sys.executable, "-m", "bbq_dagster.cli", "local", "serve", "--port", "0", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        first = server.stdout.readline()
        url = next(word for word in first.split() if word.startswith("http")).rstrip(",")
        now = LocalBigQueryAdmin(url).now()
        server.stdout.readline()
        server.send_signal(stop)
        _, err = server.communicate(timeout=20)

    assert f"its data is kept in {tmp_path}" in first
    assert now.tzinfo is not None
    assert (server.returncode, err) == (0, "")


def test_settings_with_an_endpoint_that_nobody_serves_are_told_so_at_once(
    anywhere: Bbq, tmp_path: Path, nobody: str
) -> None:
    path = tmp_path / "bbq.yaml"
    path.write_text(
        f"endpoint: {nobody}\ncredentials: anonymous\nbackup_project: acme-vault\ncatalog: {{location: EU}}\n"
        "sources: [{project: acme-shop}]\n"
    )

    answer = anywhere("--config", str(path), "plan")

    assert answer.code == 3
    assert f"nothing answers at {nobody}" in answer.err
    assert f"HINT: start it by: bbq local serve --port {nobody.rpartition(':')[2]}" in answer.err
