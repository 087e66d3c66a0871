"""When a daily backup is due, and what a sensor remembers of it. No Dagster, no clock.

The day and the time are those of the project's time zone. A time that the clocks skip is right after the gap, a time
that they show twice is the first of the two. An empty cursor is due at once: that is the first tick ever, and how to
ask for a backup now (reset the cursor).
"""

import json
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from bbq_dagster.errors import Refused

CURSOR_VERSION = 1
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Daily:
    """Once a day at ``at``, by the clock of ``zone``."""

    at: time
    zone: ZoneInfo

    def due_at(self, day: date) -> datetime:
        """When the backup of ``day`` is due, in UTC."""
        first, second = (
            datetime.combine(day, self.at.replace(fold=fold), self.zone).astimezone(UTC) for fold in (0, 1)
        )
        clock_skips_it = second < first  # PEP 495: in a gap, fold=0 counts with the offset before it
        return _end_of_gap(second, first, self.zone) if clock_skips_it else first

    def latest_day(self, now: datetime) -> date:
        """The last day whose backup is due at ``now``."""
        today = now.astimezone(self.zone).date()
        return today if self.due_at(today) <= now else today - _DAY

    def next_after(self, day: date) -> datetime:
        """When the first backup after that of ``day`` is due, in UTC."""
        return self.due_at(day + _DAY)


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant between the two at which the clocks of ``zone`` are moved, which they are at full minutes."""
    offset_after = after.astimezone(zone).utcoffset()

    def is_moved(minutes: int) -> bool:
        return (before + timedelta(minutes=minutes)).astimezone(zone).utcoffset() == offset_after

    return before + timedelta(minutes=bisect_left(range((after - before) // timedelta(minutes=1)), True, key=is_moved))


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a sensor remembers from tick to tick: by name, the last day for which it looked."""

    days: Mapping[str, date] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Raises ``Refused`` where the text is no cursor of this version; nothing at all is an empty cursor."""
        if not text:
            return cls()
        try:
            stored = json.loads(text)
            if stored["version"] != CURSOR_VERSION:
                raise ValueError(f"version {stored['version']}, expected {CURSOR_VERSION}")
            return cls({name: date.fromisoformat(day) for name, day in stored["days"].items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"this is not a cursor: {text[:200]!r} ({error!r})") from error

    def after(self, day: date, names: Iterable[str]) -> "Cursor":
        """The cursor after looking at ``names``, for that day."""
        return Cursor({**self.days, **dict.fromkeys(names, day)})

    def only(self, names: Collection[str]) -> "Cursor":
        """Without the names that nobody will ask for any more."""
        return Cursor({name: day for name, day in self.days.items() if name in names})

    def __str__(self) -> str:
        return json.dumps({"version": CURSOR_VERSION, "days": {name: str(day) for name, day in self.days.items()}})


def due_day(daily: Daily, last_day: date | None, now: datetime) -> date | None:
    """The day whose backup is to be started now; None where it was started already.

    Days that were missed (nobody was there to look) are not made up for one by one: the latest one sees all.
    """
    day = daily.latest_day(now)
    return day if last_day is None or last_day < day else None
