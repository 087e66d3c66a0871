"""The catalog is lost and rebuilt from the backup project alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bbq_dagster.core.rebuild import OWNER, REBUILT
from bbq_dagster.core.restore_request import RestoreRequest, Scope
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.errors import Refused
from bbq_dagster.stack import open_stack
from bbq_dagster_tests.e2e.house import MINUTE, SHOP, VAULT, House, backups_of
from bbq_dagster_tests.e2e.retaining import DAY, EVENTS, ORDERS, backups, plan, with_retention


@pytest.fixture
def shop(house_of_five_days: House) -> House:
    return house_of_five_days


def lose_catalog(house: House) -> None:
    house.sql(f"DROP SCHEMA `{VAULT}.bbq_catalog` CASCADE", project=VAULT)
    # Another process, which has not seen the catalog before.
    house.stack = replace(house.stack, catalog=open_stack(house.stack.settings).catalog)


def rebuild(house: House) -> int:
    made = house.stack.plan_rebuild()
    return len(house.stack.rebuild_catalog(approved=made.digest, run_id="rebuild").versions)


def facts(house: House) -> list[tuple[object, ...]]:
    found = house.versions(ORDERS, EVENTS)
    return sorted((v.version_id, str(v.unit), str(v.backup), v.rows, v.size_bytes, v.location) for v in found)


def test_every_version_is_back_under_its_old_id(shop: House) -> None:
    before = facts(shop)
    lose_catalog(shop)
    count = rebuild(shop)

    assert count == len(before)
    assert facts(shop) == before
    assert {version.reason for version in shop.versions(ORDERS, EVENTS)} == {REBUILT}
    assert shop.stack.check_catalog().is_none


def test_nothing_that_is_unchanged_is_copied_again(shop: House) -> None:
    lose_catalog(shop)
    rebuild(shop)

    assert shop.plan().is_empty
    shop.sql(f"INSERT `{ORDERS}` VALUES (77)")
    assert [str(unit.unit) for unit in shop.plan().units] == [ORDERS]


def test_a_write_right_after_the_copy_is_not_missed(shop: House) -> None:
    shop.sql(f"UPDATE `{ORDERS}` SET n = n + 1 WHERE TRUE")
    lose_catalog(shop)
    rebuild(shop)

    assert [str(unit.unit) for unit in shop.plan().units] == [ORDERS]


def test_a_table_that_was_created_anew_is_copied(shop: House) -> None:
    lose_catalog(shop)
    rebuild(shop)
    shop.sql(f"CREATE OR REPLACE TABLE `{ORDERS}` AS SELECT n FROM UNNEST([0, 1, 2, 3, 4]) AS n")

    assert [str(unit.unit) for unit in shop.plan().units] == [ORDERS]


def test_what_is_rebuilt_is_held_until_somebody_has_looked(shop: House) -> None:
    with_retention(shop, RetentionRules(keep_last=1))
    lose_catalog(shop)
    rebuild(shop)
    shop.later()
    shop.back_up("scan")
    before = backups(shop)
    held = plan(shop)
    (hold,) = shop.stack.holds()
    shop.stack.release(hold.hold_id, run_id="r")

    assert held.deletions == ()
    assert (hold.owner, hold.target) == (OWNER, f"{SHOP}.sales.*")
    assert backups(shop) == before
    assert plan(shop).deletions != ()


def test_a_rebuild_twice_is_a_rebuild_once(shop: House) -> None:
    lose_catalog(shop)
    rebuild(shop)
    shop.later()

    assert rebuild(shop) == 0
    assert len(shop.stack.holds()) == 1


def test_what_is_on_record_stays_as_it_is(shop: House) -> None:
    """The catalog was lost, a backup made a new one, and then somebody noticed."""
    before = facts(shop)
    lose_catalog(shop)
    report = shop.back_up("all of it again")
    new = {outcome.version.version_id for outcome in report.versions}
    rebuild(shop)
    reasons = {version.version_id: version.reason for version in shop.versions(ORDERS, EVENTS)}

    assert {reasons[identity] for identity in new} == {"never backed up"}
    assert {reasons[identity] for identity, *_ in before} == {REBUILT}


def test_what_moved_since_it_was_shown_is_not_recorded(shop: House) -> None:
    lose_catalog(shop)
    with pytest.raises(Refused, match="nothing was recorded"):
        shop.stack.rebuild_catalog(approved="0123456789abcdef", run_id="r")

    assert not shop.stack.catalog.is_there()


def test_versions_are_restored_from_a_rebuilt_catalog(shop: House) -> None:
    expected = {table: shop.rows_of(table, location="EU") for table in (ORDERS, EVENTS)}
    lose_catalog(shop)
    rebuild(shop)
    shop.sql(f"DROP TABLE `{EVENTS}`")
    shop.sql(f"DROP TABLE `{ORDERS}`")
    shop.later(DAY)
    restore = shop.stack.plan_restore(RestoreRequest((Scope.parse(f"{SHOP}.sales"),)), now=shop.now)

    assert shop.stack.apply_restore(restore, run_id="restore").ok
    assert {table: shop.rows_of(table, location="EU") for table in (ORDERS, EVENTS)} == expected


def test_a_snapshot_and_a_rebuild_together_have_everything(shop: House) -> None:
    with_snapshot = facts(shop)
    taken = shop.stack.take_catalog_snapshot()
    shop.sql(f"INSERT `{ORDERS}` VALUES (77)")
    (after,) = backups_of(shop.back_up("after the snapshot"))
    before_loss = facts(shop)
    lose_catalog(shop)
    shop.stack.restore_catalog(taken.table.table)
    restored = facts(shop)
    rebuild(shop)
    reasons = {version.version_id: version.reason for version in shop.versions(ORDERS, EVENTS)}

    assert restored == with_snapshot
    assert facts(shop) == before_loss
    assert [identity for identity, reason in reasons.items() if reason == REBUILT] == [after.version_id]
    assert shop.stack.check_catalog().is_none


def test_an_old_snapshot_goes_by_itself_when_the_settings_say(shop: House) -> None:
    settings = shop.stack.settings
    other = replace(settings.catalog, snapshots_dataset="kept", snapshots_kept_days=90)
    chosen = open_stack(replace(settings, catalog=other), clock=shop.stack.clock)
    built_in = shop.stack.take_catalog_snapshot().table
    shop.later()
    named = chosen.take_catalog_snapshot().table
    expires = [shop.client_of(VAULT).get_table(str(table)).expires for table in (built_in, named)]

    assert [built_in.dataset, named.dataset] == ["bbq_catalog_snapshots", "kept"]
    assert expires == [shop.now - MINUTE + 30 * DAY, shop.now + 90 * DAY]
    assert [one.table for one in chosen.catalog.snapshots()] == [named]
