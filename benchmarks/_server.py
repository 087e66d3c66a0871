"""An embedded BigQuery in a process of its own, as a benchmark needs it: its time is not the load's."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from google.cloud import bigquery as bq
from requests.adapters import HTTPAdapter

from bbq_dagster.local.errors import LocalServerError
from bbq_dagster.local.server import LocalBigQueryAdmin

PROJECT = "shop"
THREADS = 8


@contextmanager
def running(folder: Path | None = None) -> Iterator[LocalBigQueryAdmin]:
    """A server that answers. ``folder`` None: in memory."""
    port = _free_port()
    command = [sys.executable, "-m", "bbq_dagster.cli", "local", "serve", "--port", str(port)]
    process = subprocess.Popen([*command, *(["--folder", str(folder)] if folder else [])], stdout=subprocess.DEVNULL)
    try:
        yield _answering(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def largest_server_bytes() -> int:
    """Memory of the largest server that has run and ended (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def client_of(admin: LocalBigQueryAdmin) -> bq.Client:
    """Google's client, with a line for each of the threads."""
    client = admin.client(PROJECT, location="EU")
    client._http.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
    return client


def seconds_for(ask: Callable[[int], object], times: int) -> float:
    """Ask so often, by several threads."""
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for answer in [pool.submit(ask, i) for i in range(times)]:
            answer.result()
    return time.perf_counter() - began


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answering(url: str) -> LocalBigQueryAdmin:
    admin, until = LocalBigQueryAdmin(url), time.monotonic() + 120
    while True:
        try:
            admin.now()
        except LocalServerError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return admin
