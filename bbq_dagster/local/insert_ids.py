"""Rows that are streamed twice are kept once: insertId, for at least a minute (write-api-rest).

BigQuery promises it as best effort; here it always holds, by the server's clock. It does not survive a restart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

REMEMBERED_MS = 60_000


class InsertIds:
    """The ids of each table's latest rows."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[str, int]] = {}

    def take(
        self, table_id: int, rows: Sequence[tuple[str | None, Mapping[str, Any]]], now_ms: int
    ) -> list[Mapping[str, Any]]:
        """The rows without those whose id was seen lately; a row without an id is always new."""
        seen = {i: at for i, at in self._seen.get(table_id, {}).items() if now_ms - at < REMEMBERED_MS}
        fresh = []
        for insert_id, row in rows:
            if not insert_id or insert_id not in seen:
                fresh.append(row)
            if insert_id:
                seen.setdefault(insert_id, now_ms)
        self._seen[table_id] = seen
        return fresh
