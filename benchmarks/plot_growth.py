"""Draw how cost grows with size: docs/growth.csv, the figures of the benchmarks, as docs/images/growth.svg.

Needs the extra `plots`. Nothing is measured here: whoever measures writes the figures into the file.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main() -> None:
    figures, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    for number, (name, points) in enumerate(sorted(_figures().items())):
        sizes, seconds = zip(*sorted(points), strict=True)
        axes.plot(sizes, seconds, "o-" if number < 10 else "s--", label=name)
    for factor in (1e-5, 1e-4, 1e-3, 1e-2):
        axes.axline((1e3, 1e3 * factor), (1e6, 1e6 * factor), color="lightgrey", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="tables, partitions, versions, keys or copies", ylabel="seconds")
    axes.set_title("Ten times the size; the grey lines are ten times the seconds")
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    figures.savefig(DOCS / "images" / "growth.svg", metadata={"Date": None})


def _figures() -> dict[str, list[tuple[float, float]]]:
    """Size and seconds of each benchmark."""
    figures: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with (DOCS / "growth.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            figures[row["benchmark"]].append((float(row["size"]), float(row["seconds"])))
    return figures


if __name__ == "__main__":
    main()
