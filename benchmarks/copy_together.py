"""Copies per second of three processes at once, where BigQuery allows 100 requests per second, user and method.

Each is told that there are three (``limits.concurrent_runs``), or none is and each begins at the full rate. 1,000
copies each, and 100; the target is 90 a second in all with fewer than 2 % of the starts refused, by those who know. No
copy may fail.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from bbq_dagster.apply.copying import CopyLimits
from bbq_dagster.core.plan import BackupPlan
from benchmarks._copies import house, make_copies
from benchmarks._figure import print_figure

PROCESSES, SIZES = 3, (100, 1_000)
ALLOWED = 100
TARGET, MAX_REFUSED = 90, 0.02


def main() -> None:
    for each in SIZES:
        for told in (False, True):
            _print(each, told)


def _print(each: int, told: bool) -> None:
    with house(each) as made:
        plans = [made.plan(f"process {number}") for number in range(PROCESSES)]
        made.admin.limits(requests_per_second=ALLOWED)
        made.admin.reset_calls()
        seconds = _seconds_of(made.admin.url, plans, CopyLimits(concurrent_runs=PROCESSES if told else 1))
        starts = made.admin.calls()["jobs.insert"]
    copies = PROCESSES * each
    name = f"copy_together {copies:,}, {'told' if told else 'not told'}"
    rate, refused = copies / seconds, starts / copies - 1
    print_figure(f"{name}, refused", refused, "of the starts", target=MAX_REFUSED if told else None)
    print_figure(name, rate, "copies/s", target=TARGET if told else None, at_most=False)


def _seconds_of(url: str, plans: list[BackupPlan], limits: CopyLimits) -> float:
    """From the first start to the last end: processes take their time to come to life."""
    with ProcessPoolExecutor(len(plans), mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(_copy, url, plan, limits, time.time() + 5) for plan in plans]
        return max(run.result()[1] for run in runs) - min(run.result()[0] for run in runs)


def _copy(url: str, plan: BackupPlan, limits: CopyLimits, begin_at: float) -> tuple[float, float]:
    time.sleep(max(0.0, begin_at - time.time()))
    began = time.time()
    make_copies(url, plan, limits)
    return began, time.time()


if __name__ == "__main__":
    main()
