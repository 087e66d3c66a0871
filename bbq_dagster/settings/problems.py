"""What is wrong with the settings, one line each: where, the value, and what would be right.

Words only: what is right and wrong is decided in ``document``, ``schema`` and ``rules``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

Place = tuple[str | int, ...]
"""The way to a value: ``("sources", 1, "tables", "include", 0)``."""

_LONGEST_VALUE = 80
_PLAIN_KEY = re.compile(r"[\w-]{1,80}")
_USER_IN_URL = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. ``line`` counts from 1; 0 is outside of the file."""

    line: int
    place: Place
    text: str

    def __str__(self) -> str:
        parts = (f"line {self.line}" if self.line else "", path_of(self.place), self.text)
        return ": ".join(part for part in parts if part)


def path_of(place: Place) -> str:
    """``sources[1].tables.include[0]``; empty for the whole file. Odd keys come in quotes, so that a line stays one."""
    return "".join(map(_step, place)).removeprefix(".")


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step if _PLAIN_KEY.fullmatch(step) else shown(step)}"


def shown(value: object) -> str:
    """The value as a message shows it, cut where it is long, without the user and password of a URL."""
    if isinstance(value, bool):
        return str(value).lower()
    text = _USER_IN_URL.sub("//…@", repr(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'threads'?`` where a known word looks like ``word``, else empty."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def merged(*stages: Iterable[Problem]) -> list[Problem]:
    """All problems by line; of one place, only those of the first stage that has any.

    A value that is not text needs no second line that it is no project id either.
    """
    kept: list[Problem] = []
    for stage in stages:
        named = {problem.place for problem in kept}
        kept += [problem for problem in stage if problem.place not in named]
    return sorted(kept, key=lambda problem: (problem.line, path_of(problem.place), problem.text))
