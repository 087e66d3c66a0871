"""The tables that a script or session sees: the store's, its own temporary ones, and what an open transaction wrote.

Each of the three is a store: the server's, one for what is temporary, one for the transaction, which a table enters
when it is first touched. Until COMMIT nobody else sees it; COMMIT writes the partitions that changed, all at once, and
is refused where another has written meanwhile (https://cloud.google.com/bigquery/docs/transactions). BigQuery reads as
of the start of the transaction; here a table is read as it was when the transaction first touched it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import pyarrow as pa

from bbq_dagster.local.errors import invalid_query
from bbq_dagster.local.model import Dataset, Part, Table, TableRef, TableVersion
from bbq_dagster.local.store import Store


class Workspace:
    """Tables by name, whatever store they are in. ``name`` tells the hidden dataset of temporary tables apart."""

    def __init__(self, store: Store, project: str, name: str = "") -> None:
        self._store = store
        self.dataset = (project, f"_script{sha256(name.encode()).hexdigest()[:40]}")
        self._transaction: _Transaction | None = None

    @cached_property
    def _temporary(self) -> Store:
        store = Store(clock=self._store.clock)
        store.create_dataset(*self.dataset, {})
        return store

    # -- names

    def temporary_ref(self, name: str) -> TableRef:
        """What ``CREATE TEMP TABLE name`` is to create."""
        return TableRef(*self.dataset, name)

    def find_temporary(self, name: str) -> TableRef | None:
        """The temporary table of that name, if there is one."""
        ref = self.temporary_ref(name)
        return ref if "_temporary" in self.__dict__ and self._temporary.find_table(ref) is not None else None

    def find_dataset(self, project: str, dataset: str) -> Dataset | None:
        return self.store_of(TableRef(project, dataset, "")).find_dataset(project, dataset)

    def store_of(self, ref: TableRef) -> Store:
        """The store that keeps a table, outside of any transaction."""
        return self._temporary if (ref.project, ref.dataset) == self.dataset else self._store

    # -- tables, as DML and queries use them

    def find_table(self, ref: TableRef) -> Table | None:
        found = self.store_of(ref).find_table(ref)
        if self._transaction is None or found is None or not found.holds_rows:
            return found
        return self._transaction.enter(found)

    def table_at(self, ref: TableRef, at_ms: int) -> tuple[Table, TableVersion]:
        return self.store_of(ref).table_at(ref, at_ms)

    def write_parts(self, ref: TableRef, changed: Mapping[str, Part | None], *, basis: TableVersion) -> Table:
        return self._written(ref).write_parts(ref, changed, basis=basis)

    def append_rows(self, ref: TableRef, rows: pa.Table, partition: str | None = None) -> int:
        return self._written(ref).append_rows(ref, rows, partition)

    def _written(self, ref: TableRef) -> Store:
        return self.store_of(ref) if self._transaction is None else self._transaction.store

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The write lock of the server's store."""
        with self._store.transaction():
            yield

    # -- transactions

    @property
    def in_transaction(self) -> bool:
        return self._transaction is not None

    def begin(self) -> None:
        if self._transaction is not None:
            raise invalid_query("Cannot begin a transaction: a transaction is already in progress")
        self._transaction = _Transaction(Store(clock=self._store.clock), {})

    def commit(self) -> None:
        """Write what the transaction changed, in one transaction of the store; refused as a whole."""
        transaction = self._ended()
        with self._store.transaction():
            changes = [c for c in transaction.changes() if c.parts]
            for change in changes:
                found = self.store_of(change.ref).find_table(change.ref)
                if found is None or found.version is not change.basis:
                    raise invalid_query(f"Transaction is aborted due to concurrent update against table {change.ref}.")
            for change in changes:
                self.store_of(change.ref).write_parts(change.ref, change.parts, basis=change.basis)

    def rollback(self) -> None:
        self._ended()

    def _ended(self) -> "_Transaction":
        if self._transaction is None:
            raise invalid_query("There is no transaction in progress")
        transaction, self._transaction = self._transaction, None
        return transaction


@dataclass(frozen=True, slots=True)
class _Change:
    """The partitions of a table that a transaction wrote anew, and the version that it found."""

    ref: TableRef
    basis: TableVersion
    parts: Mapping[str, Part | None]


@dataclass(frozen=True, slots=True)
class _Transaction:
    """A store of what was touched, and the versions of the tables as they were found."""

    store: Store
    found: dict[TableRef, TableVersion]

    def enter(self, table: Table) -> Table:
        """The table as the transaction sees it."""
        ref = table.ref
        if ref not in self.found:
            self.found[ref] = table.version
            if self.store.find_dataset(ref.project, ref.dataset) is None:
                self.store.create_dataset(ref.project, ref.dataset, {})
            self.store.create_table(ref, table.resource, table.parts, created_ms=table.created_ms)
            self._buffer(table)
        return self.store.get_table(ref)

    def _buffer(self, table: Table) -> None:
        for streamed in table.streamed:
            for partition, part in streamed.parts.items():
                for segment in part.segments:
                    self.store.stream(table.ref, segment.rows, partition or None)

    def changes(self) -> Iterator[_Change]:
        for ref, basis in self.found.items():
            now = self.store.get_table(ref).parts
            changed: dict[str, Part | None] = {p: part for p, part in now.items() if basis.parts.get(p) is not part}
            changed |= {p: None for p in basis.parts if p not in now}
            yield _Change(ref, basis, changed)
