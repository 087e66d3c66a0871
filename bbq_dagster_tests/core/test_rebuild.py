"""What a rebuild reads off backup tables, and what follows for the next backup."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bbq_dagster.core.changes import Verdict, detect_change
from bbq_dagster.core.drift import BackupSide, CatalogSide
from bbq_dagster.core.found import FoundDataset, FoundTable, source_of_dataset, source_of_table
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.inventory import Dataset, State, UnitState
from bbq_dagster.core.naming import backup_dataset, backup_table, description_of, newest_write_of
from bbq_dagster.core.rebuild import OWNER, REBUILT, RebuildPlan, holds_for, plan_rebuild
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.errors import Refused
from bbq_dagster_tests.builders import BACKUPS, CREATED_AT, LOCATION, NOW, ORDERS, SALES, a_state, a_table

WRITTEN = NOW - timedelta(hours=1, microseconds=-250)
SECOND = timedelta(seconds=1)
LONG = SALES.table("x" * 1000)


def name_of(source: TableRef, state: State) -> str:
    return backup_table(source, [(source.unit(), state)], created_at=CREATED_AT)


def a_found(source: TableRef = ORDERS, *, written: bool = True, described: str | None = None) -> FoundTable:
    state = a_state(modified_at=WRITTEN) if written else State(3, 30)
    ref = BACKUPS.table(name_of(source, state))
    held: dict[str | None, State] = {None: State(3, 30, NOW)}
    return FoundTable(ref, "BASE TABLE", NOW, held, description=described)


def planned(*tables: FoundTable) -> RebuildPlan:
    return plan_rebuild(CatalogSide(), BackupSide((FoundDataset(BACKUPS, LOCATION, SALES, tables),)))


def test_a_version_is_read_off_its_backup_table() -> None:
    (version,) = planned(a_found()).versions

    assert (version.unit, version.reason, version.captured_at, version.rows) == (ORDERS.unit(), REBUILT, NOW, 3)


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        pytest.param(description_of(LONG), [LONG], id="described by us"),
        pytest.param(None, [], id="without its description"),
        pytest.param("Backup of something", [], id="described by somebody"),
        pytest.param(description_of(DatasetRef("acme-shop", "crm").table("x")), [], id="of another dataset"),
    ],
)
def test_a_shortened_name_needs_its_description(described: str | None, expected: list[TableRef]) -> None:
    plan = planned(a_found(LONG, described=described))

    assert [version.unit.table for version in plan.versions] == expected
    assert len(plan.left_out) == 1 - len(expected)


@pytest.mark.parametrize(
    ("source", "described", "expected"),
    [
        pytest.param(SALES, None, SALES, id="by its name"),
        pytest.param(DatasetRef("acme-shop", "d" * 1020), None, None, id="shortened, without a description"),
        pytest.param(
            DatasetRef("acme-shop", "d" * 1020),
            description_of(DatasetRef("acme-shop", "d" * 1020)),
            DatasetRef("acme-shop", "d" * 1020),
            id="shortened, by its description",
        ),
    ],
)
def test_a_backup_dataset_tells_its_source(
    source: DatasetRef, described: str | None, expected: DatasetRef | None
) -> None:
    ref = backup_dataset(source, location=LOCATION, into="acme-backup")

    assert source_of_dataset(Dataset(ref, LOCATION, description=described)) == expected


def test_a_dataset_of_somebody_else_has_no_source() -> None:
    assert source_of_dataset(Dataset(DatasetRef("acme-backup", "lab"), LOCATION, description="Backup of it")) is None


def test_a_table_of_ours_is_known_by_its_name_alone() -> None:
    assert source_of_table(a_found(described="anything"), SALES) == ORDERS


@pytest.mark.parametrize(
    ("modified_after", "rows", "expected"),
    [
        pytest.param(timedelta(0), 3, Verdict.UNCHANGED, id="the write that the name tells"),
        pytest.param(SECOND, 3, Verdict.MODIFIED, id="the next second"),
        pytest.param(timedelta(minutes=30), 3, Verdict.MODIFIED, id="while it was copied"),
        pytest.param(timedelta(0), 4, Verdict.DIFFERS, id="other rows"),
    ],
)
def test_only_what_is_surely_unchanged_is_not_copied_again(
    modified_after: timedelta, rows: int, expected: Verdict
) -> None:
    (version,) = planned(a_found()).versions
    state = State(rows, 30, WRITTEN + modified_after)
    change = detect_change(a_table(created_at=CREATED_AT), UnitState(ORDERS.unit(), state), version)

    assert change.verdict is expected


def test_what_is_not_dated_is_copied_again() -> None:
    (version,) = planned(a_found(written=False)).versions
    change = detect_change(a_table(), UnitState(ORDERS.unit(), a_state()), version)

    assert version.holds_until is None
    assert change.verdict is Verdict.MODIFIED
    assert "does not say what it holds" in change.reason


def test_a_table_that_is_younger_than_its_copy_is_another_one() -> None:
    (version,) = planned(a_found()).versions
    younger = a_table(created_at=NOW + SECOND)
    change = detect_change(younger, UnitState(ORDERS.unit(), State(3, 30, WRITTEN)), version)

    assert change.verdict is Verdict.RECREATED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("orders-20260131T021500Z-3kq7zr5n2v6w4hxa", NOW + SECOND, id="dated"),
        pytest.param("orders-undated-3kq7zr5n2v6w4hxa", None, id="undated"),
        pytest.param("orders", None, id="not a name of ours"),
    ],
)
def test_the_name_tells_the_end_of_the_second_of_the_last_write(name: str, expected: object) -> None:
    assert newest_write_of(name) == expected


def test_each_dataset_is_held_once() -> None:
    plan = planned(a_found())
    (hold,) = holds_for(plan, [], at=NOW)

    assert (hold.owner, hold.target, hold.until) == (OWNER, f"{SALES}.*", None)
    assert holds_for(plan, [hold], at=NOW + SECOND) == []
    assert len(holds_for(plan, [Hold(hold.target, "ada", "audit", NOW)], at=NOW)) == 1


def test_the_digest_stands_for_the_versions() -> None:
    plan = planned(a_found())

    assert plan.digest == planned(a_found()).digest != planned().digest
    with pytest.raises(Refused, match="nothing was recorded"):
        plan.refuse_unless_approved("other")
    plan.refuse_unless_approved(plan.digest)


def test_the_plan_in_words() -> None:
    assert str(planned(a_found())).splitlines()[3] == f"  {ORDERS}: 1 version"
