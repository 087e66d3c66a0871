"""What the handlers of one server share."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from bbq_dagster.local.errors import BigQueryError
from bbq_dagster.local.faults import Faults
from bbq_dagster.local.insert_ids import InsertIds
from bbq_dagster.local.jobs import Jobs
from bbq_dagster.local.store import Store

KEPT_REQUESTS = 1000


@dataclass(slots=True)
class Calls:
    """Requests by BigQuery method name, and the latest of them."""

    counts: Counter[str] = field(default_factory=Counter)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))

    def reset(self) -> None:
        self.counts.clear()
        self.recent.clear()


@dataclass(slots=True)
class Service:
    """One server's state. ``uploads`` holds resumable uploads that are not complete, by their id."""

    store: Store
    jobs: Jobs
    faults: Faults
    url: str = ""
    calls: Calls = field(default_factory=Calls)
    uploads: dict[str, "Upload"] = field(default_factory=dict)
    inserted: InsertIds = field(default_factory=InsertIds)


@dataclass(slots=True)
class Upload:
    """A resumable upload: the job it belongs to, the error that a fault gives that job, and the bytes so far."""

    job: dict[str, Any]
    doom: BigQueryError | None
    content: bytearray = field(default_factory=bytearray)
