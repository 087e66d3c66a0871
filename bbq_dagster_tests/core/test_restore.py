"""The restore plan: as few jobs as possible, all conflicts at once, nothing touched that was not asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.inventory import TableOptions
from bbq_dagster.core.plan import Quota
from bbq_dagster.core.restore import RestorePlan, World, backup_tables_of, copy_jobs_fault, plan_restore, targets_of
from bbq_dagster.core.restore_render import read_plan, render_restore, summary, write_plan
from bbq_dagster.core.restore_request import (
    Create,
    OnExisting,
    Partitions,
    RestoreRequest,
    Target,
    VersionWish,
)
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, DatasetRef
from bbq_dagster.errors import Refused
from bbq_dagster_tests.core.restoring import (
    BACKUPS,
    BY_DAY,
    EVENTS,
    FLAT,
    LAB,
    ORDERS,
    SALES,
    Story,
    a_request,
    at,
    jobs_of,
)

GOLDENS = Path(__file__).parent / "goldens"
INTO_LAB = Target(project=LAB)
LAB_EVENTS = DatasetRef(LAB, "sales").table("events")
LAB_ORDERS = DatasetRef(LAB, "sales").table("orders")
ALL_TWELVE = {f"202601{day:02}": 10 for day in range(1, 13)}


def events(*backups: dict[str, int], **also_held: int) -> Story:
    """Backups of events on days 1, 2, …; ``also_held`` came with the first one."""
    story = Story()
    for day, rows in enumerate(backups, start=1):
        story.back_up(day, EVENTS, rows, also_held=also_held if day == 1 else None)
    return story


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param(events(ALL_TWELVE), ["events-1 -> events"], id="one backup table holds all: one job"),
        pytest.param(
            events(ALL_TWELVE, {"20260103": 11}),
            ["events-1 -> events", "events-2$20260103 -> events$20260103 (replace)"],
            id="the first as the base, the changed one over it",
        ),
        pytest.param(
            events({"20260101": 1}, {"20260102": 2}),
            ["events-1$20260101 -> events$20260101", "events-2$20260102 -> events$20260102"],
            id="a base of one partition saves nothing",
        ),
        pytest.param(
            events({"20260101": 1, "20260102": 2}, **{"20251231": 9}),
            ["events-1$20260101 -> events$20260101", "events-1$20260102 -> events$20260102"],
            id="a partition that is no version does not come along",
        ),
        pytest.param(
            events(ALL_TWELVE, {"20260103": 11}, **{"20251231": 9}),
            ["events-1 -> events, without 20251231", "events-2$20260103 -> events$20260103 (replace)"],
            id="a partition that was gone by then comes along and is removed",
        ),
        pytest.param(
            events({"20260101": 1, "20260102": 2}, **{NULL_PARTITION: 9}),
            ["events-1$20260101 -> events$20260101", "events-1$20260102 -> events$20260102"],
            id="what cannot be named cannot be removed",
        ),
        pytest.param(
            events({NULL_PARTITION: 1, "20260101": 1}, {"20260101": 2}),
            ["events-1 -> events", "events-2$20260101 -> events$20260101 (replace)"],
            id="__NULL__ comes with its whole table",
        ),
        pytest.param(
            events({"20260101": 1, "20260102": 0, "20260103": 1}, {"20260103": 0}),
            ["events-1$20260101 -> events$20260101"],
            id="an empty partition has nothing to copy",
        ),
    ],
)
def test_a_new_table_takes_as_few_jobs_as_possible(story: Story, expected: list[str]) -> None:
    plan = story.plan(a_request(target=INTO_LAB))

    assert plan.conflicts == ()
    assert jobs_of(plan) == expected


def test_a_base_that_holds_more_than_all_that_is_wanted_gives_the_rest_away() -> None:
    plan = events(ALL_TWELVE, **{"20251231": 9}).plan(a_request(target=INTO_LAB))

    assert jobs_of(plan) == ["events-1 -> events, without 20251231"]
    assert plan.tables[0].how == "one copy job for 12 partitions, 1 other that came along removed"


def test_what_is_wrong_with_the_request_is_all_that_a_plan_says() -> None:
    plan = events(ALL_TWELVE).plan(a_request(f"{SALES}.lost", target=INTO_LAB))

    assert plan.tables == ()
    assert plan.conflicts == events(ALL_TWELVE).choose(a_request(f"{SALES}.lost")).faults != ()


def test_a_plan_names_what_it_reads_and_what_it_writes() -> None:
    request = a_request(target=INTO_LAB)
    choice = events({"20260101": 1, "20260102": 1}, {"20260103": 1}).choose(request)

    assert targets_of(request, choice) == (LAB_EVENTS,)
    assert backup_tables_of(choice) == ((BACKUPS.table("events-1"), "EU"), (BACKUPS.table("events-2"), "EU"))


FLAWED = "version events$20260101@1 of acme-shop.sales.events$20260101 is bad: 2 rows fewer."
ON_REQUEST = " It is restored only if asked for: restore an older one by its id, or this one with --even-if-bad"


@pytest.mark.parametrize(("even_if_bad", "expected"), [(False, [f"{FLAWED}{ON_REQUEST}"]), (True, [])])
def test_a_version_that_is_bad_is_restored_only_if_asked_for(even_if_bad: bool, expected: list[str]) -> None:
    story = events({"20260101": 1, "20260102": 1})
    request = a_request(target=INTO_LAB, even_if_bad=even_if_bad)
    flaws = {"events$20260101@1": "2 rows fewer", "events$20260101@0": "an older one"}
    world = World(story.locations, story.tables)
    plan = plan_restore(request, story.choose(request), world, may_write=(LAB,), now=at(10), flaws=flaws)

    assert list(plan.conflicts) == expected


def test_what_lies_over_the_base_waits_for_it() -> None:
    plan = events(ALL_TWELVE, {"20260103": 11}).plan(a_request(target=INTO_LAB))

    assert [item.follows for item in plan.items] == [False, True]


def test_a_new_table_is_created_like_the_newest_backup_with_the_options_of_then() -> None:
    plan = events({"20260101": 1}, {"20260102": 1}).plan(a_request(target=INTO_LAB))

    (table,) = plan.tables
    assert table.create_like is not None
    assert table.create_like.table == "events-2"
    assert table.options.description == "what was sold"
    assert plan.new_datasets == ((DatasetRef(LAB, "sales"), "EU"),)


PARTITIONS_IN_PLACE = a_request(
    "acme-shop.sales.events",
    partitions=Partitions(first="20260102", last="20260103"),
    on_existing=OnExisting.REPLACE,
)


def test_partitions_in_place_leave_the_others_alone() -> None:
    story = events(ALL_TWELVE)
    story.put(EVENTS, ALL_TWELVE | {"20260102": 99})

    plan = story.plan(PARTITIONS_IN_PLACE)

    assert jobs_of(plan) == [
        "events-1$20260102 -> events$20260102 (replace)",
        "events-1$20260103 -> events$20260103 (replace)",
    ]
    assert plan.tables[0].overwritten_rows == 99 + 10
    assert "10 other partitions of the target stay as they are" in plan.tables[0].notes


@pytest.mark.parametrize(
    ("on_existing", "expected"),
    [
        pytest.param(OnExisting.SKIP, ["orders-1 -> orders"], id="skip: only what is not there"),
        pytest.param(
            OnExisting.REPLACE, ["events-1 -> events (replace)", "orders-1 -> orders"], id="replace: all of it"
        ),
        pytest.param(OnExisting.APPEND, ["events-1 -> events (append)", "orders-1 -> orders"], id="append: all of it"),
    ],
)
def test_what_has_rows_is_skipped_replaced_or_appended_to(on_existing: OnExisting, expected: list[str]) -> None:
    story = events({"20260101": 1, "20260102": 2})
    story.back_up(1, ORDERS, 5)
    story.put(LAB_EVENTS, {"20260101": 7, "20260102": 8})

    plan = story.plan(a_request(target=INTO_LAB, on_existing=on_existing))

    assert plan.conflicts == ()
    assert jobs_of(plan) == expected


def test_an_empty_target_is_filled_without_asking() -> None:
    story = Story()
    story.back_up(1, ORDERS, 5)
    story.put(LAB_ORDERS, 0)

    plan = story.plan(a_request(target=INTO_LAB))

    assert jobs_of(plan) == ["orders-1 -> orders"]
    assert plan.tables[0].create_like is None


def taken(story: Story) -> None:
    story.put(LAB_ORDERS, 3)


def elsewhere(story: Story) -> None:
    story.locations[DatasetRef(LAB, "sales")] = "US"


def a_view(story: Story) -> None:
    story.put(LAB_ORDERS, 0, shape=replace(FLAT, kind="VIEW"))


def partitioned(story: Story) -> None:
    story.put(LAB_ORDERS, {})


def other_type(story: Story) -> None:
    story.put(LAB_ORDERS, 0, shape=replace(FLAT, columns=(("id", "STRING"), ("note", "STRING"))))


def missing_column(story: Story) -> None:
    story.put(LAB_ORDERS, 0, shape=replace(FLAT, columns=(("id", "INT64"),)))


def no_backup_table(story: Story) -> None:
    del story.tables[story.versions[0].backup.table]


def cut_short(story: Story) -> None:
    story.versions[0] = replace(story.versions[0], rows=6)


def in_two_locations(story: Story) -> None:
    story.back_up(1, SALES.table("refunds"), 3, location="US")


def nothing(_: Story) -> None:
    return None


@pytest.mark.parametrize(
    ("arrange", "given", "expected"),
    [
        pytest.param(taken, {}, "acme-lab.sales.orders has rows already", id="target has rows"),
        pytest.param(elsewhere, {}, "dataset acme-lab.sales is in US, versions are in eu", id="another location"),
        pytest.param(a_view, {}, "acme-lab.sales.orders is there and is a view", id="target is a view"),
        pytest.param(partitioned, {}, "orders is partitioned, other than the version", id="target is partitioned"),
        pytest.param(other_type, {}, "the column id is INT64 in the version, STRING in the target", id="other type"),
        pytest.param(missing_column, {}, "the column note is STRING in the version, not there", id="column missing"),
        pytest.param(no_backup_table, {}, "orders-1 is not there", id="backup table is gone"),
        pytest.param(cut_short, {}, "orders-1 has 5 rows, its version has 6", id="backup table is not what it was"),
        pytest.param(
            in_two_locations,
            {},
            "versions in eu, us cannot go into one dataset, acme-lab.sales",
            id="a new dataset is in one location",
        ),
        pytest.param(nothing, {"create": Create.NEVER}, "dataset acme-lab.sales does not exist", id="create never"),
        pytest.param(nothing, {"target": Target(project="acme-evil")}, "acme-evil is neither", id="forbidden project"),
        pytest.param(
            nothing, {"target": Target(LAB, suffix="$20260101")}, "orders$20260101 cannot be the name", id="a decorator"
        ),
        pytest.param(nothing, {"target": Target(LAB, "bad-name")}, "bad-name.orders cannot be", id="no dataset's name"),
        pytest.param(
            nothing, {"target": Target(project="acme-backup")}, "acme-backup is neither", id="the backup project"
        ),
        pytest.param(
            nothing, {"partitions": Partitions(ids=("20260101",))}, "partition 20260101: no table", id="no partition"
        ),
        pytest.param(taken, {"on_existing": OnExisting.SKIP}, "nothing is left to restore", id="all is skipped"),
    ],
)
def test_what_stands_against_a_restore_is_a_conflict(arrange: Any, given: dict[str, Any], expected: str) -> None:
    story = Story()
    story.back_up(1, ORDERS, 5)
    arrange(story)

    plan = story.plan(a_request(**{"target": INTO_LAB} | given))

    assert any(expected in conflict for conflict in plan.conflicts), plan.conflicts


def test_all_conflicts_are_named_at_once() -> None:
    story = events({"20260101": 1})
    story.back_up(1, ORDERS, 5)
    story.put(LAB_ORDERS, 1)
    story.put(LAB_EVENTS, {"20260101": 1})

    plan = story.plan(a_request(target=INTO_LAB))

    assert len(plan.conflicts) == 2


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        pytest.param(["orders@1", "orders@2"], "two versions of acme-shop.sales.orders", id="two of one table"),
        pytest.param(["events$20260101@1", "events$20260101@2"], "two versions of", id="two of one partition"),
        pytest.param(["orders@1:x", "refunds@1:x"], "orders and acme-shop.sales.refunds would both", id="two tables"),
        pytest.param(["events@3", "events$20260101@1"], "a version of the whole table and versions", id="table, part"),
    ],
)
def test_two_versions_onto_one_target_are_refused(wishes: list[str], expected: str) -> None:
    story = events({"20260101": 1}, {"20260101": 2})
    story.back_up(1, ORDERS, 5)
    story.back_up(2, ORDERS, 6)
    story.back_up(3, EVENTS, 9)
    story.back_up(1, SALES.table("refunds"), 9)
    named = [wish.partition(":") for wish in wishes]

    plan = story.plan(
        RestoreRequest(versions=tuple(VersionWish(name, table or None) for name, _, table in named), target=INTO_LAB)
    )

    assert any(expected in conflict for conflict in plan.conflicts), plan.conflicts


def test_two_versions_of_a_table_go_to_two_names() -> None:
    story = Story()
    story.back_up(1, ORDERS, 5)
    story.back_up(2, ORDERS, 6)
    wishes = (VersionWish("orders@1", "orders_then"), VersionWish("orders@2"))

    plan = story.plan(RestoreRequest(versions=wishes, target=INTO_LAB))

    assert jobs_of(plan) == ["orders-2 -> orders", "orders-1 -> orders_then"]


@pytest.mark.parametrize("partition", [NULL_PARTITION, UNPARTITIONED])
def test_a_partition_that_no_job_can_name_is_not_restored_into_a_table_with_rows(partition: str) -> None:
    story = events({partition: 1, "20260101": 1})
    story.put(EVENTS, {"20260101": 1, "20260102": 1})

    plan = story.plan(a_request(on_existing=OnExisting.REPLACE))

    assert any(f"events${partition} comes only with a copy of its whole" in found for found in plan.conflicts)


def test_a_replaced_table_gets_the_schema_of_the_version_and_the_plan_says_so() -> None:
    story = Story()
    story.back_up(1, ORDERS, 5)
    story.put(ORDERS, 3, shape=replace(FLAT, columns=(("id", "STRING"), ("extra", "STRING"))))

    (table,) = story.plan(a_request(on_existing=OnExisting.REPLACE)).tables

    assert table.columns == FLAT.columns
    assert table.notes == (
        "schema: the column id is INT64 in the version, STRING in the target",
        "schema: the column note is STRING in the version, not there in the target",
        "schema: the column extra goes: the version has none",
    )


def test_a_table_is_created_with_the_columns_of_all_its_versions() -> None:
    wide = replace(BY_DAY, columns=(*BY_DAY.columns, ("late", "BOOL")))
    story = Story()
    story.back_up(1, EVENTS, {"20260101": 1}, shape=wide)
    story.back_up(2, EVENTS, {"20260102": 1})

    (table,) = story.plan(a_request(target=INTO_LAB)).tables

    assert table.create_like is not None
    assert table.create_like.table == "events-1"


EXPIRING = TableOptions(partition_expiration_days=5)


@pytest.mark.parametrize(
    ("partition", "expected"),
    [
        pytest.param("20260106", False, id="a day, as old as it may be"),
        pytest.param("20260105", True, id="a day, older"),
        pytest.param("2026010523", True, id="an hour, older"),
        pytest.param("2026010600", False, id="an hour, as old as it may be"),
        pytest.param("202601", True, id="a month that began before"),
        pytest.param("202602", False, id="a month to come"),
        pytest.param("2026", True, id="a year that began before"),
        pytest.param("2027", False, id="a year to come"),
        pytest.param("7", False, id="a number"),
        pytest.param("-2000", False, id="a number below zero"),
        pytest.param(NULL_PARTITION, False, id="no time"),
    ],
)
def test_a_partition_that_expires_at_once_is_warned_of(partition: str, expected: bool) -> None:
    story = Story()
    story.back_up(1, EVENTS, {partition: 1}, options=EXPIRING)

    (table,) = story.plan(a_request(target=INTO_LAB, keep_partition_expiration=True)).tables

    assert table.notes == expected * ("WARNING: 1 partitions are older than 5 days and expire at once",)


@pytest.mark.parametrize(
    ("keep", "days", "note"),
    [
        pytest.param(False, None, "its partitions expired after 5 days: left off, they stay", id="not asked for"),
        pytest.param(True, 5, "WARNING: 4 partitions are older than 5 days and expire at once", id="asked for"),
    ],
)
def test_partition_expiration_only_if_asked_with_a_warning(keep: bool, days: float | None, note: str) -> None:
    story = Story()
    story.back_up(1, EVENTS, {f"2026010{day}": 1 for day in range(2, 8)}, options=EXPIRING)

    (table,) = story.plan(a_request(target=INTO_LAB, keep_partition_expiration=keep)).tables

    assert table.options.partition_expiration_days == days
    assert note in table.notes


@pytest.mark.parametrize(
    ("key", "is_made_by_copy"),
    [
        pytest.param(None, True, id="a copy job is ten times as fast"),
        pytest.param("projects/acme/keys/sales", False, id="but knows no key"),
    ],
)
def test_a_table_that_is_not_partitioned_is_made_by_its_copy_job(key: str | None, is_made_by_copy: bool) -> None:
    story = Story()
    story.back_up(1, ORDERS, 5, options=TableOptions(kms_key_name=key))

    (table,) = story.plan(a_request(target=INTO_LAB)).tables

    assert table.create_like is not None
    assert table.is_made_by_copy == is_made_by_copy
    assert any("projects/acme/keys/sales" in note for note in table.notes) == (key is not None)


def test_more_jobs_than_the_day_has_left_are_told() -> None:
    plan = events({"20260101": 1}, {"20260102": 1}).plan(a_request(target=INTO_LAB))

    assert copy_jobs_fault(plan, Quota(2, 100)) == ""
    assert "finishes them in 1 more day" in copy_jobs_fault(plan, Quota(1, 100))
    assert "finishes them in 2 more days" in copy_jobs_fault(plan, Quota(0, 1))
    assert plan.conflicts == (), "a part of it today is better than nothing"


def test_the_digest_stands_for_the_plan_and_for_what_it_saw() -> None:
    def planned(**changes: Any) -> RestorePlan:
        story = events(ALL_TWELVE)
        story.put(EVENTS, ALL_TWELVE | changes)
        return story.plan(PARTITIONS_IN_PLACE)

    assert planned().digest == planned().digest
    assert planned(**{"20260102": 11}).digest != planned().digest
    assert planned(**{"20260109": 11}).digest == planned().digest, "that partition is not touched"


def test_a_plan_is_read_from_its_file_as_it_was_written() -> None:
    plan = everything()

    assert read_plan(write_plan(plan), name="plan.json") == plan


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("old_orders", "old_refunds", id="another name"),
        pytest.param("acme-lab", "acme-evil", id="another project"),
        pytest.param('"rows": 5', '"rows": 6', id="another number"),
        pytest.param('"follows": true', '"follows": 1', id="another type"),
        pytest.param('"request"', '"requests"', id="another field"),
        pytest.param('"format": 1', '"format": 2', id="another format"),
        pytest.param("2026-01-11T12:00:00", "2026-01-12T12:00:00", id="another time"),
        pytest.param("{", "", id="no JSON"),
    ],
)
def test_a_file_that_was_edited_is_refused(old: str, new: str) -> None:
    text = write_plan(everything())
    assert old in text

    with pytest.raises(Refused, match="nothing was done"):
        read_plan(text.replace(old, new), name="plan.json")


def everything() -> RestorePlan:
    """A plan with a line of every kind, but for conflicts."""
    story = events(ALL_TWELVE, {"20260103": 11, "20260113": 0})
    story.back_up(1, ORDERS, 5, options=EXPIRING)
    story.back_up(4, SALES.table("carts"), 7)
    story.back_up(1, SALES.table("refunds"), 3)
    story.lose(2, SALES.table("refunds").unit())
    story.put(DatasetRef(LAB, "was").table("old_orders"), 3)
    story.put(DatasetRef(LAB, "was").table("old_carts"), 0)
    target = Target(project=LAB, dataset="was", prefix="old_")
    return story.plan(a_request(as_of=at(9), target=target, on_existing=OnExisting.REPLACE))


def conflicting() -> RestorePlan:
    story = events({NULL_PARTITION: 1, "20260101": 1}, {"20260102": 1})
    story.back_up(1, ORDERS, 5)
    story.put(LAB_ORDERS, 3)
    story.put(LAB_EVENTS, {"20260105": 1})
    return story.plan(a_request(target=INTO_LAB))


@pytest.mark.parametrize("plan", [everything, conflicting], ids=["restore", "restore_conflicts"])
def test_the_plan_in_words(plan: Any, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id

    assert render_restore(plan(), quota=Quota(88_000, 100_000)) + "\n" == (GOLDENS / f"{name}.txt").read_text()


def test_a_plan_in_one_line() -> None:
    plan = events(ALL_TWELVE).plan(a_request(as_of=at(9), target=INTO_LAB))

    assert summary(plan) == (
        f"{plan.restore_id}: as of 2026-01-10 12:00 UTC; 1 table (1 to create), 12 units by 1 copy job, 120 rows,"
        " 1.2 KiB; 0 rows overwritten, 0 left out, 0 conflicts; about 0:00:10"
    )
    assert str(plan) == render_restore(plan)


BACKUP_RUNS = st.lists(
    st.dictionaries(st.sampled_from(["20260101", "20260102", "20260103", "20260104"]), st.integers(1, 9), min_size=1),
    min_size=1,
    max_size=5,
)
THERE = st.dictionaries(st.sampled_from(["20260101", "20260102", "20260109"]), st.integers(1, 9))


def written_by(plan: RestorePlan, story: Story, there: dict[str, int]) -> dict[str | None, int]:
    """What the target holds when all jobs of the plan are done, in their order: rows by partition."""
    held: dict[str | None, int] = dict(there.items())
    for item in sorted(plan.items, key=lambda item: item.follows):
        source = story.tables[item.source.table]
        names = source.held if item.source.partition is None else {item.source.partition}
        into_whole = item.target.partition is None
        if item.writing == "into empty":
            assert not (held if into_whole else item.target.partition in held), "a job into what is not empty fails"
        if item.writing == "replace" and into_whole:
            held = {}
        for name in names:
            before = held.get(name, 0) if item.writing == "append" else 0
            held[name] = before + (source.state_of(name).rows or 0)
        held = {name: rows for name, rows in held.items() if name not in {unit.partition for unit in item.removed}}
    return held


@given(runs=BACKUP_RUNS, there=THERE, on_existing=st.sampled_from(list(OnExisting)))
def test_the_jobs_of_a_plan_bring_exactly_the_versions(
    runs: list[dict[str, int]], there: dict[str, int], on_existing: OnExisting
) -> None:
    story = events(*runs)
    latest = {name: rows for run in runs for name, rows in run.items()}
    if there:
        story.put(LAB_EVENTS, there)

    plan = story.plan(a_request(target=INTO_LAB, on_existing=on_existing))

    if on_existing is OnExisting.FAIL and there.keys() & latest.keys():
        assert plan.conflicts
        return
    if plan.conflicts:
        assert on_existing is OnExisting.SKIP
        assert latest.keys() <= there.keys()
        return
    expected = {
        OnExisting.FAIL: there | latest,
        OnExisting.REPLACE: there | latest,
        OnExisting.SKIP: latest | there,
        OnExisting.APPEND: there | {name: rows + there.get(name, 0) for name, rows in latest.items()},
    }[on_existing]
    assert written_by(plan, story, there) == expected
    assert len(plan.items) <= len(latest), "never more jobs than one for each partition"


@given(runs=BACKUP_RUNS, there=THERE)
def test_planning_twice_is_planning_once(runs: list[dict[str, int]], there: dict[str, int]) -> None:
    story = events(*runs)
    story.put(LAB_EVENTS, there)
    request = a_request(target=INTO_LAB, on_existing=OnExisting.REPLACE)

    assert story.plan(request) == story.plan(request)
    assert story.plan(request).restore_id == story.plan(request).restore_id
