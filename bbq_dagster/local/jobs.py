"""The life of a job: asked for, PENDING, RUNNING, DONE; where its answer is kept; how the API shows it.

What a job does is ``work``'s. Copies run where they are asked for, they only move pointers; loads and queries run in a
thread. Delays between the states are of real time, by ``store.settings``.
"""

import asyncio
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar

from bbq_dagster.local.anonymous import Kept, anonymous_table
from bbq_dagster.local.configurations import checked_configuration
from bbq_dagster.local.copying import SNAPSHOT
from bbq_dagster.local.definition import canonical_location
from bbq_dagster.local.destination import named_table
from bbq_dagster.local.errors import REASON_STATUS, BigQueryError, duplicate, invalid, not_found, refused
from bbq_dagster.local.holding import Held
from bbq_dagster.local.limits import Charge, as_told_by_a_query
from bbq_dagster.local.model import Job, TableRef
from bbq_dagster.local.sql import Sessions
from bbq_dagster.local.store import Store
from bbq_dagster.local.work import Finish, Outcome, destination_of, prepare

Answer = TypeVar("Answer")
Key = tuple[str, str, str]

KEPT_RESULTS = 1000
_ANSWER_WITHIN_SECONDS = 2.0
_MULTI_REGIONS = ("US", "EU")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fate:
    """What a fault has in store for a job: the error that it ends with instead of doing its work, and who holds it
    fast while it is RUNNING."""

    doom: BigQueryError | None = None
    held: Held | None = None


