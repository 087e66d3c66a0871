"""Which level has the last word on each field of a policy."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.policy import EffectivePolicy, Level, Override, Policy, Setting, levels_for, resolve_policy
from bbq_dagster.core.tables import TableRef

EVENTS = TableRef("acme-shop", "sales", "events_2024")
SILENT = Policy()

POLICIES = st.builds(
    Policy,
    skip=st.none() | st.booleans(),
    whole_table_share=st.none() | st.floats(0, 1),
    streaming_wait_minutes=st.none() | st.integers(0, 1440),
)
LEVELS = st.lists(st.builds(Level, st.sampled_from(["a", "b", "c"]), POLICIES))
PATTERNS = st.sampled_from(["*", "sales", "s*", "events_2024", "events_*", "e*", "regex:.*", "other"])
OVERRIDES = st.lists(st.builds(Override, PATTERNS, st.none() | PATTERNS, POLICIES))


def waiting(minutes: int) -> Policy:
    return Policy(streaming_wait_minutes=minutes)


def who_decides(*overrides: Override, defaults: Policy = SILENT, project: Policy = SILENT) -> Setting[int]:
    levels = levels_for(EVENTS, defaults=defaults, project=project, overrides=overrides)
    return resolve_policy(levels).streaming_wait_minutes


def test_without_any_level_the_built_in_values_hold() -> None:
    assert resolve_policy([]) == EffectivePolicy(
        skip=Setting(False, "built in"),
        whole_table_share=Setting(0.5, "built in"),
        streaming_wait_minutes=Setting(90, "built in"),
    )


def test_each_level_is_stronger_than_the_one_before() -> None:
    of_dataset = Override("sales", None, waiting(3))
    of_table = Override("sales", "events_*", waiting(4))

    assert who_decides() == Setting(90, "built in")
    assert who_decides(defaults=waiting(1)) == Setting(1, "defaults")
    assert who_decides(defaults=waiting(1), project=waiting(2)) == Setting(2, "project acme-shop")
    assert who_decides(of_dataset, project=waiting(2)) == Setting(3, "dataset sales")
    assert who_decides(of_table, of_dataset, project=waiting(2)) == Setting(4, "table events_*")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param(
            [Override("sales", "events_2024", waiting(1)), Override("sales", "events_*", waiting(2))],
            Setting(1, "table events_2024"),
            id="an exact table beats a pattern",
        ),
        pytest.param(
            [Override("sales", "events_2*", waiting(1)), Override("sales", "events_*", waiting(2))],
            Setting(1, "table events_2*"),
            id="more literal characters of the table win",
        ),
        pytest.param(
            [Override("*", "events_2*", waiting(1)), Override("sales", "events_*", waiting(2))],
            Setting(1, "table events_2*"),
            id="the table counts before the dataset",
        ),
        pytest.param(
            [Override("sales", "events_*", waiting(1)), Override("s*", "events_*", waiting(2))],
            Setting(1, "table events_*"),
            id="of equal tables the more specific dataset wins",
        ),
        pytest.param(
            [Override("sales", None, waiting(1)), Override("s*", None, waiting(2))],
            Setting(1, "dataset sales"),
            id="an exact dataset beats a pattern",
        ),
        pytest.param(
            [Override("sales", "*", waiting(1)), Override("sales", "regex:.*", waiting(2))],
            Setting(2, "table regex:.*"),
            id="of equally specific ones the later wins",
        ),
        pytest.param(
            [Override("crm", None, waiting(1)), Override("sales", "orders", waiting(2))],
            Setting(90, "built in"),
            id="overrides for something else say nothing",
        ),
    ],
)
def test_the_more_specific_override_wins(overrides: list[Override], expected: Setting[int]) -> None:
    assert who_decides(*overrides) == expected


def test_fields_are_merged_one_by_one() -> None:
    policy = resolve_policy(
        [Level("defaults", Policy(skip=True, whole_table_share=0.1)), Level("table t", Policy(skip=False))]
    )

    assert policy.skip == Setting(False, "table t")
    assert policy.whole_table_share == Setting(0.1, "defaults")
    assert policy.streaming_wait_minutes == Setting(90, "built in")


def test_a_policy_prints_who_set_what() -> None:
    policy = resolve_policy([Level("dataset sales", Policy(skip=True))])

    assert str(policy) == (
        "skip: True (dataset sales)\nwhole_table_share: 0.5 (built in)\nstreaming_wait_minutes: 90 (built in)\n"
        "retention: None (built in)\n"
        "anomaly: rows_lost_share 0.5, bytes_lost_share 0.5, schema_change False, smallest_rows 1000 (built in)"
    )


def test_every_key_of_a_policy_takes_effect() -> None:
    assert [field.name for field in fields(Policy)] == [field.name for field in fields(EffectivePolicy)]


@given(levels=LEVELS, strongest=POLICIES)
def test_what_the_strongest_level_says_holds(levels: list[Level], strongest: Policy) -> None:
    policy = resolve_policy([*levels, Level("strongest", strongest)])

    for field in fields(Policy):
        said = getattr(strongest, field.name)
        assert said is None or getattr(policy, field.name) == Setting(said, "strongest")


@given(before=LEVELS, after=LEVELS)
def test_a_level_that_says_nothing_changes_nothing(before: list[Level], after: list[Level]) -> None:
    assert resolve_policy([*before, Level("silent", Policy()), *after]) == resolve_policy([*before, *after])


@given(overrides=OVERRIDES, unrelated=st.builds(Override, st.just("other"), st.none() | PATTERNS, POLICIES))
def test_an_override_for_another_dataset_changes_nothing(overrides: list[Override], unrelated: Override) -> None:
    def levels(of: list[Override]) -> tuple[Level, ...]:
        return levels_for(EVENTS, defaults=SILENT, project=SILENT, overrides=of)

    assert levels([unrelated, *overrides]) == levels(overrides) == levels([*overrides, unrelated])


@given(overrides=OVERRIDES, exact=POLICIES)
def test_nothing_is_stronger_than_the_exact_table(overrides: list[Override], exact: Policy) -> None:
    override = Override("sales", "events_2024", exact)
    levels = levels_for(EVENTS, defaults=SILENT, project=SILENT, overrides=[*overrides, override])

    assert levels[-1] == override.level


@given(overrides=OVERRIDES)
def test_tables_are_stronger_than_datasets(overrides: list[Override]) -> None:
    levels = levels_for(EVENTS, defaults=SILENT, project=SILENT, overrides=overrides)

    kinds = [level.name.split()[0] for level in levels]
    assert kinds == sorted(kinds, key=["defaults", "project", "dataset", "table"].index)
