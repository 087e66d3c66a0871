"""What can happen to the sources on a day. Each action is a value, and means something in whatever state it is met.

``happen`` changes the truth and gives what has to be done to the server for it: nothing where the action does not fit,
because there is no such table by now. So any part of a list of actions is a list of actions, and a failing one shrinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

from bbq_dagster.core.tables import NULL_PARTITION, DatasetRef, TableRef
from bbq_dagster_tests.years.model import DAY, Kind, Row, Rows, Table, Truth

PARTITION_DAYS = 25
"""The expiration of partitions, where a table has one."""

_MOST_ROWS = 40
"""A partition that holds more takes no more: rows are compared one by one."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A statement to run where the dataset is."""

    dataset: DatasetRef
    text: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows to be streamed."""

    table: TableRef
    rows: tuple[Mapping[str, object], ...]


Effect = Sql | Stream


class Action(Protocol):
    def happen(self, truth: Truth, now: datetime) -> Iterable[Effect]: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """How one kind of table is written down: its column, PARTITION BY, and which partition a row belongs to."""

    column: str
    partition_by: str
    id_of_row: str

    def condition(self, partition: str | None) -> str:
        return "TRUE" if partition is None else f"{self.id_of_row} = '{partition}'"


def _by_time(column: str, by: str, function: str, pattern: str) -> Shape:
    return Shape(column, f" PARTITION BY {by}", f"IFNULL({function}('{pattern}', at), '{NULL_PARTITION}')")


SHAPES: Mapping[Kind, Shape] = {
    Kind.PLAIN: Shape("", "", "''"),
    Kind.DAY: _by_time(", at DATE", "at", "FORMAT_DATE", "%Y%m%d"),
    Kind.HOUR: _by_time(", at TIMESTAMP", "TIMESTAMP_TRUNC(at, HOUR)", "FORMAT_TIMESTAMP", "%Y%m%d%H"),
    Kind.MONTH: _by_time(", at DATE", "DATE_TRUNC(at, MONTH)", "FORMAT_DATE", "%Y%m"),
    Kind.RANGE: Shape(
        ", at INT64",
        " PARTITION BY RANGE_BUCKET(at, GENERATE_ARRAY(0, 1000, 10))",
        "CAST(10 * DIV(at, 10) AS STRING)",
    ),
    Kind.INGESTED: Shape("", " PARTITION BY _PARTITIONDATE", "FORMAT_TIMESTAMP('%Y%m%d', _PARTITIONTIME)"),
}


@dataclass(frozen=True, slots=True)
class CreateTable:
    """Where nothing has the name."""

    table: TableRef
    kind: Kind
    expires: bool = False

    def happen(self, truth: Truth, now: datetime) -> Iterator[Effect]:
        if self.table.in_dataset not in truth.datasets or self.table in truth.tables or self.table in truth.views:
            return
        days = PARTITION_DAYS if self.expires and self.kind in (Kind.DAY, Kind.INGESTED) else None
        truth.create(self.table, Table(self.kind, now, partition_days=days))
        shape = SHAPES[self.kind]
        options = f" OPTIONS (partition_expiration_days = {days})" if days else ""
        text = f"CREATE TABLE `{self.table}` (n INT64, v INT64{shape.column}){shape.partition_by}{options}"
        yield Sql(self.table.in_dataset, text)


@dataclass(frozen=True, slots=True)
class OnTable:
    """Of a table that is there, and has no rows in a streaming buffer, which BigQuery would not let be changed."""

    table: TableRef

    def happen(self, truth: Truth, now: datetime) -> Iterator[Effect]:
        table = truth.tables.get(self.table)
        if table is not None and not truth.is_streaming(self.table):
            yield from (Sql(self.table.in_dataset, text) for text in self.change(truth, table, now))

    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        """What is true from now on, and the statements that make it so."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Insert(OnTable):
    """Rows into the partition that ``pick`` names, which may be a new one."""

    first: int
    count: int
    pick: int

    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        partition, literal = _partition(table.kind, self.pick, now)
        rows = _rows(self.first, self.count, table)
        there = table.parts.get(partition, frozenset())
        if len(there) > _MOST_ROWS:
            return
        truth.write(self.table, partition, there | rows, now)
        columns = "n, v" + (", at" if literal else "") + (", c" if table.has_c else "")
        values = (
            f"({n}, {v}" + (f", {literal}" if literal else "") + (f", {c}" if table.has_c else "") + ")"
            for n, v, c in sorted(rows)
        )
        yield f"INSERT INTO `{self.table}` ({columns}) VALUES {', '.join(values)}"


