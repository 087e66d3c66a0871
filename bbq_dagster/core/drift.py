"""Where the catalog and the backup project disagree, and what can be done about it.

``find_drift`` compares values and decides; it changes nothing and reads no clock. What it finds is named by its kind,
so that each kind of damage is told from the others. A remedy never deletes: it records what is there, records what is
not there any more, or lets a copy live. Where it is in doubt, there is none.

Whether the rows of a copy are still the same rows is not asked here: their number and their bytes are compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bbq_dagster.core.found import (
    FoundDataset,
    FoundTable,
    by_table,
    other_description,
    source_of_table,
    versions_in,
)
from bbq_dagster.core.naming import dataset_source_of, source_of, version_id
from bbq_dagster.core.retention import RetentionRecord
from bbq_dagster.core.retention_rules import StoredVersion, newest_first
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import counted, section
from bbq_dagster.errors import Refused


class Kind(StrEnum):
    """What can be wrong, worst first."""

    CATALOG_GONE = "the catalog is gone"
    MISSING_COPY = "record without copy"
    OTHER_ROWS = "other rows"
    OTHER_BYTES = "other bytes"
    EXPIRES = "expires"
    WRONG_RECORD = "wrong record"
    TOLD_TWICE = "told in two ways"
    REPEATED = "recorded twice"
    UNRECORDED_COPY = "copy without record"
    FAILED_COPY = "left by a failed copy"
    WRONG_DESCRIPTION = "wrong description"
    FOREIGN_TABLE = "foreign table"


@dataclass(frozen=True, slots=True)
class Adopt:
    """Record these copies as versions."""

    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class MarkLost:
    """Record that a version is not there any more. ``is_newest``: its unit has none that is as new."""

    version: StoredVersion
    is_newest: bool = False


@dataclass(frozen=True, slots=True)
class LetLive:
    """Remove the expirations of a backup table."""

    table: TableRef


Remedy = Adopt | MarkLost | LetLive


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement: its kind, what it is about, in words, and what can be done (None: it is for people to decide).

    ``source`` is the dataset whose backups it is about, where that is known.
    """

    kind: Kind
    subject: str
    words: str
    source: DatasetRef | None = None
    remedy: Remedy | None = None

    def __str__(self) -> str:
        return f"{self.subject}: {self.words}"


@dataclass(frozen=True, slots=True)
class Repetition:
    """A version that the catalog has more than one ``version_created`` of.

    ``rows`` of the events table tell of it, which are ``tellings`` different events with ``facts`` different contents:
    a version that was brought back has one content, told again.
    """

    unit: Unit
    version_id: str
    rows: int
    tellings: int
    facts: int


@dataclass(frozen=True, slots=True)
class CatalogSide:
    """What the catalog says: the live versions by dataset, what it has twice, and where a copy failed.

    ``failed``: places whose last copy did not pass its check, so that what is there is not to be trusted.
    """

    records: tuple[RetentionRecord, ...] = ()
    repetitions: tuple[Repetition, ...] = ()
    failed: frozenset[Unit] = frozenset()


