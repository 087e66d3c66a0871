"""What is copied, how, where to and in which order; what waits; and what holds for every plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.catalog import copy_failed, copy_planned, fold_record, table_settled
from bbq_dagster.core.changes import Vanished, Verdict, settled_tables
from bbq_dagster.core.inventory import LeftOut, SourceTable, State, UnitState
from bbq_dagster.core.naming import backup_dataset, copy_id, is_created_first
from bbq_dagster.core.plan import BackupPlan, DatasetFailure, Postponed, Quota, plan_backup, request
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, DatasetRef, Unit
from bbq_dagster.core.versions import Absence
from bbq_dagster_tests.core import strategies as some
from bbq_dagster_tests.core.strategies import (
    BACKUPS,
    CAPTURED,
    CREATED,
    EMPTY,
    EVENTS,
    HOUR,
    MICROSECOND,
    NOW,
    ORDERS,
    PLENTY,
    SALES,
    Scan,
    a_copy,
    a_dataset,
    a_partitioned_table,
    a_record,
    a_scan,
    a_state,
    a_table,
    a_version,
    days,
    events_of,
    planned,
)

HOME = backup_dataset(SALES, location="EU", into=BACKUPS)
FULL = Quota(0, 10)
MOVED = a_state(modified_at=NOW - HOUR)


def with_partitions(changed: int, of: int, *, table: SourceTable | None = None, extra: tuple[str, ...] = ()) -> Scan:
    """A partitioned table with versions of all its ``of`` daily partitions, the first ``changed`` written since."""
    table = a_partitioned_table() if table is None else table
    every = days(of, table=table.ref)
    seen = [UnitState(unit, MOVED) for unit in every[:changed]]
    seen += [UnitState(unit, a_state()) for unit in every[changed:]]
    seen += [UnitState(table.ref.unit(special), a_state()) for special in extra]
    return a_scan(table, partitions=seen, record=a_record(*(a_version(unit) for unit in every)))


def copied(plan: BackupPlan) -> list[Unit]:
    return [unit.unit for backup in plan.backups for unit in backup.units]


def postponed(plan: BackupPlan) -> list[Unit]:
    return [item.unit for item in plan.postponed]


# How a table is copied


def test_an_unpartitioned_table_is_one_copy_job() -> None:
    (backup,) = planned(a_scan(a_table())).backups

    (copy,) = backup.copies
    assert (copy.source, copy.destination) == (ORDERS.unit(), backup.destination.unit())
    assert [unit.unit for unit in copy.units] == [ORDERS.unit()]
    assert (backup.source, backup.why_so) == (ORDERS, "not partitioned: one copy job")
    assert not is_created_first(backup.copies[0])


def test_a_backup_goes_into_the_backup_dataset_of_its_source_and_location() -> None:
    (backup,) = planned(a_scan(a_table(), dataset=a_dataset(location="us-central1"))).backups

    assert backup.destination.in_dataset == DatasetRef(BACKUPS, "bbq_acme_shop__sales__us_central1")
    assert (backup.location, backup.copies[0].location) == ("us-central1", "us-central1")


def test_partitions_go_into_one_backup_table_that_is_created_first_by_a_copy_job_each() -> None:
    (backup,) = planned(with_partitions(2, of=10)).backups

    first, second = days(2)
    assert [copy.source for copy in backup.copies] == [first, second]
    assert [copy.destination for copy in backup.copies] == [
        backup.destination.unit(first.partition),
        backup.destination.unit(second.partition),
    ]
    assert all(copy.partitioned and not copy.whole_table for copy in backup.copies)
    assert backup.why_so == "2 of 10 partitions: a copy job each"
    assert all(map(is_created_first, backup.copies))


@pytest.mark.parametrize(
    ("changed", "of", "expected"),
    [
        pytest.param(499, 1000, False, id="49.9 % of the partitions: one by one"),
        pytest.param(500, 1000, True, id="50 % of the partitions: as a whole"),
        pytest.param(1, 2, True, id="one of two: as a whole"),
        pytest.param(1, 3, False, id="one of three: one by one"),
        pytest.param(1, 1, True, id="the only one: as a whole"),
        pytest.param(3, 3, True, id="all: as a whole"),
    ],
)
def test_a_share_of_changed_partitions_makes_one_copy_of_the_whole_table(changed: int, of: int, expected: bool) -> None:
    (backup,) = planned(with_partitions(changed, of=of)).backups

    assert backup.copies[0].whole_table is expected
    assert len(backup.copies) == (1 if expected else changed)
    assert len(backup.units) == changed
    assert is_created_first(backup.copies[0])


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.3, True, id="3 of 10 at 0.3"),
        pytest.param(0.31, False, id="3 of 10 at 0.31"),
        pytest.param(0.0, True, id="always"),
        pytest.param(1.0, False, id="only all"),
    ],
)
def test_the_share_is_a_setting_of_the_table(share: float, expected: bool) -> None:
    scan = with_partitions(3, of=10)
    plan = plan_backup(
        [(scan.changes(), scan.record)],
        into=BACKUPS,
        now=NOW,
        quota=PLENTY,
        whole_table_share=lambda table: share if table == EVENTS else 0.5,
    )

    assert plan.copies[0].whole_table is expected


@pytest.mark.parametrize(
    ("special", "why"),
    [
        pytest.param((NULL_PARTITION,), "no copy job can name __NULL__: one copy job takes the whole table", id="null"),
        pytest.param(
            (UNPARTITIONED,),
            "no copy job can name __UNPARTITIONED__: one copy job takes the whole table",
            id="no partition",
        ),
        pytest.param(
            (UNPARTITIONED, NULL_PARTITION),
            "no copy job can name __NULL__ or __UNPARTITIONED__: one copy job takes the whole table",
            id="both",
        ),
    ],
)
def test_a_special_partition_takes_the_whole_table_with_it(special: tuple[str, ...], why: str) -> None:
    (backup,) = planned(with_partitions(1, of=1000, extra=special)).backups

    (copy,) = backup.copies
    assert (copy.source, backup.why_so) == (EVENTS.unit(), why)
    assert {unit.unit for unit in copy.units} == {days(1)[0], *(EVENTS.unit(one) for one in special)}


def test_a_special_partition_that_needs_no_copy_takes_nothing_with_it() -> None:
    scan = with_partitions(1, of=10, extra=(NULL_PARTITION,))
    known = {**scan.record.latest, EVENTS.unit(NULL_PARTITION): a_version(EVENTS.unit(NULL_PARTITION))}
    (backup,) = planned(replace(scan, record=replace(scan.record, latest=known))).backups

    assert [copy.source for copy in backup.copies] == days(1)


def test_a_copy_of_the_whole_table_says_how_many_partitions_it_is_for() -> None:
    (backup,) = planned(with_partitions(2_000, of=3_000)).backups

    assert backup.why_so == "2,000 of 3,000 partitions: one copy job takes the whole table"


def test_every_unit_carries_the_state_that_was_seen_and_the_reason() -> None:
    (unit,) = planned(a_scan(a_table(state=a_state(rows=11)), record=a_record(a_version(ORDERS.unit())))).units

    assert (unit.state, unit.reason) == (a_state(rows=11), "11 rows, the last backup has 10")


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        pytest.param({}, 1, id="none failed"),
        pytest.param({ORDERS.unit(): 2}, 3, id="two failed"),
        pytest.param({EVENTS.unit(): 2}, 1, id="another unit failed"),
    ],
)
def test_an_attempt_is_one_more_than_what_failed_since_the_last_version(
    failures: dict[Unit, int], expected: int
) -> None:
    (copy,) = planned(a_scan(a_table(), record=a_record(failures=failures))).copies

    assert copy.attempt == expected


def test_the_attempt_of_a_whole_table_counts_the_unit_that_failed_most() -> None:
    first, second = days(2)
    scan = with_partitions(2, of=2)
    (copy,) = planned(replace(scan, record=replace(scan.record, failures={first: 1, second: 4}))).copies

    assert copy.attempt == 5


def test_what_failed_is_tried_again_in_another_backup_table() -> None:
    plans = [planned(a_scan(a_table(), record=a_record(failures={ORDERS.unit(): count}))) for count in (0, 1)]

    assert len({plan.backups[0].destination for plan in plans}) == 2


def test_a_state_that_looks_the_same_after_another_version_gets_another_name() -> None:
    scans = [
        a_scan(a_table(state=State()), record=a_record(a_version(ORDERS.unit(), captured_at=at)))
        for at in (CAPTURED, CAPTURED + MICROSECOND)
    ]
    one, other = (planned(scan).backups[0].destination for scan in scans)

    assert one != other


def test_a_table_created_anew_in_the_same_state_gets_another_name() -> None:
    one, other = (planned(a_scan(a_table(created_at=at))).backups[0] for at in (CREATED, CREATED + MICROSECOND))

    assert one.destination != other.destination
    assert [copy.source_created_at for copy in (*one.copies, *other.copies)] == [CREATED, CREATED + MICROSECOND]


def test_the_salt_makes_two_backups_of_one_state() -> None:
    scan = a_scan(a_table())
    plans = [
        plan_backup([(scan.changes(), scan.record)], into=BACKUPS, now=NOW, quota=PLENTY, salt=salt)
        for salt in ("", "one", "two")
    ]

    assert len({plan.backups[0].destination for plan in plans}) == 3


def test_what_is_wanted_is_copied_and_nothing_else() -> None:
    scan = a_scan(a_table(), a_table(SALES.table("clicks")))
    plan = plan_backup(
        [(scan.changes(), scan.record)],
        into=BACKUPS,
        now=NOW,
        quota=PLENTY,
        wanted=lambda change: change.unit == ORDERS.unit(),
    )

    assert copied(plan) == [ORDERS.unit()]


# What else a plan says


def test_a_plan_says_what_happened_to_units_that_are_not_copied() -> None:
    clicks, gone, view = (SALES.table(name) for name in ("clicks", "gone", "view"))
    scan = a_scan(
        a_table(),
        a_table(clicks, EMPTY),
        a_table(view, kind="VIEW"),
        record=a_record(*(a_version(table.unit()) for table in (ORDERS, clicks, gone))),
    )
    failure = DatasetFailure(DatasetRef("acme-shop", "secret"), "access denied")
    plan = plan_backup([(scan.changes(), scan.record)], into=BACKUPS, now=NOW, quota=PLENTY, failures=[failure])

    assert plan.unchanged == 1
    assert [change.unit for change in plan.emptied] == [clicks.unit()]
    assert plan.vanished == (Vanished(gone.unit(), "the table is gone"),)
    assert plan.left_out == (LeftOut(view, "a view has no data of its own"),)
    assert plan.failures == (failure,)
    assert plan.planned_at == NOW
    assert plan.changes == (scan.changes(),)


def test_units_of_a_settled_table_count_as_unchanged_unless_they_are_gone() -> None:
    first, second, third = days(3)
    record = a_record(
        *(a_version(unit) for unit in (first, second, third)),
        absent={third: Absence.VANISHED},
        settled={EVENTS: (CREATED, a_state())},
    )
    plan = planned(a_scan(a_partitioned_table(), record=record))

    assert (plan.unchanged, plan.is_empty) == (2, True)


def test_rows_in_the_streaming_buffer_are_postponed_with_a_reason() -> None:
    unit = EVENTS.unit(UNPARTITIONED)
    seen = [UnitState(unit, a_state(modified_at=NOW - HOUR))]
    plan = planned(a_scan(a_partitioned_table(), partitions=seen))

    assert plan.postponed == (
        Postponed(unit, "may be rows in the streaming buffer: waits until 2026-02-01 02:45:00 UTC"),
    )
    assert plan.backups == ()


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        pytest.param(a_scan(), True, id="nothing there"),
        pytest.param(a_scan(a_table(), record=a_record(a_version(ORDERS.unit()))), True, id="nothing changed"),
        pytest.param(a_scan(a_table(kind="VIEW")), True, id="a view"),
        pytest.param(a_scan(a_table(state=EMPTY)), True, id="an empty table"),
        pytest.param(a_scan(a_table()), False, id="a copy"),
        pytest.param(
            a_scan(a_table(state=EMPTY), record=a_record(a_version(ORDERS.unit()))), False, id="an emptied unit"
        ),
        pytest.param(a_scan(record=a_record(a_version(ORDERS.unit()))), False, id="a vanished unit"),
        pytest.param(a_scan(record=a_record(unfinished=[a_copy(ORDERS.unit())])), False, id="an unfinished copy"),
    ],
)
def test_a_plan_is_empty_where_there_is_nothing_to_copy_and_nothing_new_to_record(scan: Scan, expected: bool) -> None:
    assert planned(scan).is_empty is expected


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        pytest.param(a_scan(), 0, id="nothing to do"),
        pytest.param(a_scan(record=a_record(a_version(ORDERS.unit()))), 2, id="something to record"),
        pytest.param(a_scan(a_table()), 1 + 3 + 4, id="one table"),
        pytest.param(with_partitions(3, of=10), 2 + 3 + 3 + 4, id="three partitions of one table"),
        pytest.param(with_partitions(200, of=1_000), 2 + 200 + 2 + 3 + 4, id="two polls"),
    ],
)
def test_the_calls_of_a_plan_are_estimated(scan: Scan, expected: int) -> None:
    assert planned(scan).estimated_calls == expected


# Unfinished copies


def test_unfinished_copies_come_first_and_keep_their_names() -> None:
    open_copy = a_copy(ORDERS.unit(), attempt=2)
    plan = planned(a_scan(a_table(), a_table(EVENTS), record=a_record(unfinished=[open_copy])))

    assert plan.unfinished == (open_copy,)
    assert plan.copies[0] == open_copy
    assert copied(plan) == [EVENTS.unit()]


def test_of_a_table_only_the_units_that_are_in_no_unfinished_copy_are_planned() -> None:
    first, second = days(2)
    scan = with_partitions(2, of=10)
    open_copy = a_copy(first, state=MOVED)
    plan = planned(replace(scan, record=replace(scan.record, unfinished=(open_copy,))))

    assert copied(plan) == [second]
    assert plan.backups[0].why_so == "1 of 10 partitions: a copy job each"


def test_an_unfinished_copy_of_a_whole_table_holds_all_its_units() -> None:
    first, second, third = days(3)
    scan = with_partitions(3, of=3)
    open_copy = a_copy(EVENTS.unit(), whole_table_of=(first, second), state=MOVED)
    plan = planned(replace(scan, record=replace(scan.record, unfinished=(open_copy,))))

    assert copied(plan) == [third]


def test_a_unit_that_moved_since_its_unfinished_copy_was_planned_gets_another_one() -> None:
    open_copy = a_copy(ORDERS.unit(), state=a_state(rows=1))
    plan = planned(a_scan(a_table(), record=a_record(unfinished=[open_copy])))

    assert plan.unfinished == (open_copy,)
    assert copied(plan) == [ORDERS.unit()]
    assert len({copy.destination for copy in plan.copies}) == 2


def test_an_unfinished_copy_of_a_unit_that_is_gone_is_still_asked_for() -> None:
    open_copy = a_copy(ORDERS.unit())

    assert planned(a_scan(record=a_record(unfinished=[open_copy]))).copies == (open_copy,)


def test_an_unfinished_copy_that_is_not_adopted_is_left_alone_and_so_are_its_units() -> None:
    mine, other = a_copy(ORDERS.unit()), a_copy(EVENTS.unit())
    scan = a_scan(a_table(), a_table(EVENTS), record=a_record(unfinished=[mine, other]))
    plan = plan_backup(
        [(scan.changes(), scan.record)],
        into=BACKUPS,
        now=NOW,
        quota=PLENTY,
        adopted=lambda copy: copy.source == ORDERS.unit(),
    )

    assert plan.copies == (mine,)
    assert plan.backups == ()
    assert {str(item.unit): item.reason for item in plan.postponed} == {
        str(EVENTS): "in a copy that another run has planned, and has not finished yet"
    }


# Quota


def test_of_a_table_that_fits_in_part_the_longest_unprotected_partitions_go_first() -> None:
    scan = with_partitions(2, of=10, extra=("20300101",))

    plan = planned(scan, quota=Quota(1, 10))

    assert copied(plan) == [EVENTS.unit("20300101")]
    assert postponed(plan) == days(2)


@pytest.mark.parametrize(
    ("per_day", "used", "expected"),
    [
        pytest.param(10, 0, Quota(10, 10), id="nothing used"),
        pytest.param(10, 9, Quota(1, 10), id="one left"),
        pytest.param(10, 10, FULL, id="all used"),
        pytest.param(10, 11, FULL, id="more than all used is not less than none left"),
    ],
)
def test_a_quota_is_what_the_last_day_left_of_it(per_day: int, used: int, expected: Quota) -> None:
    assert Quota.of_day(per_day, used=used) == expected


def a_day_of(dataset: str, *, tables: int, captured_at: datetime, only: Collection[str] | None = None) -> Scan:
    """A dataset of tables that were all captured at one moment, and those of ``only`` (None: all) written since."""
    ref = DatasetRef("acme-shop", dataset)
    names = [f"t{number}" for number in range(tables)]
    seen = [a_table(ref.table(name), MOVED if only is None or name in only else a_state()) for name in names]
    versions = [a_version(ref.table(name).unit(), captured_at=captured_at) for name in names]
    return a_scan(*seen, dataset=a_dataset(ref), record=a_record(*versions))


def two_tables() -> Scan:
    """``orders`` was captured last an hour before ``clicks`` was; both were written since."""
    clicks = SALES.table("clicks")
    seen = a_state(modified_at=NOW - HOUR)
    return a_scan(
        a_table(ORDERS, seen),
        a_table(clicks, seen),
        record=a_record(
            a_version(ORDERS.unit(), captured_at=CAPTURED - HOUR), a_version(clicks.unit(), captured_at=CAPTURED)
        ),
    )


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        pytest.param(0, [], id="none left"),
        pytest.param(1, ["orders"], id="one left: the longest unprotected goes"),
        pytest.param(2, ["orders", "clicks"], id="two left: both go"),
    ],
)
def test_what_does_not_fit_into_the_quota_waits_and_the_longest_unprotected_goes_first(
    left: int, expected: list[str]
) -> None:
    plan = planned(two_tables(), quota=Quota(left, 1_000))

    assert [unit.table.table for unit in copied(plan)] == expected
    assert {unit.table.table for unit in postponed(plan)} == {"orders", "clicks"} - set(expected)
    assert {item.reason for item in plan.postponed} <= {
        "waits for quota: 1,000 copy jobs a day are used up or promised"
    }


def test_a_table_that_was_never_backed_up_goes_before_all_others() -> None:
    scan = two_tables()
    plan = planned(replace(scan, tables=(*scan.tables, a_table(SALES.table("zebra")))), quota=Quota(1, 10))

    assert [unit.table.table for unit in copied(plan)] == ["zebra"]


def test_a_table_with_a_partition_that_was_never_backed_up_goes_before_all_others() -> None:
    scan = two_tables()
    zebra = a_partitioned_table(SALES.table("zebra"))
    new = with_partitions(1, of=9, table=zebra, extra=("20300101",))
    both = a_scan(
        *scan.tables,
        zebra,
        partitions=new.partitions,
        record=a_record(*scan.record.latest.values(), *new.record.latest.values()),
    )

    assert {unit.table for unit in copied(planned(both, quota=Quota(2, 10)))} == {zebra.ref}


def test_a_table_is_as_urgent_as_its_longest_unprotected_partition() -> None:
    second = days(2)[1]
    scan = with_partitions(2, of=10)
    versions = {**scan.record.latest, second: a_version(second, captured_at=CAPTURED - timedelta(days=9))}
    younger = a_table(SALES.table("a"))
    record = a_record(*versions.values(), a_version(younger.ref.unit(), captured_at=CAPTURED - timedelta(days=8)))
    both = a_scan(*scan.tables, younger, partitions=scan.partitions, record=record)

    assert {unit.table for unit in copied(planned(both, quota=Quota(2, 10)))} == {EVENTS}


def test_tables_that_are_equally_urgent_go_in_the_order_of_their_names() -> None:
    scan = a_scan(*(a_table(SALES.table(name)) for name in "cab"))

    assert [unit.table.table for unit in copied(planned(scan, quota=Quota(2, 10)))] == ["a", "b"]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        pytest.param(4, 4, id="all four fit"),
        pytest.param(3, 3, id="three of four fit"),
        pytest.param(1, 1, id="one of four fits"),
        pytest.param(0, 0, id="none fits"),
    ],
)
def test_of_partitions_that_are_copied_one_by_one_as_many_go_as_fit(left: int, expected: int) -> None:
    plan = planned(with_partitions(4, of=10), quota=Quota(left, 10))

    assert copied(plan) == days(4)[:expected]
    assert postponed(plan) == days(4)[expected:]
    assert [backup.why_so for backup in plan.backups] == [f"{expected} of 10 partitions: a copy job each"][:expected]


def test_the_rest_of_a_table_goes_into_another_backup_table() -> None:
    scan = with_partitions(4, of=10)
    first = planned(scan, quota=Quota(3, 10))
    rest = planned(replace(scan, record=replace(scan.record, unfinished=first.copies)))

    assert copied(rest) == days(4)[3:]
    assert rest.backups[0].destination != first.backups[0].destination


def test_unfinished_copies_take_their_part_of_the_quota() -> None:
    scan = a_scan(a_table(), record=a_record(unfinished=[a_copy(EVENTS.unit()), a_copy(EVENTS.unit("20260101"))]))

    assert postponed(planned(scan, quota=Quota(2, 10))) == [ORDERS.unit()]
    assert copied(planned(scan, quota=Quota(3, 10))) == [ORDERS.unit()]


def test_more_unfinished_copies_than_quota_leave_nothing_for_others() -> None:
    scan = with_partitions(4, of=10)
    begun = [a_copy(SALES.table(name).unit()) for name in "ab"]
    plan = planned(replace(scan, record=replace(scan.record, unfinished=tuple(begun))), quota=Quota(1, 10))

    assert copied(plan) == []
    assert postponed(plan) == days(4)


def test_unfinished_copies_are_finished_although_the_quota_is_used_up() -> None:
    open_copy = a_copy(ORDERS.unit())

    assert planned(a_scan(record=a_record(unfinished=[open_copy])), quota=FULL).copies == (open_copy,)


@pytest.mark.parametrize(
    ("per_day", "expected"),
    [
        pytest.param(11, "11 of 100 partitions: a copy job each", id="as many partitions as copy jobs a day"),
        pytest.param(
            10,
            "11 partitions are more than a day has copy jobs: one copy job takes the whole table",
            id="one partition more",
        ),
    ],
)
def test_a_table_with_more_changed_partitions_than_a_day_has_copy_jobs_does_not_wait_for_ever(
    per_day: int, expected: str
) -> None:
    (backup,) = planned(with_partitions(11, of=100), quota=Quota(per_day, per_day)).backups

    assert backup.why_so == expected


def test_a_backup_table_takes_so_many_copy_jobs_and_further_partitions_go_into_another() -> None:
    plan = planned(with_partitions(5, of=20), quota=Quota(10, 10, jobs_per_table=2))

    assert [[unit.unit for unit in backup.units] for backup in plan.backups] == [days(5)[:2], days(5)[2:4], days(5)[4:]]
    assert len({backup.destination for backup in plan.backups}) == 3
    assert {backup.why_so for backup in plan.backups} == {
        "2 of 20 partitions: a copy job each",
        "1 of 20 partitions: a copy job each",
    }


def test_an_empty_table_that_was_asked_for_is_called_empty_and_is_copied() -> None:
    scan = a_scan(a_table(state=EMPTY))
    changes, _ = request(scan.changes(), [ORDERS.unit()], by="ada")

    assert [(change.verdict, change.reason) for change in changes.changes] == [
        (Verdict.REQUESTED, "requested by ada (empty)")
    ]


def test_a_copy_of_a_whole_table_is_one_job_however_many_partitions_it_has() -> None:
    (backup,) = planned(with_partitions(5, of=5), quota=Quota(10, 10, jobs_per_table=2)).backups

    assert len(backup.units) == 5


@pytest.mark.parametrize(
    ("left", "per_day", "expected"),
    [
        pytest.param(4, 4, None, id="all fits"),
        pytest.param(0, 4, "all that is wanted now: 2 days at 4 copies a day", id="the day is used up"),
        pytest.param(1, 2, "all that is wanted now: 3 days at 2 copies a day", id="half of the day is used up"),
        pytest.param(1, 1, "all that is wanted now: 4 days at 1 copies a day", id="a copy a day"),
    ],
)
def test_a_plan_that_does_not_fit_says_how_many_days_it_takes(left: int, per_day: int, expected: str | None) -> None:
    forecast = planned(a_day_of("a", tables=4, captured_at=CAPTURED), quota=Quota(left, per_day)).forecast

    assert (None if forecast is None else str(forecast)) == expected


def test_the_first_full_backup_has_a_forecast() -> None:
    scan = a_scan(*(a_table(SALES.table(f"t{number}")) for number in range(12)), record=a_record())

    assert str(planned(scan, quota=Quota(3, 3)).forecast) == "first full backup: 4 days at 3 copies a day"


def test_unfinished_copies_are_in_the_forecast() -> None:
    scan = a_scan(a_table(), record=a_record(unfinished=[a_copy(EVENTS.unit()), a_copy(EVENTS.unit("20260101"))]))
    forecast = planned(scan, quota=Quota(2, 2)).forecast

    assert forecast is not None
    assert (forecast.copy_jobs, forecast.days) == (3, 2)


def test_the_longest_unprotected_and_the_datasets_take_turns() -> None:
    old = a_day_of("a", tables=6, captured_at=CAPTURED - 9 * HOUR)
    young = a_day_of("b", tables=6, captured_at=CAPTURED)
    plan = planned(old, young, quota=Quota(6, 100))

    assert sorted(f"{unit.table.dataset}.{unit.table.table}" for unit in copied(plan)) == [
        *(f"a.t{number}" for number in range(5)),
        "b.t0",
    ]


def test_a_dataset_that_never_stops_growing_starves_no_other_one() -> None:
    """Every day 30 new tables in ``a``, and 10 copy jobs; the eight tables of ``b`` were captured long ago."""
    growing = DatasetRef("acme-shop", "a")
    left = {f"t{number}" for number in range(8)}
    for day in range(4):
        new = [a_table(growing.table(f"t{day}_{number}")) for number in range(30)]
        scans = [
            a_scan(*new, dataset=a_dataset(growing)),
            a_day_of("b", tables=8, captured_at=CAPTURED, only=left),
        ]
        left -= {unit.table.table for unit in copied(planned(*scans, quota=Quota(10, 10))) if unit.table.dataset == "b"}

    assert not left


# On demand


def marked(scan: Scan, *units: Unit) -> tuple[dict[str, Verdict], dict[str, str]]:
    changes, missing = request(scan.changes(), units, by="ada")
    return (
        {change.unit.key: change.verdict for change in changes.changes},
        {str(unit): reason for unit, reason in missing.items()},
    )


PROTECTED = a_record(a_version(ORDERS.unit()))


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        pytest.param(a_scan(a_table(), record=PROTECTED), Verdict.REQUESTED, id="unchanged: it is copied"),
        pytest.param(a_scan(a_table(state=EMPTY)), Verdict.REQUESTED, id="empty: it is copied"),
        pytest.param(a_scan(a_table(state=EMPTY), record=PROTECTED), Verdict.REQUESTED, id="emptied: it is copied"),
        pytest.param(a_scan(a_table()), Verdict.NEVER_BACKED_UP, id="what is copied anyway keeps its reason"),
        pytest.param(
            a_scan(a_table(state=a_state(rows=11)), record=PROTECTED), Verdict.DIFFERS, id="whatever the reason"
        ),
    ],
)
def test_a_requested_unit_is_copied_whether_or_not_it_changed(scan: Scan, expected: Verdict) -> None:
    assert marked(scan, ORDERS.unit()) == ({"orders": expected}, {})


def test_a_request_is_a_reason_and_keeps_the_other_one() -> None:
    scan = a_scan(a_table(), record=PROTECTED)
    changes, _ = request(scan.changes(), [ORDERS.unit()], by="ada")

    assert changes.changes[0].reason == "requested by ada (unchanged since 2026-01-31 02:00:00 UTC)"
    assert changes.changes[0].last == PROTECTED.latest[ORDERS.unit()]


def test_what_was_not_requested_keeps_its_verdict() -> None:
    scan = a_scan(a_table(), a_table(EVENTS), record=a_record(a_version(ORDERS.unit()), a_version(EVENTS.unit())))

    assert marked(scan, ORDERS.unit())[0] == {"events": Verdict.UNCHANGED, "orders": Verdict.REQUESTED}


def test_a_table_stands_for_all_its_partitions_and_a_partition_for_itself() -> None:
    first, second = days(2)
    scan = with_partitions(0, of=2)

    assert marked(scan, EVENTS.unit()) == ({first.key: Verdict.REQUESTED, second.key: Verdict.REQUESTED}, {})
    assert marked(scan, second) == ({first.key: Verdict.UNCHANGED, second.key: Verdict.REQUESTED}, {})


def test_a_request_does_not_hurry_the_streaming_buffer() -> None:
    seen = [UnitState(EVENTS.unit(UNPARTITIONED), a_state(modified_at=NOW))]
    scan = a_scan(a_partitioned_table(), partitions=seen)

    assert marked(scan, EVENTS.unit())[0] == {f"events${UNPARTITIONED}": Verdict.WAITS}


@pytest.mark.parametrize(
    ("scan", "unit", "expected"),
    [
        pytest.param(a_scan(), ORDERS.unit(), "there is no such table or partition", id="no such table"),
        pytest.param(
            with_partitions(0, of=1),
            EVENTS.unit("20300101"),
            "there is no such table or partition",
            id="no such partition",
        ),
        pytest.param(
            a_scan(a_table()), ORDERS.unit("20300101"), "there is no such table or partition", id="no partitions at all"
        ),
        pytest.param(a_scan(a_table(kind="VIEW")), ORDERS.unit(), "a view has no data of its own", id="a view"),
        pytest.param(
            a_scan(a_table(kind="EXTERNAL")),
            ORDERS.unit(),
            "an external table keeps its data outside BigQuery",
            id="an external table",
        ),
        pytest.param(a_scan(a_table(columns=0)), ORDERS.unit(), "it has no schema yet", id="no schema"),
        pytest.param(
            a_scan(a_partitioned_table(state=EMPTY)),
            EVENTS.unit(),
            "empty, and never backed up: nothing to protect yet",
            id="a partitioned table without a partition",
        ),
        pytest.param(
            a_scan(a_partitioned_table(), record=a_record(settled={EVENTS: (CREATED, a_state())})),
            EVENTS.unit(),
            "its partitions were not listed",
            id="a settled table, as long as nobody lists its partitions",
        ),
    ],
)
def test_what_cannot_be_had_comes_back_with_a_reason(scan: Scan, unit: Unit, expected: str) -> None:
    assert marked(scan, unit)[1] == {str(unit): expected}


def test_a_request_names_all_that_cannot_be_had_and_marks_the_others() -> None:
    missing = [EVENTS.unit(), SALES.table("clicks").unit()]

    verdicts, reasons = marked(a_scan(a_table(), record=PROTECTED), *missing, ORDERS.unit())
    assert verdicts == {"orders": Verdict.REQUESTED}
    assert set(reasons) == {str(unit) for unit in missing}


def test_a_request_for_a_table_that_is_excluded_says_so() -> None:
    scan = a_scan(a_table(), excluded=[ORDERS])

    assert marked(scan, ORDERS.unit())[1] == {str(ORDERS): "excluded by 'tmp_*'"}


def test_an_empty_table_that_was_requested_is_not_left_out_as_well() -> None:
    scan = a_scan(a_table(state=EMPTY))
    changes, _ = request(scan.changes(), [ORDERS.unit()], by="ada")
    plan = plan_backup([(changes, scan.record)], into=BACKUPS, now=NOW, quota=PLENTY)

    assert copied(plan) == [ORDERS.unit()]
    assert plan.left_out == ()


# Laws

_QUOTAS = st.integers(min_value=0, max_value=12).map(lambda left: Quota(left, 12))


@given(some.projects_of_scans(), _QUOTAS)
def test_every_changed_state_is_copied_unfinished_or_postponed_and_only_one_of_them(
    scans: list[Scan], quota: Quota
) -> None:
    plan = planned(*scans, quota=quota)
    begun = {(unit.unit, unit.state) for copy in plan.unfinished for unit in copy.units}
    every = [change for scan in scans for change in scan.changes().to_copy]
    in_hand = {change.unit for change in every if (change.unit, change.state) in begun}
    changed = {change.unit for change in every}
    waiting = {change.unit for scan in scans for change in scan.changes().changes if change.verdict is Verdict.WAITS}

    assert sorted([*copied(plan), *postponed(plan)]) == sorted(set(copied(plan)) | set(postponed(plan)))
    assert set(copied(plan)) | set(postponed(plan)) == (changed - in_hand) | waiting
    assert not in_hand & set(copied(plan))


@given(some.projects_of_scans(), _QUOTAS)
def test_the_quota_is_never_passed_but_by_what_was_begun(scans: list[Scan], quota: Quota) -> None:
    plan = planned(*scans, quota=quota)

    assert len(plan.copies) <= max(quota.copy_jobs_left, len(plan.unfinished))


def a_busy_day(tables: list[tuple[int, int]]) -> Scan:
    """Tables of ten partitions each: so many of them changed, captured so many hours after ``CAPTURED``."""
    scans = [
        with_partitions(changed, of=10, table=a_partitioned_table(SALES.table(f"t{place}")))
        for place, (changed, _) in enumerate(tables)
    ]
    versions = [
        replace(version, captured_at=CAPTURED + hours * HOUR)
        for scan, (_, hours) in zip(scans, tables, strict=True)
        for version in scan.record.latest.values()
    ]
    partitions = [partition for scan in scans for partition in scan.partitions]
    return a_scan(*(scan.tables[0] for scan in scans), partitions=partitions, record=a_record(*versions))


_BUSY_DAYS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=5).map(a_busy_day)


@given(_BUSY_DAYS, _QUOTAS)
def test_no_quota_is_passed_on_a_busy_day(scan: Scan, quota: Quota) -> None:
    assert len(planned(scan, quota=quota).copies) <= quota.copy_jobs_left


@given(_BUSY_DAYS, st.integers(min_value=0, max_value=12), st.integers(min_value=1, max_value=5))
def test_more_quota_never_takes_a_unit_out_of_a_plan(scan: Scan, left: int, more: int) -> None:
    plan = planned(scan, quota=Quota(left, 20))
    larger = planned(scan, quota=Quota(left + more, 20))

    assert set(copied(plan)) <= set(copied(larger))


_DATASETS = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(1, 8), st.integers(0, 9)), min_size=1)
"""Of each dataset how many tables were written since they were captured, and when that was."""


def scans_of(datasets: Mapping[str, tuple[int, int]]) -> list[Scan]:
    return [
        a_day_of(name, tables=tables, captured_at=CAPTURED + minutes * HOUR / 60)
        for name, (tables, minutes) in datasets.items()
    ]


@given(_DATASETS, st.integers(min_value=0, max_value=24))
def test_each_dataset_gets_its_part_of_half_of_the_quota(datasets: dict[str, tuple[int, int]], left: int) -> None:
    plan = planned(*scans_of(datasets), quota=Quota(left, 100))
    made = Counter(unit.table.dataset for unit in copied(plan))

    assert len(plan.copies) == min(left, sum(tables for tables, _ in datasets.values()))
    for name, (tables, _) in datasets.items():
        assert made[name] >= min(tables, left // 2 // len(datasets))


@given(_DATASETS, st.integers(min_value=0, max_value=24))
def test_the_longest_unprotected_get_half_of_the_quota(datasets: dict[str, tuple[int, int]], left: int) -> None:
    plan = planned(*scans_of(datasets), quota=Quota(left, 100))
    every = [(at, name, f"t{number}") for name, (tables, at) in datasets.items() for number in range(tables)]
    made = {(unit.table.dataset, unit.table.table) for unit in copied(plan)}

    assert {(name, table) for _, name, table in sorted(every)[: left - left // 2]} <= made


@given(_DATASETS, st.integers(min_value=0, max_value=24), st.integers(min_value=1, max_value=5))
def test_more_quota_takes_no_unit_of_any_dataset_out_of_a_plan(
    datasets: dict[str, tuple[int, int]], left: int, more: int
) -> None:
    plan, larger = (planned(*scans_of(datasets), quota=Quota(jobs, 100)) for jobs in (left, left + more))

    assert set(copied(plan)) <= set(copied(larger))


@given(_DATASETS, st.integers(min_value=0, max_value=24), st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_of_the_datasets(
    datasets: dict[str, tuple[int, int]], left: int, dice: Random
) -> None:
    scans = scans_of(datasets)
    turned = dice.sample(scans, len(scans))

    assert planned(*turned, quota=Quota(left, 100)).backups == planned(*scans, quota=Quota(left, 100)).backups


@given(some.projects_of_scans(), _QUOTAS)
def test_a_plan_does_not_depend_on_the_order_of_what_was_seen(scans: list[Scan], quota: Quota) -> None:
    turned = [replace(scan, tables=scan.tables[::-1], partitions=scan.partitions[::-1]) for scan in scans[::-1]]
    plan, other = planned(*scans, quota=quota), planned(*turned, quota=quota)

    assert other.backups == plan.backups
    assert set(other.unfinished) == set(plan.unfinished)
    assert set(other.postponed) == set(plan.postponed)
    assert {gone.unit for gone in other.vanished} == {gone.unit for gone in plan.vanished}
    assert (other.unchanged, other.is_empty) == (plan.unchanged, plan.is_empty)


@given(some.projects_of_scans())
def test_no_two_copies_write_into_the_same_place_or_have_the_same_id(scans: list[Scan]) -> None:
    copies = [copy for backup in planned(*scans).backups for copy in backup.copies]

    assert len({copy.destination for copy in copies}) == len(copies)
    assert len({copy_id(copy) for copy in copies}) == len(copies)


@given(some.projects_of_scans())
def test_every_copy_can_be_started(scans: list[Scan]) -> None:
    """No copy job names a special partition, and source and destination name a partition together or not at all."""
    for copy in planned(*scans).copies:
        assert copy.source.partition == copy.destination.partition
        assert copy.source.partition not in {NULL_PARTITION, UNPARTITIONED}
        assert copy.units
        assert copy.whole_table or {unit.unit for unit in copy.units} == {copy.source}
        assert {unit.unit.table for unit in copy.units} == {copy.source.table}


@given(some.scans(known=True, before=NOW), some.scans(known=True, before=NOW + timedelta(days=1)))
def test_planning_again_after_all_was_recorded_plans_nothing(first_day: Scan, second_day: Scan) -> None:
    """Two days of one dataset, whatever was created, written, emptied and dropped between them."""
    evening, next_day = NOW, NOW + timedelta(days=1)
    events = events_of(planned(first_day, now=evening), at=evening + timedelta(minutes=1))
    second_day = replace(second_day, record=fold_record(events))
    plan = planned(second_day, now=next_day)
    events += events_of(plan, at=next_day + timedelta(minutes=1))
    again = planned(replace(second_day, record=fold_record(events)), now=next_day)

    assert again.is_empty
    assert again.backups == ()


@given(some.scans(known=True))
def test_a_settled_table_is_planned_no_more_until_it_moves(scan: Scan) -> None:
    plan = planned(scan)
    settled = settled_tables(scan.changes(), frozenset(copied(plan)))
    done = NOW + timedelta(minutes=1)
    events = events_of(plan, at=done) + [table_settled(table, at=done, run_id="run") for table in settled]
    again = replace(scan, record=fold_record(events))

    assert {table.ref for table in settled} <= set(again.changes().unlisted)
    assert planned(again).is_empty


@given(some.scans())
def test_a_run_that_stopped_before_its_first_copy_is_taken_up_where_it_was(scan: Scan) -> None:
    plan = planned(scan)
    begun = [event for copy in plan.copies for event in copy_planned(copy, at=NOW, run_id="run")]
    again = planned(replace(scan, record=fold_record(begun)))

    assert set(again.unfinished) == set(plan.copies)
    assert again.backups == ()


@given(some.scans())
def test_a_run_in_which_everything_failed_is_tried_again_under_other_ids(scan: Scan) -> None:
    plan = planned(scan)
    failed = [
        copy_failed(copy, unit, job_id="job", error="backend error", at=NOW, run_id="run")
        for copy in plan.copies
        for unit in copy.units
    ]
    again = planned(replace(scan, record=fold_record(failed)))

    assert copied(again) == copied(plan)
    assert not {copy_id(copy) for copy in again.copies} & {copy_id(copy) for copy in plan.copies}
