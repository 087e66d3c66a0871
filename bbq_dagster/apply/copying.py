"""Run many copy jobs at once: start them, follow them, try again what may work, and tell how each of them ended.

Decides when and how often, never what. One loop starts jobs through a pool of threads and asks for the state of all
running ones in bulk; nobody waits for a single job. Rules for one copy:

* A job that failed in a way that may pass is tried again under the next job id, as BigQuery runs an id once.
* A start without an answer, and a job that the warehouse does not show, are started again under the same id.
* A start that is refused because too many come (``rateLimitExceeded``) slows all starts down, and costs no try.
* Where one copy has used up its tries and no other start was answered meanwhile, no more are started.
* A copy of an earlier run is asked for before anything is started or created for it: its source may be gone by now.
* "Failed" is said only where no job of the copy has written or can still write. Everything else that did not end well
  is "unfinished": the next run asks for it under the same job ids.
"""

from __future__ import annotations

import heapq
import itertools
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bbq_dagster.apply.pace import Backoff, Pace, Rate, Runtime, TokenBucket
from bbq_dagster.core.inventory import TableOptions
from bbq_dagster.core.naming import job_id
from bbq_dagster.core.tables import TableRef
from bbq_dagster.core.versions import Copy
from bbq_dagster.errors import BbqError, Transient
from bbq_dagster.warehouse.port import RATE_LIMIT, CopyStatus, JobRef, Warehouse


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """How fast and how long. Defaults stay below BigQuery's quotas (BigQuery: quotas, API and table limits).

    * ``threads``: requests under way at once (300 per user). ``concurrent_jobs``: copy jobs running at once.
    * ``requests_per_second``: job starts (100 per user and method). ``creations_per_second``: new tables (10 per user).
      Both are the most; what the warehouse refuses says how much of it is left by others.
    * ``concurrent_runs``: how many share these two. Each begins with its share.
    * ``updates_in_10_seconds``, ``…_of_partitioned``: jobs and creations per destination table.
    * ``max_tries``: jobs of one copy, and requests for one job. ``refused_for``: how long rate limits cost no try.
    * ``lost_after``: a job that was started and is not shown for so long is started again.
    * ``job_deadline``: a job that runs longer is left alone, and the next run asks for it.
    """

    threads: int = 64
    concurrent_jobs: int = 500
    requests_per_second: float = 98
    creations_per_second: float = 9
    concurrent_runs: int = 1
    updates_in_10_seconds: int = 5
    updates_in_10_seconds_of_partitioned: int = 50
    max_tries: int = 5
    refused_for: timedelta = timedelta(minutes=10)
    backoff: Backoff = field(default_factory=Backoff)
    lost_after: timedelta = timedelta(minutes=2)
    job_deadline: timedelta = timedelta(hours=6)
    progress_every: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class TableCopies:
    """All copies into one table.

    ``create_like``: the table is created like this one before the first copy; None where the copy job creates it, or
    it is there. ``options``: what a restored table has beyond that; None for a backup table.
    ``begun``: an earlier run may have started these copies.
    """

    destination: TableRef
    copies: tuple[Copy, ...]
    create_like: TableRef | None = None
    description: str = ""
    begun: bool = False
    options: TableOptions | None = None


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """A copy that is done: ``started_at`` is the instant whose data it holds, ``rows`` and ``size_bytes`` its size."""

    copy: Copy
    job_id: str
    started_at: datetime
    rows: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """A copy that was not made, and will not be made by any job that was started for it."""

    copy: Copy
    job_id: str
    error: BbqError


@dataclass(frozen=True, slots=True)
class CopyUnfinished:
    """A copy that may exist, or come to exist: to be asked for again under the same job ids."""

    copy: Copy
    job_id: str
    reason: str


