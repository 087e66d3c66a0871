"""What counts as not protected, on both sides of each limit; the RPO of a table; and what holds for every scan."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings

from bbq_dagster.core.inventory import State, UnitState
from bbq_dagster.core.plan import DatasetFailure, ProjectFailure
from bbq_dagster.core.slis import Sli, SliLimits, SliReport, TableRpo, Violation, measure
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster_tests.core import strategies as some
from bbq_dagster_tests.core.strategies import (
    EVENTS,
    HOUR,
    MILLISECOND,
    NOW,
    ORDERS,
    SALES,
    Scan,
    a_copy,
    a_partitioned_table,
    a_record,
    a_scan,
    a_state,
    a_table,
    a_version,
    days,
)

DAY = 24 * HOUR
LIMITS = SliLimits(protected_within=2 * DAY, unmodified_for=3 * DAY, copies_failed=3)
OLD = NOW - 10 * DAY


def measured(*scans: Scan, limits: SliLimits = LIMITS) -> SliReport:
    return measure([(scan.changes(now=NOW), scan.record) for scan in scans], now=NOW, limits=limits)


def orders(modified_at: datetime | None, *, rows: int = 10, captured_at: datetime = OLD, failures: int = 0) -> Scan:
    """``orders`` with a version, and so many failed copies since."""
    unit = ORDERS.unit()
    record = a_record(a_version(unit, captured_at=captured_at), failures={unit: failures} if failures else None)
    return a_scan(a_table(state=a_state(rows, rows * 10, modified_at)), record=record)


def found(report: SliReport) -> list[tuple[Sli, str]]:
    return [(violation.sli, violation.reason) for violation in report.violations]


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        pytest.param(orders(NOW - 2 * DAY), [], id="changed exactly as long ago as it may be"),
        pytest.param(
            orders(NOW - 2 * DAY - MILLISECOND),
            [(Sli.UNPROTECTED, "written 2026-01-30 02:14, 48 hours ago")],
            id="changed longer ago",
        ),
        pytest.param(orders(OLD - DAY), [], id="unchanged for long"),
        pytest.param(
            orders(None),
            [(Sli.UNPROTECTED, "written 2026-01-22 02:15, 10 days ago")],
            id="nobody says when: since then",
        ),
        pytest.param(orders(NOW - HOUR, failures=2), [], id="two copies failed"),
        pytest.param(
            orders(NOW - HOUR, failures=3),
            [(Sli.COPIES_FAIL, "3 copies of it failed in a row")],
            id="three copies failed, and it is written to all the time",
        ),
        pytest.param(orders(NOW - 4 * DAY, rows=0), [], id="emptied: its last good version stays"),
    ],
)
def test_a_change_has_to_be_backed_up_in_time(scan: Scan, expected: list[tuple[Sli, str]]) -> None:
    assert found(measured(scan)) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(a_state(modified_at=NOW - 2 * DAY), [], id="written as long ago as it may be"),
        pytest.param(
            a_state(modified_at=NOW - 3 * DAY),
            [(Sli.NEVER_BACKED_UP, "written 2026-01-29 02:15, 3 days ago")],
            id="written longer ago",
        ),
        pytest.param(a_state(rows=0, size_bytes=0, modified_at=OLD), [], id="empty: there is nothing to protect"),
    ],
)
def test_a_new_table_has_to_be_backed_up_in_time(state: State, expected: list[tuple[Sli, str]]) -> None:
    assert found(measured(a_scan(a_table(state=state)))) == expected


def test_a_copy_without_an_end_tells_of_an_earlier_write() -> None:
    begun = a_copy(ORDERS.unit(), state=a_state(modified_at=NOW - 4 * DAY))
    scan = orders(NOW - HOUR)

    report = measured(replace(scan, record=replace(scan.record, unfinished=(begun,))))

    assert found(report) == [(Sli.UNPROTECTED, "written 2026-01-28 02:15, 4 days ago")]


@pytest.mark.parametrize(
    ("modified_at", "captured_at", "rows", "expected"),
    [
        pytest.param(NOW - 3 * DAY, NOW - 2 * DAY, 11, 1, id="other rows, and nobody wrote to it"),
        pytest.param(NOW - 3 * DAY + MILLISECOND, NOW - 2 * DAY, 11, 0, id="not unmodified for long enough"),
        pytest.param(
            NOW - 3 * DAY, NOW - 3 * DAY + HOUR, 11, 0, id="rows may have been on their way when it was copied"
        ),
        pytest.param(NOW - 3 * DAY, NOW - 2 * DAY, 10, 0, id="the same rows and bytes"),
    ],
)
def test_a_version_has_to_look_like_its_unmodified_source(
    modified_at: datetime, captured_at: datetime, rows: int, expected: int
) -> None:
    violations = measured(orders(modified_at, rows=rows, captured_at=captured_at)).violations

    differing = [violation.reason for violation in violations if violation.sli is Sli.DIFFERS]
    assert differing == expected * ["11 rows, its version has 10; 110 bytes, its version has 100"]


def test_what_could_not_be_looked_at_is_a_violation() -> None:
    report = measure(
        [],
        now=NOW,
        limits=LIMITS,
        failures=[DatasetFailure(SALES, "denied")],
        projects_failed=[ProjectFailure("acme-lab", "gone")],
    )

    assert report.violations == (
        Violation(Sli.NOT_LOOKED_AT, "acme-lab", "gone"),
        Violation(Sli.NOT_LOOKED_AT, SALES, "denied"),
    )
    assert [v.subject for v in report.of(DatasetRef("acme-lab", "any"), Sli.NOT_LOOKED_AT)] == ["acme-lab"]
    assert [v.subject for v in report.of(SALES, Sli.NOT_LOOKED_AT)] == [SALES]
    assert list(report.of(DatasetRef("acme-shop", "web"), Sli.NOT_LOOKED_AT)) == []
    assert not report.ok


def test_a_violation_of_a_table_is_one_of_its_dataset() -> None:
    violation = Violation(Sli.UNPROTECTED, ORDERS.unit(), "written long ago")

    assert violation.is_of(SALES)
    assert not violation.is_of(DatasetRef("acme-shop", "web"))


def test_the_rpo_of_a_table_is_the_age_of_its_oldest_version_that_is_not_the_newest_state() -> None:
    first, second, third = days(3)
    scan = a_scan(
        a_partitioned_table(state=a_state(modified_at=NOW - HOUR)),
        partitions=[
            UnitState(unit, a_state(modified_at=at))
            for unit, at in ((first, NOW - HOUR), (second, NOW - HOUR), (third, OLD - DAY))
        ],
        record=a_record(
            a_version(first, captured_at=NOW - DAY),
            a_version(second, captured_at=NOW - 3 * DAY),
            a_version(third, captured_at=OLD),
        ),
    )

    assert measured(scan).rpos == (TableRpo(EVENTS, 2, NOW - 3 * DAY, 3 * DAY),)


def test_a_table_without_a_version_has_no_rpo_as_all_of_it_would_be_lost() -> None:
    assert measured(a_scan(a_table())).rpos == (TableRpo(ORDERS, 1, None, None),)


def test_the_report_counts_and_lists_by_indicator() -> None:
    report = measured(a_scan(a_table(state=a_state(modified_at=OLD))))

    assert str(report).splitlines() == [
        "1 dataset at 2026-02-01 02:15 UTC: 1 never backed up",
        "",
        "never backed up:",
        "  acme-shop.sales.orders: written 2026-01-22 02:15, 10 days ago",
    ]


@settings(deadline=None)
@given(some.recorded_scans())
def test_patience_finds_no_more_than_haste(scan: Scan) -> None:
    hasty = measured(scan, limits=SliLimits(timedelta(0), timedelta(0), 1))
    patient = measured(scan, limits=SliLimits(30 * DAY, 30 * DAY, 10))

    keys = [{(violation.sli, violation.subject) for violation in report.violations} for report in (patient, hasty)]
    assert keys[0] <= keys[1]


@settings(deadline=None)
@given(some.recorded_scans())
def test_only_what_needs_a_copy_has_an_rpo(scan: Scan) -> None:
    report = measured(scan)

    assert sum(rpo.units for rpo in report.rpos) == len(scan.changes(now=NOW).to_copy)
