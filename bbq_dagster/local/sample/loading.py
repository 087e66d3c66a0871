"""Rows into tables by load jobs, as pipelines do it: one Parquet file a table, which BigQuery splits by partition."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as parquet
from google.cloud import bigquery

from bbq_dagster.core.tables import Unit
from bbq_dagster.local.sample.tables import Columns, location_of

_POLL_SECONDS = 0.02
"""The client's own ``result()`` sleeps a second between looks, which would be most of the time of a small load."""


def load(client: bigquery.Client, target: Unit, columns: Columns, rows: pa.Table) -> None:
    """Append ``rows`` to a table that exists, or to the partition that the target names; returns when they are in."""
    finish([start_load(client, target, columns, rows)])


def start_load(client: bigquery.Client, target: Unit, columns: Columns, rows: pa.Table) -> bigquery.LoadJob:
    """As ``load``, but does not wait for the end."""
    file = io.BytesIO()
    parquet.write_table(rows, file)
    config = bigquery.LoadJobConfig(source_format="PARQUET", schema=list(columns), write_disposition="WRITE_APPEND")
    return client.load_table_from_file(
        file,
        str(target),
        rewind=True,
        size=file.tell(),
        project=target.table.project,
        location=location_of(target.table),
        job_config=config,
    )


def finish(jobs: Iterable[bigquery.LoadJob]) -> None:
    """Wait for all of them. Raises the client's error of the first one that failed."""
    for job in jobs:
        while not job.done():
            time.sleep(_POLL_SECONDS)
        job.result()
