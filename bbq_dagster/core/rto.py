"""How long it took to have a table back: by its restores, and by the drills that restored a part of it for trial.

Values only, as the record has them. Whether that is fast enough is for people to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bbq_dagster.core.tables import TableRef


class Way(StrEnum):
    """What was done. A drill brings one version back, a restore all that was asked for of the table."""

    DRILL = "drill"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class RestoreTime:
    """The last time that a table was brought back in one way, how long that took, and the longest that it ever took.

    A restore takes from its plan to the last of the table's places, the time between two tries included.
    """

    table: TableRef
    way: Way
    at: datetime
    took: timedelta
    longest: timedelta
