"""How long versions are kept: what one level of the settings says of it, and the policy that follows for a table.

Values only: which versions a policy keeps is decided in ``retention_rules``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Literal

from bbq_dagster.core.levels import merge_levels
from bbq_dagster.errors import Refused

Preset = Literal["bbq", "none"]

FOREVER = timedelta.max
"""A duration without an end."""

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_DURATION = re.compile(r"(?P<count>[0-9]{1,5})(?P<unit>[hdw])")


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """What one level says of retention. ``None``: it says nothing of that, and a weaker level decides."""

    keep_last: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    keep_within: timedelta | None = None
    min_versions: int | None = None
    grace_after_source_deleted: timedelta | None = None
    preset: Preset | None = None
    bbq_months: int | None = None
    bbq_count: int | None = None


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Which versions of a unit to keep. What any rule keeps is kept; 0 turns a rule off.

    * ``keep_last``: the newest versions.
    * ``keep_hourly`` … ``keep_yearly``: the newest version of each of so many hours … years that have one, in UTC.
      A week is one of ISO 8601, from Monday.
    * ``keep_within``: all that were captured so long ago at most.
    * ``min_versions``: a floor under the rules, not a rule of its own.
    * ``grace_after_source_deleted``: all versions go when the source has been gone for longer. None: they stay.
    * ``preset`` ``bbq``: the rules of the original BBQ (``retention_preset``), with ``bbq_months`` and ``bbq_count``.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: timedelta = timedelta(0)
    min_versions: int = 1
    grace_after_source_deleted: timedelta | None = None
    preset: Preset = "none"
    bbq_months: int = 7
    bbq_count: int = 10

    @property
    def is_empty(self) -> bool:
        """No rule says what to keep: whoever wrote it meant something else than to delete everything."""
        return self.preset == "none" and not any(getattr(self, name) for name in RULES)

    def refuse_if_empty(self, what: str) -> None:
        """Raises ``Refused``; ``what`` says whose policy it is."""
        if self.is_empty:
            raise Refused(
                f"the retention of {what} has no rule that keeps anything: nothing was deleted",
                hint="give it a rule, such as keep_daily: 7; keep_within: forever keeps everything",
            )

    def __str__(self) -> str:
        """``keep_daily 7, keep_within 30d``: all that differs from what is built in."""
        default = RetentionPolicy()
        said = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{name} {_text(value)}" for name, value in said if value != getattr(default, name)) or "empty"


RULES = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "keep_within")
"""The fields of a policy that keep versions, besides the preset."""


def merge_rules(levels: Iterable[tuple[RetentionRules, str]]) -> tuple[RetentionPolicy | None, tuple[str, ...]]:
    """The policy of these levels, from weak to strong, field by field, and the names of those that said something.

    None where no level says anything: then nothing is ever deleted.
    """
    said, names = merge_levels(levels)
    return (RetentionPolicy(**said) if said else None), names


def parse_duration(text: str) -> timedelta:
    """``36h``, ``30d``, ``8w`` or ``forever``. Raises ``Refused`` where it is none of these."""
    if text == "forever":
        return FOREVER
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Refused(f"not a duration: {text!r}", hint="write hours, days or weeks as 36h, 30d or 8w, or forever")
    return int(match["count"]) * _UNITS[match["unit"]]


def duration_text(duration: timedelta) -> str:
    """The shortest text that ``parse_duration`` reads as ``duration``, which is of whole hours."""
    if duration == FOREVER:
        return "forever"
    unit = "d" if duration % _UNITS["d"] == timedelta(0) else "h"
    return f"{duration // _UNITS[unit]}{unit}"


def _text(value: object) -> str:
    return duration_text(value) if isinstance(value, timedelta) else str(value)
