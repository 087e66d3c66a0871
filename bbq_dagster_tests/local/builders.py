"""Tables and jobs for the tests of the embedded BigQuery, in as few words as they need."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery

NOW = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
PROJECT = "shop"
A = bq.SchemaField("a", "INTEGER")
DAY = bq.SchemaField("day", "DATE")
Rows = Sequence[Mapping[str, Any]]


def a_dataset(client: bq.Client, name: str = "sales", location: str = "EU", **properties: Any) -> bq.Dataset:
    dataset = bq.Dataset(f"{PROJECT}.{name}")
    dataset.location = location
    for key, value in properties.items():
        setattr(dataset, key, value)
    return client.create_dataset(dataset)


def a_table(
    client: bq.Client, name: str, rows: Rows = (), fields: Iterable[bq.SchemaField] = (A,), **properties: Any
) -> bq.Table:
    """A table in ``sales`` with these rows."""
    table = bq.Table(f"{PROJECT}.sales.{name}", schema=list(fields))
    for key, value in properties.items():
        setattr(table, key, value)
    created = client.create_table(table)
    load(client, name, rows)
    return created


def a_day_table(client: bq.Client, name: str, days: Iterable[str | None] = (), **properties: Any) -> bq.Table:
    """A table partitioned by day on the column ``day``, with one row for each day."""
    by_day = bq.TimePartitioning(field="day", expiration_ms=properties.pop("expiration_ms", None))
    rows = [{"a": i, "day": day} for i, day in enumerate(days, 1)]
    return a_table(client, name, rows, (A, DAY), time_partitioning=by_day, **properties)


def an_ingestion_table(client: bq.Client, name: str, unit: str = "DAY", rows: Rows = ()) -> bq.Table:
    return a_table(client, name, rows, time_partitioning=bq.TimePartitioning(type_=unit))


def load(client: bq.Client, name: str, rows: Rows, disposition: str = "WRITE_APPEND") -> None:
    """Load rows into ``sales.name``, which may carry a partition decorator."""
    if rows:
        config = bq.LoadJobConfig(write_disposition=disposition)
        client.load_table_from_json(list(rows), f"{PROJECT}.sales.{name}", job_config=config).result()


def copy(client: bq.Client, source: str | Sequence[str], target: str, **config: Any) -> bq.CopyJob:
    """Copy between tables of ``sales`` (or ``dataset.table``), and wait for it."""
    sources = [source] if isinstance(source, str) else source
    job = client.copy_table([_full(s) for s in sources], _full(target), job_config=bq.CopyJobConfig(**config))
    return job.result()


def rows_of(client: bq.Client, name: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in client.list_rows(_full(name))), key=str)


def partitions_of(server: LocalBigQuery, name: str) -> dict[str, int]:
    """The rows of each partition, from the store itself."""
    table = next(t for t in server.store.tables(PROJECT, "sales") if t.ref.table == name)
    return {p: part.rows for p, part in sorted(table.parts.items())}


def modified_of(client: bq.Client, name: str) -> datetime:
    modified = client.get_table(_full(name)).modified
    assert modified is not None
    return modified


def _full(name: str) -> bq.TableReference:
    return bq.TableReference.from_string(f"{PROJECT}.{name if '.' in name else f'sales.{name}'}")
