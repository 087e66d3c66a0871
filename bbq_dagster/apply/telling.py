"""How often progress is told to those who keep every line: a log, a file. What is told is not known here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0


def now_and_then(
    tell: Callable[[T], None],
    *,
    seconds: float = SECONDS_BETWEEN_LINES,
    monotonic: Callable[[], float] = time.monotonic,
) -> Callable[[T], None]:
    """``tell``, called at most so often: what is over before needs no word."""
    last = monotonic()

    def told(progress: T) -> None:
        nonlocal last
        if monotonic() - last >= seconds:
            last = monotonic()
            tell(progress)

    return told
