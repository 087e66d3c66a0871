"""What this project asks of a warehouse, in its own words, and what a caller may rely on.

Two ports: ``Warehouse`` for sources and backup tables, ``Catalog`` for the record. ``bigquery`` and ``catalog_store``
keep these promises on BigQuery; the tests keep them in memory. Every method raises only what ``bbq_dagster.errors``
has: ``Transient`` where trying again may help (after its own retries), ``Permanent`` where not, ``Refused`` for a
rule of ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from bbq_dagster.core.catalog import Event, EventKind
from bbq_dagster.core.catalog_snapshot import CatalogSnapshot
from bbq_dagster.core.drift import Repetition
from bbq_dagster.core.fingerprint import Fingerprint, Question, TableLayout
from bbq_dagster.core.inventory import Dataset, SourceTable, State, TableOptions, TableShape, UnitState
from bbq_dagster.core.original import ExportedBackup
from bbq_dagster.core.restore_choice import Past
from bbq_dagster.core.retention import RetentionRecord
from bbq_dagster.core.rto import RestoreTime
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.verification import Spent
from bbq_dagster.core.versions import Copy, DatasetRecord, Version
from bbq_dagster.errors import BbqError

RATE_LIMIT = "rateLimitExceeded"
"""The reason of a ``Transient`` that says: too many requests, nothing was done, ask more slowly (BigQuery's word)."""


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
    """Sources are only read, and everything that is written goes into the backup project; but for a restore."""

    def list_datasets(self, project: str) -> list[Dataset]:
        """All datasets of ``project`` with location and labels, hidden ones included."""

    def find_dataset(self, ref: DatasetRef) -> Dataset | None:
        """The dataset with its description, or None where the warehouse says that there is none.

        Raises ``Permanent`` where we may not know: it is gone, or hidden from us.
        """

    def table_states(
        self, project: str, location: str, only: Collection[TableRef] | None = None
    ) -> Mapping[TableRef, State]:
        """Rows, bytes and last data write of the live tables of ``project`` in ``location``: one query.

        Of all of them, or of these ``only``, and maybe of some that are called like one of these.
        """

    def list_tables(
        self, dataset: Dataset, states: Mapping[TableRef, State], only: Collection[TableRef] | None = None
    ) -> list[SourceTable]:
        """Tables of every kind, all or these ``only``, with their state from ``states``: one query for any number.

        Raises rather than return a part of them: a page that fails is an error of the dataset, never "no tables".
        """

    def list_partitions(self, dataset: Dataset, tables: Sequence[TableRef]) -> Iterator[UnitState]:
        """The partitions of these tables: one query per 1,000 tables."""

    def ensure_dataset(self, ref: DatasetRef, *, location: str, description: str) -> None:
        """Create a backup dataset without any default expiration; an existing one is left alone.

        Raises ``Refused`` where the existing one has a default expiration or is in another location.
        """

    def create_table_like(
        self, source: TableRef, destination: TableRef, *, description: str, options: TableOptions | None = None
    ) -> None:
        """Create ``destination`` empty, with schema, partitioning and clustering of ``source`` and no expirations.

        With ``options`` it is a restored table and gets these; without, it is a backup table with ``description``.
        Doing it twice is the same as doing it once. ``RATE_LIMIT`` comes back at once, as from ``start_copy``.
        """

    def ensure_restore_dataset(self, ref: DatasetRef, *, location: str) -> None:
        """Create a dataset to restore into; an existing one is left as it is.

        Raises ``Refused`` where the existing one is in another location.
        """

    def describe_table(self, table: TableRef, options: TableOptions) -> None:
        """Give a restored table description, friendly name, labels and default collation of ``options``.

        Doing it twice is the same as doing it once.
        """

    def table_shapes(self, dataset: DatasetRef, location: str, tables: Collection[str]) -> Mapping[str, TableShape]:
        """Kind, columns, partitioning and clustering of these tables; missing ones are not in the answer.

        One query per 1,000.
        """

    def start_copy(self, copy: Copy, job: JobRef) -> CopyStatus | None:
        """Start the copy job; starting the same job twice starts it once, whoever did it first.

        The answer is how the job is, where starting it told that. What BigQuery's rate limits refuse comes back at
        once, as ``RATE_LIMIT``: the caller knows how fast it asks.

        It does with rows that are at the destination what ``copy.writing`` says: ``INTO_EMPTY`` never overwrites, a
        destination (table or partition) that has data makes the job fail. A copy of a restore creates no table, but
        for one that is ``INTO_NEW``.
        """

    def copy_statuses(self, jobs: Collection[JobRef]) -> Mapping[JobRef, CopyStatus]:
        """The state of many jobs in few calls. A job that the warehouse does not know is not in the answer."""

    def backup_tables(
        self, dataset: DatasetRef, location: str, tables: Collection[str]
    ) -> Mapping[str, BackupTableFacts]:
        """What these backup tables hold, by table id; missing ones are not in the answer. A query or two per 1,000."""

    def exported_backups(self, export: DatasetRef, project: str) -> list[ExportedBackup]:
        """What the newest Datastore export of the original BBQ in ``export`` says of its copies in ``project``."""

    def remove_expirations(self, table: TableRef) -> None:
        """Make a backup table and its partitions live until somebody deletes them."""

    def delete_table(self, table: TableRef) -> None:
        """Delete a table of the backup project; one that is not there is deleted already."""

    def delete_partition(self, unit: Unit) -> None:
        """Delete one partition of a backup table, or of a table that a restore has just made.

        One that is not there, or whose table is not, is deleted already.
        """

    def table_layout(self, table: TableRef) -> TableLayout | None:
        """Columns and partitioning of a table, and when it was created and last modified; None where it is not there.

        One call. It tells nothing of the rows.
        """

    def scan_bytes(self, question: Question) -> int:
        """How many bytes the query for these fingerprints would read. Reads nothing and costs nothing."""

    def fingerprints(self, question: Question, *, at_most: int) -> tuple[Mapping[str | None, Fingerprint], int]:
        """The fingerprints by partition, and the bytes that were read: one query.

        Partitions without rows are not in the answer. Raises ``Permanent`` where more than ``at_most`` bytes would be
        billed (10 MiB are the least), and where the table cannot be read as it was at ``question.as_of``.
        """

    def ensure_scratch_dataset(self, ref: DatasetRef, *, location: str, kept_for: timedelta) -> None:
        """Create a dataset whose tables are deleted after ``kept_for``; an existing one of ours is left alone.

        Raises ``Refused`` where the existing one is in another location, or keeps its tables for ever.
        """

    def delete_dataset_if_empty(self, ref: DatasetRef) -> None:
        """Delete a scratch dataset; one that has tables stays, one that is not there is deleted already."""


class Catalog(Protocol):
    """The append-only record of everything that was planned, made and lost."""

    def prepare(self) -> None:
        """Create dataset, table and views where they are missing, migrate an older schema; cheap when up to date."""

    def prepare_anew(self) -> None:
        """As ``prepare``, and what somebody deleted of a catalog that counts as up to date is created again."""

    def is_there(self) -> bool:
        """Whether there is a catalog with its table of events."""

    def take_snapshot(self, at: datetime) -> CatalogSnapshot:
        """Keep the events as they are ``at`` an instant, for some weeks; of a day the first snapshot is kept."""

    def snapshots(self) -> list[CatalogSnapshot]:
        """The snapshots that there are, newest first."""

    def read_back(self, snapshot: CatalogSnapshot) -> None:
        """Have all events of ``snapshot`` again, besides those that are there."""

    def records(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> Mapping[DatasetRef, DatasetRecord]:
        """What is on record of each of these datasets (an empty record where nothing is): one query.

        None: of every dataset that is on record, in these ``projects`` if they are named; raises where there is no
        catalog. Of named datasets nothing is on record before there is one.
        """

    def scan_records(
        self, project: str, *, only: Collection[DatasetRef] | None, besides: Collection[DatasetRef]
    ) -> Mapping[DatasetRef, DatasetRecord]:
        """What a scan needs of each dataset on record in ``project``, or of these ``only``: one query.

        Datasets ``besides`` are left out where ``only`` is None. Of settled tables the partitions are counted
        (``DatasetRecord.unread``): ``table_records`` has them.
        """

    def table_records(self, tables: Collection[TableRef]) -> Mapping[DatasetRef, DatasetRecord]:
        """What is on record of these tables alone, by dataset: one query per 5,000 tables."""

    def copy_jobs_since(self, since: datetime, *, besides: Collection[str] = ()) -> int:
        """How many copy jobs were planned or run since then, failed ones included: what the day's quota has lost.

        Those of the copies ``besides`` (their ids) are not counted.
        """

    def append(self, events: Sequence[Event]) -> None:
        """Add events: one load job, all or nothing; the same events twice are stored once."""

    def versions(self, tables: Iterable[TableRef]) -> list[Version]:
        """All live versions of these tables, newest first."""

    def versions_by_id(self, version_ids: Iterable[str]) -> list[Version]:
        """The live versions among these, newest first."""

    def pasts(self, datasets: Collection[DatasetRef]) -> Mapping[DatasetRef, Past]:
        """All live versions and all absences on record of each of these datasets."""

    def restore_events(self, restore_id: str) -> list[Event]:
        """All that is on record of one restore, oldest first."""

    def retention_records(self, datasets: Collection[DatasetRef] | None) -> list[RetentionRecord]:
        """All that retention has to know of each of these datasets, or of all on record: one query."""

    def last_scans(self) -> Mapping[DatasetRef, datetime]:
        """When the tables of each dataset were last listed, all of them. Nothing before there is a catalog."""

    def drill_times(self) -> Mapping[DatasetRef, timedelta]:
        """How long the restore of the last drill took that succeeded, of each dataset. Nothing before a catalog."""

    def holds(self) -> list[Event]:
        """The ``held`` events of the holds that were not released, those past their end included, oldest first."""

    def events_of_versions(self, version_ids: Iterable[str]) -> list[Event]:
        """All that is on record of these versions, oldest first."""

    def repetitions(self) -> list[Repetition]:
        """The versions of which it has a row twice, or, since they are there, rows that contradict each other."""

    def failed_places(self) -> frozenset[Unit]:
        """Where copies were to be that failed, by what is on record."""

    def deletions_since(self, since: datetime) -> list[Event]:
        """The ``version_deleted`` events since then, oldest first."""

    def live_versions(self, datasets: Collection[DatasetRef] | None) -> list[Version]:
        """All live versions of these datasets, or of all on record, newest first: one query."""

    def verifications(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> list[Event]:
        """What ``fold_proofs`` needs of the live versions of these datasets, else projects, or of all: one query.

        Without the fingerprints.
        """

    def restore_times(
        self, datasets: Collection[DatasetRef] | None, *, projects: Collection[str] | None = None
    ) -> list[RestoreTime]:
        """How long the last drill and the last complete restore of each table took: one query. By table and way.

        Of these datasets, else projects, or of all; nothing before there is a catalog.
        """

    def verified_since(self, since: datetime) -> Spent:
        """What verifications used up since then: one that could not look took its bytes, and no turn."""

    def history(
        self, datasets: Collection[DatasetRef] | None, *, limit: int, kinds: Collection[EventKind] | None = None
    ) -> list[Event]:
        """The events of these kinds of these datasets (None: of all), newest first."""
