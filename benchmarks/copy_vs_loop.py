"""Copies per second of the engine, against what a loop over 32 threads of a bare client makes of the same copies.

Engine and loop take turns on one server in a process of its own, which sets no limits and is done with a job when it
answers: the loop asks for no job a second time. The figure is the median of the rounds' ratios. The target of 0.95 is
for making the copies, which is all that the loop does; with checking and recording them, the ratio is told as well.
"""

from __future__ import annotations

from statistics import median

from bbq_dagster.apply.copying import CopyLimits
from benchmarks._copies import SALES, UNCAPPED, VAULT, House, house
from benchmarks._figure import print_figure
from benchmarks._loop import THREADS, copy_in_a_loop, seconds_of

SIZES, ROUNDS = (200, 2_000), 5
TARGET = 0.95


def main() -> None:
    for copies in SIZES:
        with house(copies) as made:
            rounds = [_round(made, number) for number in range(ROUNDS)]
        for number, (loop, engine, recorded) in enumerate(rounds, 1):
            print(f"round {number}: loop {loop:.0f} copies/s, engine {engine:.0f}, with recording {recorded:.0f}")
        name = f"copy_vs_loop {copies:,}"
        recorded_ratio = median(recorded / loop for loop, _, recorded in rounds)
        print_figure(f"{name}, with recording", recorded_ratio, "of the loop", target=None)
        ratio = median(engine / loop for loop, engine, _ in rounds)
        print_figure(name, ratio, "of the loop", target=TARGET, at_most=False)


def _round(made: House, number: int) -> tuple[float, float, float]:
    """Copies per second of the loop, the engine, and the engine with recording."""
    copy, record = made.plan(f"copy {number}"), made.plan(f"record {number}")
    limits = CopyLimits(threads=THREADS, requests_per_second=UNCAPPED)
    loop = seconds_of(lambda: _loop(made, f"loop_{number}"))
    engine = made.copy(copy, limits)
    recorded = seconds_of(lambda: made.stack.apply(record, run_id=f"run {number}"))
    return made.tables / loop, made.tables / engine, made.tables / recorded


def _loop(made: House, dataset: str) -> None:
    client = made.admin.client(VAULT, location="EU")
    client.create_dataset(dataset)
    names = [f"t_{number}" for number in range(made.tables)]
    copy_in_a_loop(client, [(f"{SALES}.{name}", f"{VAULT}.{dataset}.{name}") for name in names])


if __name__ == "__main__":
    main()
