from __future__ import annotations

from collections.abc import Mapping

import pytest

from bbq_dagster.apply.checking import CheckedCopy, Held, NotHeld, Wrong, check_copies, check_copy
from bbq_dagster.apply.copying import CopyOutcome, CopyUnfinished
from bbq_dagster.core.inventory import State
from bbq_dagster.core.versions import Copy
from bbq_dagster.errors import Permanent
from bbq_dagster.warehouse.port import BackupTableFacts
from bbq_dagster_tests.builders import BACKUPS, EVENTS, LOCATION, NOW, ORDERS, a_copy, a_planned_unit
from bbq_dagster_tests.fakes import FakeClock, FakeWarehouse

FIRST, SECOND = EVENTS.unit("20240131"), EVENTS.unit("20240201")
WHOLE = a_copy(EVENTS.unit(), units=[a_planned_unit(FIRST), a_planned_unit(SECOND)])
EMPTY = a_copy(units=[a_planned_unit(ORDERS.unit(), rows=0)])


def an_outcome(copy: Copy, *, rows: int | None) -> CopyOutcome:
    return CopyOutcome(copy, "bbq_job_1", NOW, rows, None if rows is None else rows * 10)


def some_facts(rows: Mapping[str | None, int | None], *, expires: bool = False) -> BackupTableFacts:
    states = {name: State(count, None if count is None else count * 10) for name, count in rows.items()}
    return BackupTableFacts(states, expires)


@pytest.mark.parametrize(
    ("copy", "copied", "facts", "expected"),
    [
        pytest.param(a_copy(), 3, some_facts({None: 3}), ["held 3"], id="a table with the rows of its job is held"),
        pytest.param(a_copy(), 3, None, ["the copy is not there"], id="a table that is missing is wrong"),
        pytest.param(a_copy(), 3, some_facts({}), ["the copy is not there"], id="a table that lost its rows is wrong"),
        pytest.param(
            a_copy(), 3, some_facts({None: 2}), ["the job copied 3 rows, the copy has 2"], id="other rows are wrong"
        ),
        pytest.param(a_copy(), None, some_facts({None: 2}), ["held 2"], id="a job without figures is believed"),
        pytest.param(a_copy(), None, some_facts({}), ["the copy is not there"], id="unless nothing is there"),
        pytest.param(a_copy(), 3, some_facts({None: None}), ["held None"], id="unknown rows stay unknown"),
        pytest.param(a_copy(), 0, some_facts({None: 0}), ["not held"], id="an empty copy of rows is no version"),
        pytest.param(EMPTY, 0, some_facts({}), ["held 0"], id="an empty copy of an empty table is one"),
        pytest.param(
            a_copy(FIRST),
            3,
            some_facts({"20240131": 3, "20240201": 9}),
            ["held 3"],
            id="other partitions do not matter to the copy of one",
        ),
        pytest.param(
            a_copy(FIRST), 3, some_facts({"20240201": 3}), ["the copy is not there"], id="a partition that is missing"
        ),
        pytest.param(
            a_copy(FIRST), None, some_facts({"20240201": 3}), ["the copy is not there"], id="whatever the job says"
        ),
        pytest.param(a_copy(FIRST), 0, some_facts({}), ["not held"], id="a partition that was emptied is no version"),
        pytest.param(
            WHOLE,
            8,
            some_facts({"20240131": 3, "20240201": 4, "20240202": 1}),
            ["held 3", "held 4"],
            id="a whole table counts all its partitions, planned or not",
        ),
        pytest.param(
            WHOLE, 3, some_facts({"20240131": 3}), ["held 3", "not held"], id="a partition that is not in a whole copy"
        ),
        pytest.param(
            WHOLE,
            7,
            some_facts({"20240131": 3}),
            ["the job copied 7 rows, the copy has 3"] * 2,
            id="a whole copy that lost a partition is wrong",
        ),
    ],
)
def test_what_became_of_each_unit(
    copy: Copy, copied: int | None, facts: BackupTableFacts | None, expected: list[str]
) -> None:
    assert [_in_words(check) for check in check_copy(an_outcome(copy, rows=copied), facts)] == expected


def _in_words(check: Held | NotHeld | Wrong) -> str:
    match check:
        case Held(_, rows, _):
            return f"held {rows}"
        case NotHeld():
            return "not held"
        case Wrong(_, error):
            return error


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def warehouse(clock: FakeClock) -> FakeWarehouse:
    warehouse = FakeWarehouse(clock)
    warehouse.create_dataset(BACKUPS)
    return warehouse


def test_a_copy_that_is_shown_late_is_waited_for(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    warehouse.create_table(BACKUPS.table("orders-1"), rows=3)
    warehouse.show_copies_late(looks=2)

    (checked,) = check_copies([an_outcome(a_copy(), rows=3)], warehouse, sleep=clock.sleep)

    assert isinstance(checked, CheckedCopy)
    assert not checked.is_wrong
    assert clock.monotonic() == 25


def test_a_copy_that_stays_away_is_wrong_and_no_other_one_is(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    warehouse.create_partitioned_table(BACKUPS.table("events-1"), {"20240131": 3})

    checked = check_copies(
        [an_outcome(a_copy(), rows=3), an_outcome(a_copy(FIRST), rows=3)], warehouse, sleep=clock.sleep
    )

    wrong = {one.outcome.copy.source.key: one.is_wrong for one in checked if isinstance(one, CheckedCopy)}
    assert wrong == {"orders": True, "events$20240131": False}


def test_expirations_are_removed(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    warehouse.create_table(BACKUPS.table("orders-1"), rows=3, expires=True)

    (checked,) = check_copies([an_outcome(a_copy(), rows=3)], warehouse, sleep=clock.sleep)

    assert isinstance(checked, CheckedCopy)
    assert not warehouse.backup_tables(BACKUPS, LOCATION, ["orders-1"])["orders-1"].expires


def test_a_copy_that_still_expires_is_unfinished_and_no_other_one_is(
    warehouse: FakeWarehouse, clock: FakeClock
) -> None:
    warehouse.create_table(BACKUPS.table("orders-1"), rows=3, expires=True)
    warehouse.create_partitioned_table(BACKUPS.table("events-1"), {"20240131": 3})
    warehouse.calls.fail_next("remove_expirations", Permanent("access denied"))

    orders, events = check_copies(
        [an_outcome(a_copy(), rows=3), an_outcome(a_copy(FIRST), rows=3)], warehouse, sleep=clock.sleep
    )

    assert orders == CopyUnfinished(a_copy(), "bbq_job_1", "copied, and its backup table still expires: access denied")
    assert isinstance(events, CheckedCopy)


def test_a_copy_that_cannot_be_looked_at_is_unfinished(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    warehouse.calls.fail_next("backup_tables", Permanent("access denied"))

    (checked,) = check_copies([an_outcome(a_copy(), rows=3)], warehouse, sleep=clock.sleep)

    assert checked == CopyUnfinished(a_copy(), "bbq_job_1", "copied, and not checked: access denied")


def test_all_copies_into_one_dataset_are_one_look(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    copies = [a_copy(BACKUPS.table(f"t{number}").unit()) for number in range(50)]
    for copy in copies:
        warehouse.create_table(copy.destination.table, rows=3)

    check_copies([an_outcome(copy, rows=3) for copy in copies], warehouse, sleep=clock.sleep)

    assert warehouse.calls.names() == ["backup_tables"]
