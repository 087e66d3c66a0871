"""A load of raw HTTP requests, made of bytes beforehand: what a server can do, with little of the client's own time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit


def request(method: str, path: str, body: Any = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: local\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def seconds_for(url: str, requests: Iterable[bytes], connections: int = 16) -> float:
    """Send them over so many connections, each its next when it has its answer. Raises unless all answers are 200."""
    host = urlsplit(url)
    return asyncio.run(_drive(str(host.hostname), int(host.port or 0), iter(requests), connections))


async def _drive(host: str, port: int, requests: Iterator[bytes], connections: int) -> float:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    lines = [_Line(requests, loop.create_future()) for _ in range(connections)]
    for line in lines:
        await loop.create_connection(lambda line=line: line, host, port)  # type: ignore[misc]
    await asyncio.gather(*(line.done for line in lines))
    return time.perf_counter() - began


class _Line(asyncio.Protocol):
    """One connection; an answer is complete when as many bytes have come as its content-length says."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self.done = done
        self._requests = requests
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self._received.decode()))
            self._transport.close()
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._received = b""
            self._next()

    def _next(self) -> None:
        content = next(self._requests, None)
        if content is None:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
        else:
            self._transport.write(content)  # type: ignore[attr-defined]
