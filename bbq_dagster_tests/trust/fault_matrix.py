"""Every fault at every call site of an operation, once and from then on always.

A call site is a place in the code that asks BigQuery for something: calls that differ only in names are one. The sites
come from a run that nobody disturbs, the faults from what the embedded BigQuery knows. What must hold after each:

* The run ends within its patience, with one of the documented exit codes, and in words, not in a stack trace.
* Where it does not end well, it names what it could not do.
* Where the fault always strikes the copy of one table, all others are done by this very run.
* The next run, which nobody disturbs, ends well, and leaves the world as if nothing had happened: the same versions of
  the same units with the same rows, each copied once, and nothing left to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bbq_dagster.local.errors import REASON_STATUS
from bbq_dagster_tests.trust.kill_points import Undisturbed, in_words
from bbq_dagster_tests.trust.operations import SECONDS, Operation
from bbq_dagster_tests.trust.picture import Picture, copies_of, picture_of
from bbq_dagster_tests.trust.processes import Running
from bbq_dagster_tests.trust.shop import Patience, Shop, open_shop

_HASTY = Patience(retry_for=1, threads=8)
_HASTIEST = Patience(timeout=2, retry_for=2, threads=8)
"""Where nobody answers. Elsewhere a machine that is busy may take its time to answer."""

DOCUMENTED = frozenset({0, 1, 2, 3})
"""Done; done in part, and what failed is named; refused, as the world is not as planned for; BigQuery said no."""
_REFUSED = 2

_NO_ERRORS = frozenset({"stopped", "duplicate"})
"""The first is no error; the second, of something that is not there, is a lie that BigQuery does not tell."""

_ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "the line is cut before": {"reset": "before"},
    "the answer is lost": {"reset": "after"},
    "no answer": {"hang": True},
    "half an answer": {"truncate": True},
    "an unreadable answer": {"garble": True},
    "a late answer": {"delay_seconds": 0.5},
    "a slow answer": {"slow_seconds": 0.5},
}
_JOBS = ("copy", "load", "query")


@dataclass(frozen=True, slots=True)
class Site:
    """A call site, as the first call from there: what matches it, and the names that it is about."""

    what: str
    match: Mapping[str, Any]
    names: frozenset[str]
    job_type: str
    destination: str

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> Site:
        job_type, destination = call.get("job_type") or "", call.get("destination") or ""
        return cls(in_words(call), _match(call), _names(call), job_type, destination)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault at a site, once or always."""

    site: Site
    fault: str
    action: Mapping[str, Any]
    once: bool

    @property
    def is_stuck_copy(self) -> bool:
        return self.site.job_type == "copy" and "stuck" in self.action

    @property
    def is_of_one_copy(self) -> bool:
        return self.site.job_type == "copy" and not self.once and "stuck" not in self.action

    def __str__(self) -> str:
        return f"{self.fault}, {'once' if self.once else 'always'}, at {self.site.what}"


def sites_of(calls: Sequence[Mapping[str, Any]]) -> tuple[Site, ...]:
    """The call sites, in the order in which a run comes to them."""
    first: dict[tuple[str, ...], Site] = {}
    for call in calls:
        first.setdefault(_place_in_code(call), Site.of(call))
    return tuple(first.values())


def matrix(sites: Sequence[Site]) -> tuple[Trouble, ...]:
    """All faults at all sites."""
    return tuple(
        Trouble(site, fault, action, once)
        for site in sites
        for fault, action in _faults_at(site)
        for once in (True, False)
    )


