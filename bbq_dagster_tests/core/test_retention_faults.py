"""Faults of the original's retention, each shown gone: W6, W9, W10, W20."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster_tests.builders import EVENTS, NOW, ORDERS
from bbq_dagster_tests.core.retention_cases import a_retention_record, days_ago, fates, kept, places, planned, stored

DAY = timedelta(days=1)
BBQ = RetentionPolicy(preset="bbq")


def test_w6_what_could_not_be_deleted_for_a_year_is_deleted_all_the_same() -> None:
    """The original looked at a unit for one month after its grace, and never again."""
    record = a_retention_record(*days_ago(1000, 1100), gone_since={ORDERS.unit(): NOW - 900 * DAY})

    assert len(planned(record, policy=BBQ).deletions) == 2


def test_w6_an_expired_partition_of_a_living_table_counts_as_deleted() -> None:
    """The original asked for ``t$20240101`` and was told that it exists, as its table does."""
    gone, living = EVENTS.unit("20240101"), EVENTS.unit("20240102")
    versions = [*days_ago(1000, unit=gone), *days_ago(1000, unit=living)]
    record = a_retention_record(*versions, gone_since={gone: NOW - 900 * DAY})

    assert [deletion.versions[0].unit for deletion in planned(record, policy=BBQ).deletions] == [gone]


def test_w9_eleven_bad_loads_do_not_push_out_the_good_weeks() -> None:
    versions = days_ago(*range(120))
    policy = RetentionPolicy(keep_daily=10, keep_weekly=8, keep_monthly=3)
    oldest = min(version.captured_at for version in kept(fates(versions, policy)))

    assert oldest < NOW - 55 * DAY
    assert min(version.captured_at for version in kept(fates(versions, BBQ))) > NOW - 10 * DAY, "as the original"


def test_w9_a_version_can_be_held() -> None:
    from bbq_dagster.core.holds import Hold

    good = days_ago(50)[0]
    plan = planned(
        a_retention_record(*days_ago(*range(20)), good), holds=[Hold(good.version_id, "ada", "the last good load", NOW)]
    )

    assert good in [fate.version for fate in plan.kept]


def test_w10_an_empty_copy_does_not_become_the_one_version_that_is_kept() -> None:
    """The original kept the newest old version, an empty one too, and deleted the last good one with the others."""
    empty, good = stored(NOW - 300 * DAY, rows=0), stored(NOW - 400 * DAY)

    assert good in kept(fates([empty, good], BBQ))
    assert good in kept(fates([empty, good], RetentionPolicy(keep_last=1)))


def test_w20_equal_names_in_two_datasets_are_no_conflict() -> None:
    """The original gave up a unit for ever where two live versions had a backup table of one name."""
    versions = days_ago(1, 2)
    other = DatasetRef("acme-backup", "another")
    versions[1] = replace(versions[1], table=other.table(versions[0].table.table))
    plan = planned(a_retention_record(*versions))

    assert plan.inconsistent == ()
    assert [deletion.place.table.in_dataset for deletion in plan.deletions] == [other]


def test_w20_an_inconsistent_record_freezes_its_unit_alone_and_says_so() -> None:
    """The original said it once to Error Reporting, and kept everything of the unit in silence from then on."""
    twice = [stored(NOW - 3 * DAY, table="same"), stored(NOW - 4 * DAY, table="same")]
    plan = planned(a_retention_record(*twice, *days_ago(1, 2, unit=EVENTS.unit("20240101"))))

    assert [unit for unit, _ in plan.inconsistent] == [ORDERS.unit()]
    assert len(places(plan)) == 1
