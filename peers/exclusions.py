"""What of a peer is known not to pass, and why: lines of ``test : reason``, grouped under headings of ``#``."""

from __future__ import annotations

from pathlib import Path


def read_exclusions(path: Path) -> dict[str, str]:
    """Reasons by test id; an id without brackets stands for all its parameters. Empty if the peer has no such file.

    Raises:
        ValueError: A line has no reason.
    """
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(_parsed(line) for line in lines if line and not line.startswith("#"))


def _parsed(line: str) -> tuple[str, str]:
    test, _, reason = line.partition(" : ")
    if not reason:
        raise ValueError(f"an exclusion needs a reason: {line}")
    return test, reason.strip()
