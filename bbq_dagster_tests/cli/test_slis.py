"""`bbq slis` and `bbq anomaly`: what they print, what they end with, and what they refuse."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bbq_dagster.core.tables import Unit
from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import SHOP, House
from bbq_dagster_tests.warehouse.stories import of_restore

ORDERS = f"{SHOP}.sales.orders"
DAYS = timedelta(days=3)


def test_all_is_well_after_a_backup(house: House, bbq: Bbq) -> None:
    house.back_up()

    answer = bbq("slis")

    assert answer.code == 0
    assert "all is protected as it should be" in answer.out
    assert "nothing has changed since its last version" in answer.out


@pytest.mark.usefixtures("house")
def test_what_was_never_backed_up_for_months_is_named(bbq: Bbq) -> None:
    answer = bbq("slis", "--project", SHOP)

    assert answer.code == 1
    assert f"\nnever backed up:\n  {SHOP}.sales.days$20260101: written" in answer.out
    assert "all of it" in answer.out


def test_slis_as_json_have_violations_and_rpos(house: House, bbq: Bbq) -> None:
    house.back_up()
    house.sql(f"INSERT `{ORDERS}` VALUES (3)")
    house.later(DAYS)

    report = bbq("slis", "--dataset", f"{SHOP}.sales", "--json").json

    assert isinstance(report, dict)
    assert [(v["sli"], v["subject"]) for v in report["violations"]] == [("unprotected", ORDERS)]
    assert [(rpo["table"], rpo["units"]) for rpo in report["rpos"]] == [(ORDERS, 1)]
    assert report["rpos"][0]["rpo_seconds"] > DAYS.total_seconds()


def test_slis_tell_how_long_restores_took(house: House, bbq: Bbq) -> None:
    house.back_up()
    orders, took = Unit.parse(ORDERS), timedelta(seconds=90)
    house.stack.catalog.append(
        [of_restore("r", False, orders, at=house.now), of_restore("r", True, orders, at=house.now + took)]
    )

    answer, of_weather = bbq("slis"), bbq("slis", "--dataset", "acme-climate.weather", "--json").json
    report = bbq("slis", "--project", SHOP, "--json").json

    assert f"  {ORDERS}   restore   2026-03-02 12:04:30   90.0 s    90.0 s" in answer.out
    assert isinstance(report, dict)
    assert report["rtos"] == [
        {
            "table": ORDERS,
            "by": "restore",
            "at": "2026-03-02T12:04:30+00:00",
            "rto_seconds": 90.0,
            "longest_seconds": 90.0,
        }
    ]
    assert isinstance(of_weather, dict)
    assert of_weather["rtos"] == []


def a_loss(house: House) -> None:
    house.sql(f"CREATE TABLE `{SHOP}.sales.big` AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, 1000)) AS n")
    house.back_up()
    house.sql(f"DELETE `{SHOP}.sales.big` WHERE n > 1")
    house.later()
    house.back_up()


def test_what_is_flagged_is_listed_and_released(house: House, bbq: Bbq) -> None:
    a_loss(house)

    listed = bbq("anomaly", "list", "--json").json
    status, of_tables = bbq("status"), bbq("status", "--json").json
    released = bbq("anomaly", "release", f"{SHOP}.sales.big")

    assert isinstance(listed, list)
    assert [(one["target"], one["reason"].split(" than ")[0]) for one in listed] == [
        (f"{SHOP}.sales.big", "1 rows, 100% fewer; 8 B, 100% less")
    ]
    assert "1 flagged, older versions are held: `bbq anomaly list`" in status.out
    assert isinstance(of_tables, list)
    assert {one["table"]: one["flagged"] for one in of_tables if one["flagged"]} == {f"{SHOP}.sales.big": listed}
    assert "flagged" not in bbq("status", "--project", "acme-climate").out
    assert released.code == 0
    assert bbq("anomaly", "list").out == "nothing is flagged\n"


def test_releasing_all_of_nothing_is_done(house: House, bbq: Bbq) -> None:
    house.back_up()

    assert bbq("anomaly", "release", "--all").code == 0
    assert bbq("anomaly", "release", ORDERS).code == 2