class Jobs:
    """Starts jobs and knows those that run. Belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._cancelled: set[Key] = set()
        self._results: OrderedDict[TableRef, Kept] = OrderedDict()
        self._sessions = Sessions(store)

    def resume(self) -> None:
        """Run again what a stop of the server left unfinished."""
        for job in self._store.all_jobs():
            if job.state != "DONE":
                self._start(job, None, Fate(_without_its_file(job)))

    async def insert(
        self,
        project: str,
        body: Mapping[str, Any],
        upload: bytes | None = None,
        fate: Fate = Fate(),
        user: str = "",
    ) -> Job:
        """Start a job, and wait a moment for it if no delays are set.

        Args:
            upload: The file of a load job that was sent along.
            user: Whose permissions it has.
        """
        job = replace(new_job(self._store, self._sessions, project, body), user=user)
        if job.configuration.get("dryRun"):
            return await asyncio.to_thread(self._dry_run, job)
        settings = self._store.settings
        at_once = not (settings.job_pending_seconds or settings.job_running_seconds or fate.held)
        if at_once and job.kind == "copy":
            await on_loop(self._store, lambda: self._run_at_once(job, fate.doom))
            return self.get(job.project, job.location, job.id)
        await on_loop(self._store, lambda: self._admit(job))
        if not at_once:
            self._start(job, upload, fate)
        else:
            await asyncio.wait({self._start(job, upload, fate)}, timeout=_ANSWER_WITHIN_SECONDS)
        return self.get(job.project, job.location, job.id)

    def get(self, project: str, location: str | None, job_id: str) -> Job:
        """A job by its id. Without a location only those in the US and EU are found (jobs.get)."""
        for place in [location] if location else _MULTI_REGIONS:
            job = self._store.find_job(project, canonical_location(place), job_id)
            if job is not None:
                return job
        raise not_found("Job", f"{project}:{location}.{job_id}" if location else f"{project}:{job_id}")

    async def wait(self, job: Job, seconds: float) -> Job:
        """The job when it is done, or as it stands after so many seconds."""
        task = self._running.get(_key(job))
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)
        return self.get(job.project, job.location, job.id)

    def cancel(self, job: Job) -> None:
        """Ask a job to stop. A copy goes on (managing-tables); what is done stays done."""
        if job.kind != "copy" and job.state != "DONE":
            self._cancelled.add(_key(job))

    def result(self, job: Job) -> Kept:
        """The rows that a query left."""
        kept = self.kept(anonymous_table(job))
        if kept is None:
            raise not_found("Table", anonymous_table(job))
        return kept

    def kept(self, ref: TableRef) -> Kept | None:
        """The rows under the name of an anonymous table."""
        return self._results.get(ref)

    def _start(self, job: Job, upload: bytes | None, fate: Fate) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._run(job, upload, fate))
        self._running[_key(job)] = task
        task.add_done_callback(lambda _: self._running.pop(_key(job), None))
        return task

    async def _run(self, job: Job, upload: bytes | None, fate: Fate) -> None:
        settings = self._store.settings
        await asyncio.sleep(settings.job_pending_seconds)
        job = self._store.put_job(replace(job, state="RUNNING", started_ms=self._store.now_ms()))
        if fate.held is not None:
            await fate.held.hold({"job": job.id, "project": job.project, "job_type": job.kind})
        finish = _failing_with(fate.doom) if fate.doom else await asyncio.to_thread(self._prepared, job, upload)
        await asyncio.sleep(settings.job_running_seconds)
        if _key(job) in self._cancelled:
            finish = _failing_with(refused("stopped", "Job execution was cancelled: User requested cancellation"))
        await asyncio.to_thread(self._finish_durably, job, finish)

    def _admit(self, job: Job) -> Job:
        """Note the job, once: jobs.insert with the same id succeeds for one caller (reliability-intro)."""
        with self._store.transaction():
            if self._store.find_job(job.project, job.location, job.id) is not None:
                raise duplicate("Job", job)
            self._count(job)
            return self._store.put_job(job)

    def _count(self, job: Job) -> None:
        limits = self._store.limits
        if limits.restricts("pending_jobs"):
            limits.hold("pending_jobs", sum(self._is_pending(key, job) for key in self._running))
        if limits.restricts("concurrent_snapshots") and _is_snapshot(job):
            running = (self._store.find_job(*key) for key in self._running)
            limits.hold("concurrent_snapshots", sum(j is not None and _is_snapshot(j) for j in running))
        if job.kind in ("copy", "load", "extract"):
            limits.spend([Charge(f"{job.kind}_jobs_per_day", job.project)], self._store.now_ms())

    def _is_pending(self, key: Key, like: Job) -> bool:
        found = self._store.find_job(*key)
        return key[:2] == _key(like)[:2] and found is not None and found.state == "PENDING"

    def _run_at_once(self, job: Job, doom: BigQueryError | None) -> None:
        with self._store.transaction():
            job = self._admit(replace(job, started_ms=self._store.now_ms()))
            self._finish(job, _failing_with(doom) if doom else self._prepared(job, None))

    def _finish_durably(self, job: Job, finish: Finish) -> None:
        """Its writes and its end survive together: a job that is run again has not written yet."""
        with self._store.joined():
            self._finish(job, finish)
        self._store.save()

    def _prepared(self, job: Job, upload: bytes | None) -> Finish:
        try:
            return prepare(self._store, self._sessions, job, upload)
        except Exception as error:  # noqa: BLE001 - told at the end of the job, by _carried_out
            return _failing_with(error)

    def _finish(self, job: Job, finish: Finish) -> None:
        """Do the work and record how it went."""
        outcome, errors = _carried_out(job, finish)
        ended = max(self._store.now_ms(), job.started_ms or 0)
        with self._store.transaction():
            for number, child in enumerate(outcome.children if outcome is not None else ()):
                self._record(_child_of(job, number, child), child, (), ended)
            self._record(job, outcome, errors, ended)

    def _record(self, job: Job, outcome: Outcome | None, errors: tuple[Mapping[str, Any], ...], ended_ms: int) -> None:
        if outcome is not None and outcome.rows is not None:
            self._keep_result(anonymous_table(job), Kept(outcome.fields, outcome.rows, ended_ms))
            job = _with_destination(job, outcome)
        statistics = {**job.statistics, **(outcome.statistics if outcome is not None else {})}
        self._store.put_job(replace(job, state="DONE", ended_ms=ended_ms, statistics=statistics, errors=errors))

    def _keep_result(self, ref: TableRef, kept: Kept) -> None:
        self._results[ref] = kept
        while len(self._results) > KEPT_RESULTS:
            self._results.popitem(last=False)

    def _dry_run(self, job: Job) -> Job:
        if job.kind != "query":
            raise invalid("dryRun is for query jobs; of others its behavior is undefined")
        outcome = prepare(self._store, self._sessions, job, None)()
        return replace(
            job, state="DONE", started_ms=job.created_ms, ended_ms=job.created_ms, statistics=outcome.statistics
        )


async def on_loop(store: Store, write: Callable[[], Answer]) -> Answer:
    """Do a short write here if the lock is free, else in a thread, so that the loop never waits for a long one."""
    if store.lock.acquire(blocking=False):
        try:
            return write()
        finally:
            store.lock.release()
    return await asyncio.to_thread(write)


def new_job(store: Store, sessions: Sessions, project: str, body: Mapping[str, Any]) -> Job:
    """The job that jobs.insert asks for. Refuses configurations that are none, and ids that BigQuery refuses."""
    configuration, reference = checked_configuration(body.get("configuration") or {}), body.get("jobReference") or {}
    job_id = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,1024}", str(job_id)):
        raise invalid(
            f'Invalid job ID "{job_id}": letters, numbers, underscores and dashes only, at most 1024 characters'
        )
    session_location = sessions.location_of(project, configuration.get("query") or {})
    location = reference.get("location") or session_location or _location_of(store, project, configuration)
    location = canonical_location(location)
    return Job(project, location, job_id, configuration, store.now_ms())


def job_resource(job: Job, *, url: str = "") -> dict[str, Any]:
    """A job as jobs.get shows it."""
    reference = {"projectId": job.project, "jobId": job.id, "location": job.location}
    times = {"creationTime": job.created_ms, "startTime": job.started_ms, "endTime": job.ended_ms}
    status: dict[str, Any] = {"state": job.state}
    if job.errors:
        status |= {"errorResult": dict(job.errors[0]), "errors": [dict(e) for e in job.errors]}
    return {
        "kind": "bigquery#job",
        "etag": f"{job.state}.{job.ended_ms}",
        "id": str(job),
        "selfLink": f"{url}/bigquery/v2/projects/{job.project}/jobs/{job.id}?location={job.location}",
        "user_email": job.user or "local@bigquery.invalid",
        "configuration": {"jobType": job.kind.upper(), **job.configuration},
        "jobReference": reference,
        "statistics": {k: str(v) for k, v in times.items() if v is not None} | dict(job.statistics),
        "status": status,
        "state": job.state,
    } | ({"errorResult": dict(job.errors[0])} if job.errors else {})


def error_of_job(job: Job) -> BigQueryError:
    """The error of a failed job, as a request that waits for its rows gets it."""
    reason = str(job.errors[0]["reason"])
    return BigQueryError(REASON_STATUS.get(reason, 400), reason, str(job.errors[0]["message"]))


def _with_destination(job: Job, outcome: Outcome) -> Job:
    """A query that names no destination shows where its rows are: the table it wrote, or an anonymous one."""
    query = job.configuration["query"]
    wrote = outcome.destination or (anonymous_table(job) if outcome.fields else None)
    if query.get("destinationTable") or wrote is None:
        return job
    return replace(job, configuration={**job.configuration, "query": {**query, "destinationTable": wrote.as_json()}})


def _without_its_file(job: Job) -> BigQueryError | None:
    """The end of a load whose file came along with it: the stopped server had it in memory only."""
    if job.kind != "load" or job.configuration["load"].get("sourceUris"):
        return None
    return refused("backendError", "The server was stopped before the file that was sent was loaded: send it again.")


def _is_snapshot(job: Job) -> bool:
    return (job.configuration.get("copy") or {}).get("operationType") == SNAPSHOT


def _child_of(job: Job, number: int, child: Outcome) -> Job:
    """The job of a script's statement (REST Job.statistics.parentJobId)."""
    digest = sha256(str(job).encode()).hexdigest()[:32]
    return replace(
        job,
        id=f"script_job_{digest}_{number}",
        configuration={"query": {"query": child.text, "useLegacySql": False}},
        statistics={"parentJobId": job.id},
    )


