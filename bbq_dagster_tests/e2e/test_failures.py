"""What fails, fails alone and by name; what was stopped is finished, and nothing is copied twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from google.cloud import bigquery

from bbq_dagster_tests.e2e.house import CLIMATE, SHOP, VAULT, House, made

COPIES = 200


@pytest.mark.parametrize("reason", ["accessDenied", "backendError"])
def test_a_dataset_that_cannot_be_listed_fails_alone_and_by_name(house: House, reason: str) -> None:
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT 1 AS n")
    house.sql(f"CREATE TABLE `{CLIMATE}.weather.rain` AS SELECT 1 AS n", location="US")
    _break_listing(house, reason)

    report = house.back_up()

    assert made(report) == ["rain"]
    assert [str(failed.dataset) for failed in report.datasets_failed] == [f"{SHOP}.sales"]
    assert not report.ok
    assert f"{SHOP}.sales" in str(report)


def test_a_dataset_that_cannot_be_listed_is_not_called_deleted(house: House) -> None:
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT 1 AS n")
    house.back_up()
    _break_listing(house, "accessDenied")

    plan = house.plan()

    assert not plan.vanished
    assert [str(failure.dataset) for failure in plan.failures] == [f"{SHOP}.sales"]


def test_a_record_that_a_query_does_not_find_is_not_taken_for_none(house: House) -> None:
    """Else all would be backed up once more, as if it never had been."""
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT 1 AS n")
    house.back_up()
    not_found = {"http_error": {"reason": "notFound", "message": "Not found: Table events"}}
    house.bigquery.fault(match={"call": "jobs.query", "sql": "bbq_catalog"}, action=not_found, times=1)

    plan = house.plan()

    assert not plan.copies
    assert [failure.project for failure in plan.projects_failed] == [SHOP]


def test_one_refused_copy_fails_alone(house: House) -> None:
    for name in ("a", "b", "c"):
        house.sql(f"CREATE TABLE `{SHOP}.sales.{name}` AS SELECT 1 AS n")
    refused = {"job_error": {"reason": "invalid", "message": "cannot be copied"}}
    house.bigquery.fault(match={"job_type": "copy", "source": f"{SHOP}.sales.b"}, action=refused, times=1)

    report = house.back_up("first")
    healed = house.back_up("second")

    assert made(report) == ["a", "c"]
    assert [failure.unit.key for failure in report.failures] == ["b"]
    assert made(healed) == ["b"]
    assert healed.ok


def test_a_worker_killed_in_the_middle_leaves_nothing_twice_and_nothing_out(house: House) -> None:
    names = [f"t{number:03}" for number in range(COPIES)]
    house.sql("; ".join(f"CREATE TABLE `{SHOP}.sales.{name}` AS SELECT '{name}' AS n" for name in names))
    house.later()
    house.stack.catalog.prepare()
    house.bigquery.use_real_clock()
    command = [sys.executable, "-m", "bbq_dagster.cli", "--config", str(house.stack.settings.path), "backup"]
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    _wait_for_copies(house, at_least=COPIES // 4)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    copied_by_the_first = len(_copy_jobs(house))

    again = subprocess.run(command, capture_output=True, text=True, check=False)

    jobs = _copy_jobs(house)
    assert 0 < copied_by_the_first < COPIES, "the kill came too early or too late to prove anything"
    assert again.returncode == 0, again.stderr
    assert Counter(".".join(job.sources[0].path.split("/")[2::2]) for job in jobs) == Counter(
        f"{SHOP}.sales.{name}" for name in names
    )
    assert sorted(version.unit.key for version in house.versions(*(f"{SHOP}.sales.{name}" for name in names))) == names


def _break_listing(house: House, reason: str) -> None:
    match = {"call": "jobs.query", "sql": r"sales`?\.INFORMATION_SCHEMA"}
    house.bigquery.fault(match=match, action={"http_error": {"reason": reason, "message": "not now"}})


def _copy_jobs(house: House) -> list[bigquery.CopyJob]:
    return [job for job in house.bigquery.client(VAULT).list_jobs(max_results=1000) if job.job_type == "copy"]


def _wait_for_copies(house: House, *, at_least: int) -> None:
    deadline = time.monotonic() + 60
    while house.bigquery.calls()["jobs.insert"] < at_least:
        assert time.monotonic() < deadline, "the worker started no copies"
        time.sleep(0.02)
