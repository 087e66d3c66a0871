"""jobs.* and uploads as REST calls. What a job is and does is in ``jobs`` and ``work``."""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from bbq_dagster.local.access import needs_of_job_method
from bbq_dagster.local.arrow_results import arrow_page
from bbq_dagster.local.errors import BigQueryError, invalid, not_found
from bbq_dagster.local.faults import Event, error_of
from bbq_dagster.local.jobs import Fate, error_of_job, job_resource
from bbq_dagster.local.model import Job
from bbq_dagster.local.requests import NO_CONTENT, Request, Response, is_place, page_size
from bbq_dagster.local.resources import page_of_rows
from bbq_dagster.local.service import Service, Upload
from bbq_dagster.local.work import copy_sources, destination_of

_DEFAULT_WAIT_MS = 10_000
_REQUEST_ID_LENGTH = 36


async def insert_job(service: Service, request: Request) -> dict[str, Any]:
    return await _insert(service, request, request.body(), None, _fate(service, request))


async def insert_upload(service: Service, request: Request) -> dict[str, Any] | Response:
    """A load job with its file: both in one request (multipart), or the file in later ones (resumable)."""
    kind = request.option("uploadType")
    if kind == "multipart":
        body, content = _parts_of(request)
        return await _insert(service, request, body, content, _fate(service, request))
    if kind != "resumable":
        raise invalid(f"Invalid uploadType: {kind}", "uploadType")
    upload_id = uuid.uuid4().hex
    service.uploads[upload_id] = Upload(request.body(), _fate(service, request))
    return Response(200, {}, {"location": f"{service.url}{request.path}?uploadType=resumable&upload_id={upload_id}"})


async def continue_upload(service: Service, request: Request) -> dict[str, Any] | Response:
    upload_id = request.option("upload_id") or ""
    upload = service.uploads.get(upload_id)
    if upload is None:
        raise not_found("Upload", upload_id)
    complete = _take_chunk(upload, request)
    if not complete:
        held = {"range": f"bytes=0-{len(upload.content) - 1}"} if upload.content else {}
        return Response(308, None, held)
    del service.uploads[upload_id]
    return await _insert(service, request, upload.job, bytes(upload.content), upload.fate)


def get_job(service: Service, request: Request) -> dict[str, Any]:
    return job_resource(_found(service, request, "jobs.get"), url=service.url)


def list_jobs(service: Service, request: Request) -> dict[str, Any]:
    """Newest first. The page token is a place in the order of creation, so new jobs do not shift the pages.

    Without ``allUsers`` an identity sees its own; ``projection=minimal`` leaves out what the jobs were asked to do.
    """
    jobs = service.store.all_jobs()
    token = request.option("pageToken")
    place = len(jobs) if token is None else int(token) if is_place(token) else -1
    if not 0 <= place <= len(jobs):
        raise invalid(f'Invalid page token "{token}"', "pageToken")
    size = page_size(request, 50)
    found: list[dict[str, Any]] = []
    wanted = _JobFilter.of(request)
    while place > 0 and len(found) < size:
        place -= 1
        if wanted.takes(jobs[place]):
            found.append(job_resource(jobs[place], url=service.url))
            if request.option("projection") == "minimal":
                del found[-1]["configuration"]
    answer: dict[str, Any] = {"kind": "bigquery#jobList", "jobs": found}
    return answer | ({"nextPageToken": str(place)} if any(wanted.takes(j) for j in jobs[:place]) else {})


def cancel_job(service: Service, request: Request) -> dict[str, Any]:
    job = _found(service, request, "jobs.cancel")
    service.jobs.cancel(job)
    return {"kind": "bigquery#jobCancelResponse", "job": job_resource(job, url=service.url)}


def delete_job(service: Service, request: Request) -> Response:
    service.store.forget_job(_found(service, request, "jobs.delete"))
    return NO_CONTENT


