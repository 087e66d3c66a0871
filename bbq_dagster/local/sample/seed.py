"""The whole sample into a BigQuery that does not have it yet, through the client: ``bbq local seed``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import Conflict
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from bbq_dagster.core.tables import TableRef
from bbq_dagster.errors import Refused
from bbq_dagster.local.sample import derived, source
from bbq_dagster.local.sample.loading import finish, start_load
from bbq_dagster.local.sample.source import TEN_DAYS, WHOLE_YEAR, Period
from bbq_dagster.local.sample.tables import GATE_EVENTS, OPS, SampleTable, datasets, tables

_GATE_DAYS = 7


@dataclass(frozen=True, slots=True)
class SeededTable:
    """A table that was created, and the rows that were loaded into it."""

    ref: TableRef
    rows: int


@dataclass(frozen=True, slots=True)
class SeedReport:
    """What the seed made, in the order in which it was made."""

    tables: tuple[SeededTable, ...]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    def rows_of(self, ref: TableRef) -> int:
        return next(table.rows for table in self.tables if table.ref == ref)

    def __str__(self) -> str:
        lines = (f"{table.rows:>9,} rows  {table.ref}" for table in self.tables)
        return "\n".join([*lines, f"{self.rows:>9,} rows in {len(self.tables)} tables"])


def seed(url_or_client: str | bigquery.Client, *, small: bool = False) -> SeedReport:
    """Create the sample's datasets and tables, and load them: the year 2013, or its first ten days where ``small``.

    Raises ``Refused`` where the sample is there already: a second seed would double its rows.
    """
    client = _client(url_or_client) if isinstance(url_or_client, str) else url_or_client
    period = TEN_DAYS if small else WHOLE_YEAR
    today = _create_datasets(client, period.last)
    made = tables(period)
    for table in made:
        client.create_table(table.resource())
    return _report(made, list(_start_loads(client, made, period, today)))


def _client(url: str) -> bigquery.Client:
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return bigquery.Client(OPS.project, credentials=credentials, client_options=ClientOptions(api_endpoint=url))


def _create_datasets(client: bigquery.Client, until: date) -> date:
    """Returns the day by the server's clock, which is not always ours."""
    try:
        created = [client.create_dataset(dataset.resource()) for dataset in datasets(until)]
    except Conflict as error:
        raise Refused(
            f"the sample is there already, or a part of it: {error.message}",
            hint="start the embedded BigQuery with an empty folder, then seed it",
        ) from error
    created_at: datetime = created[0].created
    return created_at.date()


_Load = tuple[TableRef, bigquery.LoadJob]


def _start_loads(
    client: bigquery.Client, made: tuple[SampleTable, ...], period: Period, today: date
) -> Iterator[_Load]:
    """One job a table; of a table by ingestion time one job a day, because its days are not in its rows."""
    for table in made:
        if table.rows is not None:
            yield table.ref, start_load(client, table.ref.unit(), table.columns, table.rows(period))
        if table.ref == GATE_EVENTS:
            yield from _start_gate_events(client, table, period, today)


def _start_gate_events(client: bigquery.Client, table: SampleTable, period: Period, today: date) -> Iterator[_Load]:
    for ago in range(_GATE_DAYS, 0, -1):
        arrived = today - timedelta(days=ago)
        flown = source.flights(Period.day(period.last - timedelta(days=ago)))
        rows = derived.gate_events(flown, arrived)
        yield table.ref, start_load(client, table.ref.unit(f"{arrived:%Y%m%d}"), table.columns, rows)


def _report(made: tuple[SampleTable, ...], loads: list[_Load]) -> SeedReport:
    finish(job for _, job in loads)
    return SeedReport(
        tuple(
            SeededTable(table.ref, sum(int(job.output_rows) for ref, job in loads if ref == table.ref))
            for table in made
            if table.view == "" and table.external is None
        )
    )
