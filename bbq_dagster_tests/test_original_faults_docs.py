"""docs/original-faults.md names every fault of the original, and the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "original-faults.md").read_text()
ROWS = re.findall(r"^\| W(\d+) \|.*\| (.*?) \|$", PAGE, re.MULTILINE)


def test_every_fault_is_on_the_page_once() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 32))


@pytest.mark.parametrize(("number", "files"), ROWS, ids=[f"W{number}" for number, _ in ROWS])
def test_a_fault_has_a_test_by_its_number_in_each_file_that_the_page_names(number: str, files: str) -> None:
    named = re.findall(r"`(.*?)`", files)

    assert named
    for file in named:
        assert f"def test_w{number}_" in (TESTS / file).read_text(), file
