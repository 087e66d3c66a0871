"""The sample holds what it says, and its changes do what their sentences and effects say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest
from google.cloud import bigquery as bq

from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.errors import Refused
from bbq_dagster.local.sample import (
    ChangeKind,
    ChangeMade,
    Effect,
    SeedReport,
    change,
    next_day,
    sample_settings,
    seed,
    source,
)
from bbq_dagster.local.sample.source import Period
from bbq_dagster.local.sample.tables import (
    ALERTS,
    BOARD,
    DELAYS,
    FLIGHTS,
    GATE_EVENTS,
    HOURLY,
    ON_TIME,
    OPS,
    PLANES_BY_YEAR,
    REFERENCE,
    SCRATCH,
    WEATHER,
)
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import load_settings

MORNING = datetime(2026, 3, 2, 5, tzinfo=UTC)
BUFFERED = timedelta(minutes=10)
DAYS = 10

Units = Mapping[Unit, tuple[int, str]]
"""Of each unit that has rows: how many, and a fingerprint of them."""

_PARTITION_OF_ROW = {
    FLIGHTS: "FORMAT_DATE('%Y%m%d', flight_date)",
    BOARD: "FORMAT_TIMESTAMP('%Y%m%d%H', scheduled_at)",
    GATE_EVENTS: "IFNULL(FORMAT_TIMESTAMP('%Y%m%d', _PARTITIONTIME), '__UNPARTITIONED__')",
    HOURLY: "FORMAT_TIMESTAMP('%Y%m', time_hour)",
    PLANES_BY_YEAR: "IFNULL(CAST(DIV(year, 5) * 5 AS STRING), '__NULL__')",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """A day of changes: the units before it, after it, and after the streaming buffer was flushed."""

    before: Units
    made: tuple[ChangeMade, ...]
    after: Units
    buffered: int
    flushed: Units

    def rows_gained(self, one: ChangeMade) -> int:
        units = one.effect.copied | one.effect.vanished | one.effect.emptied
        return sum(self.after.get(u, (0, ""))[0] - self.before.get(u, (0, ""))[0] for u in units)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalBigQuery]:
    with LocalBigQuery() as server:
        server.set_clock(MORNING)
        yield server


@pytest.fixture(scope="module")
def client(server: LocalBigQuery) -> bq.Client:
    return server.client("acme-flights")


@pytest.fixture(scope="module")
def small(client: bq.Client) -> SeedReport:
    return seed(client, small=True)


@pytest.fixture(scope="module")
def days(server: LocalBigQuery, client: bq.Client, small: SeedReport) -> Mapping[int, Changed]:
    """Ten days of changes on the small sample, each a day of the server's clock."""
    answer, units = {}, _units(client)
    for day in range(1, DAYS + 1):
        server.set_clock(MORNING + timedelta(days=day))
        made = change(client, day=day)
        after, buffer = _units(client), client.get_table(str(GATE_EVENTS)).streaming_buffer
        server.advance(BUFFERED)
        flushed = _units(client)
        answer[day] = Changed(units, made, after, buffer.estimated_rows if buffer else 0, flushed)
        units = flushed
    return answer


def _units(client: bq.Client) -> Units:
    tables = [
        TableRef(item.project, item.dataset_id, item.table_id)
        for dataset in (OPS, REFERENCE, SCRATCH, WEATHER)
        for item in client.list_tables(str(dataset))
        if item.table_type == "TABLE"
    ]
    return {unit: state for table in tables for unit, state in _units_of(client, table)}


def _units_of(client: bq.Client, table: TableRef) -> Iterator[tuple[Unit, tuple[int, str]]]:
    partition = _PARTITION_OF_ROW.get(table, "CAST(NULL AS STRING)")
    only = "WHERE scheduled_at IS NOT NULL" if table == BOARD else ""
    content = "TO_HEX(MD5(STRING_AGG(TO_JSON_STRING(t), '' ORDER BY TO_JSON_STRING(t))))"
    rows = client.query_and_wait(
        f"SELECT {partition}, COUNT(*), {content} FROM `{table}` AS t {only} GROUP BY 1",
        project=table.project,
        location="US" if table.in_dataset == WEATHER else "EU",
    )
    return ((table.unit(id_of), (count, content)) for id_of, count, content in (row.values() for row in rows))


