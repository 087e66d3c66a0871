"""What survives the process: every change in one SQLite file.

A table is its record and the log of its writes; replaying the log gives the data and its past. Segments are stored
once, as Arrow IPC. WAL with ``synchronous=NORMAL`` loses nothing when the process is killed. It decides nothing:
``store`` does.

The order that holds: ``commit`` ends a transaction of the store, whose changes are kept or lost together. ``save``
makes all that have ended durable, in their order, in one transaction of SQLite. One that has begun after another never
survives without it. Who answers a request sees to it that ``save`` comes first (``group_commit``).
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from bbq_dagster.local.errors import LocalServerError
from bbq_dagster.local.model import Dataset, Fields, Job, Part, Past, Segment, Streamed, Table, TableRef, TableVersion
from bbq_dagster.local.partitioning import parse_partitioning

FILE_NAME = "bigquery.sqlite"

_DDL = """
CREATE TABLE IF NOT EXISTS datasets (key TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS routines (key TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tables (id INTEGER PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS writes (
    seq INTEGER PRIMARY KEY, table_id INTEGER NOT NULL, since_ms INTEGER NOT NULL, fields TEXT NOT NULL,
    parts TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS writes_by_table ON writes (table_id);
CREATE TABLE IF NOT EXISTS segments (id INTEGER PRIMARY KEY, ipc BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (key TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clock (key TEXT PRIMARY KEY, json TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Write:
    """One write to a table: from when, under which fields, and the parts it put (None: removed)."""

    since_ms: int
    fields: Fields
    parts: Mapping[str, Part | None]


class Journal(Protocol):
    """Takes every change; ``commit`` makes one of those since the last one, ``save`` makes what was committed durable.

    All but ``save`` and the properties are used under the store's lock.
    """

    @property
    def is_saved(self) -> bool: ...
    @property
    def is_saving(self) -> bool: ...
    def dataset(self, dataset: Dataset) -> None: ...
    def forget_dataset(self, dataset: Dataset) -> None: ...
    def routine(self, key: tuple[str, str, str], resource: Mapping[str, Any] | None) -> None: ...
    def table(self, table: Table) -> None: ...
    def forget_table(self, table: Table) -> None: ...
    def write(self, table: Table, write: Write) -> None: ...
    def job(self, job: Job) -> None: ...
    def forget_job(self, job: Job) -> None: ...
    def clock(self, setting: Mapping[str, int | None]) -> None: ...
    def commit(self) -> None: ...
    def save(self) -> None: ...
    def close(self) -> None: ...


class NoJournal:
    """For a server that lives in memory only."""

    is_saved, is_saving = True, False

    def _nothing(self, *_: object) -> None:
        return

    dataset = forget_dataset = routine = table = forget_table = write = job = forget_job = _nothing
    clock = commit = save = close = _nothing


_Key = str | int | tuple[Any, ...]
_Record = Dataset | Table | Job | Mapping[str, Any]


@dataclass(slots=True)
class _Changes:
    """Records by table and key, None where one is removed, and statements; a record that changes twice is written
    once."""

    records: dict[tuple[str, _Key], _Record | None] = field(default_factory=dict)
    statements: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.records or self.statements)

    def add(self, later: "_Changes") -> None:
        self.records.update(later.records)
        self.statements += later.statements


class SqliteJournal:
    """The journal in a folder. One server at a time: a second one is refused."""

    def __init__(self, folder: Path) -> None:
        self._db = _open(folder)
        self._saved: set[int] = set()
        self._open = _Changes()
        self._committed = _Changes()
        self._handover, self._saving = threading.Lock(), threading.Lock()

    def datasets(self) -> Iterator[Dataset]:
        for record in self._records("datasets"):
            yield Dataset(**record)

    def routines(self) -> Iterator[tuple[tuple[str, str, str], dict[str, Any]]]:
        for key, text in self._db.execute("SELECT key, json FROM routines"):
            project, dataset, routine = json.loads(key)
            yield (project, dataset, routine), json.loads(text)

    def jobs(self) -> Iterator[Job]:
        for record in self._records("jobs"):
            yield Job(**record | {"errors": tuple(record["errors"])})

    def kept_clock(self) -> dict[str, int | None]:
        """What ``clock`` was last told; empty if nothing."""
        return next(self._records("clock"), {})

    def tables(self, horizon_ms: Callable[[Table], int]) -> Iterator[Table]:
        """Every table and tombstone with its data; the past before ``horizon_ms`` is dropped, here and on disk."""
        segments = self._segments()
        for record in self._records("tables"):
            table = _table_of(record, segments)
            writes = self._writes(table.id, segments)
            kept = _without_old(writes, horizon_ms(table))
            if len(kept) < len(writes):
                self._rewrite(table.id, kept)
            yield _replayed(table, kept)

    def drop_unused_segments(self, tables: Iterator[Table]) -> None:
        used = {segment.id for table in tables for part in _all_parts(table) for segment in part.segments}
        unused = self._saved - used
        for segment in unused:
            self._execute("DELETE FROM segments WHERE id = ?", (segment,))
        self._saved -= unused
        self.commit()
        self.save()

    @property
    def highest_segment_id(self) -> int:
        return max(self._saved, default=0)

    @property
    def is_saved(self) -> bool:
        """Whether all that was committed is durable."""
        return not self._committed and not self.is_saving

    @property
    def is_saving(self) -> bool:
        return self._saving.locked()

    def dataset(self, dataset: Dataset) -> None:
        self._put("datasets", _key_of(dataset), dataset)

    def forget_dataset(self, dataset: Dataset) -> None:
        self._put("datasets", _key_of(dataset), None)

    def routine(self, key: tuple[str, str, str], resource: Mapping[str, Any] | None) -> None:
        self._put("routines", key, resource)

    def table(self, table: Table) -> None:
        for streamed in table.streamed:
            self._save_segments(streamed.parts)
        self._put("tables", table.id, table)

    def forget_table(self, table: Table) -> None:
        self._put("tables", table.id, None)
        self._execute("DELETE FROM writes WHERE table_id = ?", (table.id,))

    def write(self, table: Table, write: Write) -> None:
        self._save_segments(write.parts)
        self._note_write(table.id, write)

    def job(self, job: Job) -> None:
        self._put("jobs", (job.project, job.location, job.id), job)

    def forget_job(self, job: Job) -> None:
        self._put("jobs", (job.project, job.location, job.id), None)

    def clock(self, setting: Mapping[str, int | None]) -> None:
        self._put("clock", "clock", setting)

    def commit(self) -> None:
        if self._open:
            with self._handover:
                self._committed.add(self._open)
            self._open = _Changes()

    def save(self) -> None:
        """From any thread. Where it fails nothing was saved, and the next one tries all of it again."""
        with self._saving:
            with self._handover:
                changes, self._committed = self._committed, _Changes()
            if changes:
                self._save(changes)

    def close(self) -> None:
        self.commit()
        self.save()
        self._db.close()

    def _save(self, changes: _Changes) -> None:
        try:
            for sql, values in changes.statements:
                self._db.execute(sql, values)
            for (table, key), record in changes.records.items():
                self._write_record(table, key, record)
            self._db.commit()
        except BaseException:
            self._db.rollback()
            with self._handover:
                changes.add(self._committed)
                self._committed = changes
            raise

    def _write_record(self, table: str, key: _Key, record: _Record | None) -> None:
        """A record that is there already keeps its place: jobs are read back in the order in which they came."""
        column, kept = "id" if table == "tables" else "key", json.dumps(key) if isinstance(key, tuple) else key
        if record is None:
            self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (kept,))
        else:
            upsert = f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT ({column}) DO UPDATE SET json = excluded.json"
            self._db.execute(upsert, (kept, _to_json(_as_json(record))))

    def _execute(self, sql: str, values: tuple[Any, ...]) -> None:
        self._open.statements.append((sql, values))

    def _put(self, table: str, key: _Key, record: _Record | None) -> None:
        self._open.records[table, key] = record

    def _note_write(self, table_id: int, write: Write) -> None:
        self._execute(
            "INSERT INTO writes (table_id, since_ms, fields, parts) VALUES (?, ?, ?, ?)",
            (table_id, write.since_ms, _to_json(write.fields), _to_json(_parts_record(write.parts))),
        )

    def _records(self, table: str) -> Iterator[dict[str, Any]]:
        for (text,) in self._db.execute(f"SELECT json FROM {table} ORDER BY rowid").fetchall():
            yield json.loads(text)

    def _segments(self) -> dict[int, Segment]:
        segments = {i: Segment(_from_ipc(blob), i) for i, blob in self._db.execute("SELECT id, ipc FROM segments")}
        self._saved = set(segments)
        return segments

    def _save_segments(self, parts: Mapping[str, Part | None]) -> None:
        for part in parts.values():
            for segment in part.segments if part is not None else ():
                if segment.id not in self._saved:
                    self._execute("INSERT INTO segments VALUES (?, ?)", (segment.id, _to_ipc(segment.rows)))
                    self._saved.add(segment.id)

    def _writes(self, table_id: int, segments: Mapping[int, Segment]) -> list[Write]:
        found = self._db.execute(
            "SELECT since_ms, fields, parts FROM writes WHERE table_id = ? ORDER BY seq", (table_id,)
        )
        return [Write(at, json.loads(fields), _parts_of(json.loads(parts), segments)) for at, fields, parts in found]

    def _rewrite(self, table_id: int, writes: list[Write]) -> None:
        self._execute("DELETE FROM writes WHERE table_id = ?", (table_id,))
        for write in writes:
            self._note_write(table_id, write)


def successor(version: TableVersion, write: Write) -> tuple[TableVersion, Past]:
    """The version after a write, and how to undo it."""
    parts = {p: part for p, part in version.parts.items() if p not in write.parts}
    parts |= {p: part for p, part in write.parts.items() if part is not None}
    before = {p: version.parts.get(p) for p in write.parts}
    return TableVersion(write.since_ms, write.fields, parts), Past(version.since_ms, version.fields, before)


def _open(folder: Path) -> sqlite3.Connection:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(folder / FILE_NAME, check_same_thread=False, timeout=0.2)
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        # A checkpoint waits for the disk: one in 40 MB instead of one in 4.
        db.execute("PRAGMA wal_autocheckpoint=10000")
        db.executescript(_DDL)
        db.execute("BEGIN IMMEDIATE")
        db.commit()
    except sqlite3.OperationalError as error:
        raise LocalServerError(_why_not(folder, error)) from error
    except OSError as error:
        raise LocalServerError(
            f"The folder {folder} cannot be used: {error.strerror}\nHINT: choose a folder that you may write to."
        ) from error
    return db


def _why_not(folder: Path, error: sqlite3.OperationalError) -> str:
    if "locked" in str(error):
        return f"The folder {folder} is in use by another embedded BigQuery\nHINT: stop it, or choose another folder."
    return f"The folder {folder} cannot be used: {error}\nHINT: choose a folder that you may write to."


def _to_ipc(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def _from_ipc(blob: bytes) -> pa.Table:
    return pa.ipc.open_stream(blob).read_all()


def _to_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _key_of(dataset: Dataset) -> tuple[Any, ...]:
    return (dataset.project, dataset.dataset, *filter(None, [dataset.deleted_ms]))


def _as_json(record: _Record) -> Mapping[str, Any]:
    if isinstance(record, Table):
        return _record_of(record)
    return _fields_of(record) if isinstance(record, Dataset | Job) else record


def _fields_of(value: Dataset | Job) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _record_of(table: Table) -> dict[str, Any]:
    names = ("id", "resource", "created_ms", "modified_ms", "defined_ms", "revision", "deleted_ms")
    streamed = [[s.at_ms, _parts_record(s.parts)] for s in table.streamed]
    ref = [table.ref.project, table.ref.dataset, table.ref.table]
    return {name: getattr(table, name) for name in names} | {"ref": ref, "streamed": streamed}


def _table_of(record: dict[str, Any], segments: Mapping[int, Segment]) -> Table:
    streamed = tuple(Streamed(at, _present(_parts_of(parts, segments))) for at, parts in record.pop("streamed"))
    return Table(
        **record | {"ref": TableRef(*record["ref"])},
        streamed=streamed,
        partitioning=parse_partitioning(record["resource"]),
        version=TableVersion(record["created_ms"], (), {}),
    )


def _present(parts: Mapping[str, Part | None]) -> dict[str, Part]:
    return {p: part for p, part in parts.items() if part is not None}


def _parts_record(parts: Mapping[str, Part | None]) -> dict[str, Any]:
    return {
        p: None if part is None else [[s.id for s in part.segments], part.rows, part.bytes, part.modified_ms]
        for p, part in parts.items()
    }


def _parts_of(record: Mapping[str, Any], segments: Mapping[int, Segment]) -> dict[str, Part | None]:
    return {
        p: None if part is None else Part(tuple(segments[i] for i in part[0]), *part[1:]) for p, part in record.items()
    }


def _without_old(writes: list[Write], horizon_ms: int) -> list[Write]:
    """The writes with all that were superseded before the horizon merged into one."""
    old = [w for w, following in pairwise(writes) if following.since_ms <= horizon_ms]
    if not old:
        return writes
    base = writes[len(old)]
    parts = {p: part for write in (*old, base) for p, part in write.parts.items()}
    return [Write(base.since_ms, base.fields, parts), *writes[len(old) + 1 :]]


def _replayed(table: Table, writes: list[Write]) -> Table:
    version, pasts = table.version, []
    for write in writes:
        version, past = successor(version, write)
        pasts.append(past)
    return replace(table, version=version, past=tuple(pasts[1:]))


def _all_parts(table: Table) -> Iterator[Part]:
    yield from table.version.parts.values()
    for past in table.past:
        yield from (part for part in past.parts.values() if part is not None)
    for streamed in table.streamed:
        yield from streamed.parts.values()
