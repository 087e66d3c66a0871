"""API calls of a day without changes, counted at the server.

Seeds the sample, backs all of it up, and counts the calls of the next look, which finds nothing to copy: those of the
sensors, which record the scan. The target is 3 per dataset and 2 per project and region.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from bbq_dagster.cli.demo import Days
from bbq_dagster.cli.sandbox import sandbox
from bbq_dagster.local.sample import seed
from bbq_dagster.local.server import LocalBigQueryAdmin
from benchmarks._figure import print_figure

PER_DATASET, PER_PROJECT_AND_REGION = 3, 2


def main() -> None:
    with TemporaryDirectory() as folder, sandbox(Path(folder), port=0) as made:
        seed(made.url, small=True)
        days = Days.open(made)
        days.pass_one()
        # Tables that were copied as a whole are settled by the look after.
        days.pass_one()
        admin = LocalBigQueryAdmin(made.url)
        admin.reset_calls()
        days.tick()
        calls: Counter[str] = admin.calls()
        datasets = days.stack.discover()
    regions = {(dataset.ref.project, dataset.location) for dataset in datasets}
    print("\n".join(f"{count:6} {name}" for name, count in sorted(calls.items())))
    print(f"{len(datasets)} datasets in {len(regions)} regions of projects")
    target = PER_DATASET * len(datasets) + PER_PROJECT_AND_REGION * len(regions)
    print_figure("calls_idle", sum(calls.values()), "API calls", target=target)


if __name__ == "__main__":
    main()
