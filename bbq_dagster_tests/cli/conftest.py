"""`bbq` in this process: its exit code, standard output and standard error, on a house with two tables and a view."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bbq_dagster.cli import run
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.e2e.house import CLIMATE, SHOP, House


@dataclass(frozen=True)
class Answer:
    """What one call of `bbq` left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        """Standard output as one JSON document; anything beside it is an error."""
        return json.loads(self.out)


Bbq = Callable[..., Answer]


@pytest.fixture
def house(bigquery: LocalBigQuery, tmp_path: Path) -> House:
    return furnished(bigquery, tmp_path)


def furnished(bigquery: LocalBigQuery, folder: Path) -> House:
    """orders (2 rows), days (3 partitions), rain (empty) and a view."""
    house = House.build(bigquery, folder)
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT n FROM UNNEST([1, 2]) AS n")
    house.sql(
        f"CREATE TABLE `{SHOP}.sales.days` PARTITION BY day AS"
        " SELECT day FROM UNNEST([DATE '2026-01-01', DATE '2026-01-02', DATE '2026-01-03']) AS day"
    )
    house.sql(f"CREATE VIEW `{SHOP}.sales.view` AS SELECT 1 AS n")
    house.sql(f"CREATE TABLE `{CLIMATE}.weather.rain` (mm INT64)", location="US")
    house.later()
    return house


@pytest.fixture
def anywhere(capsys: pytest.CaptureFixture[str]) -> Bbq:
    """`bbq` without settings."""

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        code = run(arguments)
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture
def bbq(house: House, anywhere: Bbq) -> Bbq:
    """`bbq` with the settings of the house."""
    return lambda *arguments: anywhere("--config", str(house.stack.settings.path), *arguments)
