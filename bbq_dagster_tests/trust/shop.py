"""A small shop whose tables cover what a backup does, as it stands before each operation; and a copy of it to break.

Two datasets in two projects and locations: plain tables, one partitioned by a column, one by the time of ingestion with
rows in its streaming buffer, one that is emptied and one that is dropped. ``build_shop`` makes it once per stage and
leaves it in a folder; ``open_shop`` serves a copy of that folder, so that every case begins in the very same state,
down to the clock of the server, which stands still.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from google.cloud import bigquery

from bbq_dagster.core.restore_render import write_plan
from bbq_dagster.core.restore_request import OnExisting, RestoreRequest, Scope, Target
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack

SHOP, CLIMATE, VAULT, LAB = "acme-shop", "acme-climate", "acme-vault", "acme-lab"
SALES, WEATHER = DatasetRef(SHOP, "sales"), DatasetRef(CLIMATE, "weather")
LOCATIONS = {SALES: "EU", WEATHER: "US"}
DAY = timedelta(days=1)

SETTINGS = f"""
endpoint: {{url}}
credentials: anonymous
backup_project: {VAULT}
catalog: {{{{location: EU}}}}
sources:
  - project: {SHOP}
  - project: {CLIMATE}
restore_projects: [{LAB}]
defaults: {{{{policy: {{{{retention: {{{{keep_last: 1}}}}}}}}}}}}
limits:
  threads: {{threads}}
  requests_per_second: 1000
  request_timeout_seconds: {{timeout}}
  retry_for_seconds: {{retry_for}}
  retention_share_of_versions: 1
  retention_share_of_bytes: 1
  retention_max_scan_age_hours: 8760
verify: {{{{share_per_day: 1, drills_per_day: 1}}}}
state_dir: {{folder}}/state
"""


THINNING = "thinned"
"""The run of retention that has deleted versions."""


class Stage(StrEnum):
    """How far the shop has come."""

    NEW = "nothing was ever backed up"
    CHANGED = "backed up, and changed since"
    OLD = "backed up on three days, with a hold on an old version"
    DRIFTED = "the same, with copies that are not as the catalog says"
    LOST = "the same, without a catalog"
    KEPT = "the same, without a catalog, and with a snapshot of it"
    THINNED = "the same, with versions that retention has deleted"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the process under test waits, in seconds, and how many requests it has under way."""

    timeout: int = 60
    retry_for: int = 60
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Shop:
    """A server with the shop in it, and the folder with settings, plan and Dagster's home."""

    server: LocalBigQuery
    folder: Path

    @property
    def settings(self) -> Path:
        return self.folder / "bbq.yaml"

    @property
    def restore_plan(self) -> Path:
        return self.folder / "restore.json"

    @property
    def given(self) -> Path:
        """What its owner has looked up for the next command: a digest, an id."""
        return self.folder / "given"

    @property
    def dagster_home(self) -> Path:
        return self.folder / "dagster"

    def stack(self) -> Stack:
        """What the settings name, by the server's clock."""
        return replace(open_stack(load_settings(self.settings, {})), clock=self.server.now)

    def be_patient(self, patience: Patience) -> None:
        """From now on, as the settings say so."""
        text = SETTINGS.format(
            url=self.server.url,
            folder=self.folder,
            threads=patience.threads,
            timeout=patience.timeout,
            retry_for=patience.retry_for,
        )
        self.settings.write_text(text)

    def sql(self, dataset: DatasetRef, *statements: str) -> None:
        client = self.server.client(dataset.project, location=LOCATIONS[dataset])
        for statement in statements:
            client.query_and_wait(statement)


def build_shop(folder: Path, stage: Stage, look_up: Callable[[Shop], None]) -> None:
    """Leave the shop at ``stage`` in ``folder``; its owner has looked something up last."""
    folder.mkdir(parents=True)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with LocalBigQuery(folder / "bigquery", now=now - 3 * DAY) as server:
        shop = Shop(server, folder)
        shop.be_patient(Patience(threads=8))
        _open_for_business(shop)
        if stage is not Stage.NEW:
            _back_up(shop)
            _first_changes(shop)
        if stage in _SINCE_IT_IS_OLD:
            _back_up(shop)
            _second_changes(shop)
            _back_up(shop)
            shop.stack().hold(f"{SALES}.orders", owner="ada", reason="audit", until=None, run_id="ada")
            _SINCE_IT_IS_OLD[stage](shop)
        server.set_clock(now)
        _stream(shop)
        look_up(shop)


@contextmanager
def open_shop(built: Path, folder: Path, patience: Patience) -> Iterator[Shop]:
    """Serve a copy of the shop in ``built`` from ``folder``, which is removed in the end."""
    shutil.copytree(built, folder)
    try:
        with LocalBigQuery(folder / "bigquery") as server:
            shop = Shop(server, folder)
            shop.be_patient(patience)
            yield shop
    finally:
        shutil.rmtree(folder)