def _number(client: bq.Client, sql: str) -> int:
    ((number,),) = (row.values() for row in client.query_and_wait(sql))
    return int(number)


# the source


def test_flight_dates_are_the_calendar_days_of_new_york() -> None:
    rows = source.flights(source.WHOLE_YEAR)

    assert rows.num_rows == 336_776
    assert pc.count_distinct(rows["flight_date"]).as_py() == 365
    assert pc.min_max(rows["flight_date"]).as_py() == {"min": date(2013, 1, 1), "max": date(2013, 12, 31)}


@pytest.mark.parametrize(
    ("day", "real"),
    [
        pytest.param(date(2013, 12, 31), date(2013, 12, 31), id="a day of 2013 is itself"),
        pytest.param(date(2014, 1, 1), date(2013, 1, 2), id="a Wednesday repeats a Wednesday"),
        pytest.param(date(2015, 1, 3), date(2013, 1, 5), id="two years on"),
    ],
)
def test_days_after_2013_repeat_the_same_day_of_the_week(day: date, real: date) -> None:
    rows, model = source.flights(Period.day(day)), source.flights(Period.day(real))

    assert day.weekday() == real.weekday()
    assert set(rows["flight_date"].to_pylist()) == {day}
    assert rows["flight"].to_pylist() == model["flight"].to_pylist()


# the seed


@pytest.mark.slow
def test_the_year_has_365_partitions_and_336_776_flights() -> None:
    with LocalBigQuery() as server:
        client = server.client("acme-flights")
        report = seed(server.url)
        flights = client.get_table(str(FLIGHTS))
        partitions = client.query_and_wait(
            "SELECT table_name, COUNT(*), SUM(total_rows) FROM `acme-flights.ops.INFORMATION_SCHEMA.PARTITIONS` "
            f"WHERE table_name = '{FLIGHTS.table}' GROUP BY table_name"
        )
        listed = [tuple(row.values()) for row in partitions]

    assert listed == [(FLIGHTS.table, 365, 336_776)]
    assert flights.num_rows == report.rows_of(FLIGHTS) == 336_776
    assert flights.clustering_fields == ["carrier", "origin"]
    assert report.rows_of(HOURLY) == 26_115


def test_the_report_counts_what_the_tables_hold(client: bq.Client, small: SeedReport) -> None:
    counted = {table.ref: client.get_table(str(table.ref)).num_rows for table in small.tables}

    assert counted == {table.ref: table.rows for table in small.tables}
    assert f"{small.rows:,} rows in {len(small.tables)} tables" in str(small)


@pytest.mark.parametrize(
    ("table", "partitioning"),
    [
        pytest.param(FLIGHTS, ("DAY", "flight_date"), id="a day by a DATE column"),
        pytest.param(BOARD, ("HOUR", "scheduled_at"), id="an hour"),
        pytest.param(HOURLY, ("MONTH", "time_hour"), id="a month"),
        pytest.param(GATE_EVENTS, ("DAY", None), id="ingestion time"),
    ],
)
def test_tables_are_partitioned_by_time(
    client: bq.Client, small: SeedReport, table: TableRef, partitioning: tuple[str, str | None]
) -> None:
    found = client.get_table(str(table)).time_partitioning

    assert (found.type_, found.field) == partitioning


def test_planes_without_a_year_are_in_the_null_partition(client: bq.Client, small: SeedReport) -> None:
    units = dict(_units_of(client, PLANES_BY_YEAR))

    assert client.get_table(str(PLANES_BY_YEAR)).range_partitioning.range_.interval == 5
    assert units[PLANES_BY_YEAR.unit("__NULL__")][0] == 70