def _key(job: Job) -> Key:
    return (job.project, job.location, job.id)


def _location_of(store: Store, project: str, configuration: Mapping[str, Any]) -> str:
    """Where a job runs that does not say: where its destination or the source of its extract is, its default dataset,
    or a dataset in its SQL.
    """
    destination = destination_of(configuration) or (configuration.get("extract") or {}).get("sourceTable")
    query = configuration.get("query") or {}
    if destination:
        ref = named_table(destination).ref
        candidates = [(ref.project, ref.dataset)]
    else:
        default = query.get("defaultDataset") or {}
        candidates = [(default.get("projectId") or project, str(default.get("datasetId")))]
        candidates += _named_in_sql(project, str(query.get("query") or ""))
    found = next((d for c in candidates if (d := store.find_dataset(*c)) is not None), None)
    return found.location if found is not None else _region_in_sql(query) or "US"


def _named_in_sql(project: str, sql: str) -> list[tuple[str, str]]:
    pairs = re.findall(r"(?:([\w:-]+)`?\.`?)?(\w+)`?\.`?[\w-]+", sql)
    return [(named or project, dataset) for named, dataset in pairs] + [(project, d) for p, d in pairs for d in (p, d)]


def _region_in_sql(query: Mapping[str, Any]) -> str | None:
    found = re.search(r"region-([\w-]+)", str(query.get("query") or ""), re.I)
    return found.group(1) if found else None


def _failing_with(error: Exception) -> Finish:
    def fail() -> Outcome:
        raise error

    return fail


def _carried_out(job: Job, finish: Finish) -> tuple[Outcome | None, tuple[Mapping[str, Any], ...]]:
    try:
        return finish(), ()
    except BigQueryError as error:
        told = as_told_by_a_query(error) if job.kind == "query" else error
        return None, (told.as_job_error(),)
    except Exception as error:  # noqa: BLE001 - a job that breaks must still end, as one of BigQuery's would
        _log.error("job %s broke", job, exc_info=error)
        return None, ({"reason": "internalError", "message": f"An internal error occurred: {error!r}"},)
