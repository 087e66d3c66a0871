"""The ASGI application: reads a request, lets faults strike, finds its route, and writes the answer.

Whatever comes in, the answer is BigQuery's JSON, never a stack trace. It decides nothing about BigQuery.
"""

import asyncio
import inspect
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from bbq_dagster.local.access import needs_of_method
from bbq_dagster.local.errors import BigQueryError, not_found, refused
from bbq_dagster.local.faults import Event, error_of
from bbq_dagster.local.job_calls import body_of_job, job_event
from bbq_dagster.local.jobs import on_loop
from bbq_dagster.local.limits import charges_of_request
from bbq_dagster.local.requests import Request, Response
from bbq_dagster.local.routes import Route, find_route
from bbq_dagster.local.service import Service

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)


class App:
    """One server's application. ``local.connection`` in the scope's extensions lets a fault cut the line."""

    def __init__(self, service: Service) -> None:
        self._service = service
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
        await _send(send, response)

    async def _answer(self, request: Request) -> Response:
        found = find_route(request.method, request.raw_path)
        if found is None:
            return _refusal(not_found("Path", request.path))
        route, params = found
        request.params = params
        try:
            if route.call == "local":
                return _response(await self._carry_out(route, request))
            self._authorize(route, request)
            response = await self._within_limits(route, request)
        except BigQueryError as error:
            response = _refusal(error)
        except _Cut:
            self._count(route, request, 0)
            raise
        except Exception as error:  # noqa: BLE001 - the last boundary: a defect is told as BigQuery tells its own
            _log.error("%s %s broke", request.method, request.path, exc_info=error)
            response = _refusal(refused("internalError", f"An internal error occurred: {error!r}"))
        self._count(route, request, response.status)
        return response

    def _authorize(self, route: Route, request: Request) -> None:
        store = self._service.store
        request.user = store.access.user_of(request.headers.get("authorization"))
        if request.user:
            store.access.require(request.user, needs_of_method(route.call, request.params, store.find_table))

    async def _within_limits(self, route: Route, request: Request) -> Response:
        user, limits = request.user, self._service.store.limits
        limits.hold("concurrent_requests", self._under_way[user])
        limits.spend(charges_of_request(route.call, user))
        self._under_way[user] += 1
        try:
            return await self._with_faults(route, request)
        finally:
            self._under_way[user] -= 1

    async def _with_faults(self, route: Route, request: Request) -> Response:
        action = self._service.faults.strike(_event(route, request)) if self._service.faults else None
        if action is None:
            return _response(await self._carry_out(route, request))
        if "http_error" in action:
            raise error_of(action["http_error"])
        if action.get("reset") == "before":
            raise _Cut
        if action.get("hang"):
            await asyncio.Event().wait()
        await asyncio.sleep(float(action.get("delay_seconds") or 0))
        request.struck = action
        response = _response(await self._carry_out(route, request))
        if action.get("reset") == "after":
            raise _Cut
        return response

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


def _event(route: Route, request: Request) -> Event:
    event: dict[str, Any] = {"call": route.call, "path": request.path, **request.params}
    if route.call in ("jobs.insert", "jobs.query"):
        event |= job_event(body_of_job(request))
    return event


def _response(answer: Any) -> Response:
    return answer if isinstance(answer, Response) else Response(200, answer)


def _refusal(error: BigQueryError) -> Response:
    return Response(error.status, error.body())


async def _send(send: Send, response: Response) -> None:
    body = b"" if response.body is None else json.dumps(response.body, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json; charset=UTF-8"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
