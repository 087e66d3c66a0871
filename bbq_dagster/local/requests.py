"""A request as handlers see it, and how they answer: values, without a server."""

import gzip
import json
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from bbq_dagster.local.errors import invalid
from bbq_dagster.local.shapes import settled_body


@dataclass(slots=True)
class Request:
    """One request.

    Attributes:
        raw_path: As sent, still percent-encoded.
        params: The placeholders of its route: project, dataset, table, job, ...
        struck: The action of the fault that struck it, if its handler has to know.
        user: Who asks, by the bearer token; empty for who sends none.
        shape: What its body is checked against, by the name that ``shapes`` has for it; empty for nothing.
    """

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    content: bytes
    raw_path: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    struck: Mapping[str, Any] | None = None
    user: str = ""
    shape: str = ""

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent, of the right shape; an empty request is an empty object."""
        if not self.content:
            return {}
        parsed = _parsed(self.content)
        if not isinstance(parsed, dict):
            raise invalid("Parse Error: the request body is not a JSON object")
        return settled_body(self.shape, parsed)

    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.query_string, keep_blank_values=True) if self.query_string else {}

    def option(self, name: str) -> str | None:
        values = self.query().get(name)
        return values[-1] if values else None

    def number(self, name: str) -> int | None:
        text = self.option(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError as error:
            raise invalid(f'Invalid value for {name}: "{text}" is not an integer', name) from error

    def flag(self, name: str) -> bool:
        return (self.option(name) or "").lower() == "true"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is not just a JSON object with status 200; ``text`` is of HTML, in place of a ``body``."""

    status: int
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None


NO_CONTENT = Response(204)


def unpacked(headers: Mapping[str, str], content: bytes) -> bytes:
    """The body of a request as it was before it was gzipped, if it was."""
    if headers.get("content-encoding", "").lower() != "gzip":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise invalid(f"Parse Error: the request body is not gzip: {error}") from error


def _parsed(content: bytes) -> Any:
    try:
        parsed = json.loads(content, parse_constant=_refuse_constant)
        if b"\\u" in content:
            json.dumps(parsed, ensure_ascii=False).encode()  # Half of a surrogate pair is no text.
    except ValueError as error:
        raise invalid(f"Parse Error: the request body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise invalid("Parse Error: the request body is nested too deep") from error
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def page_of_names(names: Sequence[str], request: Request, default: int = 50) -> tuple[Sequence[str], dict[str, str]]:
    """The names after the page token, and what the answer carries on: names come and go, pages never repeat or skip."""
    start = bisect_right(names, request.option("pageToken") or "")
    size = page_size(request, default)
    chosen = names[start : start + size]
    return chosen, {"nextPageToken": chosen[-1]} if start + size < len(names) and chosen else {}


def is_place(token: str) -> bool:
    """Whether a page token is a number of rows or jobs, as this server gives it."""
    return token.isascii() and token.isdigit() and len(token) < 19


def page_size(request: Request, default: int, maximum: int = 1000) -> int:
    asked = request.number("maxResults")
    if asked is not None and asked < 0:
        raise invalid(f'Invalid value for maxResults: "{asked}" is negative', "maxResults")
    return min(default if asked is None else asked, maximum)
