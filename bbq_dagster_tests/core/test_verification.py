"""What is verified next, and what holds for every plan; how evidence is judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.catalog import Event, EventKind
from bbq_dagster.core.fingerprint import LEAST_BILLED, METHOD, Fingerprint
from bbq_dagster.core.tables import NULL_PARTITION, Unit
from bbq_dagster.core.verification import (
    PARTITIONS_PER_QUERY,
    Budget,
    Candidate,
    Evidence,
    Spent,
    VerificationPlan,
    candidates_of,
    judge,
    plan_verification,
)
from bbq_dagster.core.verification_record import (
    How,
    Outcome,
    Proof,
    Verified,
    fold_proofs,
    stored_fingerprint,
    verified,
)
from bbq_dagster.core.versions import Version
from bbq_dagster_tests.builders import BACKUPS, EVENTS, NOW, ORDERS, SALES, a_version

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WIDE = Budget(versions=10**6, size_bytes=10**15)
FIVE = Fingerprint(5, "schema", "100", (("n", "7"),))


def a_candidate(
    name: str = "v",
    *,
    unit: Unit | None = None,
    captured: timedelta = 30 * DAY,
    looked: timedelta | None = None,
    is_newest: bool = False,
    size_bytes: int | None = 30,
    **proof: object,
) -> Candidate:
    """A version of ``captured`` ago; with ``looked``, one that was proven so long ago."""
    version = a_version(unit or ORDERS.unit(), version_id=name, captured_at=NOW - captured, size_bytes=size_bytes)
    seen = None if looked is None else NOW - looked
    stored = Proof(name, seen, seen, has_fingerprint=looked is not None)
    return Candidate(version, replace(stored, **proof), is_newest)  # type: ignore[arg-type]


def ids(plan: VerificationPlan) -> list[str]:
    return [check.version.version_id for check in plan.checks]


# The order


def test_what_was_not_looked_at_for_the_longest_time_is_first() -> None:
    candidates = [a_candidate("young", looked=DAY), a_candidate("old", looked=9 * DAY), a_candidate("never")]

    assert ids(plan_verification(candidates, budget=WIDE, now=NOW)) == ["never", "old", "young"]


def test_the_newest_version_counts_four_times_as_long() -> None:
    candidates = [
        a_candidate("older", looked=7 * DAY),
        a_candidate("newest", looked=2 * DAY, is_newest=True),
        a_candidate("oldest", looked=9 * DAY),
    ]

    assert ids(plan_verification(candidates, budget=WIDE, now=NOW)) == ["oldest", "newest", "older"]


def test_what_can_still_be_compared_with_its_source_comes_first_the_most_pressing_before() -> None:
    candidates = [a_candidate("older", looked=99 * DAY), a_candidate("new", captured=HOUR)]
    pressing = a_candidate("pressing", captured=6 * DAY)
    plan = plan_verification([*candidates, pressing, candidates[1]], budget=Budget(4, 10**12), now=NOW)
    by_id = {check.version.version_id: check for check in plan.checks}

    assert {name for name, check in by_id.items() if check.with_source} == {"new", "pressing"}
    assert ids(plan)[-1] == "older"


@pytest.mark.parametrize(
    ("captured", "expected"),
    [
        pytest.param(7 * DAY - HOUR - timedelta(microseconds=1), True, id="an hour before the end of time travel"),
        pytest.param(7 * DAY - HOUR, False, id="too late for it"),
    ],
)
def test_the_source_is_read_while_time_travel_reaches_it(captured: timedelta, expected: bool) -> None:
    (check,) = plan_verification([a_candidate(captured=captured)], budget=WIDE, now=NOW).checks

    assert check.with_source is expected


def test_a_source_is_not_read_for_a_version_that_was_found_without_its_copy_job() -> None:
    candidate = a_candidate(captured=DAY)
    found = replace(candidate, version=replace(candidate.version, job_id=""))
    (check,) = plan_verification([found], budget=WIDE, now=NOW).checks

    assert not check.with_source


def test_a_source_is_not_read_for_a_version_whose_fingerprint_is_known() -> None:
    (check,) = plan_verification([a_candidate(captured=DAY, looked=HOUR)], budget=WIDE, now=NOW).checks

    assert not check.with_source
    assert check.cost == LEAST_BILLED


def test_what_presses_leaves_half_of_the_budget_to_the_others() -> None:
    pressing = [a_candidate(f"new {number}", captured=HOUR) for number in range(10)]
    older = [a_candidate(f"old {number}", looked=9 * DAY) for number in range(10)]
    plan = plan_verification([*pressing, *older], budget=Budget(6, 10**12), now=NOW)

    assert [check.with_source for check in plan.checks].count(True) == 3
    assert len(plan.checks) == 6


def test_what_was_looked_at_today_comes_after_all_that_was_not() -> None:
    of_today = [a_candidate("newest", looked=2 * HOUR, is_newest=True), a_candidate("other", looked=2 * HOUR)]
    pressing = [a_candidate(f"new {number}", captured=HOUR) for number in range(3)]
    of_yesterday = a_candidate("yesterday", looked=3 * HOUR)
    plan = plan_verification([*of_today, *pressing, of_yesterday], budget=Budget(5, 10**12), now=NOW)

    assert sorted(ids(plan)[:4]) == ["new 0", "new 1", "new 2", "yesterday"]
    assert ids(plan)[4:] == ["newest"]


def test_a_version_that_needs_more_than_half_of_the_day_gets_it_in_its_turn() -> None:
    huge = a_candidate("huge", looked=9 * DAY, size_bytes=900)
    new = [a_candidate(f"new {number}", captured=HOUR) for number in range(10)]
    budget = Budget(100, 24 * LEAST_BILLED)
    plan = plan_verification([replace_size(huge, 20 * LEAST_BILLED), *new], budget=budget, now=NOW)

    assert ids(plan)[0] == "huge"


def test_what_no_day_can_pay_for_says_so() -> None:
    huge = replace_size(a_candidate("huge"), 20 * LEAST_BILLED)
    plan = plan_verification([huge], budget=Budget(100, LEAST_BILLED), now=NOW)

    assert plan.checks == ()
    assert plan.waiting[0].reason == "it would read 200.0 MiB, and the budget of the day has 10.0 MiB left"


def replace_size(candidate: Candidate, size_bytes: int) -> Candidate:
    return replace(candidate, version=replace(candidate.version, size_bytes=size_bytes))


@pytest.mark.parametrize(
    ("live", "spent", "expected"),
    [
        pytest.param(1000, Spent(), Budget(20, 500, 1), id="a share of all"),
        pytest.param(1, Spent(), Budget(1, 500, 1), id="at least one"),
        pytest.param(10**6, Spent(), Budget(100, 500, 1), id="not more than the most"),
        pytest.param(1000, Spent(15, 400, 1), Budget(5, 100, 0), id="what the day has left"),
        pytest.param(1000, Spent(99, 999, 9), Budget(0, 0, 0), id="never less than nothing"),
    ],
)
def test_a_day_has_a_budget(live: int, spent: Spent, expected: Budget) -> None:
    assert Budget.of_day(share=0.02, versions=100, size_bytes=500, drills=1, live=live, spent=spent) == expected


# Drills


def test_a_drill_goes_to_the_table_that_was_never_drilled_then_to_the_one_without_for_the_longest() -> None:
    def of(table: str, drilled: timedelta | None) -> Candidate:
        at = None if drilled is None else NOW - drilled
        return a_candidate(table, unit=SALES.table(table).unit(), is_newest=True, looked=DAY, drilled_at=at)

    candidates = [of("lately", DAY), of("never", None), of("long ago", 9 * DAY)]
    plan = plan_verification(candidates, budget=replace(WIDE, drills=2), now=NOW)

    assert [version.version_id for version in plan.drills] == ["never", "long ago"]


@pytest.mark.parametrize(
    "candidate",
    [
        pytest.param(a_candidate(is_newest=True, flaw="other rows"), id="a bad one"),
        pytest.param(a_candidate(is_newest=False), id="not the newest"),
        pytest.param(a_candidate(unit=EVENTS.unit(NULL_PARTITION), is_newest=True), id="it cannot be restored alone"),
        pytest.param(replace_size(a_candidate(is_newest=True), 10**15), id="it would read too much"),
    ],
)
def test_some_are_never_drilled(candidate: Candidate) -> None:
    assert plan_verification([candidate], budget=Budget(9, 10**12, drills=5), now=NOW).drills == ()


# What holds for every plan

hours = st.integers(0, 24 * 60).map(lambda count: count * HOUR)


@st.composite
def some_candidates(draw: st.DrawFn) -> list[Candidate]:
    drawn = draw(
        st.lists(
            st.tuples(hours, st.none() | hours, st.booleans(), st.none() | st.integers(0, 5 * LEAST_BILLED)),
            max_size=25,
        )
    )
    return [
        a_candidate(f"v{number}", captured=captured, looked=looked, is_newest=newest, size_bytes=size_bytes)
        for number, (captured, looked, newest, size_bytes) in enumerate(drawn)
    ]


budgets = st.builds(Budget, st.integers(0, 30), st.integers(0, 80 * LEAST_BILLED), st.integers(0, 3))


@given(some_candidates(), budgets)
def test_every_version_is_verified_or_waits_with_a_reason_and_the_budget_is_kept(
    candidates: list[Candidate], budget: Budget
) -> None:
    plan = plan_verification(candidates, budget=budget, now=NOW)
    waiting = [waits.version.version_id for waits in plan.waiting]

    assert sorted([*ids(plan), *waiting]) == sorted(c.version.version_id for c in candidates)
    assert all(waits.reason for waits in plan.waiting)
    assert len(plan.checks) <= budget.versions
    assert plan.cost <= budget.size_bytes
    assert len(plan.drills) <= budget.drills


@given(some_candidates())
def test_a_budget_without_end_leaves_nothing_waiting(candidates: list[Candidate]) -> None:
    assert plan_verification(candidates, budget=WIDE, now=NOW).waiting == ()


@given(some_candidates(), budgets)
def test_of_two_alike_the_one_with_the_older_look_never_waits_for_its_turn_alone(
    candidates: list[Candidate], budget: Budget
) -> None:
    alike = [replace_size(c, 30) for c in candidates if c.proof.has_fingerprint and not c.is_newest]
    plan = plan_verification(alike, budget=budget, now=NOW)
    looked = {c.version.version_id: c.looked_at for c in alike}
    taken = [looked[identity] for identity in ids(plan)]
    waiting = [looked[waits.version.version_id] for waits in plan.waiting]

    assert not taken or not waiting or max(taken) <= min(waiting)


@given(some_candidates(), st.integers(2, 6))
def test_day_after_day_every_version_gets_its_turn(candidates: list[Candidate], a_day: int) -> None:
    budget = Budget(a_day, 10 * LEAST_BILLED * a_day)
    left = {c.version.version_id for c in candidates}
    for day in range(5 * len(candidates)):
        now = NOW + (day + 1) * DAY
        seen = set(ids(plan_verification(candidates, budget=budget, now=now)))
        left -= seen
        candidates = [after_a_look(c, now) if c.version.version_id in seen else c for c in candidates]

    assert left == set()


def after_a_look(candidate: Candidate, now: datetime) -> Candidate:
    return replace(candidate, proof=replace(candidate.proof, looked_at=now, has_fingerprint=True))


def test_a_backup_table_is_read_by_one_query_for_so_many_partitions() -> None:
    table = BACKUPS.table("events-1")
    candidates = [
        replace(c, version=replace(c.version, backup=table.unit(str(number))))
        for number in range(PARTITIONS_PER_QUERY + 1)
        for c in [a_candidate(f"v{number}", unit=EVENTS.unit(f"{number}"))]
    ]
    steps = list(plan_verification(candidates, budget=WIDE, now=NOW).steps)

    assert [len(step.checks) for step in steps] == [PARTITIONS_PER_QUERY, 1]
    assert {step.backup for step in steps} == {table}


def test_the_plan_in_words() -> None:
    candidates = [
        a_candidate("never"),
        a_candidate("new", captured=HOUR, is_newest=True, size_bytes=2 * LEAST_BILLED),
        a_candidate("big", looked=9 * DAY, size_bytes=100 * LEAST_BILLED),
        a_candidate("bad", captured=2 * DAY, looked=DAY, flaw="2 rows fewer"),
    ]
    plan = plan_verification(candidates, budget=Budget(10, 50 * LEAST_BILLED, drills=1), now=NOW)

    assert str(plan).splitlines() == [
        "verification plan of 2026-01-31 02:15 UTC: 3 versions of 4, 60.0 MiB to read at most; 1 restore drill;"
        " 2 never proven, 1 bad",
        "",
        "differ from what was copied:",
        f"  {ORDERS} of 2026-01-29 02:15: 2 rows fewer",
        "",
        "verify:",
        f"  {ORDERS} of 2026-01-31 01:15 (new): its source can be read as it was until 2026-02-07 01:15",
        f"  {ORDERS} of 2026-01-01 02:15 (never): nobody has looked at it",
        f"  {ORDERS} of 2026-01-29 02:15 (bad): last looked at on 2026-01-30",
        "",
        "restore as a drill:",
        f"  {ORDERS} of 2026-01-31 01:15 (new)",
        "",
        "wait:",
        f"  {ORDERS} (big): it would read 1,000.0 MiB, and the budget of the day has 460.0 MiB left",
    ]


def test_the_newest_version_of_each_unit_is_marked() -> None:
    old, new = (a_version(version_id=name, captured_at=NOW - age * DAY) for name, age in (("old", 2), ("new", 1)))

    assert {c.version.version_id: c.is_newest for c in candidates_of([new, old], {})} == {"old": False, "new": True}


def test_a_version_comes_with_its_proof_or_with_none() -> None:
    known, new = (a_version(version_id=name, captured_at=NOW) for name in ("known", "new"))
    proof = Proof("known", NOW, NOW)

    assert [c.proof for c in candidates_of([new, known], {"known": proof})] == [proof, Proof("new")]


# Judging


@pytest.mark.parametrize(
    ("evidence", "outcome", "how", "words"),
    [
        pytest.param(Evidence(None), Outcome.DIFFERS, How.FINGERPRINT, "missing", id="no copy"),
        pytest.param(
            Evidence(FIVE, stored=FIVE), Outcome.PROVEN, How.FINGERPRINT, "it has what it had", id="as it was"
        ),
        pytest.param(
            Evidence(FIVE, stored=replace(FIVE, whole="1")),
            Outcome.DIFFERS,
            How.FINGERPRINT,
            "other values",
            id="not as it was",
        ),
        pytest.param(
            Evidence(FIVE, source=FIVE), Outcome.PROVEN, How.SOURCE, "what its source had", id="as its source"
        ),
        pytest.param(
            Evidence(FIVE, source=replace(FIVE, columns=(("n", "1"),))),
            Outcome.DIFFERS,
            How.SOURCE,
            "other values",
            id="not as its source",
        ),
        pytest.param(
            Evidence(FIVE, source=replace(FIVE, rows=6)),
            Outcome.SOURCE_GONE,
            How.SOURCE,
            "a query sees 6 rows of its source then, 5 were copied",
            id="rows that no copy job sees",
        ),
        pytest.param(
            Evidence(replace(FIVE, rows=4), source=replace(FIVE, rows=4)),
            Outcome.DIFFERS,
            How.FINGERPRINT,
            "other rows: it has 4 rows, 5 were copied",
            id="fewer rows than are on record",
        ),
        pytest.param(Evidence(FIVE, source="gone"), Outcome.SOURCE_GONE, How.SOURCE, "gone", id="no source"),
        pytest.param(
            Evidence(FIVE, source="gone", flaw="other table: x"), Outcome.DIFFERS, How.SOURCE, "other table", id="alien"
        ),
    ],
)
def test_evidence_is_judged(evidence: Evidence, outcome: Outcome, how: How, words: str) -> None:
    found = judge(a_version(rows=5), evidence)

    assert found[:2] == (outcome, how)
    assert words in found[2]


# The record


def word(
    outcome: Outcome, *, at: datetime, how: How = How.FINGERPRINT, fingerprint: Fingerprint | None = FIVE
) -> Event:
    return verified(Verified(a_version(), outcome, how, "why", fingerprint, 10, 2500), at=at, run_id="r")


def proof_of(*events: Event) -> Proof:
    (proof,) = fold_proofs(events).values()
    return proof


def test_the_newest_word_counts_and_one_that_could_not_look_says_nothing() -> None:
    proven, differs = word(Outcome.PROVEN, at=NOW), word(Outcome.DIFFERS, at=NOW + DAY)
    could_not = word(Outcome.COULD_NOT, at=NOW + 2 * DAY)
    again = word(Outcome.PROVEN, at=NOW + 3 * DAY)

    assert not proof_of(proven).is_bad
    assert proof_of(could_not, differs, proven).is_bad
    assert proof_of(could_not, differs, proven).last_proven_at == NOW
    assert proof_of(could_not, differs, proven).looked_at == NOW + 2 * DAY
    assert not proof_of(proven, differs, again).is_bad


def test_a_drill_is_a_proof_with_a_time() -> None:
    proof = proof_of(word(Outcome.PROVEN, at=NOW, how=How.DRILL))

    assert (proof.drilled_at, proof.last_proven_at) == (NOW, NOW)
    assert proof.drill_took == timedelta(seconds=2.5)


def test_a_drill_that_failed_took_no_time_and_the_last_that_succeeded_stays() -> None:
    failed = replace(word(Outcome.COULD_NOT, at=NOW + DAY, how=How.DRILL), duration_ms=0)
    proof = proof_of(word(Outcome.PROVEN, at=NOW, how=How.DRILL), failed)

    assert (proof.drilled_at, proof.drill_took) == (NOW + DAY, timedelta(seconds=2.5))


def test_what_is_proven_is_not_bad_any_more_and_needs_no_source() -> None:
    proof = proof_of(word(Outcome.DIFFERS, at=NOW), word(Outcome.PROVEN, at=NOW + DAY))

    assert proof == Proof(a_version().version_id, NOW + DAY, NOW + DAY, flaw="", has_fingerprint=True)


def test_a_version_whose_source_is_gone_is_not_bad_any_more_and_needs_no_source() -> None:
    proof = proof_of(word(Outcome.DIFFERS, at=NOW), word(Outcome.SOURCE_GONE, at=NOW + DAY))

    assert proof == Proof(a_version().version_id, NOW + DAY, flaw="", has_fingerprint=True)


@pytest.mark.parametrize(("reason", "expected"), [("2 rows fewer", "2 rows fewer"), (None, "differs")])
def test_a_version_that_differs_is_bad_with_or_without_words(reason: str | None, expected: str) -> None:
    assert proof_of(replace(word(Outcome.DIFFERS, at=NOW), reason=reason)).flaw == expected


def test_only_verifications_prove() -> None:
    other = replace(word(Outcome.PROVEN, at=NOW), event=EventKind.VERSION_CREATED)

    assert fold_proofs([other]) == {}
    assert stored_fingerprint([other]) is None
    assert stored_fingerprint([word(Outcome.PROVEN, at=NOW, fingerprint=None)]) is None


def test_a_verification_in_words() -> None:
    assert str(Verified(a_version(), Outcome.DIFFERS, How.DRILL, "2 rows fewer")) == (
        f"version of {ORDERS} of {ORDERS}: 2 rows fewer"
    )


def test_a_version_is_compared_with_what_it_was_first_found_to_hold() -> None:
    first = word(Outcome.SOURCE_GONE, at=NOW)
    bad = word(Outcome.DIFFERS, at=NOW - DAY, fingerprint=replace(FIVE, rows=1))
    other_method = word(Outcome.PROVEN, at=NOW - 2 * DAY, fingerprint=replace(FIVE, method=METHOD + 1))
    later = word(Outcome.PROVEN, at=NOW + DAY, fingerprint=replace(FIVE, whole="2"))

    assert stored_fingerprint([later, other_method, bad, first]) == FIVE
    assert stored_fingerprint([bad, other_method]) is None


def test_what_is_recorded_names_the_version_and_what_it_cost() -> None:
    version: Version = a_version(EVENTS.unit("20240101"))
    event = verified(Verified(version, Outcome.PROVEN, How.SOURCE, "why", FIVE, 10, 2500), at=NOW, run_id="r")

    assert event == Event(
        event=EventKind.VERIFIED,
        recorded_at=NOW,
        run_id="r",
        source_project="acme-shop",
        source_dataset="sales",
        source_table="events",
        partition_id="20240101",
        location="EU",
        reason="why",
        backup_project=BACKUPS.project,
        backup_dataset=BACKUPS.dataset,
        backup_table="events-1",
        version_id=version.version_id,
        captured_at=version.captured_at,
        row_count=5,
        outcome="proven",
        how="source",
        fingerprint=str(FIVE),
        bytes_scanned=10,
        duration_ms=2500,
    )


def test_what_could_not_be_looked_at_is_recorded_without_a_fingerprint() -> None:
    event = word(Outcome.COULD_NOT, at=NOW, fingerprint=None)

    assert (event.outcome, event.fingerprint, event.row_count) == ("could_not", None, None)
