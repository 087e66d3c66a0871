"""A server with a stopped clock and the dataset ``sales`` in the EU, and its client."""

from collections.abc import Iterator

import pytest
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import NOW, PROJECT, a_dataset


@pytest.fixture
def client(bigquery: LocalBigQuery) -> Iterator[bq.Client]:
    bigquery.set_clock(NOW)
    client = bigquery.client(PROJECT)
    a_dataset(client)
    yield client
    client.close()
