"""The server with the sources, and the product on it: a stack whose process can end at any of its calls.

The clock is the server's. Nothing is decided here: ``driver`` says what happens when.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

from google.api_core.exceptions import NotFound
from google.cloud import bigquery
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from bbq_dagster.core.anomalies import GATE
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import Settings, load_settings
from bbq_dagster.stack import Stack
from bbq_dagster.warehouse.bigquery import BigQueryWarehouse
from bbq_dagster.warehouse.catalog_store import BigQueryCatalog
from bbq_dagster.warehouse.client import Patience, build_client
from bbq_dagster_tests.years.actions import SHAPES, Action, Effect, Sql
from bbq_dagster_tests.years.model import DAY, Kind, Policy, Row, Truth

SHOP, CLIMATE, VAULT, LAB = "acme-shop", "acme-climate", "acme-vault", "acme-lab"
LOCATIONS = {DatasetRef(SHOP, "sales"): "EU", DatasetRef(SHOP, "web"): "EU", DatasetRef(CLIMATE, "weather"): "US"}

POLICIES = {
    "t*1": Policy(young=4),
    "t*2": Policy(hours=2, years=1, within=20 * DAY),
    "*": Policy(last=2, days=3, weeks=2, months=3),
}
"""The retention of tables, by what their names match first."""

SMALLEST_ROWS, LOST_SHARE = 4, 0.5
"""From how many rows on the anomaly gate flags what lost a larger share of them."""

_OVERRIDES = [
    f'{{dataset: "*", table: "{pattern}", policy: {{retention: {policy.settings()}}}}}'
    for pattern, policy in POLICIES.items()
]
_ANOMALY = f"{{rows_lost_share: {LOST_SHARE}, bytes_lost_share: 1, smallest_rows: {SMALLEST_ROWS}}}"

SETTINGS = """
endpoint: {url}
credentials: anonymous
backup_project: {vault}
catalog: {{location: EU}}
sources:
  - {{project: {shop}, overrides: {overrides}}}
  - {{project: {climate}, overrides: {overrides}}}
restore_projects: [{lab}]
defaults: {{policy: {{anomaly: {anomaly}}}}}
verify: {{share_per_day: 1, versions_per_day: 6, drills_per_day: 1}}
limits:
  threads: 2
  requests_per_second: 1000
  retry_for_seconds: 2
  retention_share_of_versions: 1
  retention_share_of_bytes: 1
  retention_max_scan_age_hours: 8760
