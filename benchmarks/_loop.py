"""What the engine is measured against: a loop over threads of a bare client that copies one table after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from google.cloud import bigquery as bq
from requests.adapters import HTTPAdapter

THREADS = 32


def copy_in_a_loop(client: bq.Client, pairs: Iterable[tuple[str, str]]) -> None:
    """Copy each source to its destination, and wait for each job."""
    client._http.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda pair: _copy(client, *pair), pairs))


def seconds_of(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _copy(client: bq.Client, source: str, destination: str) -> None:
    job = client.copy_table(source, destination)
    while job.state != "DONE":
        time.sleep(0.1)
        job.reload()
    assert job.error_result is None
