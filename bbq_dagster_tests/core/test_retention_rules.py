"""Which versions of one unit a policy keeps, each rule on both sides of its boundary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bbq_dagster.core.retention_policy import (
    FOREVER,
    RetentionPolicy,
    RetentionRules,
    duration_text,
    merge_rules,
    parse_duration,
)
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.errors import Refused
from bbq_dagster_tests.builders import BACKUPS, EVENTS, NOW, a_version
from bbq_dagster_tests.core.retention_cases import days_ago, fates, kept, stored

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("policy", "times", "expected"),
    [
        pytest.param(
            RetentionPolicy(keep_last=2),
            ["2026-01-30", "2026-01-29", "2026-01-28"],
            ["last good version; last #1", "last #2", "- beyond keep_last 2"],
            id="the last ones",
        ),
        pytest.param(
            RetentionPolicy(keep_hourly=2),
            ["2026-01-30T12:00", "2026-01-30T11:59:59", "2026-01-30T11:00", "2026-01-30T10:59:59"],
            [
                "last good version; hourly #1",
                "hourly #2",
                "- not the newest of its hour",
                "- beyond keep_hourly 2",
            ],
            id="an hour begins at its first second",
        ),
        pytest.param(
            RetentionPolicy(keep_daily=2),
            ["2026-01-30T00:00", "2026-01-29T23:59:59.999999", "2026-01-29T00:00", "2026-01-28T23:59:59.999999"],
            ["last good version; daily #1", "daily #2", "- not the newest of its day", "- beyond keep_daily 2"],
            id="a day begins at midnight UTC",
        ),
        pytest.param(
            RetentionPolicy(keep_daily=2),
            ["2026-01-30T01:00+02:00", "2026-01-30T02:00+02:00"],
            ["last good version; daily #1", "daily #2"],
            id="the day of another zone does not count",
        ),
        pytest.param(
            RetentionPolicy(keep_daily=2),
            ["2026-01-30", "2026-01-10", "2026-01-09"],
            ["last good version; daily #1", "daily #2", "- beyond keep_daily 2"],
            id="days without a version do not count",
        ),
        pytest.param(
            RetentionPolicy(keep_weekly=2),
            ["2023-01-02T00:00", "2023-01-01T23:59:59", "2022-12-26T00:00", "2022-12-25T23:59:59"],
            ["last good version; weekly #1", "weekly #2", "- not the newest of its week", "- beyond keep_weekly 2"],
            id="a week begins on Monday, over New Year too",
        ),
        pytest.param(
            RetentionPolicy(keep_monthly=2),
            ["2024-03-01", "2024-02-29T23:59:59", "2024-02-01", "2024-01-31T23:59:59"],
            ["last good version; monthly #1", "monthly #2", "- not the newest of its month", "- beyond keep_monthly 2"],
            id="a month ends on its last day, leap years too",
        ),
        pytest.param(
            RetentionPolicy(keep_monthly=2),
            ["2024-01-31", "2023-01-31"],
            ["last good version; monthly #1", "monthly #2"],
            id="the same month of another year is another month",
        ),
        pytest.param(
            RetentionPolicy(keep_yearly=1),
            ["2024-01-01", "2023-12-31T23:59:59"],
            ["last good version; yearly #1", "- beyond keep_yearly 1"],
            id="a year begins on 1 January",
        ),
        pytest.param(
            RetentionPolicy(keep_hourly=2),
            ["2026-01-30T00:30", "2026-01-29T23:30"],
            ["last good version; hourly #1", "hourly #2"],
            id="the first hour of a day is not the last one of the day before",
        ),
        pytest.param(
            RetentionPolicy(keep_daily=2),
            ["2026-01-31", "2025-12-31"],
            ["last good version; daily #1", "daily #2"],
            id="the same day of another month is another day",
        ),
        pytest.param(
            RetentionPolicy(keep_weekly=2),
            ["2026-01-30", "2025-01-30"],
            ["last good version; weekly #1", "weekly #2"],
            id="the same week of another year is another week",
        ),
        pytest.param(
            RetentionPolicy(keep_last=1, keep_daily=2, keep_monthly=1),
            ["2026-01-30", "2026-01-29", "2026-01-28"],
            [
                "last good version; last #1; daily #1; monthly #1",
                "daily #2",
                "- beyond keep_last 1; beyond keep_daily 2; not the newest of its month",
            ],
            id="rules are OR-ed, and each says why not",
        ),
        pytest.param(
            RetentionPolicy(keep_last=1, min_versions=2),
            ["2026-01-30", "2026-01-29", "2026-01-28"],
            ["last good version; last #1", "min_versions #2", "- beyond keep_last 1"],
            id="never fewer than min_versions",
        ),
    ],
)
def test_a_rule_keeps(policy: RetentionPolicy, times: list[str], expected: list[str]) -> None:
    versions = [stored(datetime.fromisoformat(t) if "+" in t else at(t)) for t in times]

    assert [fate.why if fate.is_kept else f"- {fate.why}" for fate in fates(versions, policy)] == expected


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param(timedelta(days=30) - SECOND, True, id="a second younger"),
        pytest.param(timedelta(days=30), True, id="exactly as old"),
        pytest.param(timedelta(days=30, microseconds=1), False, id="a microsecond older"),
    ],
)
def test_keep_within_keeps_up_to_exactly_that_age(age: timedelta, expected: bool) -> None:
    old, new = stored(NOW - age), stored(NOW)
    verdicts = fates([old, new], RetentionPolicy(keep_within=timedelta(days=30)))

    assert (old in kept(verdicts)) is expected


@pytest.mark.parametrize(
    ("gone_for", "grace", "expected"),
    [
        pytest.param(30 * DAY - SECOND, 30 * DAY, [True, False], id="within the grace"),
        pytest.param(30 * DAY, 30 * DAY, [True, False], id="at its last instant"),
        pytest.param(30 * DAY + SECOND, 30 * DAY, [False, False], id="after the grace"),
        pytest.param(SECOND, timedelta(0), [False, False], id="without a grace"),
        pytest.param(9000 * DAY, FOREVER, [True, False], id="forever"),
        pytest.param(9000 * DAY, None, [True, False], id="no grace is set"),
    ],
)
def test_versions_of_a_source_that_is_gone_go_after_its_grace(
    gone_for: timedelta, grace: timedelta | None, expected: list[bool]
) -> None:
    policy = RetentionPolicy(keep_last=1, grace_after_source_deleted=grace)
    verdicts = fates(days_ago(10_000, 10_001), policy, gone_since=NOW - gone_for)

    assert [fate.is_kept for fate in verdicts] == expected


def test_what_goes_after_the_grace_says_so() -> None:
    policy = RetentionPolicy(keep_last=1, grace_after_source_deleted=30 * DAY)
    (fate,) = fates(days_ago(100), policy, gone_since=NOW - 31 * DAY)

    assert fate.why == "the source is gone since 2025-12-31, longer than the grace of 30d"


@pytest.mark.parametrize("rows", [pytest.param(0, id="empty"), pytest.param(None, id="not counted")])
def test_a_version_that_is_not_good_pushes_out_no_good_one(rows: int | None) -> None:
    bad, good = days_ago(0, 1, 2, rows=rows), days_ago(10, 11, 12)
    verdicts = fates([*bad, *good], RetentionPolicy(keep_last=2))

    assert kept(verdicts) == [*bad[:2], *good[:2]]


def test_the_newest_version_stays_beside_the_last_good_one() -> None:
    (newest,), older, (good,) = days_ago(100, rows=0), days_ago(101, rows=0), days_ago(200)
    verdicts = fates([newest, *older, good], RetentionPolicy(keep_within=DAY))

    assert [fate.why for fate in verdicts] == ["newest version", "older than 1d", "last good version"]


def test_where_no_version_is_good_the_newest_stays() -> None:
    newest, older = days_ago(500, 501, rows=None)

    assert kept(fates([older, newest], RetentionPolicy(keep_within=DAY))) == [newest]


def test_forever_keeps_everything() -> None:
    versions = days_ago(0, 1000, 9000)

    assert kept(fates(versions, RetentionPolicy(keep_within=FOREVER))) == versions


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param(RetentionPolicy(), True, id="nothing at all"),
        pytest.param(RetentionPolicy(min_versions=3), True, id="a floor is no rule"),
        pytest.param(RetentionPolicy(grace_after_source_deleted=DAY), True, id="a grace is no rule"),
        pytest.param(RetentionPolicy(bbq_count=3), True, id="a number of the preset without the preset"),
        pytest.param(RetentionPolicy(keep_yearly=1), False, id="one rule"),
        pytest.param(RetentionPolicy(keep_within=DAY), False, id="a duration"),
        pytest.param(RetentionPolicy(preset="bbq"), False, id="the preset"),
    ],
)
def test_a_policy_without_a_rule_is_empty(policy: RetentionPolicy, expected: bool) -> None:
    assert policy.is_empty is expected


def test_an_empty_policy_is_refused() -> None:
    with pytest.raises(Refused, match=r"retention of acme-shop\.sales\.orders has no rule .* nothing was deleted"):
        RetentionPolicy().refuse_if_empty("acme-shop.sales.orders")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("36h", timedelta(hours=36), id="hours"),
        pytest.param("30d", timedelta(days=30), id="days"),
        pytest.param("8w", timedelta(weeks=8), id="weeks"),
        pytest.param("0d", timedelta(0), id="nothing"),
        pytest.param("forever", FOREVER, id="forever"),
    ],
)
def test_a_duration_is_read_and_written(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected
    assert parse_duration(duration_text(expected)) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 d", "1m", "7 days", "123456d", "٣d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not a duration"):
        parse_duration(text)


def test_levels_are_merged_field_by_field() -> None:
    levels = [
        (RetentionRules(keep_daily=7, keep_weekly=4), "defaults"),
        (RetentionRules(), "project acme-shop"),
        (RetentionRules(keep_daily=0, keep_within=DAY), "table events"),
    ]
    policy, names = merge_rules(levels)

    assert policy == RetentionPolicy(keep_daily=0, keep_weekly=4, keep_within=DAY)
    assert names == ("table events", "defaults")
    assert str(policy) == "keep_weekly 4, keep_within 1d"


def test_where_no_level_says_anything_there_is_no_retention() -> None:
    assert merge_rules([(RetentionRules(), "defaults")]) == (None, ())


def test_of_a_version_retention_knows_what_is_on_record() -> None:
    unit = EVENTS.unit("20240101")

    assert StoredVersion.of(a_version(unit, version_id="v", whole_table=True)) == StoredVersion(
        version_id="v",
        unit=unit,
        table=BACKUPS.table("events-1"),
        captured_at=NOW - DAY,
        rows=3,
        size_bytes=30,
        whole_table=True,
    )
