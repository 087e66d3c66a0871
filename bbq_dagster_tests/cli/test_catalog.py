"""`bbq catalog check`, `repair` and `rebuild` as they are typed."""

from __future__ import annotations

from typing import Any

import pytest

from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import SHOP, VAULT, House

ORDERS = f"{SHOP}.sales.orders"


@pytest.fixture
def shop(house: House) -> House:
    assert house.back_up().ok
    return house


def lose_copy(house: House) -> None:
    house.sql(f"DROP TABLE `{house.versions(ORDERS)[0].backup.table}`", project=VAULT)


def json_of(bbq: Bbq, *arguments: str) -> Any:
    return bbq("catalog", *arguments, "--json").json


def test_what_agrees_is_said_in_a_line(shop: House, bbq: Bbq) -> None:
    answer = bbq("catalog", "check")

    assert answer.code == 0
    assert answer.out == "4 versions on record, 2 backup tables found: they agree\n"


def test_what_disagrees_is_named_with_what_can_be_done(shop: House, bbq: Bbq) -> None:
    lose_copy(shop)
    answer = bbq("catalog", "check")
    (found,) = json_of(bbq, "check")["findings"]

    assert answer.code == 1
    assert "record without copy:\n" in answer.out
    assert "bbq catalog repair" in answer.err
    assert (found["kind"], found["source"], found["can_be_repaired"]) == ("record without copy", f"{SHOP}.sales", True)


def test_a_repair_is_shown_and_then_approved(shop: House, bbq: Bbq) -> None:
    lose_copy(shop)
    shown = bbq("catalog", "repair")
    digest = json_of(bbq, "repair")["digest"]
    refused = bbq("catalog", "repair", "--approve", "0123456789abcdef")
    done = json_of(bbq, "repair", "--approve", digest)

    assert shown.code == 0
    assert "0 to adopt, 1 to record as lost, 0 to let live" in shown.out
    assert refused.code == 2
    assert (done["ok"], len(done["lost"])) == (True, 1)
    assert bbq("catalog", "check").code == 0


def test_a_lost_catalog_is_rebuilt_as_shown(shop: House, bbq: Bbq) -> None:
    shop.sql(f"DROP SCHEMA `{VAULT}.bbq_catalog` CASCADE", project=VAULT)
    lost = bbq("catalog", "check")
    shown = json_of(bbq, "rebuild")
    done = bbq("catalog", "rebuild", "--approve", shown["digest"])

    assert lost.code == 1
    assert "the catalog is gone" in lost.out
    assert len(shown["versions"]) == 4
    assert done.code == 0
    assert "4 versions recorded; 1 dataset held until released" in done.out
    assert bbq("catalog", "check").code == 0
    assert "nothing" not in bbq("hold", "list").out


def test_copies_of_an_original_bbq_are_shown_and_then_adopted(shop: House, bbq: Bbq) -> None:
    shop.add_dataset(f"{VAULT}.2019_05_EU_acme_shop", location="EU")
    for name in ("orders", "old_orders"):
        copy = f"{VAULT}.2019_05_EU_acme_shop.20190203_040506_acme_shop_sales_{name}"
        shop.sql(f"CREATE TABLE `{copy}` AS SELECT 1 AS n", project=VAULT)
    shown = json_of(bbq, "adopt-bbq")
    answer = bbq("catalog", "adopt-bbq", "--approve", shown["digest"])

    assert [version["unit"] for version in shown["versions"]] == [ORDERS]
    assert [unclear["reason"] for unclear in shown["unclear"]] == [
        "its name can be that of sales.old_orders or sales_old.orders"
    ]
    assert answer.code == 0
    assert answer.out.endswith(": 1 version adopted\n")
    assert len(shop.versions(ORDERS)) == 2


def test_a_snapshot_is_taken_listed_and_restored(shop: House, bbq: Bbq) -> None:
    taken = json_of(bbq, "snapshot")
    (listed,) = json_of(bbq, "snapshots")
    shop.sql(f"DROP SCHEMA `{VAULT}.bbq_catalog` CASCADE", project=VAULT)
    unknown = bbq("catalog", "restore", "events_19990101")
    answer = bbq("catalog", "restore", listed["name"])

    assert listed["table"] == taken["table"]
    assert unknown.code == 2
    assert answer.code == 0
    assert bbq("catalog", "check").code == 0
    assert len(shop.versions(ORDERS)) == 1
