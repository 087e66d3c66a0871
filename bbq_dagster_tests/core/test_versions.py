"""The record of a dataset: what is counted of settled tables, and what is read of them when they move."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bbq_dagster.core.versions import Absence, DatasetRecord
from bbq_dagster_tests.builders import CREATED_AT, EVENTS, ORDERS, SALES, a_state, a_version

DAYS = [EVENTS.unit(day) for day in ("20240101", "20240102")]
CLICKS = SALES.table("clicks")
MORE = [CLICKS.unit(day) for day in ("20240101", "20240102")]
SETTLED = {EVENTS: (CREATED_AT, a_state()), ORDERS: (CREATED_AT, a_state())}
FULL = DatasetRecord(latest={unit: a_version(unit) for unit in (*DAYS, ORDERS.unit(), *MORE)}, settled=SETTLED)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(DatasetRecord(), True, id="nothing"),
        pytest.param(DatasetRecord(settled=SETTLED, failures={ORDERS.unit(): 1}), True, id="no version"),
        pytest.param(FULL, False, id="versions"),
        pytest.param(DatasetRecord(unread={EVENTS: 2}), False, id="versions that were only counted"),
    ],
)
def test_a_record_is_empty_without_a_version(record: DatasetRecord, expected: bool) -> None:
    assert record.is_empty is expected


def test_partitions_of_settled_tables_are_counted_and_not_kept() -> None:
    record = FULL.without_settled_units()

    assert record.unread == {EVENTS: 2}
    assert record == replace(
        FULL, latest={unit: a_version(unit) for unit in (ORDERS.unit(), *MORE)}, unread={EVENTS: 2}
    )


def test_what_was_counted_can_be_read_again() -> None:
    of_events = DatasetRecord(
        latest={unit: a_version(unit) for unit in DAYS}, absent={DAYS[0]: Absence.VANISHED}, unread={CLICKS: 7}
    )
    counted = replace(
        FULL.without_settled_units(), absent={ORDERS.unit(): Absence.EMPTIED}, unread={EVENTS: 2, CLICKS: 1}
    )
    record = counted.with_units_of(of_events)

    assert record.latest == FULL.latest
    assert record.absent == {ORDERS.unit(): Absence.EMPTIED, DAYS[0]: Absence.VANISHED}
    assert record.unread == {CLICKS: 1}


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        pytest.param([], 3, id="all"),
        pytest.param([ORDERS.unit()], 2, id="without what is gone"),
        pytest.param([DAYS[0]], 2, id="without what is gone of the counted"),
        pytest.param([EVENTS.unit()], 3, id="a table of counted partitions has no version of its own"),
        pytest.param([MORE[0]], 3, id="not what is gone of another table"),
        pytest.param([ORDERS.unit("20240101")], 3, id="not what never had a version"),
    ],
)
def test_units_that_are_there_are_counted_read_or_not(absent: list[object], expected: int) -> None:
    record = replace(FULL.without_settled_units(), absent=dict.fromkeys(absent, Absence.VANISHED))

    assert record.count_units_there([EVENTS, ORDERS]) == expected