state_dir: {folder}/state
"""

_PATIENCE = Patience(request_timeout=30, give_up_after=2, first_pause=0.001, longest_pause=0.01)


def policy_of(table: TableRef) -> Policy:
    return next(policy for pattern, policy in POLICIES.items() if fnmatchcase(table.table, pattern))


class Killed(BaseException):
    """The process ends here. Nobody catches it: it is no ``Exception``."""


@dataclass(frozen=True, slots=True)
class Kill:
    """At which of its calls a process ends, counted from 1: before the call is made, or when its answer comes."""

    call: int
    after: bool


class _Line(HTTPAdapter):
    """The way to the server; from the call on at which it is killed, nothing goes out any more."""

    def __init__(self, kill: Kill | None) -> None:
        super().__init__(pool_connections=4, pool_maxsize=8)
        self._kill = kill
        self._calls = 0
        self._lock = threading.Lock()

    def send(self, request: PreparedRequest, *given: Any, **options: Any) -> Response:
        with self._lock:
            self._calls += 1
            number = self._calls
        kill = self._kill
        if kill is None or number < kill.call:
            return super().send(request, *given, **options)
        if kill.after and number == kill.call:
            super().send(request, *given, **options)
        raise Killed(number)


class Estate:
    """The embedded BigQuery, by what can be done to it."""

    def __init__(self, server: LocalBigQuery, folder: Path, start: datetime) -> None:
        self._server = server
        self._settings = _settings(server.url, folder)
        self._clients: dict[tuple[str, str], bigquery.Client] = {}
        self.now = start
        self.turn_clock(start)
        for dataset, location in LOCATIONS.items():
            self._run(dataset, f"CREATE SCHEMA `{dataset}` OPTIONS (location = '{location}')")

    # Time and trouble

    def turn_clock(self, now: datetime) -> None:
        self.now = now
        self._server.set_clock(now)

    def fault(self, match: Mapping[str, Any], action: Mapping[str, Any], **rule: Any) -> None:
        self._server.fault(match, action, **rule)

    def clear_faults(self) -> None:
        self._server.clear_faults()

    def stack(self, kill: Kill | None = None) -> Stack:
        """The product as a process of its own has it."""
        client = build_client(VAULT, endpoint=self._settings.endpoint, credentials="anonymous")
        client._http.mount("http://", _Line(kill))
        return Stack(
            self._settings,
            BigQueryWarehouse(client, patience=_PATIENCE),
            BigQueryCatalog(client, backup_project=VAULT, dataset="bbq_catalog", location="EU", patience=_PATIENCE),
            clock=lambda: self.now,
        )

    # The sources

    def carry_out(self, actions: Iterable[Action], truth: Truth) -> None:
        """Let the actions happen: to the truth, and by one script for each location to the server."""
        truth.settle(self.now)
        effects = [effect for action in actions for effect in action.happen(truth, self.now)]
        statements = [effect for effect in effects if isinstance(effect, Sql)]
        home = {id(effect): (effect.dataset.project, LOCATIONS[effect.dataset]) for effect in statements}
        for _, same in groupby(sorted(statements, key=lambda sql: home[id(sql)]), key=lambda sql: home[id(sql)]):
            script = list(same)
            self._run(script[0].dataset, ";\n".join(sql.text for sql in script))
        for effect in effects:
            self._stream(effect)

    def _stream(self, effect: Effect) -> None:
        if isinstance(effect, Sql):
            return
        client = self._client(effect.table.project, LOCATIONS[effect.table.in_dataset])
        errors = client.insert_rows_json(str(effect.table), list(effect.rows))
        assert not errors, errors

    def _run(self, dataset: DatasetRef, script: str) -> None:
        self._client(dataset.project, LOCATIONS[dataset]).query_and_wait(script)

    # What is there

    def events(self, since: datetime) -> list[Mapping[str, Any]]:
        """What was recorded of versions and absences, and what the anomaly gate flagged; oldest first."""
        sql = f"""
            SELECT DISTINCT event_id, event, recorded_at, captured_at, version_id, row_count, backup_dataset,
              backup_table, partition_id, hold_id,
              CONCAT(source_project, '.', source_dataset, '.', source_table) AS source
            FROM `{VAULT}.bbq_catalog.events`
            WHERE recorded_at >= @since
              AND (event IN ('version_created', 'version_deleted', 'vanished', 'emptied')
                OR (event = 'held' AND owner = '{GATE}'))
            ORDER BY recorded_at, captured_at, event_id"""
        return [dict(row.items()) for row in self._ask_catalog(sql, since=since)]

    def live_versions(self) -> dict[str, Unit]:
        """What the catalog's own view shows: ids, and where each is."""
        sql = f"SELECT version_id, backup_dataset, backup_table, partition_id FROM `{VAULT}.bbq_catalog.versions`"
        return {row[0]: TableRef(VAULT, row[1], row[2]).unit(row[3]) for row in self._ask_catalog(sql)}

    def _ask_catalog(self, sql: str, **instants: datetime) -> list[bigquery.Row]:
        """Nothing, before the first backup has made it."""
        given = [bigquery.ScalarQueryParameter(name, "TIMESTAMP", at) for name, at in instants.items()]
        config = bigquery.QueryJobConfig(query_parameters=given)
        try:
            return list(self._client(VAULT, "EU").query_and_wait(sql, job_config=config))
        except NotFound:
            return []

    def backup_places(self) -> dict[Unit, int]:
        """Every backup table and partition that holds rows, and how many."""
        places: dict[Unit, int] = {}
        client = self._client(VAULT, "EU")
        for listed in client.list_datasets():
            if listed.dataset_id == "bbq_catalog":
                continue
            location = client.get_dataset(listed.reference).location
            partitions = f"`{VAULT}.{listed.dataset_id}`.INFORMATION_SCHEMA.PARTITIONS"
            sql = f"SELECT table_name, partition_id, total_rows FROM {partitions}"
            for table, partition, rows in self._client(VAULT, location).query_and_wait(sql):
                if rows:
                    places[TableRef(VAULT, listed.dataset_id, table).unit(partition)] = rows
        return places

    def delete_every_other(self, tables: Iterable[TableRef], location: str) -> None:
        """The rows with an even number, of tables of one location."""
        script = ";\n".join(f"DELETE FROM `{table}` WHERE MOD(n, 2) = 0" for table in sorted(tables))
        self._client(LAB, location).query_and_wait(script)

    def rows_in(self, dataset: DatasetRef, location: str) -> dict[Unit, list[Row]]:
        """Every row of every table of a dataset, in order, each in the partition it is in."""
        client = self._client(dataset.project, location)
        kinds = {
            table.table_id: _kind_of(client.get_table(table.reference)) for table in client.list_tables(str(dataset))
        }
        if not kinds:
            return {}
        parts = (
            f"SELECT '{name}', {SHAPES[kind].id_of_row},"
            " JSON_VALUE(j, '$.n'), JSON_VALUE(j, '$.v'), JSON_VALUE(j, '$.c')"
            f" FROM (SELECT *, {_pseudo(kind)} TO_JSON_STRING(t) AS j FROM `{dataset.table(name)}` AS t)"
            for name, kind in kinds.items()
        )
        found: dict[Unit, list[Row]] = {}
        for name, partition, n, v, c in client.query_and_wait("\nUNION ALL\n".join(parts)):
            unit = dataset.table(name).unit(partition or None)
            found.setdefault(unit, []).append((int(n), int(v), None if c is None else int(c)))
        return {unit: sorted(rows) for unit, rows in found.items()}

    def drop(self, dataset: DatasetRef, location: str) -> None:
        self._client(dataset.project, location).delete_dataset(str(dataset), delete_contents=True, not_found_ok=True)

    def _client(self, project: str, location: str) -> bigquery.Client:
        key = project, location
        if key not in self._clients:
            self._clients[key] = self._server.client(project, location=location)
        return self._clients[key]


def _settings(url: str, folder: Path) -> Settings:
    path = folder / "bbq.yaml"
    overrides = f"[{', '.join(_OVERRIDES)}]"
    names = {"vault": VAULT, "shop": SHOP, "climate": CLIMATE, "lab": LAB}
    path.write_text(SETTINGS.format(url=url, folder=folder, overrides=overrides, anomaly=_ANOMALY, **names))
    return replace(load_settings(path, {}), path=path)


def _pseudo(kind: Kind) -> str:
    return "_PARTITIONTIME," if kind is Kind.INGESTED else ""


def _kind_of(table: bigquery.Table) -> Kind:
    if table.range_partitioning is not None:
        return Kind.RANGE
    partitioning = table.time_partitioning
    if partitioning is None:
        return Kind.PLAIN
    return Kind.INGESTED if partitioning.field is None else Kind(partitioning.type_.lower())
