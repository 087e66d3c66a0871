import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.e2e.house import House
from bbq_dagster_tests.e2e.retaining import five_days


@pytest.fixture
def house(bigquery: LocalBigQuery, tmp_path: Path) -> House:
    return House.build(bigquery, tmp_path)


@pytest.fixture(scope="session")
def five_days_kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, datetime]:
    """The folder of an embedded BigQuery after five days of a house, and when they end."""
    folder = tmp_path_factory.mktemp("five_days")
    with LocalBigQuery(folder / "bigquery") as bigquery:
        return folder / "bigquery", five_days(House.build(bigquery, folder)).now


@pytest.fixture
def house_of_five_days(five_days_kept: tuple[Path, datetime], tmp_path: Path) -> Iterator[House]:
    """A copy of its own: living through the days takes longer than most of the tests."""
    kept, now = five_days_kept
    shutil.copytree(kept, tmp_path / "bigquery")
    with LocalBigQuery(tmp_path / "bigquery") as bigquery:
        yield House.on(bigquery, tmp_path, now)
