"""Two years of an estate, from a seed: whatever happened, what is on record is true, and a restore brings it back.

The default run lives through 16 days of 30 tables. `make years` lives through 730 days of 500 tables, or does so
with `SEED=…`; the message of a run that fails has its seed, and the fewest days found that fail too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bbq_dagster_tests.years.driver import Day, draw_days, live_through
from bbq_dagster_tests.years.model import Broken
from bbq_dagster_tests.years.shrinking import shrink

SEED = 217
DAYS, TABLES = 730, 500


def live(seed: int, *, days: int, tables: int, folder: Path, patience: float) -> None:
    """Live through the days of a seed. Raises ``Broken`` with the seed, and with the fewest days that break it too.

    These are looked for as long as ``patience`` has seconds.
    """
    drawn = draw_days(seed, days=days, tables=tables)
    try:
        print(f"seed {seed}: {dict(live_through(drawn, tables=tables, folder=folder))}")
    except Broken as broken:
        print(f"seed {seed}: {broken}\nlooking for fewer days", flush=True)
        until = time.monotonic() + patience

        def fails(some: Sequence[Day]) -> bool:
            return time.monotonic() < until and is_broken(some, tables=tables)

        fewest = shrink(drawn[: broken.day + 1] or drawn, fails)
        told = "\n".join(map(str, fewest))
        raise Broken(f"seed {seed}, {days} days of {tables} tables: {broken}\nbroken by these too:\n{told}") from broken


def is_broken(days: Sequence[Day], *, tables: int) -> bool:
    with TemporaryDirectory() as folder:
        try:
            live_through(days, tables=tables, folder=Path(folder))
        except Broken:
            return True
    return False


@pytest.mark.slow
def test_two_weeks_of_a_small_estate(tmp_path: Path) -> None:
    live(SEED, days=16, tables=30, folder=tmp_path, patience=120)


@pytest.mark.years
def test_two_years_of_a_whole_estate(tmp_path: Path) -> None:
    seed = int(os.environ.get("BBQ_YEARS_SEED", SEED))
    live(seed, days=DAYS, tables=TABLES, folder=tmp_path, patience=1800)