CopyEnd = CopyOutcome | CopyFailure | CopyUnfinished


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the copying is. ``failed`` counts what is not done and not waited for any more; times are in seconds."""

    done: int
    failed: int
    running: int
    waiting: int
    rows: int
    size_bytes: int
    elapsed: float
    longest_running: float = 0.0

    @property
    def per_second(self) -> float:
        return self.done / self.elapsed if self.elapsed else 0.0

    def __str__(self) -> str:
        oldest = f" (longest for {timedelta(seconds=round(self.longest_running))})" if self.running else ""
        return (
            f"{self.done:,} copied, {self.failed:,} failed, {self.running:,} running{oldest}, {self.waiting:,} waiting;"
            f" {self.rows:,} rows, {self.size_bytes:,} bytes in {timedelta(seconds=round(self.elapsed))}"
            f" ({self.per_second:.1f} copies/s)"
        )


def run_copies(
    tables: Iterable[TableCopies],
    warehouse: Warehouse,
    *,
    limits: CopyLimits | None = None,
    runtime: Runtime | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Generator[tuple[CopyEnd, ...], None, None]:
    """Run all copies and yield how they ended, turn by turn of the loop: often nothing, at least every 5 seconds.

    Every copy ends once. Closing the generator starts nothing more and waits for requests under way, not for jobs.
    Raises only what is no ``BbqError``.
    """
    limits, runtime = limits or CopyLimits(), runtime or Runtime()
    with runtime.executor(limits.threads + 1) as pool:
        yield from _Copying(tables, warehouse, pool, limits, runtime, on_progress).turns()


_SHORTEST_PAUSE = 0.001
_SHORTEST_POLL, _LONGEST_POLL = 0.05, 5.0
_SHORTEST_POLL_PER_JOB = 0.001
"""Seconds between two questions for running jobs: longer while none ends, shorter while some do.

