"""The one query that gives the fingerprints of some partitions of a table, and how its rows become values.

SQL text and a reader only. What each part is for:

* Partitions are chosen by constants on the partitioning column, so that BigQuery reads no others (BigQuery:
  querying-partitioned-tables).
* Columns are hashed as their JSON, which is exact for all types but three: a GEOGRAPHY and a FLOAT64 have as many
  digits as their text has, and a JSON null is a SQL NULL.
* Of a hash the upper 48 bits are summed, as NUMERIC: its 29 digits hold the sum of 10^14 rows that are all equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from bbq_dagster.core.fingerprint import (
    Fingerprint,
    Question,
    RangePartitioning,
    TableLayout,
    TimePartitioning,
)
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, TableRef
from bbq_dagster.errors import Refused
from bbq_dagster.warehouse.queries import Cells

Bound = TypeVar("Bound", int, datetime)

_BITS_LEFT_OUT = 2**16
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FORMATS = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
_LITERALS = {"DATE": "%Y-%m-%d", "DATETIME": "%Y-%m-%d %H:%M:%S", "TIMESTAMP": "%Y-%m-%d %H:%M:%S+00"}
_FIRST_DAY, _DAY_AFTER_THE_LAST = "1960-01-01", "2160-01-01"
"""Rows of other times are in no partition but ``__UNPARTITIONED__`` (BigQuery: partitioned-tables)."""


def fingerprint_sql(question: Question) -> str:
    """A row for each partition that has rows: its id, the rows, the sum of the whole rows, and that of each column."""
    hashes = [f"h{place}" for place in range(len(question.layout.fields))]
    of_columns = [
        f"FARM_FINGERPRINT(TO_JSON_STRING({_name(field.name)})) AS {alias}"
        for field, alias in zip(question.layout.fields, hashes, strict=True)
    ]
    return f"""
        SELECT unit, COUNT(*) AS row_count, {", ".join(map(_sum, ["whole", *hashes]))}
        FROM (
          SELECT unit, FARM_FINGERPRINT(TO_JSON_STRING([{", ".join(hashes)}])) AS whole, {", ".join(hashes)}
          FROM (
            SELECT {_unit(question.layout)} AS unit, {", ".join(of_columns)}
            FROM {_table(question.table)}{_as_of(question.as_of)}
            WHERE {_filter(question)}
          )
        )
        GROUP BY unit"""


def read_fingerprint(row: Cells, layout: TableLayout) -> tuple[str | None, Fingerprint]:
    """The partition, None for a table without any, and its fingerprint."""
    unit, rows, whole, *sums = row
    names = [field.name for field in layout.fields]
    columns = tuple((name, value or "") for name, value in zip(names, sums, strict=True))
    return unit or None, Fingerprint(int(rows or 0), layout.schema, whole or "", columns)


def _sum(alias: str) -> str:
    return f"CAST(SUM(CAST(DIV({alias}, {_BITS_LEFT_OUT}) AS NUMERIC)) AS STRING) AS sum_{alias}"


def _table(table: TableRef) -> str:
    return ".".join(map(_name, (table.project, table.dataset, table.table)))


def _name(text: str) -> str:
    """A name within back quotes, whatever it has in it (BigQuery: lexical#quoted_identifiers)."""
    if not text or _CONTROL.search(text):
        raise Refused(f"not the name of a table or column: {text!r}")
    escaped = text.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _as_of(instant: datetime | None) -> str:
    if instant is None:
        return ""
    return f" FOR SYSTEM_TIME AS OF TIMESTAMP '{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"


def _unit(layout: TableLayout) -> str:
    """The id of the partition that a row is in."""
    partitioning = layout.partitioning
    if partitioning is None:
        return "''"
    column = _column(partitioning)
    if isinstance(partitioning, RangePartitioning):
        partition = f"CAST({column} - MOD(({column} - ({partitioning.start})), {partitioning.interval}) AS STRING)"
    else:
        partition = f"FORMAT_{partitioning.type}('{_FORMATS[partitioning.period]}', {column})"
        if partitioning.column is None:
            return f"IFNULL({partition}, '{UNPARTITIONED}')"
    return f"""CASE
              WHEN {column} IS NULL THEN '{NULL_PARTITION}'
              WHEN {_outside(partitioning)} THEN '{UNPARTITIONED}'
              ELSE {partition}
            END"""


def _filter(question: Question) -> str:
    partitioning = question.layout.partitioning
    if partitioning is None or None in question.partitions:
        return "TRUE"
    wanted = [partition for partition in question.partitions if partition is not None]
    named = [partition for partition in wanted if partition not in (NULL_PARTITION, UNPARTITIONED)]
    return " OR ".join(f"({part})" for part in [*_special(partitioning, wanted), *_ranges(partitioning, named)])


def _special(partitioning: TimePartitioning | RangePartitioning, wanted: Sequence[str]) -> Iterator[str]:
    column = _column(partitioning)
    is_by_arrival = isinstance(partitioning, TimePartitioning) and partitioning.column is None
    if NULL_PARTITION in wanted or (UNPARTITIONED in wanted and is_by_arrival):
        yield f"{column} IS NULL"
    if UNPARTITIONED in wanted and not is_by_arrival:
        yield _outside(partitioning)


def _outside(partitioning: TimePartitioning | RangePartitioning) -> str:
    column = _column(partitioning)
    if isinstance(partitioning, RangePartitioning):
        return f"{column} < {partitioning.start} OR {column} >= {partitioning.end}"
    kind = partitioning.type
    return f"{column} < {kind} '{_FIRST_DAY}' OR {column} >= {kind} '{_DAY_AFTER_THE_LAST}'"


def _ranges(partitioning: TimePartitioning | RangePartitioning, partitions: Sequence[str]) -> Iterator[str]:
    """Partitions that follow each other make one range."""
    column = _column(partitioning)
    if isinstance(partitioning, RangePartitioning):
        step = partitioning.interval
        for start, end in _joined((int(partition), int(partition) + step) for partition in partitions):
            yield f"{column} >= {start} AND {column} < {min(end, partitioning.end)}"
        return
    kind, literal = partitioning.type, _LITERALS[partitioning.type]
    for first, after in _joined(_span(partition, partitioning.period) for partition in partitions):
        yield f"{column} >= {kind} '{first:{literal}}' AND {column} < {kind} '{after:{literal}}'"


def _joined(spans: Iterable[tuple[Bound, Bound]]) -> Iterator[tuple[Bound, Bound]]:
    held: tuple[Bound, Bound] | None = None
    for start, end in sorted(spans):
        if held is None:
            held = start, end
        elif start == held[1]:
            held = held[0], end
        else:
            yield held
            held = start, end
    if held is not None:
        yield held


def _span(partition: str, period: str) -> tuple[datetime, datetime]:
    start = datetime.strptime(partition, _FORMATS[period]).replace(tzinfo=UTC)
    match period:
        case "YEAR":
            return start, start.replace(year=start.year + 1)
        case "MONTH":
            return start, (start + timedelta(days=31)).replace(day=1)
        case _:
            return start, start + timedelta(**{"hours" if period == "HOUR" else "days": 1})


def _column(partitioning: TimePartitioning | RangePartitioning) -> str:
    return _name(partitioning.column or "_PARTITIONTIME")
