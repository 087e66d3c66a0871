"""Place and release holds: checked against what is on record, then written down."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bbq_dagster.core.holds import Hold, check_target, is_pattern, is_version_id
from bbq_dagster.core.retention_record import about_of, held, hold_of, released
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.wording import printable
from bbq_dagster.errors import Refused
from bbq_dagster.warehouse.port import Catalog


def place_hold(
    catalog: Catalog, target: str, *, owner: str, reason: str, until: datetime | None, now: datetime, run_id: str
) -> Hold:
    """Forbid the deletion of what ``target`` names; a hold in force that says the same is given back as it is.

    Raises ``Refused`` where it names nothing, the end is past, or the words would not show.
    """
    check_target(target)
    if not owner or not reason:
        raise Refused("a hold needs an owner and a reason: nothing was held")
    if (shown := printable(f"{owner}, {reason}")) != f"{owner}, {reason}":
        raise Refused(f"owner and reason of a hold are one line of plain text: nothing was held: {shown}")
    if until is not None and until <= now:
        raise Refused(f"the end of the hold, {until:%Y-%m-%d %H:%M} UTC, is past: nothing was held")
    hold = Hold(target, owner, reason, now, until)
    about = _filed_under(catalog, target)
    for placed in map(hold_of, catalog.holds()):
        if replace(placed, since=now) == hold:
            return placed
    catalog.append([held(hold, about, run_id=run_id)])
    return hold


def release_hold(catalog: Catalog, hold_id: str, *, now: datetime, run_id: str) -> Hold:
    """Raises ``Refused`` where no such hold is in force."""
    found = {event.hold_id: event for event in catalog.holds()}
    if hold_id not in found:
        raise Refused(f"there is no hold {hold_id}: nothing was released", hint="`bbq hold list` shows all holds")
    event = found[hold_id]
    catalog.prepare()
    catalog.append([released(hold_of(event), about_of(event), at=now, run_id=run_id)])
    return hold_of(event)


def _filed_under(catalog: Catalog, target: str) -> Unit | DatasetRef:
    if is_version_id(target):
        live = catalog.versions_by_id([target])
        if not live:
            raise Refused(f"there is no version {target}: nothing was held", hint="`bbq versions TABLE` lists them")
        return live[0].unit
    if is_pattern(target):
        project, dataset, _ = target.split(".", 2)
        return DatasetRef(project, dataset)
    return Unit.parse(target)
