"""The retention of the original BBQ: its four filters, in its order, with its comparisons on calendar dates (UTC).

1. Most recent daily: of each calendar date the newest version.
2. Ten young: of the young ones (not older than ``months``) the newest ``count``, and all old ones.
3. One old: all young ones, and the newest old one.
4. Grace period: where one of these is older than ``months``, and the source has been gone for as long, none.

Source: ocadotechnology/bbq, retention/policy. Its ``created`` was the end of the copy job; here it is ``captured_at``,
the start. Its ``last_checked`` was the last run that saw the source; here it is the first that did not.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from datetime import date
from itertools import pairwise


def bbq_reasons(dates: Sequence[date], *, today: date, months: int, count: int) -> list[tuple[bool, str]]:
    """For each version, by its date and newest first: whether filters 1 to 3 keep it, and why or why not."""
    threshold = months_before(today, months)
    is_newest_of_its_day = [True, *(later != earlier for later, earlier in pairwise(dates))]
    reasons: list[tuple[bool, str]] = []
    young = old = 0
    for day, is_newest in zip(dates, is_newest_of_its_day, strict=False):
        if not is_newest:
            reasons.append((False, "bbq: not the newest of its day"))
        elif day >= threshold:
            young += 1
            reasons.append(_young(young, count))
        else:
            old += 1
            reasons.append((True, "bbq: newest old") if old == 1 else (False, "bbq: old, and not the newest old"))
    return reasons


def bbq_grace_is_over(dates: Sequence[date], *, gone_since: date, today: date, months: int) -> bool:
    """Whether filter 4 lets everything go. ``dates`` are those of all versions: of old ones the others keep one."""
    threshold = months_before(today, months)
    return gone_since < threshold and any(day < threshold for day in dates)


def months_before(day: date, months: int) -> date:
    """The same day of an earlier month, or the last day of that month where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _young(place: int, count: int) -> tuple[bool, str]:
    if place <= count:
        return True, f"bbq: young #{place}"
    return False, f"bbq: young, and not among the newest {count}"
