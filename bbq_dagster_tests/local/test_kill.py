"""Killed with signal 9 while 1,000 writes of every kind come in over 32 lines, and again while it starts.

What was acknowledged is there; what was not is there wholly or not at all. The moments are drawn from a seed.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import pytest
import requests
from google.api_core.exceptions import InternalServerError, NotFound
from google.cloud import bigquery as bq
from requests.adapters import HTTPAdapter

from bbq_dagster.local.errors import LocalServerError
from bbq_dagster.local.server import LocalBigQuery, LocalBigQueryAdmin
from bbq_dagster_tests.local.builders import A, a_dataset, a_day_table, a_table, rows_of

WRITES, LINES, SEED = 1_000, 32, 20240301
SERVER = """
import sys
from pathlib import Path
from bbq_dagster.local.server import LocalBigQuery
print("opening", flush=True)
server = LocalBigQuery(Path(sys.argv[1])).start()
print(server.url, flush=True)
sys.stdin.read()
"""


@contextmanager
def a_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], bq.Client]]:
    """A server in a process of its own, with as many lines to it as there are threads."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "opening\n"
    url = process.stdout.readline().strip()
    assert url, "the server did not start"
    try:
        client = LocalBigQueryAdmin(url).client("shop")
        client._http.mount("http://", HTTPAdapter(pool_maxsize=LINES))
        yield process, client
    finally:
        process.kill()
        process.communicate()


# -- the writes: each asks for one thing, known by its number


def insert_all(client: bq.Client, number: int) -> None:
    assert client.insert_rows_json("shop.sales.streamed", [{"a": number}] * 2, retry=None, timeout=30) == []


def load_rows(client: bq.Client, number: int) -> None:
    rows, config = [{"a": number}] * 2, bq.LoadJobConfig(schema=[A])
    client.load_table_from_json(rows, "shop.sales.loaded", num_retries=0, job_config=config).result(retry=None)


def insert_by_dml(client: bq.Client, number: int) -> None:
    job = client.query(f"INSERT sales.inserted VALUES ({number}), ({number})", retry=None, job_retry=None)
    job.result(retry=None, job_retry=None)


def copy_table(client: bq.Client, number: int) -> None:
    client.copy_table("shop.sales.days", f"shop.sales.copy_{number}", retry=None).result(retry=None)


def create_table(client: bq.Client, number: int) -> None:
    client.create_table(bq.Table(f"shop.sales.created_{number}", [A]), retry=None)


def patch_table(client: bq.Client, number: int) -> None:
    table = bq.Table(f"shop.sales.patched_{number}")
    table.description, table.labels = str(number), {"number": str(number)}
    client.update_table(table, ["description", "labels"], retry=None)


def delete_table(client: bq.Client, number: int) -> None:
    client.delete_table(f"shop.sales.deleted_{number}", retry=None)


KINDS = (insert_all, load_rows, insert_by_dml, copy_table, create_table, patch_table, delete_table)


# -- what became of them


APPENDED_TO = {insert_all.__name__: "streamed", load_rows.__name__: "loaded", insert_by_dml.__name__: "inserted"}


class Found:
    """The state after the kill, in which a write is looked for."""

    def __init__(self, client: bq.Client) -> None:
        self.client = client
        self.names = {table.table_id for table in client.list_tables("shop.sales")}
        self.rows = {name: Counter(a for (a,) in rows_of(client, name)) for name in APPENDED_TO.values()}

    def share_of(self, kind: Callable[[bq.Client, int], None], number: int) -> float:
        """How much of a write is there: 1 is all of it."""
        if kind is create_table:
            return float(f"created_{number}" in self.names)
        if kind is delete_table:
            return float(f"deleted_{number}" not in self.names)
        if kind is copy_table:
            return self._rows_of_copy(number) / 3
        if kind is patch_table:
            table = self.client.get_table(f"shop.sales.patched_{number}")
            return (table.description == str(number)) / 2 + len(table.labels) / 2
        return self.rows[APPENDED_TO[kind.__name__]][number] / 2

    def _rows_of_copy(self, number: int) -> int:
        if f"copy_{number}" not in self.names:
            return 0
        return self.client.get_table(f"shop.sales.copy_{number}").num_rows or 0


