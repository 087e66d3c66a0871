"""The restore plan: which copy jobs bring the chosen versions where, and everything that stands against it. A value.

``plan_restore`` decides; it starts nothing and reads no clock. Which versions are meant was decided in
``restore_choice``. Nothing of a plan with conflicts is carried out.

How a table is put together, by as few jobs as possible:

* One backup table holds exactly what is wanted: one copy of the whole table.
* A new table from several backup tables: the one that saves most jobs as a whole, as the base; the other partitions
  one by one. What else is in the base is then overwritten by these, or removed: partitions that were gone by then.
* Otherwise one copy job per partition, ``backup$p`` to ``target$p``. ``__NULL__`` and ``__UNPARTITIONED__`` cannot be
  named by a copy job: they come with the whole table, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import groupby
from types import MappingProxyType

from bbq_dagster.core.inventory import State, TableOptions, TableShape
from bbq_dagster.core.json_values import to_json
from bbq_dagster.core.plan import Quota
from bbq_dagster.core.restore_choice import Choice, Chosen, NotRestored
from bbq_dagster.core.restore_request import Create, OnExisting, RestoreRequest
from bbq_dagster.core.tables import SPECIAL_PARTITIONS, DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Version, Writing
from bbq_dagster.core.wording import counted
from bbq_dagster.errors import Refused

_NO_ROWS = State(rows=0, size_bytes=0)
_COPYABLE = frozenset({"BASE TABLE", "CLONE"})


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as it is now. A partition that is not in the map holds no rows; None stands for the whole table."""

    shape: TableShape
    partitions: Mapping[str | None, State] = field(default_factory=dict)

    def state_of(self, partition: str | None) -> State:
        return self.partitions.get(partition, _NO_ROWS)

    @property
    def held(self) -> frozenset[str | None]:
        """The partitions that have rows."""
        return frozenset(name for name, state in self.partitions.items() if not state.is_empty)


