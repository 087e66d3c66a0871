"""`bbq retention`, `bbq hold` and `bbq undelete` as they are typed."""

from __future__ import annotations

import pytest

from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import SHOP, House

ORDERS = f"{SHOP}.sales.orders"
RULES = "defaults: {policy: {retention: {keep_last: 1}}}\n"


@pytest.fixture
def shop(house: House) -> House:
    """Three versions of orders, and settings that keep one; the clock of `bbq` is years ahead of that of the house."""
    path = house.stack.settings.path
    text = path.read_text().replace("limits: {", "limits: {retention_max_scan_age_hours: 8760, ")
    path.write_text(RULES + text)
    for day in range(3):
        house.sql(f"INSERT `{ORDERS}` VALUES ({day})")
        house.back_up()
    return house


def test_the_plan_says_what_goes_and_why_and_changes_nothing(shop: House, bbq: Bbq) -> None:
    answer = bbq("retention", "plan")

    assert answer.code == 0
    assert "delete 2 of 6 versions" in answer.out
    assert answer.out.count("beyond keep_last 1") == 2
    assert len(shop.versions(ORDERS)) == 3


def test_what_is_shown_can_be_approved_and_applied(shop: House, bbq: Bbq) -> None:
    shown = bbq("retention", "plan", "--json").json
    assert isinstance(shown, dict)

    refused = bbq("retention", "apply", "--approve", "0123456789abcdef")
    answer = bbq("retention", "apply", "--approve", shown["digest"], "--json")

    assert refused.code == 2
    assert "nothing was deleted" in refused.err
    assert answer.code == 0
    assert isinstance(answer.json, dict)
    assert sorted(answer.json["deleted"]) == sorted(line["version_id"] for line in shown["delete"])
    assert len(shop.versions(ORDERS)) == 1


def test_what_could_not_be_deleted_is_named_and_the_run_is_done_in_part(shop: House, bbq: Bbq) -> None:
    denied = {"http_error": {"reason": "accessDenied"}}
    shop.bigquery.fault(match={"call": "tables.delete"}, action=denied, times=1)
    answer = bbq("retention", "apply")

    assert answer.code == 1
    assert "1 versions deleted" in answer.out
    assert "1 places could not be deleted" in answer.out


def test_a_hold_is_placed_listed_and_released(shop: House, bbq: Bbq) -> None:
    placed = bbq("hold", "add", ORDERS, "--owner", "ada", "--reason", "audit", "--until", "2099-12-31", "--json").json
    assert isinstance(placed, dict)
    held = bbq("retention", "plan").out
    listed = bbq("hold", "list").out
    released = bbq("hold", "release", placed["hold_id"])

    assert "delete 0 of 6 versions" in held
    assert "held: audit, by ada, until 2099-12-31 00:00" in held
    assert placed["hold_id"] in listed
    assert released.code == 0
    assert bbq("hold", "list").out == "nothing is held\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("hold", "add", "a.b.c", "--reason", ""), "needs an owner and a reason", id="no reason"),
        pytest.param(("hold", "add", "nope.x", "--reason", "r"), "not a table", id="no table"),
        pytest.param(("hold", "add", "abc123", "--reason", "r"), "there is no version abc123", id="no version"),
        pytest.param(("hold", "add", ORDERS, "--reason", "r", "--until", "soon"), "not a time: 'soon'", id="no time"),
        pytest.param(("hold", "add", ORDERS, "--reason", "r", "--until", "2020-01-01"), "is past", id="past"),
        pytest.param(("hold", "release", "abc"), "there is no hold abc", id="no hold"),
        pytest.param(("undelete", "abc"), "there was never a version abc", id="no version to bring back"),
        pytest.param(("retention", "plan", "--project", "nope"), "nope is not a source", id="no source"),
    ],
)
def test_what_makes_no_sense_is_refused(shop: House, bbq: Bbq, arguments: tuple[str, ...], expected: str) -> None:
    answer = bbq(*arguments)

    assert answer.code == 2
    assert expected in answer.err


def test_a_policy_without_a_rule_is_refused(shop: House, bbq: Bbq) -> None:
    path = shop.stack.settings.path
    path.write_text(path.read_text().replace("keep_last: 1", "keep_last: 0"))
    answer = bbq("retention", "apply")

    assert answer.code == 2
    assert "has no rule that keeps anything: nothing was deleted" in answer.err