@dataclass(frozen=True, slots=True)
class BackupSide:
    """What the backup project shows. ``unseen``: datasets that could not be looked at, and why."""

    datasets: tuple[FoundDataset, ...] = ()
    unseen: Mapping[DatasetRef, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drift:
    """Every disagreement, worst first; how many versions and backup tables were compared; what was not looked at."""

    findings: tuple[Finding, ...] = ()
    versions: int = 0
    tables: int = 0
    unseen: Mapping[DatasetRef, str] = field(default_factory=dict)

    @property
    def is_none(self) -> bool:
        """All was looked at, and all agrees."""
        return not (self.findings or self.unseen)

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        return tuple(finding.remedy for finding in self.findings if finding.remedy is not None)

    @property
    def digest(self) -> str:
        """The same for the same remedies, whenever they are found."""
        return hashlib.sha256("\n".join(sorted(map(_stands_for, self.remedies))).encode()).hexdigest()[:16]

    def of(self, source: DatasetRef) -> Drift:
        """What of it is about the backups of one dataset; what cannot be told to be of another one is of each.

        ``versions`` and ``tables`` are those that were compared in all.
        """
        findings = tuple(finding for finding in self.findings if finding.source in (None, source))
        unseen = {ref: why for ref, why in self.unseen.items() if dataset_source_of(ref) in (None, source)}
        return replace(self, findings=findings, unseen=unseen)

    def count(self) -> dict[Kind, int]:
        """How many findings there are of each kind that there is."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in Kind if kind in counted}

    def refuse_unless_approved(self, approved: str) -> None:
        """Raises ``Refused`` where it is not what was approved."""
        if approved != self.digest:
            raise Refused(
                f"the plan {approved} was approved, this one is {self.digest}: nothing was changed",
                hint="something moved since it was shown: look at it again",
            )

    def __str__(self) -> str:
        return render_drift(self)


def render_drift(drift: Drift, *, limit: int | None = 12) -> str:
    """What was found as text, ``limit`` lines per kind at most (None: all)."""
    compared = f"{counted(drift.versions, 'version')} on record, {counted(drift.tables, 'backup table')} found"
    outcome = "they agree" if drift.is_none else counted(len(drift.findings), "finding")
    by_kind = {kind: [f for f in drift.findings if f.kind is kind] for kind in drift.count()}
    return "\n".join(
        [
            f"{compared}: {outcome}",
            *(line for kind, found in by_kind.items() for line in section(kind, map(str, found), limit=limit)),
            *section("not looked at", (f"{ref}: {why}" for ref, why in drift.unseen.items()), limit=limit),
        ]
    )


def render_repair(drift: Drift, *, limit: int | None = 12) -> str:
    """What a repair would do as text, and how much of what was found is left to people."""
    remedies = drift.remedies
    versions = [version for remedy in remedies if isinstance(remedy, Adopt) for version in remedy.versions]
    lost = [remedy.version for remedy in remedies if isinstance(remedy, MarkLost)]
    expiring = [remedy.table for remedy in remedies if isinstance(remedy, LetLive)]
    left = [f"{f.kind}: {f}" for f in drift.findings if f.remedy is None]
    return "\n".join(
        [
            f"repair plan: {len(versions):,} to adopt, {len(lost):,} to record as lost,"
            f" {len(expiring):,} to let live; digest {drift.digest}",
            *section("let live", map(str, expiring), limit=limit),
            *section("adopt", (f"{v.backup} as a version of {v.unit}" for v in versions), limit=limit),
            *section("record as lost", map(_subject, lost), limit=limit),
            *section("left to you", left, limit=limit),
        ]
    )


def catalog_is_gone(catalog: DatasetRef) -> Drift:
    """What is found where there is no catalog: that alone, as every copy would be one without a record."""
    words = "it is not there, or has no events table; `bbq catalog snapshots` and `bbq catalog rebuild` bring it back"
    return Drift((Finding(Kind.CATALOG_GONE, str(catalog), words),))


def find_drift(catalog: CatalogSide, backup: BackupSide, *, reason: str = "adopted: found without a record") -> Drift:
    """Compare every live version with what is at its place, and every copy with the record.

    * A version whose record cannot be true is compared no further.
    * A version whose deletion was begun may be there or not: retention finishes it.
    * A copy that is under way, or that was planned and has no end on record, is left to the next backup.
    * What is in a dataset that could not be looked at is not judged.

    ``reason`` is that of the versions that an adoption would record.
    """
    tables = by_table(backup.datasets)
    records = [record for record in catalog.records if record.versions or record.busy]
    findings = [
        *(finding for record in records for finding in _of_record(record, tables, backup.unseen)),
        *map(_of_repetition, catalog.repetitions),
        *_of_copies(records, catalog.failed, backup.datasets, reason),
    ]
    order = {kind: place for place, kind in enumerate(Kind)}
    return Drift(
        findings=tuple(sorted(findings, key=lambda finding: (order[finding.kind], finding.subject))),
        versions=sum(len(record.versions) for record in records),
        tables=len(tables),
        unseen=backup.unseen,
    )


def _of_record(
    record: RetentionRecord, tables: Mapping[TableRef, FoundTable], unseen: Collection[DatasetRef]
) -> Iterator[Finding]:
    newest = {version.unit: version for version in sorted(record.versions, key=newest_first, reverse=True)}
    for version in record.versions:
        if fault := _fault(version):
            yield Finding(Kind.WRONG_RECORD, _subject(version), fault, record.dataset)
        elif version.table.in_dataset not in unseen and version.version_id not in record.begun:
            lost = MarkLost(version, is_newest=newest[version.unit] is version)
            yield from _of_version(lost, tables.get(version.table))


def _fault(version: StoredVersion) -> str:
    """Why the record cannot be true; empty where it can."""
    if version.version_id != version_id(version.place):
        return f"its id is not that of its place {version.place}"
    named, of_dataset = source_of(version.table.table), dataset_source_of(version.table.in_dataset)
    if named not in (None, version.unit.table.table) or of_dataset not in (None, version.unit.table.in_dataset):
        return f"its place {version.place} holds backups of another table"
    return ""


def _of_version(lost: MarkLost, table: FoundTable | None) -> Iterator[Finding]:
    """``lost`` is the remedy where the copy is not there."""
    version = lost.version
    source = version.unit.table.in_dataset
    if table is None:
        words = f"its backup table {version.table} is not there"
        yield Finding(Kind.MISSING_COPY, _subject(version), words, source, lost)
        return
    held = table.held.get(version.unit.partition)
    rows, size_bytes = (0, 0) if held is None else (held.rows, held.size_bytes)
    if held is None and version.rows != 0:
        words = f"its backup table has no rows at {version.place}"
        yield Finding(Kind.MISSING_COPY, _subject(version), words, source, lost)
    elif _differ(version.rows, rows):
        words = f"{version.place} has {rows:,} rows, the record says {version.rows:,}"
        yield Finding(Kind.OTHER_ROWS, _subject(version), words, source)
    elif _differ(version.size_bytes, size_bytes):
        words = f"{version.place} has {size_bytes:,} bytes, the record says {version.size_bytes:,}"
        yield Finding(Kind.OTHER_BYTES, _subject(version), words, source)


def _differ(recorded: int | None, found: int | None) -> bool:
    return None not in (recorded, found) and recorded != found


def _of_repetition(repeated: Repetition) -> Finding:
    subject, source = f"{repeated.unit} ({repeated.version_id})", repeated.unit.table.in_dataset
    if repeated.facts > 1:
        words = f"the catalog has {repeated.facts:,} records of it that contradict each other; the newest one counts"
        return Finding(Kind.TOLD_TWICE, subject, words, source)
    words = f"{repeated.rows:,} rows of the catalog are {counted(repeated.tellings, 'event')}; each event counts once"
    return Finding(Kind.REPEATED, subject, words, source)


def _of_copies(
    records: Iterable[RetentionRecord], failed: Collection[Unit], datasets: Iterable[FoundDataset], reason: str
) -> Iterator[Finding]:
    on_record: dict[TableRef, list[StoredVersion]] = {}
    busy: set[TableRef] = set()
    for record in records:
        busy |= record.busy
        for version in record.versions:
            on_record.setdefault(version.table, []).append(version)
    for dataset in datasets:
        for table in dataset.tables:
            known = on_record.get(table.ref, [])
            if table.expires and (known or _is_ours(table, dataset.source)):
                words = "it has an expiration that BigQuery would delete it by"
                source = known[0].unit.table.in_dataset if known else dataset.source
                yield Finding(Kind.EXPIRES, str(table.ref), words, source, LetLive(table.ref))
            if dataset.source is not None and table.ref not in busy:
                yield from _of_copy(table, dataset, dataset.source, known, failed, reason)


def _is_ours(table: FoundTable, source: DatasetRef | None) -> bool:
    return source is not None and source_of_table(table, source) is not None


def _of_copy(
    table: FoundTable,
    dataset: FoundDataset,
    source: DatasetRef,
    known: Collection[StoredVersion],
    failed: Collection[Unit],
    reason: str,
) -> Iterator[Finding]:
    of = source_of_table(table, source)
    if of is None:
        if not known:
            yield Finding(Kind.FOREIGN_TABLE, str(table.ref), _foreign(table), source)
        return
    if (described := other_description(table, of)) is not None:
        words = f"its description says that it is a backup of {described}, its name says {of}"
        yield Finding(Kind.WRONG_DESCRIPTION, str(table.ref), words, source)
        return
    if any(version.whole_table for version in known):
        return  # Partitions that are no version came along with a whole table.
    recorded = {version.place for version in known}
    found = versions_in(table, of, location=dataset.location, reason=reason)
    unknown = [version for version in found if version.backup not in recorded]
    yield from (_failed(version, source) for version in unknown if version.backup in failed)
    if adoptable := tuple(version for version in unknown if version.backup not in failed):
        yield _unrecorded(table, of, adoptable)


def _failed(version: Version, source: DatasetRef) -> Finding:
    words = f"the catalog says that this copy of {version.unit} failed: it is not to be trusted, and can be deleted"
    return Finding(Kind.FAILED_COPY, str(version.backup), words, source)


def _unrecorded(table: FoundTable, source: TableRef, versions: tuple[Version, ...]) -> Finding:
    partitions = [version.unit.partition for version in versions if version.unit.partition is not None]
    of = f"{counted(len(partitions), 'partition')} of {source}" if partitions else str(source)
    return Finding(
        Kind.UNRECORDED_COPY,
        str(table.ref),
        f"it holds {of}, and no version is on record",
        source.in_dataset,
        Adopt(versions),
    )


def _foreign(table: FoundTable) -> str:
    if table.ref.table.startswith("undelete-"):
        return "an undelete that was stopped has left it: the same undelete, run again, removes it"
    return f"it is no backup table by its name ({table.kind.lower()}): somebody made it by hand"


def _subject(version: StoredVersion) -> str:
    return f"{version.unit} of {version.captured_at:%Y-%m-%d %H:%M} ({version.version_id})"


def _stands_for(remedy: Remedy) -> str:
    match remedy:
        case Adopt(versions):
            return f"adopt {' '.join(f'{version.version_id}={version.rows}' for version in versions)}"
        case MarkLost(version, _):
            return f"lost {version.version_id}"
        case LetLive(table):  # pragma: no branch: the last of the remedies
            return f"live {table}"
