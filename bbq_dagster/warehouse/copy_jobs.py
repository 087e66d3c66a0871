"""Copy jobs of the backup project: started once however often they are asked for, watched many at a time.

Decides nothing about what is copied or when a failed copy is tried again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import bigquery
from google.cloud.bigquery.job.copy_ import OperationType

from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.versions import Copy, Writing
from bbq_dagster.errors import BbqError, Permanent
from bbq_dagster.warehouse.client import Patience
from bbq_dagster.warehouse.faults import Need, explained, job_error
from bbq_dagster.warehouse.port import CopyStatus, JobRef

JOBS_PER_LOOK_UP = 8
"""Up to this many jobs are asked for one by one; one page of the list shows a thousand."""

_PAGE_OF_JOBS = 1000
_DISPOSITIONS = {
    Writing.INTO_EMPTY: bigquery.WriteDisposition.WRITE_EMPTY,
    Writing.INTO_NEW: bigquery.WriteDisposition.WRITE_EMPTY,
    Writing.REPLACE: bigquery.WriteDisposition.WRITE_TRUNCATE,
    Writing.APPEND: bigquery.WriteDisposition.WRITE_APPEND,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CopyJobs:
    """Starts copies and tells how they are. Safe to share between threads."""

    def __init__(self, client: bigquery.Client, patience: Patience) -> None:
        self._client = client
        self._options, self._paced = patience.call_options(), patience.options_of_a_paced_call()
        self._created_at: dict[JobRef, datetime] = {}
        """Of the jobs that this object started and that were not seen to end: how far back a list has to go."""

    def start(self, copy: Copy, job: JobRef) -> CopyStatus | None:
        """A job that exists already (409) is the same one: its id is derived from the copy.

        A small copy may be done when BigQuery answers; nobody has to ask for it again.
        """
        try:
            with explained(f"copying {copy.source} to {copy.destination}", *self._needs(copy.source, copy.destination)):
                started = self._client.copy_table(
                    _reference(copy.source),
                    _reference(copy.destination),
                    job_id=job.job_id,
                    location=job.location,
                    project=self._client.project,
                    job_config=_config(copy),
                    **self._paced,
                )
        except Permanent as error:
            if error.reason != "duplicate":
                raise
            return None
        resource: Mapping[str, Any] = started._properties  # CopyJob has no property for what was copied
        status = self._status(resource)
        if not status.is_done and started.created is not None:
            self._created_at[job] = started.created
        return status

    def statuses(self, jobs: Collection[JobRef]) -> dict[JobRef, CopyStatus]:
        """Few jobs are looked up, many are listed, and what the list does not show is looked up as well."""
        found = self._list(jobs) if len(jobs) > JOBS_PER_LOOK_UP else {}
        for job in jobs:
            if job not in found and (resource := self._get(job)) is not None:
                found[job] = resource
        statuses = {job: self._status(resource) for job, resource in found.items()}
        for job, status in statuses.items():
            if status.is_done:
                self._created_at.pop(job, None)
        return statuses

    def _list(self, jobs: Collection[JobRef]) -> dict[JobRef, Mapping[str, Any]]:
        """The asked jobs among the newest of the project, in at most an eighth of the calls that looking up takes."""
        asked = {(job.job_id, job.location.casefold()): job for job in jobs}
        found: dict[JobRef, Mapping[str, Any]] = {}
        may_list = Need("bigquery.jobs.list", "roles/bigquery.user", f"project {self._client.project}")
        with explained(f"listing the jobs of {self._client.project}", may_list):
            pages = self._client.list_jobs(
                project=self._client.project,
                page_size=_PAGE_OF_JOBS,
                min_creation_time=self._oldest(jobs),
                **self._options,
            ).pages
            for _, page in zip(range(max(1, len(jobs) // JOBS_PER_LOOK_UP)), pages, strict=False):
                for resource in page.raw_page.get("jobs", ()):
                    reference = resource["jobReference"]
                    job = asked.get((reference["jobId"], reference.get("location", "").casefold()))
                    if job is not None:
                        found[job] = resource
                if len(found) == len(asked):
                    break
        return found

    def _oldest(self, jobs: Iterable[JobRef]) -> datetime | None:
        """When the first of these jobs was created; None where one of them was started by somebody else."""
        created = [self._created_at.get(job) for job in jobs]
        known = [at for at in created if at is not None]
        return min(known) - timedelta(seconds=1) if len(known) == len(created) else None

    def _get(self, job: JobRef) -> Mapping[str, Any] | None:
        try:
            with explained(f"looking up job {job.job_id}", self._may_run_jobs):
                found = self._client.get_job(
                    job.job_id, project=self._client.project, location=job.location, **self._options
                )
        except Permanent as error:
            if error.reason == "notFound":
                return None
            raise
        resource: Mapping[str, Any] = found._properties  # CopyJob has no property for what was copied
        return resource

    def _status(self, resource: Mapping[str, Any]) -> CopyStatus:
        statistics = resource.get("statistics", {})
        copied = statistics.get("copy", {})
        return CopyStatus(
            is_done=resource["status"]["state"] == "DONE",
            started_at=_instant(statistics.get("startTime")),
            rows=_whole_number(copied.get("copiedRows")),
            size_bytes=_whole_number(copied.get("copiedLogicalBytes")),
            error=self._error(resource),
        )

    def _error(self, resource: Mapping[str, Any]) -> BbqError | None:
        result = resource["status"].get("errorResult")
        if result is None:
            return None
        copy = resource["configuration"]["copy"]
        source = copy.get("sourceTable") or copy["sourceTables"][0]
        units = _unit(source), _unit(copy["destinationTable"])
        return job_error(result, f"copying {units[0]} to {units[1]}", *self._needs(*units))

    def _needs(self, source: Unit, destination: Unit) -> tuple[Need, ...]:
        return (
            Need("bigquery.tables.getData", "roles/bigquery.dataViewer", source.table.in_dataset),
            Need("bigquery.tables.updateData", "roles/bigquery.dataEditor", destination.table.in_dataset),
            self._may_run_jobs,
        )

    @property
    def _may_run_jobs(self) -> Need:
        return Need("bigquery.jobs.create", "roles/bigquery.jobUser", f"project {self._client.project}")


def _config(copy: Copy) -> bigquery.CopyJobConfig:
    """A partition goes only into a table that was created for it: a new one would not be partitioned for certain.

    So does a restore, where it does not say that the table is new.
    """
    is_into_table = bool(copy.restore_id) and copy.writing is not Writing.INTO_NEW
    needs_table = is_into_table or copy.destination.partition is not None
    return bigquery.CopyJobConfig(
        write_disposition=_DISPOSITIONS[copy.writing],
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER
        if needs_table
        else bigquery.CreateDisposition.CREATE_IF_NEEDED,
        operation_type=OperationType.CLONE if copy.clone else OperationType.COPY,
        labels={"bbq": "restore" if copy.restore_id else "backup"},
    )


def _reference(unit: Unit) -> bigquery.TableReference:
    return bigquery.DatasetReference(unit.table.project, unit.table.dataset).table(unit.key)


def _unit(reference: Mapping[str, str]) -> Unit:
    return Unit.of_key(DatasetRef(reference["projectId"], reference["datasetId"]), reference["tableId"])


def _instant(millis: str | None) -> datetime | None:
    return None if millis is None else _EPOCH + timedelta(milliseconds=int(millis))


def _whole_number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)