def consequences(
    operation: Operation, trouble: Trouble, built: Path, folder: Path, undisturbed: Undisturbed
) -> list[str]:
    """Let the trouble happen, then run again; what was not as it must be, a line each."""
    is_silent = bool({"hang", "stuck"} & trouble.action.keys())
    with open_shop(built, folder, _HASTIEST if is_silent else _HASTY) as shop:
        once = {"times": 1} if trouble.once else {}
        shop.server.fault(trouble.site.match, trouble.action, **once)
        run = operation.start(shop, {})
        code = _end(shop, run, trouble)
        said = run.said
        if not trouble.is_stuck_copy and not any(fault["hits"] for fault in shop.server.faults()):
            return [f"the fault was never met; the run ended with {code}"]
        wrong = list(_wrong_with(code, said, trouble))
        shop.server.clear_faults()
        shop.server.release()
        if trouble.is_of_one_copy:
            wrong += _others_left(shop, trouble.site, undisturbed)
        shop.be_patient(Patience())
        if healed := operation.run_again(shop):
            return [*wrong, healed]
        return [*wrong, *_content(picture_of(shop), operation).differences(_content(undisturbed.picture, operation))]


def _others_left(shop: Shop, site: Site, undisturbed: Undisturbed) -> Iterator[str]:
    """What the run did not copy besides the table that the fault was about."""
    table = site.destination.split("$")[0]
    for place in undisturbed.picture.copied.keys() - copies_of(shop).keys():
        if table not in place:
            yield f"not copied, though the fault was another table's: {place}"


def _content(picture: Picture, operation: Operation) -> Picture:
    return picture.as_done().content() if operation.does_again else picture.content()


def _end(shop: Shop, run: Running, trouble: Trouble) -> int:
    """The exit code; a copy job that is stuck is waited for, until it goes on."""
    if trouble.is_stuck_copy:
        shop.server.wait_until_held(1, SECONDS)
        shop.server.clear_faults()
        shop.server.release()
    return run.end(seconds=SECONDS)


def _wrong_with(code: int, said: str, trouble: Trouble) -> Iterator[str]:
    if code not in DOCUMENTED:
        yield f"ended with {code}: {said[-1500:]}"
    if "Traceback" in said:
        yield f"ended in a stack trace: {said[-1500:]}"
    if code == _REFUSED and "nothing was" not in said:
        yield f"refused, and does not say that nothing was done: {said[-1500:]}"
    if code not in (0, _REFUSED) and not any(name in said for name in trouble.site.names):
        yield f"does not name any of {sorted(trouble.site.names)}: {said[-1500:]}"


def _faults_at(site: Site) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from _ANSWERS.items()
    reasons = [reason for reason in REASON_STATUS if reason not in _NO_ERRORS]
    yield from ((f"{reason} of the call", {"http_error": {"reason": reason}}) for reason in reasons)
    if site.job_type in _JOBS:
        yield from ((f"{reason} of the job", {"job_error": {"reason": reason}}) for reason in reasons)
        yield "a job that is stuck", {"stuck": True}


def _match(call: Mapping[str, Any]) -> dict[str, Any]:
    if call.get("job_type") == "query":
        return {"call": call["call"], "sql": f"^{re.escape(call['sql'])}$"}
    if call.get("job_type"):
        return {"call": call["call"], "job_type": call["job_type"], "destination": call["destination"]}
    return {"call": call["call"], "path": f"^{re.escape(call['path'])}$"}


def _place_in_code(call: Mapping[str, Any]) -> tuple[str, ...]:
    """Names do not count, but for how many there are; those of the catalog and its tables do."""
    sql = re.sub(r"`(?!acme-vault`\.`bbq_catalog)[^`]*`", "``", call.get("sql") or "")
    of_catalog = re.findall(r"bbq_catalog.*", call["path"]) or [""]
    return call["call"], call.get("job_type") or "", sql, of_catalog[0]


def _names(call: Mapping[str, Any]) -> frozenset[str]:
    """Any of these says what a call was about: its table, dataset or project."""
    named = re.findall(r"`([^`]+)`|'([\w-]+)'", call.get("sql") or "") or []
    of_path = re.findall(r"/(?:projects|datasets|tables)/([^/]+)", call["path"])
    of_job = (call.get("destination") or "").split(".")
    words = {word for pair in named for word in pair} | {*of_path, *of_job}
    table = words and {word.split("-20")[0] for word in words}
    return frozenset(filter(None, {*words, *table}))
