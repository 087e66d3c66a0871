"""``contracts.Scene`` on a BigQuery: datasets, tables and rows made over its API, without SQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from google.cloud import bigquery

from bbq_dagster.core.tables import NULL_PARTITION, DatasetRef, TableRef

_EXPIRY_MS = 400 * 24 * 3600 * 1000
_FIELDS = [bigquery.SchemaField("id", "INTEGER"), bigquery.SchemaField("day", "DATE")]


class BigQueryScene:
    """``client`` may belong to any project: every name says its own."""

    def __init__(self, client: bigquery.Client) -> None:
        self.client = client

    def create_dataset(
        self,
        ref: DatasetRef,
        *,
        location: str = "EU",
        labels: Mapping[str, str] | None = None,
        expires: bool = False,
    ) -> None:
        dataset = bigquery.Dataset(bigquery.DatasetReference(ref.project, ref.dataset))
        dataset.location, dataset.labels = location, dict(labels or {})
        dataset.default_table_expiration_ms = _EXPIRY_MS if expires else None
        self.client.create_dataset(dataset)

    def create_table(
        self, ref: TableRef, *, rows: int = 0, labels: Mapping[str, str] | None = None, expires: bool = False
    ) -> None:
        table = bigquery.Table(reference(ref), schema=_FIELDS)
        table.labels = dict(labels or {})
        table.expires = datetime.fromisoformat("2099-01-01T00:00:00+00:00") if expires else None
        self.client.create_table(table)
        self.write(ref, rows)

    def create_partitioned_table(self, ref: TableRef, partitions: Mapping[str, int], *, expires: bool = False) -> None:
        table = bigquery.Table(reference(ref), schema=_FIELDS)
        table.time_partitioning = bigquery.TimePartitioning(
            type_="DAY", field="day", expiration_ms=100 * _EXPIRY_MS if expires else None
        )
        self.client.create_table(table)
        for partition, rows in partitions.items():
            self.write(ref, rows, partition)

    def create_view(self, ref: TableRef, *, of: TableRef) -> None:
        view = bigquery.Table(reference(ref))
        view.view_query = f"SELECT * FROM `{of}`"
        self.client.create_table(view)

    def delete_table(self, ref: TableRef) -> None:
        self.client.delete_table(reference(ref))

    def write(self, ref: TableRef, rows: int, partition: str = NULL_PARTITION) -> None:
        """Add rows whose day is that of ``partition``."""
        if rows == 0:
            return
        is_null = partition == NULL_PARTITION
        day = None if is_null else f"{datetime.strptime(partition, '%Y%m%d').date()}"  # noqa: DTZ007
        config = bigquery.LoadJobConfig(schema=_FIELDS, write_disposition="WRITE_APPEND")
        written = [{"id": number, "day": day} for number in range(rows)]
        self.client.load_table_from_json(written, reference(ref), job_config=config).result()


def reference(ref: TableRef) -> bigquery.TableReference:
    return bigquery.DatasetReference(ref.project, ref.dataset).table(ref.table)
