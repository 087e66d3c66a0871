"""``/local/v1/``: what only an embedded server has. Clock, counted and recorded calls, faults and delays."""

from datetime import datetime, timedelta
from typing import Any

from bbq_dagster.local.errors import invalid
from bbq_dagster.local.model import TableRef
from bbq_dagster.local.requests import NO_CONTENT, Request, Response
from bbq_dagster.local.service import Service

_SETTINGS = {"streaming_flush_seconds", "job_pending_seconds", "job_running_seconds"}


def get_clock(service: Service, _: Request) -> dict[str, Any]:
    return {"now": service.store.clock.now().isoformat()}


def set_clock(service: Service, request: Request) -> dict[str, Any]:
    """``{"now": iso}`` stops it there, ``{"advance_seconds": n}`` moves it, ``{"real": true}`` gives the real time
    back."""
    body, clock = request.body(), service.store.clock
    try:
        if "now" in body:
            clock.set(datetime.fromisoformat(body["now"]))
        elif "advance_seconds" in body:
            clock.advance(timedelta(seconds=float(body["advance_seconds"])))
        elif body.get("real"):
            clock.make_real()
        else:
            raise invalid("The clock takes now, advance_seconds or real")
    except (TypeError, ValueError) as error:
        raise invalid(f"Invalid time: {error}") from error
    service.store.keep_clock()
    service.store.tick()
    return get_clock(service, request)


def get_calls(service: Service, _: Request) -> dict[str, Any]:
    return {"counts": dict(service.calls.counts), "recent": list(service.calls.recent)}


def reset_calls(service: Service, _: Request) -> Response:
    service.calls.reset()
    return NO_CONTENT


def get_record(service: Service, _: Request) -> dict[str, Any]:
    return {"record": service.calls.record or []}


def start_record(service: Service, _: Request) -> Response:
    service.calls.record = []
    return NO_CONTENT


def stop_record(service: Service, _: Request) -> Response:
    service.calls.record = None
    return NO_CONTENT


def get_held(service: Service, _: Request) -> dict[str, Any]:
    return {"held": service.held.as_json()}


def release_held(service: Service, request: Request) -> Response:
    """``{"go_on": false}`` gives up what is held."""
    service.held.release(go_on=bool(request.body().get("go_on", True)))
    return NO_CONTENT


def get_faults(service: Service, _: Request) -> dict[str, Any]:
    return {"faults": service.faults.as_json()}


def add_fault(service: Service, request: Request) -> dict[str, Any]:
    return service.faults.add(request.body()).as_json()


def clear_faults(service: Service, _: Request) -> Response:
    service.faults.clear()
    return NO_CONTENT


def get_limits(service: Service, _: Request) -> dict[str, Any]:
    return service.store.limits.as_json()


def change_limits(service: Service, request: Request) -> dict[str, Any]:
    service.store.limits.change(request.body())
    return get_limits(service, request)


def clear_limits(service: Service, _: Request) -> Response:
    service.store.limits.clear()
    return NO_CONTENT


def multiply_table(service: Service, request: Request) -> Response:
    """``{"table": "shop.sales.t", "count": 1000, "first": 0}``"""
    body = request.body()
    names, count, first = str(body.get("table")).split("."), body.get("count"), body.get("first", 0)
    if len(names) != 3 or not isinstance(count, int) or not isinstance(first, int):
        raise invalid("Multiplying takes table (project.dataset.table), count and first")
    service.store.multiply_table(TableRef(*names), count, first)
    return NO_CONTENT


def get_access(service: Service, _: Request) -> dict[str, Any]:
    return service.store.access.as_json()


def grant_access(service: Service, request: Request) -> dict[str, Any]:
    """``{"identity": "backup", "on": "shop.sales", "names": ["roles/bigquery.dataViewer"]}``"""
    body = request.body()
    identity, on, names = body.get("identity"), body.get("on"), body.get("names")
    if not (identity and on and isinstance(identity, str) and isinstance(on, str) and isinstance(names, list)):
        raise invalid("Access takes identity, on (a project or project.dataset) and names (roles or permissions)")
    service.store.access.grant(identity, on, map(str, names))
    return get_access(service, request)


def clear_access(service: Service, _: Request) -> Response:
    service.store.access.clear()
    return NO_CONTENT


def get_settings(service: Service, _: Request) -> dict[str, Any]:
    settings = service.store.settings
    return {
        "streaming_flush_seconds": settings.streaming_flush_ms / 1000,
        "job_pending_seconds": settings.job_pending_seconds,
        "job_running_seconds": settings.job_running_seconds,
    }


def change_settings(service: Service, request: Request) -> dict[str, Any]:
    body, settings = request.body(), service.store.settings
    wrong = sorted(body.keys() - _SETTINGS)
    if wrong or not all(isinstance(v, (int, float)) and v >= 0 for v in body.values()):
        raise invalid(f"Invalid settings: {wrong or 'seconds must be numbers that are not negative'}")
    if "streaming_flush_seconds" in body:
        settings.streaming_flush_ms = round(body["streaming_flush_seconds"] * 1000)
    settings.job_pending_seconds = body.get("job_pending_seconds", settings.job_pending_seconds)
    settings.job_running_seconds = body.get("job_running_seconds", settings.job_running_seconds)
    service.store.reschedule()
    return get_settings(service, request)
