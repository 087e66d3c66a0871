"""A table that was dropped comes back with the definition that it had, whichever way it is made anew.

Fault W16 of the original: clustering, required filter, description, labels and the encryption key were lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from google.cloud import bigquery

from bbq_dagster.core.restore_request import RestoreRequest, Scope
from bbq_dagster_tests.e2e.house import SHOP, House

KEY = "projects/acme/locations/eu/keyRings/r/cryptoKeys/sales"
FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "of the order"},
    {"name": "day", "type": "DATE", "defaultValueExpression": "CURRENT_DATE()"},
    {"name": "shop", "type": "STRING", "collation": "und:ci"},
    {
        "name": "mail",
        "type": "STRING",
        "policyTags": {"names": ["projects/acme/locations/eu/taxonomies/1/policyTags/2"]},
    },
]
PLAIN = {
    "description": "what was sold",
    "friendlyName": "Orders",
    "labels": {"team": "sales"},
    "defaultCollation": "und:ci",
    "tableConstraints": {"primaryKey": {"columns": ["id"]}},
}
CLUSTERED = {"clustering": {"fields": ["shop"]}}
BY_DAY = {"timePartitioning": {"type": "DAY", "field": "day"}, "requirePartitionFilter": True}
ENCRYPTED = {"encryptionConfiguration": {"kmsKeyName": KEY}}


@pytest.mark.parametrize(
    "definition",
    [
        pytest.param(PLAIN, id="made by its copy job"),
        pytest.param(PLAIN | CLUSTERED, id="clustered"),
        pytest.param(PLAIN | CLUSTERED | BY_DAY, id="partitioned: made before its copy jobs"),
        pytest.param(PLAIN | ENCRYPTED, id="encrypted: made before its copy job"),
        pytest.param(PLAIN | BY_DAY | ENCRYPTED, id="partitioned and encrypted"),
    ],
)
def test_a_dropped_table_is_restored_with_the_definition_it_had(house: House, definition: Mapping[str, Any]) -> None:
    client = house.bigquery.client(SHOP)
    was = create(client, definition)
    house.sql(f"INSERT `{SHOP}.sales.orders` (id, day, shop) VALUES (1, DATE '2026-02-01', 'Rome')")
    assert house.back_up().ok
    client.delete_table(f"{SHOP}.sales.orders")

    plan = house.stack.plan_restore(RestoreRequest((Scope.parse(f"{SHOP}.sales.orders"),)), now=house.now)
    report = house.stack.apply_restore(plan, run_id="restore")

    assert report.ok, str(report)
    assert definition_of(client) == was
    assert client.get_table(f"{SHOP}.sales.orders").num_rows == 1


def create(client: bigquery.Client, definition: Mapping[str, Any]) -> dict[str, object]:
    reference = {"projectId": SHOP, "datasetId": "sales", "tableId": "orders"}
    client.create_table(
        bigquery.Table.from_api_repr({"tableReference": reference, "schema": {"fields": FIELDS}, **definition})
    )
    found = definition_of(client)
    assert {name: found[name] for name in definition} == dict(definition), "else nothing is proved"
    return found


def definition_of(client: bigquery.Client) -> dict[str, object]:
    resource = client.get_table(f"{SHOP}.sales.orders").to_api_repr()
    return {name: value for name, value in resource.items() if name not in _OF_ITS_ROWS}


_OF_ITS_ROWS = frozenset(
    {"creationTime", "lastModifiedTime", "etag", "numBytes", "numRows", "numLongTermBytes", "numPartitions"}
    | {"numTotalLogicalBytes", "numActiveLogicalBytes", "numLongTermLogicalBytes"}
)