@dataclass(frozen=True, slots=True)
class Update(OnTable):
    """Every row of one partition; as many rows as before, and as many bytes."""

    pick: int

    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        for partition in _one_of(table, self.pick):
            changed = frozenset((n, v + 1, c) for n, v, c in table.parts[partition])
            truth.write(self.table, partition, changed, now)
            yield f"UPDATE `{self.table}` SET v = v + 1 WHERE {SHAPES[table.kind].condition(partition)}"


@dataclass(frozen=True, slots=True)
class DeleteRow(OnTable):
    """The oldest row of one partition, which may be its last."""

    pick: int

    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        for partition in _one_of(table, self.pick):
            oldest = min(table.parts[partition])
            truth.write(self.table, partition, table.parts[partition] - {oldest}, now)
            condition = SHAPES[table.kind].condition(partition)
            yield f"DELETE FROM `{self.table}` WHERE {condition} AND n = {oldest[0]}"


@dataclass(frozen=True, slots=True)
class DeletePartition(OnTable):
    """All rows of one partition."""

    pick: int

    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        for partition in _one_of(table, self.pick):
            truth.write(self.table, partition, frozenset(), now)
            yield f"DELETE FROM `{self.table}` WHERE {SHAPES[table.kind].condition(partition)}"


@dataclass(frozen=True, slots=True)
class Truncate(OnTable):
    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        for partition in [*table.parts]:
            truth.write(self.table, partition, frozenset(), now)
        yield f"TRUNCATE TABLE `{self.table}`"


@dataclass(frozen=True, slots=True)
class AddColumn(OnTable):
    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        if not table.has_c:
            table.has_c = True
            truth.touch(self.table, now)
            yield f"ALTER TABLE `{self.table}` ADD COLUMN c INT64"


@dataclass(frozen=True, slots=True)
class Skip(OnTable):
    """The owner wants no backups of the table any more, or wants them again."""

    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        table.is_skipped = not table.is_skipped
        truth.touch(self.table, now)
        labels = '("bbq", "skip")' if table.is_skipped else ""
        yield f"ALTER TABLE `{self.table}` SET OPTIONS (labels = [{labels}])"


@dataclass(frozen=True, slots=True)
class Expire(OnTable):
    """The table goes by itself after some days, at the minute."""

    days: int

    def change(self, truth: Truth, table: Table, now: datetime) -> Iterator[str]:
        table.expires_at = now + self.days * DAY + timedelta(minutes=1)
        yield (
            f"ALTER TABLE `{self.table}` SET OPTIONS"
            f" (expiration_timestamp = TIMESTAMP '{table.expires_at:%Y-%m-%d %H:%M:%S}+00')"
        )


@dataclass(frozen=True, slots=True)
class Drop:
    """A table or a view; in its place comes a view, a table of another kind, or nothing."""

    table: TableRef
    instead: Kind | None = None
    view: bool = False

    def happen(self, truth: Truth, now: datetime) -> Iterator[Effect]:
        is_view = self.table in truth.views
        if not (is_view or self.table in truth.tables) or truth.is_streaming(self.table):
            return
        truth.drop(self.table, now)
        yield Sql(self.table.in_dataset, f"DROP {'VIEW' if is_view else 'TABLE'} `{self.table}`")
        if self.view:
            truth.views.add(self.table)
            yield Sql(self.table.in_dataset, f"CREATE VIEW `{self.table}` AS SELECT 1 AS n")
        elif self.instead is not None:
            yield from CreateTable(self.table, self.instead).happen(truth, now)


@dataclass(frozen=True, slots=True)
class StreamRows:
    """Into a table without partitions, or partitioned by the time at which the rows come."""

    table: TableRef
    first: int

    def happen(self, truth: Truth, now: datetime) -> Iterator[Effect]:
        table = truth.tables.get(self.table)
        expires = table.expires_at if table else None
        if table is None or table.kind not in (Kind.PLAIN, Kind.INGESTED) or (expires and expires < now + DAY):
            return
        rows = _rows(self.first, 1, table)
        partition = None if table.kind is Kind.PLAIN else f"{now:%Y%m%d}"
        truth.stream(self.table, partition, rows, now)
        names = ("n", "v", "c") if table.has_c else ("n", "v")
        yield Stream(self.table, tuple(dict(zip(names, row, strict=False)) for row in rows))


@dataclass(frozen=True, slots=True)
class DropDataset:
    dataset: DatasetRef

    def happen(self, truth: Truth, now: datetime) -> Iterator[Effect]:
        is_busy = any(streamed.table.in_dataset == self.dataset for streamed in truth.buffer)
        if self.dataset in truth.datasets and not is_busy:
            truth.drop_dataset(self.dataset, now)
            yield Sql(self.dataset, f"DROP SCHEMA `{self.dataset}` CASCADE")


