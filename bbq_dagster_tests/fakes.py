"""A warehouse and a catalog in memory that keep the promises of the ports, with faults and crashes on request.

Time is that of a ``FakeClock``, so that nothing here ever waits. ``FakeWarehouse`` is also the scene: it makes the
tables that it is then asked about.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import RLock
from typing import Any, TypeVar

from bbq_dagster.apply.pace import Runtime
from bbq_dagster.core.catalog import Event, EventKind, fold_record, live_events, version_of
from bbq_dagster.core.catalog_snapshot import CatalogSnapshot
from bbq_dagster.core.drift import Repetition
from bbq_dagster.core.fingerprint import Field, Fingerprint, Question, TableLayout, TimePartitioning
from bbq_dagster.core.inventory import Dataset, SourceTable, State, TableOptions, TableShape, UnitState
from bbq_dagster.core.original import ExportedBackup
from bbq_dagster.core.restore_choice import Past
from bbq_dagster.core.restore_record import gone_of
from bbq_dagster.core.retention import RetentionRecord
from bbq_dagster.core.retention_record import RetentionFold, fold_holds
from bbq_dagster.core.rto import RestoreTime, Way
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.verification import Spent
from bbq_dagster.core.verification_record import How, Outcome
from bbq_dagster.core.versions import Copy, DatasetRecord, Version, Writing
from bbq_dagster.errors import BbqError, Permanent, Refused
from bbq_dagster.warehouse.port import BackupTableFacts, CopyStatus, JobRef
from bbq_dagster_tests.builders import LOCATION, NOW

T = TypeVar("T")

BYTES_PER_ROW = 10


class Crash(BaseException):
    """The end of a process: no ``except Exception`` sees it."""


class FakeClock:
    """Moves only when somebody sleeps."""

    def __init__(self, at: datetime = NOW) -> None:
        self._began, self._seconds = at, 0.0

    def now(self) -> datetime:
        return self._began + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def sleep(self, seconds: float) -> None:
        self._seconds += seconds


class InlineExecutor(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  (as a pool does: it is raised where the result is wanted)
            future.set_exception(error)
        return future


def not_aside(turns: Generator[T, None, None]) -> Generator[T, None, None]:
    return turns


def a_runtime(clock: FakeClock) -> Runtime:
    """No threads and no waiting: the same calls in the same order every time."""
    return Runtime(clock.monotonic, clock.sleep, InlineExecutor, not_aside)


@dataclass(slots=True)
class Fault:
    """An error for the next ``times`` calls of ``name`` about ``about``; ``after`` they have had their effect."""

    name: str
    error: BbqError
    about: str = ""
    times: int = 1
    after: bool = False

    def hits(self, name: str, about: str) -> bool:
        return self.times > 0 and self.name == name and self.about in ("", about)


@dataclass(slots=True)
class Calls:
    """Every call of the fakes, in order. The process ends at call ``crash_at`` (from 0), before or after its effect."""

    log: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    crash_at: int | None = None
    crash_after: bool = False
    _lock: Any = field(default_factory=RLock)

    def fail_next(self, name: str, error: BbqError, *, about: object = "", times: int = 1, after: bool = False) -> None:
        self.faults.append(Fault(name, error, str(about), times, after))

    def names(self) -> list[str]:
        return [name for name, _ in self.log]

    @contextmanager
    def call(self, name: str, about: object = "") -> Iterator[None]:
        """One at a time, whatever the number of threads."""
        with self._lock:
            number = len(self.log)
            self.log.append((name, str(about)))
            if number == self.crash_at and not self.crash_after:
                raise Crash(name)
            fault = next((fault for fault in self.faults if fault.hits(name, str(about))), None)
            if fault is not None:
                fault.times -= 1
                if not fault.after:
                    raise fault.error
            yield
            if number == self.crash_at:
                raise Crash(name)
            if fault is not None:
                raise fault.error


@dataclass(slots=True)
class _Table:
    kind: str
    created_at: datetime
    held: dict[str | None, State] = field(default_factory=dict)
    streamed: dict[str | None, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    partitioned: bool = False
    expires: bool = False
    description: str = ""

    def states(self) -> dict[str | None, State]:
        """As INFORMATION_SCHEMA shows them: with the rows in the streaming buffer, and without empty partitions."""
        shown = {}
        for partition in {**self.held, **self.streamed}:
            state = self.held.get(partition, State(0, 0, self.created_at))
            rows = (state.rows or 0) + self.streamed.get(partition, 0)
            if rows or not self.partitioned:
                shown[partition] = State(rows, rows * BYTES_PER_ROW, state.modified_at)
        return shown

    def state(self) -> State:
        states = self.states().values()
        rows = sum(state.rows or 0 for state in states)
        times = [state.modified_at for state in states if state.modified_at is not None]
        return State(rows, rows * BYTES_PER_ROW, max(times, default=self.created_at))


@dataclass(slots=True)
class _Job:
    copy: Copy
    started_at: datetime
    ends_at: datetime | None
    captured: dict[str | None, State]
    source: _Table | None
    is_done: bool = False
    error: BbqError | None = None

    @property
    def rows(self) -> int:
        return sum(state.rows or 0 for state in self.captured.values())


class FakeWarehouse:
    """BigQuery in memory. ``written`` counts the copies that each destination got; ``most_running`` jobs at once."""

    def __init__(self, clock: FakeClock, calls: Calls | None = None, *, job_seconds: float = 0.0) -> None:
        self.calls = Calls() if calls is None else calls
        self.job_seconds = job_seconds
        self.written: Counter[Unit] = Counter()
        self.most_running = 0
        self.starts: list[tuple[float, Unit]] = []
        self.creations: list[float] = []
        self._clock = clock
        self._datasets: dict[DatasetRef, tuple[Dataset, bool]] = {}
        self._tables: dict[TableRef, _Table] = {}
        self._jobs: dict[JobRef, _Job] = {}
        self._open_jobs: list[_Job] = []
        self._job_errors: dict[Unit, list[BbqError]] = {}
        self._swallowed: Counter[Unit] = Counter()
        self._endless: set[Unit] = set()
        self._looks_too_early = 0
        self._changed: set[Unit] = set()

    # The scene

    def create_dataset(
        self,
        ref: DatasetRef,
        *,
        location: str = LOCATION,
        labels: Mapping[str, str] | None = None,
        expires: bool = False,
    ) -> None:
        self._datasets[ref] = (Dataset(ref, location, dict(labels or {})), expires)

    def create_table(
        self, ref: TableRef, *, rows: int = 0, labels: Mapping[str, str] | None = None, expires: bool = False
    ) -> None:
        now = self._clock.now()
        self._tables[ref] = _Table("BASE TABLE", now, {None: _state(rows, now)}, labels=labels or {}, expires=expires)

    def create_partitioned_table(self, ref: TableRef, partitions: Mapping[str, int], *, expires: bool = False) -> None:
        now = self._clock.now()
        held: dict[str | None, State] = {partition: _state(rows, now) for partition, rows in partitions.items()}
        self._tables[ref] = _Table("BASE TABLE", now, held, partitioned=True, expires=expires)

    def create_view(self, ref: TableRef, *, of: TableRef) -> None:
        self._tables[ref] = _Table("VIEW", self._clock.now())

    def drop_dataset(self, ref: DatasetRef) -> None:
        """With all its tables."""
        del self._datasets[ref]
        self._tables = {table: held for table, held in self._tables.items() if table.in_dataset != ref}

    def delete_table(self, ref: TableRef) -> None:
        """Both the scene's and the port's: one that is not there is deleted already."""
        with self._call("delete_table", ref):
            self._tables.pop(ref, None)

    def delete_partition(self, unit: Unit) -> None:
        with self._call("delete_partition", unit):
            if unit.table in self._tables:
                self._tables[unit.table].held.pop(unit.partition, None)

    def change_values(self, unit: Unit) -> None:
        """Let it have other values in as many rows."""
        self._changed.add(unit)

    def has_dataset(self, ref: DatasetRef) -> bool:
        return ref in self._datasets

    def has_table(self, ref: TableRef) -> bool:
        return ref in self._tables

    def write(self, unit: Unit, *, rows: int) -> None:
        """Let a table or partition have these rows from now on."""
        self._tables[unit.table].held[unit.partition] = _state(rows, self._clock.now())

    def stream(self, unit: Unit, *, rows: int) -> None:
        """Put rows into the streaming buffer: they are seen, and no copy job takes them."""
        self._tables[unit.table].streamed[unit.partition] = rows

    def let_expire(self, table: TableRef) -> None:
        self._tables[table].expires = True

    def held_by(self, table: TableRef) -> dict[str | None, int | None]:
        """Rows of a table by partition, without those that have none."""
        return {partition: state.rows for partition, state in self._tables[table].held.items() if state.rows}

    def status_into(self, destination: Unit) -> CopyStatus:
        """Of the last job into ``destination``."""
        return [self._status(job) for job in self._jobs.values() if job.copy.destination == destination][-1]

    def errors_of_jobs(self) -> list[BbqError]:
        return [job.error for job in self._jobs.values() if job.error is not None]

    def fail_jobs_into(self, destination: Unit, *errors: BbqError) -> None:
        """The next jobs into ``destination`` end with these errors, one each."""
        self._job_errors.setdefault(destination, []).extend(errors)

    def swallow_start_into(self, destination: Unit, *, times: int = 1) -> None:
        """The next starts are answered, and no job is ever seen."""
        self._swallowed[destination] += times

    def never_end_into(self, destination: Unit) -> None:
        self._endless.add(destination)

    def show_copies_late(self, *, looks: int) -> None:
        """The next looks at backup tables find nothing yet."""
        self._looks_too_early = looks

    # The port

    def list_datasets(self, project: str) -> list[Dataset]:
        with self._call("list_datasets", project):
            return [dataset for ref, (dataset, _) in self._datasets.items() if ref.project == project]

    def find_dataset(self, ref: DatasetRef) -> Dataset | None:
        with self._call("find_dataset", ref):
            return self._datasets[ref][0] if ref in self._datasets else None

    def table_states(
        self, project: str, location: str, only: Collection[TableRef] | None = None
    ) -> Mapping[TableRef, State]:
        with self._call("table_states", location):
            return {
                ref: table.state()
                for ref, table in self._chosen(only)
                if ref.project == project and self._location(ref) == location and table.kind == "BASE TABLE"
            }

    def list_tables(
        self, dataset: Dataset, states: Mapping[TableRef, State], only: Collection[TableRef] | None = None
    ) -> list[SourceTable]:
        with self._call("list_tables", dataset.ref):
            if dataset.ref not in self._datasets:
                raise Permanent(f"dataset {dataset.ref} is not there", reason="notFound")
            return [
                SourceTable(
                    ref=ref,
                    kind=table.kind,
                    created_at=table.created_at,
                    columns=2,
                    state=states.get(ref, State()),
                    partition_column="day" if table.partitioned else None,
                    partition_type="DATE" if table.partitioned else None,
                    labels=table.labels,
                )
                for ref, table in self._chosen(only)
                if ref.in_dataset == dataset.ref
            ]

    def _chosen(self, only: Collection[TableRef] | None) -> list[tuple[TableRef, _Table]]:
        if only is None:
            return list(self._tables.items())
        return [(ref, table) for ref in sorted(only) if (table := self._tables.get(ref)) is not None]

    def list_partitions(self, dataset: Dataset, tables: Sequence[TableRef]) -> Iterator[UnitState]:
        with self._call("list_partitions", ", ".join(sorted(map(str, tables)))):
            return iter(
                [
                    UnitState(table.unit(partition), state)
                    for table in tables
                    for partition, state in self._tables[table].states().items()
                ]
            )

    def ensure_dataset(self, ref: DatasetRef, *, location: str, description: str) -> None:
        with self._call("ensure_dataset", ref):
            dataset, expires = self._datasets.setdefault(ref, (Dataset(ref, location), False))
            if dataset.location != location:
                raise Refused(f"{ref} is in {dataset.location}, not in {location}")
            if expires:
                raise Refused(f"{ref} has a default expiration")

    def ensure_restore_dataset(self, ref: DatasetRef, *, location: str) -> None:
        with self._call("ensure_restore_dataset", ref):
            dataset, _ = self._datasets.setdefault(ref, (Dataset(ref, location), False))
            if dataset.location != location:
                raise Refused(f"{ref} is in {dataset.location}, not in {location}")

    def table_shapes(self, dataset: DatasetRef, location: str, tables: Collection[str]) -> Mapping[str, TableShape]:
        with self._call("table_shapes", dataset):
            found = {name: self._tables[dataset.table(name)] for name in tables if dataset.table(name) in self._tables}
            return {name: _shape(table) for name, table in found.items()}

    def create_table_like(
        self, source: TableRef, destination: TableRef, *, description: str, options: TableOptions | None = None
    ) -> None:
        with self._call("create_table_like", destination):
            self.creations.append(self._clock.monotonic())
            like = self._tables.get(source)
            if like is None:
                raise Permanent(f"table {source} is not there", reason="notFound")
            described = description if options is None else options.description or ""
            created = _Table("BASE TABLE", self._clock.now(), partitioned=like.partitioned, description=described)
            if self._tables.setdefault(destination, created).partitioned != like.partitioned:
                raise Refused(f"{destination} is there, and not partitioned like {source}")

    def describe_table(self, table: TableRef, options: TableOptions) -> None:
        with self._call("describe_table", table):
            self._tables[table].description = options.description or ""
            self._tables[table].labels = dict(options.labels)

    def start_copy(self, copy: Copy, job: JobRef) -> CopyStatus | None:
        with self._call("start_copy", copy.destination):
            self.starts.append((self._clock.monotonic(), copy.destination))
            if self._swallowed[copy.destination]:
                self._swallowed[copy.destination] -= 1
            elif job not in self._jobs:
                self._jobs[job] = self._begin(copy)
                self._open_jobs.append(self._jobs[job])
                self.most_running = max(self.most_running, len(self._open_jobs))
            return None

    def copy_statuses(self, jobs: Collection[JobRef]) -> Mapping[JobRef, CopyStatus]:
        with self._call("copy_statuses", len(jobs)):
            return {job: self._status(self._jobs[job]) for job in jobs if job in self._jobs}

    def backup_tables(
        self, dataset: DatasetRef, location: str, tables: Collection[str]
    ) -> Mapping[str, BackupTableFacts]:
        with self._call("backup_tables", dataset):
            if self._looks_too_early:
                self._looks_too_early -= 1
                return {}
            found = {name: self._tables[dataset.table(name)] for name in tables if dataset.table(name) in self._tables}
            return {name: BackupTableFacts(table.states(), table.expires) for name, table in found.items()}

    def exported_backups(self, export: DatasetRef, project: str) -> list[ExportedBackup]:
        raise Refused(f"{export} has no export of the original BBQ")

    def remove_expirations(self, table: TableRef) -> None:
        with self._call("remove_expirations", table):
            self._tables[table].expires = False

    def table_layout(self, table: TableRef) -> TableLayout | None:
        with self._call("table_layout", table):
            found = self._tables.get(table)
            return None if found is None else _layout(found)

    def scan_bytes(self, question: Question) -> int:
        with self._call("scan_bytes", question.table):
            return sum(state.size_bytes or 0 for state in self._asked(question).values())

    def fingerprints(self, question: Question, *, at_most: int) -> tuple[Mapping[str | None, Fingerprint], int]:
        with self._call("fingerprints", question.table):
            asked = self._asked(question)
            return (
                {name: self._fingerprint(question, name, state.rows or 0) for name, state in asked.items()},
                sum(state.size_bytes or 0 for state in asked.values()),
            )

    def ensure_scratch_dataset(self, ref: DatasetRef, *, location: str, kept_for: timedelta) -> None:
        with self._call("ensure_scratch_dataset", ref):
            self._datasets.setdefault(ref, (Dataset(ref, location), True))

    def delete_dataset_if_empty(self, ref: DatasetRef) -> None:
        with self._call("delete_dataset_if_empty", ref):
            if not any(table.in_dataset == ref for table in self._tables):
                self._datasets.pop(ref, None)

    def _asked(self, question: Question) -> dict[str | None, State]:
        table = self._tables.get(question.table)
        if table is None:
            raise Permanent(f"table {question.table} is not there", reason="notFound")
        if question.as_of is not None and (table.state().modified_at or NOW) > question.as_of:
            raise Permanent(f"{question.table} cannot be read as it was: only its present is known here")
        return {name: state for name, state in table.states().items() if name in question.partitions and state.rows}

    def _fingerprint(self, question: Question, partition: str | None, rows: int) -> Fingerprint:
        content = f"{rows}{' changed' if question.table.unit(partition) in self._changed else ''}"
        columns = tuple((field.name, content) for field in question.layout.fields)
        return Fingerprint(rows, question.layout.schema, content, columns)

    # Jobs

    @contextmanager
    def _call(self, name: str, about: object = "") -> Iterator[None]:
        with self.calls.call(name, about):
            self._end_jobs()
            yield

    def _begin(self, copy: Copy) -> _Job:
        now = self._clock.now()
        source = self._tables.get(copy.source.table)
        held = {} if source is None else source.held
        captured = {name: state for name, state in held.items() if copy.whole_table or name == copy.source.partition}
        endless = copy.destination in self._endless
        return _Job(copy, now, None if endless else now + timedelta(seconds=self.job_seconds), captured, source)

    def _end_jobs(self) -> None:
        due = [job for job in self._open_jobs if job.ends_at is not None and job.ends_at <= self._clock.now()]
        for job in due:
            self._open_jobs.remove(job)
            job.is_done, job.error = True, self._error_of(job)
            if job.error is None:
                self._write(job)

    def _error_of(self, job: _Job) -> BbqError | None:
        copy, destination = job.copy, self._tables.get(job.copy.destination.table)
        if self._job_errors.get(copy.destination):
            return self._job_errors[copy.destination].pop(0)
        if job.source is None:
            return Permanent(f"table {copy.source.table} is not there", reason="notFound")
        if destination is None and (not copy.whole_table or copy.destination.table.in_dataset not in self._datasets):
            return Permanent(f"table {copy.destination.table} is not there", reason="notFound")
        there = {} if destination is None else destination.held
        if destination is None and copy.restore_id and copy.writing is not Writing.INTO_NEW:
            return Permanent(f"table {copy.destination.table} is not there", reason="notFound")
        if copy.writing in (Writing.REPLACE, Writing.APPEND):
            return None
        if any(state.rows for name, state in there.items() if copy.whole_table or name == copy.destination.partition):
            return Permanent(f"{copy.destination} has data", reason="duplicate")
        return None

    def _write(self, job: _Job) -> None:
        """What a copy job does: a new table gets the partitioning of its source, and its expiration with it."""
        assert job.source is not None
        partitioned = job.source.partitioned
        created = _Table(
            "BASE TABLE", job.started_at, partitioned=partitioned, expires=partitioned and job.source.expires
        )
        held = self._tables.setdefault(job.copy.destination.table, created).held
        if job.copy.writing is Writing.REPLACE and job.copy.whole_table:
            held.clear()
        if job.copy.writing is Writing.APPEND:
            job.captured = {name: _sum(held.get(name), state) for name, state in job.captured.items()}
        held.update(job.captured)
        self.written[job.copy.destination] += 1

    def _status(self, job: _Job) -> CopyStatus:
        if not job.is_done:
            return CopyStatus(is_done=False, started_at=job.started_at)
        if job.error is not None:
            return CopyStatus(is_done=True, started_at=job.started_at, error=job.error)
        return CopyStatus(True, job.started_at, job.rows, job.rows * BYTES_PER_ROW)

    def _location(self, table: TableRef) -> str:
        return self._datasets[table.in_dataset][0].location


class FakeCatalog:
    """The record in memory."""

    def __init__(self, calls: Calls | None = None) -> None:
        self.calls = Calls() if calls is None else calls
        self._events: dict[str, Event] = {}
        self.is_lost = False
        self._kept: dict[CatalogSnapshot, list[Event]] = {}

    @property
    def events(self) -> list[Event]:
        return list(self._events.values())

    def of_kind(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.event is kind]

    def _live(self) -> list[Event]:
        """Those of the versions that were not deleted."""
        return [event for event in live_events(self.events) if event.event is EventKind.VERSION_CREATED]

    def prepare(self) -> None:
        with self.calls.call("prepare"):
            pass

    def prepare_anew(self) -> None:
        with self.calls.call("prepare_anew"):
            self.is_lost = False

    def is_there(self) -> bool:
        with self.calls.call("is_there"):
            return not self.is_lost

    def take_snapshot(self, at: datetime) -> CatalogSnapshot:
        with self.calls.call("take_snapshot"):
            snapshot = CatalogSnapshot.of_day(DatasetRef("acme-backup", "bbq_catalog_snapshots"), at.date())
            self._kept.setdefault(snapshot, self.events)
            return snapshot

    def snapshots(self) -> list[CatalogSnapshot]:
        with self.calls.call("snapshots"):
            return sorted(self._kept, key=lambda snapshot: snapshot.day, reverse=True)

    def read_back(self, snapshot: CatalogSnapshot) -> None:
        with self.calls.call("read_back", snapshot.table):
            self._events.update({event.event_id: event for event in self._kept[snapshot]})

    def lose(self) -> None:
        """Somebody deletes it."""
        self._events, self.is_lost = {}, True

    def records(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> Mapping[DatasetRef, DatasetRecord]:
        with self.calls.call("records", "all" if datasets is None else len(datasets)):
            by_dataset: dict[DatasetRef, list[Event]] = {dataset: [] for dataset in datasets or ()}
            for event in _of(self.events, datasets, projects):
                by_dataset.setdefault(event.unit.table.in_dataset, []).append(event)
            return {dataset: fold_record(events) for dataset, events in by_dataset.items()}

    def scan_records(
        self, project: str, *, only: Collection[DatasetRef] | None, besides: Collection[DatasetRef]
    ) -> Mapping[DatasetRef, DatasetRecord]:
        with self.calls.call("scan_records", project):
            wanted = self._on_record(project) - set(besides) if only is None else only
            return {ref: self._record(ref).without_settled_units() for ref in wanted if ref in self._on_record(project)}

    def table_records(self, tables: Collection[TableRef]) -> Mapping[DatasetRef, DatasetRecord]:
        with self.calls.call("table_records", len(tables)):
            by_dataset: dict[DatasetRef, list[Event]] = {}
            for event in self.events:
                if event.unit.table in tables:
                    by_dataset.setdefault(event.unit.table.in_dataset, []).append(event)
            return {dataset: fold_record(events) for dataset, events in by_dataset.items()}

    def _on_record(self, project: str) -> set[DatasetRef]:
        return {event.unit.table.in_dataset for event in self.events if event.source_project == project}

    def _record(self, dataset: DatasetRef) -> DatasetRecord:
        return fold_record(event for event in self.events if event.unit.table.in_dataset == dataset)

    def copy_jobs_since(self, since: datetime, *, besides: Collection[str] = ()) -> int:
        with self.calls.call("copy_jobs_since"):
            jobs: dict[str, int] = {}
            for event in self.events:
                if event.copy_id and event.copy_id not in besides and event.recorded_at >= since:
                    tries = re.search(r"_([0-9]+)$", event.job_id or "")
                    jobs[event.copy_id] = max(int(tries[1]) if tries else 1, jobs.get(event.copy_id, 0))
            return sum(jobs.values())

    def append(self, events: Sequence[Event]) -> None:
        with self.calls.call("append", ", ".join(sorted({event.event for event in events}))):
            self._events.update({event.event_id: event for event in events})

    def versions_by_id(self, version_ids: Iterable[str]) -> list[Version]:
        with self.calls.call("versions_by_id"):
            wanted = frozenset(version_ids)
            made = [version_of(e) for e in self._live() if e.version_id in wanted]
            return sorted(made, key=lambda version: version.captured_at, reverse=True)

    def pasts(self, datasets: Collection[DatasetRef]) -> Mapping[DatasetRef, Past]:
        with self.calls.call("pasts"):
            return {dataset: self._past(dataset) for dataset in datasets}

    def _past(self, dataset: DatasetRef) -> Past:
        events = [event for event in self.events if event.unit.table.in_dataset == dataset]
        versions = (version_of(event) for event in self._live() if event.unit.table.in_dataset == dataset)
        absences = (gone_of(e) for e in events if e.event in (EventKind.EMPTIED, EventKind.VANISHED))
        return Past(tuple(versions), tuple(absences))

    def restore_events(self, restore_id: str) -> list[Event]:
        with self.calls.call("restore_events", restore_id):
            found = [event for event in self.events if event.restore_id == restore_id]
            return sorted(found, key=lambda event: event.recorded_at)

    def versions(self, tables: Iterable[TableRef]) -> list[Version]:
        with self.calls.call("versions"):
            wanted = frozenset(tables)
            made = [version_of(event) for event in self._live() if event.unit.table in wanted]
            return sorted(made, key=lambda version: version.captured_at, reverse=True)

    def retention_records(self, datasets: Collection[DatasetRef] | None) -> list[RetentionRecord]:
        with self.calls.call("retention_records"):
            folds = {dataset: RetentionFold(dataset) for dataset in datasets or ()}
            for event in self.events:
                dataset = DatasetRef(event.source_project, event.source_dataset)
                if datasets is None or dataset in folds:
                    folds.setdefault(dataset, RetentionFold(dataset)).take(event)
            return [fold.record() for fold in folds.values()]

    def last_scans(self) -> Mapping[DatasetRef, datetime]:
        with self.calls.call("last_scans"):
            scans = sorted(self.of_kind(EventKind.DATASET_SCANNED), key=lambda event: event.recorded_at)
            return {DatasetRef(event.source_project, event.source_dataset): event.recorded_at for event in scans}

    def drill_times(self) -> Mapping[DatasetRef, timedelta]:
        with self.calls.call("drill_times"):
            drills = [e for e in self.of_kind(EventKind.VERIFIED) if (e.how, e.outcome) == ("drill", "proven")]
            in_order = sorted(drills, key=lambda event: event.recorded_at)
            return {event.unit.table.in_dataset: timedelta(milliseconds=event.duration_ms or 0) for event in in_order}

    def holds(self) -> list[Event]:
        with self.calls.call("holds"):
            return fold_holds(self.events)

    def events_of_versions(self, version_ids: Iterable[str]) -> list[Event]:
        wanted = frozenset(version_ids)
        with self.calls.call("events_of_versions", len(wanted)):
            found = [event for event in self.events if event.version_id in wanted]
            return sorted(found, key=lambda event: (event.recorded_at, event.event))

    def repetitions(self) -> list[Repetition]:
        with self.calls.call("repetitions"):
            told: dict[str, list[Event]] = {}
            for event in self.of_kind(EventKind.VERSION_CREATED):
                told.setdefault(event.version_id or "", []).append(event)
            deleted = {event.version_id for event in self.of_kind(EventKind.VERSION_DELETED)}
            counted = [
                Repetition(of_one[0].unit, identity, len(of_one), len(of_one), len({_facts(event) for event in of_one}))
                for identity, of_one in told.items()
                if identity not in deleted
            ]
            return [repeated for repeated in counted if repeated.facts > 1]

    def failed_places(self) -> frozenset[Unit]:
        with self.calls.call("failed_places"):
            return frozenset(
                TableRef(e.backup_project or "", e.backup_dataset or "", e.backup_table or "").unit(e.partition_id)
                for e in self.of_kind(EventKind.COPY_FAILED)
            )

    def deletions_since(self, since: datetime) -> list[Event]:
        with self.calls.call("deletions_since", since):
            found = [event for event in self.of_kind(EventKind.VERSION_DELETED) if event.recorded_at >= since]
            return sorted(found, key=lambda event: event.recorded_at)

    def live_versions(self, datasets: Collection[DatasetRef] | None) -> list[Version]:
        with self.calls.call("live_versions"):
            made = [version_of(e) for e in self._live() if datasets is None or e.unit.table.in_dataset in datasets]
            return sorted(made, key=lambda version: version.captured_at, reverse=True)

    def verifications(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> list[Event]:
        with self.calls.call("verifications"):
            live = {event.version_id for event in self._live()}
            found = _of(self.of_kind(EventKind.VERIFIED), datasets, projects)
            return [event for event in found if event.version_id in live]

    def restore_times(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> list[RestoreTime]:
        with self.calls.call("restore_times"):
            wanted = _of(self.events, datasets, projects)
            times: dict[tuple[TableRef, Way], RestoreTime] = {}
            for at, table, way, took in sorted([*_drills(wanted), *_restores(wanted)]):
                longest = max(took, times[table, way].longest) if (table, way) in times else took
                times[table, way] = RestoreTime(table, way, at, took, longest)
            return [times[key] for key in sorted(times)]

    def verified_since(self, since: datetime) -> Spent:
        with self.calls.call("verified_since"):
            found = [event for event in self.of_kind(EventKind.VERIFIED) if event.recorded_at >= since]
            looked = [event.how for event in found if event.outcome != Outcome.COULD_NOT]
            drills = looked.count(How.DRILL)
            return Spent(len(looked) - drills, sum(event.bytes_scanned or 0 for event in found), drills)

    def history(
        self, datasets: Collection[DatasetRef] | None, *, limit: int, kinds: Collection[EventKind] | None = None
    ) -> list[Event]:
        with self.calls.call("history"):
            found = [
                event
                for event in self.events
                if (datasets is None or event.unit.table.in_dataset in datasets)
                and (kinds is None or event.event in kinds)
            ]
            return sorted(found, key=lambda event: event.recorded_at, reverse=True)[:limit]


_Taken = tuple[datetime, TableRef, Way, timedelta]


def _of(
    events: Iterable[Event], datasets: Collection[DatasetRef] | None, projects: Collection[str] | None
) -> list[Event]:
    if datasets is not None:
        return [event for event in events if event.unit.table.in_dataset in datasets]
    return [event for event in events if projects is None or event.source_project in projects]


def _drills(events: Iterable[Event]) -> Iterator[_Taken]:
    for event in events:
        if (event.how, event.outcome) == ("drill", "proven"):
            yield event.recorded_at, event.unit.table, Way.DRILL, timedelta(milliseconds=event.duration_ms or 0)


def _restores(events: Iterable[Event]) -> Iterator[_Taken]:
    """Of each restore and table, once all that was planned is restored; those of drills are no restores."""
    of_restores: dict[tuple[str, TableRef], list[Event]] = {}
    for event in events:
        if event.event in (EventKind.RESTORE_PLANNED, EventKind.RESTORED) and ".bbq_drill__" not in str(event.target):
            of_restores.setdefault((event.restore_id or "", event.unit.table), []).append(event)
    for (_, table), story in of_restores.items():
        done = [event for event in story if event.event is EventKind.RESTORED]
        if {event.target for event in done} == {event.target for event in story}:
            ended = max(event.recorded_at for event in done)
            yield ended, table, Way.RESTORE, ended - min(event.recorded_at for event in story)


def _facts(event: Event) -> tuple[object, ...]:
    return event.captured_at, event.row_count, event.size_bytes, event.backup_table, event.unit


def _state(rows: int, at: datetime) -> State:
    return State(rows, rows * BYTES_PER_ROW, at)


def _sum(there: State | None, added: State) -> State:
    return _state(((there.rows if there else 0) or 0) + (added.rows or 0), added.modified_at or NOW)


def _layout(table: _Table) -> TableLayout:
    fields = (Field("day", "DATE"), Field("n", "INTEGER"))
    partitioning = TimePartitioning("DAY", "day", "DATE") if table.partitioned else None
    return TableLayout(fields, partitioning, table.created_at, table.state().modified_at)


def _shape(table: _Table) -> TableShape:
    columns = (("day", "DATE"), ("n", "INT64"))
    return TableShape(table.kind, columns, *(("day", "DATE") if table.partitioned else ()))
