"""The datasets and tables of the sample: where they are, how they are partitioned, and what they mean.

Values only; ``seed`` creates them. Two projects, so that two daily backups can be seen; two locations, because a backup
never leaves its source's.

    acme-flights (EU)   ops: flights DAY, departure_board HOUR, gate_events by ingestion time, single tables, a view
                        reference: planes_by_year by ranges (rows without a year too), a Google Sheet, single tables
                        scratch: opted out of backups by its label, tables expire
    acme-climate (US)   weather: hourly MONTH, stations, and alerts, which is empty
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pyarrow as pa
from google.cloud import bigquery

from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.local.sample import derived, source
from bbq_dagster.local.sample.source import Period

OPS = DatasetRef("acme-flights", "ops")
REFERENCE = DatasetRef("acme-flights", "reference")
SCRATCH = DatasetRef("acme-flights", "scratch")
WEATHER = DatasetRef("acme-climate", "weather")

FLIGHTS = OPS.table("flights")
BOARD = OPS.table("departure_board")
GATE_EVENTS = OPS.table("gate_events")
STAGING = OPS.table("staging_flights")
DELAYS = OPS.table("delays_by_carrier")
REPORT_PREFIX = "carrier_report_"
AIRPORTS = REFERENCE.table("airports")
AIRLINES = REFERENCE.table("airlines")
PLANES = REFERENCE.table("planes")
PLANES_BY_YEAR = REFERENCE.table("planes_by_year")
AIRCRAFT_TYPES = REFERENCE.table("aircraft_types")
CONTACTS = REFERENCE.table("airport_contacts")
ON_TIME = SCRATCH.table("on_time_by_hour")
HOURLY = WEATHER.table("hourly")
STATIONS = WEATHER.table("stations")
ALERTS = WEATHER.table("alerts")

BOARD_DAYS = 10
REPORT_DAYS = 3

Columns = tuple[bigquery.SchemaField, ...]


@dataclass(frozen=True, slots=True)
class SampleDataset:
    """A dataset to create; its tables live for ``tables_live`` where that is given."""

    ref: DatasetRef
    location: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)
    tables_live: timedelta | None = None

    def resource(self) -> bigquery.Dataset:
        dataset = bigquery.Dataset(str(self.ref))
        dataset.location, dataset.description, dataset.labels = self.location, self.description, dict(self.labels)
        if self.tables_live is not None:
            dataset.default_table_expiration_ms = _milliseconds(self.tables_live)
        return dataset


@dataclass(frozen=True, slots=True)
class SampleTable:
    """A table to create. ``rows`` gives what it holds after the seed, for the seeded period; without it: nothing."""

    ref: TableRef
    description: str
    columns: Columns = ()
    rows: Callable[[Period], pa.Table] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    time_partitioning: bigquery.TimePartitioning | None = None
    range_partitioning: bigquery.RangePartitioning | None = None
    clustering: tuple[str, ...] = ()
    needs_filter: bool = False
    view: str = ""
    external: bigquery.ExternalConfig | None = None

    def resource(self) -> bigquery.Table:
        table = bigquery.Table(str(self.ref), schema=list(self.columns) or None)
        table.description, table.labels = self.description, dict(self.labels)
        table.time_partitioning, table.range_partitioning = self.time_partitioning, self.range_partitioning
        if self.clustering:
            table.clustering_fields = list(self.clustering)
        if self.needs_filter:
            table.require_partition_filter = True
        if self.view:
            table.view_query = self.view
        if self.external is not None:
            table.external_data_configuration = self.external
        return table


def carrier_report(day: date) -> SampleTable:
    """The report that is made anew every day, as a table of its own."""
    return SampleTable(
        OPS.table(f"{REPORT_PREFIX}{day:%Y%m%d}"),
        f"How punctual the carriers were on {day}",
        _columns(
            ("carrier", "STRING", "Carrier, two letters", "REQUIRED"),
            ("flights", "INT64", "Flights by schedule"),
            ("cancelled", "INT64", "Flights that never left"),
            ("mean_departure_delay", "FLOAT64", "Mean delay at departure, minutes; negative is early"),
        ),
        lambda _: derived.carrier_report(source.flights(Period.day(day))),
        {"report": "daily"},
    )


def datasets(until: date) -> tuple[SampleDataset, ...]:
    """The datasets of a sample whose last seeded day is ``until``."""
    return tuple(
        replace(dataset, labels={**dataset.labels, **progress_labels(until, day=0)}) if dataset.ref == OPS else dataset
        for dataset in _DATASETS
    )


def tables(period: Period) -> tuple[SampleTable, ...]:
    """The tables in an order in which they can be created: what a view reads comes before it."""
    days = period.last_days(REPORT_DAYS)
    reports = (carrier_report(days.first + timedelta(days=i)) for i in range((days.last - days.first).days + 1))
    return (*_TABLES, *reports)


def location_of(table: TableRef) -> str:
    """Where jobs on a table of the sample run."""
    return next(dataset.location for dataset in _DATASETS if dataset.ref == table.in_dataset)


def columns_of(table: TableRef) -> Columns:
    """The columns of a table of the sample other than a report."""
    return next(known.columns for known in _TABLES if known.ref == table)


def progress_labels(until: date, *, day: int) -> dict[str, str]:
    """How the sample remembers its last seeded day, and the last day of changes."""
    return {"sample_until": until.isoformat(), "sample_day": str(day)}


def _columns(*rows: tuple[str, ...]) -> Columns:
    """Rows of name, type, description, and REQUIRED where it is."""
    return tuple(
        bigquery.SchemaField(name, kind, mode=mode[0] if mode else "NULLABLE", description=description)
        for name, kind, description, *mode in rows
    )


def _sheet(uri: str) -> bigquery.ExternalConfig:
    config = bigquery.ExternalConfig("GOOGLE_SHEETS")
    config.source_uris = [uri]
    config.schema = list(_columns(("airport", "STRING", "IATA code"), ("phone", "STRING", "Duty desk")))
    return config


def _milliseconds(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)


_FLIGHT_COLUMNS = _columns(
    ("flight_date", "DATE", "Day of departure by schedule, New York time", "REQUIRED"),
    ("carrier", "STRING", "Carrier, two letters; see reference.airlines", "REQUIRED"),
    ("flight", "INT64", "Flight number; from 9000 on charters"),
    ("tailnum", "STRING", "Tail number of the plane; see reference.planes"),
    ("origin", "STRING", "EWR, JFK or LGA", "REQUIRED"),
    ("dest", "STRING", "Airport of arrival; see reference.airports"),
    ("scheduled_at", "TIMESTAMP", "Departure by schedule", "REQUIRED"),
    ("departed_at", "TIMESTAMP", "Departure; empty for cancelled flights"),
    ("departure_delay", "INT64", "Minutes; negative is early"),
    ("scheduled_arrival", "INT64", "Arrival by schedule, local time HHMM"),
    ("arrival", "INT64", "Arrival, local time HHMM"),
    ("arrival_delay", "INT64", "Minutes; negative is early"),
    ("air_time", "INT64", "Minutes in the air"),
    ("distance", "INT64", "Miles"),
)
_PLANE_COLUMNS = _columns(
    ("tailnum", "STRING", "Tail number", "REQUIRED"),
    ("year", "INT64", "Year of manufacture; often not known"),
    ("type", "STRING", "Type of plane"),
    ("manufacturer", "STRING", "Manufacturer as registered, with its variants of spelling"),
    ("model", "STRING", "Model"),
    ("engines", "INT64", "Number of engines"),
    ("seats", "INT64", "Number of seats"),
    ("speed", "INT64", "Cruising speed, mph; hardly ever known"),
    ("engine", "STRING", "Type of engine"),
)

_DATASETS = (
    SampleDataset(OPS, "EU", "Flights out of New York as they happen", {"team": "operations", "tier": "gold"}),
    SampleDataset(REFERENCE, "EU", "What flights refer to; changes rarely", {"team": "data-platform"}),
    SampleDataset(SCRATCH, "EU", "Tries; tables go after 60 days", {"bbq": "skip"}, tables_live=timedelta(days=60)),
    SampleDataset(WEATHER, "US", "Weather at New York's airports", {"team": "meteorology"}),
)

_TABLES = (
    SampleTable(
        FLIGHTS,
        "Every flight out of New York, one row a flight; corrections come in for weeks",
        _FLIGHT_COLUMNS,
        source.flights,
        {"source": "bts", "tier": "gold"},
        time_partitioning=bigquery.TimePartitioning("DAY", field="flight_date"),
        clustering=("carrier", "origin"),
    ),
    SampleTable(
        BOARD,
        "What the departure boards showed, the last days only; queries must name the time",
        _columns(
            ("scheduled_at", "TIMESTAMP", "Departure by schedule", "REQUIRED"),
            ("carrier", "STRING", "Carrier, two letters", "REQUIRED"),
            ("flight", "INT64", "Flight number"),
            ("origin", "STRING", "EWR, JFK or LGA"),
            ("dest", "STRING", "Airport of arrival"),
            ("status", "STRING", "ON TIME, DELAYED (by 15 minutes or more) or CANCELLED"),
        ),
        lambda period: derived.departure_board(source.flights(period.last_days(BOARD_DAYS))),
        time_partitioning=bigquery.TimePartitioning("HOUR", field="scheduled_at"),
        needs_filter=True,
    ),
    SampleTable(
        GATE_EVENTS,
        "Messages of the gates as they come in, by the day of their arrival here; kept 400 days",
        _columns(
            ("sent_at", "TIMESTAMP", "When the gate sent it"),
            ("gate", "STRING", "Airport and gate"),
            ("event", "STRING", "BOARDING, and what may come"),
            ("message", "STRING", "As it was sent"),
        ),
        labels={"source": "gates"},
        # The partitions are days of the server's calendar: those of 2013 would expire at once.
        time_partitioning=bigquery.TimePartitioning("DAY", expiration_ms=_milliseconds(timedelta(days=400))),
    ),
    SampleTable(
        STAGING,
        "Flights of the latest day before they are checked; emptied after each load",
        _FLIGHT_COLUMNS,
        lambda period: source.flights(Period.day(period.last)),
    ),
    SampleTable(
        AIRPORTS,
        "Airports of the United States",
        _columns(
            ("faa", "STRING", "FAA code", "REQUIRED"),
            ("name", "STRING", "Name"),
            ("lat", "FLOAT64", "Latitude, degrees"),
            ("lon", "FLOAT64", "Longitude, degrees"),
            ("alt", "INT64", "Altitude, feet"),
            ("tz", "INT64", "Hours from UTC in winter"),
            ("dst", "STRING", "Daylight saving: A as in the United States, U not known, N none"),
            ("tzone", "STRING", "Time zone of the IANA database"),
        ),
        lambda _: source.airports(),
        {"tier": "silver"},
    ),
    SampleTable(
        AIRLINES,
        "Names of the carriers",
        _columns(("carrier", "STRING", "Carrier, two letters", "REQUIRED"), ("name", "STRING", "Name")),
        lambda _: source.airlines(),
    ),
    SampleTable(PLANES, "Planes by tail number", _PLANE_COLUMNS, lambda _: source.planes()),
    SampleTable(
        PLANES_BY_YEAR,
        "Planes in ranges of five years of manufacture; those without a year are in the NULL partition",
        _PLANE_COLUMNS,
        lambda _: source.planes(),
        range_partitioning=bigquery.RangePartitioning(
            field="year", range_=bigquery.PartitionRange(start=1950, end=2050, interval=5)
        ),
    ),
    SampleTable(
        AIRCRAFT_TYPES,
        "Models of planes; a nightly job drops it and makes it anew",
        _columns(
            ("manufacturer", "STRING", "Manufacturer"),
            ("model", "STRING", "Model"),
            ("seats", "INT64", "Seats, of the largest variant"),
            ("planes", "INT64", "How many there are"),
        ),
        lambda _: derived.aircraft_types(source.planes()),
        {"made_by": "nightly-job"},
    ),
    SampleTable(
        ON_TIME,
        "A try: mean delay by hour",
        _columns(("hour", "INT64", "Hour, UTC"), ("mean_departure_delay", "FLOAT64", "Minutes")),
        lambda period: derived.on_time_by_hour(source.flights(period)),
    ),
    SampleTable(
        HOURLY,
        "Measurements of each hour",
        _columns(
            ("airport", "STRING", "EWR, JFK or LGA", "REQUIRED"),
            ("temp", "FLOAT64", "Temperature, °F"),
            ("dewp", "FLOAT64", "Dew point, °F"),
            ("humid", "FLOAT64", "Relative humidity, percent"),
            ("wind_dir", "INT64", "Direction of the wind, degrees"),
            ("wind_speed", "FLOAT64", "Speed of the wind, mph"),
            ("wind_gust", "FLOAT64", "Speed of gusts, mph"),
            ("precip", "FLOAT64", "Precipitation, inches"),
            ("pressure", "FLOAT64", "Pressure at sea level, millibars"),
            ("visib", "FLOAT64", "Visibility, miles"),
            ("time_hour", "TIMESTAMP", "The hour", "REQUIRED"),
        ),
        source.weather,
        {"source": "asos"},
        time_partitioning=bigquery.TimePartitioning("MONTH", field="time_hour"),
        clustering=("airport",),
    ),
    SampleTable(
        STATIONS,
        "Where the weather is measured",
        _columns(
            ("airport", "STRING", "FAA code", "REQUIRED"),
            ("name", "STRING", "Name"),
            ("latitude", "FLOAT64", "Degrees"),
            ("longitude", "FLOAT64", "Degrees"),
            ("altitude", "INT64", "Feet"),
        ),
        lambda _: derived.stations(source.airports()),
    ),
    SampleTable(
        ALERTS,
        "Warnings of the weather service; none came so far",
        _columns(("issued_at", "TIMESTAMP", "When it was issued"), ("text", "STRING", "Words of the warning")),
    ),
    SampleTable(
        DELAYS,
        "Mean delay at arrival of each carrier, minutes",
        view=(
            "SELECT a.name, COUNT(*) AS flights, AVG(f.arrival_delay) AS mean_arrival_delay\n"
            f"FROM `{FLIGHTS}` AS f JOIN `{AIRLINES}` AS a ON f.carrier = a.carrier\n"
            "GROUP BY a.name"
        ),
    ),
    SampleTable(
        CONTACTS,
        "Duty desks of the airports; the airports keep the sheet themselves",
        external=_sheet("https://docs.google.com/spreadsheets/d/1AcmeAirportContacts"),
    ),
)
