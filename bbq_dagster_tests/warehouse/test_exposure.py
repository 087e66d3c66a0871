"""The view ``exposure``: which tables would lose how much, by what is on record alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from google.cloud import bigquery as bq

from bbq_dagster.core.catalog import Event, copy_planned
from bbq_dagster.core.tables import Unit
from bbq_dagster.warehouse.catalog_store import BigQueryCatalog
from bbq_dagster_tests.builders import EVENTS, LOCATION, NOW, ORDERS, a_copy
from bbq_dagster_tests.warehouse.stories import backed_up, failed, found_gone
from bbq_dagster_tests.warehouse.test_catalog_store import catalog, client

__all__ = ["catalog", "client"]

HOUR = timedelta(hours=1)
FIRST, SECOND = EVENTS.unit("20240101"), EVENTS.unit("20240102")


def exposed(client: bq.Client) -> dict[str, tuple[int, int, datetime | None, bool]]:
    """By table: units, exposed units, since when, and whether there is an RPO."""
    sql = (
        "SELECT source_table, units, exposed_units, exposed_since, rpo_seconds FROM `acme-backup.bbq_catalog.exposure`"
    )
    rows = client.query_and_wait(sql, location=LOCATION)
    return {
        row["source_table"]: (row["units"], row["exposed_units"], row["exposed_since"], row["rpo_seconds"] is not None)
        for row in rows
    }


def planned(unit: Unit, at: datetime) -> list[Event]:
    return list(copy_planned(a_copy(unit), at=at, run_id="run"))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([backed_up(ORDERS.unit(), at=NOW)], {"orders": (1, 0, None, False)}, id="protected"),
        pytest.param(
            planned(ORDERS.unit(), NOW), {"orders": (0, 1, NOW, False)}, id="planned, and never backed up: no RPO"
        ),
        pytest.param(
            [
                backed_up(ORDERS.unit(), at=NOW),
                *planned(ORDERS.unit(), NOW + HOUR),
                failed(ORDERS.unit(), at=NOW + 2 * HOUR),
            ],
            {"orders": (1, 1, NOW + HOUR, True)},
            id="changed since: exposed since that was seen first",
        ),
        pytest.param(
            [*planned(ORDERS.unit(), NOW - HOUR), backed_up(ORDERS.unit(), at=NOW)],
            {"orders": (1, 0, None, False)},
            id="what was planned before is done",
        ),
        pytest.param(
            [backed_up(FIRST, at=NOW), *planned(FIRST, NOW + HOUR), found_gone(FIRST, at=NOW + 2 * HOUR)],
            {"events": (1, 0, None, False)},
            id="gone from the source: nothing more to protect",
        ),
        pytest.param(
            [backed_up(FIRST, at=NOW), backed_up(SECOND, at=NOW), *planned(SECOND, NOW + HOUR)],
            {"events": (2, 1, NOW + HOUR, True)},
            id="one partition of two",
        ),
    ],
)
def test_a_table_is_exposed_while_a_copy_is_asked_for_and_not_there(
    events: list[Event],
    expected: dict[str, tuple[int, int, datetime | None, bool]],
    catalog: BigQueryCatalog,
    client: bq.Client,
) -> None:
    catalog.append(events)

    assert exposed(client) == expected
