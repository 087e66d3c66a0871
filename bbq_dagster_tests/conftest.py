"""What every test can ask for."""

from collections.abc import Iterator

import pytest

from bbq_dagster.local.server import LocalBigQuery


@pytest.fixture
def bigquery() -> Iterator[LocalBigQuery]:
    """An empty BigQuery of this test's own, in memory."""
    with LocalBigQuery() as server:
        yield server
