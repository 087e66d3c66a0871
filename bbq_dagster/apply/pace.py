"""How fast: rates that adapt to what a server refuses, growing delays, and where waiting and threads come from.

Knows nothing of copies. ``TokenBucket``, ``Rate``, ``Pace`` and ``Backoff`` read no clock: the caller says what time it
is, in seconds of a monotonic clock, and does the waiting.
"""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")


class TokenBucket:
    """Lets at most ``burst + rate × T`` takers through in any window of ``T`` seconds.

    One number is all its state: the instant at which the token after the last one is due at an even pace (the generic
    cell rate algorithm). Not for use by several threads at once.
    """

    __slots__ = ("_burst", "_due", "_step")

    def __init__(self, *, rate: float, burst: float = 1) -> None:
        if not (rate > 0 and burst >= 1):
            raise ValueError(f"a bucket of {burst} tokens with {rate} more a second lets nobody through")
        self._burst = burst
        self._step = 1 / rate
        self._due = -math.inf

    @classmethod
    def within(cls, count: float, *, seconds: float) -> TokenBucket:
        """At most ``count`` in any ``seconds``: a fifth of them at once, the others at an even pace."""
        burst = max(1, count // 5)
        return cls(rate=(count - burst) / seconds, burst=burst)

    def turn_to(self, rate: float) -> None:
        """Go on at another rate."""
        self._step = 1 / rate

    def free_at(self, now: float) -> float:
        """When the next token can be used: ``now``, or later."""
        return max(now, self._due - (self._burst - 1) * self._step)

    def take(self, now: float) -> float:
        """Take the next token; the answer is when it can be used."""
        at = self.free_at(now)
        self._due = max(at, self._due) + self._step
        return at


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests a second a server bears that others use as well, as far as its answers tell.

    * A refusal takes a twentieth off, however many ask: where two of three are refused, two of three are soon not sent.
    * The longer nothing is refused, the faster it grows, up to ``highest``. At a server that is used to the full, about
      one request in 200 is refused, whoever else is there; alone, a third grows to the whole within half a minute.
    * The answers to requests that were sent at one rate do not take it below six tenths of that: those that were on
      their way at the first refusal tell nothing new.

    There is no time in it: a server that answers slowly is believed slowly.
    """

    highest: float
    per_second: float
    granted_in_a_row: int = 0

    def granted(self) -> Rate:
        if self.per_second >= self.highest:
            return self
        in_a_row = self.granted_in_a_row + 1
        grown = min(self.highest, self.per_second * (1 + _GROWTH * in_a_row))
        return Rate(self.highest, grown, in_a_row)

    def refused(self, *, sent_at_rate: float) -> Rate:
        """A request was refused that was sent when this rate was in force."""
        cut = max(self.per_second * (1 - _CUT), sent_at_rate * _KEPT, min(_LOWEST, self.highest))
        return Rate(self.highest, min(self.per_second, cut))


_CUT = 0.05
_GROWTH = 2.5e-6
_KEPT = 0.6
_LOWEST = 1.0


class Pace:
    """A token bucket that goes at a ``Rate``, with a tenth of a second's tokens at once."""

    __slots__ = ("_bucket", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._bucket = TokenBucket(rate=rate.per_second, burst=max(1, rate.highest / 10))

    @property
    def per_second(self) -> float:
        return self._rate.per_second

    def free_at(self, now: float) -> float:
        """When the next token can be used: ``now``, or later."""
        return self._bucket.free_at(now)

    def take(self, now: float) -> float:
        """Take the next token; the answer is when it can be used."""
        return self._bucket.take(now)

    def granted(self) -> None:
        self._turn_to(self._rate.granted())

    def refused(self, *, sent_at_rate: float) -> None:
        self._turn_to(self._rate.refused(sent_at_rate=sent_at_rate))

    def _turn_to(self, rate: Rate) -> None:
        if rate is not self._rate:
            self._rate = rate
            self._bucket.turn_to(rate.per_second)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays in seconds that grow with the number of failures, with full jitter.

    Any delay from 0 to ``first × 2^(failures - 1)``, and never more than ``longest``, so that those that failed
    together do not come back together.
    """

    first: float = 1.0
    longest: float = 60.0
    dice: random.Random = field(default_factory=random.Random)

    def delay(self, failures: int) -> float:
        """How long to wait after this many failures in a row, the first being 1."""
        return self.dice.uniform(0, min(self.longest, self.first * 2 ** min(failures - 1, 60)))


@dataclass(frozen=True, slots=True)
class _Ending:
    error: BaseException | None = None


def in_background(turns: Generator[T, None, None]) -> Generator[T, None, None]:
    """The same turns, made by a thread of their own while the caller works on the last one.

    Whatever ends the turns ends this generator as well, errors included. Closing it closes them after their turn.
    """
    made: queue.SimpleQueue[T | _Ending] = queue.SimpleQueue()
    is_closed = threading.Event()
    thread = threading.Thread(target=_make, args=(turns, made, is_closed), name="turns", daemon=True)
    thread.start()
    try:
        while not isinstance(turn := made.get(), _Ending):
            yield turn
        if turn.error is not None:
            raise turn.error
    finally:
        is_closed.set()
        thread.join()


def _make(turns: Generator[T, None, None], made: queue.SimpleQueue[T | _Ending], is_closed: threading.Event) -> None:
    ending = _Ending()
    try:
        with closing(turns):
            for turn in turns:
                made.put(turn)
                if is_closed.is_set():
                    break
    except BaseException as error:  # noqa: BLE001  (it is raised in the thread that reads the turns)
        ending = _Ending(error)
    made.put(ending)


class Aside(Protocol):
    """Lets a generator run ahead of its reader, or not."""

    def __call__(self, turns: Generator[T, None, None], /) -> Generator[T, None, None]: ...


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where waiting and threads come from; tests bring their own, and need no real time.

    ``monotonic`` and ``sleep`` count seconds; ``executor`` makes a pool of that many threads.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    executor: Callable[[int], Executor] = ThreadPoolExecutor
    aside: Aside = in_background
