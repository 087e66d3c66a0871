"""How one table is backed up: what each level of the settings says, and which level had the last word.

Merges field by field; it neither selects tables (that is ``selection``) nor knows where a level was written down.
From weak to strong:

    built in < defaults < project < dataset overrides < table overrides

Among overrides of one kind the more specific pattern is the stronger one, of the table first, then of the dataset
(``selection.specificity``); of two equally specific ones, the later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Generic, TypeVar

from bbq_dagster.core.anomaly_policy import AnomalyPolicy, AnomalyRules, merge_anomaly_rules
from bbq_dagster.core.retention_policy import RetentionPolicy, RetentionRules, merge_rules
from bbq_dagster.core.selection import matches, specificity
from bbq_dagster.core.tables import TableRef

T = TypeVar("T")

BUILT_IN = "built in"


@dataclass(frozen=True, slots=True)
class Policy:
    """What one level says. ``None``: it says nothing of that, and a weaker level decides."""

    skip: bool | None = None
    whole_table_share: float | None = None
    streaming_wait_minutes: int | None = None
    retention: RetentionRules | None = None
    anomaly: AnomalyRules | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """A policy and who set it: ``defaults``, ``project acme-shop``, ``dataset sales``, ``table events_*``."""

    name: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class Override:
    """A policy for the datasets, or the tables where ``table`` is given, that match a pattern."""

    dataset: str
    table: str | None
    policy: Policy

    def applies_to(self, table: TableRef) -> bool:
        return matches(self.dataset, table.dataset) and (self.table is None or matches(self.table, table.table))

    @property
    def level(self) -> Level:
        name = f"dataset {self.dataset}" if self.table is None else f"table {self.table}"
        return Level(name, self.policy)

    @property
    def strength(self) -> tuple[bool, tuple[bool, int], tuple[bool, int]]:
        """Sorts overrides from weak to strong."""
        return (self.table is not None, specificity(self.table or "*"), specificity(self.dataset))


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """A value and the name of the level that set it."""

    value: T
    set_by: str

    def __str__(self) -> str:
        return f"{self.value} ({self.set_by})"


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What holds for one table.

    * ``skip``: it is not backed up; versions that exist stay as they are.
    * ``whole_table_share``: from this share of changed partitions on (0 to 1), one copy job takes the whole table.
    * ``streaming_wait_minutes``: how long rows in the streaming buffer may keep a copy waiting.
    * ``retention``: how long its versions are kept, merged key by key. None: for ever.
    * ``anomaly``: which changes are flagged, merged key by key.
    """

    skip: Setting[bool]
    whole_table_share: Setting[float]
    streaming_wait_minutes: Setting[int]
    retention: Setting[RetentionPolicy | None] = field(default_factory=lambda: Setting(None, BUILT_IN))
    anomaly: Setting[AnomalyPolicy] = field(default_factory=lambda: Setting(AnomalyPolicy(), BUILT_IN))

    def __str__(self) -> str:
        return "\n".join(f"{field.name}: {getattr(self, field.name)}" for field in fields(self))


def levels_for(
    table: TableRef, *, defaults: Policy, project: Policy, overrides: Iterable[Override]
) -> tuple[Level, ...]:
    """The levels that speak about ``table``, from weak to strong."""
    applying = sorted((o for o in overrides if o.applies_to(table)), key=lambda override: override.strength)
    return (
        Level("defaults", defaults),
        Level(f"project {table.project}", project),
        *(override.level for override in applying),
    )


def resolve_policy(levels: Sequence[Level]) -> EffectivePolicy:
    """``levels`` come from weak to strong; each field is what the strongest level says that says anything of it."""
    return _resolved(tuple(levels))


@lru_cache(maxsize=1024)
def _resolved(levels: tuple[Level, ...]) -> EffectivePolicy:
    """Kept: of hundreds of thousands of tables, most have the same levels as the one before."""
    return EffectivePolicy(
        skip=_strongest(levels, lambda policy: policy.skip, built_in=False),
        whole_table_share=_strongest(levels, lambda policy: policy.whole_table_share, built_in=0.5),
        streaming_wait_minutes=_strongest(levels, lambda policy: policy.streaming_wait_minutes, built_in=90),
        retention=_merged_retention(levels),
        anomaly=_merged_anomaly(levels),
    )


def _merged_retention(levels: Sequence[Level]) -> Setting[RetentionPolicy | None]:
    said = ((level.policy.retention, level.name) for level in levels)
    policy, said_by = merge_rules((rules, name) for rules, name in said if rules is not None)
    return Setting(policy, ", ".join(said_by) or BUILT_IN)


def _merged_anomaly(levels: Sequence[Level]) -> Setting[AnomalyPolicy]:
    said = ((level.policy.anomaly, level.name) for level in levels)
    policy, said_by = merge_anomaly_rules((rules, name) for rules, name in said if rules is not None)
    return Setting(policy, ", ".join(said_by) or BUILT_IN)


def _strongest(levels: Sequence[Level], value_of: Callable[[Policy], T | None], *, built_in: T) -> Setting[T]:
    said = ((value_of(level.policy), level.name) for level in reversed(levels))
    return next((Setting(value, name) for value, name in said if value is not None), Setting(built_in, BUILT_IN))
