"""Running a query: one call where the answer fits a page, names never unquoted, rows as BigQuery sends them.

Knows nothing of what is asked. Rows stay text until a reader turns them into values: the library's own rows cost
twenty times as much (22 µs a row against 1 µs), which a million partitions would feel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from google.cloud import bigquery
from google.cloud.bigquery.table import RowIterator

from bbq_dagster.core.fingerprint import LEAST_BILLED
from bbq_dagster.errors import Refused
from bbq_dagster.warehouse.client import Patience
from bbq_dagster.warehouse.faults import Need, explained

Cells = Sequence[str | None]
"""One row: text of STRING, digits of INT64, ``true`` or ``false``; a TIMESTAMP is in microseconds since 1970."""

Parameter = Sequence[str] | datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]+")


class Queries:
    """Runs queries as jobs of the client's project. Safe to share between threads.

    ``page_size`` is in rows; None leaves it to BigQuery, whose pages have up to 10 MB.
    """

    def __init__(self, client: bigquery.Client, patience: Patience, *, page_size: int | None = None) -> None:
        self._client = client
        self._patience = patience
        self._page_size = page_size
        self._options = patience.call_options()
        self._job_retry = patience.job_retry()

    def rows(
        self, sql: str, *, location: str, doing: str, needs: Sequence[Need], parameters: Mapping[str, Parameter] = {}
    ) -> Iterator[Cells]:
        """The rows of a query, page by page: at most one page is in memory.

        Raises at the first row, or between two, where a page cannot be had.
        """
        with explained(doing, *needs, self._may_run_jobs):
            yield from _cells(self._ask(sql, location, _config(parameters)))

    def columns_of(self, table: str, *, location: str, doing: str, needs: Sequence[Need]) -> list[str]:
        """What the columns of a quoted table are called; reads no row."""
        with explained(doing, *needs, self._may_run_jobs):
            answer = self._ask(f"SELECT * FROM {table}", location, bigquery.QueryJobConfig(dry_run=True))
            return [field.name for field in answer.schema]

    def bytes_of(self, sql: str, *, location: str, doing: str, needs: Sequence[Need]) -> int:
        """How many bytes the query would read; reads none."""
        with explained(doing, *needs, self._may_run_jobs):
            return self._ask(sql, location, bigquery.QueryJobConfig(dry_run=True)).total_bytes_processed or 0

    def scanned(
        self, sql: str, *, location: str, doing: str, needs: Sequence[Need], at_most: int
    ) -> tuple[list[Cells], int]:
        """All rows of a query, and the bytes that it read; BigQuery refuses one that would bill more than ``at_most``.

        The least that it bills is 10 MiB (BigQuery: pricing), so that less is not asked for.
        """
        config = bigquery.QueryJobConfig(
            maximum_bytes_billed=max(at_most, LEAST_BILLED), use_query_cache=False, labels={"bbq": "verify"}
        )
        with explained(doing, *needs, self._may_run_jobs):
            answer = self._ask(sql, location, config)
            return list(_cells(answer)), answer.total_bytes_processed or 0

    def _ask(self, sql: str, location: str, config: bigquery.QueryJobConfig) -> RowIterator:
        return self._client.query_and_wait(
            sql,
            project=self._client.project,
            location=location,
            job_config=config,
            api_timeout=self._options["timeout"],
            wait_timeout=self._patience.give_up_after,
            retry=self._options["retry"],
            job_retry=self._job_retry,
            page_size=self._page_size,
        )

    @property
    def _may_run_jobs(self) -> Need:
        return Need("bigquery.jobs.create", "roles/bigquery.jobUser", f"project {self._client.project}")


def _cells(answer: RowIterator) -> Iterator[Cells]:
    for page in answer.pages:
        for row in page.raw_page.get("rows", ()):
            yield [cell["v"] for cell in row["f"]]


def quoted(*names: str) -> str:
    """```a`.`b` `` for use in SQL. Raises ``Refused`` for a name that is none, which could end the quotes."""
    for name in names:
        if _IDENTIFIER.fullmatch(name) is None:
            raise Refused(f"not a name of a project, dataset or location: {name!r}")
    return ".".join(f"`{name}`" for name in names)


def instant(micros: str | None) -> datetime | None:
    """A TIMESTAMP cell as aware UTC, to the microsecond."""
    return None if micros is None else _EPOCH + timedelta(microseconds=int(micros))


def whole_number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _config(parameters: Mapping[str, Parameter]) -> bigquery.QueryJobConfig:
    return bigquery.QueryJobConfig(
        query_parameters=[_parameter(name, value) for name, value in parameters.items()], labels={"bbq": "query"}
    )


def _parameter(name: str, value: Parameter) -> bigquery.ArrayQueryParameter | bigquery.ScalarQueryParameter:
    if isinstance(value, datetime):
        return bigquery.ScalarQueryParameter(name, "TIMESTAMP", value)
    return bigquery.ArrayQueryParameter(name, "STRING", list(value))
