"""A repair or a rebuild that stops at any call is finished by the next one."""

from __future__ import annotations

import pytest

from bbq_dagster.apply.mending import apply_rebuild, apply_repair
from bbq_dagster.apply.stocktaking import look_at_backups, read_catalog
from bbq_dagster.core.drift import find_drift
from bbq_dagster.core.naming import backup_table
from bbq_dagster.core.rebuild import plan_rebuild
from bbq_dagster.errors import Permanent
from bbq_dagster_tests.builders import BACKUPS, CREATED_AT, EVENTS, ORDERS, a_state
from bbq_dagster_tests.fakes import Calls, Crash, FakeCatalog, FakeClock, FakeWarehouse

PLACES = {
    source: BACKUPS.table(backup_table(source, [(source.unit(), a_state())], created_at=CREATED_AT))
    for source in (ORDERS, EVENTS)
}


class Vault:
    """Two copies that nobody recorded, one of which expires."""

    def __init__(self) -> None:
        self.clock, self.calls = FakeClock(), Calls()
        self.warehouse, self.catalog = FakeWarehouse(self.clock, self.calls), FakeCatalog(self.calls)
        self.warehouse.create_dataset(BACKUPS)
        self.warehouse.create_table(PLACES[ORDERS], rows=3, expires=True)
        self.warehouse.create_partitioned_table(PLACES[EVENTS], {"20260101": 1, "20260102": 2})

    def rebuild(self) -> None:
        catalog = read_catalog(self.catalog)
        plan = plan_rebuild(catalog, look_at_backups(self.warehouse, BACKUPS.project, on_record=catalog.records))
        apply_rebuild(plan, self.catalog, run_id="r", clock=self.clock.now, approved=plan.digest)

    def repair(self) -> bool:
        catalog = read_catalog(self.catalog)
        drift = find_drift(catalog, look_at_backups(self.warehouse, BACKUPS.project, on_record=catalog.records))
        return apply_repair(
            drift, self.warehouse, self.catalog, run_id="r", clock=self.clock.now, approved=drift.digest
        ).ok

    @property
    def units(self) -> list[str]:
        return sorted(version.unit.key for version in self.catalog.versions([ORDERS, EVENTS]))


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("call", range(12))
@pytest.mark.parametrize("mend", [Vault.rebuild, Vault.repair], ids=["rebuild", "repair"])
def test_what_stopped_is_finished_by_the_next_run(mend, call: int, after: bool) -> None:
    vault = Vault()
    vault.calls.crash_at, vault.calls.crash_after = call, after
    try:
        mend(vault)
    except Crash:
        vault.clock.sleep(60)
    vault.calls.crash_at = None
    mend(vault)

    assert vault.units == ["events$20260101", "events$20260102", "orders"]
    assert len(vault.catalog.holds()) == (mend is Vault.rebuild)
    assert len({event.version_id for event in vault.catalog.events if event.version_id}) == 3


def test_versions_are_held_before_they_are_recorded() -> None:
    vault = Vault()
    vault.rebuild()
    appended = [about for name, about in vault.calls.log if name == "append"]

    assert appended == ["held", "version_created"]


def test_a_copy_that_cannot_be_let_live_is_named_and_stops_nothing() -> None:
    vault = Vault()
    vault.calls.fail_next("remove_expirations", Permanent("Access Denied"))
    first, second = vault.repair(), vault.repair()

    assert (first, second) == (False, True)
    assert len(vault.units) == 3
