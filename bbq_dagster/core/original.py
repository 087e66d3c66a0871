"""What the original BBQ left behind: which of its copies are versions of what, read from their names.

Its rules are those of ocadotechnology/bbq at fb6a9b3. A backup dataset there is ``<year>_<week>_<location>_<project>``,
a backup table ``<date>_<time>_<project>_<dataset>_<table>``, with ``_partition_<id>`` for one partition; the hyphens of
the project are underscores, and so is what stands between the parts, so that a name may be read in several ways. Which
one is right is told by its Datastore export, by what is there, or by somebody; it is never guessed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bbq_dagster.core.found import FoundDataset, FoundTable, found_version
from bbq_dagster.core.inventory import State
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import counted, section, size
from bbq_dagster.errors import Refused

ADOPTED = "adopted from the original BBQ"
"""The reason of a version that the original BBQ made."""

_DATASET = re.compile(r"\d{4}_\d{2}_(?P<rest>.+)")
_TABLE = re.compile(r"(?P<stamp>\d{8}_\d{6})_(?P<rest>.+)", re.DOTALL)
_PARTITION = re.compile(r"(?P<rest>.+)_partition_(?P<id>\d{8}|__NULL__|__UNPARTITIONED__)", re.DOTALL)
_CUT_AT = 1000
_CUT = re.compile(rf".{{{_CUT_AT}}}__?\d+", re.DOTALL)
"""A name of more than 1,024 characters: its start and a hash, whose minus is an underscore as well."""


@dataclass(frozen=True, slots=True)
class ExportedBackup:
    """A row of its Datastore export: where a copy is, what of, and when its copy job started."""

    backup: TableRef
    unit: Unit
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """What helps to read a name: the export, tables that are known to exist, and datasets that somebody named.

    ``datasets`` are taken to be all that there ever were of their projects.
    """

    exported: Mapping[TableRef, ExportedBackup] = field(default_factory=dict)
    tables: Collection[TableRef] = frozenset()
    datasets: Collection[DatasetRef] = frozenset()


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """Copies that become versions, how many are versions already, and what cannot be read, each with why."""

    versions: tuple[Version, ...] = ()
    known: int = 0
    unclear: tuple[tuple[TableRef, str], ...] = ()
    unseen: Mapping[DatasetRef, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The same for the same versions, whenever they are found."""
        lines = sorted(f"{version.backup} {version.unit} {version.captured_at}" for version in self.versions)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def refuse_unless_approved(self, approved: str) -> None:
        """Raises ``Refused`` where it is not what was approved."""
        if approved != self.digest:
            raise Refused(
                f"the plan {approved} was approved, this one is {self.digest}: nothing was adopted",
                hint="something moved since it was shown: look at it again",
            )

    def __str__(self) -> str:
        return render_adoption(self)


def source_project_of(dataset: DatasetRef, location: str) -> str | None:
    """The source project of a backup dataset of the original; None where the name is not one of its names."""
    match = _DATASET.fullmatch(dataset.dataset)
    place = f"{location.replace('-', '_')}_".casefold()
    if match is None or not match["rest"].casefold().startswith(place):
        return None
    return match["rest"][len(place) :].replace("_", "-") or None


def plan_adoption(
    found: Iterable[FoundDataset],
    *,
    on_record: Collection[str],
    known: Known,
    unseen: Mapping[DatasetRef, str] | None = None,
) -> AdoptionPlan:
    """Read every copy of these datasets of the original. ``on_record`` has the ids of versions that there are."""
    versions: list[Version] = []
    unclear: list[tuple[TableRef, str]] = []
    for dataset in found:
        project = source_project_of(dataset.ref, dataset.location)
        for table in dataset.tables if project is not None else ():
            try:
                versions += _read(table, dataset.location, project or "", known)
            except _Unclear as reason:
                unclear.append((table.ref, str(reason)))
    new = tuple(version for version in versions if version.version_id not in on_record)
    return AdoptionPlan(new, len(versions) - len(new), tuple(unclear), unseen or {})


class _Unclear(Exception):
    """Why a copy cannot be told to be one of anything."""


