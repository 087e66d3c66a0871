"""What survives: a restart, and a kill in the middle of things."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from google.cloud import bigquery as bq

from bbq_dagster.local.errors import LocalServerError
from bbq_dagster.local.server import LocalBigQuery, LocalBigQueryAdmin
from bbq_dagster_tests.local.builders import (
    NOW,
    a_dataset,
    a_day_table,
    a_table,
    copy,
    load,
    modified_of,
    partitions_of,
    rows_of,
)

SERVER = """
import sys
from pathlib import Path
from bbq_dagster.local.server import LocalBigQuery
server = LocalBigQuery(Path(sys.argv[1])).start()
print(server.url, flush=True)
sys.stdin.read()
"""


@contextmanager
def a_server(folder: Path) -> Iterator[tuple[LocalBigQuery, bq.Client]]:
    with LocalBigQuery(folder, now=NOW) as server:
        yield server, server.client("shop")


def test_a_restart_gives_everything_back(tmp_path: Path) -> None:
    with a_server(tmp_path) as (server, client):
        a_dataset(client, labels={"k": "v"})
        a_day_table(client, "t", ["2024-01-01", None], clustering_fields=["a"])
        copy(client, "t", "u")
        client.insert_rows_json("shop.sales.u", [{"a": 9, "day": "2024-01-01"}])
        before = [client.get_table(f"shop.sales.{name}").to_api_repr() for name in "tu"]
        jobs = [job.job_id for job in client.list_jobs()]

    with a_server(tmp_path) as (server, client):
        after = [client.get_table(f"shop.sales.{name}").to_api_repr() for name in "tu"]

        assert [t | {"selfLink": ""} for t in after] == [t | {"selfLink": ""} for t in before]
        assert partitions_of(server, "t") == {"20240101": 1, "__NULL__": 1}
        assert len(rows_of(client, "u")) == 3
        assert client.get_dataset("shop.sales").labels == {"k": "v"}
        assert [job.job_id for job in client.list_jobs()] == jobs


def test_a_restart_remembers_the_past_and_the_deleted(tmp_path: Path) -> None:
    at = int(NOW.timestamp() * 1000)
    with a_server(tmp_path) as (server, client):
        a_dataset(client)
        a_table(client, "t", [{"a": 1}])
        a_table(client, "gone", [{"a": 7}])
        server.advance(timedelta(hours=1))
        load(client, "t", [{"a": 2}], "WRITE_TRUNCATE")
        client.delete_table("shop.sales.gone")

    with a_server(tmp_path) as (server, client):
        server.advance(timedelta(hours=2))
        copy(client, f"t@{at}", "was")
        copy(client, f"gone@{at}", "back")

        assert (rows_of(client, "t"), rows_of(client, "was"), rows_of(client, "back")) == ([(2,)], [(1,)], [(7,)])


def test_nothing_acknowledged_is_lost_on_kill(tmp_path: Path) -> None:
    """Killed with signal 9 while copies come in: each one that was acknowledged is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()
    client = LocalBigQueryAdmin(url).client("shop")
    a_dataset(client)
    a_table(client, "t", [{"a": 1}])
    for i in range(30):
        copy(client, "t", f"copy{i:02}")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    with a_server(tmp_path) as (_, client):
        names = [t.table_id for t in client.list_tables("shop.sales")]

        assert names == [*(f"copy{i:02}" for i in range(30)), "t"]
        assert rows_of(client, "copy29") == [(1,)]
        assert modified_of(client, "copy29") >= modified_of(client, "copy00")


def test_a_job_that_was_running_is_run_after_the_restart(tmp_path: Path) -> None:
    with a_server(tmp_path) as (server, client):
        a_dataset(client)
        a_table(client, "t", [{"a": 1}])
        server.settings(job_running_seconds=60)
        client.copy_table("shop.sales.t", "shop.sales.u", job_id="mine")

    with a_server(tmp_path) as (_, client):
        client.get_job("mine").result()

        assert rows_of(client, "u") == [(1,)]


def test_a_folder_serves_one_server_at_a_time(tmp_path: Path) -> None:
    with LocalBigQuery(tmp_path), pytest.raises(LocalServerError, match="in use by another embedded BigQuery\nHINT"):
        LocalBigQuery(tmp_path)


def test_a_taken_port_is_told() -> None:
    with LocalBigQuery() as server:
        port = int(server.url.rpartition(":")[2])

        with pytest.raises(LocalServerError, match=f"Cannot listen on 127.0.0.1:{port}(.|\n)*HINT"):
            LocalBigQuery(port=port)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LocalServerError, match=r"cannot be used(.|\n)*HINT"):
        LocalBigQuery(tmp_path / "file" / "inside")
