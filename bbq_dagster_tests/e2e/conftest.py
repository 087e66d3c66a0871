from pathlib import Path

import pytest

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.e2e.house import House


@pytest.fixture
def house(bigquery: LocalBigQuery, tmp_path: Path) -> House:
    return House.build(bigquery, tmp_path)
