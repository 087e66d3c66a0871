"""The ASGI application: reads a request, lets faults strike, finds its route, and writes the answer.

Whatever comes in, the answer is BigQuery's JSON, never a stack trace. It decides nothing about BigQuery.
"""

import asyncio
import inspect
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from bbq_dagster.local.access import needs_of_method
from bbq_dagster.local.answers import nothing_there, on_the_line, unless_known
from bbq_dagster.local.errors import BigQueryError, refused
from bbq_dagster.local.faults import Event, error_of
from bbq_dagster.local.group_commit import GroupCommit
from bbq_dagster.local.job_calls import body_of_job, job_event
from bbq_dagster.local.jobs import on_loop
from bbq_dagster.local.limits import charges_of_request
from bbq_dagster.local.requests import Request, Response, unpacked
from bbq_dagster.local.routes import Route, find_route
from bbq_dagster.local.service import Service
from bbq_dagster.local.shapes import body_of, check_parameters
from bbq_dagster.local.spoiling import CutOff, pieces

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# A query that only reads, after comments and brackets.
_READS = re.compile(r"(?:\s|--[^\n]*|#[^\n]*|/\*.*?\*/|\()*(?:SELECT|WITH)\b", re.IGNORECASE | re.DOTALL)
_log = logging.getLogger(__name__)


class App:
    """One server's application. ``local.connection`` in the scope's extensions lets a fault cut the line."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._group_commit = GroupCommit(service.store)
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._service.jobs.resume()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _request(scope, receive)
        try:
            response = await self._answer(request)
        except _Cut:
            scope["extensions"]["local.connection"]["abort"]()
            return
        try:
            await _send(send, request, response)
        except CutOff:
            scope["extensions"]["local.connection"]["abort"]()

    async def _answer(self, request: Request) -> Response:
        found = find_route(request.method, request.raw_path)
        if found is None:
            return nothing_there(request)
        route, params = found
        request.params = params
        try:
            response = await self._told(route, request)
            await self._group_commit.durable()
        except _Cut:
            self._count(route, request, 0)
            raise
        except Exception as error:  # noqa: BLE001 - the last boundary: a defect is told as BigQuery tells its own
            _log.error("%s %s broke", request.method, request.path, exc_info=error)
            response = _refusal(refused("internalError", f"An internal error occurred: {error!r}"))
        if not route.is_local:
            self._count(route, request, response.status)
        return response

    async def _told(self, route: Route, request: Request) -> Response:
        try:
            if route.is_local:
                return _response(await self._carry_out(route, request))
            self._authorize(route, request)
            _check(route, request)
            return unless_known(request, await self._within_limits(route, request))
        except BigQueryError as error:
            return _refusal(error)

    def _authorize(self, route: Route, request: Request) -> None:
        store = self._service.store
        request.user = store.access.user_of(request.headers.get("authorization"))
        if request.user:
            store.access.require(request.user, needs_of_method(route.call, request.params, store.find_table))

    async def _within_limits(self, route: Route, request: Request) -> Response:
        user, limits, event = request.user, self._service.store.limits, self._event(route, request)
        limits.hold("concurrent_requests", self._under_way[user])
        limits.spend(charges_of_request(route.call, user))
        self._under_way[user] += 1
        try:
            return await self._with_faults(route, request, event)
        finally:
            self._under_way[user] -= 1

    def _event(self, route: Route, request: Request) -> Event:
        """What is known of the request, where somebody wants to know it."""
        calls = self._service.calls
        if not self._service.faults and calls.record is None:
            return {}
        event = _event(route, request)
        if calls.record is not None:
            calls.record.append(event)
        return event

    async def _with_faults(self, route: Route, request: Request, event: Event) -> Response:
        action = self._service.faults.strike(event)
        if action is None:
            return _response(await self._carry_out(route, request))
        if "http_error" in action:
            raise error_of(action["http_error"])
        if action.get("reset") == "before":
            raise _Cut
        if action.get("hang"):
            await asyncio.Event().wait()
        if action.get("freeze") == "before":
            await self._freeze(event)
        await asyncio.sleep(float(action.get("delay_seconds") or 0))
        request.struck = action
        response = _response(await self._carry_out(route, request))
        await self._group_commit.durable()
        if action.get("freeze") == "after":
            await self._freeze(event)
        if action.get("reset") == "after":
            raise _Cut
        return response

    async def _freeze(self, event: Event) -> None:
        if not await self._service.held.hold(event):
            raise _Cut

    async def _carry_out(self, route: Route, request: Request) -> Any:
        store = self._service.store
        if store.is_due():
            await on_loop(store, store.tick)
        if route.writes:
            return await on_loop(store, lambda: _in_transaction(self._service, route, request))
        answer = route.handler(self._service, request)
        return await answer if inspect.isawaitable(answer) else answer

    def _count(self, route: Route, request: Request, status: int) -> None:
        calls = self._service.calls
        calls.counts[route.call] += 1
        calls.recent.append({"call": route.call, "method": request.method, "path": request.path, "status": status})


class _Cut(Exception):
    """A fault wants the connection reset."""


def _in_transaction(service: Service, route: Route, request: Request) -> Any:
    with service.store.transaction():
        return route.handler(service, request)


async def _request(scope: Scope, receive: Receive) -> Request:
    content = bytearray()
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    raw_path = scope["raw_path"].decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return Request(scope["method"], unquote(raw_path), query, headers, bytes(content), raw_path)


def _check(route: Route, request: Request) -> None:
    """Refuse parameters that the method has not; what its body is checked against is noted for who reads it."""
    if request.query_string:
        check_parameters(route.call, request.query())
    request.content = unpacked(request.headers, request.content)
    request.shape = body_of(route.call)


def _event(route: Route, request: Request) -> Event:
    event: dict[str, Any] = {"call": route.call, "method": request.method, "path": request.path, **request.params}
    event["identity"] = request.user
    if route.call in ("jobs.insert", "jobs.query"):
        event |= job_event(body_of_job(request))
    return event | {"changes": _changes(route, request, event)}


def _changes(route: Route, request: Request, event: Event) -> bool:
    """Whether data or definitions are to be changed; of a resumable upload it is the file that does, not its start."""
    if request.method == "GET" or route.call == "jobs.cancel" or request.option("uploadType") == "resumable":
        return route.call == "jobs.upload"
    if event.get("job_type") == "query":
        return bool(event["destination"]) or not _READS.match(event["sql"] or "")
    return event.get("job_type") != "extract"


def _response(answer: Any) -> Response:
    return answer if isinstance(answer, Response) else Response(200, answer)


def _refusal(error: BigQueryError) -> Response:
    return Response(error.status, error.body())


async def _send(send: Send, request: Request, response: Response) -> None:
    headers, body = on_the_line(request, response)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if request.struck is not None:
        async for piece in pieces(request.struck, body):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})
