"""Links and data versions as text."""

from datetime import UTC, datetime

import pytest

from bbq_dagster.core.inventory import State
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.defs.metadata import data_version_of, dataset_link, reasons_as_markdown, table_link, version_metadata

CONSOLE = "https://console.cloud.google.com/bigquery"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("acme.sales.orders", "?project=acme&ws=!1m5!1m4!4m3!1sacme!2ssales!3sorders", id="plain"),
        pytest.param(
            "example.com:shop.sales.orders",
            "?project=example.com%3Ashop&ws=!1m5!1m4!4m3!1sexample.com%3Ashop!2ssales!3sorders",
            id="domain-scoped project",
        ),
        pytest.param(
            "acme.sales.Größe & co",
            "?project=acme&ws=!1m5!1m4!4m3!1sacme!2ssales!3sGr%C3%B6%C3%9Fe%20%26%20co",
            id="UTF-8",
        ),
        pytest.param(
            "acme.sales.a!3sb", "?project=acme&ws=!1m5!1m4!4m3!1sacme!2ssales!3sa%213sb", id="the console's own !"
        ),
    ],
)
def test_a_table_has_a_link_into_the_console(table: str, expected: str) -> None:
    assert table_link(TableRef.parse(table)) == CONSOLE + expected


def test_a_dataset_has_a_link_into_the_console() -> None:
    assert dataset_link(DatasetRef("acme", "sales")) == f"{CONSOLE}?project=acme&ws=!1m4!1m3!3m2!1sacme!2ssales"


def a_version(source: State, *, rows: int | None = 12) -> Version:
    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    orders = Unit.parse("acme-shop.sales.orders")
    backup = Unit.parse("acme-backup.bbq_acme_shop__sales__eu.orders-x")
    return Version("v1", orders, backup, "EU", at, rows, None, source, at, "bbq_1_1", "never backed up")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            State(12, 96, datetime(2026, 3, 10, 11, tzinfo=UTC)),
            "2026-03-10T11:00:00+00:00/12 rows/96 bytes/v1",
            id="known",
        ),
        pytest.param(State(), "undated/? rows/? bytes/v1", id="unknown is not zero"),
    ],
)
def test_the_data_version_is_what_was_seen_of_the_source(source: State, expected: str) -> None:
    assert data_version_of(a_version(source)) == expected


def test_metadata_leaves_out_what_is_unknown() -> None:
    metadata = version_metadata(a_version(State(), rows=None))

    assert {"dagster/row_count", "bytes", "source modified"} & set(metadata) == set()
    assert metadata["reason"].value == "never backed up"


def test_zero_rows_are_shown() -> None:
    assert version_metadata(a_version(State(), rows=0))["dagster/row_count"].value == 0


def test_reasons_are_cut_and_counted() -> None:
    shown = reasons_as_markdown({"a": "x|y\nz", "b": "", "c": ""}, limit=1)

    assert shown.splitlines()[2] == "| `a` | x\\|y z |"
    assert shown.endswith("… and 2 more")
