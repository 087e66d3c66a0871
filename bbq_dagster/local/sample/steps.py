"""Each change of a day, made through the client as the team whose table it is would make it.

A step makes one change and tells what it was; which steps a day has is decided in ``changes``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
from google.cloud import bigquery

from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, TableRef, Unit
from bbq_dagster.errors import Permanent
from bbq_dagster.local.sample import derived, source
from bbq_dagster.local.sample.loading import load
from bbq_dagster.local.sample.made import ChangeKind, ChangeMade, Effect
from bbq_dagster.local.sample.source import Period
from bbq_dagster.local.sample.tables import (
    AIRCRAFT_TYPES,
    AIRPORTS,
    BOARD,
    FLIGHTS,
    GATE_EVENTS,
    HOURLY,
    OPS,
    PLANES,
    PLANES_BY_YEAR,
    REPORT_PREFIX,
    STAGING,
    carrier_report,
    columns_of,
    location_of,
)

_DAY, _HOUR, _MONTH = "%Y%m%d", "%Y%m%d%H", "%Y%m"
_NIGHTLY_MINIMUM = 20
"""The nightly job leaves out models with fewer planes than this many and the number of the day."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the airline, and three different earlier days that something happens to.

    ``cancelled`` has flights that were cancelled; ``late`` and ``corrected`` were seeded, with their weather. ``rng``
    is seeded by the day.
    """

    client: bigquery.Client
    number: int
    today: date
    rng: Random
    late: date
    corrected: date
    cancelled: date


def cancelled_flights(client: bigquery.Client) -> dict[date, int]:
    """How many cancelled flights each day has that has flights, in the order of the days."""
    sql = f"SELECT flight_date, COUNTIF(departed_at IS NULL) FROM `{FLIGHTS}` GROUP BY 1 ORDER BY 1"
    return dict(row.values() for row in _query(client, FLIGHTS, sql))


def append_flights(day: Day) -> ChangeMade:
    rows = source.flights(Period.day(day.today))
    load(day.client, FLIGHTS.unit(), columns_of(FLIGHTS), rows)
    return ChangeMade(
        FLIGHTS,
        ChangeKind.ROWS_APPENDED,
        f"{rows.num_rows} flights of {day.today} were loaded",
        Effect(copied=_partitions(FLIGHTS, [day.today], _DAY)),
        rows.num_rows,
    )


def load_charters_late(day: Day) -> ChangeMade:
    flown = source.flights(Period.day(day.late))
    count = day.rng.randint(3, 9)
    rows = derived.charters(flown.take(sorted(day.rng.sample(range(flown.num_rows), count))))
    load(day.client, FLIGHTS.unit(), columns_of(FLIGHTS), rows)
    return ChangeMade(
        FLIGHTS,
        ChangeKind.LATE_ROWS,
        f"{count} charter flights of {day.late} were reported late and loaded",
        Effect(copied=_partitions(FLIGHTS, [day.late], _DAY)),
        count,
    )


def correct_delays(day: Day) -> ChangeMade:
    carrier, minutes = day.rng.choice(("B6", "EV", "UA")), day.rng.randint(1, 5)
    rows = _write(
        day.client,
        FLIGHTS,
        f"UPDATE `{FLIGHTS}` SET arrival_delay = arrival_delay + {minutes} WHERE flight_date = DATE '{day.corrected}' "
        f"AND carrier = '{carrier}' AND arrival_delay IS NOT NULL",
    )
    return ChangeMade(
        FLIGHTS,
        ChangeKind.ROWS_UPDATED,
        f"corrected the delay at arrival of {_counted(rows, 'flight')} of {carrier} of {day.corrected}: +{minutes} min",
        Effect(copied=_partitions(FLIGHTS, [day.corrected], _DAY)),
        rows,
    )


def delete_cancelled_flights(day: Day) -> ChangeMade:
    rows = _write(
        day.client,
        FLIGHTS,
        f"DELETE FROM `{FLIGHTS}` WHERE flight_date = DATE '{day.cancelled}' AND departed_at IS NULL",
    )
    return ChangeMade(
        FLIGHTS,
        ChangeKind.ROWS_DELETED,
        f"deleted {_counted(rows, 'cancelled flight')} of {day.cancelled}",
        Effect(copied=_partitions(FLIGHTS, [day.cancelled], _DAY)),
        rows,
    )


def describe_weather(day: Day) -> ChangeMade:
    table = day.client.get_table(str(HOURLY))
    table.description = f"Measurements of each hour; checked by the weather team on {day.today}"
    day.client.update_table(table, ["description"])
    return ChangeMade(
        HOURLY, ChangeKind.DESCRIBED, f"the description says that it was checked on {day.today}", Effect()
    )


def label_airports(day: Day) -> ChangeMade:
    table = day.client.get_table(str(AIRPORTS))
    table.labels = {**table.labels, "reviewed": day.today.isoformat()}
    day.client.update_table(table, ["labels"])
    return ChangeMade(AIRPORTS, ChangeKind.DESCRIBED, f"the label reviewed was set to {day.today}", Effect())


def stream_gate_events(day: Day) -> ChangeMade:
    count = day.rng.randint(10, 20)
    arrived = _server_date(day)
    rows = derived.gate_events(source.flights(Period.day(day.today)), arrived).slice(0, count).to_pylist()
    messages = [row | {"sent_at": row["sent_at"].isoformat()} for row in rows]
    ids = [f"{day.today}-{i}" for i in range(count)]
    if refused := day.client.insert_rows_json(str(GATE_EVENTS), messages, row_ids=ids):
        raise Permanent(f"{GATE_EVENTS}: {len(refused)} of {count} rows were not taken, the first: {refused[0]}")
    return ChangeMade(
        GATE_EVENTS,
        ChangeKind.ROWS_STREAMED,
        f"{count} messages were streamed, and are in the streaming buffer for some minutes",
        Effect(waiting=frozenset({GATE_EVENTS.unit(UNPARTITIONED)}), flushed=_partitions(GATE_EVENTS, [arrived], _DAY)),
        count,
    )


def load_gate_events(day: Day) -> ChangeMade:
    arrived = _server_date(day)
    rows = derived.gate_events(source.flights(Period.day(day.today)), arrived)
    load(day.client, GATE_EVENTS.unit(f"{arrived:{_DAY}}"), columns_of(GATE_EVENTS), rows)
    return ChangeMade(
        GATE_EVENTS,
        ChangeKind.ROWS_APPENDED,
        f"{rows.num_rows} messages were loaded into the partition of {arrived}",
        Effect(copied=_partitions(GATE_EVENTS, [arrived], _DAY)),
        rows.num_rows,
    )


def append_weather(day: Day) -> ChangeMade:
    rows = source.weather(Period.day(day.today))
    load(day.client, HOURLY.unit(), columns_of(HOURLY), rows)
    return ChangeMade(
        HOURLY,
        ChangeKind.ROWS_APPENDED,
        f"{rows.num_rows} measurements of {day.today} were loaded",
        Effect(copied=_partitions(HOURLY, _distinct(rows["time_hour"]), _MONTH)),
        rows.num_rows,
    )


def correct_precipitation(day: Day) -> ChangeMade:
    begin = f"TIMESTAMP '{day.corrected} 12:00:00+00'"
    rows = _write(
        day.client,
        HOURLY,
        f"UPDATE `{HOURLY}` SET precip = precip + 0.01 "
        f"WHERE time_hour >= {begin} AND time_hour < TIMESTAMP_ADD({begin}, INTERVAL 6 HOUR)",
    )
    return ChangeMade(
        HOURLY,
        ChangeKind.ROWS_UPDATED,
        f"corrected the precipitation of {_counted(rows, 'measurement')} of {day.corrected} by +0.01 in",
        Effect(copied=_partitions(HOURLY, [day.corrected], _MONTH)),
        rows,
    )


def add_departure_board(day: Day) -> ChangeMade:
    rows = derived.departure_board(source.flights(Period.day(day.today)))
    load(day.client, BOARD.unit(), columns_of(BOARD), rows)
    hours = _partitions(BOARD, _distinct(rows["scheduled_at"]), _HOUR)
    return ChangeMade(
        BOARD,
        ChangeKind.PARTITIONS_ADDED,
        f"the board of {day.today} was added: {rows.num_rows} flights in {len(hours)} hours",
        Effect(copied=hours),
        rows.num_rows,
    )


def drop_board_hour(day: Day) -> ChangeMade:
    sql = (
        f"SELECT DISTINCT TIMESTAMP_TRUNC(scheduled_at, HOUR) FROM `{BOARD}` WHERE scheduled_at IS NOT NULL ORDER BY 1"
    )
    (hour,) = day.rng.choice([row.values() for row in _query(day.client, BOARD, sql)])
    partitions = _partitions(BOARD, [hour], _HOUR)
    for partition in partitions:
        day.client.delete_table(str(partition))
    return ChangeMade(
        BOARD,
        ChangeKind.PARTITION_DROPPED,
        f"the hour from {hour:%Y-%m-%d %H:%M} UTC was dropped by mistake",
        Effect(vanished=partitions),
    )


def create_report(day: Day) -> ChangeMade:
    report = carrier_report(day.today)
    rows = derived.carrier_report(source.flights(Period.day(day.today)))
    day.client.create_table(report.resource())
    load(day.client, report.ref.unit(), report.columns, rows)
    return ChangeMade(
        report.ref,
        ChangeKind.TABLE_CREATED,
        f"the report of {day.today} was made, of {rows.num_rows} carriers",
        Effect(copied=frozenset({report.ref.unit()})),
        rows.num_rows,
    )


def drop_oldest_report(day: Day) -> ChangeMade:
    names = (table.table_id for table in day.client.list_tables(str(OPS)))
    oldest = OPS.table(min(name for name in names if name.startswith(REPORT_PREFIX)))
    day.client.delete_table(str(oldest))
    return ChangeMade(
        oldest,
        ChangeKind.TABLE_DROPPED,
        "the oldest report was dropped, to save storage",
        Effect(vanished=frozenset({oldest.unit()})),
    )


def recreate_aircraft_types(day: Day) -> ChangeMade:
    least = _NIGHTLY_MINIMUM + day.number
    day.client.delete_table(str(AIRCRAFT_TYPES))
    _query(
        day.client,
        AIRCRAFT_TYPES,
        f"CREATE TABLE `{AIRCRAFT_TYPES}` AS SELECT manufacturer, model, engine, MAX(seats) AS seats, "
        f"COUNT(*) AS planes FROM `{PLANES}` GROUP BY manufacturer, model, engine HAVING COUNT(*) >= {least}",
    )
    return ChangeMade(
        AIRCRAFT_TYPES,
        ChangeKind.TABLE_RECREATED,
        f"the nightly job dropped it and made it anew, with the type of engine, of models with {least} planes or more",
        Effect(copied=frozenset({AIRCRAFT_TYPES.unit()})),
    )


def truncate_staging(day: Day) -> ChangeMade:
    _query(day.client, STAGING, f"TRUNCATE TABLE `{STAGING}`")
    return ChangeMade(
        STAGING,
        ChangeKind.TABLE_TRUNCATED,
        "it was truncated after the check of its flights",
        Effect(emptied=frozenset({STAGING.unit()})),
    )


def fill_staging(day: Day) -> ChangeMade:
    rows = source.flights(Period.day(day.today))
    load(day.client, STAGING.unit(), columns_of(STAGING), rows)
    return ChangeMade(
        STAGING,
        ChangeKind.ROWS_APPENDED,
        f"{rows.num_rows} flights of {day.today} were loaded, to be checked",
        Effect(copied=frozenset({STAGING.unit()})),
        rows.num_rows,
    )


def insert_planes_without_year(day: Day) -> ChangeMade:
    count = day.rng.randint(2, 5)
    values = ", ".join(f"('N{day.number:03}X{i}', 'Fixed wing multi engine', 'EMBRAER', 2)" for i in range(count))
    rows = _write(
        day.client,
        PLANES_BY_YEAR,
        f"INSERT INTO `{PLANES_BY_YEAR}` (tailnum, type, manufacturer, engines) VALUES {values}",
    )
    return ChangeMade(
        PLANES_BY_YEAR,
        ChangeKind.ROWS_APPENDED,
        f"{rows} planes were registered, their year of manufacture is not known",
        Effect(copied=frozenset({PLANES_BY_YEAR.unit(NULL_PARTITION)})),
        rows,
    )


def _write(client: bigquery.Client, table: TableRef, sql: str) -> int:
    """Returns how many rows the statement changed."""
    return int(_query(client, table, sql).num_dml_affected_rows or 0)


def _query(client: bigquery.Client, table: TableRef, sql: str) -> bigquery.table.RowIterator:
    return client.query_and_wait(sql, project=table.project, location=location_of(table))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _server_date(day: Day) -> date:
    """The day of the server's calendar, which is the partition that it puts new messages into."""
    today: date
    ((today,),) = (row.values() for row in _query(day.client, GATE_EVENTS, "SELECT CURRENT_DATE()"))
    return today


def _distinct(times: pa.ChunkedArray) -> list[datetime]:
    distinct: list[datetime] = pc.unique(times).to_pylist()
    return distinct


def _partitions(table: TableRef, times: Iterable[date], form: str) -> frozenset[Unit]:
    return frozenset(table.unit(f"{time:{form}}") for time in times)
