from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from bbq_dagster.apply.copying import (
    CopyEnd,
    CopyFailure,
    CopyLimits,
    CopyOutcome,
    CopyUnfinished,
    Progress,
    TableCopies,
    run_copies,
)
from bbq_dagster.apply.pace import Runtime
from bbq_dagster.core.naming import job_id
from bbq_dagster.core.versions import Copy
from bbq_dagster.errors import BbqError, Permanent, Transient
from bbq_dagster.warehouse.port import RATE_LIMIT, CopyStatus, JobRef
from bbq_dagster_tests.builders import BACKUPS, EVENTS, LOCATION, ORDERS, SALES, a_copy
from bbq_dagster_tests.fakes import FakeClock, FakeWarehouse, a_runtime

TRANSIENT = Transient("backend error", reason="backendError")
DENIED = Permanent("access denied", reason="accessDenied")
TOO_MANY = Transient("too many requests", reason=RATE_LIMIT)
DAYS = [f"202401{day:02}" for day in range(1, 32)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def warehouse(clock: FakeClock) -> FakeWarehouse:
    """``orders`` with 3 rows and ``events`` with 31 partitions of 1 row; a job takes 7 seconds."""
    warehouse = FakeWarehouse(clock, job_seconds=7)
    warehouse.create_dataset(SALES)
    warehouse.create_dataset(BACKUPS)
    warehouse.create_table(ORDERS, rows=3)
    warehouse.create_partitioned_table(EVENTS, dict.fromkeys(DAYS, 1))
    return warehouse


def of_orders(*, begun: bool = False) -> TableCopies:
    return TableCopies(a_copy().destination.table, (a_copy(),), begun=begun)


def of_events(days: Iterable[str] = DAYS, *, begun: bool = False) -> TableCopies:
    copies = tuple(a_copy(EVENTS.unit(day)) for day in days)
    return TableCopies(copies[0].destination.table, copies, create_like=EVENTS, begun=begun)


def of_plain_tables(warehouse: FakeWarehouse, number: int) -> list[TableCopies]:
    tables = []
    for name in range(number):
        warehouse.create_table(SALES.table(f"t{name}"), rows=1)
        copy = a_copy(SALES.table(f"t{name}").unit())
        tables.append(TableCopies(copy.destination.table, (copy,)))
    return tables


class Run:
    """All that a run of copies gave, in order."""

    def __init__(
        self, tables: Iterable[TableCopies], warehouse: FakeWarehouse, clock: FakeClock, **limits: object
    ) -> None:
        self.progress: list[tuple[float, Progress]] = []
        self.ends = [
            end
            for turn in run_copies(
                tables,
                warehouse,
                limits=replace(CopyLimits(), **limits),  # type: ignore[arg-type]
                runtime=a_runtime(clock),
                on_progress=lambda progress: self.progress.append((clock.monotonic(), progress)),
            )
            for end in turn
        ]

    @property
    def only(self) -> CopyEnd:
        (end,) = self.ends
        return end


def test_a_copy_ends_with_what_its_job_says(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    began = clock.now()

    end = Run([of_orders()], warehouse, clock).only

    assert end == CopyOutcome(a_copy(), job_id(a_copy(), tried=0), began, rows=3, size_bytes=30)


def test_no_copies_are_no_calls(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    run = Run([], warehouse, clock)

    assert (run.ends, warehouse.calls.log) == ([], [])


def test_a_partitioned_table_is_created_once_before_its_first_copy(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    run = Run([of_events(DAYS[:3])], warehouse, clock)

    calls = [name for name in warehouse.calls.names() if name != "copy_statuses"]
    assert calls == ["create_table_like", "start_copy", "start_copy", "start_copy"]
    assert all(isinstance(end, CopyOutcome) for end in run.ends)


class TestTryingAgain:
    def test_a_job_that_failed_in_passing_is_tried_under_the_next_id(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.fail_jobs_into(a_copy().destination, TRANSIENT, TRANSIENT)

        end = Run([of_orders()], warehouse, clock).only

        assert isinstance(end, CopyOutcome)
        assert end.job_id == job_id(a_copy(), tried=2)
        assert warehouse.written == {a_copy().destination: 1}

    def test_it_is_tried_so_often_and_then_failed(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.fail_jobs_into(a_copy().destination, *[TRANSIENT] * 9)

        end = Run([of_orders()], warehouse, clock, max_tries=3).only

        assert end == CopyFailure(a_copy(), job_id(a_copy(), tried=2), TRANSIENT)
        assert warehouse.calls.names().count("start_copy") == 3

    def test_a_job_that_failed_for_good_fails_alone(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.fail_jobs_into(a_copy().destination, DENIED)

        run = Run([of_orders(), of_events(DAYS[:2])], warehouse, clock)

        assert [end for end in run.ends if isinstance(end, CopyFailure)] == [
            CopyFailure(a_copy(), job_id(a_copy(), tried=0), DENIED)
        ]
        assert sum(isinstance(end, CopyOutcome) for end in run.ends) == 2

    @pytest.mark.parametrize("after", [pytest.param(False, id="request lost"), pytest.param(True, id="answer lost")])
    def test_a_start_without_an_answer_is_repeated_under_the_same_id(
        self, after: bool, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.calls.fail_next("start_copy", TRANSIENT, after=after)

        end = Run([of_orders()], warehouse, clock).only

        assert isinstance(end, CopyOutcome)
        assert end.job_id == job_id(a_copy(), tried=0)
        assert warehouse.written == {a_copy().destination: 1}

    def test_a_start_that_was_never_answered_is_not_called_failed(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.calls.fail_next("start_copy", TRANSIENT, times=9)

        end = Run([of_orders()], warehouse, clock, max_tries=3).only

        assert end == CopyUnfinished(a_copy(), job_id(a_copy(), tried=0), "backend error")
        assert warehouse.calls.names().count("start_copy") == 3

    def test_where_no_start_is_answered_any_more_the_rest_is_left_and_what_runs_is_followed(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        others = of_plain_tables(warehouse, 50)
        for table in others:
            warehouse.calls.fail_next("start_copy", TRANSIENT, about=table.copies[0].destination, times=99)

        run = Run([of_orders(), *others], warehouse, clock, max_tries=5, concurrent_jobs=10)

        (done,) = [end for end in run.ends if isinstance(end, CopyOutcome)]
        left = [end for end in run.ends if isinstance(end, CopyUnfinished)]
        assert done.copy == a_copy()
        assert len(left) == 50
        assert any(end.reason == "no copy job can be started: backend error" for end in left)
        assert warehouse.calls.names().count("start_copy") < 5 * 50

    def test_one_start_that_is_never_answered_stops_no_other_one(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        bad, *others = of_plain_tables(warehouse, 50)
        warehouse.calls.fail_next("start_copy", TRANSIENT, about=bad.copies[0].destination, times=99)

        run = Run([bad, *others], warehouse, clock, concurrent_jobs=2)

        assert sum(isinstance(end, CopyOutcome) for end in run.ends) == 49

    def test_a_start_that_is_refused_is_failed(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.calls.fail_next("start_copy", DENIED)

        end = Run([of_orders()], warehouse, clock).only

        assert end == CopyFailure(a_copy(), job_id(a_copy(), tried=0), DENIED)

    def test_a_start_that_is_refused_after_a_lost_answer_is_not_called_failed(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.calls.fail_next("start_copy", TRANSIENT, after=True)
        warehouse.calls.fail_next("start_copy", DENIED)

        end = Run([of_orders()], warehouse, clock).only

        assert end == CopyUnfinished(a_copy(), job_id(a_copy(), tried=0), "access denied")

    def test_a_job_that_disappeared_is_started_again_under_the_same_id(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.swallow_start_into(a_copy().destination)

        end = Run([of_orders()], warehouse, clock, lost_after=timedelta(seconds=30)).only

        assert isinstance(end, CopyOutcome)
        assert end.job_id == job_id(a_copy(), tried=0)
        assert warehouse.starts[1][0] - warehouse.starts[0][0] > 30

    def test_a_job_that_always_disappears_is_not_called_failed(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.swallow_start_into(a_copy().destination, times=99)

        end = Run([of_orders()], warehouse, clock, max_tries=3).only

        assert isinstance(end, CopyUnfinished)
        assert warehouse.calls.names().count("start_copy") == 3

    def test_a_table_whose_creation_failed_in_passing_is_created_later(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.calls.fail_next("create_table_like", TRANSIENT, times=2)

        run = Run([of_events(DAYS[:2])], warehouse, clock)

        assert all(isinstance(end, CopyOutcome) for end in run.ends)

    @pytest.mark.parametrize("error", [pytest.param(DENIED, id="for good"), pytest.param(TRANSIENT, id="too often")])
    def test_a_table_that_cannot_be_created_fails_its_copies_alone(
        self, error: BbqError, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.calls.fail_next("create_table_like", error, times=5)

        run = Run([of_events(DAYS[:2]), of_orders()], warehouse, clock)

        assert {end.copy.source.key: type(end) for end in run.ends} == {
            "orders": CopyOutcome,
            "events$20240101": CopyFailure,
            "events$20240102": CopyFailure,
        }

    def test_a_question_that_failed_in_passing_is_asked_again(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.calls.fail_next("copy_statuses", TRANSIENT, times=4)

        assert isinstance(Run([of_orders()], warehouse, clock).only, CopyOutcome)

    @pytest.mark.parametrize("error", [pytest.param(DENIED, id="for good"), pytest.param(TRANSIENT, id="too often")])
    def test_jobs_that_cannot_be_followed_are_left_to_the_next_run(
        self, error: BbqError, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.calls.fail_next("copy_statuses", error, times=5)
        warehouse.calls.fail_next("create_table_like", TRANSIENT)

        run = Run([of_orders(), of_events(), *of_plain_tables(warehouse, 40)], warehouse, clock, concurrent_jobs=5)

        assert len(run.ends) == 72
        assert all(isinstance(end, CopyUnfinished) for end in run.ends)

    def test_an_error_of_ours_is_not_hidden(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.calls.fail_next("start_copy", ZeroDivisionError())  # type: ignore[arg-type]

        with pytest.raises(ZeroDivisionError):
            Run([of_orders()], warehouse, clock)


class TestRateLimits:
    def test_a_start_that_is_refused_costs_no_try(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.calls.fail_next("start_copy", TOO_MANY, times=9)

        end = Run([of_orders()], warehouse, clock, max_tries=2).only

        assert isinstance(end, CopyOutcome)
        assert end.job_id == job_id(a_copy(), tried=0)

    def test_a_creation_that_is_refused_costs_no_try(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.calls.fail_next("create_table_like", TOO_MANY, times=9)

        run = Run([of_events(DAYS[:2])], warehouse, clock, max_tries=2)

        assert all(isinstance(end, CopyOutcome) for end in run.ends)

    def test_what_is_refused_for_too_long_is_left_to_the_next_run(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.calls.fail_next("start_copy", TOO_MANY, times=999)
        began = clock.monotonic()

        end = Run([of_orders()], warehouse, clock, max_tries=2, refused_for=timedelta(minutes=3)).only

        assert end == CopyUnfinished(a_copy(), job_id(a_copy(), tried=0), "too many requests")
        assert 180 <= clock.monotonic() - began < 200

    def test_refusals_slow_all_starts_down(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.calls.fail_next("start_copy", TOO_MANY, times=40)
        began = clock.monotonic()

        Run(of_plain_tables(warehouse, 200), warehouse, clock, requests_per_second=100)

        assert clock.monotonic() - began > 200 / 100 * 1.5
        assert len(warehouse.written) == 200

    def test_runs_that_know_of_each_other_begin_with_their_share(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        Run(of_plain_tables(warehouse, 200), warehouse, clock, requests_per_second=90, concurrent_runs=3)

        assert most_within([at for at, _ in warehouse.starts], 1) <= 30 + 9 + 1


def test_a_job_that_is_done_when_it_was_started_is_asked_for_no_more(clock: FakeClock) -> None:
    warehouse = Prompt(clock, job_seconds=0)
    warehouse.create_dataset(SALES)
    warehouse.create_dataset(BACKUPS)

    run = Run(of_plain_tables(warehouse, 20), warehouse, clock)

    assert all(isinstance(end, CopyOutcome) for end in run.ends)
    assert warehouse.calls.names() == ["start_copy"] * 20


class Prompt(FakeWarehouse):
    """The same warehouse, which tells how a job is when it starts it."""

    def start_copy(self, copy: Copy, job: JobRef) -> CopyStatus | None:
        super().start_copy(copy, job)
        self._end_jobs()
        return self._status(self._jobs[job])


class TestCopiesOfAnEarlierRun:
    @pytest.fixture
    def job(self, warehouse: FakeWarehouse, clock: FakeClock) -> JobRef:
        """Of a copy that an earlier run started, and that is done by now."""
        job = JobRef(job_id(a_copy(), tried=0), LOCATION)
        warehouse.start_copy(a_copy(), job)
        clock.sleep(60)
        warehouse.calls.log.clear()
        return job

    def test_what_is_done_is_adopted_without_a_start(
        self, job: JobRef, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        end = Run([of_orders(begun=True)], warehouse, clock).only

        assert isinstance(end, CopyOutcome)
        assert end.started_at == clock.now() - timedelta(seconds=60)
        assert warehouse.calls.names() == ["copy_statuses"]

    def test_what_is_done_is_adopted_even_where_its_source_is_gone(
        self, job: JobRef, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.delete_table(ORDERS)
        begun = replace(of_orders(begun=True), create_like=ORDERS)

        assert isinstance(Run([begun], warehouse, clock).only, CopyOutcome)

    def test_what_was_never_started_is_started(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        run = Run([of_events(DAYS[:2], begun=True)], warehouse, clock)

        assert all(isinstance(end, CopyOutcome) for end in run.ends)
        assert warehouse.calls.names()[:2] == ["copy_statuses", "create_table_like"]

    def test_what_was_never_started_and_has_no_source_is_failed(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        warehouse.delete_table(EVENTS)

        run = Run([of_events(DAYS[:2], begun=True)], warehouse, clock)

        assert [type(end) for end in run.ends] == [CopyFailure, CopyFailure]

    def test_a_second_job_of_the_earlier_run_is_found(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.fail_jobs_into(a_copy().destination, TRANSIENT)
        for tried in (0, 1):
            warehouse.start_copy(a_copy(), JobRef(job_id(a_copy(), tried=tried), LOCATION))
            clock.sleep(60)
        warehouse.calls.log.clear()

        end = Run([of_orders(begun=True)], warehouse, clock).only

        assert isinstance(end, CopyOutcome)
        assert end.job_id == job_id(a_copy(), tried=1)
        assert "start_copy" not in warehouse.calls.names()


def test_a_stuck_job_is_told_of_and_left_at_the_deadline(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    warehouse.never_end_into(a_copy().destination)

    run = Run([of_orders(), of_events(DAYS[:1])], warehouse, clock, job_deadline=timedelta(hours=6))

    assert run.ends[-1] == CopyUnfinished(a_copy(), job_id(a_copy(), tried=0), "still running after 6:00:00")
    assert run.progress[-2][1].longest_running == pytest.approx(6 * 3600, abs=20)
    assert "1 running (longest for 6:00:00)" in str(run.progress[-2][1])


def test_progress_is_told_every_ten_seconds_and_at_the_end(warehouse: FakeWarehouse, clock: FakeClock) -> None:
    warehouse.job_seconds = 95
    began = clock.monotonic()

    run = Run([of_orders(), of_events(DAYS[:2])], warehouse, clock)

    times = [began, *(at for at, _ in run.progress)]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 10.1
    assert run.progress[0][1].running == 3
    last = run.progress[-1][1]
    assert (last.done, last.failed, last.running, last.waiting) == (3, 0, 0, 0)
    assert (last.rows, last.size_bytes) == (5, 50)
    assert last.per_second == pytest.approx(3 / last.elapsed)


class TestPace:
    def test_never_more_jobs_at_once_than_allowed(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        tables = of_plain_tables(warehouse, 60)

        run = Run(tables, warehouse, clock, concurrent_jobs=8)

        assert len(run.ends) == 60
        assert warehouse.most_running == 8

    def test_starts_keep_the_rate_and_use_it(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        tables = of_plain_tables(warehouse, 400)

        Run(tables, warehouse, clock, requests_per_second=100)

        times = [at for at, _ in warehouse.starts]
        assert most_within(times, 1) <= 110
        assert len(times) / (times[-1] - times[0]) >= 95

    def test_a_partitioned_table_gets_fifty_updates_in_ten_seconds(
        self, warehouse: FakeWarehouse, clock: FakeClock
    ) -> None:
        days = [f"2024{month:02}{day:02}" for month in range(1, 7) for day in range(1, 26)]
        warehouse.create_partitioned_table(EVENTS, dict.fromkeys(days, 1))

        Run([of_events(days)], warehouse, clock)

        times = [*warehouse.creations, *(at for at, _ in warehouse.starts)]
        assert most_within(times, 10) <= 50
        assert max(times) - min(times) <= 40

    def test_a_plain_table_gets_five_updates_in_ten_seconds(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.job_seconds = 0
        warehouse.fail_jobs_into(a_copy().destination, *[TRANSIENT] * 19)

        Run([of_orders()], warehouse, clock, max_tries=20)

        assert most_within([at for at, _ in warehouse.starts], 10) <= 5

    def test_tables_are_created_at_their_own_rate(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        tables = []
        for name in range(60):
            source = SALES.table(f"p{name}")
            warehouse.create_partitioned_table(source, {"20240101": 1})
            copy = a_copy(source.unit("20240101"))
            tables.append(TableCopies(copy.destination.table, (copy,), create_like=source))

        Run(tables, warehouse, clock)

        assert most_within(warehouse.creations, 1) <= 10

    @pytest.mark.parametrize("place", [pytest.param(0, id="the large table first"), pytest.param(30, id="or last")])
    def test_tables_take_turns(self, place: int, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        """A table of 31 partitions does not keep 30 other tables waiting."""
        events, tables = of_events(), of_plain_tables(warehouse, 30)
        warehouse.create_table_like(EVENTS, events.destination, description="")
        Run([*tables[:place], replace(events, create_like=None), *tables[place:]], warehouse, clock)

        first = [destination.table for _, destination in warehouse.starts[:31]]
        assert len(set(first)) == 31

    def test_jobs_that_end_soon_are_seen_soon(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        """400 jobs of a second, 40 at once, are held up by nothing but the 20 starts a second."""
        warehouse.job_seconds = 1
        Run(of_plain_tables(warehouse, 400), warehouse, clock, concurrent_jobs=40, requests_per_second=20)

        assert clock.monotonic() < 25

    def test_a_plan_of_many_copies_asks_for_them_in_bulk(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        Run(of_plain_tables(warehouse, 300), warehouse, clock)

        assert warehouse.calls.names().count("copy_statuses") < 100


class TestWithThreads:
    def test_the_same_with_real_threads(self, warehouse: FakeWarehouse, clock: FakeClock) -> None:
        warehouse.job_seconds = 0
        tables = [*of_plain_tables(warehouse, 200), of_events(DAYS[:5])]
        warehouse.fail_jobs_into(tables[7].copies[0].destination, DENIED)

        ends = run_to_end(tables, warehouse, CopyLimits(threads=8, concurrent_jobs=20, requests_per_second=5000))

        assert sum(isinstance(end, CopyOutcome) for end in ends.values()) == 204
        assert isinstance(ends[tables[7].copies[0]], CopyFailure)
        assert max(warehouse.written.values()) == 1
        assert warehouse.most_running <= 20

    def test_no_more_requests_at_once_than_threads(self, warehouse: FakeWarehouse) -> None:
        warehouse.job_seconds = 0
        gauge = Gauge()
        crowded = Crowded(warehouse, gauge)

        ends = run_to_end(of_plain_tables(warehouse, 60), crowded, CopyLimits(threads=4, requests_per_second=5000))

        assert len(ends) == 60
        assert 2 <= gauge.most <= 4

    def test_closing_starts_nothing_more(self, warehouse: FakeWarehouse) -> None:
        warehouse.job_seconds = 0
        turns = run_copies(of_plain_tables(warehouse, 500), warehouse, limits=CopyLimits(requests_per_second=50))
        next(turns)
        turns.close()
        started = len(warehouse.starts)

        assert started < 500
        assert "ThreadPoolExecutor" not in {thread.name.partition("-")[0] for thread in threading.enumerate()}


class Gauge:
    """How many are in it at once, at most."""

    def __init__(self) -> None:
        self._lock, self._now, self.most = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


class Crowded(FakeWarehouse):
    """The same warehouse, with starts that take a moment."""

    def __init__(self, warehouse: FakeWarehouse, gauge: Gauge) -> None:
        self.__dict__ = warehouse.__dict__
        self._gauge = gauge

    def start_copy(self, copy: Copy, job: JobRef) -> None:
        with self._gauge:
            threading.Event().wait(0.005)
            super().start_copy(copy, job)


def run_to_end(tables: Iterable[TableCopies], warehouse: FakeWarehouse, limits: CopyLimits) -> Mapping[Copy, CopyEnd]:
    ends = (end for turn in run_copies(tables, warehouse, limits=limits, runtime=Runtime()) for end in turn)
    return {end.copy: end for end in ends}


def most_within(times: list[float], seconds: float) -> int:
    return max(sum(start <= at < start + seconds - 1e-6 for at in times) for start in times)
