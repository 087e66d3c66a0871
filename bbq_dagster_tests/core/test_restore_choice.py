"""Which versions a restore takes, on both sides of every boundary."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.restore_request import Partitions, RestoreRequest, Scope, Target, VersionWish, read_version_list
from bbq_dagster.core.versions import Absence
from bbq_dagster.errors import Refused
from bbq_dagster_tests.core.restoring import EVENTS, LAB, ORDERS, SALES, Story, a_request, at

MICROSECOND = timedelta(microseconds=1)


def told() -> Story:
    """orders on days 1, 2 and 4; events on days 1 and 3; refunds on day 1, gone on day 2; carts emptied on day 3."""
    story = Story()
    story.back_up(1, ORDERS, 10)
    story.back_up(2, ORDERS, 20)
    story.back_up(4, ORDERS, 40)
    story.back_up(1, EVENTS, {"20260101": 5, "20260102": 6})
    story.back_up(3, EVENTS, {"20260102": 7, "20260103": 8})
    story.back_up(1, SALES.table("refunds"), 3)
    story.lose(2, SALES.table("refunds").unit())
    story.back_up(1, SALES.table("carts"), 4)
    story.lose(3, SALES.table("carts").unit(), Absence.EMPTIED)
    return story


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        pytest.param(
            at(1), ["carts@1", "events$20260101@1", "events$20260102@1", "orders@1", "refunds@1"], id="at the capture"
        ),
        pytest.param(
            at(2) - MICROSECOND,
            ["carts@1", "events$20260101@1", "events$20260102@1", "orders@1", "refunds@1"],
            id="just before the next version, and before it was seen to be gone",
        ),
        pytest.param(
            at(2), ["carts@1", "events$20260101@1", "events$20260102@1", "orders@2"], id="at the next: one is gone"
        ),
        pytest.param(
            at(3), ["events$20260101@1", "events$20260102@3", "events$20260103@3", "orders@2"], id="one is emptied"
        ),
        pytest.param(
            None, ["events$20260101@1", "events$20260102@3", "events$20260103@3", "orders@4"], id="the latest"
        ),
    ],
)
def test_of_each_unit_the_newest_version_of_then_or_before(as_of: object, expected: list[str]) -> None:
    choice = told().choose(a_request(as_of=as_of))

    assert [chosen.version.version_id for chosen in choice.chosen] == expected
    assert choice.faults == ()


def test_what_was_gone_then_and_came_back_later_is_there_later_only() -> None:
    story = told()
    story.back_up(5, SALES.table("refunds"), 9)

    assert "refunds@5" in [c.version.version_id for c in story.choose(a_request()).chosen]
    assert "refunds" not in str([c.version.version_id for c in story.choose(a_request(as_of=at(4))).chosen])


def test_what_is_left_out_says_why() -> None:
    left = {item.unit.key: item.reason for item in told().choose(a_request(as_of=at(3))).left_out}

    assert left == {
        "refunds": "it had vanished by 2026-01-03 12:00:00 UTC",
        "carts": "it had been emptied by 2026-01-04 12:00:00 UTC; its last good version can be restored by its id",
    }


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(RestoreRequest(), "nothing is named", id="nothing named"),
        pytest.param(a_request(as_of=at(10) + MICROSECOND), "is in the future", id="in the future"),
        pytest.param(
            a_request(as_of=at(1) - MICROSECOND), "the first one was captured at 2026-01-02 12:00:00", id="before all"
        ),
        pytest.param(a_request("acme-shop.sales.typo"), "no version on record has that name", id="unknown table"),
        pytest.param(a_request("acme-shop.typo"), "nothing of acme-shop.typo is on record", id="unknown dataset"),
        pytest.param(
            a_request("acme-shop.sales.events$20250101"), "no version on record has that name", id="unknown partition"
        ),
        pytest.param(a_request("acme-shop.sales.refunds"), "was empty or gone by then", id="gone by then"),
        pytest.param(RestoreRequest(versions=(VersionWish("typo"),)), "there is no version typo", id="unknown version"),
        pytest.param(
            RestoreRequest(versions=(VersionWish("orders@1"),), as_of=at(1)), "no table, instant", id="id and instant"
        ),
        pytest.param(
            RestoreRequest(versions=(VersionWish("orders@1"), VersionWish("orders@1"))), "named twice", id="twice"
        ),
        pytest.param(a_request(partitions=Partitions(first="x")), "'x' is no partition id", id="a bound that is no id"),
        pytest.param(
            a_request(partitions=Partitions(first="2", last="1")), "is after the last one", id="bounds crossed"
        ),
        pytest.param(a_request(partitions=Partitions(last_days=0)), "the last 0 days are none", id="no days"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(request_: RestoreRequest, expected: str) -> None:
    choice = told().choose(request_)

    assert not choice.chosen
    assert any(expected in fault for fault in choice.faults), choice.faults


def test_all_faults_are_named_at_once() -> None:
    choice = told().choose(a_request("acme-shop.sales.typo", "acme-shop.sales.other", "acme-shop.sales.orders"))

    assert [fault.partition(":")[0] for fault in choice.faults] == ["acme-shop.sales.typo", "acme-shop.sales.other"]


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        pytest.param(Partitions(), ["20260108", "20260109", "20260110", "202601", "2026011012", "__NULL__"], id="all"),
        pytest.param(Partitions(ids=("20260109", "__NULL__")), ["20260109", "__NULL__"], id="by their ids"),
        pytest.param(Partitions(first="20260109", last="20260110"), ["20260109", "20260110"], id="both ends included"),
        pytest.param(Partitions(last_days=1), ["20260110", "202601", "2026011012"], id="the day of the restore"),
        pytest.param(
            Partitions(last_days=2), ["20260109", "20260110", "202601", "2026011012"], id="and the day before"
        ),
    ],
)
def test_partitions_are_taken_by_id_range_or_days(partitions: Partitions, expected: list[str]) -> None:
    every = ["20260108", "20260109", "20260110", "202601", "2026011012", "__NULL__"]

    taken = [name for name in every if partitions.take(name, at=at(9), by_number=False)]

    assert taken == expected


def test_days_do_not_limit_partitions_by_number() -> None:
    assert Partitions(last_days=1).take("17", at=at(9), by_number=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("acme-shop.sales", Scope(SALES), id="dataset"),
        pytest.param("acme-shop.sales.orders", Scope(SALES, "orders"), id="table"),
        pytest.param("acme-shop.sales.ord*", Scope(SALES, "ord*"), id="pattern"),
        pytest.param("acme-shop.sales.events$20260101", Scope(SALES, "events", "20260101"), id="partition"),
    ],
)
def test_what_is_named_is_read_and_shown(text: str, expected: Scope) -> None:
    assert Scope.parse(text) == expected
    assert str(expected) in (text, f"{text}.*")


@pytest.mark.parametrize("text", ["", "sales", "acme-shop", "acme-shop.sales.", "acme-shop.sales.events$", "a b.c.d"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        Scope.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('["a", {"version": "b", "table": "t"}]', [("a", None), ("b", "t")], id="JSON"),
        pytest.param("version,table\na,\nb,t\n", [("a", None), ("b", "t")], id="CSV"),
        pytest.param("version\na\n", [("a", None)], id="CSV without tables"),
    ],
)
def test_a_list_of_versions_is_read(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert [(wish.version_id, wish.table) for wish in read_version_list(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "no versions", id="empty"),
        pytest.param("[]", "no versions", id="empty array"),
        pytest.param("[1]", "entry 1", id="a number"),
        pytest.param('[{"version": ""}]', "entry 1", id="empty id"),
        pytest.param('[{"version": "a", "tabel": "t"}]', "'tabel'", id="unknown field"),
        pytest.param('{"version": "a"}', "no JSON array", id="no array"),
        pytest.param('["a"', "no JSON", id="cut off"),
        pytest.param("id\na\n", "has no version", id="another header"),
    ],
)
def test_a_list_that_is_none_is_refused(text: str, expected: str) -> None:
    with pytest.raises(Refused, match=expected):
        read_version_list(text)


def test_only_names_that_are_not_given_get_prefix_and_suffix() -> None:
    target = Target(project=LAB, dataset="was", prefix="old_", suffix="_1", names=(("orders", "sold"),))

    assert str(target.of(EVENTS)) == "acme-lab.was.old_events_1"
    assert str(target.of(ORDERS)) == "acme-lab.was.sold"
    assert str(target.of(ORDERS, named="this")) == "acme-lab.was.this"


DAYS = st.lists(st.integers(0, 8), min_size=1, max_size=6, unique=True)


@given(versions=DAYS, gone=DAYS, as_of=st.integers(0, 9))
def test_a_unit_is_restored_iff_it_was_there(versions: list[int], gone: list[int], as_of: int) -> None:
    """The last thing on record of it by then is a version; an absence in the same instant ends nothing."""
    story = Story()
    for day in versions:
        story.back_up(day, ORDERS, day + 1)
    for day in gone:
        story.lose(day + 0.5, ORDERS.unit())
    happened = [(day, f"orders@{day}") for day in versions] + [(day + 0.5, "gone") for day in gone]
    by_then = sorted(pair for pair in happened if pair[0] <= as_of)
    since_the_first = [name for _, name in by_then]

    chosen = [c.version.version_id for c in story.choose(a_request(as_of=at(as_of))).chosen]

    expected = [name for name in since_the_first[-1:] if name != "gone"]
    assert chosen == expected


@given(order=st.permutations(range(9)), as_of=st.integers(0, 9))
def test_the_order_of_the_record_does_not_matter(order: list[int], as_of: int) -> None:
    story, shuffled = told(), told()
    shuffled.versions = [story.versions[place] for place in order if place < len(story.versions)]
    shuffled.absences.reverse()

    assert shuffled.choose(a_request(as_of=at(as_of))) == story.choose(a_request(as_of=at(as_of)))
