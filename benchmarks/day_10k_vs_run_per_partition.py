"""How many times faster 10,000 modified units are backed up in runs of 1,000 than by a run for each partition.

Both on the same Postgres, in this process, on a warehouse in memory, by wall time per unit. A run for each partition is
timed on a two-hundredth of the units, in a dataset that holds no others: in a large one it would be slower, and with a
process for each run slower still.
A number of units may be given: `python -m benchmarks.day_10k_vs_run_per_partition 1000`.
"""

from __future__ import annotations

from bbq_dagster.core.tables import DatasetRef
from benchmarks._dagster import UNITS, Day, back_up_day, back_up_day_by_partition, on_postgres, size_asked_for
from benchmarks._figure import print_figure

TARGET = 100
FEWEST_RUNS = 10


def main() -> None:
    units = size_asked_for(UNITS)
    with on_postgres() as instance:
        back_up_day(instance, 1, dataset=DatasetRef("acme-shop", "warming_up"))
        singly = back_up_day_by_partition(
            instance, max(units // 200, FEWEST_RUNS), dataset=DatasetRef("acme-shop", "singly")
        )
        tenth = back_up_day(instance, units // 10, dataset=DatasetRef("acme-shop", "tenth"))
        whole = back_up_day(instance, units)
    for day in (singly, tenth, whole):
        print(f"{day.units:,} units in {day.runs:,} runs: {day.seconds:.1f} s, {day.in_dagster:.1f} s in Dagster")
    print_figure("day_10k_vs_run_per_partition, a tenth", _times(singly, tenth), "times", target=None)
    print_figure("day_10k_vs_run_per_partition", _times(singly, whole), "times", target=TARGET, at_most=False)


def _times(slow: Day, fast: Day) -> float:
    return (slow.seconds / slow.units) / (fast.seconds / fast.units)


if __name__ == "__main__":
    main()