def _read(table: FoundTable, location: str, project: str, known: Known) -> Iterator[Version]:
    exported = known.exported.get(table.ref)
    match = _TABLE.fullmatch(table.ref.table)
    if exported is not None:
        return _versions(table, location, exported.unit, exported.captured_at)
    prefix = f"{project.replace('-', '_')}_"
    if match is None or not match["rest"].startswith(prefix):
        raise _Unclear("its name is not one that the original gave")
    if _CUT.fullmatch(table.ref.table):
        raise _Unclear("its name was cut: only the Datastore export tells what it is a copy of")
    taken_at = _taken_at(match["stamp"])
    unit = _unit(match["rest"].removeprefix(prefix), table, project, known)
    return _versions(table, location, unit, taken_at)


def _taken_at(stamp: str) -> datetime:
    """When the original was about to start the copy job."""
    try:
        return datetime.strptime(stamp, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise _Unclear("its name does not begin with a time") from error


def _unit(text: str, table: FoundTable, project: str, known: Known) -> Unit:
    """``text`` is ``<dataset>_<table>`` with or without ``_partition_<id>``."""
    match = _PARTITION.fullmatch(text)
    if match is None:
        return _table(text, project, known).unit()
    if not table.is_partitioned:
        # A copy of a partition is partitioned. So this is a table that is called like one, if there is such a table.
        return _table(text, project, known, must_exist=True).unit()
    if not table.partitions.keys() <= {match["id"]}:
        raise _Unclear(f"its name says partition {match['id']}, and it holds other ones")
    return _table(match["rest"], project, known).unit(match["id"])


def _table(text: str, project: str, known: Known, *, must_exist: bool = False) -> TableRef:
    """The only table that ``<dataset>_<table>`` can be."""
    readings = list(_readings(text, project))
    existing = [table for table in readings if table in known.tables]
    named = [table for table in readings if table.in_dataset in known.datasets]
    for certain in (existing,) if must_exist else (existing, readings, named):
        if len(certain) == 1:
            return certain[0]
    if not readings:
        raise _Unclear("its name has no dataset and table")
    shown = " or ".join(f"{table.dataset}.{table.table}" for table in (existing or readings)[:3])
    raise _Unclear(f"its name can be that of {shown}{' or others' if len(existing or readings) > 3 else ''}")


def _readings(text: str, project: str) -> Iterator[TableRef]:
    for place in (match.start() for match in re.finditer("_", text)):
        dataset, table = text[:place], text[place + 1 :]
        if table and re.fullmatch(r"\w+", dataset, re.ASCII):
            yield TableRef(project, dataset, table)


def _versions(table: FoundTable, location: str, unit: Unit, captured_at: datetime) -> Iterator[Version]:
    """One version, or one of each partition where the original copied a partitioned table as a whole."""
    is_whole = unit.partition is None and table.is_partitioned
    held = table.held if is_whole else {unit.partition: table.held.get(unit.partition, State(0, 0))}
    for partition, state in held.items():
        yield found_version(
            unit.table.unit(partition),
            table.ref,
            state,
            location=location,
            captured_at=captured_at,
            # What was written before it began is in the copy.
            written_at=captured_at,
            whole_table=is_whole,
            reason=ADOPTED,
        )


def render_adoption(plan: AdoptionPlan, *, limit: int | None = 12) -> str:
    """The plan as text, ``limit`` lines per list at most (None: all)."""
    of_table: dict[str, list[Version]] = {}
    for version in plan.versions:
        of_table.setdefault(str(version.unit.table), []).append(version)
    total = size(sum(version.size_bytes or 0 for version in plan.versions))
    lines = (
        f"{table}: {counted(len(versions), 'version')} since {min(v.captured_at for v in versions):%Y-%m-%d}"
        for table, versions in sorted(of_table.items())
    )
    return "\n".join(
        [
            f"adoption plan: {counted(len(plan.versions), 'version')} ({total}) of {counted(len(of_table), 'table')};"
            f" {plan.known:,} on record already, {len(plan.unclear):,} unclear; digest {plan.digest}",
            *section("adopt", lines, limit=limit),
            *section("unclear, left alone", (f"{table}: {why}" for table, why in plan.unclear), limit=limit),
            *section("not looked at", (f"{ref}: {why}" for ref, why in plan.unseen.items()), limit=limit),
        ]
    )
