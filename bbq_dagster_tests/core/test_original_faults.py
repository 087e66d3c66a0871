"""The faults of the original BBQ that the core must not repeat, by their numbers in its list.

One test or more per fault; where a rule has a module of its own, its tests have all the cases.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from bbq_dagster.core.catalog import copy_planned, emptied, fold_record, version_created
from bbq_dagster.core.changes import Verdict, detect_change, needs_partition_list
from bbq_dagster.core.inventory import State, UnitState
from bbq_dagster.core.naming import backup_dataset, backup_table, copy_id, dataset_source_of, is_created_first, job_id
from bbq_dagster.core.plan import DatasetFailure, plan_backup, request
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import DatasetRecord
from bbq_dagster_tests.core.strategies import (
    BACKUPS,
    CREATED,
    EMPTY,
    EVENTS,
    HOUR,
    NOW,
    ORDERS,
    PLENTY,
    SALES,
    a_copy,
    a_partitioned_table,
    a_record,
    a_scan,
    a_state,
    a_table,
    a_version,
    days,
    planned,
)


def destination_of(unit: Unit, *, now: datetime = NOW) -> str:
    """Where a unit in the same state at the same time is copied to, partition and all."""
    dataset = backup_dataset(unit.table.in_dataset, location="EU", into=BACKUPS)
    state = State(1, 1, now)
    name = backup_table(unit.table, [(unit, state)], created_at=CREATED)
    return str(dataset.table(name).unit(unit.partition))


def test_w1_a_dataset_that_could_not_be_listed_is_a_failure_and_its_tables_are_not_gone() -> None:
    failure = DatasetFailure(SALES, "403 access denied")
    plan = plan_backup([], into=BACKUPS, now=NOW, quota=PLENTY, failures=[failure])

    assert plan.failures == (failure,)
    assert plan.vanished == ()
    assert "not looked at:\n  acme-shop.sales: 403 access denied" in str(plan)


COLLIDED = [
    pytest.param(
        TableRef("p", "a", "b_c").unit(),
        TableRef("p", "a_b", "c").unit(),
        id="where the dataset ends and the table begins",
    ),
    pytest.param(
        TableRef("p", "d", "t").unit("20240131"),
        TableRef("p", "d", "t_20240131").unit(),
        id="a partition, a sharded table",
    ),
    pytest.param(
        TableRef("p", "d", "t").unit("x"),
        TableRef("p", "d", "t_partition_x").unit(),
        id="a partition, a table named like it",
    ),
    pytest.param(
        TableRef("p", "d", "größe").unit(), TableRef("p", "d", "grösse").unit(), id="letters that are taken apart"
    ),
    pytest.param(TableRef("p", "d", "bär").unit(), TableRef("p", "d", "bar").unit(), id="a letter without its mark"),
    pytest.param(TableRef("p", "d", "表").unit(), TableRef("p", "d", "数").unit(), id="letters that are stripped"),
    pytest.param(
        TableRef("p", "d", "e\u0301").unit(), TableRef("p", "d", "\u00e9").unit(), id="one letter in two spellings"
    ),
    pytest.param(TableRef("p", "d", "a b").unit(), TableRef("p", "d", "a_b").unit(), id="a space and an underscore"),
    pytest.param(TableRef("p", "d", "a-b").unit(), TableRef("p", "d", "a_b").unit(), id="a dash and an underscore"),
    pytest.param(TableRef("p-q", "d", "t").unit(), TableRef("p", "q_d", "t").unit(), id="where the project ends"),
    pytest.param(TableRef("p", "D", "t").unit(), TableRef("p", "d", "t").unit(), id="upper and lower case"),
    pytest.param(
        TableRef("p", "d", "t" * 1023 + "a").unit(), TableRef("p", "d", "t" * 1023 + "b").unit(), id="the 1,024th byte"
    ),
]


@pytest.mark.parametrize(("one", "other"), COLLIDED)
def test_w2_two_units_never_share_a_job(one: Unit, other: Unit) -> None:
    jobs = {job_id(a_copy(unit), tried=0) for unit in (one, other)}

    assert len(jobs) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,1024}", job) for job in jobs)


@pytest.mark.parametrize(("one", "other"), COLLIDED)
def test_w3_two_units_never_share_a_place_in_the_backup(one: Unit, other: Unit) -> None:
    assert destination_of(one) != destination_of(other)


def test_w4_a_copy_without_a_version_on_record_is_asked_for_by_the_next_run() -> None:
    stopped = a_copy(ORDERS.unit())
    record = fold_record(copy_planned(stopped, at=NOW, run_id="run"))
    plan = planned(a_scan(a_table(), record=record))

    assert plan.copies == (stopped,)
    assert [copy_id(copy) for copy in plan.copies] == [copy_id(stopped)]


@pytest.mark.parametrize("changed", [pytest.param(1, id="one by one"), pytest.param(3, id="as a whole")])
def test_w5_a_partitioned_backup_is_created_without_expiration_before_anything_is_copied(changed: int) -> None:
    seen = [UnitState(unit, a_state(modified_at=NOW - HOUR)) for unit in days(3)[:changed]]
    seen += [UnitState(unit, a_state()) for unit in days(3)[changed:]]
    record = a_record(*(a_version(unit) for unit in days(3)))
    (backup,) = planned(a_scan(a_partitioned_table(), partitions=seen, record=record)).backups

    assert is_created_first(backup.copies[0])


NEW_YEAR = [
    datetime(2018, 12, 30, 23, 59, 59, 999_000, tzinfo=UTC),
    datetime(2018, 12, 31, 0, 0, tzinfo=UTC),
    datetime(2018, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    datetime(2019, 1, 1, 0, 0, tzinfo=UTC),
    datetime(2018, 1, 1, 0, 0, tzinfo=UTC),
]


def test_w7_the_week_and_the_year_are_in_no_name_so_that_new_year_mixes_nothing_up() -> None:
    names = [destination_of(ORDERS.unit(), now=at) for at in NEW_YEAR]

    assert len(set(names)) == len(NEW_YEAR)
    assert "-20181231T000000Z-" in names[1]
    assert "-20180101T000000Z-" in names[4]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(DatasetRef("example.com:shop", "sales"), id="domain-scoped"),
        pytest.param(DatasetRef("a-b.co.uk:my-shop", "sales"), id="dashes and dots in the domain"),
        pytest.param(DatasetRef("a--b", "sales"), id="two dashes"),
    ],
)
def test_w8_every_project_has_a_legal_backup_dataset_that_leads_back_to_it(source: DatasetRef) -> None:
    backup = backup_dataset(source, location="EU", into=BACKUPS)

    assert re.fullmatch(r"[A-Za-z0-9_]{1,1024}", backup.dataset)
    assert dataset_source_of(backup) == source
    assert DatasetRef.parse(str(source)) == source


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("example.com:shop", "example-com-shop", id="colon and dots"),
        pytest.param("a.b:c", "a-b:c", id="dot and dash in the domain"),
        pytest.param("a--b", "a-b", id="two dashes"),
    ],
)
def test_w8_domain_scoped_projects_do_not_meet_others(one: str, other: str) -> None:
    names = {backup_dataset(DatasetRef(project, "d"), location="EU", into=BACKUPS) for project in (one, other)}

    assert len(names) == 2


def test_w10_an_emptied_table_is_put_on_record_and_its_good_version_stays_the_latest() -> None:
    good = a_version(ORDERS.unit())
    (change,) = planned(a_scan(a_table(state=EMPTY), record=a_record(good))).emptied
    event = emptied(change, at=NOW, run_id="run")

    assert not change.needs_copy
    assert change.last == good
    assert fold_record([event]).absent == {ORDERS.unit(): "emptied"}


def test_w10_no_empty_copy_is_made_of_a_table_that_was_never_backed_up() -> None:
    assert planned(a_scan(a_table(state=EMPTY))).is_empty


def test_w17_a_used_up_quota_postpones_and_starts_nothing() -> None:
    plan = planned(a_scan(a_table()), quota=PLENTY.of_day(10, used=10))

    assert plan.copies == ()
    assert [item.unit for item in plan.postponed] == [ORDERS.unit()]


def test_w19_a_unit_is_its_name_so_that_its_history_is_never_split() -> None:
    versions = [
        version_created(
            a_copy(ORDERS.unit()),
            a_copy(ORDERS.unit()).units[0],
            job_id=job,
            captured_at=at,
            rows=10,
            size_bytes=100,
            at=at,
            run_id="run",
        )
        for job, at in (("one", NOW), ("other", NOW + HOUR))
    ]
    record = fold_record(versions)

    assert list(record.latest) == [ORDERS.unit()]
    assert record.latest[ORDERS.unit()].captured_at == NOW + HOUR


def test_w21_a_request_for_a_table_that_is_gone_does_not_make_it_live_on() -> None:
    scan = a_scan(record=a_record(a_version(ORDERS.unit())))
    changes, missing = request(scan.changes(), [ORDERS.unit()], by="ada")

    assert [gone.unit for gone in changes.vanished] == [ORDERS.unit()]
    assert set(missing) == {ORDERS.unit()}


def test_w23_the_backup_dataset_is_the_same_on_every_day() -> None:
    plans = [planned(a_scan(a_table()), now=NOW + timedelta(days=day)) for day in (0, 7, 31, 365)]

    assert len({plan.backups[0].destination.in_dataset for plan in plans}) == 1
    assert len({plan.backups[0].destination for plan in plans}) == 1, "nothing in a name comes from a clock"


def test_w25_partitions_of_a_table_that_did_not_move_are_not_even_listed() -> None:
    settled = a_record(settled={EVENTS: (CREATED, a_state())})

    assert not needs_partition_list(a_partitioned_table(), settled)
    assert needs_partition_list(a_partitioned_table(), DatasetRecord())


@pytest.mark.parametrize(
    ("column", "column_type", "partition"),
    [
        pytest.param("at", "TIMESTAMP", "2026013123", id="HOUR"),
        pytest.param("day", "DATE", "20260131", id="DAY"),
        pytest.param("day", "DATE", "202601", id="MONTH"),
        pytest.param("day", "DATE", "2026", id="YEAR"),
        pytest.param("_PARTITIONTIME", "TIMESTAMP", "20260131", id="ingestion time"),
        pytest.param("customer", "INT64", "100", id="integer range"),
    ],
)
def test_w26_every_kind_of_partitioning_is_backed_up_by_partition(
    column: str, column_type: str, partition: str
) -> None:
    table = a_partitioned_table(column=column, column_type=column_type)
    quiet = [UnitState(EVENTS.unit(name), a_state()) for name in ("1", "2")]
    moved = UnitState(EVENTS.unit(partition), a_state(modified_at=NOW - HOUR))
    record = a_record(*(a_version(unit.unit) for unit in (*quiet, moved)))
    (copy,) = planned(a_scan(table, partitions=[*quiet, moved], record=record)).copies

    assert copy.source == EVENTS.unit(partition)


def test_the_original_read_of_nulls_fails_no_task_and_skips_no_table() -> None:
    """Its rules 6 and 7 with a version that lacks its size, and a source that lacks everything."""
    no_size = a_version(ORDERS.unit(), rows=None, size_bytes=None)
    change = detect_change(a_table(), UnitState(ORDERS.unit(), State()), no_size)

    assert change.verdict is Verdict.UNKNOWN
    assert change.needs_copy
