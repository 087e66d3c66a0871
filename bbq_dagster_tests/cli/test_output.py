"""How answers are shown: tables that fit, JSON of values, bytes for people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bbq_dagster.cli.output import jsonable, show_table
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.wording import size

ORDERS = TableRef("acme-shop", "sales", "orders")
NOON = datetime(2026, 3, 2, 12, 0, 0, 123, tzinfo=UTC)


def shown(capsys: pytest.CaptureFixture[str], *rows: tuple[object, ...]) -> list[str]:
    show_table("Tables", ("table", "rows", "at"), rows, numbers=("rows",), empty="none at all")
    return capsys.readouterr().out.splitlines()


def test_a_table_in_a_pipe_is_never_folded_and_has_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    long = "t" * 1024

    lines = shown(capsys, (long, 1, None), ("short", 2, None))

    assert any(long in line for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_numbers_have_thousands_times_have_seconds_and_nothing_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, (ORDERS, 1234567, NOON), ("[bold]", None, None))

    assert lines[-3].split() == ["acme-shop.sales.orders", "1,234,567", "2026-03-02", "12:00:00"]
    assert lines[-2].split() == ["[bold]", "-", "-"]


def test_no_rows_are_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ["none at all"]


def test_a_terminal_that_is_too_narrow_gets_a_paragraph_per_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "30"), ("LINES", "20")):
        monkeypatch.setenv(name, value)

    assert shown(capsys, (ORDERS, 12, NOON), ("b", 3, None)) == [
        "Tables",
        "",
        "acme-shop.sales.orders",
        "  rows   12",
        "  at     2026-03-02 12:00:00",
        "",
        "b",
        "  rows   3",
        "  at     -",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(NOON, "2026-03-02T12:00:00.000123+00:00", id="a time"),
        pytest.param(Unit(ORDERS, "20260101"), "acme-shop.sales.orders$20260101", id="a reference is its name"),
        pytest.param({DatasetRef("p", "d"): (1, None)}, {"p.d": [1, None]}, id="a mapping by references"),
        pytest.param(frozenset({Unit(ORDERS, "2"), Unit(ORDERS, "1")}), [f"{ORDERS}$1", f"{ORDERS}$2"], id="a set"),
        pytest.param(Path("a/b"), "a/b", id="a path"),
        pytest.param(True, True, id="a truth"),
    ],
)
def test_values_become_json(value: object, expected: object) -> None:
    assert jsonable(value) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(None, "?"), (0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (1536 * 1024, "1.5 MiB"), (5 * 1024**4, "5.0 TiB")],
)
def test_bytes_are_shown_for_people(count: int | None, expected: str) -> None:
    assert size(count) == expected