A long list of jobs costs both sides more than a short one, and is asked for more rarely.
"""


@dataclass(slots=True, eq=False)
class _Ticket:
    """One copy on its way, by way of ``job``.

    ``unsure``: that job may exist although no start was confirmed.
    """

    copy: Copy
    line: _Line
    begun: bool
    unsure: bool
    jobs_failed: int = 0
    requests_failed: int = 0
    failing_since: float = 0.0
    refused_since: float | None = None
    since: float = 0.0
    job: JobRef = field(init=False)

    def __post_init__(self) -> None:
        self.job = JobRef(job_id(self.copy, tried=self.jobs_failed), self.copy.location)

    def go_on_to_next_job(self) -> None:
        """The present one failed; another run may have come as far as the next one as well."""
        self.jobs_failed += 1
        self.requests_failed, self.unsure = 0, self.begun
        self.job = JobRef(job_id(self.copy, tried=self.jobs_failed), self.copy.location)


@dataclass(slots=True, eq=False)
class _Line:
    """The tickets into one table, in order, and the pace that the table can bear."""

    table: TableCopies
    bucket: TokenBucket
    is_created: bool
    waiting: deque[_Ticket] = field(default_factory=deque)
    is_queued: bool = False
    creations_failed: int = 0
    refused_since: float | None = None
    error: BbqError | None = None


class _Copying:
    """The loop and its state; only the thread that runs ``turns`` touches it. Times are of the monotonic clock."""

    def __init__(
        self,
        tables: Iterable[TableCopies],
        warehouse: Warehouse,
        pool: Executor,
        limits: CopyLimits,
        runtime: Runtime,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._warehouse, self._pool, self._limits, self._runtime = warehouse, pool, limits, runtime
        self._on_progress = on_progress
        self._began = self._now = runtime.monotonic()
        self._progress_at = self._began + limits.progress_every.total_seconds()
        self._order = itertools.count()
        self._ready: list[tuple[float, int, _Line]] = []  # a heap: who may go first
        self._to_create: deque[_Line] = deque()
        self._later: list[tuple[float, int, Callable[[], None]]] = []  # a heap: what is tried again, and when
        self._running: dict[JobRef, _Ticket] = {}
        self._starting = self._creating = 0
        self._answers: queue.SimpleQueue[tuple[Callable[[Future[Any]], None], Future[Any]]] = queue.SimpleQueue()
        self._starts = self._pace(limits.requests_per_second)
        self._creations = self._pace(limits.creations_per_second)
        self._is_polling, self._poll_at, self._poll_every, self._polls_failed = False, self._began, _SHORTEST_POLL, 0
        self._given_up = self._no_more_starts = ""
        self._answered_at = self._began
        self._ended: list[CopyEnd] = []
        self._open = self._done = self._failed = self._rows = self._size_bytes = 0
        for table in tables:
            self._add(table)

    def _pace(self, most: float) -> Pace:
        return Pace(Rate(highest=most, per_second=most / self._limits.concurrent_runs))

    def _add(self, table: TableCopies) -> None:
        partitioned = any(copy.partitioned for copy in table.copies)
        updates = (
            self._limits.updates_in_10_seconds_of_partitioned if partitioned else self._limits.updates_in_10_seconds
        )
        line = _Line(table, TokenBucket.within(updates, seconds=10), is_created=table.create_like is None)
        for copy in table.copies:
            self._open += 1
            self._enqueue(_Ticket(copy, line, begun=table.begun, unsure=table.begun))

    def turns(self) -> Generator[tuple[CopyEnd, ...], None, None]:
        while self._open:
            self._retry()
            self._create_tables()
            self._start_copies()
            self._poll()
            self._pause()
            self._report()
            yield self._take_ended()
        self._on_progress(self._progress())

    def _take_ended(self) -> tuple[CopyEnd, ...]:
        ended, self._ended = tuple(self._ended), []
        return ended

    # Waiting

    def _pause(self) -> None:
        """Until something is answered or something can be done; answers are taken in."""
        seconds = min(max(self._next_event() - self._now, _SHORTEST_PAUSE), _LONGEST_POLL)
        if self._starting or self._creating or self._is_polling:
            self._take_answers(seconds)
        elif self._open:
            self._runtime.sleep(seconds)
        self._now = self._runtime.monotonic()

    def _take_answers(self, seconds: float) -> None:
        try:
            then, future = self._answers.get(timeout=seconds)
            while True:
                self._now = self._runtime.monotonic()
                then(future)
                then, future = self._answers.get_nowait()
        except queue.Empty:
            return

    def _next_event(self) -> float:
        events = [self._progress_at]
        if self._later:
            events.append(self._later[0][0])
        if self._to_create and self._has_thread:
            events.append(self._creations.free_at(self._now))
        if self._ready and self._has_slot:
            events.append(max(self._ready[0][0], self._starts.free_at(self._now)))
        if self._running and not self._is_polling:
            events.append(self._poll_at)
        return min(events)

    def _submit(self, then: Callable[[Future[Any]], None], call: Callable[..., Any], *args: Any, **named: Any) -> None:
        self._pool.submit(call, *args, **named).add_done_callback(lambda future: self._answers.put((then, future)))

    def _retry(self) -> None:
        while self._later and self._later[0][0] <= self._now:
            heapq.heappop(self._later)[2]()

    def _retry_later(self, failures: int, action: Callable[[], None]) -> None:
        due = self._now + self._limits.backoff.delay(failures)
        heapq.heappush(self._later, (due, next(self._order), action))

    # Lines: each table in turn, at a pace that it can bear

    def _enqueue(self, ticket: _Ticket) -> None:
        line = ticket.line
        if self._no_more_starts:
            self._leave(ticket, self._no_more_starts)
        elif line.error is not None and not ticket.unsure:
            self._fail(ticket, line.error)
        else:
            line.waiting.append(ticket)
            self._queue(line)

    def _queue(self, line: _Line) -> None:
        if line.waiting and not line.is_queued:
            line.is_queued = True
            heapq.heappush(self._ready, (line.bucket.free_at(self._now), next(self._order), line))

    @property
    def _has_thread(self) -> bool:
        return self._starting + self._creating < self._limits.threads

    @property
    def _has_slot(self) -> bool:
        return self._has_thread and self._starting + len(self._running) < self._limits.concurrent_jobs

    def _start_copies(self) -> None:
        while self._ready and self._has_slot:
            free_at, _, line = self._ready[0]
            if max(free_at, self._starts.free_at(self._now)) > self._now:
                return
            heapq.heappop(self._ready)
            line.is_queued = False
            self._serve(line)

    def _serve(self, line: _Line) -> None:
        """Let the first ticket of the line go, and send the line to the end of the queue."""
        if line.waiting[0].unsure and line.waiting[0].begun:
            self._run(line.waiting.popleft())
        elif not line.is_created:
            line.is_queued = True
            self._to_create.append(line)
            return
        else:
            self._start(line.waiting.popleft())
        self._queue(line)

    # Creating tables

    def _create_tables(self) -> None:
        while self._to_create and self._has_thread and self._creations.free_at(self._now) <= self._now:
            self._create(self._to_create.popleft())

    def _create(self, line: _Line) -> None:
        rate = self._creations.per_second
        self._creations.take(self._now)
        line.bucket.take(self._now)
        self._creating += 1
        self._submit(
            lambda future: self._created(line, rate, future),
            self._warehouse.create_table_like,
            line.table.create_like,
            line.table.destination,
            description=line.table.description,
            options=line.table.options,
        )

    def _created(self, line: _Line, rate: float, future: Future[None]) -> None:
        self._creating -= 1
        error = _error_of(future)
        _adapt(self._creations, rate, error)
        if error is None:
            line.is_created = True
        elif self._is_worth_waiting(line, error):
            self._to_create.append(line)
            return
        elif isinstance(error, Transient) and line.creations_failed + 1 < self._limits.max_tries:
            line.creations_failed += 1
            self._retry_later(line.creations_failed, lambda: self._to_create.append(line))
            return
        else:
            line.error = error
        line.is_queued = False
        self._requeue(line)

    def _requeue(self, line: _Line) -> None:
        waiting, line.waiting = line.waiting, deque()
        for ticket in waiting:
            self._enqueue(ticket)

    # Starting jobs

    def _start(self, ticket: _Ticket) -> None:
        rate = self._starts.per_second
        self._starts.take(self._now)
        ticket.line.bucket.take(self._now)
        self._starting += 1
        self._submit(
            lambda future: self._started(ticket, rate, future),
            self._warehouse.start_copy,
            ticket.copy,
            ticket.job,
        )

    def _started(self, ticket: _Ticket, rate: float, future: Future[CopyStatus | None]) -> None:
        self._starting -= 1
        error = _error_of(future)
        _adapt(self._starts, rate, error)
        if not isinstance(error, Transient):
            self._answered_at = self._now
        if error is None:
            self._run(ticket)
            if (status := future.result()) is not None and status.is_done and ticket.job in self._running:
                self._look_at(ticket, status)
        elif self._is_worth_waiting(ticket, error):
            ticket.unsure = True  # the adapter may have asked before, and lost the answer
            self._enqueue(ticket)
        elif isinstance(error, Transient):
            ticket.unsure = True
            self._ask_again(ticket, str(error))
        elif ticket.unsure:
            self._leave(ticket, str(error))
        else:
            self._fail(ticket, error)

    def _is_worth_waiting(self, asking: _Ticket | _Line, error: BbqError) -> bool:
        """Whether there were just too many requests, and not for too long."""
        if error.reason != RATE_LIMIT:
            return False
        if asking.refused_since is None:
            asking.refused_since = self._now
        return self._now - asking.refused_since <= self._limits.refused_for.total_seconds()

    def _ask_again(self, ticket: _Ticket, reason: str) -> None:
        """The same job once more: nobody knows whether it was started."""
        if not ticket.requests_failed:
            ticket.failing_since = self._now
        ticket.requests_failed += 1
        if ticket.requests_failed < self._limits.max_tries:
            self._retry_later(ticket.requests_failed, lambda: self._enqueue(ticket))
            return
        self._leave(ticket, reason)
        if self._answered_at < ticket.failing_since:
            self._stop_starting(f"no copy job can be started: {reason}")

    def _stop_starting(self, reason: str) -> None:
        """Leave what waits to the next run: each would wait as long for the same answer. What runs is followed."""
        self._no_more_starts = reason
        for line in [*(line for _, _, line in self._ready), *self._to_create]:
            self._requeue(line)
        self._ready, self._to_create = [], deque()

    def _run(self, ticket: _Ticket) -> None:
        if self._given_up:
            self._leave(ticket, self._given_up)
            return
        if not self._running:
            self._poll_at, self._poll_every = self._now, _SHORTEST_POLL
        ticket.since = self._now
        self._running[ticket.job] = ticket

    # Following jobs

    def _poll(self) -> None:
        if self._running and not self._is_polling and self._poll_at <= self._now:
            self._is_polling = True
            asked = tuple(self._running)
            self._submit(lambda future: self._polled(asked, future), self._warehouse.copy_statuses, asked)

    def _polled(self, asked: tuple[JobRef, ...], future: Future[Mapping[JobRef, CopyStatus]]) -> None:
        self._is_polling = False
        error = _error_of(future)
        if error is not None:
            self._poll_failed(error)
            return
        self._polls_failed = 0
        statuses, before = future.result(), len(self._ended)
        for job in asked:
            self._look_at(self._running[job], statuses.get(job))
        factor = 0.5 if len(self._ended) > before else 1.5
        shortest = max(_SHORTEST_POLL, _SHORTEST_POLL_PER_JOB * len(self._running))
        self._poll_every = min(max(self._poll_every * factor, shortest), _LONGEST_POLL)
        self._poll_at = self._now + self._poll_every

    def _poll_failed(self, error: BbqError) -> None:
        self._polls_failed += 1
        if isinstance(error, Transient) and self._polls_failed < self._limits.max_tries:
            self._poll_at = self._now + self._limits.backoff.delay(self._polls_failed)
        else:
            self._give_up(f"copy jobs cannot be followed: {error}")

    def _give_up(self, reason: str) -> None:
        """Leave everything to the next run; what is under way, or to be tried again, follows in its turn."""
        self._given_up = reason
        for ticket in list(self._running.values()):
            self._leave(ticket, reason)
        self._stop_starting(reason)

    def _look_at(self, ticket: _Ticket, status: CopyStatus | None) -> None:
        if status is None:
            self._look_for(ticket)
        elif not status.is_done:
            self._wait_for(ticket)
        elif status.error is not None:
            self._job_failed(ticket, status.error)
        elif status.started_at is None:
            self._leave(ticket, "the warehouse does not say when the job started")
        else:
            outcome = CopyOutcome(ticket.copy, ticket.job.job_id, status.started_at, status.rows, status.size_bytes)
            self._done += 1
            self._rows += status.rows or 0
            self._size_bytes += status.size_bytes or 0
            self._end(ticket, outcome)

    def _look_for(self, ticket: _Ticket) -> None:
        """A job that is not shown was never started, where that was the question; another one is lost after a while."""
        if ticket.begun and ticket.unsure:
            del self._running[ticket.job]
            ticket.unsure = False
            self._enqueue(ticket)
        elif self._now - ticket.since > self._limits.lost_after.total_seconds():
            del self._running[ticket.job]
            ticket.unsure = True
            self._ask_again(ticket, "the warehouse does not show the job that was started")

    def _wait_for(self, ticket: _Ticket) -> None:
        ticket.unsure = False
        if self._now - ticket.since > self._limits.job_deadline.total_seconds():
            self._leave(ticket, f"still running after {self._limits.job_deadline}")

    def _job_failed(self, ticket: _Ticket, error: BbqError) -> None:
        if not isinstance(error, Transient) or ticket.jobs_failed + 1 >= self._limits.max_tries:
            self._fail(ticket, error)
            return
        del self._running[ticket.job]
        ticket.go_on_to_next_job()
        self._retry_later(ticket.jobs_failed, lambda: self._enqueue(ticket))

    # Ends

    def _fail(self, ticket: _Ticket, error: BbqError) -> None:
        self._failed += 1
        self._end(ticket, CopyFailure(ticket.copy, ticket.job.job_id, error))

    def _leave(self, ticket: _Ticket, reason: str) -> None:
        self._failed += 1
        self._end(ticket, CopyUnfinished(ticket.copy, ticket.job.job_id, reason))

    def _end(self, ticket: _Ticket, end: CopyEnd) -> None:
        self._running.pop(ticket.job, None)
        self._open -= 1
        self._ended.append(end)

    def _report(self) -> None:
        if self._now >= self._progress_at:
            self._progress_at = self._now + self._limits.progress_every.total_seconds()
            self._on_progress(self._progress())

    def _progress(self) -> Progress:
        running = len(self._running)
        return Progress(
            done=self._done,
            failed=self._failed,
            running=running,
            waiting=self._open - running,
            rows=self._rows,
            size_bytes=self._size_bytes,
            elapsed=self._now - self._began,
            longest_running=self._now - min((ticket.since for ticket in self._running.values()), default=self._now),
        )


def _adapt(pace: Pace, rate: float, error: BbqError | None) -> None:
    """Go on faster or more slowly, after the answer to a request that was sent at this rate."""
    if error is not None and error.reason == RATE_LIMIT:
        pace.refused(sent_at_rate=rate)
    else:
        pace.granted()


def _error_of(future: Future[Any]) -> BbqError | None:
    """What the call raised; raises it again where it is none of ours."""
    error = future.exception()
    if error is None or isinstance(error, BbqError):
        return error
    raise error
