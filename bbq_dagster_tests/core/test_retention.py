"""The plan: what is deleted where, what is left untouched, and what needs approval."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bbq_dagster.core.holds import Hold, check_target
from bbq_dagster.core.retention import Breaker
from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.retention_text import retention_as_json
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, Unit
from bbq_dagster.errors import Refused
from bbq_dagster_tests.builders import BACKUPS, EVENTS, NOW, ORDERS, SALES
from bbq_dagster_tests.core.retention_cases import a_retention_record, days_ago, places, planned, stored, whys

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def partition(name: str, *, age: int, table: str) -> StoredVersion:
    return stored(NOW - age * DAY, unit=EVENTS.unit(name), table=table)


def a_hold(target: str, **overrides: object) -> Hold:
    return replace(Hold(target, "ada", "audit", NOW - DAY), **overrides)  # type: ignore[arg-type]


# Where


def test_a_backup_table_goes_once_nothing_in_it_is_kept() -> None:
    old = [partition(name, age=9, table="old") for name in ("20240101", "20240102")]
    new = [partition(name, age=1, table="new") for name in ("20240101", "20240102")]
    plan = planned(a_retention_record(*old, *new))

    assert places(plan) == ["old"]
    assert set(plan.deletions[0].versions) == set(old)


def test_a_partition_goes_alone_while_its_backup_table_is_needed() -> None:
    old = [partition(name, age=9, table="old") for name in ("20240101", "20240102")]
    plan = planned(a_retention_record(*old, partition("20240101", age=1, table="new")))

    assert places(plan) == ["old$20240101"]


def test_a_backup_table_into_which_is_being_copied_stays() -> None:
    old, new = partition("20240101", age=9, table="old"), partition("20240101", age=1, table="new")
    plan = planned(a_retention_record(old, new, busy=frozenset({BACKUPS.table("old")})))

    assert places(plan) == ["old$20240101"]


@pytest.mark.parametrize("special", [NULL_PARTITION, UNPARTITIONED])
def test_a_special_partition_goes_with_its_table_only(special: str) -> None:
    old = [partition(name, age=9, table="old") for name in ("20240101", special)]
    needed = planned(a_retention_record(*old, partition(special, age=1, table="new")))
    alone = planned(a_retention_record(*old, *(partition(n, age=1, table="new") for n in ("20240101", special))))

    assert places(needed) == []
    assert "goes with its backup table, which is still needed (beyond keep_last 1)" in whys(needed)
    assert places(alone) == ["old"]


# What is left untouched


def test_without_retention_nothing_is_deleted() -> None:
    plan = planned(a_retention_record(*days_ago(1, 500, 5000)), policy=None)

    assert plan.deletions == ()
    assert set(whys(plan)) == {"no retention is configured"}


def test_an_empty_policy_is_refused_by_the_name_of_the_table() -> None:
    with pytest.raises(Refused, match=r"the retention of acme-shop\.sales\.orders has no rule"):
        planned(a_retention_record(*days_ago(1)), policy=RetentionPolicy(min_versions=5))


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param(48 * HOUR, "", id="just listed enough"),
        pytest.param(
            48 * HOUR + timedelta(seconds=1), "last listed at 2026-01-29 02:14, more than 48 hours ago", id="too old"
        ),
        pytest.param(None, "never listed", id="never"),
    ],
)
def test_a_dataset_that_was_not_listed_lately_is_frozen(age: timedelta | None, expected: str) -> None:
    scanned_at = None if age is None else NOW - age
    plan = planned(a_retention_record(*days_ago(1, 2), scanned_at=scanned_at))

    assert bool(plan.frozen) is bool(expected)
    assert len(plan.deletions) == (0 if expected else 1)
    assert expected in "".join(why for _, why in plan.frozen)


def test_a_frozen_dataset_freezes_no_other_one() -> None:
    other = SALES.__class__("acme-shop", "crm")
    versions = days_ago(1, 2, unit=other.table("leads").unit())
    plan = planned(a_retention_record(*days_ago(1, 2), scanned_at=None), a_retention_record(*versions, dataset=other))

    assert [deletion.versions[0] for deletion in plan.deletions] == versions[1:]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        pytest.param(
            [stored(NOW - 2 * DAY, table="t"), stored(NOW - 3 * DAY, table="t")],
            "two versions are recorded in one place",
            id="one place",
        ),
        pytest.param(
            [stored(NOW - 2 * DAY, version_id="v"), stored(NOW - 3 * DAY, version_id="v")],
            "two versions have one id",
            id="one id",
        ),
        pytest.param([stored(NOW + HOUR)], "captured in the future", id="the future"),
        pytest.param(
            [stored(NOW - 2 * DAY, table="t"), stored(NOW - 3 * DAY, unit=EVENTS.unit("20240101"), table="t")],
            "is recorded as the backup of two tables",
            id="two tables",
        ),
    ],
)
def test_nothing_is_deleted_of_a_unit_whose_record_is_inconsistent(broken: list[StoredVersion], expected: str) -> None:
    plan = planned(a_retention_record(*broken, *days_ago(5, 6), *days_ago(1, 2, unit=SALES.table("fine").unit())))

    assert [deletion.versions[0].unit.table.table for deletion in plan.deletions] == ["fine"]
    assert expected in dict(plan.inconsistent)[ORDERS.unit()]
    assert all(fate.why.startswith("inconsistent: ") for fate in plan.fates if fate.version.unit == ORDERS.unit())


# Holds


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("acme-shop.sales.events", 2, id="a table with all its partitions"),
        pytest.param("acme-shop.sales.events$20240101", 1, id="a partition"),
        pytest.param("acme-shop.sales.ev*", 2, id="a pattern"),
        pytest.param("acme-shop.*.*", 2, id="a pattern over datasets"),
        pytest.param("acme-shop.sales.event", 0, id="another table"),
        pytest.param("acme-shop.crm.*", 0, id="another dataset"),
        pytest.param("held", 1, id="a version"),
    ],
)
def test_a_hold_keeps_what_it_names(target: str, expected: int) -> None:
    old = [partition(name, age=9, table=f"old-{name}") for name in ("20240101", "20240102")]
    old[0] = replace(old[0], version_id="held")
    new = [partition(name, age=1, table="new") for name in ("20240101", "20240102")]
    plan = planned(a_retention_record(*old, *new), holds=[a_hold(target)])

    assert len(list(plan.kept)) == 2 + expected


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        pytest.param(None, "held: audit, by ada, until it is released", id="without an end"),
        pytest.param(
            NOW + timedelta(seconds=1), "held: audit, by ada, until 2026-01-31 02:15", id="a second before its end"
        ),
        pytest.param(NOW, "beyond keep_last 1", id="at its end"),
    ],
)
def test_a_hold_says_who_and_why_and_until_when(until: object, expected: str) -> None:
    plan = planned(a_retention_record(*days_ago(1, 2)), holds=[a_hold(str(ORDERS), until=until)])

    assert whys(plan)[1] == expected


def test_a_held_version_shows_the_rules_that_keep_it_too() -> None:
    plan = planned(a_retention_record(*days_ago(1)), holds=[a_hold(str(ORDERS)), a_hold("acme-shop.*.*", reason="law")])

    assert plan.fates[0].reasons == (
        "last good version",
        "last #1",
        "held: audit, by ada, until it is released",
        "held: law, by ada, until it is released",
    )


def test_a_hold_outlives_the_source() -> None:
    policy = RetentionPolicy(keep_last=1, grace_after_source_deleted=DAY)
    record = a_retention_record(*days_ago(50, 60), gone_since={ORDERS.unit(): NOW - 40 * DAY})

    assert len(planned(record, policy=policy).deletions) == 2
    assert planned(record, policy=policy, holds=[a_hold(str(ORDERS))]).deletions == ()


@pytest.mark.parametrize("target", ["acme-shop.sales", "sales.*", "acme-shop.sales.e*$20240101", "", "ABC"])
def test_a_target_that_names_nothing_is_refused(target: str) -> None:
    with pytest.raises(Refused):
        check_target(target)


def test_a_pattern_that_names_nothing_is_refused_with_a_hint() -> None:
    with pytest.raises(Refused) as refused:
        check_target("sales.*")

    assert str(refused.value) == (
        "not a pattern for tables: 'sales.*'\nHINT: write project.dataset.table, with * for any text, in quotes"
    )


@pytest.mark.parametrize(
    "target", ["3kq7zr5n2v6w4hxa", str(ORDERS), f"{EVENTS}$20240101", "acme-shop.sales.e*", "acme-shop.*.*", "a.b.[c]?"]
)
def test_a_target_is_a_version_a_table_a_partition_or_a_pattern(target: str) -> None:
    check_target(target)


# Deletions that were begun


def test_a_deletion_that_was_begun_is_finished_and_counts_for_nothing() -> None:
    newest, begun, oldest = days_ago(1, 2, 3)
    record = a_retention_record(newest, begun, oldest, begun=frozenset({begun.version_id}))
    plan = planned(record, policy=RetentionPolicy(keep_last=2))

    assert [deletion.versions for deletion in plan.deletions] == [(begun,)]
    assert [fate.why for fate in plan.expired] == ["its deletion was begun"]


def test_a_deletion_that_was_begun_of_the_only_good_version_is_not_finished() -> None:
    (begun,) = days_ago(2)
    empty = stored(NOW - DAY, rows=0)

    assert planned(a_retention_record(empty, begun, begun=frozenset({begun.version_id}))).deletions == ()


# Approval


@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [
        pytest.param(2, 0.5, "", id="exactly the share"),
        pytest.param(3, 0.5, "it would delete 2 of 3 versions, more than 50% in one run", id="more than it"),
        pytest.param(2, 0.0, "it would delete 1 of 2 versions, more than 0% in one run", id="no share at all"),
        pytest.param(1, 0.0, "", id="nothing to delete"),
    ],
)
def test_more_than_a_share_of_versions_needs_approval(count: int, limit: float, expected: str) -> None:
    plan = planned(a_retention_record(*days_ago(*range(1, count + 1))), breaker=Breaker(limit, 1))

    assert "".join(plan.tripped) == expected


def test_half_of_all_is_what_one_run_may_delete_unless_it_is_told_otherwise() -> None:
    assert Breaker() == Breaker(versions=0.5, size_bytes=0.5)


def test_more_than_a_share_of_bytes_needs_approval() -> None:
    plan = planned(a_retention_record(*days_ago(1), *days_ago(2, rows=300)), breaker=Breaker(1, 0.5))

    assert plan.tripped == ("it would delete 3,000 of 3,030 bytes, more than 50% in one run",)


def test_the_bytes_of_all_that_is_deleted_add_up() -> None:
    plan = planned(a_retention_record(*days_ago(1), *days_ago(2, 3, rows=100)), breaker=Breaker(1, 0.5))

    assert plan.tripped == ("it would delete 2,000 of 2,030 bytes, more than 50% in one run",)


def test_a_unit_that_nothing_is_left_of_is_told_in_order() -> None:
    plan = planned(a_retention_record(departed=frozenset({ORDERS.unit(), EVENTS.unit("20240101")})))

    assert plan.departed == (EVENTS.unit("20240101"), ORDERS.unit())


def test_the_digest_of_the_very_plan_releases_the_breaker() -> None:
    plan = planned(a_retention_record(*days_ago(1, 2, 3)), breaker=Breaker(0.1, 0.1))
    later = planned(a_retention_record(*days_ago(1, 2, 3)), breaker=Breaker(0.1, 0.1), now=NOW + HOUR)
    other = planned(a_retention_record(*days_ago(1, 2, 3, 4)), breaker=Breaker(0.1, 0.1))

    later.refuse_unless_approved(plan.digest)
    with pytest.raises(Refused, match=f"approve {plan.digest}"):
        plan.refuse_unless_approved(None)
    with pytest.raises(Refused, match="was approved, this one is"):
        other.refuse_unless_approved(plan.digest)


def test_a_digest_that_is_not_of_this_plan_is_refused_where_none_is_needed_too() -> None:
    with pytest.raises(Refused, match="nothing was deleted"):
        planned(a_retention_record(*days_ago(1, 2))).refuse_unless_approved("0123")


# Shown


def test_the_plan_is_readable() -> None:
    plan = planned(
        a_retention_record(*days_ago(1, 2)),
        a_retention_record(dataset=SALES.__class__("acme-shop", "crm"), scanned_at=None),
        breaker=Breaker(0.1, 1),
    )

    assert str(plan).splitlines() == [
        "retention plan of 2026-01-31 02:15 UTC: delete 1 of 2 versions (30 B) by 1 backup table"
        f" and 0 partitions; digest {plan.digest}",
        "",
        "delete:",
        "  acme-shop.sales.orders of 2026-01-29 02:15 (orders20260129t021500000000): beyond keep_last 1",
        "",
        "keep:",
        "  1 last good version",
        "  1 last",
        "",
        "frozen, nothing is deleted:",
        "  acme-shop.crm: its tables were never listed: which of them still exist is not known",
        "",
        "needs approval:",
        "  it would delete 1 of 2 versions, more than 10% in one run",
    ]


def test_the_json_has_every_version_with_every_reason() -> None:
    shown = retention_as_json(planned(a_retention_record(*days_ago(1, 2))))

    assert [line["reasons"] for line in (*shown["keep"], *shown["delete"])] == [  # type: ignore[misc]
        ["last good version", "last #1"],
        ["beyond keep_last 1"],
    ]


def test_a_unit_is_planned_by_its_own_policy() -> None:
    from bbq_dagster.core.retention import plan_retention

    policies = {ORDERS: RetentionPolicy(keep_last=1), EVENTS: RetentionPolicy(keep_last=2)}
    event = Unit(EVENTS, "20240101")
    plan = plan_retention(
        [a_retention_record(*days_ago(1, 2, 3), *days_ago(1, 2, 3, unit=event))], policy_for=policies.get, now=NOW
    )

    assert len([fate for fate in plan.kept if fate.version.unit == event]) == 2
    assert len([fate for fate in plan.kept if fate.version.unit == ORDERS.unit()]) == 1
