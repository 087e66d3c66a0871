"""The names of backup datasets, backup tables and copy jobs: derived, reversible, free of collisions.

The same source and state give the same name on every retry; two different ones never share a name. ``source_of`` and
``dataset_source_of`` give the source back, so that the catalog can be rebuilt from what the backup project holds.
The original's names collided across datasets and partitions, and around New Year (its faults W2, W3, W7, W8).

    acme-shop.sales in EU                 bbq_acme_shop__sales__eu
    acme-shop.sales.orders                orders-20260131T021500Z-3kq7zr5n2v6w4hxa
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from bbq_dagster.core.inventory import State
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy

MAX_NAME_BYTES = 1024
"""Of dataset ids (characters, all ASCII) and table ids (UTF-8 bytes); BigQuery: datasets, tables."""

SCRATCH_PREFIX = "bbq_drill__"
"""Of the datasets that versions are restored into for trial."""

_STAMP = "%Y%m%dT%H%M%SZ"
_SUFFIX = re.compile(r"-(?:(?P<stamp>\d{8}T\d{6}Z)|undated)-[a-z2-7]{16}")
_BACKUP_OF = "Backup of "
_CUT = "-cut"
_CUT_DATASET = re.compile(r"__CUT_[a-z2-7]{16}$")
"""Marks of a shortened name: the description of the backup dataset or table has the full one. A source that happens
to carry the mark is shortened as well, so that a marked name always stands for a digest."""


def backup_dataset(source: DatasetRef, *, location: str, into: str) -> DatasetRef:
    """The dataset in project ``into`` that holds the backups of ``source`` while it is in ``location``."""
    project, place = _escape_project(source.project), _escape_location(location)
    name = f"bbq_{project}__{source.dataset}__{place}"
    if len(name) > MAX_NAME_BYTES or _CUT_DATASET.search(source.dataset):
        cut = f"__CUT_{_digest(source.dataset)}"
        room = MAX_NAME_BYTES - len(f"bbq_{project}____{place}{cut}")
        name = f"bbq_{project}__{source.dataset[:room]}{cut}__{place}"
    return DatasetRef(into, name)


def dataset_source_of(backup: DatasetRef) -> DatasetRef | None:
    """The source dataset of a backup dataset; None where the name is not ours, or was shortened."""
    match = re.fullmatch(r"bbq_(?P<project>.+?)__(?P<dataset>.+)__(?P<location>[a-z0-9_]+?)", backup.dataset)
    if match is None or _CUT_DATASET.search(match["dataset"]):
        return None
    return DatasetRef(_unescape_project(match["project"]), match["dataset"])


def backup_table(
    source: TableRef,
    units: Iterable[tuple[Unit, State]],
    *,
    created_at: datetime,
    supersedes: Iterable[str] = (),
    attempt: int = 1,
    salt: str = "",
) -> str:
    """The name of the backup table that holds these units of ``source``, each in the given state.

    It carries the newest modification time for the eye and a digest of all that identifies the state, with the ids of
    the versions it ``supersedes``: BigQuery may show one state for two contents (rows leaving a streaming buffer).
    ``attempt`` keeps a new copy clear of what a failed one may have left behind. ``salt`` is there for copies that are
    made although nothing changed: two of those are two versions.
    """
    states = sorted((unit.key, state.rows, state.size_bytes, _iso(state.modified_at)) for unit, state in units)
    newest = max((state[3] for state in states if state[3]), default="")
    stamp = datetime.fromisoformat(newest).strftime(_STAMP) if newest else "undated"
    suffix = f"-{stamp}-{_digest(str(source), _iso(created_at), states, sorted(supersedes), attempt, salt)}"
    if len((source.table + suffix).encode()) <= MAX_NAME_BYTES:
        return source.table + suffix
    return _start_of(source.table, MAX_NAME_BYTES - len(_CUT + suffix)) + _CUT + suffix


def source_of(name: str) -> str | None:
    """The id of the source table of a backup table; None where the name is not ours, or was shortened."""
    match = re.fullmatch(rf"(?P<table>.+){_SUFFIX.pattern}", name, re.DOTALL)
    return None if match is None or match["table"].endswith(_CUT) else match["table"]


def newest_write_of(name: str) -> datetime | None:
    """The end of the second in which the source was last written to, as far as the name of a backup table tells.

    What was written by then is in the table, as it was seen before the copy began. None where the name is undated.
    """
    match = re.search(rf"{_SUFFIX.pattern}$", name)
    if match is None or match["stamp"] is None:
        return None
    return datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)


def description_of(source: DatasetRef | TableRef) -> str:
    """On the backup dataset or table: its name may be too short for all of this."""
    return f"{_BACKUP_OF}{source}"


def described_source(description: str | None) -> str | None:
    """The source that ``description_of`` names, as text; None where somebody else wrote the description."""
    if description is None or not description.startswith(_BACKUP_OF):
        return None
    return description.removeprefix(_BACKUP_OF)


def is_created_first(copy: Copy) -> bool:
    """Whether the backup table of ``copy`` is created before the copy job runs.

    * A partitioned one: without the expirations of its source. A copy job would carry the partition expiration over,
      and old partitions would vanish at once (BigQuery: managing-partitioned-tables).
    * One with a shortened name: a copy job gives it no description, which has the full one.
    """
    return copy.partitioned or is_shortened(copy.destination.table.table)


def is_shortened(name: str) -> bool:
    """Whether this is the name of a backup table that leaves a part of its source out."""
    return re.search(rf"{_CUT}{_SUFFIX.pattern}$", name) is not None


def copy_id(copy: Copy) -> str:
    """The id of a planned copy. ``copy.attempt`` counts what failed in earlier runs; each restore has its own ids."""
    of_restore = (copy.restore_id,) if copy.restore_id else ()
    return f"bbq_{_digest(str(copy.source), str(copy.destination), *of_restore)}_{copy.attempt}"


def job_id(copy: Copy, *, tried: int) -> str:
    """The id of the copy job, the same on every retry, so that a lost response finds the first job (409).

    ``tried`` counts the jobs of this copy that failed in a way that a new job may mend; BigQuery runs an id once.
    """
    return f"{copy_id(copy)}_{tried + 1}"


def version_id(backup: Unit) -> str:
    """The id of the version that ``backup`` holds: the same in every run that records it."""
    return _digest(str(backup))


def _digest(*facts: object) -> str:
    """80 bits in 16 characters of a-z and 2-7: among 10 million names, two are equal with a probability of 4·10⁻¹¹."""
    raw = hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).digest()[:10]
    return base64.b32encode(raw).decode().lower()


def _escape_project(project: str) -> str:
    """Project ids are lower case, so that upper case letters are free for what a dataset id cannot hold."""
    escaped = project.replace(":", "COLON").replace(".", "DOT")
    return re.sub(r"-(?=-)", "DASH", escaped).replace("-", "_")


def _unescape_project(escaped: str) -> str:
    return escaped.replace("_", "-").replace("DASH", "-").replace("DOT", ".").replace("COLON", ":")


def _escape_location(location: str) -> str:
    return location.lower().replace("-", "_")


def _start_of(text: str, room: int) -> str:
    """The longest start of ``text`` that fits into ``room`` UTF-8 bytes."""
    return text.encode()[:room].decode(errors="ignore")


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat()
