"""All state of the server: datasets, tables and their data, routines, jobs; in memory, written through to a journal.

Values are immutable, so readers take no lock. Writers take the one lock by ``with store.transaction():`` (every public
verb that writes takes it itself); what is changed until the outermost one is left survives together or not at all, and
is durable after ``save``. Time is the store's clock: call ``tick`` before serving a request, and what is due by then
has expired or left the streaming buffer.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from bbq_dagster.local import definition
from bbq_dagster.local.access import Access
from bbq_dagster.local.buckets import Buckets
from bbq_dagster.local.clock import Clock
from bbq_dagster.local.errors import duplicate, invalid, not_found, resource_in_use
from bbq_dagster.local.journal import Journal, NoJournal, SqliteJournal, Write, successor
from bbq_dagster.local.limits import Charge, Limits, charges_of_update, charges_of_write
from bbq_dagster.local.model import (
    WHOLE,
    Dataset,
    Fields,
    Job,
    Part,
    Streamed,
    Table,
    TableRef,
    TableVersion,
    conform,
    empty_rows,
    make_part,
    reserve_segment_ids,
)
from bbq_dagster.local.partitioning import (
    NULL_PARTITION,
    UNPARTITIONED,
    Partitioning,
    check_partition_id,
    expires_at_ms,
    expiring_before,
    moment,
    parse_partitioning,
    partition_rows,
    partition_start_ms,
)
from bbq_dagster.local.schema import is_required

HOUR_MS = 3_600_000
_UNDELETED_STAYS_MS = 168 * HOUR_MS
RoutineKey = tuple[str, str, str]


class StaleBasis(Exception):
    """The table changed since it was read: read it again and redo the write."""


@dataclass(slots=True)
class Settings:
    """What the server does after a delay. ``streaming_flush_ms`` is of the store's clock, job delays are of real
    time."""

    streaming_flush_ms: int = 300_000
    job_pending_seconds: float = 0.0
    job_running_seconds: float = 0.0


class _Joining(threading.local):
    """What the thread's next transaction shall be held open by, if anything."""

    until: ExitStack | None = None


