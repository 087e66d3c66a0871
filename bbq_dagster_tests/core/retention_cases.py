"""Versions and plans as the tests of retention tell them: by how long ago a version was captured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from bbq_dagster.core.retention import Breaker, RetentionPlan, RetentionRecord, plan_retention
from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.retention_rules import Fate, StoredVersion, judge
from bbq_dagster.core.tables import Unit
from bbq_dagster_tests.builders import BACKUPS, NOW, ORDERS, SALES

ANY_SHARE = Breaker(1, 1)


def stored(
    at: datetime, *, unit: Unit | None = None, rows: int | None = 3, table: str = "", **overrides: Any
) -> StoredVersion:
    """A version of ``orders`` of that instant, in a backup table of its own."""
    unit = ORDERS.unit() if unit is None else unit
    name = f"{unit.key.replace('$', '-')}-{at:%Y%m%dT%H%M%S%f}"
    values = {"version_id": name.replace("-", "").lower(), "size_bytes": None if rows is None else rows * 10}
    return StoredVersion(
        unit=unit, table=BACKUPS.table(table or name), captured_at=at, rows=rows, **{**values, **overrides}
    )


def days_ago(*ages: float, rows: int | None = 3, unit: Unit | None = None) -> list[StoredVersion]:
    return [stored(NOW - timedelta(days=age), rows=rows, unit=unit) for age in ages]


def fates(
    versions: Sequence[StoredVersion],
    policy: RetentionPolicy,
    *,
    gone_since: datetime | None = None,
    now: datetime = NOW,
) -> list[Fate]:
    return judge(versions, policy, gone_since=gone_since, now=now)


def kept(of: Iterable[Fate]) -> list[StoredVersion]:
    return [fate.version for fate in of if fate.is_kept]


def a_retention_record(*versions: StoredVersion, **overrides: Any) -> RetentionRecord:
    """``SALES`` with these versions, listed an hour ago."""
    values = {"dataset": SALES, "scanned_at": NOW - timedelta(hours=1), **overrides}
    return RetentionRecord(versions=versions, **values)


def planned(
    *records: RetentionRecord,
    policy: RetentionPolicy | None = RetentionPolicy(keep_last=1),  # noqa: B008 - a frozen value
    breaker: Breaker = ANY_SHARE,
    now: datetime = NOW,
    **more: Any,
) -> RetentionPlan:
    return plan_retention(records, policy_for=lambda _: policy, now=now, breaker=breaker, **more)


def places(plan: RetentionPlan) -> list[str]:
    return [deletion.place.key for deletion in plan.deletions]


def whys(plan: RetentionPlan) -> list[str]:
    return [fate.why for fate in plan.fates]
