"""When a change of a source is an anomaly: what one level of the settings says of it, and what follows for a table.

Values only: which changes are anomalies is decided in ``anomalies``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from bbq_dagster.core.levels import merge_levels


@dataclass(frozen=True, slots=True)
class AnomalyRules:
    """What one level says of anomalies. ``None``: it says nothing of that, and a weaker level decides."""

    rows_lost_share: float | None = None
    bytes_lost_share: float | None = None
    schema_change: bool | None = None
    smallest_rows: int | None = None


@dataclass(frozen=True, slots=True)
class AnomalyPolicy:
    """Which changes since the last version are flagged.

    * ``rows_lost_share``, ``bytes_lost_share``: a loss of more than this share of the rows or bytes (0 to 1). 1 turns
      the rule off: nothing loses more than all.
    * ``schema_change``: whether another schema is one. Adding a column is everyday life for most, so it is off.
    * ``smallest_rows``: a version with fewer rows is too small for shares to mean anything.
    """

    rows_lost_share: float = 0.5
    bytes_lost_share: float = 0.5
    schema_change: bool = False
    smallest_rows: int = 1000

    def __str__(self) -> str:
        return ", ".join(f"{field.name} {getattr(self, field.name)}" for field in fields(self))


def merge_anomaly_rules(levels: Iterable[tuple[AnomalyRules, str]]) -> tuple[AnomalyPolicy, tuple[str, ...]]:
    """The policy of these levels, from weak to strong, field by field, and the names of those that said something."""
    said, names = merge_levels(levels)
    return AnomalyPolicy(**said), names
