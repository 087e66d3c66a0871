"""`bbq retention apply` as a process of its own, killed with signal 9 at each of its steps, and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping

import pytest

from bbq_dagster.core.catalog import EventKind
from bbq_dagster_tests.e2e.house import House
from bbq_dagster_tests.e2e.retaining import EVENTS, ORDERS, backups, five_days, on_record

RULES = "defaults: {policy: {retention: {keep_last: 1}}}\n"
WIDE = "limits: {retention_share_of_versions: 1, retention_share_of_bytes: 1, retention_max_scan_age_hours: 8760, "
APPLY = ("retention", "apply")


@pytest.fixture
def shop(house: House) -> House:
    path = house.stack.settings.path
    path.write_text(RULES + path.read_text().replace("limits: {", WIDE))
    house = five_days(house)
    house.bigquery.use_real_clock()
    return house


def bbq(shop: House, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bbq_dagster.cli", "--config", str(shop.stack.settings.path), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed_at(shop: House, match: Mapping[str, str], *, after: int) -> None:
    """Freeze the request that comes ``after`` so many of its kind, and kill the process that waits for its answer."""
    shop.bigquery.fault(match=match, action={"hang": True}, after=after)
    process = bbq(shop, *APPLY)
    deadline = time.monotonic() + 60
    while not any(fault["hits"] for fault in shop.bigquery.faults()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the request never came"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    shop.bigquery.clear_faults()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("match", "after"),
    [
        pytest.param({"call": "jobs.insert", "job_type": "load"}, 0, id="before anything is marked"),
        pytest.param({"call": "tables.delete"}, 0, id="before anything is deleted"),
        pytest.param({"call": "tables.delete"}, 3, id="in the middle of it"),
        pytest.param({"call": "jobs.insert", "job_type": "load"}, 1, id="before it is confirmed"),
    ],
)
def test_a_deletion_run_that_is_killed_is_completed_by_the_next(
    shop: House, match: Mapping[str, str], after: int
) -> None:
    newest = {version.unit: version for version in reversed(shop.versions(ORDERS, EVENTS))}
    killed_at(shop, match, after=after)
    kept_meanwhile = {version.version_id for version in shop.versions(ORDERS, EVENTS)}
    again = bbq(shop, *APPLY)
    said, _ = again.communicate(timeout=120)

    assert again.returncode == 0, said
    assert {version.version_id for version in newest.values()} <= kept_meanwhile
    assert {version.version_id for version in shop.versions(ORDERS, EVENTS)} == {
        version.version_id for version in newest.values()
    }
    assert backups(shop) == on_record(shop), "everything that went is gone, and nothing else"
    deleted = shop.stack.catalog.history(None, limit=1000, kinds=[EventKind.VERSION_DELETED])
    assert set(Counter(event.version_id for event in deleted).values()) == {1}, "each was confirmed once"
    assert shop.stack.plan_retention(now=shop.now).deletions == ()
