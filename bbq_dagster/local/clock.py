"""The server's time: the real one, moved by an offset, or stopped at an instant that a test has set."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta


class Clock:
    """Gives milliseconds since the epoch. Once set, it stands still until advanced or made real again."""

    def __init__(self) -> None:
        self._stopped_ms: int | None = None
        self._offset_ms = 0

    @property
    def is_real(self) -> bool:
        return self._stopped_ms is None and self._offset_ms == 0

    def now_ms(self) -> int:
        return self._stopped_ms if self._stopped_ms is not None else time.time_ns() // 1_000_000 + self._offset_ms

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    def set(self, now: datetime) -> None:
        """Stop at this instant, which must be aware."""
        if now.tzinfo is None:
            raise ValueError(f"The clock needs an aware time, not {now}")
        self._stopped_ms = round(now.timestamp() * 1000)

    def advance(self, by: timedelta) -> None:
        step = round(by.total_seconds() * 1000)
        if self._stopped_ms is None:
            self._offset_ms += step
        else:
            self._stopped_ms += step

    def make_real(self) -> None:
        self._stopped_ms, self._offset_ms = None, 0

    def as_json(self) -> dict[str, int | None]:
        """How it differs from the real time."""
        return {"stopped_ms": self._stopped_ms, "offset_ms": self._offset_ms}

    def restore(self, kept: Mapping[str, int | None]) -> None:
        """Be as ``as_json`` once told; the real time where it tells nothing."""
        self._stopped_ms, self._offset_ms = kept.get("stopped_ms"), kept.get("offset_ms") or 0
