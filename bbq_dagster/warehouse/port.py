"""What this project asks of a warehouse, in its own words, and what a caller may rely on.

Two ports: ``Warehouse`` for sources and backup tables, ``Catalog`` for the record. ``bigquery`` and ``catalog_store``
keep these promises on BigQuery; the tests keep them in memory. Every method raises only what ``bbq_dagster.errors``
has: ``Transient`` where trying again may help (after its own retries), ``Permanent`` where not, ``Refused`` for a
rule of ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bbq_dagster.core.catalog import Event
from bbq_dagster.core.inventory import Dataset, SourceTable, State, UnitState
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import Copy, DatasetRecord, Version
from bbq_dagster.errors import BbqError


@dataclass(frozen=True, slots=True)
class JobRef:
    """A job of the backup project. BigQuery needs the location to find it."""

    job_id: str
    location: str


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """A copy job as the warehouse sees it. ``error`` is set only when it is done and failed.

    ``started_at`` is the instant whose data the copy holds; ``rows`` and ``size_bytes`` are what was copied.
    """

    is_done: bool
    started_at: datetime | None = None
    rows: int | None = None
    size_bytes: int | None = None
    error: BbqError | None = None


@dataclass(frozen=True, slots=True)
class BackupTableFacts:
    """A table of a backup dataset as INFORMATION_SCHEMA shows it.

    ``partitions`` maps partition ids to their state, ``None`` standing for an unpartitioned table. A partition that
    is not in the map holds no rows. ``expires`` says that the table or its partitions have an expiration.
    """

    partitions: Mapping[str | None, State] = field(default_factory=dict)
    expires: bool = False


class Warehouse(Protocol):
    """Sources are only read; everything that is written goes into the backup project."""

    def list_datasets(self, project: str) -> list[Dataset]:
        """All datasets of ``project`` with location and labels, hidden ones included."""

    def table_states(self, project: str, location: str) -> Mapping[TableRef, State]:
        """Rows, bytes and last data write of all live tables of ``project`` in ``location``: one query."""

    def list_tables(self, dataset: Dataset, states: Mapping[TableRef, State]) -> list[SourceTable]:
        """All tables of every kind, with their state from ``states``: one query whatever their number.

        Raises rather than return a part of them: a page that fails is an error of the dataset, never "no tables".
        """

    def list_partitions(self, dataset: Dataset, tables: Sequence[TableRef]) -> Iterator[UnitState]:
        """The partitions of these tables: one query per 1,000 tables."""

    def ensure_dataset(self, ref: DatasetRef, *, location: str, description: str) -> None:
        """Create a backup dataset without any default expiration; an existing one is left alone.

        Raises ``Refused`` where the existing one has a default expiration or is in another location.
        """

    def create_table_like(self, source: TableRef, destination: TableRef, *, description: str) -> None:
        """Create ``destination`` empty, with schema, partitioning and clustering of ``source`` and no expirations.

        Doing it twice is the same as doing it once.
        """

    def start_copy(self, copy: Copy, job: JobRef) -> None:
        """Start the copy job; starting the same job twice starts it once, whoever did it first.

        It never overwrites: a destination (table or partition) that has data makes the job fail.
        """

    def copy_statuses(self, jobs: Collection[JobRef]) -> Mapping[JobRef, CopyStatus]:
        """The state of many jobs in few calls. A job that the warehouse does not know is not in the answer."""

    def backup_tables(
        self, dataset: DatasetRef, location: str, tables: Collection[str]
    ) -> Mapping[str, BackupTableFacts]:
        """What these backup tables hold, by table id; missing ones are not in the answer. A query or two per 1,000."""

    def remove_expirations(self, table: TableRef) -> None:
        """Make a backup table and its partitions live until somebody deletes them."""


class Catalog(Protocol):
    """The append-only record of everything that was planned, made and lost."""

    def prepare(self) -> None:
        """Create dataset, table and views where they are missing, migrate an older schema; cheap when up to date."""

    def records(self, datasets: Collection[DatasetRef] | None) -> Mapping[DatasetRef, DatasetRecord]:
        """What is on record of each of these datasets (an empty record where nothing is): one query.

        None: of every dataset that is on record.
        """

    def copy_jobs_since(self, since: datetime) -> int:
        """How many copy jobs were planned or run since then, failed ones included: what the day's quota has lost."""

    def append(self, events: Sequence[Event]) -> None:
        """Add events: one load job, all or nothing; the same events twice are stored once."""

    def versions(self, tables: Iterable[TableRef]) -> list[Version]:
        """All live versions of these tables, newest first."""

    def history(self, datasets: Collection[DatasetRef] | None, *, limit: int) -> list[Event]:
        """The events of these datasets (None: of all), newest first."""
