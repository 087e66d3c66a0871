"""Every side effect of an operation as a point at which its process can be killed, and the killing.

The points come from a run that nobody disturbs: before each of its calls, after each that changes something, while each
of its jobs runs, before and after each write to Dagster's event log. Which call is the n-th is the same from run to run
where the process has one thread; a run that ends before its point is reached says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bbq_dagster_tests.trust.dagster_side import KILLED_AT
from bbq_dagster_tests.trust.operations import SECONDS, Operation, writes_of
from bbq_dagster_tests.trust.picture import Picture, picture_of
from bbq_dagster_tests.trust.processes import KILLED, Running
from bbq_dagster_tests.trust.shop import Patience, Shop, open_shop

_JOB_GOES_ON_AFTER = 0.3
"""Seconds: the run after a kill finds the job still running."""


class Moment(StrEnum):
    """When the process ends. The names are those of the faults of the embedded BigQuery, but for the last two."""

    BEFORE = "before"
    AFTER = "after"
    RUNNING = "while its job runs, of"
    BEFORE_WRITE = "before the write of"
    AFTER_WRITE = "after the write of"


@dataclass(frozen=True, slots=True)
class Point:
    """The ``number``-th call or write of a run, counted from 1; ``what`` tells it to a reader."""

    moment: Moment
    number: int
    what: str

    @property
    def is_unread_record(self) -> bool:
        """Facts are on their way into the catalog: the next run cannot know of them, and records them once more."""
        return self.moment is Moment.RUNNING and self.what.startswith("jobs.insert load")

    def __str__(self) -> str:
        return f"{self.moment} {self.number}: {self.what}"


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a run does that nobody disturbs, and what the world looks like after it."""

    calls: tuple[Mapping[str, Any], ...]
    writes: tuple[str, ...]
    picture: Picture

    def points(self) -> tuple[Point, ...]:
        """Every point at which the process can be killed, in the order of the run."""
        return (*self._points_of_calls(), *self._points_of_writes())

    def _points_of_calls(self) -> Iterator[Point]:
        for number, call in enumerate(self.calls, 1):
            what = in_words(call)
            yield Point(Moment.BEFORE, number, what)
            if call.get("job_type") in ("copy", "load"):
                yield Point(Moment.RUNNING, number, what)
            if call["changes"]:
                yield Point(Moment.AFTER, number, what)

    def _points_of_writes(self) -> Iterator[Point]:
        for number, what in enumerate(self.writes, 1):
            yield Point(Moment.BEFORE_WRITE, number, what)
            yield Point(Moment.AFTER_WRITE, number, what)


def in_words(call: Mapping[str, Any]) -> str:
    """``jobs.insert copy acme-vault.…``: the call, and what it is about."""
    about = call.get("destination") or " ".join((call.get("sql") or "").split())[:60] or call["path"].split("/v2/")[-1]
    return " ".join(filter(None, (call["call"], call.get("job_type"), about)))


def run_undisturbed(operation: Operation, built: Path, folder: Path, patience: Patience) -> Undisturbed:
    """Run the operation on a copy of the shop, and look."""
    with open_shop(built, folder, patience) as shop:
        shop.server.record_calls()
        run = operation.start(shop, writes_of(shop))
        code = run.end(seconds=SECONDS)
        calls = tuple(shop.server.recorded_calls())
        shop.server.stop_recording()
        assert code == 0, run.said
        written = shop.folder / "writes"
        writes = tuple(written.read_text().splitlines()) if written.exists() else ()
        return Undisturbed(calls, writes, picture_of(shop))


def differences_after_a_kill(
    operation: Operation, point: Point, built: Path, folder: Path, undisturbed: Undisturbed
) -> list[str]:
    """Kill the operation at ``point``, run it again, and say what is not as it would be without the kill.

    Nothing is what is wanted. A point that was not reached is told too.
    """
    with open_shop(built, folder, Patience()) as shop:
        if not _killed_at(operation, point, shop):
            return ["the run ended before it was killed"]
        if wrong := operation.run_again(shop, lambda: _let_job_go_on(shop) if point.moment is Moment.RUNNING else None):
            return [wrong]
        return _as_seen(picture_of(shop), operation, point).differences(_as_seen(undisturbed.picture, operation, point))


def _let_job_go_on(shop: Shop) -> None:
    """A while after the next run began."""
    time.sleep(_JOB_GOES_ON_AFTER)
    shop.server.release()


def _as_seen(picture: Picture, operation: Operation, point: Point) -> Picture:
    if operation.does_again:
        return picture.as_done()
    return picture.as_read() if point.is_unread_record else picture


def _killed_at(operation: Operation, point: Point, shop: Shop) -> bool:
    if point.moment in (Moment.BEFORE_WRITE, Moment.AFTER_WRITE):
        moment = "before" if point.moment is Moment.BEFORE_WRITE else "after"
        run = operation.start(shop, {**writes_of(shop), KILLED_AT: f"{moment} {point.number}"})
        return run.end(seconds=SECONDS) == KILLED
    action = {"stuck": True} if point.moment is Moment.RUNNING else {"freeze": point.moment.value}
    shop.server.fault({}, action, after=point.number - 1, times=1)
    run = operation.start(shop, {})
    if not _is_held(shop, run):
        # A call that is refused has no "after": it changed nothing, and the run goes on to its end.
        return bool(shop.server.faults()[0]["hits"])
    run.kill()
    shop.server.clear_faults()
    if point.moment is not Moment.RUNNING:
        shop.server.release(go_on=False)
    return True


def _is_held(shop: Shop, run: Running) -> bool:
    until = time.monotonic() + SECONDS
    while not shop.server.held():
        if run.has_ended() or time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
