"""Which runs a plan makes: batches, tables kept together, run keys."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

import pytest

from bbq_dagster.core.inventory import State
from bbq_dagster.core.plan import BackupPlan, DatasetFailure, TableBackup
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy, PlannedUnit
from bbq_dagster.defs.requests import WantedRun, wanted_runs

NOW = datetime(2026, 3, 10, 2, tzinfo=UTC)
DAY = date(2026, 3, 10)
SALES = DatasetRef("acme-shop", "sales")


def a_copy(*keys: str, source: str | None = None, rows: int = 1, attempt: int = 1, dataset: DatasetRef = SALES) -> Copy:
    """One copy job of ``source``, or of its one unit."""
    units = [Unit.of_key(dataset, key) for key in keys]
    of = Unit.of_key(dataset, source or keys[0])
    backup = TableRef("acme-backup", "bbq", of.table.table).unit(of.partition)
    planned = tuple(PlannedUnit(unit, State(rows, rows * 8, NOW), "modified") for unit in units)
    return Copy(of, backup, "EU", NOW, planned, attempt, partitioned=True)


def a_plan(*copies: Copy, failures: Iterable[DatasetFailure] = ()) -> BackupPlan:
    backups = [TableBackup(copy.source.table, copy.destination.table, "EU", (copy,), "") for copy in copies]
    return BackupPlan(NOW, tuple(backups), failures=tuple(failures))


def runs_of(plan: BackupPlan, *, max_units: int = 3, in_hand: Iterable[str] = ()) -> tuple[WantedRun, ...]:
    held = set(in_hand)
    return wanted_runs(plan, day=DAY, max_units=max_units, is_in_hand=lambda unit: unit.key in held)


def partitions(table: str, count: int) -> list[str]:
    return [f"{table}$2026030{day}" for day in range(1, count + 1)]


def copied_singly(*keys: str) -> list[Copy]:
    return [a_copy(key) for key in keys]


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(copied_singly("a", "b", "c"), [("a", "b", "c")], id="as many as fit"),
        pytest.param(copied_singly("a", "b", "c", "d"), [("a", "b", "c"), ("d",)], id="one too many"),
        pytest.param(
            copied_singly("a", *partitions("b", 3)), [("a",), tuple(partitions("b", 3))], id="a table is kept together"
        ),
        pytest.param(
            copied_singly(*partitions("b", 4)),
            [tuple(partitions("b", 3)), ("b$20260304",)],
            id="a table that does not fit is split",
        ),
        pytest.param(
            [a_copy(*partitions("b", 5), source="b")],
            [("b",)],
            id="what one job copies is asked for by its table, whole",
        ),
        pytest.param(
            [a_copy(*partitions("b", 2), source="b"), *copied_singly("a", "c")],
            [("a", "b"), ("c",)],
            id="and counts as what it holds",
        ),
    ],
)
def test_keys_go_into_batches(copies: list[Copy], expected: list[tuple[str, ...]]) -> None:
    assert [run.keys for run in runs_of(a_plan(*copies))] == expected


def test_a_run_is_for_one_dataset() -> None:
    crm = DatasetRef("acme-shop", "crm")
    runs = runs_of(a_plan(a_copy("orders"), a_copy("leads", dataset=crm)))

    assert [(run.dataset, run.keys) for run in runs] == [(crm, ("leads",)), (SALES, ("orders",))]


@pytest.mark.parametrize(
    ("copies", "in_hand", "expected"),
    [
        pytest.param(copied_singly("a", "b"), ["a"], [("b",)], id="not asked for again"),
        pytest.param(copied_singly("a"), ["a"], [], id="nothing left"),
        pytest.param(
            [a_copy(*partitions("b", 3), source="b")],
            ["b$20260302"],
            [("b$20260301", "b$20260303")],
            id="the other partitions by name, of a table that one job copies",
        ),
    ],
)
def test_what_is_in_hand_is_left_out(copies: list[Copy], in_hand: list[str], expected: list[tuple[str, ...]]) -> None:
    assert [run.keys for run in runs_of(a_plan(*copies), in_hand=in_hand)] == expected


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(a_copy("a", rows=2), id="another state"),
        pytest.param(a_copy("a", attempt=2), id="another try after a failure"),
        pytest.param(a_copy("b"), id="another unit"),
    ],
)
def test_run_keys_tell_apart_what_was_seen(other: Copy) -> None:
    (one,), (two,) = runs_of(a_plan(a_copy("a"))), runs_of(a_plan(other))

    assert one.run_key != two.run_key
    assert one.run_key == runs_of(a_plan(a_copy("a")))[0].run_key


def test_a_dataset_that_could_not_be_looked_at_gets_a_run_that_looks_again() -> None:
    runs = runs_of(a_plan(failures=[DatasetFailure(SALES, "no")]))

    assert runs == (WantedRun(SALES, (), "acme-shop.sales@2026-03-10:look-again"),)


def test_100_000_units_are_100_runs_that_hold_each_unit_once() -> None:
    copies = [a_copy(f"t{number:06}") for number in range(100_000)]
    runs = runs_of(a_plan(*copies), max_units=1000)

    assert [len(run.keys) for run in runs] == [1000] * 100
    assert len({key for run in runs for key in run.keys}) == 100_000
