"""The query for fingerprints: which partitions it reads, and that no name in it can end its quotes."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from bbq_dagster.core.fingerprint import Field, Question, RangePartitioning, TableLayout, TimePartitioning
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, TableRef
from bbq_dagster.errors import Refused
from bbq_dagster.warehouse.fingerprint_sql import fingerprint_sql, read_fingerprint

TABLE = TableRef("acme-shop", "sales", "t")
BY_DAY = TimePartitioning("DAY", "day", "DATE")
BY_ARRIVAL = TimePartitioning("DAY")
BY_RANGE = RangePartitioning("n", -10, 20, 10)
FIELDS = (Field("day", "DATE"), Field("n", "INTEGER"))


def a_question(
    *partitions: str | None,
    by: TimePartitioning | RangePartitioning | None = None,
    table: TableRef = TABLE,
    fields: tuple[Field, ...] = FIELDS,
    as_of: datetime | None = None,
) -> Question:
    return Question(table, "EU", TableLayout(fields, by), partitions, as_of)


def where(question: Question) -> str:
    (clause,) = re.findall(r"WHERE (.*)\n", fingerprint_sql(question))
    return str(clause)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        pytest.param(a_question(None), "TRUE", id="a whole table"),
        pytest.param(
            a_question("20240131", by=BY_DAY), "(`day` >= DATE '2024-01-31' AND `day` < DATE '2024-02-01')", id="a day"
        ),
        pytest.param(
            a_question("20240131", "20240201", "20240203", by=BY_DAY),
            "(`day` >= DATE '2024-01-31' AND `day` < DATE '2024-02-02')"
            " OR (`day` >= DATE '2024-02-03' AND `day` < DATE '2024-02-04')",
            id="days that follow each other make one range",
        ),
        pytest.param(
            a_question("20240131", NULL_PARTITION, by=BY_DAY),
            "(`day` IS NULL) OR (`day` >= DATE '2024-01-31' AND `day` < DATE '2024-02-01')",
            id="rows without a day",
        ),
        pytest.param(
            a_question(UNPARTITIONED, by=BY_DAY),
            "(`day` < DATE '1960-01-01' OR `day` >= DATE '2160-01-01')",
            id="rows of days that no partition is for",
        ),
        pytest.param(
            a_question("202312", by=TimePartitioning("MONTH", "at", "DATETIME")),
            "(`at` >= DATETIME '2023-12-01 00:00:00' AND `at` < DATETIME '2024-01-01 00:00:00')",
            id="a month",
        ),
        pytest.param(
            a_question("2024", by=TimePartitioning("YEAR", "at", "TIMESTAMP")),
            "(`at` >= TIMESTAMP '2024-01-01 00:00:00+00' AND `at` < TIMESTAMP '2025-01-01 00:00:00+00')",
            id="a year",
        ),
        pytest.param(
            a_question("2024013123", by=TimePartitioning("HOUR", "at", "TIMESTAMP")),
            "(`at` >= TIMESTAMP '2024-01-31 23:00:00+00' AND `at` < TIMESTAMP '2024-02-01 00:00:00+00')",
            id="an hour",
        ),
        pytest.param(
            a_question("20240131", by=BY_ARRIVAL),
            "(`_PARTITIONTIME` >= TIMESTAMP '2024-01-31 00:00:00+00'"
            " AND `_PARTITIONTIME` < TIMESTAMP '2024-02-01 00:00:00+00')",
            id="by arrival",
        ),
        pytest.param(a_question(UNPARTITIONED, by=BY_ARRIVAL), "(`_PARTITIONTIME` IS NULL)", id="not arrived yet"),
        pytest.param(a_question("-10", "0", by=BY_RANGE), "(`n` >= -10 AND `n` < 10)", id="ranges"),
        pytest.param(
            a_question("20", by=RangePartitioning("n", 0, 25, 10)), "(`n` >= 20 AND `n` < 25)", id="the last range"
        ),
        pytest.param(a_question(UNPARTITIONED, by=BY_RANGE), "(`n` < -10 OR `n` >= 20)", id="outside of all ranges"),
    ],
)
def test_partitions_are_chosen_by_constants_on_their_column(question: Question, expected: str) -> None:
    assert where(question) == expected


def test_the_past_is_asked_for_to_the_microsecond() -> None:
    sql = fingerprint_sql(a_question(None, as_of=datetime(2024, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)))

    assert "FROM `acme-shop`.`sales`.`t` FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-31 12:00:00.123456+00'" in sql


def test_no_name_ends_its_quotes() -> None:
    field = Field("a` FROM x; -- \\", "STRING")
    sql = fingerprint_sql(a_question(None, table=TableRef("p", "d", "t`"), fields=(field,)))

    assert "TO_JSON_STRING(`a\\` FROM x; -- \\\\`)" in sql
    assert "FROM `p`.`d`.`t\\``" in sql


def test_a_name_with_a_line_break_is_refused() -> None:
    with pytest.raises(Refused, match="not the name of a table or column"):
        fingerprint_sql(a_question(None, fields=(Field("a\nb", "STRING"),)))


def test_a_row_is_a_fingerprint_of_its_partition() -> None:
    layout = TableLayout(FIELDS)
    partition, found = read_fingerprint(["20240131", "5", "100", "7", "8"], layout)
    of_table, _ = read_fingerprint(["", "5", "100", "7", "8"], layout)

    assert (partition, of_table) == ("20240131", None)
    assert (found.rows, found.whole, found.columns) == (5, "100", (("day", "7"), ("n", "8")))
    assert found.schema == layout.schema