def test_no_partition_expires_soon(client: bq.Client, small: SeedReport) -> None:
    units = dict(_units_of(client, GATE_EVENTS))

    assert client.get_table(str(GATE_EVENTS)).time_partitioning.expiration_ms == 400 * 24 * 3_600_000
    assert sorted(unit.partition or "" for unit in units)[:7] == [f"202602{day}" for day in range(23, 29)] + [
        "20260301"
    ]


def test_there_is_what_a_backup_leaves_out(client: bq.Client, small: SeedReport) -> None:
    kinds = {item.table_id: item.table_type for d in (OPS, REFERENCE) for item in client.list_tables(str(d))}

    assert (kinds["delays_by_carrier"], kinds["airport_contacts"]) == ("VIEW", "EXTERNAL")
    assert client.get_dataset(str(SCRATCH)).labels == {"bbq": "skip"}
    assert client.get_table(str(ON_TIME)).expires is not None
    assert client.get_table(str(ALERTS)).num_rows == 0


def test_sources_are_in_two_locations(client: bq.Client, small: SeedReport) -> None:
    locations = {str(ref): client.get_dataset(str(ref)).location for ref in (OPS, REFERENCE, WEATHER)}

    assert locations == {"acme-flights.ops": "EU", "acme-flights.reference": "EU", "acme-climate.weather": "US"}


def test_every_column_is_described(client: bq.Client, small: SeedReport) -> None:
    tables = [client.get_table(str(table.ref)) for table in small.tables]

    assert [f"{t.table_id}.{field.name}" for t in tables for field in t.schema if not field.description] == []
    assert [t.table_id for t in tables if not t.description] == []


def test_the_view_answers(client: bq.Client, small: SeedReport) -> None:
    assert _number(client, f"SELECT SUM(flights) FROM `{DELAYS}`") == _number(
        client, f"SELECT COUNT(*) FROM `{FLIGHTS}`"
    )


def test_a_second_seed_is_refused(client: bq.Client, small: SeedReport) -> None:
    with pytest.raises(Refused, match="the sample is there already"):
        seed(client, small=True)


# the changes


@pytest.mark.parametrize("day", range(1, DAYS + 1))
def test_a_day_changes_the_units_that_its_effects_name_and_no_others(days: Mapping[int, Changed], day: int) -> None:
    changed, effect = days[day], Effect.of_all(days[day].made)
    gone = changed.before.keys() - changed.after.keys()
    written = {unit for unit, state in changed.after.items() if changed.before.get(unit) != state}

    assert written == effect.copied | effect.waiting
    assert gone == effect.vanished | effect.emptied
    assert {u for u, state in changed.flushed.items() if changed.after.get(u) != state} == effect.flushed


@pytest.mark.parametrize("day", range(1, DAYS + 1))
def test_every_change_counts_its_rows(days: Mapping[int, Changed], day: int) -> None:
    gained = {
        one: days[day].rows_gained(one)
        for one in days[day].made
        if one.kind not in {ChangeKind.ROWS_STREAMED, ChangeKind.TABLE_RECREATED}
    }

    assert gained == {one: _rows_to_gain(one, days[day]) for one in gained}


def _rows_to_gain(one: ChangeMade, day: Changed) -> int:
    if one.kind in {ChangeKind.ROWS_UPDATED, ChangeKind.DESCRIBED}:
        return 0
    if one.effect.vanished or one.effect.emptied:
        return -sum(day.before[unit][0] for unit in one.effect.vanished | one.effect.emptied)
    return -one.rows if one.kind is ChangeKind.ROWS_DELETED else one.rows


@pytest.mark.parametrize("day", range(1, DAYS + 1))
def test_sentences_name_the_rows_and_the_day_that_changed(days: Mapping[int, Changed], day: int) -> None:
    said = [(one, re.findall(r"\d{4}-\d\d-\d\d", one.sentence)) for one in days[day].made]

    assert [
        one.sentence for one in days[day].made if one.rows and not re.search(rf"\b{one.rows}\b", one.sentence)
    ] == []
    for one, dates in said:
        if one.table == FLIGHTS:
            assert one.effect.copied == {FLIGHTS.unit(dates[0].replace("-", ""))}