def prepare(client: bq.Client) -> None:
    a_dataset(client)
    for name in ("streamed", "loaded", "inserted", "patched", "deleted"):
        a_table(client, name)
    a_day_table(client, "days", ["2024-01-01", "2024-01-02", None])
    admin = LocalBigQueryAdmin(client._connection.API_BASE_URL)
    admin.multiply("shop.sales.patched", WRITES)
    admin.multiply("shop.sales.deleted", WRITES)


def kind_of(number: int) -> Callable[[bq.Client, int], None]:
    return KINDS[number % len(KINDS)]


def acknowledged_until(kill: Callable[[], None], client: bq.Client, count: int) -> set[int]:
    """The writes that were acknowledged, with the kill coming when so many were."""
    acknowledged: set[int] = set()
    reached = Event()

    def write(number: int) -> None:
        try:
            kind_of(number)(client, number)
        except (requests.exceptions.RequestException, NotFound):
            return
        acknowledged.add(number)
        if len(acknowledged) >= count:
            reached.set()

    with ThreadPoolExecutor(LINES) as pool:
        for number in range(WRITES):
            pool.submit(write, number)
        assert reached.wait(300), f"only {len(acknowledged)} writes were acknowledged"
        kill()
        pool.shutdown(cancel_futures=True)
    return acknowledged


def kill_while_it_opens(folder: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "opening\n"
    time.sleep(seconds)
    process.kill()
    process.communicate()


def wait_for_jobs(client: bq.Client) -> None:
    """Until the jobs that the kill left unfinished have been run again."""
    while any(job.state != "DONE" for job in client.list_jobs()):
        time.sleep(0.01)


@pytest.mark.parametrize("seed", [SEED])
def test_what_was_acknowledged_survives_and_the_rest_is_there_wholly_or_not_at_all(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    with a_process(tmp_path) as (process, client):
        prepare(client)
        kill = partial(os.kill, process.pid, signal.SIGKILL)
        acknowledged = acknowledged_until(kill, client, moments.randint(300, 800))
    for _ in range(2):
        kill_while_it_opens(tmp_path, moments.uniform(0, 0.2))

    with LocalBigQuery(tmp_path) as server, server.client("shop") as client:
        wait_for_jobs(client)
        found = Found(client)
        shares = {number: found.share_of(kind_of(number), number) for number in range(WRITES)}

        print(f"seed {seed}: {len(acknowledged)} acknowledged, {sum(shares.values()):.0f} there")
        assert {number for number in acknowledged if shares[number] != 1} == set()
        assert {number: share for number, share in shares.items() if share not in (0, 1)} == {}


def test_a_disk_that_is_full_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """An answer says that it failed; once there is room everything is kept that was acknowledged."""
    with a_process(tmp_path) as (process, client):
        a_dataset(client)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        with pytest.raises(InternalServerError, match="disk"):
            create_table(client, 1)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        create_table(client, 2)

    with LocalBigQuery(tmp_path) as server, server.client("shop") as client:
        assert [table.table_id for table in client.list_tables("shop.sales")] == ["created_1", "created_2"]


def test_a_second_process_is_refused_the_folder_in_words(tmp_path: Path) -> None:
    with a_process(tmp_path) as (_, client):
        a_dataset(client)

        with pytest.raises(LocalServerError, match="in use by another embedded BigQuery\nHINT: stop it"):
            LocalBigQuery(tmp_path)

    with LocalBigQuery(tmp_path) as server, server.client("shop") as client:
        assert client.get_dataset("shop.sales").dataset_id == "sales"


def test_a_load_that_was_under_way_is_ended_for_want_of_its_file(tmp_path: Path) -> None:
    with a_process(tmp_path) as (_, client):
        a_dataset(client)
        a_table(client, "loaded")
        LocalBigQueryAdmin(client._connection.API_BASE_URL).settings(job_running_seconds=60)
        rows, config = [{"a": 1}], bq.LoadJobConfig(schema=[A])
        client.load_table_from_json(rows, "shop.sales.loaded", job_id="mine", job_config=config)

    with LocalBigQuery(tmp_path) as server, server.client("shop") as client:
        with pytest.raises(InternalServerError, match="send it again"):
            client.get_job("mine").result()

        assert rows_of(client, "loaded") == []
