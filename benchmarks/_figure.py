"""How a benchmark tells its result: one JSON object on the last line."""

from __future__ import annotations

import json


def print_figure(name: str, value: float, unit: str, *, target: float | None, at_most: bool = True) -> None:
    """``target`` None: the figure is there to be looked at, and holds by having been measured.

    ``at_most``: smaller is better.
    """
    holds = target is None or (value <= target if at_most else value >= target)
    rounded = round(value, 3)
    print(json.dumps({"name": name, "value": rounded, "unit": unit, "target": target, "holds": holds}))
