"""What every test can ask for."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from bbq_dagster.local.server import LocalBigQuery

# A law is about values: how long an example takes on a busy machine is a benchmark's business.
settings.register_profile("laws", deadline=None)
settings.load_profile("laws")


@pytest.fixture
def bigquery() -> Iterator[LocalBigQuery]:
    """An empty BigQuery of this test's own, in memory."""
    with LocalBigQuery() as server:
        yield server
