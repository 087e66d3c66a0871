"""Restores of many small tables, through the command line and through a Dagster run: whole, stopped, refused.

A process that is killed is a process of its own, killed for good, while the server holds one of its requests back. The
tables are appended to, so that what is done twice shows in their rows. `make bench NAME=restore_by_edges` does the same
with 2,500 tables, without killing anybody.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery

from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.restore_record import ItemState
from bbq_dagster.core.restore_render import write_plan
from bbq_dagster.core.restore_request import OnExisting, RestoreRequest, Scope, Target
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack

TABLES, KILLED = 200, 30
SALES = DatasetRef("acme-shop", "sales")
VAULT, LAB = "acme-vault", "acme-lab"
SETTINGS = f"""
endpoint: {{url}}
credentials: anonymous
backup_project: {VAULT}
catalog: {{{{location: EU}}}}
sources:
  - project: {SALES.project}
restore_projects: [{LAB}]
limits: {{{{requests_per_second: 1000, request_timeout_seconds: 60}}}}
state_dir: {{state_dir}}
"""


@dataclass
class Shop:
    """A dataset of small tables, ``t_0`` and on, a row each, that were backed up."""

    server: LocalBigQuery
    stack: Stack
    tables: int

    @classmethod
    def build(cls, server: LocalBigQuery, folder: Path, *, tables: int) -> Shop:
        (folder / "bbq.yaml").write_text(SETTINGS.format(url=server.url, state_dir=folder / "state"))
        shop = cls(server, open_stack(load_settings(folder / "bbq.yaml", {})), tables)
        shop.fill(SALES)
        report = shop.stack.apply(shop.stack.plan_changed(now=datetime.now(UTC)), run_id="backup")
        assert len(report.versions) == tables + 1
        return shop

    def fill(self, dataset: DatasetRef) -> None:
        client = self.server.client(dataset.project, location="EU")
        client.create_dataset(str(dataset))
        client.load_table_from_json([{"n": 1}], f"{dataset}.t").result()
        self.server.multiply(f"{dataset}.t", self.tables)

    def plan(self, into: DatasetRef, on_existing: OnExisting = OnExisting.FAIL) -> Path:
        """The file of a plan, where the Dagster job finds it too."""
        request = RestoreRequest(
            (Scope(SALES, "t_*"),), target=Target(into.project, into.dataset), on_existing=on_existing
        )
        plan = self.stack.plan_restore(request, now=datetime.now(UTC))
        assert len(plan.items) == self.tables, str(plan)
        return self._written(plan)

    def _written(self, plan: RestorePlan) -> Path:
        file = self.stack.settings.state_dir / "restores" / f"{plan.restore_id}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(write_plan(plan))
        return file

    def rows(self, dataset: DatasetRef) -> Mapping[str, int | None]:
        listed = self.server.client(dataset.project).list_tables(str(dataset), page_size=1000)
        found = (self.server.client(dataset.project).get_table(table.reference) for table in listed)
        return {table.table_id: table.num_rows for table in found if table.table_id != "t"}

    def copies_into(self, dataset: DatasetRef) -> Counter[str]:
        """How many copy jobs have run into each table."""
        jobs = self.server.client(VAULT).list_jobs(all_users=True, page_size=1000)
        into = [job.destination for job in jobs if isinstance(job, bigquery.CopyJob)]
        return Counter(table.table_id for table in into if table.dataset_id == dataset.dataset)

    def states(self, restore_id: str) -> Counter[ItemState]:
        return Counter(status.state for status in self.stack.restore_status(restore_id))

    def names(self) -> list[str]:
        return [f"t_{number}" for number in range(self.tables)]


@pytest.fixture
def shop(bigquery: LocalBigQuery, tmp_path: Path) -> Shop:
    return Shop.build(bigquery, tmp_path, tables=KILLED)


@pytest.fixture(scope="module")
def big_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with LocalBigQuery() as server:
        yield Shop.build(server, tmp_path_factory.mktemp("big"), tables=TABLES)


Edge = Callable[[Shop, Path], list[str]]


def command_line(shop: Shop, plan: Path) -> list[str]:
    config = str(shop.stack.settings.path)
    return [sys.executable, "-m", "bbq_dagster.cli", "--config", config, "restore", "apply", str(plan)]


def dagster_run(shop: Shop, plan: Path) -> list[str]:
    config = plan.with_suffix(".yaml")
    config.write_text(json.dumps({"ops": {"restore_versions": {"config": {"plan": plan.stem, "dry_run": False}}}}))
    job = ["job", "execute", "-m", "bbq_dagster.definitions", "-j", "restore", "-c", str(config)]
    return [sys.executable, "-m", "dagster", *job]


def start(shop: Shop, command: list[str]) -> subprocess.Popen[bytes]:
    home = shop.stack.settings.state_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "BBQ_CONFIG": str(shop.stack.settings.path), "DAGSTER_HOME": str(home)}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("edge", [command_line, dagster_run])
def test_many_small_tables_are_restored_in_one_go_without_a_call_per_table_but_its_copy_job(
    big_shop: Shop, edge: Edge
) -> None:
    into = DatasetRef(LAB, edge.__name__)
    plan = big_shop.plan(into)
    before = big_shop.server.calls()

    ended = start(big_shop, edge(big_shop, plan)).wait()

    calls = big_shop.server.calls() - before
    jobs_of_the_record = calls["jobs.insert"] - TABLES
    assert ended == 0
    assert big_shop.states(plan.stem) == {ItemState.DONE: TABLES}
    assert big_shop.rows(into) == dict.fromkeys(big_shop.names(), 1)
    assert big_shop.copies_into(into) == dict.fromkeys(big_shop.names(), 1)
    assert 2 <= jobs_of_the_record <= 4
    assert calls["tables.insert"] == calls["tables.get"] == calls["tables.patch"] == 0


@pytest.mark.parametrize(
    ("edge", "match", "after", "begun"),
    [
        pytest.param(command_line, {"job_type": "load"}, 0, False, id="bbq, before anything is on record"),
        pytest.param(command_line, {"job_type": "copy"}, KILLED // 2, True, id="bbq, while it copies"),
        pytest.param(command_line, {"job_type": "load"}, 1, True, id="bbq, copied and not recorded"),
        pytest.param(dagster_run, {"job_type": "copy"}, KILLED // 2, True, id="a run of Dagster, while it copies"),
    ],
)
def test_a_restore_that_is_killed_is_finished_by_the_next_run_and_nothing_is_done_twice(
    shop: Shop, edge: Edge, match: Mapping[str, Any], after: int, begun: bool
) -> None:
    """Fault W14 of the original: after a crash the remaining items never ran, and the status stayed "in progress"."""
    into = DatasetRef(LAB, "sales")
    shop.fill(into)
    plan = shop.plan(into, OnExisting.APPEND)
    shop.server.fault(match={"call": "jobs.insert", **match}, action={"hang": True}, after=after)
    killed = start(shop, edge(shop, plan))
    kill_once_held_back(shop, killed)
    on_record = shop.stack.catalog.restore_events(plan.stem)
    shop.server.clear_faults()

    again = start(shop, edge(shop, plan)).wait()

    assert bool(on_record) == begun
    assert again == 0
    assert shop.states(plan.stem) == {ItemState.DONE: KILLED}
    assert shop.rows(into) == dict.fromkeys(shop.names(), 2)
    assert shop.copies_into(into) == dict.fromkeys(shop.names(), 1)


def kill_once_held_back(shop: Shop, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not any(fault["hits"] for fault in shop.server.faults()):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