@pytest.mark.parametrize("day", range(1, DAYS + 1))
def test_streamed_rows_are_in_the_buffer(days: Mapping[int, Changed], day: int) -> None:
    streamed = sum(one.rows for one in days[day].made if one.kind is ChangeKind.ROWS_STREAMED)

    assert days[day].buffered == streamed


def test_deleted_flights_were_the_cancelled_ones(days: Mapping[int, Changed], client: bq.Client) -> None:
    deleted = [one for day in days.values() for one in day.made if one.kind is ChangeKind.ROWS_DELETED]
    dates = [re.findall(r"\d{4}-\d\d-\d\d", one.sentence)[0] for one in deleted]
    left = [
        _number(client, f"SELECT COUNTIF(departed_at IS NULL) FROM `{FLIGHTS}` WHERE flight_date = DATE '{day}'")
        for day in dates
    ]

    assert left == [0] * len(deleted)


@pytest.mark.parametrize(
    ("wanted", "some_days"),
    [
        pytest.param(
            {
                ChangeKind.ROWS_APPENDED,
                ChangeKind.LATE_ROWS,
                ChangeKind.ROWS_UPDATED,
                ChangeKind.ROWS_DELETED,
                ChangeKind.ROWS_STREAMED,
                ChangeKind.DESCRIBED,
            },
            (1,),
            id="the first day shows the common ones",
        ),
        pytest.param(set(ChangeKind), (1, 2, 3, 4, 5), id="five days show every kind"),
        pytest.param(set(ChangeKind), (6, 7, 8, 9, 10), id="and the next five again"),
    ],
)
def test_days_bring_kinds(days: Mapping[int, Changed], wanted: set[ChangeKind], some_days: tuple[int, ...]) -> None:
    assert {one.kind for day in some_days for one in days[day].made} == wanted


def test_descriptions_and_labels_need_no_copy(days: Mapping[int, Changed]) -> None:
    edits = [one for day in days.values() for one in day.made if one.kind is ChangeKind.DESCRIBED]

    assert [one.effect for one in edits] == [Effect()] * 4


def test_a_table_created_anew_has_a_new_time_of_creation(days: Mapping[int, Changed], client: bq.Client) -> None:
    (recreated,) = (one for one in days[8].made if one.kind is ChangeKind.TABLE_RECREATED)

    assert client.get_table(str(recreated.table)).created == MORNING + timedelta(days=8)


def test_a_day_is_not_made_twice(days: Mapping[int, Changed], client: bq.Client) -> None:
    assert next_day(client) == DAYS + 1
    with pytest.raises(Refused, match="the sample is past day 10"):
        change(client, day=DAYS)


def test_changes_need_a_sample(bigquery: LocalBigQuery) -> None:
    with pytest.raises(Refused, match="there is no sample"):
        change(bigquery.client("acme-flights"), day=1)


def test_the_same_day_and_seed_give_the_same_changes(bigquery: LocalBigQuery, days: Mapping[int, Changed]) -> None:
    bigquery.set_clock(MORNING + timedelta(days=1))
    client = bigquery.client("acme-flights")
    seed(client, small=True)

    assert change(client, day=1) == days[1].made


def test_another_seed_gives_other_changes(bigquery: LocalBigQuery, days: Mapping[int, Changed]) -> None:
    bigquery.set_clock(MORNING + timedelta(days=1))
    client = bigquery.client("acme-flights")
    seed(client, small=True)

    assert change(client, day=1, seed=7)[1:4] != days[1].made[1:4]


# the settings


def test_the_settings_are_valid_and_of_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "bbq.yaml"
    path.write_text(sample_settings("http://127.0.0.1:9050", tmp_path / "it's here"))
    settings = load_settings(path, {})

    assert {source.project for source in settings.sources} == {OPS.project, WEATHER.project}
    assert len({settings.daily_time(source.project) for source in settings.sources}) == 2
    assert (settings.endpoint, settings.credentials) == ("http://127.0.0.1:9050", "anonymous")
    assert settings.state_dir == tmp_path / "it's here"
