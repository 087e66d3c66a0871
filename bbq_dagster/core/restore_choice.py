"""Which versions a restore takes: those that show the dataset as it was at an instant, or those that were named.

Decides by the record alone; where the versions go and how is decided in ``restore``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bbq_dagster.core.restore_request import RestoreRequest, Scope
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.versions import Absence, Version


@dataclass(frozen=True, slots=True)
class Gone:
    """A unit was seen to be empty, or not there any more."""

    unit: Unit
    absence: Absence
    at: datetime


@dataclass(frozen=True, slots=True)
class Past:
    """What is on record of one dataset: every live version and every absence, in any order."""

    versions: tuple[Version, ...] = ()
    absences: tuple[Gone, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A version to restore; ``table`` is the name of its target where the list gives one."""

    version: Version
    table: str | None = None


@dataclass(frozen=True, slots=True)
class NotRestored:
    """A unit that was meant too, and is not restored."""

    unit: Unit
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What is restored, what is not and why, and what makes the request impossible."""

    chosen: tuple[Chosen, ...] = ()
    left_out: tuple[NotRestored, ...] = ()
    faults: tuple[str, ...] = ()


def choose_versions(
    request: RestoreRequest, pasts: Mapping[DatasetRef, Past], named: Iterable[Version] = (), *, now: datetime
) -> Choice:
    """The versions that ``request`` means. ``pasts`` are of its datasets, ``named`` the versions that it names by id.

    As of an instant (``now`` where none is given):

    * of each unit, the newest version that was captured then or before
    * no unit that had no version by then
    * no unit that was seen to be empty or gone after that version was captured, and by then
    """
    if faults := request.faults:
        return Choice(faults=faults)
    if request.versions:
        return _by_id(request, named)
    at = request.as_of or now
    if at > now:
        return Choice(faults=(f"{_at(at)} is in the future: nothing is known of it",))
    return _as_of(request, pasts, at)


def _by_id(request: RestoreRequest, named: Iterable[Version]) -> Choice:
    known = {version.version_id: version for version in named}
    return Choice(
        chosen=tuple(Chosen(known[w.version_id], w.table) for w in request.versions if w.version_id in known),
        faults=tuple(
            f"there is no version {wish.version_id}: it never was, or it has expired (`bbq versions TABLE` lists them)"
            for wish in request.versions
            if wish.version_id not in known
        ),
    )


def _as_of(request: RestoreRequest, pasts: Mapping[DatasetRef, Past], at: datetime) -> Choice:
    then: dict[Unit, Version] = {}
    left_out: dict[Unit, str] = {}
    for past in pasts.values():
        of_past = _state_at(past, at)
        then |= {unit: found for unit, found in of_past.items() if isinstance(found, Version)}
        left_out |= {unit: found for unit, found in of_past.items() if isinstance(found, str)}
    taken = _meant(request.what, then)
    return Choice(
        chosen=tuple(Chosen(then[unit]) for unit in taken),
        left_out=tuple(NotRestored(unit, left_out[unit]) for unit in _meant(request.what, left_out)),
        faults=tuple(_why_nothing(scope, pasts, then, left_out, at) for scope in _empty(request.what, taken)),
    )


def _state_at(past: Past, at: datetime) -> dict[Unit, Version | str]:
    """Of each unit on record, its version as of ``at``, or why it has none."""
    newest: dict[Unit, Version] = {}
    for version in past.versions:
        if version.captured_at > at:
            continue
        last = newest.get(version.unit)
        if last is None or _age(last) < _age(version):
            newest[version.unit] = version
    found: dict[Unit, Version | str] = dict(newest)
    too_early = f"it has no version of {_at(at)} or before"
    for version in past.versions:
        if version.captured_at > at:
            found.setdefault(version.unit, too_early)
    for gone in sorted(past.absences, key=lambda gone: gone.at):
        last = newest.get(gone.unit)
        if last is not None and last.captured_at < gone.at <= at:
            found[gone.unit] = f"it had {gone.absence} by {_at(gone.at)}" if _is_gone(gone) else _emptied(gone)
    return found


def _is_gone(gone: Gone) -> bool:
    return gone.absence is Absence.VANISHED


def _emptied(gone: Gone) -> str:
    return f"it had been emptied by {_at(gone.at)}; its last good version can be restored by its id"


def _age(version: Version) -> tuple[datetime, datetime, str]:
    return version.captured_at, version.recorded_at or version.captured_at, version.version_id


def _meant(what: Iterable[Scope], units: Iterable[Unit]) -> list[Unit]:
    """In order, each once."""
    scopes = list(what)
    meant = (unit for unit in units if any(_is_meant(scope, unit) for scope in scopes))
    return sorted(meant, key=lambda unit: unit.sort_key)


def _is_meant(scope: Scope, unit: Unit) -> bool:
    return scope.takes(unit.table) and scope.partition in (None, unit.partition)


def _empty(scopes: Iterable[Scope], taken: Iterable[Unit]) -> list[Scope]:
    units = list(taken)
    return [scope for scope in scopes if not any(_is_meant(scope, unit) for unit in units)]


def _why_nothing(
    scope: Scope,
    pasts: Mapping[DatasetRef, Past],
    then: Mapping[Unit, Version],
    left_out: Mapping[Unit, str],
    at: datetime,
) -> str:
    versions = pasts.get(scope.dataset, Past()).versions
    if not versions:
        return f"{scope}: nothing of {scope.dataset} is on record (`bbq status` lists what is)"
    if not any(_is_meant(scope, unit) for unit in (*then, *left_out)):
        return f"{scope}: no version on record has that name (`bbq status` lists what is there)"
    first = min(version.captured_at for version in versions if _is_meant(scope, version.unit))
    if at < first:
        return f"{scope}: no version of {_at(at)} or before; the first one was captured at {_at(first)}"
    return f"{scope}: all that was there by {_at(at)} was empty or gone by then; ask for an earlier instant"


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
