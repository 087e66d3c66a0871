from datetime import UTC, datetime

import pytest

from bbq_dagster.errors import Refused
from bbq_dagster.warehouse.queries import instant, quoted, whole_number


def test_names_are_quoted_each_for_itself() -> None:
    assert quoted("example.com:acme-shop", "sales_2024") == "`example.com:acme-shop`.`sales_2024`"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("shop`; DROP TABLE x; --", id="ends the quotes"),
        pytest.param("shop\\", id="escapes the closing quote"),
        pytest.param("shop\nsales", id="two lines"),
        pytest.param("größe", id="letters that no project or dataset has"),
        pytest.param("", id="empty"),
    ],
)
def test_what_could_end_the_quotes_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="not a name"):
        quoted("acme-shop", name)


def test_times_keep_their_microseconds() -> None:
    assert instant("1769825700123457") == datetime(2026, 1, 31, 2, 15, 0, 123457, tzinfo=UTC)


def test_what_is_null_stays_unknown() -> None:
    assert (instant(None), whole_number(None)) == (None, None)
