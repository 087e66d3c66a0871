"""The promises of ``port.Catalog``, kept by the dataset ``bbq_catalog`` of the backup project.

Events go in by load jobs, which are free and all or nothing; they come out as values. What the rows mean is decided
in ``core.catalog``, which rows are read in ``catalog_sql``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from threading import Lock
from time import sleep

from google.cloud import bigquery

from bbq_dagster.core.catalog import COLUMNS, Event, EventKind, fold_record, version_of
from bbq_dagster.core.catalog_snapshot import CatalogSnapshot, snapshots_of
from bbq_dagster.core.drift import Repetition
from bbq_dagster.core.restore_choice import Past
from bbq_dagster.core.restore_record import gone_of
from bbq_dagster.core.retention import RetentionRecord
from bbq_dagster.core.retention_record import RetentionFold, fold_holds
from bbq_dagster.core.rto import RestoreTime, Way
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.verification import Spent
from bbq_dagster.core.versions import Absence, DatasetRecord, Version
from bbq_dagster.errors import BbqError, Permanent, Transient
from bbq_dagster.warehouse import catalog_sql
from bbq_dagster.warehouse.catalog_schema import EVENTS, CatalogPlace, CatalogSchema, events_schema
from bbq_dagster.warehouse.catalog_snapshots import CatalogSnapshots
from bbq_dagster.warehouse.client import Patience
from bbq_dagster.warehouse.faults import Need, explained, job_error
from bbq_dagster.warehouse.queries import Cells, Parameter, Queries, instant, whole_number

AnyJob = bigquery.LoadJob | bigquery.CopyJob | bigquery.ExtractJob | bigquery.QueryJob | bigquery.UnknownJob
"""What the library may return for a job id."""

_TABLES_PER_QUERY = 5000
"""Names of 1,024 bytes each then make half of the 10 MB that a request may have."""

_NEW_JOBS_PER_BATCH = 3
"""How often a load is started anew after a job that failed in BigQuery itself."""


@dataclass(frozen=True, slots=True)
class LatestVersion:
    """The newest live version of a unit; ``absence`` says why its source has nothing to back up any more."""

    version: Version
    absence: Absence | None = None
    absent_since: datetime | None = None


class BigQueryCatalog:
    """See ``port.Catalog`` for what each method promises. Safe to share between threads."""

    def __init__(
        self,
        client: bigquery.Client,
        *,
        backup_project: str,
        dataset: str = "bbq_catalog",
        location: str,
        snapshots_dataset: str | None = None,
        snapshots_kept: timedelta = timedelta(days=30),
        patience: Patience | None = None,
    ) -> None:
        """``snapshots_dataset``: None for the one beside the catalog."""
        self._client = client
        self._patience = patience or Patience()
        self._options = self._patience.call_options()
        self._queries = Queries(client, self._patience)
        self._place = CatalogPlace(DatasetRef(backup_project, dataset), location)
        self._snapshots = CatalogSnapshots(
            client,
            self._place,
            self._patience,
            dataset=snapshots_of(self._place.dataset, named=snapshots_dataset),
            kept=snapshots_kept,
        )
        self._is_prepared = False
        self._lock = Lock()

    def prepare(self) -> None:
        with self._lock:
            if not self._is_prepared:
                CatalogSchema(self._client, self._place, self._options).bring_up_to_date()
                self._is_prepared = True

    def prepare_anew(self) -> None:
        self.prepare()
        CatalogSchema(self._client, self._place, self._options).create_table_and_views()

    def is_there(self) -> bool:
        return CatalogSchema(self._client, self._place, self._options).has_events()

    def take_snapshot(self, at: datetime) -> CatalogSnapshot:
        return self._snapshots.take(at)

    def snapshots(self) -> list[CatalogSnapshot]:
        return self._snapshots.list()

    def read_back(self, snapshot: CatalogSnapshot) -> None:
        self._snapshots.read_back(snapshot)

    def append(self, events: Sequence[Event]) -> None:
        """The id of the load job is derived from the events, so that the same batch is loaded once.

        A job that failed cannot be run again under its id: the next id of the batch is taken.
        """
        rows = {str(row["event_id"]): row for row in (event.as_row() for event in events)}
        if not rows:
            return
        batch, new_jobs = self._batch_id(rows), 0
        for number in count(1):
            is_ours, job = self._start_load(list(rows.values()), f"{batch}_{number}")
            error = self._end_of(job)
            if error is None:
                return
            new_jobs += is_ours
            if is_ours and (isinstance(error, Permanent) or new_jobs == _NEW_JOBS_PER_BATCH):
                raise error

    def records(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> dict[DatasetRef, DatasetRecord]:
        if datasets is not None and not datasets:
            return {}
        only, parameters = _selected(datasets, projects)
        read = self._rows if datasets is None else self._rows_if_any
        on_record = self._folded(read(catalog_sql.dataset_records(self._events, only), parameters))
        return {**{dataset: DatasetRecord() for dataset in datasets or ()}, **on_record}

    def scan_records(
        self, project: str, *, only: Collection[DatasetRef] | None, besides: Collection[DatasetRef]
    ) -> dict[DatasetRef, DatasetRecord]:
        if only is not None and not only:
            return {}
        where, parameters = _of_project(project, besides) if only is None else _selected(only)
        return self._folded(self._rows_if_any(catalog_sql.scan_records(self._events, where), parameters))

    def table_records(self, tables: Collection[TableRef]) -> dict[DatasetRef, DatasetRecord]:
        refs = sorted(tables)
        sql = catalog_sql.dataset_records(self._events, catalog_sql.OF_TABLES)
        return self._folded(
            row
            for start in range(0, len(refs), _TABLES_PER_QUERY)
            for row in self._rows_if_any(sql, _of_tables(refs[start : start + _TABLES_PER_QUERY]))
        )

    def _folded(self, rows: Iterable[Cells]) -> dict[DatasetRef, DatasetRecord]:
        by_dataset: dict[DatasetRef, list[Event]] = {}
        for row in rows:
            event = _event(catalog_sql.RECORD_COLUMNS, row)
            by_dataset.setdefault(DatasetRef(event.source_project, event.source_dataset), []).append(event)
        return {dataset: fold_record(events) for dataset, events in by_dataset.items()}

    def copy_jobs_since(self, since: datetime, *, besides: Collection[str] = ()) -> int:
        rows = self._rows_if_any(catalog_sql.copy_jobs(self._events), {"since": since, "besides": sorted(besides)})
        return sum(whole_number(number) or 0 for (number,) in rows)

    def versions(self, tables: Iterable[TableRef]) -> list[Version]:
        refs = sorted(set(tables))
        sql = catalog_sql.live_versions(self._events, catalog_sql.OF_TABLES)
        found = [
            read_version(row)
            for start in range(0, len(refs), _TABLES_PER_QUERY)
            for row in self._rows(sql, _of_tables(refs[start : start + _TABLES_PER_QUERY]))
        ]
        return sorted(found, key=_newest_first)

    def versions_by_id(self, version_ids: Iterable[str]) -> list[Version]:
        wanted = sorted(set(version_ids))
        sql = catalog_sql.live_versions(self._events, catalog_sql.OF_IDS)
        found = [
            read_version(row)
            for start in range(0, len(wanted), _TABLES_PER_QUERY)
            for row in self._rows(sql, {"versions": wanted[start : start + _TABLES_PER_QUERY]})
        ]
        return sorted(found, key=_newest_first)

    def pasts(self, datasets: Collection[DatasetRef]) -> dict[DatasetRef, Past]:
        if not datasets:
            return {}
        only, parameters = _selected(datasets)
        versions = [read_version(row) for row in self._rows(catalog_sql.live_versions(self._events, only), parameters)]
        absences = [
            gone_of(read_event(row)) for row in self._rows(catalog_sql.absences(self._events, only), parameters)
        ]
        return {
            dataset: Past(
                tuple(version for version in versions if version.unit.table.in_dataset == dataset),
                tuple(gone for gone in absences if gone.unit.table.in_dataset == dataset),
            )
            for dataset in datasets
        }

    def restore_events(self, restore_id: str) -> list[Event]:
        rows = self._rows(catalog_sql.restore_events(self._events), {"restores": [restore_id]})
        return sorted((read_event(row) for row in rows), key=lambda event: event.recorded_at)

    def latest(self, datasets: Collection[DatasetRef] | None = None) -> list[LatestVersion]:
        """The newest live version of every unit of these datasets, or of all: one query. In the order of the units."""
        only, parameters = _selected(datasets)
        sql = catalog_sql.latest_versions(f"({catalog_sql.live_versions(self._events, only)})", self._events, only)
        return sorted(map(_read_latest, self._rows(sql, parameters)), key=lambda latest: latest.version.unit.sort_key)

    def history(
        self,
        datasets: Collection[DatasetRef] | None = None,
        *,
        limit: int = 1000,
        kinds: Collection[EventKind] | None = None,
    ) -> list[Event]:
        """The last events of these kinds of these datasets, or of all, newest first: one query."""
        only, parameters = _selected(datasets)
        if kinds is not None:
            only = f"{only} AND {catalog_sql.OF_KINDS}"
            parameters = {**parameters, "kinds": [kind.value for kind in kinds]}
        return [read_event(row) for row in self._rows(catalog_sql.newest_events(self._events, only, limit), parameters)]

    def retention_records(self, datasets: Collection[DatasetRef] | None) -> list[RetentionRecord]:
        only, parameters = _selected(datasets)
        folds = {dataset: RetentionFold(dataset) for dataset in datasets or ()}
        for row in self._rows(catalog_sql.retention_records(self._events, only), parameters):
            event = _event(catalog_sql.RETENTION_COLUMNS, row)
            dataset = DatasetRef(event.source_project, event.source_dataset)
            if dataset not in folds:
                folds[dataset] = RetentionFold(dataset)
            folds[dataset].take(event)
        return [fold.record() for fold in folds.values()]

    def last_scans(self) -> dict[DatasetRef, datetime]:
        rows = self._rows_if_any(catalog_sql.last_scans(self._events), {})
        found = ((DatasetRef(project or "", dataset or ""), instant(at)) for project, dataset, at in rows)
        return {dataset: at for dataset, at in found if at is not None}

    def drill_times(self) -> dict[DatasetRef, timedelta]:
        rows = self._rows_if_any(catalog_sql.drill_times(self._events), {})
        return {
            DatasetRef(project or "", dataset or ""): timedelta(milliseconds=whole_number(milliseconds) or 0)
            for project, dataset, milliseconds in rows
        }

    def holds(self) -> list[Event]:
        return fold_holds(read_event(row) for row in self._rows(catalog_sql.holds(self._events), {}))

    def events_of_versions(self, version_ids: Iterable[str]) -> list[Event]:
        wanted = sorted(set(version_ids))
        sql = catalog_sql.events_of_versions(self._events)
        found = [
            read_event(row)
            for start in range(0, len(wanted), _TABLES_PER_QUERY)
            for row in self._rows(sql, {"versions": wanted[start : start + _TABLES_PER_QUERY]})
        ]
        return sorted(found, key=_oldest_first)

    def repetitions(self) -> list[Repetition]:
        return [_read_repetition(row) for row in self._rows(catalog_sql.repetitions(self._events), {})]

    def failed_places(self) -> frozenset[Unit]:
        return frozenset(_read_place(row) for row in self._rows(catalog_sql.failed_places(self._events), {}))

    def deletions_since(self, since: datetime) -> list[Event]:
        rows = self._rows(catalog_sql.deletions_since(self._events), {"since": since})
        return sorted(map(read_event, rows), key=_oldest_first)

    def live_versions(self, datasets: Collection[DatasetRef] | None) -> list[Version]:
        only, parameters = _selected(datasets)
        rows = self._rows(catalog_sql.live_versions(self._events, only), parameters)
        return sorted(map(read_version, rows), key=_newest_first)

    def verifications(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> list[Event]:
        only, parameters = _selected(datasets, projects)
        rows = self._rows(catalog_sql.verifications(self._events, only), parameters)
        return [_event(catalog_sql.PROOF_COLUMNS, row) for row in rows]

    def restore_times(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> list[RestoreTime]:
        only, parameters = _selected(datasets, projects)
        rows = self._rows_if_any(catalog_sql.restore_times(self._events, only), parameters)
        return sorted(map(_read_restore_time, rows), key=lambda time: (time.table, time.way))

    def verified_since(self, since: datetime) -> Spent:
        ((versions, size_bytes, drills),) = self._rows(catalog_sql.verified_since(self._events), {"since": since})
        return Spent(whole_number(versions) or 0, whole_number(size_bytes) or 0, whole_number(drills) or 0)

    @property
    def _events(self) -> str:
        return self._place.quoted(EVENTS)

    def _rows_if_any(self, sql: str, parameters: Mapping[str, Parameter]) -> Iterator[Cells]:
        """The rows; none where there is no catalog yet: a plan changes nothing, so it does not create one either.

        A record that a query does not find and that is there is not taken for none: all would be backed up once more.
        """
        try:
            yield from self._rows(sql, parameters)
        except Permanent as error:
            if error.reason != "notFound" or self.is_there():
                raise

    def _rows(self, sql: str, parameters: Mapping[str, Parameter]) -> Iterator[Cells]:
        """The rows, of an older catalog too: reading does not bring it up to date, as not everybody may."""
        try:
            yield from self._asked(sql, parameters)
        except Permanent as error:
            if error.reason != "invalidQuery" or not (missing := self._missing_columns()):
                raise
            older = sql.replace(self._events, catalog_sql.with_columns(self._events, missing))
            yield from self._asked(older, parameters)

    def _asked(self, sql: str, parameters: Mapping[str, Parameter]) -> Iterator[Cells]:
        return self._queries.rows(
            sql, location=self._place.location, doing=self._reading, needs=[self._may_read], parameters=parameters
        )

    def _missing_columns(self) -> list[str]:
        """Those that came after the schema that the catalog has."""
        location = self._place.location
        there = self._queries.columns_of(self._events, location=location, doing=self._reading, needs=[self._may_read])
        return [column.name for column in COLUMNS if column.name not in there]

    @property
    def _reading(self) -> str:
        return f"reading the catalog {self._place.dataset}"

    @property
    def _may_read(self) -> Need:
        return Need("bigquery.tables.getData", "roles/bigquery.dataViewer", self._place.dataset)

    def _batch_id(self, event_ids: Iterable[str]) -> str:
        facts = "\n".join([str(self._place.dataset), *sorted(event_ids)])
        return f"bbq_events_{hashlib.sha256(facts.encode()).hexdigest()[:32]}"

    def _start_load(self, rows: Sequence[dict[str, object]], job_id: str) -> tuple[bool, AnyJob]:
        """The load job, and whether it was started here: False where it exists already."""
        try:
            with explained(self._writing, *self._needs):
                # The library repeats an upload with pauses that cannot be set, so it is told not to.
                upload = self._options["retry"](self._client.load_table_from_json)
                job = upload(
                    rows,
                    self._place.reference(EVENTS),
                    num_retries=0,
                    job_id=job_id,
                    location=self._place.location,
                    project=self._client.project,
                    job_config=_load_config(),
                    timeout=self._options["timeout"],
                )
        except Permanent as error:
            if error.reason != "duplicate":
                raise
            return False, self._get_job(job_id)
        return True, job

    def _get_job(self, job_id: str) -> AnyJob:
        with explained(f"{self._writing}: looking for job {job_id}", *self._needs):
            return self._client.get_job(
                job_id,
                project=self._client.project,
                location=self._place.location,
                **self._patience.options_for_an_existing_job(),
            )

    def _end_of(self, job: AnyJob) -> BbqError | None:
        """Wait for the job. Returns why it failed; raises ``Transient`` where it is not done in time."""
        for pause in self._patience.polls():
            if job.state == "DONE":
                return None if job.error_result is None else job_error(job.error_result, self._writing, *self._needs)
            sleep(pause)
            job = self._get_job(job.job_id)
        raise Transient(f"{self._writing}: job {job.job_id} is not done in time")

    @property
    def _writing(self) -> str:
        return f"writing events to the catalog {self._place.dataset}"

    @property
    def _needs(self) -> tuple[Need, ...]:
        return (
            Need("bigquery.tables.updateData", "roles/bigquery.dataEditor", self._place.dataset),
            Need("bigquery.jobs.create", "roles/bigquery.jobUser", f"project {self._client.project}"),
        )


def read_event(row: Cells) -> Event:
    """The event that a row of ``catalog_sql.EVENT_COLUMNS`` holds."""
    return _event(catalog_sql.EVENT_COLUMNS, row)


def read_version(row: Cells) -> Version:
    """The version that a row of ``catalog_sql.VERSION_COLUMNS`` holds."""
    return version_of(_event(catalog_sql.VERSION_COLUMNS, row))


def _read_latest(row: Cells) -> LatestVersion:
    *version, absence, absent_since = row
    return LatestVersion(read_version(version), None if absence is None else Absence(absence), instant(absent_since))


def _read_restore_time(row: Cells) -> RestoreTime:
    project, dataset, table, way, at, took, longest = row
    ended_at = instant(at)
    assert ended_at is not None, "what has not ended has taken no time"
    return RestoreTime(
        TableRef(project or "", dataset or "", table or ""),
        Way(way or ""),
        at=ended_at,
        took=timedelta(milliseconds=whole_number(took) or 0),
        longest=timedelta(milliseconds=whole_number(longest) or 0),
    )


def _read_repetition(row: Cells) -> Repetition:
    *unit, version_id, rows, tellings, facts = row
    return Repetition(_read_place(unit), version_id or "", *(int(number or 0) for number in (rows, tellings, facts)))


def _read_place(row: Cells) -> Unit:
    project, dataset, table, partition = row
    return TableRef(project or "", dataset or "", table or "").unit(partition)


_READERS: Mapping[str, Callable[[str | None], object]] = {
    "STRING": lambda cell: cell,
    "INT64": whole_number,
    "BOOL": lambda cell: None if cell is None else cell == "true",
    "TIMESTAMP": instant,
}
_READER_OF = {column.name: _READERS[column.type] for column in COLUMNS}


def _event(columns: Sequence[str], row: Cells) -> Event:
    values = {c: None if cell is None else _READER_OF[c](cell) for c, cell in zip(columns, row, strict=True)}
    values.pop("event_id")
    kind = EventKind(str(values.pop("event", EventKind.VERSION_CREATED)))
    values["run_id"] = values["run_id"] or ""
    return Event(event=kind, **values)  # type: ignore[arg-type]  # the columns are the fields, by COLUMNS


def _oldest_first(event: Event) -> tuple[datetime, str]:
    return event.recorded_at, event.event


def _newest_first(version: Version) -> tuple[float, tuple[str, str, str, str]]:
    return -version.captured_at.timestamp(), version.unit.sort_key


def _selected(
    datasets: Collection[DatasetRef] | None, projects: Collection[str] | None = None
) -> tuple[str, Mapping[str, Parameter]]:
    """What is read of the events: those of ``datasets``, else of ``projects``, else all."""
    if datasets is not None:
        return catalog_sql.OF_DATASETS, _of_datasets(datasets)
    if projects is not None:
        return catalog_sql.IN_PROJECTS, {"projects": sorted(projects)}
    return catalog_sql.EVERYTHING, {}


def _of_project(project: str, besides: Iterable[DatasetRef]) -> tuple[str, Mapping[str, Parameter]]:
    return catalog_sql.OF_PROJECT, {"projects": [project], "besides": sorted(map(str, besides))}


def _of_datasets(datasets: Iterable[DatasetRef]) -> Mapping[str, Parameter]:
    refs = sorted(set(datasets))
    return {
        "projects": sorted({ref.project for ref in refs}),
        "datasets": sorted({ref.dataset for ref in refs}),
        "refs": [str(ref) for ref in refs],
    }


def _of_tables(tables: Sequence[TableRef]) -> Mapping[str, Parameter]:
    return {**_of_datasets(table.in_dataset for table in tables), "tables": [str(table) for table in tables]}


def _load_config() -> bigquery.LoadJobConfig:
    return bigquery.LoadJobConfig(
        schema=events_schema(),
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        labels={"bbq": "catalog"},
    )
