"""Seconds until Dagster's webserver has answered what the Partitions page of an asset with 100,000 keys asks for.

The real webserver and code server on Postgres, all keys materialized. The questions are those that Dagster's UI was
seen to ask in a browser when somebody opens the page for the first time (partitions_page.graphql), as many at once as a
browser sends. Each figure is the slowest of three openings, the first one right after the keys were materialized.
Beside it an asset with a tenth of the keys.
A number of keys may be given: `python -m benchmarks.ui_100k_keys 10000`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
from graphql import DocumentNode, OperationDefinitionNode, parse, print_ast, separate_operations

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.discovery import remember_datasets
from bbq_dagster.defs.events import Materialized, RunEvents, add_partitions, remember_states
from bbq_dagster.defs.names import asset_key_of, partitions_of
from bbq_dagster_tests.builders import NOW
from bbq_dagster_tests.defs.world import settings_in
from benchmarks._dagster import on_postgres, size_asked_for
from benchmarks._figure import print_figure

KEYS, OPENINGS = 100_000, 3
TARGET_SECONDS = 3
START_SECONDS = 120
CONFIG = "backup_project: acme-backup\ncatalog: {location: EU}\nsources: [{project: acme-shop}]\n"
AT_ONCE = 6
"""A browser has no more connections to one server."""
PAGE = Path(__file__).with_name("partitions_page.graphql")
IN_ORDER = (
    "PartitionHealthQuery",
    "ShouldShowNux",
    "AssetRecordsQuery",
    "CodeLocationStatusQuery",
    "AssetViewDefinitionQuery",
    "InstanceWarningQuery",
    "PermissionsQuery",
    "AssetStaleStatusDataQuery",
    "AssetGraphLiveQuery",
    "AssetsFreshnessInfoQuery",
    "LocationWorkspaceQuery",
    "LocationWorkspaceAssetsQuery",
)
"""The questions as the page asks them."""


@dataclass(frozen=True, slots=True)
class Question:
    """An operation of the page with the fragments that it uses, and the variables that it takes."""

    name: str
    text: str
    variables: frozenset[str]


def main() -> None:
    keys = size_asked_for(KEYS)
    with on_postgres() as instance:
        tenth, whole = DatasetRef("acme-shop", "tenth"), DatasetRef("acme-shop", "whole")
        _materialize(instance, tenth, keys // 10)
        _materialize(instance, whole, keys)
        with _webserver([tenth, whole]) as url:
            seconds = {dataset: max(_open(url, dataset) for _ in range(OPENINGS)) for dataset in (tenth, whole)}
    print_figure("ui_100k_keys, a tenth", seconds[tenth], "s", target=None)
    print_figure("ui_100k_keys", seconds[whole], "s", target=TARGET_SECONDS)


def _materialize(instance: dg.DagsterInstance, dataset: DatasetRef, count: int) -> None:
    keys = [f"events_{number // 1000:03}${number % 1000:04}" for number in range(count)]
    add_partitions(instance, partitions_of(dataset), keys)
    rows = {"rows": dg.MetadataValue.int(1)}
    events = RunEvents(instance, "a run that is gone", "__ASSET_JOB", "backup")
    materialized = (Materialized(key, "modified", rows, "version") for key in keys)
    events.record_materializations(asset_key_of(dataset), materialized, at=NOW)
    remember_states(instance, asset_key_of(dataset), partitions_of(dataset))


@contextmanager
def _webserver(datasets: list[DatasetRef]) -> Iterator[str]:
    """Dagster's webserver for the instance that ``DAGSTER_HOME`` names, with an asset for each dataset."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bbq.yaml").write_text(CONFIG)
        remember_datasets(settings_in(folder / ".bbq"), datasets)
        environment = {**os.environ, "BBQ_CONFIG": str(folder / "bbq.yaml")}
        port = _free_port()
        command = [sys.executable, "-m", "dagster_webserver", "-m", "bbq_dagster.definitions", "-p", str(port)]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/graphql"
            _wait_until_served(url)
            yield url
        finally:
            server.terminate()
            server.wait(30)


def _questions() -> list[Question]:
    documents = separate_operations(parse(PAGE.read_text()))
    return [Question(name, print_ast(documents[name]), _variables(documents[name])) for name in IN_ORDER]


def _variables(document: DocumentNode) -> frozenset[str]:
    return frozenset(
        variable.variable.name.value
        for operation in document.definitions
        if isinstance(operation, OperationDefinitionNode)
        for variable in operation.variable_definitions
    )


def _open(url: str, dataset: DatasetRef) -> float:
    questions = _questions()
    with ThreadPoolExecutor(AT_ONCE) as browser:
        began = time.perf_counter()
        list(browser.map(lambda question: _ask(url, question, dataset), questions))
        seconds = time.perf_counter() - began
    print(f"{dataset}: {seconds:.2f} s", flush=True)
    return seconds


def _ask(url: str, question: Question, dataset: DatasetRef) -> None:
    key = {"path": [dataset.project, dataset.dataset]}
    given = {"assetKey": key, "assetKeys": [key], "limit": 1000, "name": "bbq_dagster.definitions"}
    variables = {name: value for name, value in given.items() if name in question.variables}
    body = {"operationName": question.name, "query": question.text, "variables": variables}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.loads(response.read())
    assert "errors" not in answer, answer


def _wait_until_served(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{url}?query={{version}}", timeout=10).close()
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
