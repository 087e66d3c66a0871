"""A year of daily versions under several policies: 2,190 decisions, written down to be read.

Each file is one policy; a line is a version that is kept, or versions in a row with the same fate. All that was said
against versions that expire in a row is on their line.
``BBQ_WRITE_GOLDENS=1`` writes them anew.
"""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest

from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.retention_rules import Fate
from bbq_dagster_tests.builders import NOW
from bbq_dagster_tests.core.retention_cases import days_ago, fates

GOLDENS = Path(__file__).parent / "goldens"
POLICIES = {
    "daily_weekly_monthly": RetentionPolicy(keep_daily=7, keep_weekly=4, keep_monthly=12),
    "last": RetentionPolicy(keep_last=3, min_versions=5),
    "within": RetentionPolicy(keep_within=timedelta(days=30), keep_yearly=3),
    "bbq": RetentionPolicy(preset="bbq"),
    "bbq_with_months": RetentionPolicy(preset="bbq", bbq_months=2, bbq_count=5, keep_monthly=3),
    "hourly": RetentionPolicy(keep_hourly=24, keep_weekly=8),
}


def year(policy: RetentionPolicy) -> list[Fate]:
    return fates(days_ago(*range(365)), policy)


def told(policy: RetentionPolicy) -> str:
    runs = [list(run) for _, run in groupby(year(policy), lambda fate: fate.is_kept and fate.why)]
    return "\n".join([f"# {policy}", *map(_line, runs)]) + "\n"


def _line(run: list[Fate]) -> str:
    first, last = run[0], run[-1]
    days = f"{first.version.captured_at:%Y-%m-%d %a}"
    if len(run) > 1:
        days += f" .. {last.version.captured_at:%Y-%m-%d %a} ({len(run)})"
    reasons = dict.fromkeys(reason for fate in run for reason in fate.reasons)
    return f"{days:<40}{'keep    ' if first.is_kept else 'expire  '}{'; '.join(reasons)}"


@pytest.mark.parametrize("name", POLICIES)
def test_a_year_of_daily_versions(name: str) -> None:
    golden = GOLDENS / f"retention_{name}.txt"
    if os.environ.get("BBQ_WRITE_GOLDENS"):
        golden.write_text(told(POLICIES[name]))

    assert told(POLICIES[name]) == golden.read_text()


def test_at_least_two_thousand_decisions_are_pinned() -> None:
    assert sum(len(year(policy)) for policy in POLICIES.values()) >= 2000
    assert NOW.isoformat() == "2026-01-31T02:15:00+00:00", "the goldens are written for this instant"