async def query(service: Service, request: Request) -> dict[str, Any]:
    """jobs.query: a query job and its first page in one call."""
    body = request.body()
    top = ("labels", "dryRun", "jobTimeoutMs")
    configuration = {
        k: v for k, v in body.items() if k not in (*top, "location", "requestId", "maxResults", "timeoutMs")
    }
    reference = {"location": body["location"]} if body.get("location") else {}
    asked = {
        "configuration": {"query": configuration} | {k: body[k] for k in top if k in body},
        "jobReference": reference,
    }
    job = await _query_job(service, request, asked, str(body.get("requestId") or ""))
    if job.state != "DONE":
        wait_ms = body.get("timeoutMs")
        job = await service.jobs.wait(job, (_DEFAULT_WAIT_MS if wait_ms is None else int(wait_ms)) / 1000)
    options = body.get("formatOptions") or {}
    page = f"maxResults={body['maxResults']}" if body.get("maxResults") is not None else ""
    page += f"&formatOptions.useInt64Timestamp={str(bool(options.get('useInt64Timestamp'))).lower()}"
    request.query_string = page
    return _query_response(service, request, job, "bigquery#queryResponse")


async def _query_job(service: Service, request: Request, asked: dict[str, Any], request_id: str) -> Job:
    """A new job, or the one that the same query with the same ``requestId`` began before (REST QueryRequest)."""
    project = request.params["project"]
    if len(request_id) > _REQUEST_ID_LENGTH or not request_id.isascii():
        raise invalid(f"Invalid value for requestId: at most {_REQUEST_ID_LENGTH} ASCII characters", "requestId")
    if request_id and not asked["configuration"].get("dryRun"):
        told = json.dumps([request_id, asked], sort_keys=True).encode()
        asked["jobReference"] = {**asked["jobReference"], "jobId": f"job_{hashlib.sha256(told).hexdigest()[:32]}"}
    try:
        return await service.jobs.insert(project, asked, fate=_fate(service, request), user=request.user)
    except BigQueryError as error:
        if error.reason != "duplicate":
            raise
        job_id = asked["jobReference"]["jobId"]
        return next(job for job in service.store.all_jobs() if (job.project, job.id) == (project, job_id))


async def get_query_results(service: Service, request: Request) -> dict[str, Any]:
    wait_ms = request.number("timeoutMs")
    found = _found(service, request, "jobs.getQueryResults")
    job = await service.jobs.wait(found, (_DEFAULT_WAIT_MS if wait_ms is None else wait_ms) / 1000)
    return _query_response(service, request, job, "bigquery#getQueryResultsResponse")


def job_event(body: Mapping[str, Any]) -> Event:
    """What a fault can match of a job: its kind, sources, destination and SQL."""
    configuration = {k: v for k, v in (body.get("configuration") or {}).items() if v is not None}
    kind = next((k for k in ("copy", "load", "query", "extract") if k in configuration), "")
    destination = destination_of(configuration)
    sources = copy_sources(configuration["copy"]) if kind == "copy" else []
    return {
        "job_type": kind,
        "source": [_dotted(s) for s in sources],
        "destination": _dotted(destination) if destination else "",
        "dataset": (destination or {}).get("datasetId"),
        "table": (destination or {}).get("tableId"),
        "sql": configuration["query"].get("query") if kind == "query" else "",
    }


def body_of_job(request: Request) -> Mapping[str, Any]:
    """The job that a request asks for, whichever way it asks; empty if it cannot be read."""
    try:
        if request.option("uploadType") == "multipart":
            return _parts_of(request)[0]
        body = request.body()
    except BigQueryError:
        return {}  # The handler refuses the same body, with the reason.
    return body if "query" not in body else {"configuration": {"query": body}}


