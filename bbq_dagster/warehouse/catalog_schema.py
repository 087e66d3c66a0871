"""The dataset, the table and the views of the catalog, and how an older catalog becomes the current one.

The version of the schema is a label of the dataset. It is written last, so that a stop on the way is found and
finished by the next run; every migration may therefore run twice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from google.cloud import bigquery

from bbq_dagster.core.catalog import COLUMNS, Column
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.errors import Permanent, Refused
from bbq_dagster.warehouse import catalog_sql
from bbq_dagster.warehouse.client import CallOptions
from bbq_dagster.warehouse.faults import Need, explained
from bbq_dagster.warehouse.queries import quoted

EVENTS = "events"
VERSION_LABEL = "bbq_catalog_version"
CLUSTERED_BY = ("source_project", "source_dataset", "source_table", "event")

_REST_TYPE = {"INT64": "INTEGER", "BOOL": "BOOLEAN"}
_DESCRIPTION = "The record of bbq_dagster: every backup, why it was made, and where it is. Do not write here."
_EVENTS_DESCRIPTION = "One row per event, never changed. To be read through the views versions, latest and history."


@dataclass(frozen=True, slots=True)
class CatalogPlace:
    """Where the catalog is."""

    dataset: DatasetRef
    location: str

    def quoted(self, table: str) -> str:
        return quoted(self.dataset.project, self.dataset.dataset, table)

    def reference(self, table: str) -> bigquery.TableReference:
        return self._reference.table(table)

    def resource(self) -> bigquery.Dataset:
        return bigquery.Dataset(self._reference)

    @property
    def _reference(self) -> bigquery.DatasetReference:
        return bigquery.DatasetReference(self.dataset.project, self.dataset.dataset)


def events_schema() -> list[bigquery.SchemaField]:
    return [_field(column, required=column.required) for column in COLUMNS]


class CatalogSchema:
    """Brings the catalog to the schema that this version of bbq knows."""

    def __init__(self, client: bigquery.Client, place: CatalogPlace, options: CallOptions) -> None:
        self._client = client
        self._place = place
        self._options = options

    def bring_up_to_date(self) -> None:
        """One call where there is nothing to do. Raises ``Refused`` for a newer catalog, or one in another place."""
        found = self._get_dataset() or self._create_dataset()
        self._check_place(found)
        version = self._version_of(found)
        if version == len(_MIGRATIONS):
            return
        for migrate in _MIGRATIONS[version:]:
            migrate(self)
        self._write_version(len(_MIGRATIONS))

    def check_place(self) -> None:
        """Raises ``Refused`` for a catalog in another place, where no query finds it. None at all is no fault."""
        if (found := self._get_dataset()) is not None:
            self._check_place(found)

    def has_events(self) -> bool:
        """Whether the table of events is there. Raises ``Refused`` for a catalog in another place."""
        self.check_place()
        try:
            with self._explained("looking at", "bigquery.tables.get"):
                self._client.get_table(self._place.reference(EVENTS), **self._options)
        except Permanent as error:
            if error.reason != "notFound":
                raise
            return False
        return True

    def create_table_and_views(self) -> None:
        self._create_events()
        for view in catalog_sql.views(self._place.quoted(EVENTS), self._place.quoted("versions")):
            self._create_view(view)

    def add_columns_and_views(self) -> None:
        """The columns and views that came later; the rows of before have NULL in such a column."""
        wanted = bigquery.Table(self._place.reference(EVENTS), schema=events_schema())
        with self._explained("adding columns to", "bigquery.tables.update"):
            self._client.update_table(wanted, ["schema"], **self._options)
        for view in catalog_sql.views(self._place.quoted(EVENTS), self._place.quoted("versions")):
            self._create_view(view)

    def _get_dataset(self) -> bigquery.Dataset | None:
        try:
            with self._explained("looking at", "bigquery.datasets.get"):
                return self._client.get_dataset(self._place.resource().reference, **self._options)
        except Permanent as error:
            if error.reason == "notFound":
                return None
            raise

    def _create_dataset(self) -> bigquery.Dataset:
        wanted = self._place.resource()
        wanted.location, wanted.description = self._place.location, _DESCRIPTION
        wanted.labels = {"bbq": "catalog"}
        try:
            with self._explained("creating", "bigquery.datasets.create"):
                return self._client.create_dataset(wanted, **self._options)
        except Permanent as error:
            if error.reason == "duplicate" and (found := self._get_dataset()) is not None:
                return found
            raise

    def _check_place(self, found: bigquery.Dataset) -> None:
        dataset, location = self._place.dataset, self._place.location
        if (found.location or "").casefold() != location.casefold():
            raise Refused(
                f"the catalog {dataset} is in {found.location}, not in {location}",
                hint=f"write location: {found.location} for the catalog in bbq.yaml; it cannot be moved",
            )
        if found.default_table_expiration_ms or found.default_partition_expiration_ms:
            raise Refused(
                f"the catalog {dataset} has a default expiration, so BigQuery would delete its record",
                hint="bq update --default_table_expiration 0 --default_partition_expiration 0"
                f" {dataset.project}:{dataset.dataset}",
            )

    def _version_of(self, found: bigquery.Dataset) -> int:
        version = int(found.labels.get(VERSION_LABEL, "0"))
        if version > len(_MIGRATIONS):
            raise Refused(
                f"the catalog {self._place.dataset} has schema version {version}, this bbq knows {len(_MIGRATIONS)}",
                hint="a newer bbq wrote it: upgrade this one",
            )
        return version

    def _write_version(self, version: int) -> None:
        changed = self._place.resource()
        changed.labels = {"bbq": "catalog", VERSION_LABEL: str(version)}
        with self._explained("labelling", "bigquery.datasets.update"):
            self._client.update_dataset(changed, ["labels"], **self._options)

    def _create_events(self) -> None:
        table = bigquery.Table(self._place.reference(EVENTS), schema=events_schema())
        table.description = _EVENTS_DESCRIPTION
        table.time_partitioning = bigquery.TimePartitioning(type_="DAY", field="recorded_at")
        table.clustering_fields = list(CLUSTERED_BY)
        self._create(table)

    def _create_view(self, view: catalog_sql.View) -> None:
        """Created, then described: BigQuery takes no schema with a new view. An older text of the view is replaced."""
        wanted = bigquery.Table(self._place.reference(view.name))
        wanted.view_query, wanted.description = view.sql, view.description
        self._create(wanted)
        described = bigquery.Table(self._place.reference(view.name), schema=[_field(column) for column in view.columns])
        with self._explained("writing a view of", "bigquery.tables.update"):
            self._client.update_table(wanted, ["view_query", "description"], **self._options)
            self._client.update_table(described, ["schema"], **self._options)

    def _create(self, table: bigquery.Table) -> None:
        """One that exists was left by a run that did not get as far as the version label."""
        try:
            with self._explained(f"creating {table.table_id} in", "bigquery.tables.create"):
                self._client.create_table(table, **self._options)
        except Permanent as error:
            if error.reason != "duplicate":
                raise

    def _explained(self, doing: str, permission: str) -> AbstractContextManager[None]:
        need = Need(permission, "roles/bigquery.dataEditor", f"project {self._place.dataset.project}")
        return explained(f"{doing} the catalog {self._place.dataset}", need)


_MIGRATIONS: tuple[Callable[[CatalogSchema], None], ...] = (
    CatalogSchema.create_table_and_views,
    CatalogSchema.add_columns_and_views,
)
"""The n-th brings version n to n + 1. Version 0 is an empty dataset."""


def _field(column: Column, *, required: bool = False) -> bigquery.SchemaField:
    return bigquery.SchemaField(
        column.name,
        _REST_TYPE.get(column.type, column.type),
        mode="REQUIRED" if required else "NULLABLE",
        description=column.description,
    )
