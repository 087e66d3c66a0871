"""What survives the process: every change written through to one SQLite file, a transaction per request.

A table is its record and the log of its writes; replaying the log gives the data and its past. Segments are stored
once, as Arrow IPC. WAL with ``synchronous=NORMAL`` loses nothing when the process is killed. It decides nothing:
``store`` does.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
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
    """Takes every change; ``commit`` makes those since the last one durable, all or none."""

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
    def close(self) -> None: ...


class NoJournal:
    """For a server that lives in memory only."""

    def _nothing(self, *_: object) -> None:
        return

    dataset = forget_dataset = routine = table = forget_table = write = job = forget_job = _nothing
    clock = commit = close = _nothing


class SqliteJournal:
    """The journal in a folder. One server at a time: a second one is refused."""

    def __init__(self, folder: Path) -> None:
        self._db = _open(folder)
        self._saved: set[int] = set()
        self._records_to_put: dict[tuple[str, str | int], Mapping[str, Any]] = {}

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
        self._db.executemany("DELETE FROM segments WHERE id = ?", ((i,) for i in unused))
        self._saved -= unused
        self.commit()

    @property
    def highest_segment_id(self) -> int:
        return max(self._saved, default=0)

    def dataset(self, dataset: Dataset) -> None:
        key = [dataset.project, dataset.dataset, *filter(None, [dataset.deleted_ms])]
        self._put("datasets", json.dumps(key), _fields_of(dataset))

    def forget_dataset(self, dataset: Dataset) -> None:
        key = [dataset.project, dataset.dataset, *filter(None, [dataset.deleted_ms])]
        self._remove("datasets", json.dumps(key))

    def routine(self, key: tuple[str, str, str], resource: Mapping[str, Any] | None) -> None:
        if resource is None:
            self._remove("routines", json.dumps(key))
        else:
            self._put("routines", json.dumps(key), resource)

    def table(self, table: Table) -> None:
        for streamed in table.streamed:
            self._save_segments(streamed.parts)
        self._put("tables", table.id, _record_of(table))

    def forget_table(self, table: Table) -> None:
        self._remove("tables", table.id, "id")
        self._execute("DELETE FROM writes WHERE table_id = ?", (table.id,))

    def write(self, table: Table, write: Write) -> None:
        self._save_segments(write.parts)
        self._execute(
            "INSERT INTO writes (table_id, since_ms, fields, parts) VALUES (?, ?, ?, ?)",
            (table.id, write.since_ms, json.dumps(write.fields), json.dumps(_parts_record(write.parts))),
        )

    def job(self, job: Job) -> None:
        self._put("jobs", json.dumps([job.project, job.location, job.id]), _fields_of(job))

    def forget_job(self, job: Job) -> None:
        self._remove("jobs", json.dumps([job.project, job.location, job.id]))

    def clock(self, setting: Mapping[str, int | None]) -> None:
        self._put("clock", "clock", setting)

    def commit(self) -> None:
        """A record that was put several times since the last commit, as a job is, is written once."""
        for (table, key), record in self._records_to_put.items():
            self._execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (key, json.dumps(record)))
        self._records_to_put.clear()
        self._db.commit()

    def close(self) -> None:
        self.commit()
        self._db.close()

    def _execute(self, sql: str, values: tuple[Any, ...]) -> None:
        self._db.execute(sql, values)

    def _put(self, table: str, key: str | int, record: Mapping[str, Any]) -> None:
        self._records_to_put[table, key] = record

    def _remove(self, table: str, key: str | int, column: str = "key") -> None:
        self._records_to_put.pop((table, key), None)
        self._execute(f"DELETE FROM {table} WHERE {column} = ?", (key,))

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
        self._db.executemany(
            "INSERT INTO writes (table_id, since_ms, fields, parts) VALUES (?, ?, ?, ?)",
            ((table_id, w.since_ms, json.dumps(w.fields), json.dumps(_parts_record(w.parts))) for w in writes),
        )


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
