"""Fingerprints: what is the same, and in which words two are told apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bbq_dagster.core.fingerprint import (
    Field,
    Fingerprint,
    TableLayout,
    difference,
    layout_difference,
)
from bbq_dagster.errors import Refused

LAYOUT = TableLayout((Field("n", "INTEGER"), Field("name", "STRING")))
FIVE = Fingerprint(5, LAYOUT.schema, "100", (("n", "7"), ("name", "8")))


def schema_of(*fields: Field) -> str:
    return TableLayout(fields).schema


def test_what_is_written_is_what_is_read() -> None:
    odd = replace(FIVE, columns=(('a "b"', "1"), ("ü", "2")))

    assert [Fingerprint.parse(str(one)) for one in (FIVE, odd)] == [FIVE, odd]


def test_no_rows_have_sums_of_nothing() -> None:
    assert Fingerprint.of_nothing(LAYOUT) == Fingerprint(0, LAYOUT.schema, "0", (("n", "0"), ("name", "0")))


def test_what_was_not_written_by_us_is_refused() -> None:
    with pytest.raises(Refused):
        Fingerprint.parse('{"rows": "many"}')


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(FIVE, None, id="the same"),
        pytest.param(replace(FIVE, rows=4), "other rows: it has 4 rows, 5 were copied", id="a row less"),
        pytest.param(replace(FIVE, rows=6), "other rows: it has 6 rows, 5 were copied", id="a row more"),
        pytest.param(replace(FIVE, rows=0), "missing: none of its 5 rows are in the backup table", id="no rows"),
        pytest.param(
            replace(FIVE, whole="1", columns=(("n", "1"), ("name", "8"))),
            "other values: not those that were copied in column n",
            id="one column",
        ),
        pytest.param(
            replace(FIVE, whole="1"),
            "other values: every column has its values, but not in the rows that were copied",
            id="values in other rows",
        ),
        pytest.param(
            replace(FIVE, schema="x", columns=(("n", "7"), ("label", "8"))),
            "other table: its columns are not what they were: column label came to it, column name went from it",
            id="other columns",
        ),
        pytest.param(
            replace(FIVE, schema="x"),
            "other table: its columns are of other types or modes than they were",
            id="other types",
        ),
    ],
)
def test_a_difference_has_its_own_words(found: Fingerprint, expected: str | None) -> None:
    words = difference(FIVE, found)

    assert (None if words is None else str(words)) == expected


@pytest.mark.parametrize(
    ("field", "is_other"),
    [
        pytest.param(Field("n", "INTEGER"), False, id="the same"),
        pytest.param(Field("n", "STRING"), True, id="another type"),
        pytest.param(Field("m", "INTEGER"), True, id="another name"),
        pytest.param(Field("n", "INTEGER", "REQUIRED"), True, id="another mode"),
        pytest.param(Field("n", "INTEGER", "NULLABLE", (Field("x", "STRING"),)), True, id="a field in it"),
    ],
)
def test_the_schema_is_names_types_and_modes(field: Field, is_other: bool) -> None:
    assert (schema_of(field) != schema_of(Field("n", "INTEGER"))) is is_other


def test_a_relaxed_mode_makes_no_other_table_of_a_source() -> None:
    required = TableLayout((Field("n", "INTEGER", "REQUIRED"), Field("name", "STRING")))
    repeated = TableLayout((Field("n", "INTEGER", "REPEATED"), Field("name", "STRING")))

    assert layout_difference(LAYOUT, required) is None
    assert "other types" in str(layout_difference(LAYOUT, repeated))


def test_many_columns_are_counted_after_the_first_five() -> None:
    columns = tuple((f"c{number}", "1") for number in range(8))
    before = Fingerprint(1, "s", "1", columns)
    now = replace(before, whole="2", columns=tuple((name, "2") for name, _ in columns))

    assert str(difference(before, now)).endswith("in columns c0, c1, c2, c3, c4 and 3 more")


def test_five_columns_are_all_named() -> None:
    columns = tuple((f"c{number}", "1") for number in range(5))
    before = Fingerprint(1, "s", "1", columns)
    now = replace(before, whole="2", columns=tuple((name, "2") for name, _ in columns))

    assert str(difference(before, now)).endswith("in columns c0, c1, c2, c3, c4")


def test_names_are_written_as_they_are() -> None:
    assert '["ü","2"]' in str(replace(FIVE, columns=(("ü", "2"),)))
