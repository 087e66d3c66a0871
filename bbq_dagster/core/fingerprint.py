"""What identifies the content of a version: rows, schema, and sums of hashes that no order of the rows changes.

Values and their comparison. How BigQuery is asked for them is in ``warehouse.fingerprint_sql``, what follows from a
comparison in ``verification``.

* Of each column the sum of a hash of every value. A sum, as an exclusive or would take two equal rows for none.
* The same of all values of a row together, or else two values that changed places between rows would not be seen.
* Of the schema names, types and modes. Descriptions and labels may change without the data changing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bbq_dagster.core.json_values import from_json, to_json
from bbq_dagster.core.tables import TableRef

METHOD = 1
"""How fingerprints are made. Two of different methods say nothing about each other."""

LEAST_BILLED = 10 * 2**20
"""Bytes that a query is billed for at least, for each table that it reads (BigQuery: pricing)."""

_NAMED = 5
"""Columns that a sentence names; the others are counted."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or a field of one, as the schema of a table has it."""

    name: str
    type: str
    mode: str = "NULLABLE"
    fields: tuple[Field, ...] = ()

    @property
    def shape(self) -> tuple[object, ...]:
        """Name and type, all the way down. A mode may be relaxed without touching the data."""
        return self.name, self.type, self.mode == "REPEATED", tuple(field.shape for field in self.fields)


@dataclass(frozen=True, slots=True)
class TimePartitioning:
    """By ``period`` (HOUR, DAY, MONTH, YEAR) of a DATE, DATETIME or TIMESTAMP; ``column`` None: of its arrival."""

    period: str
    column: str | None = None
    type: str = "TIMESTAMP"


@dataclass(frozen=True, slots=True)
class RangePartitioning:
    """By integer range: ``start`` is in the first one, ``end`` after the last."""

    column: str
    start: int
    end: int
    interval: int


@dataclass(frozen=True, slots=True)
class TableLayout:
    """What has to be known of a table to ask for fingerprints of its partitions."""

    fields: tuple[Field, ...]
    partitioning: TimePartitioning | RangePartitioning | None = None
    created_at: datetime | None = None
    modified_at: datetime | None = None

    @property
    def schema(self) -> str:
        """A hash of names, types and modes, in their order."""
        return hashlib.sha256(json.dumps(to_json(self.fields)).encode()).hexdigest()[:32]

    @property
    def shape(self) -> tuple[object, ...]:
        return tuple(field.shape for field in self.fields)


@dataclass(frozen=True, slots=True)
class Question:
    """Which partitions of which table, as it is or as it was at an instant. ``None`` in ``partitions``: all of it."""

    table: TableRef
    location: str
    layout: TableLayout
    partitions: tuple[str | None, ...]
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """``whole`` is of the rows, ``columns`` are pairs of name and sum in the order of the schema."""

    rows: int
    schema: str
    whole: str
    columns: tuple[tuple[str, str], ...]
    method: int = METHOD

    def __str__(self) -> str:
        """As it is written down; the inverse of ``parse``."""
        return json.dumps(to_json(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Raises ``Refused`` where the text is none."""
        return from_json(cls, json.loads(text))

    @classmethod
    def of_nothing(cls, layout: TableLayout) -> Fingerprint:
        """That of no rows at all."""
        return cls(0, layout.schema, "0", tuple((field.name, "0") for field in layout.fields))


class Flaw(StrEnum):
    """In what a copy is not what was copied. The values begin the sentence that says more."""

    MISSING = "missing"
    OTHER_TABLE = "other table"
    OTHER_ROWS = "other rows"
    OTHER_VALUES = "other values"


@dataclass(frozen=True, slots=True)
class Difference:
    """How two fingerprints differ, in words."""

    flaw: Flaw
    words: str

    def __str__(self) -> str:
        return f"{self.flaw}: {self.words}"


def row_difference(expected: int, found: int) -> Difference | None:
    """None where the numbers are equal."""
    if found == expected:
        return None
    if found == 0:
        return Difference(Flaw.MISSING, f"none of its {expected:,} rows are in the backup table")
    return Difference(Flaw.OTHER_ROWS, f"it has {found:,} rows, {expected:,} were copied")


def content_difference(expected: Fingerprint, found: Fingerprint) -> Difference | None:
    """How the rows differ, whatever the schema says of modes; None where they are the same."""
    if (rows := row_difference(expected.rows, found.rows)) is not None:
        return rows
    was = dict(expected.columns)
    changed = [name for name, value in found.columns if was.get(name) != value]
    if changed:
        return Difference(Flaw.OTHER_VALUES, f"not those that were copied in {_columns(changed)}")
    if expected.whole != found.whole:
        return Difference(Flaw.OTHER_VALUES, "every column has its values, but not in the rows that were copied")
    return None


def difference(expected: Fingerprint, found: Fingerprint) -> Difference | None:
    """How a copy differs from its own earlier fingerprint; None where it does not."""
    if expected.schema != found.schema:
        return Difference(Flaw.OTHER_TABLE, _schemas(expected, found))
    return content_difference(expected, found)


def layout_difference(expected: TableLayout, found: TableLayout) -> Difference | None:
    """Whether two tables have other columns, or the same of other types; None where a row of one fits the other."""
    if expected.shape == found.shape:
        return None
    names = {field.name for field in expected.fields} ^ {field.name for field in found.fields}
    what = (
        f"only one of them has {_columns(sorted(names))}" if names else "its columns have other types or another order"
    )
    return Difference(Flaw.OTHER_TABLE, f"its columns are not those of its source: {what}")


def _schemas(expected: Fingerprint, found: Fingerprint) -> str:
    before, now = {name for name, _ in expected.columns}, {name for name, _ in found.columns}
    if before == now:
        return "its columns are of other types or modes than they were"
    parts = [
        f"{_columns(sorted(names))} {verb}"
        for names, verb in ((now - before, "came to it"), (before - now, "went from it"))
        if names
    ]
    return f"its columns are not what they were: {', '.join(parts)}"


def _columns(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{'column' if len(names) == 1 else 'columns'} {shown}{more}"
