"""`bbq verify`: the plan, the run, and its exit codes."""

from __future__ import annotations

from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import SHOP, VAULT, House

ORDERS = f"{SHOP}.sales.orders"


def test_it_plans_runs_and_tells_what_differs(bbq: Bbq, house: House) -> None:
    bbq("backup")
    planned = bbq("verify", "plan", ORDERS)
    first, second = bbq("verify", "run", ORDERS), bbq("verify", "run", ORDERS)
    (version,) = house.versions(ORDERS)
    house.sql(f"DELETE FROM `{version.backup}` WHERE n = 1", project=VAULT)
    damaged = bbq("verify", "run", ORDERS, "--json")
    status = bbq("status", "--json").json

    assert planned.code == 0
    assert "1 version of 1, 10.0 MiB to read at most" in planned.out
    assert (first.code, second.code) == (0, 0)
    assert "0 proven, 0 differs, 1 source_gone" in first.out, "the clock of `bbq` is months ahead of the house's"
    assert "1 proven, 0 differs" in second.out
    assert damaged.code == 1
    assert damaged.json["found"][0]["reason"] == "other rows: it has 1 rows, 2 were copied"
    assert {row["table"]: row["bad"] for row in status}[ORDERS] == 1


def test_a_table_without_versions_is_refused(bbq: Bbq) -> None:
    bbq("backup")
    answer = bbq("verify", "plan", f"{SHOP}.sales.none")

    assert answer.code == 2
    assert "has no version: nothing was verified" in answer.err


def test_the_plan_of_a_day_is_json_on_request(bbq: Bbq) -> None:
    bbq("backup")
    planned = bbq("verify", "plan", "--json").json

    assert planned["live"] == planned["never_proven"] == 4
    assert len(planned["verify"]) == 1
    assert len(planned["drills"]) == 1
