"""`bbq status` and `bbq versions`: what the catalog says, and that it says so where it says nothing."""

from __future__ import annotations

import pytest

from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import SHOP, House

ORDERS, DAYS = f"{SHOP}.sales.orders", f"{SHOP}.sales.days"


def test_status_shows_each_table_with_its_units_rows_and_times(house: House, bbq: Bbq) -> None:
    house.back_up()

    answer = bbq("status")

    rows = [line.split() for line in answer.out.splitlines() if line.startswith(f"  {SHOP}")]
    assert answer.code == 0
    assert [(row[0], row[1], row[2]) for row in rows] == [(DAYS, "3", "3"), (ORDERS, "1", "2")]
    assert answer.out.splitlines()[-1].startswith("2 tables, 4 units, 5 rows, ")


def test_status_as_json_has_one_object_per_table(house: House, bbq: Bbq) -> None:
    house.back_up()

    statuses = bbq("status", "--json").json

    assert isinstance(statuses, list)
    assert [list(status) for status in statuses] == 2 * [
        [
            *("table", "units", "rows", "size_bytes", "newest_at", "oldest_at", "gone", "failed", "unfinished"),
            *("looked_at", "proven_at", "bad", "flagged"),
        ]
    ]
    assert [(status["table"], status["units"]) for status in statuses] == [(DAYS, 3), (ORDERS, 1)]
    assert statuses[0]["newest_at"].endswith("+00:00")


def test_status_says_where_the_errors_are_when_a_copy_failed(house: House, bbq: Bbq) -> None:
    refused = {"job_error": {"reason": "invalid", "message": "cannot be copied"}}
    house.bigquery.fault(match={"job_type": "copy", "source": ORDERS}, action=refused)
    house.back_up()

    answer = bbq("status")

    assert "; 1 with failures: `bbq catalog history` has the errors" in answer.out
    assert "cannot be copied" in bbq("catalog", "history").out


def test_status_of_one_project_leaves_the_others_out(house: House, bbq: Bbq) -> None:
    house.back_up()

    answer = bbq("status", "--project", "acme-climate")

    assert answer.out.startswith("nothing is protected yet\nHINT: ")


def test_status_of_a_project_that_nobody_knows_is_refused(house: House, bbq: Bbq) -> None:
    house.back_up()

    answer = bbq("status", "--project", "nope")

    assert answer.code == 2
    assert "nope is not a source in" in answer.err


@pytest.mark.parametrize("arguments", [("status",), ("versions", ORDERS), ("catalog", "history")], ids=" ".join)
def test_a_catalog_that_was_never_made_is_named_and_not_made(
    house: House, bbq: Bbq, arguments: tuple[str, ...]
) -> None:
    answer = bbq(*arguments)

    assert answer.code == 3
    assert answer.out == ""
    assert answer.err.startswith(
        "error: there is no catalog acme-vault.bbq_catalog in EU\nHINT: the first `bbq backup`"
    )
    assert list(house.bigquery.client("acme-vault").list_datasets()) == []


def test_versions_are_listed_newest_first(house: House, bbq: Bbq) -> None:
    house.back_up()
    house.sql(f"INSERT INTO `{ORDERS}` SELECT 3")
    house.back_up()

    answer = bbq("versions", ORDERS)

    rows = [line.split() for line in answer.out.splitlines() if line.startswith("  orders")]
    assert answer.code == 0
    assert [row[3] for row in rows] == ["3", "2"]


def test_versions_of_one_partition_leave_the_others_out(house: House, bbq: Bbq) -> None:
    house.back_up()

    found = bbq("versions", f"{DAYS}$20260102", "--json").json

    assert isinstance(found, list)
    assert [version["unit"] for version in found] == [f"{DAYS}$20260102"]
    assert list(found[0]) == [
        *("version_id", "unit", "backup", "location", "captured_at", "rows", "size_bytes", "source"),
        *("source_created_at", "job_id", "reason", "whole_table", "recorded_at", "run_id", "options", "schema"),
    ]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        pytest.param(f"{SHOP}.sales.none", "it was never backed up\nHINT: `bbq plan '", id="never backed up"),
        pytest.param(f"{DAYS}$19990101", "the 3 units of its table that have some are others", id="no such partition"),
        pytest.param("nope.sales.orders", "nope is not a source in ", id="no source"),
    ],
)
def test_a_table_without_versions_is_said_to_have_none_and_why(house: House, bbq: Bbq, table: str, why: str) -> None:
    house.back_up()

    answer, as_json = bbq("versions", table), bbq("versions", table, "--json")

    assert (answer.code, as_json.code) == (1, 1)
    assert answer.out.startswith(f"{table} has no versions: {why}")
    assert as_json.json == []
