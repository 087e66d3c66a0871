"""Snapshots of the catalog: a copy job a day, in a dataset of their own, and back by a query.

A snapshot costs the storage of what changed since, and outlives the table that it was taken of (BigQuery:
table-snapshots-intro).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.cloud import bigquery
from google.cloud.bigquery.job.copy_ import OperationType

from bbq_dagster.core.catalog_snapshot import CatalogSnapshot
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.errors import Permanent, Refused
from bbq_dagster.warehouse.catalog_schema import EVENTS, CatalogPlace
from bbq_dagster.warehouse.client import Patience
from bbq_dagster.warehouse.faults import Need, explained
from bbq_dagster.warehouse.queries import Queries, quoted

_DESCRIPTION = "Daily snapshots of the catalog of bbq_dagster. Nobody but its account should be able to delete them."
_EDITOR = "roles/bigquery.dataEditor"


class CatalogSnapshots:
    """Takes, lists and reads back the snapshots of the catalog at ``place``; they are in ``dataset``.

    BigQuery deletes a snapshot once it was ``kept`` for so long.
    """

    def __init__(
        self, client: bigquery.Client, place: CatalogPlace, patience: Patience, *, dataset: DatasetRef, kept: timedelta
    ) -> None:
        self._client, self._place, self._patience = client, place, patience
        self._options = patience.call_options()
        self._queries = Queries(client, patience)
        self._dataset, self._kept = dataset, kept

    def take(self, at: datetime) -> CatalogSnapshot:
        """That of the day; one that is there stays as it is."""
        snapshot = CatalogSnapshot.of_day(self._dataset, at.astimezone(UTC).date())
        self._create_dataset_if_missing()
        try:
            with explained(f"taking a snapshot of the catalog {self._place.dataset}", *self._needs):
                self._client.copy_table(
                    self._place.reference(EVENTS),
                    _reference(snapshot.table),
                    job_id=f"bbq_catalog_snapshot_{at.astimezone(UTC):%Y%m%dT%H%M%S%f}",
                    location=self._place.location,
                    project=self._client.project,
                    job_config=_config(expires_at=at + self._kept),
                    **self._options,
                ).result(timeout=self._patience.give_up_after)
        except Permanent as error:
            if error.reason != "duplicate":
                raise
        return snapshot

    def list(self) -> list[CatalogSnapshot]:
        """All there are, newest first; none where the dataset was never made."""
        try:
            with explained(f"listing the snapshots in {self._dataset}", self._may_list):
                tables = [
                    self._dataset.table(item.table_id)
                    for item in self._client.list_tables(str(self._dataset), **self._options)
                ]
        except Permanent as error:
            if error.reason != "notFound":
                raise
            return []
        found = filter(None, map(CatalogSnapshot.found, tables))
        return sorted(found, key=lambda snapshot: snapshot.day, reverse=True)

    def read_back(self, snapshot: CatalogSnapshot) -> None:
        """Add its events to those of the catalog, but for those that are there. An older one may have fewer columns."""
        with explained(f"looking at {snapshot.table}", *self._needs):
            found = self._client.get_table(_reference(snapshot.table), **self._options)
        if found.table_type != "SNAPSHOT":
            raise Refused(f"{snapshot.table} is no snapshot: nothing was restored")
        events, columns = self._place.quoted(EVENTS), ", ".join(f"`{field.name}`" for field in found.schema)
        table = quoted(snapshot.table.project, snapshot.table.dataset, snapshot.table.table)
        list(
            self._queries.rows(
                f"""
                INSERT INTO {events} ({columns})
                SELECT {columns}
                FROM {table}
                WHERE `event_id` NOT IN (SELECT `event_id` FROM {events})""",
                location=self._place.location,
                doing=f"reading {snapshot.table} back into the catalog",
                needs=self._needs,
            )
        )

    def _create_dataset_if_missing(self) -> None:
        """Looked for first: whoever takes snapshots need not be allowed to create datasets."""
        try:
            with explained(f"looking at {self._dataset}", Need("bigquery.datasets.get", _EDITOR, self._dataset)):
                self._client.get_dataset(str(self._dataset), **self._options)
        except Permanent as error:
            if error.reason != "notFound":
                raise
            self._create_dataset()

    def _create_dataset(self) -> None:
        wanted = bigquery.Dataset(bigquery.DatasetReference(self._dataset.project, self._dataset.dataset))
        wanted.location, wanted.description = self._place.location, _DESCRIPTION
        wanted.labels = {"bbq": "catalog"}
        may_create = Need("bigquery.datasets.create", "roles/bigquery.user", f"project {self._dataset.project}")
        with explained(f"creating {self._dataset}", may_create):
            self._client.create_dataset(wanted, exists_ok=True, **self._options)

    @property
    def _may_list(self) -> Need:
        return Need("bigquery.tables.list", "roles/bigquery.metadataViewer", self._dataset)

    @property
    def _needs(self) -> tuple[Need, ...]:
        return (
            Need("bigquery.tables.createSnapshot", _EDITOR, self._place.dataset),
            Need("bigquery.tables.create", _EDITOR, self._dataset),
            Need("bigquery.tables.updateData", _EDITOR, self._dataset),
            Need("bigquery.tables.deleteSnapshot", _EDITOR, self._dataset),
        )


def _config(*, expires_at: datetime) -> bigquery.CopyJobConfig:
    config = bigquery.CopyJobConfig(
        operation_type=OperationType.SNAPSHOT,
        write_disposition=bigquery.WriteDisposition.WRITE_EMPTY,
        labels={"bbq": "catalog"},
    )
    config.destination_expiration_time = expires_at.astimezone(UTC).isoformat()
    return config


def _reference(table: TableRef) -> bigquery.TableReference:
    return bigquery.DatasetReference(table.project, table.dataset).table(table.table)