@dataclass(frozen=True, slots=True)
class World:
    """What a restore has to know of the warehouse: where the target datasets are, and what the tables are that it
    reads or writes. What is not in it does not exist."""

    locations: Mapping[DatasetRef, str] = field(default_factory=dict)
    tables: Mapping[TableRef, TableFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RestoredUnit:
    """A version inside a copy job."""

    version_id: str
    unit: Unit
    captured_at: datetime
    rows: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class RestoreItem:
    """One copy job: a backup table, or one partition of it, into the target. ``follows``: only after the base.

    ``removed``: partitions that come along with the whole backup table, are not wanted, and go again.
    """

    source: Unit
    target: Unit
    units: tuple[RestoredUnit, ...]
    writing: Writing = Writing.INTO_EMPTY
    follows: bool = False
    removed: tuple[Unit, ...] = ()

    @property
    def rows(self) -> int | None:
        """What the copy has to bring; None where the versions do not say, or where a base brings more."""
        counts = [unit.rows for unit in self.units]
        return None if None in counts else sum(count or 0 for count in counts)


@dataclass(frozen=True, slots=True)
class TableRestore:
    """One table to restore.

    * ``create_like``: it is created with schema, partitioning and clustering of this backup table and with
      ``options``; None where it exists. ``is_made_by_copy``: its copy job creates it, and it gets ``options`` then.
    * ``columns``: what it has to have when it is done, as pairs of name and type.
    * ``left_alone``: units that keep what they have. ``notes``: what a reader of the plan should know.
    """

    source: TableRef
    target: TableRef
    location: str
    items: tuple[RestoreItem, ...]
    how: str
    columns: tuple[tuple[str, str], ...]
    is_partitioned: bool = False
    create_like: TableRef | None = None
    options: TableOptions = field(default_factory=TableOptions)
    overwritten: tuple[Unit, ...] = ()
    overwritten_rows: int = 0
    left_alone: tuple[NotRestored, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[RestoredUnit, ...]:
        return tuple(unit for item in self.items for unit in item.units)

    @property
    def is_made_by_copy(self) -> bool:
        """BigQuery runs ten times as many copy jobs as it creates tables (BigQuery: quotas)."""
        return any(item.writing is Writing.INTO_NEW for item in self.items)


@dataclass(frozen=True)
class RestorePlan:
    """What a restore would do and what stands against it. ``seen`` stands for the state of the targets.

    Without slots: every event of a restore has its id, and the digest of 10,000 tables is not to be made for each.
    """

    request: RestoreRequest
    planned_at: datetime
    tables: tuple[TableRestore, ...] = ()
    new_datasets: tuple[tuple[DatasetRef, str], ...] = ()
    left_out: tuple[NotRestored, ...] = ()
    conflicts: tuple[str, ...] = ()
    seen: str = ""

    @property
    def items(self) -> tuple[RestoreItem, ...]:
        return tuple(item for table in self.tables for item in table.items)

    @property
    def units(self) -> tuple[RestoredUnit, ...]:
        return tuple(unit for table in self.tables for unit in table.units)

    @cached_property
    def digest(self) -> str:
        """The same for the same decisions about the same world; anything else gives another one."""
        return _digest(to_json(self))

    @property
    def restore_id(self) -> str:
        """One restore has one id, however often it is applied; planned anew, it is another restore."""
        return f"restore_{self.planned_at.astimezone(UTC):%Y%m%dT%H%M%SZ}_{self.digest[:12]}"

    def __str__(self) -> str:
        from bbq_dagster.core.restore_render import render_restore

        return render_restore(self)


def targets_of(request: RestoreRequest, choice: Choice) -> tuple[TableRef, ...]:
    """The tables that would be written."""
    return tuple(sorted({_target(request, chosen) for chosen in choice.chosen}))


def backup_tables_of(choice: Choice) -> tuple[tuple[TableRef, str], ...]:
    """The backup tables that would be read, each with its location."""
    return tuple(sorted({(chosen.version.backup.table, chosen.version.location) for chosen in choice.chosen}))


def plan_restore(
    request: RestoreRequest,
    choice: Choice,
    world: World,
    *,
    may_write: Collection[str],
    now: datetime,
    flaws: Mapping[str, str] = MappingProxyType({}),
) -> RestorePlan:
    """Plan the restore of the chosen versions.

    ``may_write``: the restore projects of the settings; a source project may always get its own tables back. All
    conflicts are in the plan at once; a plan with conflicts changes nothing. ``flaws``: how versions differ from what
    was copied, by their ids; such a one is restored only where the request says that it may be.
    """
    if choice.faults:
        return RestorePlan(request, now, left_out=choice.left_out, conflicts=choice.faults)
    at = request.as_of or now
    limited, not_wanted, missing = _limit(request, choice.chosen, world, at)
    groups = _by_target(request, limited)
    looked = [_Table(request, target, group, world, now).plan() for target, group in groups]
    tables = tuple(table for table, _ in looked if table is not None and table.items)
    conflicts = (
        *missing,
        *_flawed(request, limited, flaws),
        *_misnamed(groups),
        *_forbidden(groups, may_write),
        *_datasets_in_the_way(request, groups, world),
        *(conflict for _, found in looked for conflict in found),
    )
    return RestorePlan(
        request,
        now,
        tables=tables,
        new_datasets=_new_datasets(tables, world),
        left_out=(*choice.left_out, *not_wanted, *_all_left_alone(looked)),
        conflicts=conflicts or (() if tables else (_NOTHING,)),
        seen=_digest(_sight(tables, world)),
    )


_NOTHING = "nothing is left to restore: what was asked for is left alone or left out, see there why"


def copy_jobs_fault(plan: RestorePlan, quota: Quota) -> str:
    """Why the day's copy jobs are too few; empty where they are not.

    No conflict: on the worst day a part today is better than nothing, and the same plan finishes what is left.
    """
    jobs, left = len(plan.items), quota.copy_jobs_left
    if jobs <= left:
        return ""
    days = math.ceil((jobs - left) / quota.copy_jobs_per_day)
    return (
        f"{jobs:,} copy jobs, {left:,} are left today: the others fail today, and the same plan, applied again,"
        f" finishes them in {counted(days, 'more day')}"
    )


def _target(request: RestoreRequest, chosen: Chosen) -> TableRef:
    return request.target.of(chosen.version.unit.table, named=chosen.table)


def _limit(
    request: RestoreRequest, chosen: Sequence[Chosen], world: World, at: datetime
) -> tuple[list[Chosen], list[NotRestored], list[str]]:
    """The versions of wanted partitions, the others, and partitions that were asked for by id and are not there."""
    if not request.partitions.are_limited:
        return list(chosen), [], []
    wanted, others = [], []
    for one in chosen:
        unit = one.version.unit
        facts = world.tables.get(one.version.backup.table)
        by_number = facts is not None and facts.shape.is_partitioned_by_range
        if unit.partition is None or request.partitions.take(unit.partition, at=at, by_number=by_number):
            wanted.append(one)
        else:
            others.append(NotRestored(unit, "not among the partitions that were asked for"))
    found = {one.version.unit.partition for one in wanted}
    missing = [name for name in request.partitions.ids if name not in found]
    return wanted, others, [f"partition {name}: no table that was asked for had it then" for name in missing]


def _by_target(request: RestoreRequest, chosen: Iterable[Chosen]) -> list[tuple[TableRef, list[Version]]]:
    """Each target with its versions, both in order."""
    groups: dict[TableRef, list[Version]] = {}
    for (table, named), same in groupby(chosen, key=lambda one: (one.version.unit.table, one.table)):
        groups.setdefault(request.target.of(table, named=named), []).extend(one.version for one in same)
    for versions in groups.values():
        versions.sort(key=lambda version: version.unit.sort_key)
    return sorted(groups.items())


def _flawed(request: RestoreRequest, chosen: Iterable[Chosen], flaws: Mapping[str, str]) -> list[str]:
    if request.even_if_bad:
        return []
    return [
        f"version {one.version.version_id} of {one.version.unit} is bad: {flaws[one.version.version_id]}."
        " It is restored only if asked for: restore an older one by its id, or this one with --even-if-bad"
        for one in chosen
        if one.version.version_id in flaws
    ]


def _misnamed(groups: Iterable[tuple[TableRef, object]]) -> list[str]:
    return [
        f"{target} cannot be the name of a table: nothing was looked at there"
        for target, _ in groups
        if not _is_name(target)
    ]


def _is_name(target: TableRef) -> bool:
    try:
        return TableRef.parse(str(target)) == target
    except Refused:
        return False


def _forbidden(groups: Iterable[tuple[TableRef, Sequence[Version]]], may_write: Collection[str]) -> list[str]:
    pairs = sorted({(v.unit.table.project, target.project) for target, versions in groups for v in versions})
    allowed = ", ".join(sorted(may_write)) or "none"
    return [
        f"{target} is neither the source project {source} nor a restore project of the settings"
        f" (restore_projects: {allowed})"
        for source, target in pairs
        if target != source and target not in may_write
    ]


def _datasets_in_the_way(
    request: RestoreRequest, groups: Iterable[tuple[TableRef, Sequence[Version]]], world: World
) -> list[str]:
    wanted: dict[DatasetRef, set[str]] = {}
    for target, versions in groups:
        wanted.setdefault(target.in_dataset, set()).update(version.location.casefold() for version in versions)
    found = []
    for dataset, locations in sorted(wanted.items()):
        there = world.locations.get(dataset)
        if there is not None and locations != {there.casefold()}:
            away = ", ".join(sorted(locations - {there.casefold()}))
            found.append(f"dataset {dataset} is in {there}, versions are in {away}: a copy stays in its location")
        elif there is None and len(locations) > 1:
            found.append(f"versions in {', '.join(sorted(locations))} cannot go into one dataset, {dataset}")
        elif there is None and request.create is Create.NEVER:
            found.append(f"dataset {dataset} does not exist, and nothing is to be created")
    return found


def _new_datasets(tables: Iterable[TableRestore], world: World) -> tuple[tuple[DatasetRef, str], ...]:
    wanted = {(table.target.in_dataset, table.location) for table in tables}
    return tuple(sorted(pair for pair in wanted if pair[0] not in world.locations))


def _all_left_alone(looked: Iterable[tuple[TableRestore | None, object]]) -> list[NotRestored]:
    """Of the tables of which nothing is restored; the others carry theirs."""
    return [left for table, _ in looked if table is not None and not table.items for left in table.left_alone]


class _Table:
    """The planning of one target: what is there, what is wanted, what is in the way."""

    def __init__(
        self, request: RestoreRequest, target: TableRef, versions: Sequence[Version], world: World, now: datetime
    ) -> None:
        self._request, self._target, self._versions, self._world, self._now = request, target, versions, world, now
        self._there = world.tables.get(target)
        self._held_there: frozenset[str | None] = frozenset() if self._there is None else self._there.held
        self._taken = [version for version in versions if version.unit.partition in self._held_there]
        self._is_partitioned = any(version.unit.partition is not None for version in versions)
        self._newest = max(versions, key=lambda version: version.captured_at)
        self._held_by = _by_backup_table(versions)
        self._backups = {table: world.tables[table] for table in sorted(self._held_by) if table in world.tables}
        self._like = self._covering()
        self._conflicts: list[str] = []
        self._notes: list[str] = []

    def plan(self) -> tuple[TableRestore | None, list[str]]:
        """The table's part of the plan, and the conflicts. None where nothing can be said of how."""
        self._conflicts += self._clashes() or self._unreadable() or [*self._in_the_way(), *self._schema_faults()]
        if self._conflicts:
            return None, self._conflicts
        wanted, left_alone = self._wanted()
        items, how = self._items(wanted)
        overwritten = self._overwritten(wanted)
        created = self._there is None
        table = TableRestore(
            source=self._newest.unit.table,
            target=self._target,
            location=self._newest.location,
            items=items,
            how=how,
            columns=self._columns_after(),
            is_partitioned=self._is_partitioned,
            create_like=self._like if created else None,
            options=self._options() if created else TableOptions(),
            overwritten=tuple(self._target.unit(unit.unit.partition) for unit in overwritten),
            overwritten_rows=sum(self._rows_there(unit.unit.partition) for unit in overwritten),
            left_alone=tuple(left_alone),
            notes=tuple(self._notes),
        )
        return table, self._conflicts

    # What makes it impossible

    def _clashes(self) -> list[str]:
        sources = sorted({version.unit.table for version in self._versions})
        if len(sources) > 1:
            return [f"{self._target}: {' and '.join(map(str, sources))} would both go there"]
        twice = [
            unit for unit, same in groupby(self._versions, key=lambda version: version.unit) if len(list(same)) > 1
        ]
        if twice:
            return [
                f"{self._target.unit(unit.partition)}: two versions of {unit} would both go there" for unit in twice
            ]
        if self._is_partitioned and any(version.unit.partition is None for version in self._versions):
            return [f"{self._target}: a version of the whole table and versions of partitions would both go there"]
        return []

    def _unreadable(self) -> list[str]:
        found = []
        for backup, same in sorted(self._held_by.items()):
            facts = self._world.tables.get(backup)
            if facts is None:
                found.append(f"{self._target}: the backup table {backup} is not there")
                continue
            for version in same:
                rows = facts.state_of(version.backup.partition).rows
                if version.rows is not None and rows is not None and rows != version.rows:
                    found.append(f"{version.backup} has {rows:,} rows, its version has {version.rows:,}")
        return found

    def _in_the_way(self) -> list[str]:
        there, request = self._there, self._request
        if there is None:
            return [f"{self._target} does not exist, and nothing is to be created"] * (request.create is Create.NEVER)
        if there.shape.kind not in _COPYABLE:
            return [f"{self._target} is there and is a {there.shape.kind.lower()}"]
        if there.shape.is_partitioned != self._is_partitioned:
            is_partitioned = "is" if there.shape.is_partitioned else "is not"
            return [f"{self._target} {is_partitioned} partitioned, other than the version"]
        taken = self._taken
        if request.on_existing is not OnExisting.FAIL or not taken:
            return []
        more = f" and {len(taken) - 1:,} more" if len(taken) > 1 else ""
        first = self._target.unit(taken[0].unit.partition)
        return [f"{first}{more} has rows already: choose what happens on existing rows: skip, replace or append"]

    def _schema_faults(self) -> list[str]:
        if self._there is None:
            fits = self._like is not None
            problem = "its versions have columns, partitioning or clustering that do not fit into one table"
            return [] if fits else [f"{self._target}: {problem}: restore fewer partitions at a time"]
        if self._there.shape.kind not in _COPYABLE:
            return []
        shapes = sorted({facts.shape for facts in self._backups.values()}, key=lambda shape: shape.columns)
        differences = list(dict.fromkeys(line for shape in shapes for line in _misfits(shape, self._there.shape)))
        only_there = sorted(dict(self._there.shape.columns).keys() - {c for shape in shapes for c, _ in shape.columns})
        if self._replaces_schema:
            self._notes += [f"schema: {line}" for line in differences]
            self._notes += [f"schema: the column {name} goes: the version has none" for name in only_there]
            return []
        self._notes += [f"schema: the column {name} stays empty: the version has none" for name in only_there]
        return [f"{self._target}: {line}" for line in differences]

    # What is done

    def _wanted(self) -> tuple[list[Version], list[NotRestored]]:
        taken = {version.unit for version in self._taken}
        wanted, left_alone = [], []
        for version in self._versions:
            if self._request.on_existing is OnExisting.SKIP and version.unit in taken:
                rows = self._rows_there(version.unit.partition)
                left_alone.append(NotRestored(version.unit, f"its target has {rows:,} rows already"))
            elif self._is_partitioned and self._is_held_empty(version):
                left_alone.append(NotRestored(version.unit, "the version is empty: no copy job can name it"))
            else:
                wanted.append(version)
        return wanted, left_alone

    def _items(self, wanted: Sequence[Version]) -> tuple[tuple[RestoreItem, ...], str]:
        if not wanted:
            return (), "nothing"
        if not self._is_partitioned:
            return (self._whole(wanted, self._writing()),), "one copy job"
        if self._is_whole(wanted):
            return (self._whole(wanted, self._writing()),), "one copy job: one backup table holds all of it"
        base = self._base(wanted)
        if base is None:
            self._conflicts += self._unnameable(wanted)
            return tuple(self._one(version, self._writing()) for version in wanted), "a copy job for each partition"
        return self._over(base, wanted)

    def _over(self, base: TableRef, wanted: Sequence[Version]) -> tuple[tuple[RestoreItem, ...], str]:
        """All of ``base``, without what is not wanted, and over it what it does not have."""
        first = [version for version in wanted if version.backup.table == base]
        others = [version for version in wanted if version.backup.table != base]
        self._conflicts += self._unnameable(others)
        unwanted = self._backups[base].held - {version.unit.partition for version in wanted}
        removed = tuple(self._target.unit(partition) for partition in sorted(unwanted, key=str))
        whole = replace(self._whole(first, Writing.INTO_EMPTY), removed=removed)
        over = tuple(replace(self._one(version, Writing.REPLACE), follows=True) for version in others)
        how = [f"one copy job for {counted(len(first), 'partition')}"]
        if removed:
            how.append(f"{counted(len(removed), 'other')} that came along removed")
        if others:
            how.append(f"then {len(others):,} for the others")
        return (whole, *over), ", ".join(how)

    def _is_whole(self, wanted: Sequence[Version]) -> bool:
        """One backup table holds exactly what is wanted, and a copy of all of it touches nothing else."""
        backups = {version.backup.table for version in wanted}
        if len(backups) > 1 or self._backups[backups.pop()].held != {version.unit.partition for version in wanted}:
            return False
        others = self._held_there - {version.unit.partition for version in wanted}
        is_empty = not self._held_there
        if self._request.on_existing is OnExisting.REPLACE and not is_empty:
            return not others and self._columns_after() == self._backups[wanted[0].backup.table].shape.columns
        return is_empty or self._request.on_existing is OnExisting.APPEND

    def _base(self, wanted: Sequence[Version]) -> TableRef | None:
        """The backup table whose whole copy saves most; everything else in it is overwritten or removed afterwards."""
        if self._held_there:
            return None
        every = {version.unit.partition for version in wanted}
        best: tuple[int, TableRef] | None = None
        by_backup = _by_backup_table(wanted)
        for backup, facts in self._backups.items():
            own = {version.unit.partition for version in by_backup.get(backup, ())}
            special = bool(own & SPECIAL_PARTITIONS)
            saved = len(own) - len(facts.held - every)
            if not (facts.held - own) & SPECIAL_PARTITIONS and (saved > 1 or special):
                rank = saved + len(wanted) * special, backup
                best = rank if best is None else max(best, rank)
        return None if best is None else best[1]

    def _unnameable(self, one_by_one: Iterable[Version]) -> list[str]:
        special = sorted(v.unit.key for v in one_by_one if v.unit.partition in SPECIAL_PARTITIONS)
        return [
            f"{self._target}: {name} comes only with a copy of its whole backup table, which would bring or overwrite"
            " other partitions: restore into a new table, or without it"
            for name in special
        ]

    def _whole(self, versions: Sequence[Version], writing: Writing) -> RestoreItem:
        backup = versions[0].backup.table
        return RestoreItem(backup.unit(), self._target.unit(), tuple(map(_restored, versions)), writing)

    def _one(self, version: Version, writing: Writing) -> RestoreItem:
        target = self._target.unit(version.unit.partition)
        return RestoreItem(version.backup, target, (_restored(version),), writing)

    def _writing(self) -> Writing:
        if self._there is None and not self._is_partitioned and self._newest.options.kms_key_name is None:
            return Writing.INTO_NEW  # a copy job would encrypt it with another key
        if not self._held_there:
            return Writing.INTO_EMPTY
        return {OnExisting.REPLACE: Writing.REPLACE, OnExisting.APPEND: Writing.APPEND}.get(
            self._request.on_existing, Writing.INTO_EMPTY
        )

    def _overwritten(self, wanted: Iterable[Version]) -> list[Version]:
        taken = {version.unit for version in self._taken}
        is_replaced = self._request.on_existing is OnExisting.REPLACE
        others = self._held_there - {version.unit.partition for version in self._versions}
        if is_replaced and others:
            self._notes.append(f"{len(others):,} other partitions of the target stay as they are")
        return [version for version in wanted if is_replaced and version.unit in taken]

    # What is there

    @property
    def _replaces_schema(self) -> bool:
        return not self._is_partitioned and self._request.on_existing is OnExisting.REPLACE

    def _is_held_empty(self, version: Version) -> bool:
        return self._backups[version.backup.table].state_of(version.backup.partition).is_empty

    def _rows_there(self, partition: str | None) -> int:
        return 0 if self._there is None else self._there.state_of(partition).rows or 0

    # What a new table is like

    def _covering(self) -> TableRef | None:
        """The newest backup table into whose likeness all others fit."""
        newest = {table: max(version.captured_at for version in self._held_by[table]) for table in self._backups}
        newest_first = sorted(newest, key=lambda table: (newest[table], table), reverse=True)
        shapes = {facts.shape for facts in self._backups.values()}
        return next(
            (
                table
                for table in newest_first
                if not any(_misfits(shape, self._backups[table].shape) for shape in shapes)
            ),
            None,
        )

    def _columns_after(self) -> tuple[tuple[str, str], ...]:
        if self._there is not None and not self._replaces_schema:
            return self._there.shape.columns
        assert self._like is not None, f"{self._target}: checked by _schema_faults"
        return self._backups[self._like].shape.columns

    def _options(self) -> TableOptions:
        options = self._newest.options
        if options.kms_key_name is not None:
            self._notes.append(
                f"encrypted with {options.kms_key_name}, which has to be of use in {self._target.project}"
            )
        days = options.partition_expiration_days
        if days is None:
            return options
        if not self._request.keep_partition_expiration:
            self._notes.append(f"its partitions expired after {days:g} days: left off, they stay")
            return replace(options, partition_expiration_days=None)
        old = [v for v in self._versions if _is_older(v.unit.partition or "", days, self._now)]
        if old:
            self._notes.append(f"WARNING: {len(old):,} partitions are older than {days:g} days and expire at once")
        return options


def _by_backup_table(versions: Iterable[Version]) -> dict[TableRef, list[Version]]:
    held: dict[TableRef, list[Version]] = {}
    for version in versions:
        held.setdefault(version.backup.table, []).append(version)
    return held


def _misfits(of: TableShape, into: TableShape) -> list[str]:
    """Why rows of a table cannot go into another one: nothing where they can."""
    held = {name.casefold(): kind for name, kind in into.columns}
    found = [
        f"the column {name} is {kind} in the version, {held.get(name.casefold(), 'not there')} in the target"
        for name, kind in of.columns
        if held.get(name.casefold()) != kind
    ]
    if (of.partition_column, of.partition_type) != (into.partition_column, into.partition_type):
        found.append(f"partitioned by {into.partition_column}, the version by {of.partition_column}")
    if of.is_partitioned and of.clustering != into.clustering:
        clustered = [", ".join(shape.clustering) or "nothing" for shape in (into, of)]
        found.append(f"clustered by {clustered[0]}, the version by {clustered[1]}")
    return found


def _is_older(partition: str, days: float, now: datetime) -> bool:
    """Of a partition by day or hour; of one by month or year, whether it begins before that."""
    if partition in SPECIAL_PARTITIONS or not partition.isdecimal() or len(partition) < 4:
        return False
    text = partition[:8]
    begins = date(int(text[:4]), int(text[4:6] or "1"), int(text[6:8] or "1"))
    return begins < (now - timedelta(days=days)).date()


def _restored(version: Version) -> RestoredUnit:
    return RestoredUnit(version.version_id, version.unit, version.captured_at, version.rows, version.size_bytes)


def _sight(tables: Iterable[TableRestore], world: World) -> list[object]:
    """What of the world the plan depends on: whether targets exist, their shape, and what is where it writes."""
    return [_sight_of(table, world) for table in tables]


def _sight_of(table: TableRestore, world: World) -> object:
    there = world.tables.get(table.target)
    if there is None:
        return [str(table.target), world.locations.get(table.target.in_dataset)]
    states = sorted((unit.unit.key, to_json(there.state_of(unit.unit.partition))) for unit in table.units)
    return [str(table.target), world.locations.get(table.target.in_dataset), to_json(there.shape), states]


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
