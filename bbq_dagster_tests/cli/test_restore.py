"""`bbq restore` as its user meets it: from the plan to the status, what failed with its message, and big ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import SHOP, House

ORDERS = f"{SHOP}.sales.orders"
MANY = 20


@pytest.fixture
def plan(house: House, bbq: Bbq, tmp_path: Path) -> Path:
    """The file of a plan that brings a dropped table back."""
    assert house.back_up().ok
    house.bigquery.client(SHOP).delete_table(ORDERS)
    file = tmp_path / "plan.json"
    assert bbq("restore", "plan", ORDERS, "-o", str(file)).code == 0
    return file


def id_of(bbq: Bbq, plan: Path) -> str:
    return str(bbq("restore", "apply", str(plan), "--json").json["restore_id"])  # type: ignore[index]


def test_an_older_plan_is_not_taken_for_one_that_could_not_be_made(house: House, bbq: Bbq, plan: Path) -> None:
    house.sql(f"CREATE TABLE `{ORDERS}` AS SELECT 7 AS n")

    answer = bbq("restore", "plan", ORDERS, "-o", str(plan))

    assert answer.code == 2
    assert f"nothing was written: {plan} is an older plan, not this one" in answer.err


def test_a_dropped_table_is_planned_restored_and_done(house: House, bbq: Bbq, plan: Path) -> None:
    restored = bbq("restore", "apply", str(plan))
    status = bbq("restore", "status", restored.out.partition(":")[0])

    assert restored.code == status.code == 0
    assert "1 restored, 2 rows" in restored.out
    assert "0 pending, 0 in progress, 1 done, 0 failed" in status.out
    assert house.sql(f"SELECT COUNT(*) FROM `{ORDERS}`") == [(2,)]


def test_what_failed_is_shown_with_the_message_of_bigquery_and_done_by_the_next_apply(
    house: House, bbq: Bbq, plan: Path
) -> None:
    refused = {"job_error": {"reason": "invalid", "message": "cannot be copied today"}}
    house.bigquery.fault(match={"job_type": "copy"}, action=refused, times=1)

    first = bbq("restore", "apply", str(plan))
    failed = bbq("restore", "status", first.out.partition(":")[0], "--failed")
    second = bbq("restore", "apply", str(plan))

    assert (first.code, failed.code, second.code) == (1, 1, 0)
    assert "cannot be copied today" in first.out
    assert "cannot be copied today" in failed.out
    assert "1 restored" in second.out


def test_a_plan_that_was_done_before_is_not_done_again_and_says_what_now(bbq: Bbq, plan: Path) -> None:
    bbq("restore", "apply", str(plan))
    again = bbq("restore", "apply", str(plan))

    assert again.code == 0
    assert "HINT: this plan was done before" in again.err


def test_of_a_big_restore_twelve_items_of_each_state_are_shown_unless_all_are_asked_for(
    house: House, bbq: Bbq, tmp_path: Path
) -> None:
    house.bigquery.multiply(ORDERS, MANY)
    assert house.back_up().ok
    for number in range(MANY):
        house.bigquery.client(SHOP).delete_table(f"{ORDERS}_{number}")
    assert bbq("restore", "plan", f"{ORDERS}_*", "-o", str(tmp_path / "plan.json")).code == 0
    restore_id = id_of(bbq, tmp_path / "plan.json")

    some, every = bbq("restore", "status", restore_id), bbq("restore", "status", restore_id, "--all")

    assert f"12 of {MANY} items are shown; --all shows every one" in some.out
    assert some.out.count("orders_") == 2 * 12
    assert every.out.count("orders_") == 2 * MANY


def test_a_plan_says_what_is_left_out_in_a_line_for_each_table_and_reason(house: House, bbq: Bbq) -> None:
    assert house.back_up().ok

    shown = bbq("restore", "plan", f"{SHOP}.sales.days", "--partition", "20260101", "--on-existing", "replace")

    assert f"{SHOP}.sales.days$20260102 … days$20260103 (2): not among the partitions" in shown.out


@pytest.mark.parametrize("command", ["plan", "apply", "status"])
def test_help_has_an_example(anywhere: Bbq, command: str) -> None:
    said = anywhere("restore", command, "--help").out

    assert f"\n  bbq restore {command} " in said or f"\n    bbq restore {command} " in said
