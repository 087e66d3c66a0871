"""Faults on request: what goes wrong, at which requests, and how often. ``app`` and ``jobs`` ask; this only answers.

A rule is JSON: ``{"match": {...}, "action": {...}, "times": n, "after": n, "every": n, "probability": p, "seed": s}``.

* match: ``call``, ``project``, ``dataset``, ``table``, ``job_type``, ``source``, ``destination``, ``identity`` and
  ``changes`` are compared as they are (a list means any of them); ``path`` and ``sql`` are regular expressions. Nothing
  given matches every request.
* action, one of: ``{"http_error": {"reason": r, "message": m, "status": n}}``,
  ``{"job_error": {"reason": r, "message": m}}``, ``{"stuck": true}`` (a job that stays RUNNING),
  ``{"reset": "before"}``, ``{"reset": "after"}`` (carried out, the answer lost),
  ``{"freeze": "before"}``, ``{"freeze": "after"}`` (held fast, the job too, until released),
  ``{"delay_seconds": s}``, ``{"hang": true}``,
  ``{"truncate": true}``, ``{"garble": true}``, ``{"slow_seconds": s}`` (of the answer).
* Of the matching requests it skips the first ``after``, then takes each ``every``-th, with ``probability``, at most
  ``times`` times.
"""

import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bbq_dagster.local.errors import REASON_STATUS, BigQueryError, invalid

EXACT = ("call", "project", "dataset", "table", "job_type", "source", "destination", "identity", "changes")
PATTERNS = ("path", "sql")
ACTIONS = (
    "http_error",
    "job_error",
    "stuck",
    "reset",
    "freeze",
    "delay_seconds",
    "hang",
    "truncate",
    "garble",
    "slow_seconds",
)
_SIDES = ("before", "after")

Event = Mapping[str, Any]


@dataclass(slots=True)
class Fault:
    """A rule, with how often it was met (``seen``) and applied (``hits``)."""

    match: Mapping[str, Any]
    action: Mapping[str, Any]
    times: int | None = None
    after: int = 0
    every: int = 1
    probability: float = 1.0
    seed: int = 0
    seen: int = 0
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def strikes(self, event: Event) -> bool:
        """Whether this request is hit; counts it."""
        if (self.times is not None and self.hits >= self.times) or not _matches(self.match, event):
            return False
        self.seen += 1
        due = self.seen > self.after and (self.seen - self.after - 1) % self.every == 0
        if not due or self._random.random() >= self.probability:
            return False
        self.hits += 1
        return True

    def as_json(self) -> dict[str, Any]:
        names = ("match", "action", "times", "after", "every", "probability", "seed", "seen", "hits")
        return {name: getattr(self, name) for name in names}


class Faults:
    """The rules in force; the first one that strikes decides."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._rules)

    def add(self, rule: Mapping[str, Any]) -> Fault:
        fault = parse_fault(rule)
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def strike(self, event: Event) -> Mapping[str, Any] | None:
        """The action to take on this request, or None."""
        with self._lock:
            return next((rule.action for rule in self._rules if rule.strikes(event)), None)

    def as_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [rule.as_json() for rule in self._rules]


def parse_fault(rule: Mapping[str, Any]) -> Fault:
    """A rule from JSON. Refuses what it does not know, so that a test cannot wait for a fault that never comes."""
    known = {"match", "action", "times", "after", "every", "probability", "seed"}
    match, action = rule.get("match") or {}, rule.get("action") or {}
    wrong = sorted((rule.keys() - known) | (match.keys() - {*EXACT, *PATTERNS}) | (action.keys() - {*ACTIONS}))
    if wrong or len(action) != 1:
        raise invalid(f"Invalid fault: {wrong or 'exactly one action is needed'}")
    if not {action.get("reset", "before"), action.get("freeze", "before")} <= {*_SIDES}:
        raise invalid("Invalid fault: reset and freeze are before or after")
    return Fault(**{**rule, "match": match, "action": action})


def error_of(action: Mapping[str, Any]) -> BigQueryError:
    """The error that ``http_error`` or ``job_error`` asks for; the status follows from the reason if not given."""
    reason = str(action.get("reason") or "backendError")
    status = int(action.get("status") or REASON_STATUS.get(reason, 500))
    return BigQueryError(status, reason, str(action.get("message") or f"Injected fault: {reason}"))


def _matches(match: Mapping[str, Any], event: Event) -> bool:
    for key, wanted in match.items():
        if key in PATTERNS:
            if not re.search(wanted, str(event.get(key) or "")):
                return False
        elif not _is_among(event.get(key), wanted):
            return False
    return True


def _is_among(value: Any, wanted: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool({*(wanted if isinstance(wanted, list) else [wanted])} & {*values})
