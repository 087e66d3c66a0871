"""What the handlers of one server share."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from bbq_dagster.local.faults import Event, Faults
from bbq_dagster.local.holding import Held
from bbq_dagster.local.insert_ids import InsertIds
from bbq_dagster.local.jobs import Fate, Jobs
from bbq_dagster.local.store import Store

KEPT_REQUESTS = 1000


@dataclass(slots=True)
class Calls:
    """Requests by BigQuery method name, the latest of them, and, once ``record`` is a list, all that came since."""

    counts: Counter[str] = field(default_factory=Counter)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))

    record: list[Event] | None = None

    def reset(self) -> None:
        self.counts.clear()
        self.recent.clear()
        self.record = None if self.record is None else []


@dataclass(slots=True)
class Service:
    """One server's state. ``uploads`` holds resumable uploads that are not complete, by their id; ``policies``, those
    of IAM, by the id of their table."""

    store: Store
    jobs: Jobs
    faults: Faults
    url: str = ""
    calls: Calls = field(default_factory=Calls)
    uploads: dict[str, "Upload"] = field(default_factory=dict)
    held: Held = field(default_factory=Held)
    inserted: InsertIds = field(default_factory=InsertIds)
    policies: dict[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Upload:
    """A resumable upload: the job it belongs to, what a fault has in store for that job, and the bytes so far."""

    job: dict[str, Any]
    fate: Fate
    content: bytearray = field(default_factory=bytearray)