@dataclass(frozen=True, slots=True)
class CreateDataset:
    """Where it was; with a few tables, so that names come back."""

    dataset: DatasetRef
    tables: tuple[CreateTable, ...] = ()

    def happen(self, truth: Truth, now: datetime) -> Iterator[Effect]:
        if self.dataset in truth.datasets:
            return
        truth.datasets.add(self.dataset)
        yield Sql(
            self.dataset, f"CREATE SCHEMA `{self.dataset}` OPTIONS (location = '{truth.locations[self.dataset]}')"
        )
        for table in self.tables:
            yield from table.happen(truth, now)


def _rows(first: int, count: int, table: Table) -> Rows:
    def row(n: int) -> Row:
        return (n, 0, n if table.has_c else None)

    return frozenset(map(row, range(first, first + count)))


def _one_of(table: Table, pick: int) -> list[str | None]:
    """One of the partitions that hold rows, or none."""
    held = sorted((partition for partition, rows in table.parts.items() if rows), key=str)
    return [held[pick % len(held)]] if held else []


def _partition(kind: Kind, pick: int, now: datetime) -> tuple[str | None, str]:
    """The id of a partition, and the literal of a value in it, if the rows say where they belong."""
    if kind is Kind.PLAIN:
        return None, ""
    if kind is Kind.INGESTED:
        return f"{now:%Y%m%d}", ""
    if kind is Kind.RANGE:
        return str(10 * (pick % 9)), str(10 * (pick % 9) + pick % 10)
    if pick % 11 == 0:
        return NULL_PARTITION, "NULL"
    if kind is Kind.HOUR:
        hour = now - timedelta(hours=pick % 30)
        return f"{hour:%Y%m%d%H}", f"TIMESTAMP '{hour:%Y-%m-%d %H}:30:00+00'"
    day = now - (pick % 5) * (DAY if kind is Kind.DAY else 31 * DAY)
    return f"{day:%Y%m%d}" if kind is Kind.DAY else f"{day:%Y%m}", f"DATE '{day:%Y-%m-%d}'"


class Dice:
    """Draws actions on tables: a tenth of the tables gets most of them."""

    def __init__(self, random: Random, tables: list[TableRef]) -> None:
        self._random = random
        self._tables = tables
        self._next_row = 0

    def opening(self) -> list[Action]:
        """Every table is created, of a kind of its own, and has rows."""
        kinds = list(Kind)
        actions: list[Action] = []
        for place, table in enumerate(self._tables):
            kind = kinds[place % len(kinds)]
            actions += [CreateTable(table, kind, expires=place % 5 == 0), self._insert(table)]
            actions += [self._insert(table)] * (kind is not Kind.PLAIN)
        return actions

    def day(self, count: int) -> list[Action]:
        return [action for _ in range(count) for action in self._draw()]

    def streams(self, count: int) -> list[Action]:
        return [self._streamed(self._table()) for _ in range(count)]

    def races(self, count: int) -> list[Action]:
        """What may happen between a plan and its run."""
        return [action for _ in range(count) for action in self._draw()]

    def rebuilt(self, dataset: DatasetRef) -> CreateDataset:
        of_dataset = [table for table in self._tables if table.in_dataset == dataset]
        chosen = self._random.sample(of_dataset, k=max(1, len(of_dataset) // 3))
        kinds = self._random.choices(list(Kind), k=len(chosen))
        return CreateDataset(dataset, tuple(map(CreateTable, sorted(chosen), kinds)))

    def _draw(self) -> list[Action]:
        table, random = self._table(), self._random
        kind, pick = random.choice(list(Kind)), random.randrange(1000)
        chances: list[tuple[int, list[Action]]] = [
            (40, [self._insert(table)]),
            (15, [Update(table, pick)]),
            (8, [DeleteRow(table, pick)]),
            (5, [DeletePartition(table, pick)]),
            (3, [Truncate(table)]),
            (4, [AddColumn(table)]),
            (2, [Expire(table, 1 + pick % 20)]),
            (2, [Skip(table)]),
            (3, [Drop(table)]),
            (4, [Drop(table, instead=kind), self._insert(table)]),
            (3, [Drop(table, view=True)]),
            (8, [CreateTable(table, kind, expires=pick % 3 == 0), self._insert(table)]),
            (5, [self._streamed(table)]),
        ]
        (_, drawn), *_ = random.choices(chances, [weight for weight, _ in chances])
        return drawn

    def _table(self) -> TableRef:
        hot = self._tables[: max(1, len(self._tables) // 10)]
        return self._random.choice(hot if self._random.random() < 0.5 else self._tables)

    def _insert(self, table: TableRef) -> Insert:
        count = self._random.randint(1, 3)
        self._next_row += count
        return Insert(table, self._next_row - count, count, self._random.randrange(1000))

    def _streamed(self, table: TableRef) -> StreamRows:
        self._next_row += 1
        return StreamRows(table, self._next_row - 1)
