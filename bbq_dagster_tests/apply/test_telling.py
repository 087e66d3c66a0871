from __future__ import annotations

from bbq_dagster.apply.telling import now_and_then
from bbq_dagster_tests.fakes import FakeClock


def test_progress_is_told_at_most_so_often_and_never_at_once() -> None:
    clock, lines = FakeClock(), list[int]()
    tell = now_and_then(lines.append, seconds=10, monotonic=clock.monotonic)
    for number in range(25):
        tell(number)
        clock.sleep(1)

    assert lines == [10, 20]
