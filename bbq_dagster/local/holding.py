"""Requests and jobs that a fault holds fast until a test releases them, so that a process can be killed just there.

``faults`` says which; ``app`` and ``jobs`` wait here.
"""

import asyncio
from collections.abc import Mapping
from typing import Any


class Held:
    """What is held fast at this moment. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Mapping[str, Any], asyncio.Future[bool]]] = []

    async def hold(self, what: Mapping[str, Any]) -> bool:
        """Wait for ``release``; whether it goes on then."""
        released = asyncio.get_running_loop().create_future()
        entry = (what, released)
        self._waiting.append(entry)
        try:
            return bool(await released)
        finally:
            self._waiting.remove(entry)

    def release(self, *, go_on: bool = True) -> None:
        """Let all of it go on, or give it up: lines are cut, and what was not carried out never is."""
        for _, released in self._waiting:
            if not released.done():
                released.set_result(go_on)

    def as_json(self) -> list[Mapping[str, Any]]:
        """Oldest first."""
        return [what for what, _ in self._waiting]
