"""Copies of many tables of one row: the load of the benchmarks that measure how fast copies are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bbq_dagster.apply.copying import CopyLimits, CopyOutcome, TableCopies, run_copies
from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.local.server import LocalBigQueryAdmin
from bbq_dagster.settings.values import CatalogSettings, Limits, Settings, Source
from bbq_dagster.stack import Stack, open_stack
from benchmarks._server import PROJECT, client_of, running

VAULT = "vault"
SALES = DatasetRef(PROJECT, "sales")
UNCAPPED = 1_000
"""Requests per second that no server on this machine answers."""


@dataclass(frozen=True, slots=True)
class House:
    """A server with so many tables to copy, ``t_0`` and on, and the stack that copies them."""

    admin: LocalBigQueryAdmin
    stack: Stack
    tables: int

    def plan(self, name: str) -> BackupPlan:
        """A copy of every table into a backup table of its own; another name gives other backup tables."""
        units = [Unit(SALES.table(f"t_{number}")) for number in range(self.tables)]
        return self.stack.plan_units(units, now=datetime.now(UTC), by=name, only_changed=False, salt=name)

    def copy(self, plan: BackupPlan, limits: CopyLimits) -> float:
        return make_copies(self.admin.url, plan, limits)


def make_copies(url: str, plan: BackupPlan, limits: CopyLimits) -> float:
    """Only make the copies, with nothing checked or recorded, all of them. Seconds that it took."""
    warehouse = open_stack(_settings(url, UNCAPPED)).warehouse
    for destination in {backup.destination.in_dataset for backup in plan.backups}:
        warehouse.ensure_dataset(destination, location="EU", description="")
    tables = [TableCopies(backup.destination, backup.copies) for backup in plan.backups]
    seconds: list[float] = []
    turns = run_copies(tables, warehouse, limits=limits, on_progress=lambda now: seconds.append(now.elapsed))
    ends = [end for turn in turns for end in turn]
    assert all(isinstance(end, CopyOutcome) for end in ends), ends[:3]
    return seconds[-1]


@contextmanager
def house(tables: int, *, requests_per_second: int = UNCAPPED) -> Iterator[House]:
    with running() as admin:
        client = client_of(admin)
        client.create_dataset(str(SALES))
        client.load_table_from_json([{"a": 1}], f"{SALES}.t").result()
        admin.multiply(f"{SALES}.t", tables)
        yield House(admin, open_stack(_settings(admin.url, requests_per_second)), tables)


def _settings(url: str, requests_per_second: int) -> Settings:
    return Settings(
        endpoint=url,
        credentials="anonymous",
        backup_project=VAULT,
        catalog=CatalogSettings("bbq_catalog", "EU"),
        sources=(Source(PROJECT),),
        limits=Limits(requests_per_second=requests_per_second),
        state_dir=Path(),
        path=Path("bbq.yaml"),
    )
