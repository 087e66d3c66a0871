"""100,000 tables with 1,000,000 partitions, made in bulk from one table with ten days."""

from __future__ import annotations

from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQueryAdmin
from benchmarks._server import PROJECT, client_of

TABLES, DAYS = 100_000, 10
DATASET = f"{PROJECT}.sales"


def make_many(admin: LocalBigQueryAdmin) -> bq.Client:
    """The tables, in ``shop.sales``, and a client."""
    client = client_of(admin)
    client.create_dataset(DATASET)
    fields = [bq.SchemaField("day", "DATE"), bq.SchemaField("item", "STRING"), bq.SchemaField("price", "NUMERIC")]
    pattern = bq.Table(f"{DATASET}.t", fields)
    pattern.time_partitioning = bq.TimePartitioning(field="day")
    pattern.labels, pattern.description = {"team": "shop"}, "what was sold"
    client.create_table(pattern)
    rows = [{"day": f"2024-01-{day:02}", "item": "pen", "price": "1.5"} for day in range(1, DAYS + 1)]
    client.load_table_from_json(rows, f"{DATASET}.t").result()
    admin.multiply(f"{DATASET}.t", TABLES)
    return client
