"""How lists, counts and sizes read in texts for people."""

from __future__ import annotations

from collections.abc import Iterable


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
