"""What is protected, since when, and what failed: the record of datasets, summed up by table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.verification_record import Proof
from bbq_dagster.core.versions import DatasetRecord, Version

T = TypeVar("T")

_NO_PROOF = Proof("")


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One source table as the catalog knows it.

    * ``units``: units with a version; ``rows`` and ``size_bytes`` are those of their newest versions.
    * ``newest_at``, ``oldest_at``: when the newest and the oldest of these were captured; None where there is none.
    * ``gone``: units of them that were emptied or vanished from the source since.
    * ``failed``: units whose copies failed since their newest version, or that have none for that reason.
    * ``unfinished``: units in copies that have no end on record.
    * ``proven_at``: since when all of these are proven, by their oldest proof; None where one of them never was.
    * ``bad``: units whose newest version differs from what was copied.
    * ``looked_at``: when all tables of its dataset were last listed; None where that never succeeded.
    """

    table: TableRef
    units: int
    rows: int
    size_bytes: int
    newest_at: datetime | None
    oldest_at: datetime | None
    gone: int
    failed: int
    unfinished: int
    looked_at: datetime | None = None
    proven_at: datetime | None = None
    bad: int = 0


def table_statuses(
    records: Mapping[DatasetRef, DatasetRecord], proofs: Mapping[str, Proof] = MappingProxyType({})
) -> tuple[TableStatus, ...]:
    """The status of every table that is on record, by name. ``proofs`` are those of versions, by their ids."""
    statuses = [status for record in records.values() for status in _of_record(record, proofs)]
    return tuple(sorted(statuses, key=lambda status: status.table))


def _of_record(record: DatasetRecord, proofs: Mapping[str, Proof]) -> Iterable[TableStatus]:
    unfinished = [unit.unit for copy in record.unfinished for unit in copy.units]
    versions = _by_table((version.unit, version) for version in record.latest.values())
    gone = _by_table((unit, unit) for unit in record.absent if unit in record.latest)
    failed = _by_table((unit, unit) for unit in record.failures)
    begun = _by_table((unit, unit) for unit in unfinished)
    for table in versions.keys() | failed.keys() | begun.keys():
        yield _status(
            table,
            versions.get(table, []),
            [proofs.get(version.version_id, _NO_PROOF) for version in versions.get(table, [])],
            gone=len(gone.get(table, [])),
            failed=len(failed.get(table, [])),
            unfinished=len(begun.get(table, [])),
            looked_at=record.scanned_at,
        )


def _status(
    table: TableRef,
    versions: list[Version],
    proofs: list[Proof],
    *,
    gone: int,
    failed: int,
    unfinished: int,
    looked_at: datetime | None,
) -> TableStatus:
    captured = [version.captured_at for version in versions]
    proven = [proof.last_proven_at for proof in proofs if proof.last_proven_at is not None]
    return TableStatus(
        table=table,
        units=len(versions),
        rows=sum(version.rows or 0 for version in versions),
        size_bytes=sum(version.size_bytes or 0 for version in versions),
        newest_at=max(captured, default=None),
        oldest_at=min(captured, default=None),
        gone=gone,
        failed=failed,
        unfinished=unfinished,
        looked_at=looked_at,
        proven_at=min(proven) if proven and len(proven) == len(proofs) else None,
        bad=sum(proof.is_bad for proof in proofs),
    )


def _by_table(items: Iterable[tuple[Unit, T]]) -> dict[TableRef, list[T]]:
    grouped: dict[TableRef, list[T]] = {}
    for unit, item in items:
        grouped.setdefault(unit.table, []).append(item)
    return grouped
