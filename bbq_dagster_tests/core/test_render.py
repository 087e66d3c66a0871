"""A plan in words: one golden that shows all its parts, and what is cut where a plan is long."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bbq_dagster.core.inventory import UnitState
from bbq_dagster.core.plan import BackupPlan, DatasetFailure, ProjectFailure, Quota, plan_backup
from bbq_dagster.core.render import plan_as_json, render_plan, summary
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, DatasetRef
from bbq_dagster_tests.core.strategies import (
    BACKUPS,
    CAPTURED,
    EMPTY,
    EVENTS,
    HOUR,
    NOW,
    ORDERS,
    SALES,
    a_copy,
    a_dataset,
    a_partitioned_table,
    a_record,
    a_scan,
    a_state,
    a_table,
    a_version,
    days,
    planned,
)

GOLDEN = Path(__file__).parent / "goldens" / "plan.txt"


def a_plan_of_everything() -> BackupPlan:
    clicks, carts, gone, refunds, zebra = (
        SALES.table(name) for name in ("clicks", "carts", "gone", "refunds", "zebra")
    )
    visits = DatasetRef("acme-shop", "web").table("visits")
    written = a_state(modified_at=NOW - HOUR)
    partitions = days(20)
    sales = a_scan(
        a_table(ORDERS, a_state(rows=12_345)),
        a_table(clicks, EMPTY),
        a_table(carts),
        a_table(SALES.table("tmp_1")),
        a_table(SALES.table("view"), kind="VIEW"),
        a_table(refunds),
        a_table(zebra, written),
        a_partitioned_table(),
        partitions=[
            *(UnitState(unit, a_state(rows=11)) for unit in partitions[:4]),
            UnitState(partitions[4], written),
            *(UnitState(unit, a_state()) for unit in partitions[5:]),
            UnitState(EVENTS.unit(UNPARTITIONED), written),
        ],
        record=a_record(
            *(a_version(table.unit()) for table in (ORDERS, clicks, carts, gone)),
            a_version(zebra.unit(), captured_at=CAPTURED + HOUR),
            *(a_version(unit) for unit in partitions),
            unfinished=[a_copy(refunds.unit())],
        ),
        excluded=[SALES.table("tmp_1")],
    )
    web = a_scan(
        a_partitioned_table(visits),
        partitions=[UnitState(visits.unit(one), a_state()) for one in ("20260130", "20260131", NULL_PARTITION)],
        dataset=a_dataset(visits.in_dataset, location="US"),
    )
    return plan_backup(
        [(scan.changes(), scan.record) for scan in (sales, web)],
        into=BACKUPS,
        now=NOW,
        quota=Quota(8, 10_000),
        failures=[DatasetFailure(DatasetRef("acme-shop", "secret"), "access denied")],
    )


def test_a_plan_reads_as_the_golden() -> None:
    assert f"{a_plan_of_everything()}\n" == GOLDEN.read_text()


def test_an_empty_plan_is_its_summary_alone() -> None:
    plan = planned(a_scan())

    assert str(plan) == summary(plan)
    assert summary(plan) == (
        "plan of 2026-02-01 02:15 UTC: 0 units by 0 copy jobs into 0 backup tables; 0 unchanged, 0 not now,"
        " 0 emptied, 0 vanished, 0 left out; about 0 API calls"
    )


def test_what_could_not_be_looked_at_is_counted_and_named() -> None:
    plan = replace(
        planned(a_scan()),
        failures=(DatasetFailure(SALES, "access denied"),),
        projects_failed=(ProjectFailure("acme-web", "no such project"), ProjectFailure("acme-x", "denied")),
    )

    assert ", 1 dataset not looked at, 2 projects not looked at; about" in summary(plan)
    assert str(plan).splitlines()[1:] == [
        "",
        "not looked at:",
        "  acme-web: no such project",
        "  acme-x: denied",
        "  acme-shop.sales: access denied",
    ]
    assert not plan.is_complete


def test_a_plan_is_complete_where_all_was_looked_at() -> None:
    assert planned(a_scan()).is_complete
    assert not replace(planned(a_scan()), failures=(DatasetFailure(SALES, "access denied"),)).is_complete
    assert not replace(planned(a_scan()), projects_failed=(ProjectFailure("acme-x", "denied"),)).is_complete


def test_one_is_not_plural() -> None:
    plan = planned(a_scan(a_table()))

    assert "1 unit by 1 copy job into 1 backup table; " in summary(plan)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(1, "20240101: never backed up", id="one"),
        pytest.param(3, "events$20240101, events$20240102, events$20240103: never backed up", id="three are named"),
        pytest.param(4, "events$20240101 … events$20240104 (4): never backed up", id="four are counted"),
    ],
)
def test_units_with_the_same_reason_share_a_line(count: int, expected: str) -> None:
    scan = a_scan(a_partitioned_table(), partitions=[UnitState(unit, a_state()) for unit in days(count)])

    lines = str(planned(scan)).splitlines()
    assert lines[-1].endswith(expected)
    assert len([line for line in lines if "never backed up" in line]) == 1


def test_units_between_which_the_reason_changes_still_share_their_lines() -> None:
    seen = [UnitState(unit, a_state(rows=11 + place % 2)) for place, unit in enumerate(days(4))]
    record = a_record(*(a_version(unit) for unit in days(4)))

    lines = str(planned(a_scan(a_partitioned_table(), partitions=seen, record=record))).splitlines()
    assert [line.strip() for line in lines[-2:]] == [
        "events$20240101, events$20240103: 11 rows, the last backup has 10",
        "events$20240102, events$20240104: 12 rows, the last backup has 10",
    ]


@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [
        pytest.param(12, 12, 12, id="as many as the limit"),
        pytest.param(13, 12, 13, id="one more: a line for the rest"),
        pytest.param(40, 12, 13, id="many more: a line for the rest"),
        pytest.param(40, None, 40, id="no limit"),
    ],
)
def test_a_long_list_is_cut_and_says_how_much(count: int, limit: int | None, expected: int) -> None:
    scan = a_scan(*(a_table(SALES.table(f"v{place}"), kind="VIEW") for place in range(count)))

    text = render_plan(planned(scan), limit=limit)
    assert len(text.partition("left out:\n")[2].splitlines()) == expected
    assert (f"… and {count - 12:,} more" in text) is (expected == 13)


def test_the_copies_of_a_plan_are_cut_like_any_other_list() -> None:
    scan = a_scan(*(a_table(SALES.table(f"t{place:05}")) for place in range(1_000)))

    text = render_plan(planned(scan), limit=12)
    assert len(text.splitlines()) < 50
    assert "988 more" in text


def test_a_plan_as_json_has_everything_with_its_reason() -> None:
    plan = a_plan_of_everything()
    document = json.loads(json.dumps(plan_as_json(plan)))

    assert document == plan_as_json(plan)
    assert document["units"] == len(plan.units)
    assert document["copy_jobs"] == sum(len(backup["copies"]) for backup in document["backups"]) + 1
    assert document["backups"][0]["copies"][0]["units"][0] == {
        "unit": "acme-shop.web.visits$20260130",
        "reason": "never backed up",
        "rows": 10,
        "size_bytes": 100,
    }
    assert document["unfinished"][0]["source"] == "acme-shop.sales.refunds"
    assert document["emptied"] == [
        {"unit": "acme-shop.sales.clicks", "reason": "emptied, it had 10 rows: the last good version is kept"}
    ]
    assert document["vanished"] == [{"unit": "acme-shop.sales.gone", "reason": "the table is gone"}]
    assert document["not_looked_at"] == [{"dataset": "acme-shop.secret", "message": "access denied"}]
    assert {item["table"] for item in document["left_out"]} == {"acme-shop.sales.tmp_1", "acme-shop.sales.view"}
    assert {item["unit"] for item in document["postponed"]} == {
        "acme-shop.sales.zebra",
        "acme-shop.sales.events$__UNPARTITIONED__",
    }
