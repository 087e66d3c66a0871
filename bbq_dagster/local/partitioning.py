"""Which partition a row belongs to, and what a partition id means.

Formats of ids, the two special partitions, and the range of dates that have a partition of their own:
https://cloud.google.com/bigquery/docs/partitioned-tables
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bbq_dagster.local.errors import invalid
from bbq_dagster.local.schema import Field, type_name

WHOLE = ""
"""The id under which an unpartitioned table keeps its rows."""
NULL_PARTITION = "__NULL__"
UNPARTITIONED = "__UNPARTITIONED__"

_FORMATS: Mapping[str, str] = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
_DIGITS: Mapping[str, int] = {"HOUR": 10, "DAY": 8, "MONTH": 6, "YEAR": 4}
_FIRST_YEAR, _LAST_YEAR = 1960, 2159


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How a table is split: not at all, by time (of a column, or of ingestion) or by ranges of an integer column.

    Attributes:
        unit: HOUR, DAY, MONTH or YEAR for time; RANGE; or empty for an unpartitioned table.
        column: The column; None for ingestion time.
        start, end, interval: Of RANGE; ``end`` is exclusive.
        expiration_ms: How long a partition lives after its start; None for ever. Not part of equality of specs.
    """

    unit: str = ""
    column: str | None = None
    start: int = 0
    end: int = 0
    interval: int = 0
    expiration_ms: int | None = None

    @property
    def is_partitioned(self) -> bool:
        return self.unit != ""

    @property
    def is_time(self) -> bool:
        return self.unit in _FORMATS

    @property
    def is_range(self) -> bool:
        return self.unit == "RANGE"

    @property
    def is_ingestion(self) -> bool:
        return self.is_time and self.column is None

    @property
    def spec(self) -> tuple[str, str | None, int, int, int]:
        """What must agree for partitions to be exchanged: everything but the expiration."""
        return (self.unit, self.column and self.column.lower(), self.start, self.end, self.interval)


UNPARTITIONED_TABLE = Partitioning()


def parse_partitioning(resource: Mapping[str, Any]) -> Partitioning:
    """The partitioning of a REST table resource. Refuses units, ranges and columns that BigQuery refuses."""
    time, ranges = resource.get("timePartitioning"), resource.get("rangePartitioning")
    if time and ranges:
        raise invalid("Only one of timePartitioning and rangePartitioning should be specified")
    if time:
        return _parse_time(time, resource)
    if ranges:
        return _parse_range(ranges, resource)
    return UNPARTITIONED_TABLE


def partition_rows(partitioning: Partitioning, rows: pa.Table, now_ms: int) -> dict[str, pa.Table]:
    """The rows by partition id. Ingestion-time tables take them all into the partition of ``now_ms``."""
    if rows.num_rows == 0:
        return {}
    if not partitioning.is_partitioned:
        return {WHOLE: rows}
    if partitioning.is_ingestion:
        return {partition_at(partitioning, now_ms): rows}
    return _split(rows, _ids(partitioning, rows.column(str(partitioning.column))))


def partition_at(partitioning: Partitioning, at_ms: int) -> str:
    """The id of the time partition that holds this instant."""
    return moment(at_ms).strftime(_FORMATS[partitioning.unit])


def partition_start_ms(partition: str) -> int | None:
    """The start of a time partition by its id (yyyy, yyyymm, yyyymmdd or yyyymmddhh), or None for special ones."""
    unit = next((unit for unit, digits in _DIGITS.items() if len(partition) == digits), None)
    if unit is None or not partition.isdigit():
        return None
    return int(datetime.strptime(partition, _FORMATS[unit]).replace(tzinfo=UTC).timestamp() * 1000)


def expires_at_ms(partitioning: Partitioning, partition: str) -> int | None:
    """When the partition expires: its start and the expiration; the special partitions never do."""
    if partitioning.expiration_ms is None or not partitioning.is_time:
        return None
    start = partition_start_ms(partition)
    return None if start is None else start + partitioning.expiration_ms


def expiring_before(partitioning: Partitioning, partitions: Sequence[str], now_ms: int) -> list[str]:
    """The partitions whose time is over."""
    return [p for p in partitions if (at := expires_at_ms(partitioning, p)) is not None and at <= now_ms]


def check_partition_id(partitioning: Partitioning, partition: str) -> None:
    """Refuse an id that this table cannot have."""
    if partition in (NULL_PARTITION, UNPARTITIONED):
        return
    if partitioning.is_range:
        valid = _is_range_start(partitioning, partition)
    else:
        valid = len(partition) == _DIGITS[partitioning.unit] and _is_time_id(partition)
    if not valid:
        raise invalid(f"Invalid partition id {partition} for a table partitioned by {partitioning.unit}")


