"""What every test can ask for."""

from collections.abc import Iterator

import dagster as dg
import pytest
from hypothesis import settings

from bbq_dagster.local.server import LocalBigQuery

# A law is about values: how long an example takes on a busy machine is a benchmark's business.
settings.register_profile("laws", deadline=None)
# Run again for each of thousands of mutants: few examples, and for each the same ones.
settings.register_profile("mutation", max_examples=20, derandomize=True, deadline=None, database=None)
settings.load_profile("laws")


@pytest.fixture
def bigquery() -> Iterator[LocalBigQuery]:
    """An empty BigQuery of this test's own, in memory."""
    with LocalBigQuery() as server:
        yield server


@pytest.fixture(scope="session")
def dagster_in_memory() -> Iterator[dg.DagsterInstance]:
    """Dagster's storage in memory, with what earlier tests left: making it reads every migration Dagster ever had."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def instance(dagster_in_memory: dg.DagsterInstance) -> dg.DagsterInstance:
    """An empty Dagster in memory."""
    dagster_in_memory.event_log_storage.wipe()
    dagster_in_memory.run_storage.wipe()
    return dagster_in_memory