class _JobFilter:
    def __init__(
        self, project: str, states: set[str], oldest: int | None, newest: int | None, parent: str | None, user: str
    ) -> None:
        self._project, self._states, self._oldest, self._newest, self._parent = project, states, oldest, newest, parent
        self._user = user

    @classmethod
    def of(cls, request: Request) -> "_JobFilter":
        states = {state.upper() for state in request.query().get("stateFilter", [])}
        oldest, newest = request.number("minCreationTime"), request.number("maxCreationTime")
        user = "" if request.flag("allUsers") else request.user
        return cls(request.params["project"], states, oldest, newest, request.option("parentJobId"), user)

    def takes(self, job: Job) -> bool:
        return (
            job.project == self._project
            and (not self._states or job.state in self._states)
            and (self._oldest is None or job.created_ms >= self._oldest)
            and (self._newest is None or job.created_ms <= self._newest)
            and job.statistics.get("parentJobId") == self._parent
            and (not self._user or job.user == self._user)
        )


async def _insert(
    service: Service, request: Request, body: dict[str, Any], content: bytes | None, fate: Fate
) -> dict[str, Any]:
    job = await service.jobs.insert(request.params["project"], body, content, fate, request.user)
    return job_resource(job, url=service.url)


def _fate(service: Service, request: Request) -> Fate:
    """What a fault prescribes for this job, if one does."""
    action = request.struck or {}
    doom = error_of(action["job_error"]) if "job_error" in action else None
    return Fate(doom, service.held if action.get("stuck") else None)


def _found(service: Service, request: Request, call: str) -> Job:
    job = service.jobs.get(request.params["project"], request.option("location"), request.params["job"])
    service.store.access.require(request.user, needs_of_job_method(call, job, request.user))
    return job


def _query_response(service: Service, request: Request, job: Job, kind: str) -> dict[str, Any]:
    reference = {"projectId": job.project, "jobId": job.id, "location": job.location}
    answer: dict[str, Any] = {"kind": kind, "jobReference": reference, "jobComplete": job.state == "DONE"}
    if job.state != "DONE":
        return answer
    if job.errors:
        raise error_of_job(job)
    statistics = job.statistics.get("query") or {}
    answer |= {
        k: statistics[k]
        for k in ("totalBytesProcessed", "cacheHit", "numDmlAffectedRows", "dmlStats")
        if k in statistics
    }
    if job.configuration.get("dryRun"):
        return answer | {"schema": statistics.get("schema")}
    kept = service.jobs.result(job)
    answer |= {"schema": {"fields": kept.fields}, "totalRows": str(kept.rows.num_rows), "etag": job.id}
    page = page_of_rows(request, kept.fields, kept.rows)
    asked = job.configuration["query"]
    if asked.get("queryResultsFormat") == "ARROW" and kept.fields:
        first = kept.rows.slice(0, len(page.pop("rows")))
        page |= arrow_page(asked.get("arrowSerializationOptions") or {}, kept.fields, first)
    return answer | page


def _take_chunk(upload: Upload, request: Request) -> bool:
    """Add the bytes of a chunk; true when the upload is complete."""
    stated = request.headers.get("content-range", "")
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", stated)
    if match is None:
        upload.content += request.content
        return True
    start, total = match.groups()
    if start is not None:
        del upload.content[int(start) :]
        upload.content += request.content
    return total != "*" and len(upload.content) >= int(total)


def _parts_of(request: Request) -> tuple[dict[str, Any], bytes]:
    """The two parts of a multipart/related upload: the job and the file."""
    match = re.search(r'boundary="?([^";]+)"?', request.headers.get("content-type", ""))
    pieces = request.content.split(b"--" + match.group(1).encode()) if match else []
    if len(pieces) < 4:
        raise invalid("Parse Error: a multipart upload needs two parts")
    metadata, content = (piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in pieces[1:3])
    part = Request(request.method, request.path, "", {}, metadata, shape="Job")
    return part.body(), content


def _dotted(reference: Mapping[str, Any]) -> str:
    return ".".join(str(reference.get(k)) for k in ("projectId", "datasetId", "tableId"))
