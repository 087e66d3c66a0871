"""How lists, counts and sizes read in texts for people, and how text of others is shown that may hold anything."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: what steers a terminal, turns the direction of reading, or looks like nothing or a line."""


def section(title: str, lines: Iterable[str], *, limit: int | None) -> list[str]:
    """A title with its lines, ``limit`` of them at most (None: all); nothing at all where there are none."""
    shown = cut(list(lines), limit)
    return ["", f"{title}:", *(f"  {line}" for line in shown)] if shown else []


def cut(lines: list[str], limit: int | None) -> list[str]:
    """The first ``limit`` lines, and how many more there are."""
    if limit is None or len(lines) <= limit:
        return lines
    return [*lines[:limit], f"… and {len(lines) - limit:,} more"]


def counted(count: int, noun: str) -> str:
    """``1 table``, ``2,000 tables``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """``text`` as one line: every character that does not show is written as in JSON.

    A terminal would obey ``ESC [ 2 J`` and clear itself; ``U+202E`` would let ``txt.exe`` read as ``exe.txt``.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _INVISIBLE else char for char in text)


def printable_lines(text: str) -> str:
    """``printable`` of each line of ``text``."""
    return "\n".join(map(printable, text.split("\n")))


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def size(count: int | None) -> str:
    """Bytes for people: ``1.5 MiB``."""
    if count is None:
        return "?"
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TiB"
