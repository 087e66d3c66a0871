"""The status of a table: what of it is protected, gone, failed, unfinished and proven."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bbq_dagster.core.status import TableStatus, table_statuses
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.verification_record import Proof
from bbq_dagster.core.versions import Absence, DatasetRecord
from bbq_dagster_tests.builders import EVENTS, NOW, ORDERS, SALES, a_copy, a_planned_unit, a_version

DAY = timedelta(days=1)
WEB = DatasetRef("acme-shop", "web")
FIRST, SECOND, THIRD = (EVENTS.unit(day) for day in ("20240101", "20240102", "20240103"))
LATEST = {
    FIRST: a_version(FIRST, captured_at=NOW - 3 * DAY, rows=5, size_bytes=50),
    SECOND: a_version(SECOND, captured_at=NOW - DAY, rows=None, size_bytes=None),
    THIRD: a_version(THIRD, captured_at=NOW - 2 * DAY, rows=7, size_bytes=70),
}
PROVEN = {version.version_id: Proof("", NOW, NOW - number * DAY) for number, version in enumerate(LATEST.values())}


def test_the_units_of_a_table_are_summed_up() -> None:
    (status,) = table_statuses({SALES: DatasetRecord(latest=LATEST, scanned_at=NOW)})

    assert status == TableStatus(
        EVENTS,
        units=3,
        rows=12,
        size_bytes=120,
        newest_at=NOW - DAY,
        oldest_at=NOW - 3 * DAY,
        gone=0,
        failed=0,
        unfinished=0,
        looked_at=NOW,
    )


def test_what_is_gone_failed_and_unfinished_is_counted_by_unit() -> None:
    record = DatasetRecord(
        latest=LATEST,
        absent={FIRST: Absence.VANISHED, SECOND: Absence.EMPTIED, EVENTS.unit("20230101"): Absence.VANISHED},
        failures={FIRST: 2},
        unfinished=(a_copy(EVENTS.unit(), units=map(a_planned_unit, (FIRST, SECOND, THIRD))),),
    )
    (status,) = table_statuses({SALES: record})

    assert (status.gone, status.failed, status.unfinished) == (2, 1, 3)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(DatasetRecord(failures={ORDERS.unit(): 2}), (1, 0), id="its copies fail"),
        pytest.param(DatasetRecord(unfinished=(a_copy(ORDERS.unit()),)), (0, 1), id="its first copy is under way"),
    ],
)
def test_a_table_without_a_version_is_shown_for_what_was_tried(record: DatasetRecord, expected: object) -> None:
    (status,) = table_statuses({SALES: record})

    assert status == TableStatus(ORDERS, 0, 0, 0, None, None, 0, *expected)  # type: ignore[misc]


def test_what_is_gone_without_a_version_is_no_table() -> None:
    assert table_statuses({SALES: DatasetRecord(absent={ORDERS.unit(): Absence.VANISHED})}) == ()


@pytest.mark.parametrize(
    ("proofs", "expected"),
    [
        pytest.param({}, (None, 0), id="nobody looked"),
        pytest.param(dict(list(PROVEN.items())[:2]), (None, 0), id="one was never proven"),
        pytest.param(PROVEN, (NOW - 2 * DAY, 0), id="the oldest proof"),
        pytest.param(
            {version.version_id: Proof("", NOW, NOW, flaw="differs") for version in LATEST.values()}, (NOW, 3), id="bad"
        ),
    ],
)
def test_a_table_is_proven_since_its_oldest_proof(proofs: dict[str, Proof], expected: object) -> None:
    (status,) = table_statuses({SALES: DatasetRecord(latest=LATEST)}, proofs)

    assert (status.proven_at, status.bad) == expected


def test_tables_of_all_datasets_are_in_order() -> None:
    visits = WEB.table("visits")
    records = {
        WEB: DatasetRecord(latest={visits.unit(): a_version(visits.unit())}),
        SALES: DatasetRecord(latest={unit: a_version(unit) for unit in (ORDERS.unit(), FIRST)}),
    }

    assert [status.table for status in table_statuses(records)] == [EVENTS, ORDERS, visits]