class Store:
    """The state of a server. ``folder`` None keeps it in memory only."""

    def __init__(self, folder: Path | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.settings = Settings()
        self.limits = Limits()
        self.access = Access()
        self.buckets = Buckets(folder / "buckets" if folder is not None else None)
        self.lock = threading.RLock()
        self._depth = 0
        self._held_depth = 0
        self._joining = _Joining()
        self._counted: set[TableRef] = set()
        self._datasets: dict[tuple[str, str], Dataset] = {}
        self._deleted_datasets: dict[tuple[str, str], Dataset] = {}
        self._tables: dict[tuple[str, str], dict[str, Table]] = {}
        self._names: dict[tuple[str, str], list[str]] = {}
        self._tombstones: dict[TableRef, tuple[Table, ...]] = {}
        self._routines: dict[RoutineKey, Mapping[str, Any]] = {}
        self._jobs: dict[tuple[str, str, str], Job] = {}
        self._due: list[tuple[int, int, TableRef]] = []
        self._journal: Journal = NoJournal()
        if folder is not None:
            self._load(SqliteJournal(folder))
        self._table_ids = itertools.count(1 + max((t.id for t in self._all_tables()), default=0))

    # -- time and transactions

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def is_due(self) -> bool:
        """Whether ``tick`` has anything to do."""
        due = self._due
        return bool(due) and due[0][0] <= self.now_ms()

    def tick(self) -> None:
        """Carry out what is due: table and partition expirations, and the flush of streaming buffers."""
        if self.is_due():
            with self.transaction():
                now = self.now_ms()
                while self._due and self._due[0][0] <= now:
                    _, table_id, ref = heapq.heappop(self._due)
                    self._settle(table_id, ref, now)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """The write lock. Nests; leaving the outermost one ends a transaction of the journal."""
        if self._joining.until is not None:
            held, self._joining.until = self._joining.until, None
            held.enter_context(self._held())
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == self._held_depth:
                    self._counted.clear()
                if self._depth == 0:
                    self._journal.commit()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """All transactions of this thread in here survive together or not at all.

        The lock is held from the first of them on: what is only read before that holds up nobody.
        """
        with ExitStack() as held:
            self._joining.until = held
            try:
                yield
            finally:
                self._joining.until = None

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self.transaction():
            self._held_depth = 1
            try:
                yield
            finally:
                self._held_depth = 0

    @property
    def is_saved(self) -> bool:
        """Whether every transaction that has ended is durable."""
        return self._journal.is_saved

    @property
    def is_saving(self) -> bool:
        return self._journal.is_saving

    def save(self) -> None:
        """Make every transaction that has ended durable. Needs no lock; from any thread."""
        self._journal.save()

    def keep_clock(self) -> None:
        """Note how the clock is set, for a restart to go on from there."""
        with self.transaction():
            self._journal.clock(self.clock.as_json())

    def reschedule(self) -> None:
        """Work out anew what is due when, after ``settings`` were changed."""
        with self.transaction():
            self._due = []
            for tables in self._tables.values():
                for table in tables.values():
                    self._schedule(table)

    def close(self) -> None:
        with self.lock:
            self._journal.close()
            self._journal = NoJournal()

    # -- limits (nothing happens where none is set)

    def count_update(self, ref: TableRef, partitioning: Partitioning) -> None:
        """One operation on a table. Within a transaction all that is done to a table is one."""
        if self.limits and ref not in self._counted:
            self.limits.spend(charges_of_update(ref, partitioning), self.now_ms())
            self._counted.add(ref)

    def count_write(
        self, ref: TableRef, partitioning: Partitioning, partitions: int, more: Sequence[Charge] = ()
    ) -> None:
        """What a job is about to write; it is refused as a whole, before anything is changed."""
        if self.limits:
            update = [] if ref in self._counted else charges_of_update(ref, partitioning)
            self.limits.spend([*update, *charges_of_write(ref, partitioning, partitions), *more], self.now_ms())
            self._counted.add(ref)

    def _check_partitions(
        self, partitioning: Partitioning, held: Mapping[str, Part], changed: Mapping[str, Part | None]
    ) -> None:
        """Refuse a write that would leave the table with too many."""
        if partitioning.is_partitioned and self.limits.restricts("partitions_per_table"):
            left = [part for part in {**held, **changed}.values() if part is not None and part.rows]
            self.limits.check("partitions_per_table", len(left))

    def _count_dataset_update(self, project: str, dataset: str) -> None:
        self.limits.spend([Charge("dataset_updates_per_10_seconds", (project, dataset))], self.now_ms())

    # -- datasets

    def projects(self) -> list[str]:
        return sorted({project for project, _ in list(self._datasets)})

    def datasets(self, project: str) -> list[Dataset]:
        return sorted((d for d in list(self._datasets.values()) if d.project == project), key=lambda d: d.dataset)

    def find_dataset(self, project: str, dataset: str) -> Dataset | None:
        return self._datasets.get((project, dataset))

    def get_dataset(self, project: str, dataset: str) -> Dataset:
        found = self._datasets.get((project, dataset))
        if found is None:
            raise not_found("Dataset", f"{project}:{dataset}")
        return found

    def create_dataset(self, project: str, dataset: str, resource: Mapping[str, Any]) -> Dataset:
        """``resource`` as in datasets.insert; the location defaults to US."""
        with self.transaction():
            if (project, dataset) in self._datasets:
                raise duplicate("Dataset", f"{project}:{dataset}")
            now = self.now_ms()
            created = Dataset(project, dataset, definition.new_dataset(dataset, resource), now, now)
            self._count_dataset_update(project, dataset)
            self._forget_deleted(project, dataset)
            self._tables[project, dataset] = {}
            return self._put_dataset(created)

    def patch_dataset(self, project: str, dataset: str, patch: Mapping[str, Any], *, put: bool = False) -> Dataset:
        """PATCH, or PUT with ``put``. The location never changes."""
        with self.transaction():
            old = self.get_dataset(project, dataset)
            allowed = definition.DATASET_PROPERTIES - {"location"}
            merged = (
                definition.replaced(old.resource, patch, allowed, ("location",))
                if put
                else definition.patched(old.resource, patch, allowed)
            )
            resource = definition.checked_dataset(merged)
            self._count_dataset_update(project, dataset)
            return self._put_dataset(
                replace(old, resource=resource, modified_ms=self.now_ms(), revision=old.revision + 1)
            )

    def delete_dataset(self, project: str, dataset: str, *, delete_contents: bool = False) -> None:
        with self.transaction():
            found, now = self.get_dataset(project, dataset), self.now_ms()
            tables = self.tables(project, dataset)
            if tables and not delete_contents:
                raise resource_in_use(f"{project}:{dataset}")
            if found.undeleted_ms is not None and now < found.undeleted_ms + _UNDELETED_STAYS_MS:
                raise invalid(f"Dataset {found} was undeleted less than 7 days ago and cannot be deleted")
            for table in tables:
                self._bury(table, with_dataset=True)
            for key in [k for k in self._routines if k[:2] == (project, dataset)]:
                self.put_routine(key, None)
            del self._datasets[project, dataset], self._tables[project, dataset]
            self._names.pop((project, dataset), None)
            self._journal.forget_dataset(found)
            self._deleted_datasets[project, dataset] = replace(found, deleted_ms=now, undeleted_ms=None)
            self._journal.dataset(self._deleted_datasets[project, dataset])

    def undelete_dataset(self, project: str, dataset: str, deleted_ms: int | None = None) -> Dataset:
        """Bring back a dataset with its tables and views, within its time travel window (restore-deleted-datasets).

        It cannot be once another of that name was created, and cannot be deleted again for 7 days. ``deleted_ms``, if
        given, must be when it was deleted. Routines do not come back.
        """
        with self.transaction():
            if (project, dataset) in self._datasets:
                raise duplicate("Dataset", f"{project}:{dataset}")
            now, deleted = self.now_ms(), self._deleted_datasets.get((project, dataset))
            if deleted is None or deleted.deleted_ms is None or deleted_ms not in (None, deleted.deleted_ms):
                raise not_found("Dataset", f"{project}:{dataset}")
            if deleted.deleted_ms < now - deleted.time_travel_hours * HOUR_MS:
                raise not_found("Dataset", f"{project}:{dataset}")
            self._forget_deleted(project, dataset)
            self._tables[project, dataset] = {}
            restored = self._put_dataset(replace(deleted, deleted_ms=None, undeleted_ms=now))
            for ref in [r for r in self._tombstones if (r.project, r.dataset) == (project, dataset)]:
                self._unbury(ref, deleted.deleted_ms)
            return restored

    def _forget_deleted(self, project: str, dataset: str) -> None:
        deleted = self._deleted_datasets.pop((project, dataset), None)
        if deleted is not None:
            self._journal.forget_dataset(deleted)

    # -- tables

    def table_names(self, project: str, dataset: str) -> list[str]:
        """Sorted. Do not change the list."""
        self.get_dataset(project, dataset)
        key = (project, dataset)
        names = self._names.get(key)
        if names is None:
            names = self._names[key] = sorted(self._tables[key])
        return names

    def tables(self, project: str, dataset: str) -> list[Table]:
        """Live tables and views, by name."""
        by_name = self._tables.get((project, dataset), {})
        return [t for n in self.table_names(project, dataset) if (t := by_name.get(n)) is not None]

    def find_table(self, ref: TableRef) -> Table | None:
        return self._tables.get((ref.project, ref.dataset), {}).get(ref.table)

    def get_table(self, ref: TableRef) -> Table:
        found = self.find_table(ref)
        if found is None:
            self.get_dataset(ref.project, ref.dataset)
            raise not_found("Table", ref)
        return found

    def live_tables(self) -> Iterator[Table]:
        """Of all projects, in no order that means anything."""
        for by_name in list(self._tables.values()):
            yield from list(by_name.values())

    def tombstones(self, project: str, dataset: str | None = None) -> list[Table]:
        """Deleted tables that time travel can still reach; with ``deleted_ms``."""
        found = [t for tables in list(self._tombstones.values()) for t in tables]
        return [t for t in found if t.holds_rows and t.ref.project == project and dataset in (None, t.ref.dataset)]

    def table_at(self, ref: TableRef, at_ms: int) -> tuple[Table, TableVersion]:
        """The table of that name and its data at an instant, also when it was deleted since.

        A negative instant counts back from now; 0 is the oldest there is. Outside the time travel window, or before
        the table existed, it is refused with the earliest instant that works (restore-deleted-tables).
        """
        now = self.now_ms()
        buried = [t for t in self._tombstones.get(ref, ()) if t.holds_rows]
        candidates = [*buried, *filter(None, [self.find_table(ref)])]
        if not candidates:
            self.get_table(ref)
        earliest = max(now - self._window_ms(ref), min(t.created_ms for t in candidates))
        wanted = earliest if at_ms == 0 else now + at_ms if at_ms < 0 else at_ms
        for table in reversed(candidates):
            alive = table.created_ms <= wanted and (table.deleted_ms is None or wanted < table.deleted_ms)
            version = table.version_at(wanted) if alive and earliest <= wanted <= now else None
            if version is not None:
                return table, version
        raise invalid(
            f"Invalid time travel timestamp {wanted} for table {ref}@{wanted}. Cannot read before {earliest}",
            "sourceTable",
        )

    def create_table(
        self,
        ref: TableRef,
        resource: Mapping[str, Any],
        parts: Mapping[str, Part] | None = None,
        *,
        created_ms: int | None = None,
    ) -> Table:
        """``resource`` as in tables.insert; ``parts`` by partition id for what it shall hold from the start.

        The dataset's default expirations apply where the resource has none of its own; a partition expiration of null
        is one of its own, and means none. A resource may name its ``type`` (VIEW, SNAPSHOT, CLONE, ...); else it
        follows from what it has. For CREATE OR REPLACE delete first, in one transaction. No part is older than the
        table; a renamed one keeps the time of its creation, ``created_ms`` (managing-tables).
        """
        with self.transaction():
            dataset = self.get_dataset(ref.project, ref.dataset)
            if self.find_table(ref) is not None:
                raise duplicate("Table", ref)
            now = self.now_ms()
            created = now if created_ms is None else created_ms
            kept = _with_default_expirations(dataset, resource, definition.new_table(ref, resource), created)
            fields = (kept.get("schema") or {}).get("fields") or []
            partitioning = parse_partitioning(kept)
            self.count_update(ref, partitioning)
            version = TableVersion(now, fields, {})
            table = Table(next(self._table_ids), ref, kept, partitioning, version, created, now, now)
            first = _first_parts(table, parts or {}, now)
            self._check_partitions(partitioning, {}, first)
            table = replace(table, version=TableVersion(now, fields, first))
            self._journal.write(table, Write(now, fields, first))
            self._names.pop((ref.project, ref.dataset), None)
            return self._put(table)

    def multiply_table(self, ref: TableRef, count: int, first: int = 0) -> None:
        """Make ``t_0``, ``t_1``, ... with the definition and data of ``t``, for tests of size. They count as no use."""
        with self.transaction():
            pattern, now = self.get_table(ref), self.now_ms()
            parts = {p: part.at(now) for p, part in pattern.parts.items()}
            write, version = Write(now, pattern.fields, parts), TableVersion(now, pattern.fields, parts)
            made = replace(pattern, version=version, created_ms=now, modified_ms=now, defined_ms=now, revision=1)
            for number in range(first, first + count):
                name = TableRef(ref.project, ref.dataset, f"{ref.table}_{number}")
                if self.find_table(name) is not None:
                    raise duplicate("Table", name)
                table = replace(made, id=next(self._table_ids), ref=name, past=(), streamed=())
                self._journal.write(table, write)
                self._put(table)
            self._names.pop((ref.project, ref.dataset), None)

    def patch_table(self, ref: TableRef, patch: Mapping[str, Any], *, put: bool = False) -> Table:
        """PATCH, or PUT with ``put``. Moves the table's modification time, and no partition's."""
        with self.transaction():
            old = self.get_table(ref)
            change = definition.replace_table_resource if put else definition.patch_table_resource
            resource = change(ref, old.resource, patch)
            fields = (resource.get("schema") or {}).get("fields") or []
            if old.holds_rows and old.fields:
                definition.check_schema_change(ref, old.fields, fields)
            self.count_update(ref, old.partitioning)
            return self._change_resource(old, resource, fields, old.parts)

    def rewrite_table(self, ref: TableRef, fields: Fields, change: Callable[[pa.Table], pa.Table]) -> Table:
        """Another schema, with every stored row passed through ``change``: ALTER TABLE DROP, RENAME or SET DATA TYPE.

        Partitions keep their modification times. What the streaming buffer holds is flushed first.
        """
        with self.transaction():
            self.count_update(ref, self.get_table(ref).partitioning)
            self._flush(self.get_table(ref), everything=True)
            old = self.get_table(ref)
            parts = {
                p: make_part(conform(change(old.version.read([p])), fields), fields, part.modified_ms)
                for p, part in old.parts.items()
            }
            resource = definition.checked_table(ref, {**old.resource, "schema": {"fields": list(fields)}})
            return self._change_resource(old, resource, resource["schema"]["fields"], parts)

    def delete_table(self, ref: TableRef) -> None:
        """It stays as a tombstone for as long as the time travel window of its dataset."""
        with self.transaction():
            table = self.get_table(ref)
            self.count_update(ref, table.partitioning)
            self._bury(table)

    def delete_partition(self, ref: TableRef, partition: str) -> None:
        """``__NULL__`` and ``__UNPARTITIONED__`` cannot be deleted (managing-partitioned-tables)."""
        with self.transaction():
            table = self.get_table(ref)
            if partition in (NULL_PARTITION, UNPARTITIONED):
                raise invalid(f"Cannot delete the special partition {ref}${partition}")
            _require_partition_id(table, partition)
            self.count_write(ref, table.partitioning, 1)
            self.write_parts(ref, {partition: None})

    # -- data

    def write_parts(
        self,
        ref: TableRef,
        changed: Mapping[str, Part | None],
        *,
        basis: TableVersion | None = None,
        fields: Fields | None = None,
    ) -> Table:
        """Put these partitions in place of what they held (None removes one); all others stay, with their times.

        Args:
            changed: By partition id, ``WHOLE`` for an unpartitioned table; name only what really changes. A part's
                ``modified_ms`` becomes the partition's time. Empty parts of partitioned tables are removed.
            basis: The version that was read to work this out; raises ``StaleBasis`` if the table has moved on since.
            fields: The schema from now on, where the write brings another one.
        """
        with self.transaction():
            table = self.get_table(ref)
            if basis is not None and table.version is not basis:
                raise StaleBasis(str(ref))
            self._check_partitions(table.partitioning, table.parts, changed)
            return self._write(table, changed, fields=fields, modified_ms=self.now_ms())

    def append_rows(
        self, ref: TableRef, rows: pa.Table, partition: str | None = None, disposition: str = "WRITE_APPEND"
    ) -> int:
        """Write rows as a load or query job does, and return how many.

        WRITE_TRUNCATE replaces the table, or only ``partition``; WRITE_EMPTY is refused with ``duplicate`` where
        there are rows already. With a ``partition`` every row must belong to it.
        """
        with self.transaction():
            table = self.get_table(ref)
            now = self.now_ms()
            split = _split_rows(table, rows, partition, now)
            parts = {p: make_part(part_rows, table.fields, now) for p, part_rows in split.items()}
            self.put_parts(ref, parts, partition, disposition)
            return int(rows.num_rows)

    def put_parts(
        self,
        ref: TableRef,
        parts: Mapping[str, Part],
        partition: str | None,
        disposition: str,
        fields: Fields | None = None,
    ) -> Table:
        """Add or replace parts by a job's write disposition; see ``append_rows``."""
        with self.transaction():
            table = self.get_table(ref)
            scope = list(table.parts) if partition is None else [partition]
            held = {p: table.parts[p] for p in scope if p in table.parts}
            if disposition == "WRITE_EMPTY" and any(part.rows for part in held.values()):
                raise duplicate("Table", ref if partition is None else f"{ref}${partition}")
            if disposition == "WRITE_APPEND":
                changed: dict[str, Part | None] = {
                    p: table.parts[p].merged_with(part) if p in table.parts else part for p, part in parts.items()
                }
            else:
                changed = dict.fromkeys(held) | dict(parts)
            return self.write_parts(ref, changed, fields=fields)

    def take_constraints(self, ref: TableRef, source: Mapping[str, Any]) -> Table:
        """Use the primary and foreign keys of a source's resource, as a copy with WRITE_TRUNCATE does (REST Job)."""
        with self.transaction():
            table = self.get_table(ref)
            resource = {k: v for k, v in table.resource.items() if k != "tableConstraints"}
            if "tableConstraints" in source:
                resource["tableConstraints"] = source["tableConstraints"]
            return table if resource == table.resource else self._put(replace(table, resource=resource))

    def stream(self, ref: TableRef, rows: pa.Table, partition: str | None = None) -> None:
        """Put rows into the streaming buffer: queries see them at once, copy jobs and row counts after the flush."""
        with self.transaction():
            table, now = self.get_table(ref), self.now_ms()
            split = _split_rows(table, rows, partition, now)
            parts = {p: make_part(part_rows, table.fields, now) for p, part_rows in split.items()}
            streamed = (*table.streamed, Streamed(now, parts))
            self._put(replace(table, streamed=streamed, modified_ms=now, revision=table.revision + 1))

    def read(
        self,
        ref: TableRef,
        include_streaming: bool = True,
        with_pseudo_columns: bool = False,
        at_ms: int | None = None,
        partitions: Sequence[str] | None = None,
    ) -> pa.Table:
        """The rows of a table, under its schema.

        ``with_pseudo_columns`` adds ``_PARTITIONTIME`` and ``_PARTITIONDATE`` to those of an ingestion-time table;
        they are NULL for rows in the streaming buffer. ``at_ms`` travels in time, without the streaming buffer.
        """
        if at_ms is None:
            table = self.get_table(ref)
            return read_table(table, table.version, include_streaming, with_pseudo_columns, partitions)
        table, version = self.table_at(ref, at_ms)
        return read_table(table, version, False, with_pseudo_columns, partitions)

    # -- routines (as resources; ``sql`` gives them meaning)

    def routines(self, project: str, dataset: str) -> list[Mapping[str, Any]]:
        return [r for key, r in sorted(self._routines.items()) if key[:2] == (project, dataset)]

    def find_routine(self, key: RoutineKey) -> Mapping[str, Any] | None:
        return self._routines.get(key)

    def put_routine(self, key: RoutineKey, resource: Mapping[str, Any] | None) -> None:
        """Create or replace a routine by (project, dataset, routine); None deletes it."""
        with self.transaction():
            if resource is None:
                self._routines.pop(key, None)
            else:
                self.get_dataset(*key[:2])
                self._routines[key] = resource
            self._journal.routine(key, resource)

    # -- jobs

    def jobs(self, project: str) -> list[Job]:
        """Newest first."""
        return [j for j in reversed(list(self._jobs.values())) if j.project == project]

    def all_jobs(self) -> list[Job]:
        return list(self._jobs.values())

    def find_job(self, project: str, location: str, job_id: str) -> Job | None:
        return self._jobs.get((project, location, job_id))

    def put_job(self, job: Job) -> Job:
        with self.transaction():
            self._jobs[job.project, job.location, job.id] = job
            self._journal.job(job)
            return job

    def forget_job(self, job: Job) -> None:
        with self.transaction():
            self._jobs.pop((job.project, job.location, job.id), None)
            self._journal.forget_job(job)

    # -- within a transaction

    def _put_dataset(self, dataset: Dataset) -> Dataset:
        self._datasets[dataset.project, dataset.dataset] = dataset
        self._journal.dataset(dataset)
        return dataset

    def _put(self, table: Table) -> Table:
        self._tables[table.ref.project, table.ref.dataset][table.ref.table] = table
        self._journal.table(table)
        self._schedule(table)
        return table

    def _write(
        self,
        table: Table,
        changed: Mapping[str, Part | None],
        *,
        fields: Fields | None = None,
        modified_ms: int,
        streamed: tuple[Streamed, ...] | None = None,
        resource: Mapping[str, Any] | None = None,
    ) -> Table:
        now = self.now_ms()
        write = Write(now, table.fields if fields is None else fields, _without_empty(table.partitioning, changed))
        version, past = successor(table.version, write)
        resource = resource if resource is not None else table.resource
        if fields is not None:
            resource = {**resource, "schema": {"fields": list(fields)}}
        self._journal.write(table, write)
        return self._put(
            replace(
                table,
                version=version,
                past=_recent((*table.past, past), version, now - self._window_ms(table.ref)),
                modified_ms=modified_ms,
                revision=table.revision + 1,
                streamed=table.streamed if streamed is None else streamed,
                resource=resource,
                partitioning=table.partitioning if resource is table.resource else parse_partitioning(resource),
                defined_ms=table.defined_ms if resource is table.resource else now,
            )
        )

    def _change_resource(
        self, old: Table, resource: Mapping[str, Any], fields: Fields, parts: Mapping[str, Part]
    ) -> Table:
        now = self.now_ms()
        if fields != old.fields or parts is not old.parts:
            return self._write(
                old, {} if parts is old.parts else parts, fields=fields, modified_ms=now, resource=resource
            )
        changed = replace(old, resource=resource, partitioning=parse_partitioning(resource))
        return self._put(replace(changed, modified_ms=now, defined_ms=now, revision=old.revision + 1))

    def _bury(self, table: Table, *, with_dataset: bool = False) -> None:
        """Time travel reaches what holds rows; with its dataset, everything can come back."""
        ref, now = table.ref, self.now_ms()
        tombstone = replace(table, streamed=(), deleted_ms=now)
        horizon = now - self._window_ms(ref)
        older = self._tombstones.get(ref, ())
        for forgotten in (t for t in older if (t.deleted_ms or 0) < horizon):
            self._journal.forget_table(forgotten)
        kept = tuple(t for t in older if (t.deleted_ms or 0) >= horizon)
        if table.holds_rows or with_dataset:
            self._tombstones[ref] = (*kept, tombstone)
            self._journal.table(tombstone)
        else:
            self._journal.forget_table(table)
        del self._tables[ref.project, ref.dataset][ref.table]
        self._names.pop((ref.project, ref.dataset), None)

    def _unbury(self, ref: TableRef, deleted_ms: int) -> None:
        """Bring back what was deleted at this instant, if it was there until then."""
        last = self._tombstones[ref][-1]
        if last.deleted_ms == deleted_ms:
            self._tombstones[ref] = self._tombstones[ref][:-1]
            self._put(replace(last, deleted_ms=None))

    def _settle(self, table_id: int, ref: TableRef, now: int) -> None:
        table = self.find_table(ref)
        if table is None or table.id != table_id:
            return
        if table.expires_ms is not None and table.expires_ms <= now:
            self._bury(table)
            return
        table = self._flush(table)
        expired = expiring_before(table.partitioning, list(table.parts), now)
        if expired:
            table = self._write(table, dict.fromkeys(expired), modified_ms=table.modified_ms)
        else:
            self._schedule(table)

    def _flush(self, table: Table, *, everything: bool = False) -> Table:
        """Rows leave the buffer; their partitions are as modified as when they were streamed (write-api-rest)."""
        before = self.now_ms() - self.settings.streaming_flush_ms
        ripe = [s for s in table.streamed if everything or s.at_ms <= before]
        if not ripe:
            return table
        changed: dict[str, Part] = {}
        for streamed in ripe:
            for p, part in streamed.parts.items():
                held = changed.get(p) or table.parts.get(p)
                merged = held.merged_with(part) if held else part
                changed[p] = merged.at(max(streamed.at_ms, held.modified_ms if held else 0))
        left = tuple(s for s in table.streamed if s not in ripe)
        return self._write(table, changed, modified_ms=table.modified_ms, streamed=left)

    def _schedule(self, table: Table) -> None:
        due = self._next_due(table)
        if due is not None:
            heapq.heappush(self._due, (due, table.id, table.ref))

    def _next_due(self, table: Table) -> int | None:
        dues = [table.expires_ms]
        if table.partitioning.expiration_ms is not None:
            dues += [expires_at_ms(table.partitioning, p) for p in table.parts]
        if table.streamed:
            dues.append(table.streamed[0].at_ms + self.settings.streaming_flush_ms)
        return min((due for due in dues if due is not None), default=None)

    def _window_ms(self, ref: TableRef) -> int:
        dataset = self._datasets.get((ref.project, ref.dataset))
        return (168 if dataset is None else dataset.time_travel_hours) * HOUR_MS

    def _all_tables(self) -> Iterator[Table]:
        for tables in self._tables.values():
            yield from tables.values()
        for buried in self._tombstones.values():
            yield from buried

    def _load(self, journal: SqliteJournal) -> None:
        if self.clock.is_real:
            self.clock.restore(journal.kept_clock())
        journal.clock(self.clock.as_json())
        for dataset in journal.datasets():
            if dataset.deleted_ms is not None:
                self._deleted_datasets[dataset.project, dataset.dataset] = dataset
                if dataset.deleted_ms < self.now_ms() - dataset.time_travel_hours * HOUR_MS:
                    journal.forget_dataset(dataset)
                continue
            self._datasets[dataset.project, dataset.dataset] = dataset
            self._tables[dataset.project, dataset.dataset] = {}
        self._routines = dict(journal.routines())
        self._jobs = {(j.project, j.location, j.id): j for j in journal.jobs()}
        now = self.now_ms()
        for table in list(journal.tables(lambda t: now - self._window_ms(t.ref))):
            if table.deleted_ms is None:
                self._tables[table.ref.project, table.ref.dataset][table.ref.table] = table
                self._schedule(table)
            else:
                self._tombstones[table.ref] = (*self._tombstones.get(table.ref, ()), table)
        reserve_segment_ids(journal.highest_segment_id)
        journal.drop_unused_segments(self._all_tables())
        self._journal = journal


def read_table(
    table: Table,
    version: TableVersion,
    include_streaming: bool = True,
    with_pseudo_columns: bool = False,
    partitions: Sequence[str] | None = None,
) -> pa.Table:
    """The rows of one version of a table; see ``Store.read``."""
    pseudo = with_pseudo_columns and table.partitioning.is_ingestion
    wanted = sorted(version.parts) if partitions is None else [p for p in partitions if p in version.parts]
    if pseudo:
        pieces = [_with_pseudo_columns(version.read([p]), p) for p in wanted]
        pieces.append(_with_pseudo_columns(empty_rows(version.fields), UNPARTITIONED))
    else:
        pieces = [version.read(wanted)]
    if include_streaming and (partitions is None or UNPARTITIONED in partitions):
        buffered = TableVersion(0, version.fields, {}).read()
        for part in (part for s in table.streamed for part in s.parts.values()):
            buffered = pa.concat_tables([buffered, *(conform(s.rows, version.fields) for s in part.segments)])
        pieces.append(_with_pseudo_columns(buffered, UNPARTITIONED) if pseudo else buffered)
    return pa.concat_tables(pieces)


def _with_pseudo_columns(rows: pa.Table, partition: str) -> pa.Table:
    start = partition_start_ms(partition)
    at = None if start is None else moment(start)
    times = pa.repeat(pa.scalar(at, pa.timestamp("us", tz="UTC")), rows.num_rows)
    dates = pa.repeat(pa.scalar(at and at.date(), pa.date32()), rows.num_rows)
    return rows.append_column("_PARTITIONTIME", times).append_column("_PARTITIONDATE", dates)


def _with_default_expirations(
    dataset: Dataset, asked: Mapping[str, Any], resource: dict[str, Any], created: int
) -> dict[str, Any]:
    """A new time-partitioned table takes the default partition expiration instead of the table's (REST datasets).

    ``asked`` is the resource as it was sent: only there a null can be told from what was left out.
    """
    time, partition_ms = resource.get("timePartitioning"), dataset.default_ms("defaultPartitionExpirationMs")
    if time is not None and partition_ms is not None:
        default = {} if "expirationMs" in asked["timePartitioning"] else {"expirationMs": str(partition_ms)}
        return {**resource, "timePartitioning": default | time}
    table_ms = dataset.default_ms("defaultTableExpirationMs")
    if table_ms is not None and "expirationTime" not in resource:
        return {**resource, "expirationTime": str(created + table_ms)}
    return resource


def _first_parts(table: Table, parts: Mapping[str, Part], now: int) -> dict[str, Part]:
    if not table.partitioning.is_partitioned and table.holds_rows:
        return {p: _not_older(part, table) for p, part in parts.items()} or {WHOLE: Part((), 0, 0, now)}
    return {p: _not_older(part, table) for p, part in parts.items() if part.rows}


def _not_older(part: Part, table: Table) -> Part:
    return part if part.modified_ms >= table.created_ms else part.at(table.created_ms)


def _without_empty(partitioning: Partitioning, changed: Mapping[str, Part | None]) -> dict[str, Part | None]:
    if partitioning.is_partitioned:
        return {p: part if part is not None and part.rows else None for p, part in changed.items()}
    return dict(changed)


def _recent(past: tuple[Any, ...], version: TableVersion, horizon_ms: int) -> tuple[Any, ...]:
    """The past without what was superseded before the horizon."""
    first = 0
    while first < len(past):
        superseded = past[first + 1].since_ms if first + 1 < len(past) else version.since_ms
        if superseded > horizon_ms:
            break
        first += 1
    return past[first:] if first else past


def _split_rows(table: Table, rows: pa.Table, partition: str | None, now: int) -> dict[str, pa.Table]:
    """The rows by partition, once they fit the table's schema and belong to ``partition`` where one is named."""
    known = {f["name"].lower() for f in table.fields}
    unknown = [name for name in rows.schema.names if name.lower() not in known]
    if unknown:
        raise invalid(f"Provided Schema does not match Table {table.ref}. Cannot add fields (field: {unknown[0]})")
    conforming = conform(rows, table.fields)
    for field in table.fields:
        if is_required(field) and conforming.column(field["name"]).null_count:
            raise invalid(f"Required field {field['name']} cannot be null")
    if partition is None:
        return partition_rows(table.partitioning, conforming, now)
    _require_partition_id(table, partition)
    if table.partitioning.is_ingestion:
        return {partition: conforming}
    split = partition_rows(table.partitioning, conforming, now)
    if set(split) - {partition}:
        raise invalid(
            f"Some rows belong to different partitions rather than destination partition {table.ref.table}${partition}"
        )
    return split


def _require_partition_id(table: Table, partition: str) -> None:
    if not table.partitioning.is_partitioned:
        raise invalid(
            f"Cannot read partition information from a table that is not partitioned: {table.ref}${partition}"
        )
    check_partition_id(table.partitioning, partition)
