"""What holds for every plan, whatever the versions, the policy and the holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bbq_dagster.core.holds import Hold
from bbq_dagster.core.retention import RetentionPlan, RetentionRecord, plan_retention
from bbq_dagster.core.retention_policy import FOREVER, RetentionPolicy
from bbq_dagster.core.retention_rules import StoredVersion, newest_first
from bbq_dagster.core.tables import NULL_PARTITION, Unit
from bbq_dagster_tests.builders import EVENTS, NOW, ORDERS
from bbq_dagster_tests.core.retention_cases import ANY_SHARE, a_retention_record, stored

UNITS = (ORDERS.unit(), EVENTS.unit("20240101"), EVENTS.unit("20240102"), EVENTS.unit(NULL_PARTITION))
DAY = timedelta(days=1)

counts = st.sampled_from([0, 0, 1, 2, 5])
durations = st.sampled_from([timedelta(0), 5 * DAY, 40 * DAY, FOREVER])
policies = st.builds(
    RetentionPolicy,
    keep_last=counts,
    keep_hourly=counts,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    keep_yearly=counts,
    keep_within=durations,
    min_versions=st.integers(0, 3),
    grace_after_source_deleted=st.none() | durations,
    preset=st.sampled_from(["none", "bbq"]),
    bbq_months=st.integers(1, 14),
    bbq_count=st.integers(1, 12),
).filter(lambda policy: not policy.is_empty)
hours_ago = st.integers(0, 24 * 40) | st.integers(0, 24 * 1000)


@st.composite
def records(draw: st.DrawFn) -> RetentionRecord:
    """Versions of a table and three partitions; those of one hour share a backup table."""
    made: dict[str, StoredVersion] = {}
    for unit, hours, rows in draw(
        st.lists(st.tuples(st.sampled_from(UNITS), hours_ago, st.sampled_from([3, 3, 3, 0, None])), max_size=40)
    ):
        table = f"{unit.table.table}-{hours}"
        version = stored(NOW - timedelta(hours=hours), unit=unit, rows=rows, table=table)
        made[version.version_id] = version
    gone = draw(st.dictionaries(st.sampled_from(UNITS), hours_ago.map(lambda h: NOW - timedelta(hours=h)), max_size=3))
    begun = draw(st.sets(st.sampled_from(sorted(made)), max_size=3)) if made else set()
    busy = draw(st.sets(st.sampled_from([v.table for v in made.values()]), max_size=2)) if made else set()
    return a_retention_record(*made.values(), gone_since=gone, begun=frozenset(begun), busy=frozenset(busy))


def plan(
    record: RetentionRecord, policy: RetentionPolicy, *, holds: tuple[Hold, ...] = (), now: datetime = NOW
) -> RetentionPlan:
    return plan_retention([record], policy_for=lambda _: policy, now=now, holds=holds, breaker=ANY_SHARE)


def kept_ids(of: RetentionPlan) -> set[str]:
    return {fate.version.version_id for fate in of.kept}


def more_generous(policy: RetentionPolicy, draw: st.DataObject) -> RetentionPolicy:
    """At least as much of everything. More months of the preset are left out: they make other versions old."""
    more = {
        name: getattr(policy, name) + draw.draw(st.integers(0, 3), label=name)
        for name in ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
    }
    grace = policy.grace_after_source_deleted
    return replace(
        policy,
        **more,
        keep_within=max(policy.keep_within, draw.draw(durations)),
        min_versions=policy.min_versions + draw.draw(st.integers(0, 2)),
        bbq_count=policy.bbq_count + draw.draw(st.integers(0, 3)),
        grace_after_source_deleted=None if grace is None else max(grace, draw.draw(durations)),
    )


@given(records(), policies)
def test_every_version_has_one_fate_and_a_reason(record: RetentionRecord, policy: RetentionPolicy) -> None:
    fates = plan(record, policy).fates

    assert Counter(fate.version for fate in fates) == Counter(record.versions)
    assert all(fate.reasons for fate in fates)


@given(records(), policies)
def test_what_is_deleted_is_what_expired_and_holds_nothing_that_is_kept(
    record: RetentionRecord, policy: RetentionPolicy
) -> None:
    made = plan(record, policy)
    gone = Counter(version for deletion in made.deletions for version in deletion.versions)
    whole_tables = {deletion.place.table for deletion in made.deletions if deletion.place.partition is None}

    assert gone == Counter(fate.version for fate in made.expired)
    assert not whole_tables & {fate.version.table for fate in made.kept}
    assert not whole_tables & record.busy


@given(records(), policies)
def test_the_newest_good_version_of_a_living_unit_never_expires(
    record: RetentionRecord, policy: RetentionPolicy
) -> None:
    kept = kept_ids(plan(record, policy))
    for unit in {version.unit for version in record.versions} - set(record.gone_since):
        certain = [v for v in record.versions if v.unit == unit and v.is_good and v.version_id not in record.begun]
        good = certain or [v for v in record.versions if v.unit == unit and v.is_good]
        if good:
            assert min(good, key=newest_first).version_id in kept


@given(records(), policies, st.data())
def test_a_more_generous_policy_keeps_at_least_the_same(
    record: RetentionRecord, policy: RetentionPolicy, data: st.DataObject
) -> None:
    assert kept_ids(plan(record, policy)) <= kept_ids(plan(record, more_generous(policy, data)))


@given(records(), policies)
def test_applying_twice_changes_nothing(record: RetentionRecord, policy: RetentionPolicy) -> None:
    first = plan(record, policy)
    left = replace(record, versions=tuple(fate.version for fate in first.kept))

    assert plan(left, policy).deletions == ()


@given(records(), policies, st.sampled_from(UNITS), st.booleans())
def test_what_is_held_never_expires(
    record: RetentionRecord, policy: RetentionPolicy, unit: Unit, by_pattern: bool
) -> None:
    target = f"{str(unit.table)[:-1]}*" if by_pattern else str(unit)
    made = plan(record, policy, holds=(Hold(target, "ada", "audit", NOW),))

    assert all(fate.is_kept for fate in made.fates if fate.version.unit == unit)


@given(records(), policies, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    record: RetentionRecord, policy: RetentionPolicy, chance: object
) -> None:
    shuffled = list(record.versions)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = plan(record, policy), plan(replace(record, versions=tuple(shuffled)), policy)

    assert one.fates == other.fates
    assert one.digest == other.digest


@settings(max_examples=30)
@given(records(), policies)
def test_a_frozen_dataset_loses_nothing(record: RetentionRecord, policy: RetentionPolicy) -> None:
    assert plan(replace(record, scanned_at=None), policy).deletions == ()


@given(records(), policies)
def test_versions_that_are_not_good_push_out_no_good_one(record: RetentionRecord, policy: RetentionPolicy) -> None:
    """Where the source exists, as many good versions are kept as if there were no others."""
    there = replace(record, gone_since={}, begun=frozenset(), busy=frozenset())
    good = tuple(version for version in there.versions if version.is_good)
    alone = plan(replace(there, versions=good), policy)

    assert {fate.version for fate in alone.kept} <= {fate.version for fate in plan(there, policy).kept}
