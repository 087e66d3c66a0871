"""`bbq retention`, `bbq hold` and `bbq undelete` as they are typed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.cli.conftest import Bbq, furnished
from bbq_dagster_tests.e2e.house import SHOP, House

ORDERS = f"{SHOP}.sales.orders"
SALES = DatasetRef(SHOP, "sales")
RULES = "defaults: {policy: {retention: {keep_last: 1}}}\n"


@pytest.fixture
def shop(house: House) -> House:
    return three_versions(house)


def three_versions(house: House) -> House:
    """Of orders, and settings that keep one; the clock of `bbq` is years ahead of that of the house."""
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
    assert "1 version deleted" in answer.out
    assert "1 place could not be deleted" in answer.out


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


@pytest.fixture
def deleted(shop: House, bbq: Bbq) -> str:
    """The run that deleted two versions of orders, by the clock of `bbq`."""
    shop.bigquery.use_real_clock()
    answer = bbq("retention", "apply", "--json").json
    assert isinstance(answer, dict)
    return str(answer["run_id"])


def test_what_a_run_deleted_can_be_looked_at_and_brought_back(shop: House, deleted: str, bbq: Bbq) -> None:
    shown = bbq("undelete", "--run", deleted, "--dry-run")
    meanwhile = len(shop.versions(ORDERS))
    answer = bbq("undelete", "--run", deleted)

    assert "2 versions from 2 backup tables; 0 cannot be brought back" in shown.out
    assert meanwhile == 1
    assert answer.code == 0
    assert "2 versions back, 0 not" in answer.out
    assert "bbq hold add" in answer.err
    assert len(shop.versions(ORDERS)) == 3


def test_what_cannot_come_back_is_named_beside_what_does(shop: House, deleted: str, bbq: Bbq) -> None:
    plan = bbq("undelete", "nobody", "--table", ORDERS, "--dry-run", "--json").json
    answer = bbq("undelete", "nobody", "--table", ORDERS, "--json")

    assert isinstance(plan, dict)
    assert isinstance(answer.json, dict)
    assert answer.code == 1
    assert {item["version_id"] for item in plan["bring_back"]} == {item["version_id"] for item in answer.json["back"]}
    assert len(answer.json["back"]) == 2
    assert [item["version_id"] for item in answer.json["refused"]] == ["nobody"]
    assert (answer.json["ok"], answer.json["failures"]) == (False, [])


def test_what_was_deleted_is_in_the_history_with_its_id(shop: House, deleted: str, bbq: Bbq) -> None:
    events = bbq("catalog", "history", "--event", "version_deleted", "--json").json
    shown = bbq("catalog", "history", "--event", "version_deleted").out

    assert isinstance(events, list)
    assert {event["event"] for event in events} == {"version_deleted"}
    assert {event["run_id"] for event in events} == {deleted}
    assert all(event["version_id"] in shown for event in events)


def test_status_says_when_a_dataset_was_last_looked_at(shop: House, bbq: Bbq) -> None:
    statuses = bbq("status", "--json").json

    assert isinstance(statuses, list)
    assert {line["looked_at"] for line in statuses} == {shop.stack.catalog.records(None)[SALES].scanned_at.isoformat()}  # type: ignore[union-attr]
    assert "last looked at" in bbq("status").out


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A shop that no test changes."""
    with LocalBigQuery() as bigquery:
        yield three_versions(furnished(bigquery, tmp_path_factory.mktemp("untouched")))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("hold", "add", "a.b.c", "--reason", ""), "needs an owner and a reason", id="no reason"),
        pytest.param(("hold", "add", "nope.x", "--reason", "r"), "not a table", id="no table"),
        pytest.param(("hold", "add", "abc123", "--reason", "r"), "there is no version abc123", id="no version"),
        pytest.param(("hold", "add", ORDERS, "--reason", "r", "--until", "soon"), "not a time: 'soon'", id="no time"),
        pytest.param(("hold", "add", ORDERS, "--reason", "r", "--until", "2020-01-01"), "is past", id="past"),
        pytest.param(("hold", "release", "abc"), "there is no hold abc", id="no hold"),
        pytest.param(("undelete", "abc"), "abc: there was never such a version", id="no version to bring back"),
        pytest.param(("undelete",), "nothing is named", id="nothing to bring back"),
        pytest.param(("undelete", "--run", "r"), "was deleted by run r in the last 7 days", id="no such run"),
        pytest.param(("retention", "plan", "--project", "nope"), "nope is not a source", id="no source"),
    ],
)
def test_what_makes_no_sense_is_refused(
    untouched: House, anywhere: Bbq, arguments: tuple[str, ...], expected: str
) -> None:
    answer = anywhere("--config", str(untouched.stack.settings.path), *arguments)

    assert answer.code == 2
    assert expected in answer.err


def test_a_policy_without_a_rule_is_refused(shop: House, bbq: Bbq) -> None:
    path = shop.stack.settings.path
    path.write_text(path.read_text().replace("keep_last: 1", "keep_last: 0"))
    answer = bbq("retention", "apply")

    assert answer.code == 2
    assert "has no rule that keeps anything: nothing was deleted" in answer.err
