"""What retention deleted comes back on the embedded BigQuery: tables, partitions, all that one run deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bbq_dagster.apply.undelete import UndeleteReport
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.core.undelete import UndeletePlan
from bbq_dagster.core.versions import Version
from bbq_dagster.errors import Refused
from bbq_dagster_tests.e2e.house import SHOP, House
from bbq_dagster_tests.e2e.retaining import DAY, EVENTS, ORDERS, backups, five_days, on_record, plan, with_retention


@pytest.fixture
def shop(house_of_five_days: House) -> House:
    """Five days of versions; retention, by run ``r``, has left the newest of each unit."""
    house = with_retention(house_of_five_days, RetentionRules(keep_last=1))
    assert house.stack.apply_retention(plan(house), run_id="r").ok
    house.later(DAY)
    return house


def planned(house: House, *version_ids: str, run_id: str | None = None, tables: tuple[str, ...] = ()) -> UndeletePlan:
    return house.stack.plan_undelete(now=house.now, version_ids=version_ids, run_id=run_id, tables=tables)


def undelete(
    house: House, *version_ids: str, run_id: str | None = None, tables: tuple[str, ...] = ()
) -> UndeleteReport:
    return house.stack.apply_undelete(planned(house, *version_ids, run_id=run_id, tables=tables), run_id="undelete")


def deleted(house: House) -> list[tuple[str, str]]:
    """Id and place of what was deleted, the oldest version first."""
    events = house.stack.catalog.deletions_since(house.now - 30 * DAY)
    events.sort(key=lambda event: (event.captured_at or house.now, event.unit.key))
    return [
        (event.version_id or "", f"{event.backup_table}{event.unit.key.removeprefix(event.unit.table.table)}")
        for event in events
    ]


def rows(house: House, version: Version) -> list[str]:
    everything = house.rows_of(str(version.backup.table), location="EU")
    partition = version.backup.partition
    if partition is None:
        return everything
    day = f"{partition[:4]}-{partition[4:6]}-{partition[6:]}"
    return [row for row in everything if day in row]


def test_all_that_a_run_deleted_comes_back_as_it_was(house: House) -> None:
    five_days(house)
    versions = {version.version_id: version for version in house.versions(ORDERS, EVENTS)}
    content = {identity: rows(house, version) for identity, version in versions.items()}
    places = backups(house)
    with_retention(house, RetentionRules(keep_last=1))
    gone = house.stack.apply_retention(plan(house), run_id="r").deleted
    house.later(DAY)
    report = undelete(house, run_id="r")

    assert report.ok
    assert sorted(version.version_id for version in report.back) == sorted(version.version_id for version in gone)
    assert backups(house) == on_record(house) == places, "no clone is left either"
    back = {version.version_id: version for version in house.versions(ORDERS, EVENTS)}
    assert {identity: rows(house, version) for identity, version in back.items()} == content
    assert {identity: version.captured_at for identity, version in back.items()} == {
        identity: version.captured_at for identity, version in versions.items()
    }


def test_a_partition_comes_back_alone_into_its_backup_table(shop: House) -> None:
    (version_id, place), *_ = [item for item in deleted(shop) if "$" in item[1]]
    others = backups(shop)
    report = undelete(shop, version_id)

    assert report.ok
    assert backups(shop) == others | {place} == on_record(shop)
    assert [version.backup.key for version in report.back] == [place]
    assert all(not version.reason.startswith("undeleted; before: undeleted") for version in report.back)


def test_a_partitioned_table_that_is_gone_comes_back_partitioned(shop: House) -> None:
    """Of the first day: all three partitions were in one table, which went as a whole once none was kept."""
    first_day = min(place.rpartition("$")[0] for _, place in deleted(shop) if "$" in place)
    wanted = [(identity, place) for identity, place in deleted(shop) if place.startswith(first_day)]
    report = undelete(shop, *(identity for identity, _ in wanted))

    assert report.ok
    assert {place for _, place in wanted} <= backups(shop)
    assert backups(shop) == on_record(shop)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(ORDERS, {"orders"}, id="a table"),
        pytest.param(f"{SHOP}.sales.*", {"orders", "events"}, id="a pattern"),
        pytest.param(f"{EVENTS}$20260101", {"events"}, id="a partition"),
    ],
)
def test_what_was_deleted_of_a_table_comes_back(shop: House, target: str, expected: set[str]) -> None:
    report = undelete(shop, tables=(target,))

    assert report.ok
    assert {version.unit.table.table for version in report.back} == expected
    assert len(report.back) == sum(target.split("$")[0] in (f"{SHOP}.sales.*", str(v.unit.table)) for v in report.back)
    assert backups(shop) == on_record(shop)


def test_a_plan_changes_nothing_and_says_what_comes_back_from_when(shop: House) -> None:
    places, (version_id, _) = backups(shop), deleted(shop)[0]
    made = planned(shop, version_id, "nobody")

    assert "1 version from 1 backup table; 1 cannot be brought back" in str(made)
    assert "as it was at 2026-03-07" in str(made)
    assert "nobody: there was never such a version" in str(made)
    assert backups(shop) == places


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        pytest.param("nobody", "there was never such a version", id="unknown"),
        pytest.param("live", "it is not deleted", id="not deleted"),
        pytest.param("late", "time travel reaches back 7 days", id="after the window"),
    ],
)
def test_what_cannot_come_back_is_refused(shop: House, which: str, expected: str) -> None:
    ids = {"nobody": "nobody", "live": shop.versions(ORDERS)[0].version_id, "late": deleted(shop)[0][0]}
    if which == "late":
        shop.later(7 * DAY)

    with pytest.raises(Refused, match=expected):
        undelete(shop, ids[which])


def test_what_can_come_back_does_beside_what_cannot(shop: House) -> None:
    report = undelete(shop, "nobody", deleted(shop)[0][0])

    assert not report.ok
    assert len(report.back) == 1
    assert [str(item) for item in report.refused] == ["nobody: there was never such a version"]


@pytest.mark.parametrize(
    ("run_id", "tables", "expected"),
    [
        pytest.param(None, (), "nothing is named", id="nothing"),
        pytest.param("another", (), "nothing was deleted by run another", id="another run"),
        pytest.param("r", (f"{SHOP}.sales.other",), "was deleted by run r", id="another table"),
        pytest.param(None, ("sales",), "not a table", id="no table"),
    ],
)
def test_a_selection_of_nothing_is_refused(
    shop: House, run_id: str | None, tables: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(Refused, match=expected):
        undelete(shop, run_id=run_id, tables=tables)


def test_what_failed_is_named_is_no_version_and_comes_back_by_trying_again(shop: House) -> None:
    (version_id, _), *_ = [item for item in deleted(shop) if "$" in item[1]]
    shop.bigquery.fault(match={"job_type": "copy"}, action={"job_error": {"reason": "accessDenied"}}, times=1)
    first = undelete(shop, version_id)
    versions = on_record(shop)
    shop.later()
    second = undelete(shop, version_id)

    assert [item.version_id for item in first.failures] == [version_id]
    assert len(versions) == 4
    assert second.ok
    assert backups(shop) == on_record(shop)


def test_the_same_undelete_after_one_that_failed_in_part_brings_the_rest_and_is_ok(shop: House) -> None:
    shop.bigquery.fault(match={"job_type": "copy"}, action={"job_error": {"reason": "accessDenied"}}, times=1)
    first = undelete(shop, run_id="r")
    shop.later(timedelta(milliseconds=1))
    second, third = undelete(shop, run_id="r"), undelete(shop, run_id="r")

    assert not first.ok
    assert first.back
    assert second.ok
    assert {v.version_id for v in second.back} == {item.version_id for item in first.failures}
    assert (third.ok, third.back, len(third.back_before)) == (True, (), len(first.back) + len(second.back))
    assert str(third) == f"run undelete: 0 versions back, 0 not; {len(third.back_before)} versions back already"
    assert backups(shop) == on_record(shop)


@pytest.fixture
def with_nulls(house: House) -> House:
    """Two days of a table with rows in ``__NULL__``; of the first day all is deleted, with its whole backup table."""
    house.sql(f"CREATE TABLE `{EVENTS}` (day DATE, n INT64) PARTITION BY day")
    for day in range(2):
        house.sql(f"INSERT `{EVENTS}` VALUES (NULL, {day}), (DATE '2026-01-01', {day}), (DATE '2026-01-02', {day})")
        house.back_up(f"day {day}")
        house.later(DAY)
    with_retention(house, RetentionRules(keep_last=1))
    assert len(house.stack.apply_retention(plan(house), run_id="r").deleted) == 3
    house.later()
    return house


def test_special_partitions_come_back_with_their_whole_table(with_nulls: House) -> None:
    report = undelete(with_nulls, run_id="r")
    table = report.back[0].backup.table

    assert report.ok
    assert {version.backup.partition for version in report.back} == {"__NULL__", "20260101", "20260102"}
    assert len(with_nulls.rows_of(str(table), location="EU")) == 3


def test_special_partitions_do_not_come_back_over_what_is_there(with_nulls: House) -> None:
    ids = {place.rpartition("$")[2]: identity for identity, place in deleted(with_nulls)}
    first = undelete(with_nulls, ids["20260101"])
    with_nulls.later()
    second = undelete(with_nulls, ids["__NULL__"])

    assert first.ok
    assert [item.version_id for item in second.failures] == [ids["__NULL__"]]
    assert len(with_nulls.rows_of(str(first.back[0].backup.table), location="EU")) == 1, "it is as it was"


def test_a_run_that_ends_before_it_records_is_finished_by_the_next(shop: House) -> None:
    """The catalog cannot be written: all is copied, nothing is recorded."""
    wanted = [identity for identity, _ in deleted(shop)]
    shop.bigquery.fault(match={"job_type": "load"}, action={"job_error": {"reason": "accessDenied"}}, times=1)
    with pytest.raises(Exception, match="Injected fault"):
        undelete(shop, *wanted)
    before = len(on_record(shop))
    shop.later()

    assert before == 4
    assert undelete(shop, *wanted).ok
    assert backups(shop) == on_record(shop)


def test_a_deletion_that_was_marked_twice_is_undone_to_before_the_first_mark(house: House) -> None:
    """The first run stops after it deleted; the second one marks again what is gone by then."""
    with_retention(five_days(house), RetentionRules(keep_last=1))
    house.bigquery.fault(match={"job_type": "load"}, action={"job_error": {"reason": "accessDenied"}}, times=1, after=1)
    with pytest.raises(Exception, match="Injected fault"):
        house.stack.apply_retention(plan(house), run_id="stopped")
    house.later(timedelta(hours=6))
    assert house.stack.apply_retention(plan(house), run_id="r").ok
    house.later(timedelta(hours=1))

    assert undelete(house, run_id="r").ok
    assert backups(house) == on_record(house)


def test_retention_decides_anew_on_what_is_back(shop: House) -> None:
    undelete(shop, run_id="r")
    shop.stack.hold(ORDERS, owner="ada", reason="audit", until=None, run_id="h")
    shop.back_up()
    again = shop.stack.apply_retention(plan(shop), run_id="r2")

    assert again.ok
    assert {version.unit.table.table for version in again.deleted} == {"events"}
    shop.later()
    assert undelete(shop, run_id="r2").ok, "and back once more"
