"""Where the time of a backup goes: in the stack (planning, warehouse, catalog), or in Dagster around it.

``Aside`` keeps the time of a fake apart, which the real thing would not need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from bbq_dagster.apply.report import BackupReport
from bbq_dagster.stack import Stack

_METHODS = ("plan_changed", "plan_units", "apply", "record_scan")


class Spent:
    """Seconds in the methods of ``Stack``, and of these the ones in which Dagster was told."""

    def __init__(self) -> None:
        self.in_stack = self.telling = 0.0

    @classmethod
    @contextmanager
    def measured(cls) -> Iterator[Spent]:
        """Counts the time in all stacks of this process while it is open."""
        spent = cls()
        plain = {name: getattr(Stack, name) for name in _METHODS}
        for name, method in plain.items():
            setattr(Stack, name, spent._timed(method))
        try:
            yield spent
        finally:
            for name, method in plain.items():
                setattr(Stack, name, method)

    def in_dagster(self, wall: float) -> float:
        """What is left of ``wall`` seconds for Dagster, the events that it was told of included."""
        return wall - self.in_stack + self.telling

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def measured(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            answer = method(*args, **named)
            self.in_stack += time.perf_counter() - began
            if isinstance(answer, BackupReport):
                self.telling += answer.seconds.on_recorded
            return answer

        return measured


class Aside:
    """Passes every call on to ``fake``, and counts the seconds that they take."""

    def __init__(self, fake: Any) -> None:
        self._fake = fake
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._fake, name)
        return self._timed(member) if callable(member) else member

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def measured(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args, **named)
            finally:
                self.seconds += time.perf_counter() - began

        return measured