def is_same_or_coarser(source: str, destination: str) -> bool:
    """Whether rows of an ingestion-time partition may go to the other: 20180130 to 20180130, 201801 or 2018."""
    return source.startswith(destination)


def moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _parse_time(time: Mapping[str, Any], resource: Mapping[str, Any]) -> Partitioning:
    unit = str(time.get("type") or "DAY").upper()
    if unit not in _FORMATS:
        raise invalid(f"Invalid time partitioning type: {time.get('type')}")
    column = time.get("field") or None
    expiration = time.get("expirationMs")
    if column:
        kind = type_name(_top_level_field(resource, column))
        if kind not in ("DATE", "TIMESTAMP", "DATETIME"):
            raise invalid(f"The field specified for partitioning must be DATE, TIMESTAMP or DATETIME, found {kind}")
        if kind == "DATE" and unit == "HOUR":
            raise invalid("A DATE column cannot be partitioned by HOUR")
    return Partitioning(unit, column, expiration_ms=int(expiration) if expiration else None)


def _parse_range(ranges: Mapping[str, Any], resource: Mapping[str, Any]) -> Partitioning:
    bounds = ranges.get("range") or {}
    try:
        start, end, interval = (int(bounds[key]) for key in ("start", "end", "interval"))
    except (KeyError, TypeError, ValueError) as error:
        raise invalid("rangePartitioning.range needs start, end and interval") from error
    if interval <= 0 or end <= start:
        raise invalid("rangePartitioning.range.interval must be positive and end must be greater than start")
    column = str(ranges.get("field") or "")
    if type_name(_top_level_field(resource, column)) != "INTEGER":
        raise invalid("The field specified for range partitioning must be INTEGER")
    return Partitioning("RANGE", column, start, end, interval)


def _top_level_field(resource: Mapping[str, Any], column: str) -> Field:
    for field in (resource.get("schema") or {}).get("fields") or ():
        if field["name"].lower() == column.lower():
            return field  # type: ignore[no-any-return]
    raise invalid(f"The field specified for partitioning cannot be found in the schema: {column}")


def _ids(partitioning: Partitioning, column: pa.ChunkedArray) -> pa.DictionaryArray:
    """One id per row, dictionary-encoded, so that only distinct values are ever formatted."""
    if partitioning.is_range:
        offset = pc.subtract(column, partitioning.start)
        starts = pc.add(
            pc.multiply(pc.divide(offset, partitioning.interval), partitioning.interval), partitioning.start
        )
        inside = pc.and_(pc.greater_equal(column, partitioning.start), pc.less(column, partitioning.end))
        keys = pc.if_else(inside, starts, partitioning.end)
        return _encoded(keys, lambda start: _range_id(partitioning, start))
    floored = pc.floor_temporal(column, unit=partitioning.unit.lower())
    return _encoded(floored, lambda start: _time_id(partitioning, start))


def _encoded(keys: pa.ChunkedArray, id_of: Callable[[Any], str]) -> pa.DictionaryArray:
    encoded = keys.combine_chunks().dictionary_encode(null_encoding="encode")
    ids = pa.array([id_of(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, ids)


def _range_id(partitioning: Partitioning, start: int | None) -> str:
    if start is None:
        return NULL_PARTITION
    return str(start) if partitioning.start <= start < partitioning.end else UNPARTITIONED


def _time_id(partitioning: Partitioning, start: Any) -> str:
    if start is None:
        return NULL_PARTITION
    return (
        str(start.strftime(_FORMATS[partitioning.unit])) if _FIRST_YEAR <= start.year <= _LAST_YEAR else UNPARTITIONED
    )


def _split(rows: pa.Table, ids: pa.DictionaryArray) -> dict[str, pa.Table]:
    names = ids.dictionary.to_pylist()
    distinct = sorted(set(names))
    if len(distinct) == 1:
        return {distinct[0]: rows}
    code_of = {name: code for code, name in enumerate(distinct)}
    codes = pa.array([code_of[name] for name in names], pa.int32()).take(ids.indices)
    order = pc.sort_indices(codes)
    ordered = rows.take(order).combine_chunks()
    ends = pc.run_end_encode(codes.take(order)).run_ends.to_pylist()
    return {n: ordered.slice(start, end - start) for n, start, end in zip(distinct, [0, *ends], ends, strict=False)}


def _is_range_start(partitioning: Partitioning, partition: str) -> bool:
    if not re.fullmatch(r"-?\d+", partition):
        return False
    offset = int(partition) - partitioning.start
    return 0 <= offset < partitioning.end - partitioning.start and offset % partitioning.interval == 0


def _is_time_id(partition: str) -> bool:
    try:
        return partition_start_ms(partition) is not None
    except ValueError:
        return False
