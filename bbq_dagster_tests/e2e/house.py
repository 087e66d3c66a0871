"""A house with data in it: two source projects in two locations, a backup project, and the stack that protects them.

Runs on the embedded BigQuery with the real client; the clock stands still until a test moves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.cloud import bigquery

from bbq_dagster.apply.backup import BackupReport
from bbq_dagster.core.plan import BackupPlan
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack

SHOP, CLIMATE, VAULT = "acme-shop", "acme-climate", "acme-vault"
MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

SETTINGS = f"""
endpoint: {{url}}
credentials: anonymous
backup_project: {VAULT}
catalog: {{{{location: EU}}}}
sources:
  - project: {SHOP}
  - project: {CLIMATE}
limits: {{{{max_units_per_run: 100, retry_for_seconds: 2}}}}
state_dir: {{state_dir}}
"""


@dataclass
class House:
    """The embedded BigQuery with sources, and the stack on it."""

    bigquery: LocalBigQuery
    stack: Stack
    now: datetime = MONDAY

    @classmethod
    def build(cls, bigquery: LocalBigQuery, folder: Path) -> House:
        house = cls.on(bigquery, folder, MONDAY)
        house.add_dataset(f"{SHOP}.sales", location="EU")
        house.add_dataset(f"{CLIMATE}.weather", location="US")
        house.bigquery.client(VAULT)
        return house

    @classmethod
    def on(cls, bigquery: LocalBigQuery, folder: Path, now: datetime) -> House:
        """On what the embedded BigQuery has already."""
        bigquery.set_clock(now)
        path = folder / "bbq.yaml"
        path.write_text(SETTINGS.format(url=bigquery.url, state_dir=folder / "state"))
        house = cls(bigquery, open_stack(load_settings(path, {})), now)
        house.stack = Stack(house.stack.settings, house.stack.warehouse, house.stack.catalog, clock=lambda: house.now)
        return house

    def add_dataset(self, name: str, *, location: str) -> None:
        dataset = bigquery.Dataset(name)
        dataset.location = location
        self.client_of(name).create_dataset(dataset)

    def client_of(self, name: str) -> bigquery.Client:
        return self.bigquery.client(name.split(".")[0])

    def sql(self, text: str, *, location: str = "EU", project: str = SHOP) -> list[tuple[object, ...]]:
        rows = self.bigquery.client(project).query(text, location=location).result()
        return [tuple(row.values()) for row in rows]

    def later(self, step: timedelta = MINUTE) -> None:
        """Let time pass, for BigQuery and for us."""
        self.now += step
        self.bigquery.set_clock(self.now)

    def plan(self) -> BackupPlan:
        return self.stack.plan_changed(now=self.now)

    def back_up(self, run_id: str = "run") -> BackupReport:
        """Back up all that changed, a minute later."""
        self.later()
        report = self.stack.apply(self.plan(), run_id=run_id)
        self.later()
        return report

    def versions(self, *names: str) -> list[Version]:
        return self.stack.catalog.versions([Unit.parse(name).table for name in names])

    def rows_of(self, table: str, *, location: str) -> list[str]:
        """All rows of a table as JSON, sorted."""
        text = f"SELECT TO_JSON_STRING(t) FROM `{table}` AS t"
        return sorted(str(row[0]) for row in self.sql(text, location=location))


def units_of(planned: Iterable[object]) -> list[str]:
    """The keys of units, sorted: of a plan's units, of versions, of failures."""
    return sorted(str(item.unit.key) for item in planned)  # type: ignore[attr-defined]


def reasons_of(plan: BackupPlan) -> dict[str, str]:
    return {unit.unit.key: unit.reason for unit in plan.units}


def first_words(reasons: dict[str, str], count: int = 1) -> dict[str, str]:
    return {key: " ".join(reason.split()[:count]).rstrip(",") for key, reason in reasons.items()}


def made(report: BackupReport) -> list[str]:
    return units_of(outcome.version for outcome in report.versions)


def backups_of(report: BackupReport) -> Sequence[Version]:
    return [outcome.version for outcome in report.versions]