def _open_for_business(shop: Shop) -> None:
    for dataset, location in LOCATIONS.items():
        made = bigquery.Dataset(str(dataset))
        made.location = location
        shop.server.client(dataset.project).create_dataset(made)
    shop.sql(
        SALES,
        f"CREATE TABLE `{SALES}.orders` AS SELECT n FROM UNNEST([1, 2]) AS n",
        f"CREATE TABLE `{SALES}.returns` AS SELECT 1 AS n",
        f"CREATE TABLE `{SALES}.coupons` AS SELECT 1 AS n",
        f"CREATE TABLE `{SALES}.events` PARTITION BY day AS"
        " SELECT DATE_ADD(DATE '2026-01-01', INTERVAL n DAY) AS day, n FROM UNNEST([0, 1, 2, 3]) AS n",
        f"CREATE TABLE `{SALES}.clicks` (n INT64) PARTITION BY _PARTITIONDATE",
        f"INSERT `{SALES}.clicks` (_PARTITIONTIME, n) VALUES (TIMESTAMP '2026-01-01', 1)",
    )
    shop.sql(
        WEATHER,
        f"CREATE TABLE `{WEATHER}.rain` PARTITION BY day AS"
        " SELECT DATE_ADD(DATE '2026-01-01', INTERVAL n DAY) AS day, n FROM UNNEST([0, 1, 2]) AS n",
    )


def _stream(shop: Shop) -> None:
    """Rows that stay in the buffer, as the clock stands still from now on."""
    assert shop.server.client(SHOP).insert_rows_json(f"{SALES}.clicks", [{"n": 2}]) == []


def _first_changes(shop: Shop) -> None:
    shop.sql(
        SALES,
        f"INSERT `{SALES}.orders` VALUES (3)",
        f"DELETE FROM `{SALES}.returns` WHERE TRUE",
        f"DROP TABLE `{SALES}.coupons`",
        f"INSERT `{SALES}.events` VALUES (DATE '2026-01-02', 10)",
        f"CREATE TABLE `{SALES}.invoices` AS SELECT 1 AS n",
    )
    shop.sql(WEATHER, f"INSERT `{WEATHER}.rain` VALUES (DATE '2026-01-03', 10)")
    _pass(shop)


def _second_changes(shop: Shop) -> None:
    shop.sql(SALES, f"INSERT `{SALES}.orders` VALUES (4)", f"INSERT `{SALES}.invoices` VALUES (2)")
    shop.sql(WEATHER, f"INSERT `{WEATHER}.rain` VALUES (DATE '2026-01-03', 11)")
    _pass(shop)


def _back_up(shop: Shop) -> None:
    _pass(shop)
    stack = shop.stack()
    report = stack.apply(stack.plan_changed(now=stack.clock()), run_id="earlier")
    assert report.ok, str(report)
    _pass(shop)


def _plan_restore(shop: Shop) -> None:
    """Into tables that are not there, but for one with a row of its own: what is done twice shows."""
    client = shop.server.client(LAB)
    client.query_and_wait("CREATE SCHEMA sales OPTIONS (location = 'EU')")
    client.query_and_wait("CREATE TABLE sales.orders AS SELECT 0 AS n", location="EU")
    request = RestoreRequest((Scope(SALES), Scope(WEATHER)), target=Target(LAB), on_existing=OnExisting.APPEND)
    stack = shop.stack()
    plan = stack.plan_restore(request, now=stack.clock())
    assert not plan.conflicts, str(plan)
    shop.restore_plan.write_text(write_plan(plan))


def _drift(shop: Shop) -> None:
    """A record without its copy, two copies without their records, two copies that expire."""
    live = reversed(shop.stack().catalog.live_versions(None))
    newest = {version.unit.key: version.backup.table for version in live}
    expires = "SET OPTIONS (expiration_timestamp = TIMESTAMP '2099-01-01')"
    client = shop.server.client(VAULT, location="EU")
    for statement in (
        f"DROP TABLE `{newest['invoices']}`",
        f"DELETE FROM bbq_catalog.events WHERE backup_table = '{newest['orders'].table}'",
        f"DELETE FROM bbq_catalog.events WHERE backup_table = '{newest['coupons'].table}'",
        f"ALTER TABLE `{newest['returns']}` {expires}",
        f"ALTER TABLE `{newest['events$20260104']}` {expires}",
    ):
        client.query_and_wait(statement)


def _lose_catalog(shop: Shop) -> None:
    shop.server.client(VAULT).delete_dataset("bbq_catalog", delete_contents=True)


def _keep_and_lose_catalog(shop: Shop) -> None:
    shop.stack().take_catalog_snapshot()
    _lose_catalog(shop)


def _thin(shop: Shop) -> None:
    stack = shop.stack()
    report = stack.apply_retention(stack.plan_retention(now=stack.clock()), run_id=THINNING)
    assert report.ok, str(report)
    _pass(shop)


_SINCE_IT_IS_OLD: Mapping[Stage, Callable[[Shop], None]] = {
    Stage.OLD: _plan_restore,
    Stage.DRIFTED: _drift,
    Stage.LOST: _lose_catalog,
    Stage.KEPT: _keep_and_lose_catalog,
    Stage.THINNED: _thin,
}
"""What happens to a shop that was backed up on three days."""


def _pass(shop: Shop) -> None:
    shop.server.advance(timedelta(hours=2))
