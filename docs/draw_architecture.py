"""Draw ``architecture.svg`` from the imports of the code: ``python docs/draw_architecture.py``.

An arrow leads from a folder to one that it imports. What follows from other arrows is left out: where A
imports B and B imports C, no arrow shows that A imports C too.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.test_architecture import PACKAGE, imports_of  # noqa: E402

WIDTH, HEIGHT = 1.7, 0.42
ASIDE = ("__main__", "errors", "configurable", "public")  # files beside the folders


def folder_edges() -> dict[str, set[str]]:
    """Return for each folder those that it imports."""
    edges: dict[str, set[str]] = {}
    for source, _, target in imports_of(PACKAGE):
        below, above = (file.partition("/")[0].removesuffix(".py") for file in (source, target))
        if below != above and not {below, above} & set(ASIDE):
            edges.setdefault(below, set()).add(above)
    return edges


def reduced(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out what follows from other edges of a graph without circles."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        for nearer in edges.get(start, ()):
            found |= {nearer} | reached(nearer)
        return found

    return {
        source: {target for target in targets if not any(target in reached(other) for other in targets)}
        for source, targets in edges.items()
    }


def level(name: str, edges: dict[str, set[str]]) -> int:
    """Return how many folders stand below one, along the longest way down."""
    return max((level(target, edges) + 1 for target in edges.get(name, ())), default=0)


def main() -> None:
    """Write the picture beside this file."""
    rcParams["svg.hashsalt"] = "the same picture again"
    edges = reduced(folder_edges())
    rows: dict[int, list[str]] = {}
    for name in sorted({*edges, *(target for targets in edges.values() for target in targets)}):
        rows.setdefault(level(name, edges), []).append(name)
    centre = {
        name: ((column - (len(row) - 1) / 2) * 2.3 + 0.35 * (-1) ** number, number)
        for number, row in rows.items()
        for column, name in enumerate(row)
    }
    figure = Figure(figsize=(8.0, 0.85 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for source, targets in edges.items():
        for target in sorted(targets):
            (x, y), (to_x, to_y) = centre[source], centre[target]
            bend = 0.0 if y - to_y == 1 else 0.2 * (1 if to_x >= x else -1)
            axes.add_patch(
                FancyArrowPatch(
                    (x, y - HEIGHT / 2),
                    (to_x, to_y + HEIGHT / 2),
                    arrowstyle="-|>",
                    mutation_scale=11,
                    color="#5c6bc0",
                    linewidth=1.1,
                    connectionstyle=f"arc3,rad={bend}",
                )
            )
    for name, (x, y) in centre.items():
        axes.add_patch(
            FancyBboxPatch(
                (x - WIDTH / 2, y - HEIGHT / 2),
                WIDTH,
                HEIGHT,
                boxstyle="round,pad=0.02,rounding_size=0.1",
                facecolor="#e8eaf6",
                edgecolor="#3949ab",
            )
        )
        axes.text(x, y, name, ha="center", va="center", fontsize=11, family="monospace")
    axes.set_xlim(-4.6, 4.6)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_axis_off()
    figure.savefig(Path(__file__).with_name("architecture.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
