"""Plots, for those who have the extra [plot]."""

from __future__ import annotations

from pathlib import Path

from lightning_croloss.common.files import replacing
from lightning_croloss.errors import MissingExtraError


def plot_metrics_against_n(results: dict[str, dict[int, float]], path: Path, title: str = "") -> None:
    """Draw each metric against N on a logarithmic axis.

    Args:
        results: for each metric its value at each N.
        path: the PNG to write.
        title: a line above the plot.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("a plot", "plot") from error
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
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
    if title:
        axes.set_title(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
