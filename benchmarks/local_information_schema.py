"""Seconds for queries over INFORMATION_SCHEMA of 100,000 tables with 1,000,000 partitions, first page included.

The queries are the ones by which a backup lists tables and their state, and a plain one. Target: 2 s each.
"""

from __future__ import annotations

import time

from google.cloud import bigquery as bq

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.warehouse.information_schema import tables_sql
from benchmarks._figure import print_figure
from benchmarks._many import DATASET, TABLES, make_many
from benchmarks._server import PROJECT, running

TARGET_SECONDS = 2.0
QUERIES = {
    "TABLES": f"SELECT table_name, table_type, creation_time FROM {DATASET}.INFORMATION_SCHEMA.TABLES",
    "TABLE_STORAGE": "SELECT table_schema, table_name, total_rows, total_logical_bytes, storage_last_modified_time "
    "FROM `region-eu`.INFORMATION_SCHEMA.TABLE_STORAGE WHERE NOT deleted",
    "tables of a backup": tables_sql(DatasetRef(PROJECT, "sales")),
}


def main() -> None:
    with running() as admin:
        client = make_many(admin)
        found = {name: min(_seconds(client, sql) for _ in range(3)) for name, sql in QUERIES.items()}
    for name, seconds in found.items():
        print(f"{seconds:6.2f} s  {name}")
    print_figure("local_information_schema", max(found.values()), "s", target=TARGET_SECONDS)


def _seconds(client: bq.Client, sql: str) -> float:
    began = time.perf_counter()
    rows = client.query_and_wait(sql, page_size=1_000)
    next(iter(rows.pages))
    assert rows.total_rows == TABLES + 1
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
