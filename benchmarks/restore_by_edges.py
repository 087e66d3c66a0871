"""Seconds to restore 2,500 small tables in one go, by `bbq restore apply` and by the Dagster job.

Each is a process of its own, and its start-up is part of it, as it is for whoever waits. A first one shows the plan, a
second one does it; then every table is there with its row, every item is done, and none was copied twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from google.cloud import bigquery as bq

from bbq_dagster.core.restore_record import ItemState
from bbq_dagster.local.server import LocalBigQueryAdmin
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack, utc_now
from benchmarks._figure import print_figure
from benchmarks._server import running

TABLES = 2_500
PROJECT, VAULT, LAB = "acme-shop", "acme-vault", "acme-lab"
SETTINGS = f"""
endpoint: {{url}}
credentials: anonymous
backup_project: {VAULT}
catalog: {{{{location: EU}}}}
sources: [{{{{project: {PROJECT}}}}}]
restore_projects: [{LAB}]
limits: {{{{requests_per_second: 1000}}}}
state_dir: {{folder}}/state
"""


class Shop:
    """A server with tables of one row that were backed up, and the stack that restores them."""

    def __init__(self, admin: LocalBigQueryAdmin, folder: Path) -> None:
        self.admin, self.folder = admin, folder
        (folder / "bbq.yaml").write_text(SETTINGS.format(url=admin.url, folder=folder))
        self.stack: Stack = open_stack(load_settings(folder / "bbq.yaml", {}))
        client = admin.client(PROJECT, location="EU")
        client.create_dataset(f"{PROJECT}.sales")
        client.load_table_from_json([{"n": 1}], f"{PROJECT}.sales.t").result()
        admin.multiply(f"{PROJECT}.sales.t", TABLES)
        report = self.stack.apply(self.stack.plan_changed(now=utc_now()), run_id="backup")
        assert report.ok, str(report)

    def run(self, *arguments: str) -> float:
        """Seconds of a process of Python; what it says is only shown where it fails."""
        home = self.folder / "dagster"
        home.mkdir(exist_ok=True)
        env = {**os.environ, "BBQ_CONFIG": str(self.folder / "bbq.yaml"), "DAGSTER_HOME": str(home)}
        began = time.perf_counter()
        ended = subprocess.run([sys.executable, "-m", *arguments], env=env, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return time.perf_counter() - began

    def check(self, restore_id: str, dataset: str) -> None:
        states = Counter(item.state for item in self.stack.restore_status(restore_id))
        assert states == {ItemState.DONE: TABLES}, states
        rows = self.stack.warehouse.table_states(LAB, "EU")
        assert [state.rows for ref, state in rows.items() if ref.dataset == dataset] == [1] * TABLES
        assert set(self._copies_into(dataset).values()) == {1}

    def _copies_into(self, dataset: str) -> Counter[str]:
        jobs = self.admin.client(VAULT).list_jobs(all_users=True, page_size=1000)
        into = [job.destination for job in jobs if isinstance(job, bq.CopyJob)]
        return Counter(table.table_id for table in into if table.dataset_id == dataset)


def main() -> None:
    with TemporaryDirectory() as folder, running() as admin:
        shop = Shop(admin, Path(folder))
        for name, seconds in (("bbq", _by_command_line(shop)), ("dagster", _by_dagster(shop))):
            print_figure(f"restore_by_edges {name}", TABLES / seconds, "tables/s", target=None)


def _by_command_line(shop: Shop) -> float:
    plan = shop.folder / "plan.json"
    what = [f"{PROJECT}.sales.t_*", "--into-project", LAB, "--into-dataset", "by_bbq", "-o", str(plan)]
    shop.run("bbq_dagster.cli", "restore", "plan", *what)
    seconds = shop.run("bbq_dagster.cli", "restore", "apply", str(plan))
    shop.check(json.loads(plan.read_text())["restore_id"], "by_bbq")
    return seconds


def _by_dagster(shop: Shop) -> float:
    what = {"what": [f"{PROJECT}.sales.t_*"], "into_project": LAB, "into_dataset": "by_dagster"}
    shop.run(*_job(shop, what))
    (plan,) = (shop.folder / "state" / "restores").iterdir()
    seconds = shop.run(*_job(shop, {"plan": plan.stem, "dry_run": False}))
    shop.check(plan.stem, "by_dagster")
    return seconds


def _job(shop: Shop, config: dict[str, object]) -> Sequence[str]:
    file = shop.folder / "run.yaml"
    file.write_text(json.dumps({"ops": {"restore_versions": {"config": config}}}))
    return ["dagster", "job", "execute", "-m", "bbq_dagster.definitions", "-j", "restore", "-c", str(file)]


if __name__ == "__main__":
    main()
