"""Starting, stopping and steering the embedded BigQuery: in this process for tests, in the foreground for the CLI.

    with LocalBigQuery() as bigquery:
        client = bigquery.client(project="shop")

``LocalBigQueryAdmin`` steers a server in another process by its URL, by the same verbs.
"""

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bbq_dagster.local.app import App
from bbq_dagster.local.buckets import Buckets
from bbq_dagster.local.clock import Clock
from bbq_dagster.local.errors import LocalServerError
from bbq_dagster.local.faults import Faults
from bbq_dagster.local.jobs import Jobs
from bbq_dagster.local.service import Service
from bbq_dagster.local.store import Store

if TYPE_CHECKING:
    from google.cloud import bigquery

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_AT_ONCE = 5_000


class LocalBigQueryAdmin:
    """The steering of a server, wherever it runs: its clock, calls, faults and delays."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def client(
        self, project: str = "local", location: str | None = None, identity: str | None = None
    ) -> "bigquery.Client":
        """A real client of google-cloud-bigquery; only the endpoint and the credentials are different.

        ``identity`` is who it is, for what ``grant`` allows; None may do everything.
        """
        # The client takes longer to import than all the rest of a server, which needs none.
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery
        from google.oauth2.credentials import Credentials

        anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
        return bigquery.Client(
            project=project,
            credentials=anonymous if identity is None else Credentials(identity),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.url},
            location=location,
        )

    def now(self) -> datetime:
        return datetime.fromisoformat(self._ask("GET", "clock")["now"])

    def set_clock(self, now: datetime) -> None:
        """Stop the clock at this instant, which must be aware."""
        self._ask("POST", "clock", {"now": now.isoformat()})

    def advance(self, by: timedelta) -> None:
        self._ask("POST", "clock", {"advance_seconds": by.total_seconds()})

    def use_real_clock(self) -> None:
        self._ask("POST", "clock", {"real": True})

    def calls(self) -> Counter[str]:
        """Requests so far by BigQuery's method names: ``tables.get``, ``jobs.insert``, ..."""
        return Counter(self._ask("GET", "calls")["counts"])

    def recent_calls(self) -> list[dict[str, Any]]:
        """The latest requests, oldest first: call, method, path, status (0 where the line was cut)."""
        return list(self._ask("GET", "calls")["recent"])

    def reset_calls(self) -> None:
        self._ask("DELETE", "calls")

    def record_calls(self) -> None:
        """Begin a record of every call that is understood and allowed, in the order in which they come."""
        self._ask("POST", "record")

    def recorded_calls(self) -> list[dict[str, Any]]:
        """All since ``record_calls``: call, method, path, identity, changes (whether it is to change anything), the
        names of the path, and of a job its job_type, source, destination and sql."""
        return list(self._ask("GET", "record")["record"])

    def calls_by_path(self) -> Counter[str]:
        """The calls since ``record_calls`` by method and path: ``GET /bigquery/v2/projects/...``."""
        return Counter(f"{call['method']} {call['path']}" for call in self.recorded_calls())

    def stop_recording(self) -> None:
        self._ask("DELETE", "record")

    def held(self) -> list[dict[str, Any]]:
        """What a fault holds fast at this moment: calls that are frozen, as recorded, and jobs that are stuck."""
        return list(self._ask("GET", "held")["held"])

    def wait_until_held(self, count: int = 1, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Return what is held fast as soon as it is so much. Raises ``LocalServerError`` when the time is over."""
        until = time.monotonic() + seconds
        while len(held := self.held()) < count:
            if time.monotonic() > until:
                raise LocalServerError(f"Only {len(held)} of {count} calls and jobs are held after {seconds:g} s")
            time.sleep(0.005)
        return held

    def release(self, *, go_on: bool = True) -> None:
        """Let go what is held fast. Without ``go_on`` lines are cut, and a call frozen before is never carried out."""
        self._ask("POST", "release", {"go_on": go_on})

    def fault(self, match: Mapping[str, Any], action: Mapping[str, Any], **rule: Any) -> None:
        """Let requests go wrong: see ``faults``. ``rule`` takes times, after, every, probability and seed."""
        self._ask("POST", "faults", {"match": match, "action": action, **rule})

    def faults(self) -> list[dict[str, Any]]:
        return list(self._ask("GET", "faults")["faults"])

    def clear_faults(self) -> None:
        self._ask("DELETE", "faults")

    def limits(self, **allowed: float | None) -> dict[str, float | None]:
        """Set limits by name, see ``limits.RULES``: a number, True for BigQuery's own, None for none; gives all."""
        return self._ask("POST", "limits", allowed)

    def clear_limits(self) -> None:
        self._ask("DELETE", "limits")

    def grant(self, identity: str, *names: str, on: str) -> None:
        """Give roles (``roles/bigquery.dataViewer``) or permissions on a project, ``shop``, or dataset, ``shop.sales``.

        From the first grant on, an identity may do what it was granted and nothing else.
        """
        self._ask("POST", "access", {"identity": identity, "on": on, "names": names})

    def clear_access(self) -> None:
        """Nobody is restricted any more."""
        self._ask("DELETE", "access")

    def multiply(self, table: str, count: int) -> None:
        """Make so many tables more, ``t_0``, ``t_1``, ..., like ``shop.sales.t`` with its data, for tests of size."""
        for first in range(0, count, _AT_ONCE):
            self._ask("POST", "multiply", {"table": table, "count": min(_AT_ONCE, count - first), "first": first})

    def settings(self, **seconds: float) -> dict[str, float]:
        """Change ``streaming_flush_seconds``, ``job_pending_seconds``, ``job_running_seconds``; gives all of them."""
        return self._ask("POST", "settings", seconds)

    def _ask(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/local/v1/{what}", content, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer: dict[str, Any] = json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise LocalServerError(f"{what}: {json.loads(error.read())['error']['message']}") from error
        except OSError as error:
            raise LocalServerError(
                f"No embedded BigQuery answers at {self.url}: {error}\nHINT: start one with `bbq local serve`."
            ) from error
        return answer


class LocalBigQuery(LocalBigQueryAdmin):
    """A server in a thread of this process.

    Args:
        folder: Where it keeps its state; None keeps it in memory.
        buckets: The folder that stands for Cloud Storage, one folder per bucket; ``folder/buckets`` if not given.
        port: 0 takes any free one.
        now: Where its clock stands still from the start; None is the real time.
    """

    def __init__(
        self,
        folder: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        now: datetime | None = None,
        buckets: Path | None = None,
    ) -> None:
        self._socket = _bound(host, port)
        super().__init__(f"http://{host}:{self._socket.getsockname()[1]}")
        self.store = _store(folder, self._socket, now)
        if buckets is not None:
            self.store.buckets = Buckets(buckets)
        self._server = _server(self.store, self.url)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True, name="bigquery")

    def start(self) -> "LocalBigQuery":
        self._thread.start()
        if not self._server.ready.wait(_START_SECONDS):
            self.store.close()
            raise LocalServerError(f"The embedded BigQuery did not start within {_START_SECONDS:.0f} s")
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.stop()
            self._thread.join(_STOP_SECONDS)
        self._socket.close()
        self.store.close()

    def __enter__(self) -> "LocalBigQuery":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """Tells when it answers, and stops at once when told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._wake = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.ready.set()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864_000
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn calls it so
        """Cut all lines; requests that are under way are cancelled with the loop."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def stop(self) -> None:
        self.should_exit = self.force_exit = True
        self._loop.call_soon_threadsafe(self._wake.set)


class _WholeAnswers:
    """A line on which the head of an answer waits for its body, so that both are one packet."""

    def __init__(self, line: asyncio.Transport) -> None:
        self._line = line
        self._head = b""

    def write(self, content: bytes) -> None:
        if _is_head(content) and not self._head:
            self._head = content
        else:
            self._line.write(self._head + content)
            self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


def _is_head(content: bytes) -> bool:
    """Whether a body follows: not after 100 Continue, nor where the protocol itself refuses a request."""
    begins, ends = content.startswith(b"HTTP/1.1 "), content.endswith(b"\r\n\r\n")
    return begins and ends and not content.startswith(b"HTTP/1.1 100 ")


class _Protocol(HttpToolsProtocol):
    """Hands the application a way to cut the line, for faults."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_WholeAnswers(transport))  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"local.connection": {"abort": self.transport.abort}}


def _server(store: Store, url: str) -> _Server:
    app = App(Service(store, Jobs(store), Faults(), url))
    return _Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=600,
            timeout_graceful_shutdown=1,
        )
    )


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise LocalServerError(
            f"Cannot listen on {host}:{port}: {error}\nHINT: choose another port, or 0 for any free one."
        ) from error
    return bound


def _store(folder: Path | None, bound: socket.socket, now: datetime | None) -> Store:
    clock = Clock()
    if now is not None:
        clock.set(now)
    try:
        return Store(folder, clock)
    except LocalServerError:
        bound.close()
        raise
