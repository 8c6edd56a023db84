"""Plots, for those who have the extra [plot]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_croloss.common.files import replacing
from lightning_croloss.errors import MissingExtraError

#: matplotlib's, which is imported when something is drawn
Axes = Any


def plot_metrics_against_n(results: dict[str, dict[int, float]], path: Path, title: str = "") -> None:
    """Draw each metric against N on a logarithmic axis.

    Args:
        results: for each metric its value at each N.
        path: the PNG to write.
        title: a line above the plot.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    axes = _axes(6.0, 4.0)
    ns = sorted({n for by_n in results.values() for n in by_n})
    for metric, by_n in results.items():
        axes.plot(list(by_n), list(by_n.values()), marker="o", label=metric)
    axes.set_xscale("log")
    axes.set_xticks(ns, [str(n) for n in ns])
    axes.minorticks_off()
    axes.set_xlabel("N")
    axes.set_ylabel("metric @N")
    axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(axes, path, title)


def plot_curves(
    curves: dict[str, dict[int, float]], path: Path, x_label: str, y_label: str, title: str = ""
) -> None:
    """Draw curves over one axis, the first in colour and in front of the others.

    Args:
        curves: for each name its value at each point, in the order of the legend.
        path: the PNG to write.
        x_label: what the points are.
        y_label: what the values are.
        title: a line above the plot.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    axes = _axes(8.0, 4.5)
    for number, (name, points) in enumerate(curves.items()):
        (line,) = axes.plot(list(points), list(points.values()), marker="o", markersize=4, label=name)
        line.set(**({"linewidth": 2.5, "zorder": 3} if number == 0 else {"linewidth": 1.0, "alpha": 0.7}))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(axes, path, title)


def _axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure, whose sides are in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("a plot", "plot") from error
    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def _save(axes: Axes, path: Path, title: str) -> None:
    """Write the figure of the axes as a whole, under a title if there is one."""
    if title:
        axes.set_title(title)
    with replacing(path) as temporary:
        axes.figure.savefig(temporary, dpi=120)
