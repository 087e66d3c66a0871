"""A failing list of days made small: whole days first, then what happens on each. Delta debugging, the simple one.

Knows of days that they are values; whether a list of them fails is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import TypeVar

from bbq_dagster_tests.years.driver import Day

T = TypeVar("T")


def shrink(days: Sequence[Day], fails: Callable[[Sequence[Day]], bool]) -> list[Day]:
    """The smallest list that was found to fail. What ``fails`` has no more time for is left as it is."""
    left = without_chunks(days, fails)
    for place in range(len(left)):
        left = _smaller_day(left, place, fails)
    return left


def without_chunks(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Leave out halves, quarters, … and at last single items, as long as what is left fails."""
    left = list(items)
    size = max(1, len(left) // 2)
    while size:
        start = 0
        while start < len(left):
            candidate = left[:start] + left[start + size :]
            if fails(candidate):
                left = candidate
            else:
                start += size
        size = min(size // 2, len(left))
    return left


def _smaller_day(days: list[Day], place: int, fails: Callable[[Sequence[Day]], bool]) -> list[Day]:
    """The same days, with one of them doing less."""

    def with_day(day: Day) -> list[Day]:
        return [*days[:place], day, *days[place + 1 :]]

    day = days[place]
    for simpler in _without_one_thing(day):
        if fails(with_day(simpler(day))):
            day = simpler(day)
    for name in ("morning", "streams", "races"):
        day = _with_fewer_actions(day, name, lambda one: fails(with_day(one)))
    return with_day(day)


def _without_one_thing(day: Day) -> Iterator[Callable[[Day], Day]]:
    """For each thing that happens on ``day``, how a day is without it."""
    for field in fields(Day):
        if field.name != "number" and getattr(day, field.name) != field.default:
            yield lambda one, field=field: replace(one, **{field.name: field.default})  # type: ignore[misc]


def _with_fewer_actions(day: Day, name: str, fails: Callable[[Day], bool]) -> Day:
    def doing(actions: Sequence[object]) -> Day:
        return replace(day, **{name: tuple(actions)})  # type: ignore[arg-type]  # of the field they were taken from

    return doing(without_chunks(getattr(day, name), lambda some: fails(doing(some))))
