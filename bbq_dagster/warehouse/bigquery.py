"""The promises of ``port.Warehouse``, kept on BigQuery.

Thin: what is asked is in ``information_schema``, copies in ``copy_jobs``, errors in ``faults``. All jobs run in the
project of the client, which is the backup project.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from threading import Lock
from typing import Any

from google.cloud import bigquery

from bbq_dagster.core.fingerprint import (
    Field,
    Fingerprint,
    Question,
    RangePartitioning,
    TableLayout,
    TimePartitioning,
)
from bbq_dagster.core.inventory import Dataset, SourceTable, State, TableOptions, TableShape, UnitState
from bbq_dagster.core.original import ExportedBackup
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy
from bbq_dagster.errors import Permanent, Refused
from bbq_dagster.warehouse import datastore_export, information_schema
from bbq_dagster.warehouse.client import Patience
from bbq_dagster.warehouse.copy_jobs import CopyJobs
from bbq_dagster.warehouse.faults import Need, explained
from bbq_dagster.warehouse.fingerprint_sql import fingerprint_sql, read_fingerprint
from bbq_dagster.warehouse.information_schema import TABLES_PER_QUERY
from bbq_dagster.warehouse.port import BackupTableFacts, CopyStatus, JobRef
from bbq_dagster.warehouse.queries import Queries

LABELS = {"bbq": "backup"}
"""On every dataset and table that holds backups."""

LABELS_OF_SCRATCH = {"bbq": "drill"}

_DATASETS_PER_PAGE = 1000
_MILLIS_PER_DAY = 86_400_000
_METADATA_VIEWER = "roles/bigquery.metadataViewer"
_DATA_EDITOR = "roles/bigquery.dataEditor"
_KEPT_OF_A_TABLE = ("schema", "timePartitioning", "rangePartitioning", "clustering", "defaultCollation")
"""Of the source, in a new backup table, with its primary key; columns have their policy tags, defaults and collation in
the schema. Expirations, a required partition filter, access and the encryption key stay behind."""


class BigQueryWarehouse:
    """See ``port.Warehouse`` for what each method promises. Safe to share between threads."""

    def __init__(self, client: bigquery.Client, *, patience: Patience | None = None) -> None:
        patience = patience or Patience()
        self._client = client
        self._options, self._paced = patience.call_options(), patience.options_of_a_paced_call()
        self._queries = Queries(client, patience)
        self._copies = CopyJobs(client, patience)
        self._ensured: set[DatasetRef] = set()
        self._lock = Lock()

    def list_datasets(self, project: str) -> list[Dataset]:
        with explained(f"listing the datasets of {project}", _may_see(f"project {project}", "bigquery.datasets.get")):
            items = self._client.list_datasets(project, include_all=True, page_size=_DATASETS_PER_PAGE, **self._options)
            return [self._dataset(item) for item in items]

    def find_dataset(self, ref: DatasetRef) -> Dataset | None:
        found = self._get_dataset(ref, f"looking for the dataset {ref}")
        return None if found is None else Dataset(ref, str(found.location), dict(found.labels), found.description)

    def table_states(
        self, project: str, location: str, only: Collection[TableRef] | None = None
    ) -> dict[TableRef, State]:
        rows = self._queries.rows(
            information_schema.table_states_sql(project, location, all_tables=only is None),
            location=location,
            doing=f"reading the state of the tables of {project} in {location}",
            needs=[_may_see(f"project {project}")],
            parameters={} if only is None else _names_of(only),
        )
        return dict(information_schema.read_table_state(row, project) for row in rows)

    def list_tables(
        self, dataset: Dataset, states: Mapping[TableRef, State], only: Collection[TableRef] | None = None
    ) -> list[SourceTable]:
        rows = self._queries.rows(
            information_schema.tables_sql(dataset.ref, all_tables=only is None),
            location=dataset.location,
            doing=f"listing the tables of {dataset.ref}",
            needs=[_may_see(dataset.ref)],
            parameters={} if only is None else {"tables": [ref.table for ref in only if ref.in_dataset == dataset.ref]},
        )
        return [information_schema.read_table(row, dataset, states) for row in rows]

    def list_partitions(self, dataset: Dataset, tables: Sequence[TableRef]) -> Iterator[UnitState]:
        by_name = {table.table: table for table in tables}
        for names in _chunks(by_name):
            rows = self._queries.rows(
                information_schema.partitions_sql(dataset.ref),
                location=dataset.location,
                doing=f"listing the partitions of {len(names)} tables of {dataset.ref}",
                needs=[_may_see(dataset.ref)],
                parameters={"tables": names},
            )
            for row in rows:
                yield information_schema.read_partition(row, by_name)

    def ensure_dataset(self, ref: DatasetRef, *, location: str, description: str) -> None:
        """Looks before it creates: an account that may not create datasets can use one that is there."""
        with self._lock:
            if ref in self._ensured:
                return
        found = self._get_dataset(ref) or self._create_dataset(ref, location, description)
        if found is not None:
            _check_backup_dataset(ref, found, location)
        with self._lock:
            self._ensured.add(ref)

    def ensure_restore_dataset(self, ref: DatasetRef, *, location: str) -> None:
        found = self._get_dataset(ref) or self._create_dataset(ref, location, "")
        if found is not None and (found.location or "").casefold() != location.casefold():
            raise Refused(f"{ref} is in {found.location}, its backups are in {location}: nothing was restored into it")

    def create_table_like(
        self, source: TableRef, destination: TableRef, *, description: str, options: TableOptions | None = None
    ) -> None:
        may_create = Need("bigquery.tables.create", _DATA_EDITOR, destination.in_dataset)
        wanted = _table_like(self._get_table(source), destination, description, options)
        try:
            with explained(f"creating {destination} like {source}", may_create):
                self._client.create_table(wanted, **self._paced)
        except Permanent as error:
            if error.reason != "duplicate":
                raise
            _check_alike(wanted, self._get_table(destination), destination)

    def describe_table(self, table: TableRef, options: TableOptions) -> None:
        stated = _described_by(options)
        described = bigquery.Table.from_api_repr(
            {"tableReference": _table_reference(table).to_api_repr()} | stated,
        )
        may_update = Need("bigquery.tables.update", _DATA_EDITOR, table.in_dataset)
        with explained(f"describing {table}", may_update):
            self._client.update_table(described, list(stated), **self._options)

    def start_copy(self, copy: Copy, job: JobRef) -> CopyStatus | None:
        return self._copies.start(copy, job)

    def copy_statuses(self, jobs: Collection[JobRef]) -> dict[JobRef, CopyStatus]:
        return self._copies.statuses(jobs)

    def backup_tables(self, dataset: DatasetRef, location: str, tables: Collection[str]) -> dict[str, BackupTableFacts]:
        found: dict[str, BackupTableFacts] = {}
        for names in _chunks(tables):
            rows = self._queries.rows(
                information_schema.backup_tables_sql(dataset),
                location=location,
                doing=f"looking at {len(names)} backup tables of {dataset}",
                needs=[_may_see(dataset)],
                parameters={"tables": names},
            )
            found |= _facts(information_schema.read_backup_partition(row) for row in rows)
        return found

    def table_shapes(self, dataset: DatasetRef, location: str, tables: Collection[str]) -> dict[str, TableShape]:
        found: dict[str, TableShape] = {}
        for names in _chunks(tables):
            rows = self._queries.rows(
                information_schema.table_shapes_sql(dataset),
                location=location,
                doing=f"looking at the columns of {len(names)} tables of {dataset}",
                needs=[_may_see(dataset)],
                parameters={"tables": names},
            )
            found |= dict(information_schema.read_table_shapes(rows))
        return found

    def exported_backups(self, export: DatasetRef, project: str) -> list[ExportedBackup]:
        dataset = self.find_dataset(export)
        names = [] if dataset is None else [table.ref.table for table in self.list_tables(dataset, {})]
        if dataset is None or (day := datastore_export.newest_day(names)) is None:
            raise Refused(
                f"{export} has no export of the original BBQ: nothing was adopted",
                hint="it is a dataset with tables such as Backup_20200131 and Table_20200131",
            )
        rows = self._queries.rows(
            datastore_export.backups_sql(export, day),
            location=dataset.location,
            doing=f"reading the export {export} of {day}",
            needs=[Need("bigquery.tables.getData", "roles/bigquery.dataViewer", export)],
        )
        return [datastore_export.read_backup(row, project) for row in rows]

    def remove_expirations(self, table: TableRef) -> None:
        unlimited, fields = _without_expirations(self._get_table(table))
        may_update = Need("bigquery.tables.update", _DATA_EDITOR, table.in_dataset)
        with explained(f"removing the expirations of {table}", may_update):
            self._client.update_table(unlimited, fields, **self._options)

    def delete_table(self, table: TableRef) -> None:
        self._delete(table.unit())

    def delete_partition(self, unit: Unit) -> None:
        assert unit.partition is not None, f"{unit} is a whole table"
        self._delete(unit)

    def table_layout(self, table: TableRef) -> TableLayout | None:
        try:
            return _layout(self._get_table(table))
        except Permanent as error:
            if error.reason != "notFound":
                raise
        return None

    def scan_bytes(self, question: Question) -> int:
        return self._queries.bytes_of(
            fingerprint_sql(question), location=question.location, doing=_reading(question), needs=[_may_read(question)]
        )

    def fingerprints(self, question: Question, *, at_most: int) -> tuple[dict[str | None, Fingerprint], int]:
        rows, scanned = self._queries.scanned(
            fingerprint_sql(question),
            location=question.location,
            doing=_reading(question),
            needs=[_may_read(question)],
            at_most=at_most,
        )
        return dict(read_fingerprint(row, question.layout) for row in rows), scanned

    def ensure_scratch_dataset(self, ref: DatasetRef, *, location: str, kept_for: timedelta) -> None:
        wanted = bigquery.Dataset(_dataset_reference(ref))
        wanted.location, wanted.labels = location, LABELS_OF_SCRATCH
        wanted.description = "Restore drills of bbq: tables in it are deleted by themselves."
        wanted.default_table_expiration_ms = round(kept_for.total_seconds() * 1000)
        may_create = Need("bigquery.datasets.create", "roles/bigquery.user", f"project {ref.project}")
        try:
            with explained(f"creating the scratch dataset {ref}", may_create):
                self._client.create_dataset(wanted, **self._options)
        except Permanent as error:
            if error.reason != "duplicate":
                raise
            _check_scratch_dataset(ref, self._get_dataset(ref, f"looking at the scratch dataset {ref}"), location)

    def delete_dataset_if_empty(self, ref: DatasetRef) -> None:
        may_delete = Need("bigquery.datasets.delete", _DATA_EDITOR, ref)
        try:
            with explained(f"deleting the scratch dataset {ref}", may_delete):
                self._client.delete_dataset(_dataset_reference(ref), not_found_ok=True, **self._options)
        except Permanent as error:
            if error.reason != "resourceInUse":
                raise

    def _delete(self, unit: Unit) -> None:
        reference = _dataset_reference(unit.table.in_dataset).table(unit.key)
        may_delete = Need("bigquery.tables.delete", _DATA_EDITOR, unit.table.in_dataset)
        try:
            with explained(f"deleting {unit}", may_delete):
                self._client.delete_table(reference, **self._options)
        except Permanent as error:
            if error.reason != "notFound":
                raise

    def _dataset(self, item: bigquery.dataset.DatasetListItem) -> Dataset:
        ref = DatasetRef(item.project, item.dataset_id)
        location = item._properties.get("location")  # the list has it, the library has no property for it
        if location is None:
            location = self._client.get_dataset(item.reference, **self._options).location
        return Dataset(ref, str(location), dict(item.labels))

    def _get_dataset(self, ref: DatasetRef, doing: str = "") -> bigquery.Dataset | None:
        try:
            with explained(doing or f"looking at the backup dataset {ref}", _may_see(ref, "bigquery.datasets.get")):
                return self._client.get_dataset(_dataset_reference(ref), **self._options)
        except Permanent as error:
            if error.reason == "notFound":
                return None
            raise

    def _create_dataset(self, ref: DatasetRef, location: str, description: str) -> bigquery.Dataset | None:
        """None where it was created; the dataset as it is where another run was faster."""
        wanted = bigquery.Dataset(_dataset_reference(ref))
        wanted.location = location
        if description:
            wanted.description, wanted.labels = description, LABELS
        may_create = Need("bigquery.datasets.create", "roles/bigquery.user", f"project {ref.project}")
        try:
            with explained(f"creating the backup dataset {ref}", may_create):
                self._client.create_dataset(wanted, **self._options)
        except Permanent as error:
            if error.reason != "duplicate":
                raise
            return self._get_dataset(ref)
        return None

    def _get_table(self, ref: TableRef) -> bigquery.Table:
        with explained(f"looking at {ref}", _may_see(ref.in_dataset, "bigquery.tables.get")):
            return self._client.get_table(_table_reference(ref), **self._options)


def _check_backup_dataset(ref: DatasetRef, found: bigquery.Dataset, location: str) -> None:
    if (found.location or "").casefold() != location.casefold():
        raise Refused(
            f"{ref} is in {found.location}, its source is in {location}: nothing was copied",
            hint="a dataset cannot be moved: delete it if it holds nothing that is needed",
        )
    if found.default_table_expiration_ms is None and found.default_partition_expiration_ms is None:
        return
    raise Refused(
        f"{ref} has a default expiration, so BigQuery would delete backups in it: nothing was copied",
        hint=f"bq update --default_table_expiration 0 --default_partition_expiration 0 {ref.project}:{ref.dataset}",
    )


def _check_scratch_dataset(ref: DatasetRef, found: bigquery.Dataset | None, location: str) -> None:
    if found is not None and (found.location or "").casefold() != location.casefold():
        raise Refused(f"{ref} is in {found.location}, not in {location}: nothing was restored into it")
    if found is not None and found.default_table_expiration_ms is None:
        raise Refused(
            f"{ref} keeps its tables for ever, so it is none of ours: nothing was restored into it",
            hint="drills need this name for a dataset of their own: delete it, or set verify.scratch_project",
        )


def _layout(table: bigquery.Table) -> TableLayout:
    fields = tuple(map(_field, table.schema))
    partitioning: TimePartitioning | RangePartitioning | None = None
    if (by_time := table.time_partitioning) is not None:
        types = {field.name: field.type for field in fields}
        partitioning = TimePartitioning(by_time.type_, by_time.field, types.get(by_time.field, "TIMESTAMP"))
    elif (by_range := table.range_partitioning) is not None:
        span = by_range.range_
        partitioning = RangePartitioning(by_range.field, int(span.start), int(span.end), int(span.interval))
    return TableLayout(fields, partitioning, table.created, table.modified)


def _field(field: bigquery.SchemaField) -> Field:
    return Field(field.name, field.field_type, field.mode, tuple(map(_field, field.fields)))


def _reading(question: Question) -> str:
    then = "" if question.as_of is None else f" as it was at {question.as_of:%Y-%m-%d %H:%M:%S} UTC"
    return f"reading {question.table}{then}"


def _may_read(question: Question) -> Need:
    return Need("bigquery.tables.getData", "roles/bigquery.dataViewer", question.table.in_dataset)


def _table_like(
    source: bigquery.Table, destination: TableRef, description: str, options: TableOptions | None
) -> bigquery.Table:
    """The resource of a new table, taken over as it is: the library would drop what it does not know.

    ``expirationMs`` is sent as null, since what is not sent takes the default of the dataset.
    """
    resource: dict[str, Any] = source.to_api_repr()
    wanted = {key: resource[key] for key in _KEPT_OF_A_TABLE if resource.get(key)}
    if "timePartitioning" in wanted:
        wanted["timePartitioning"] = {
            key: value for key, value in wanted["timePartitioning"].items() if key in ("type", "field")
        } | {"expirationMs": None}
    if (primary_key := (resource.get("tableConstraints") or {}).get("primaryKey")) is not None:
        # A foreign key stays behind: BigQuery wants both of its tables in one dataset (BigQuery: primary-foreign-keys).
        wanted["tableConstraints"] = {"primaryKey": primary_key}
    wanted["tableReference"] = _table_reference(destination).to_api_repr()
    if options is None:
        return bigquery.Table.from_api_repr(wanted | {"description": description, "labels": LABELS})
    return bigquery.Table.from_api_repr(_with_options(wanted, options))


def _with_options(resource: Mapping[str, Any], options: TableOptions) -> dict[str, Any]:
    """What a restored table has again of its source. Whether a filter is required belongs to the table itself."""
    wanted = {**resource, **_described_by(options)}
    if options.require_partition_filter:
        wanted["requirePartitionFilter"] = True
    if options.kms_key_name is not None:
        wanted["encryptionConfiguration"] = {"kmsKeyName": options.kms_key_name}
    if options.partition_expiration_days is not None and "timePartitioning" in wanted:
        millis = round(options.partition_expiration_days * _MILLIS_PER_DAY)
        wanted["timePartitioning"] = wanted["timePartitioning"] | {"expirationMs": str(millis)}
    return wanted


def _described_by(options: TableOptions) -> dict[str, Any]:
    stated = {
        "description": options.description,
        "friendlyName": options.friendly_name,
        "labels": dict(options.labels) or None,
        "defaultCollation": options.default_collation,
    }
    return {key: value for key, value in stated.items() if value is not None}


def _without_expirations(table: bigquery.Table) -> tuple[bigquery.Table, list[str]]:
    """What to patch: explicit nulls. Without an etag, so that the same patch twice is the same as once."""
    patched, fields = bigquery.Table(table.reference), ["expires"]
    patched.expires = None
    if (partitioning := table.time_partitioning) is not None:
        partitioning.expiration_ms = None
        patched.time_partitioning = partitioning
        fields.append("time_partitioning")
    return patched, fields


def _check_alike(wanted: bigquery.Table, found: bigquery.Table, destination: TableRef) -> None:
    if _shape(wanted) != _shape(found):
        raise Refused(
            f"{destination} exists and is partitioned or clustered differently from its source: nothing was copied",
            hint="somebody made it by hand, or changed it: rename or delete it",
        )


def _shape(table: bigquery.Table) -> tuple[object, ...]:
    resource = table.to_api_repr()
    time = resource.get("timePartitioning") or {}
    by_range = resource.get("rangePartitioning") or {}
    limits = {key: str(value) for key, value in by_range.get("range", {}).items()}
    fields = (resource.get("clustering") or {}).get("fields", [])
    return time.get("type"), time.get("field"), by_range.get("field"), limits, fields


def _facts(rows: Iterator[tuple[str, bool, str | None, State]]) -> dict[str, BackupTableFacts]:
    held: dict[str, tuple[bool, dict[str | None, State]]] = {}
    for table, expires, partition, state in rows:
        _, partitions = held.setdefault(table, (expires, {}))
        if state.rows is not None:
            partitions[partition] = state
    return {table: BackupTableFacts(partitions, expires) for table, (expires, partitions) in held.items()}


def _may_see(on: object, permission: str = "bigquery.tables.list") -> Need:
    return Need(permission, _METADATA_VIEWER, on)


def _names_of(tables: Collection[TableRef]) -> dict[str, list[str]]:
    return {
        "datasets": sorted({table.dataset for table in tables}),
        "tables": sorted({table.table for table in tables}),
    }


def _chunks(names: Collection[str]) -> Iterator[list[str]]:
    remaining = iter(names)
    while chunk := list(islice(remaining, TABLES_PER_QUERY)):
        yield chunk


def _dataset_reference(ref: DatasetRef) -> bigquery.DatasetReference:
    return bigquery.DatasetReference(ref.project, ref.dataset)


def _table_reference(ref: TableRef) -> bigquery.TableReference:
    return _dataset_reference(ref.in_dataset).table(ref.table)
