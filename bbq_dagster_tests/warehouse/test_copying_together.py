"""Processes that copy at once, each with a pace of its own, where the server allows them only so much in all."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from bbq_dagster.apply.copying import CopyLimits, TableCopies, run_copies
from bbq_dagster.core.versions import Copy
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.warehouse.bigquery import BigQueryWarehouse
from bbq_dagster.warehouse.client import build_client
from bbq_dagster_tests.builders import BACKUPS, ORDERS, SALES, a_copy
from bbq_dagster_tests.warehouse.scene import BigQueryScene

PROCESSES, COPIES_EACH, ALLOWED = 3, 50, 30


def test_processes_share_what_the_server_allows_and_no_copy_fails(bigquery: LocalBigQuery) -> None:
    scene = BigQueryScene(bigquery.client(SALES.project))
    scene.create_dataset(SALES)
    scene.create_dataset(BACKUPS)
    scene.create_table(ORDERS, rows=1)
    bigquery.limits(requests_per_second=ALLOWED)
    bigquery.reset_calls()

    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        ends = sum(pool.map(ends_of, [bigquery.url] * PROCESSES, range(PROCESSES)), Counter[str]())

    copies = PROCESSES * COPIES_EACH
    assert ends == {"CopyOutcome": copies}
    assert bigquery.calls()["jobs.insert"] <= copies * 1.1


def ends_of(url: str, process: int) -> Counter[str]:
    """How the copies of one process ended."""
    client = build_client(BACKUPS.project, endpoint=url, credentials="anonymous")
    copies = [copy_of_orders(f"{process}-{number}") for number in range(COPIES_EACH)]
    tables = [TableCopies(copy.destination.table, (copy,)) for copy in copies]
    limits = CopyLimits(requests_per_second=ALLOWED - 1, concurrent_runs=PROCESSES)
    turns = run_copies(tables, BigQueryWarehouse(client), limits=limits)
    return Counter(type(end).__name__ for turn in turns for end in turn)


def copy_of_orders(name: str) -> Copy:
    return replace(a_copy(ORDERS.unit()), destination=BACKUPS.table(f"orders-{name}").unit())
