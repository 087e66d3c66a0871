"""How a fault spoils an answer on its way: in half and cut off, unreadable, or slowly. The request was carried out."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

_PIECES = 10


class CutOff(Exception):
    """The rest of the answer never comes: the line is to be cut."""


async def pieces(action: Mapping[str, Any], body: bytes) -> AsyncIterator[bytes]:
    """The body as it goes over the line. Raises ``CutOff`` where it ends early."""
    half = len(body) // 2
    if action.get("truncate"):
        yield body[:half]
        raise CutOff
    if action.get("garble"):
        yield body[:half] + b"?" * (len(body) - half)
    elif action.get("slow_seconds"):
        size = len(body) // _PIECES + 1
        for start in range(0, len(body), size):
            await asyncio.sleep(float(action["slow_seconds"]) / _PIECES)
            yield body[start : start + size]
    else:
        yield body
