"""`bbq plan` and `bbq backup`: what is said, what is done, and what is refused before anything is done."""

from __future__ import annotations

import pytest

from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import CLIMATE, SHOP, VAULT, House

ORDERS, DAYS, VIEW = f"{SHOP}.sales.orders", f"{SHOP}.sales.days", f"{SHOP}.sales.view"

REFUSED = {
    "a text that is no table": (("nonsense",), "not a table: 'nonsense'"),
    "a table of a project that is no source": (("nope.sales.orders",), "nope is not a source in"),
    "a table that is not there": ((f"{SHOP}.sales.none",), f"{SHOP}.sales.none: there is no such table or partition"),
    "a partition that is not there": ((f"{DAYS}$19990101",), f"{DAYS}$19990101: there is no such table or partition"),
    "a view": ((VIEW,), f"{VIEW}: a view has no data of its own"),
    "a project that is no source": (("--project", "nope"), "nope is not a source in"),
    "a text that is no dataset": (("--dataset", "sales"), "not a dataset: 'sales'"),
    "a table and a project": ((ORDERS, "--project", SHOP), "TABLES and --project or --dataset were given"),
    "a project and a dataset": (
        ("--project", SHOP, "--dataset", f"{SHOP}.sales"),
        "--project and --dataset were given",
    ),
}


def copy_jobs(house: House) -> int:
    return sum(job.job_type == "copy" for job in house.bigquery.client(VAULT).list_jobs())


def test_plan_says_what_would_be_copied_and_why_and_copies_nothing(house: House, bbq: Bbq) -> None:
    answer = bbq("plan")

    assert answer.code == 0
    assert "4 units by 2 copy jobs into 2 backup tables" in answer.out
    assert f"  {ORDERS}: never backed up\n" in answer.out
    assert f"  {VIEW}: a view has no data of its own\n" in answer.out
    assert copy_jobs(house) == 0


def test_plan_as_json_has_every_list_with_every_reason(bbq: Bbq) -> None:
    answer = bbq("plan", "--json")

    plan = answer.json
    assert isinstance(plan, dict)
    assert list(plan) == [
        *("planned_at", "units", "copy_jobs", "estimated_calls", "forecast", "backups", "unfinished", "postponed"),
        *("flagged", "emptied", "vanished", "left_out", "not_looked_at", "unchanged"),
    ]
    assert (plan["units"], plan["copy_jobs"]) == (4, 2)
    assert [backup["source"] for backup in plan["backups"]] == [DAYS, ORDERS]
    assert {left["table"]: left["reason"] for left in plan["left_out"]} == {
        VIEW: "a view has no data of its own",
        f"{CLIMATE}.weather.rain": "empty, and never backed up: nothing to protect yet",
    }


def test_plan_shows_twelve_lines_of_a_list_and_all_of_them_on_demand(house: House, bbq: Bbq) -> None:
    house.sql("; ".join(f"CREATE VIEW `{SHOP}.sales.v{number:02}` AS SELECT 1 AS n" for number in range(20)))

    short, long = bbq("plan"), bbq("plan", "--all")

    assert "… and 10 more" in short.out
    assert "more" not in long.out
    assert f"{SHOP}.sales.v19" in long.out


def test_backup_makes_versions_and_a_second_one_has_nothing_to_do(house: House, bbq: Bbq) -> None:
    first, second = bbq("backup"), bbq("backup")

    assert (first.code, second.code) == (0, 0)
    assert ": 4 versions, 5 rows," in first.out
    assert ": 0 versions, 0 rows," in second.out
    assert len(house.versions(ORDERS, DAYS)) == 4
    assert copy_jobs(house) == 2


def test_backup_as_json_is_the_report_alone_and_progress_goes_to_standard_error(bbq: Bbq) -> None:
    answer = bbq("backup", "--json")

    report = answer.json
    assert isinstance(report, dict)
    assert list(report) == [
        *("run_id", "ok", "versions", "failures", "unfinished", "not_captured", "not_looked_at", "seconds"),
    ]
    assert report["ok"] is True
    assert sorted(version["unit"] for version in report["versions"]) == [
        *(f"{DAYS}$2026010{day}" for day in (1, 2, 3)),
        ORDERS,
    ]
    assert answer.err.startswith("copying: ")


def test_backup_of_a_table_copies_it_changed_or_not_and_nothing_else(house: House, bbq: Bbq) -> None:
    bbq("backup")

    answer = bbq("backup", ORDERS, f"{DAYS}$20260102")

    assert ": 2 versions, 3 rows," in answer.out
    assert sorted(version.unit.key for version in house.versions(ORDERS, DAYS)) == [
        *("days$20260101", "days$20260102", "days$20260102", "days$20260103", "orders", "orders"),
    ]


@pytest.mark.parametrize("command", ["plan", "backup"])
@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_backed_up_is_refused_by_name_and_nothing_is_copied(
    house: House, bbq: Bbq, command: str, arguments: tuple[str, ...], message: str
) -> None:
    answer = bbq(command, *arguments)

    assert answer.code == 2
    assert answer.out == ""
    assert message in answer.err
    assert "\nHINT: " in answer.err
    assert copy_jobs(house) == 0


def test_one_bad_name_among_good_ones_refuses_all_of_them(house: House, bbq: Bbq) -> None:
    answer = bbq("backup", ORDERS, f"{SHOP}.sales.none")

    assert answer.code == 2
    assert copy_jobs(house) == 0


@pytest.mark.parametrize("command", ["plan", "backup"])
def test_a_dataset_that_cannot_be_looked_at_makes_it_done_in_part(house: House, bbq: Bbq, command: str) -> None:
    match = {"call": "jobs.query", "sql": r"sales`?\.INFORMATION_SCHEMA"}
    house.bigquery.fault(match=match, action={"http_error": {"reason": "accessDenied", "message": "not you"}})

    answer = bbq(command, "--json")

    assert answer.code == 1
    assert isinstance(answer.json, dict)
    assert [failed["dataset"] for failed in answer.json["not_looked_at"]] == [f"{SHOP}.sales"]


def test_a_copy_that_bigquery_refuses_makes_a_backup_done_in_part_and_is_named(house: House, bbq: Bbq) -> None:
    refused = {"job_error": {"reason": "invalid", "message": "cannot be copied"}}
    house.bigquery.fault(match={"job_type": "copy", "source": ORDERS}, action=refused)

    answer = bbq("backup")

    assert answer.code == 1
    assert f"  {SHOP}.sales: orders: " in answer.out
    assert "cannot be copied" in answer.out
    assert len(house.versions(DAYS)) == 3


def test_a_project_that_cannot_be_listed_is_bigquery_saying_no(house: House, bbq: Bbq) -> None:
    refusal = {"http_error": {"reason": "accessDenied", "message": "no jobs for you"}}
    house.bigquery.fault(match={"call": "datasets.list"}, action=refusal)

    answer = bbq("plan")

    assert answer.code == 3
    assert answer.out == ""
    assert "no jobs for you" in answer.err
