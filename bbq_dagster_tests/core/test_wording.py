"""Lists, counts and sizes in words, on both sides of each step; text of others never steers what shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.wording import counted, cut, printable, printable_lines, section, size

LINES = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("lines", "limit", "expected"),
    [
        pytest.param(LINES, None, LINES, id="no limit"),
        pytest.param(LINES, 3, LINES, id="exactly as many as fit"),
        pytest.param(LINES, 2, ["a", "b", "… and 1 more"], id="one more"),
        pytest.param(["x"] * 1002, 1, ["x", "… and 1,001 more"], id="thousands more"),
    ],
)
def test_a_long_list_is_cut_and_says_how_much_is_missing(
    lines: list[str], limit: int | None, expected: list[str]
) -> None:
    assert cut(lines, limit) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([], [], id="nothing, not even the title"),
        pytest.param(LINES, ["", "left out:", "  a", "  b", "  … and 1 more"], id="indented and cut"),
    ],
)
def test_a_section_has_a_title_where_it_has_lines(lines: list[str], expected: list[str]) -> None:
    assert section("left out", iter(lines), limit=2) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 tables"), (1, "1 table"), (2, "2 tables"), (2000, "2,000 tables")]
)
def test_a_count_agrees_with_its_noun(count: int, expected: str) -> None:
    assert counted(count, "table") == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(None, "?", id="unknown is not zero"),
        pytest.param(0, "0 B", id="none"),
        pytest.param(1023, "1,023 B", id="the last in bytes"),
        pytest.param(1024, "1.0 KiB", id="the first in KiB"),
        pytest.param(1536, "1.5 KiB", id="one decimal"),
        pytest.param(1024**2 - 1, "1,024.0 KiB", id="the last in KiB"),
        pytest.param(1024**2, "1.0 MiB", id="the first in MiB"),
        pytest.param(1024**3, "1.0 GiB", id="the first in GiB"),
        pytest.param(1024**4, "1.0 TiB", id="the first in TiB"),
        pytest.param(2048 * 1024**4, "2,048.0 TiB", id="there is nothing above TiB"),
    ],
)
def test_bytes_are_shown_in_the_greatest_unit_that_fits(count: int | None, expected: str) -> None:
    assert size(count) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Größe 大", "Größe 大", id="what shows stays"),
        pytest.param("a\u00a0b", "a\u00a0b", id="a space that does not break is no danger"),
        pytest.param("\x1b[2J", "\\u001b[2J", id="Cc: what steers a terminal"),
        pytest.param("\u202etxt.exe", "\\u202etxt.exe", id="Cf: what turns the direction"),
        pytest.param("\ud800", "\\ud800", id="Cs: half of a pair"),
        pytest.param("a\u2028b", "a\\u2028b", id="Zl: what looks like a new line"),
        pytest.param("a\u2029b", "a\\u2029b", id="Zp: what looks like a new paragraph"),
        pytest.param("\U000e0001", "\\udb40\\udc01", id="beyond 16 bits: two escapes, as in JSON"),
        pytest.param("a\nb", "a\\u000ab", id="one line"),
    ],
)
def test_what_does_not_show_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_lines_stay_lines() -> None:
    assert printable_lines("a \x07\n\n b") == "a \\u0007\n\n b"


@given(st.text())
def test_what_is_shown_is_one_line_without_a_sign_that_steers(text: str) -> None:
    shown = printable(text)

    assert len(f"{shown}.".splitlines()) == 1
    assert printable(shown) == shown
