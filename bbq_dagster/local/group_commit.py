"""Group commit: requests that end together are made durable by one transaction of the journal.

An answer waits until everything is durable that had ended before it, its own writes and whatever else it may tell of.
The first that has to wait begins a round; those that are ready in the same turn of the event loop share it. It decides
nothing else: what belongs together and in which order is ``journal``'s.
"""

import asyncio

from bbq_dagster.local.store import Store


class GroupCommit:
    """Belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._round: asyncio.Task[None] | None = None

    async def durable(self) -> None:
        """Return when all is durable that has ended by now. Raises ``sqlite3.Error`` where it cannot be."""
        if self._store.is_saved:
            return
        if self._round is None:
            self._round = asyncio.get_running_loop().create_task(self._save())
        await self._round

    async def _save(self) -> None:
        """Here, unless the thread of a job is at it just now: the loop waits for no other."""
        self._round = None
        if self._store.is_saving:
            await asyncio.to_thread(self._store.save)
        else:
            self._store.save()
