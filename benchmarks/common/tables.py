"""What the tables and plots of the comparisons are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.bootstrap import paired_bootstrap
from benchmarks.common.rows import Row, Settings
from lightning_croloss.metrics import NDCGAtN, RecallAtN

METRICS = {"Recall": RecallAtN, "NDCG": NDCGAtN}
Values = NDArray[np.float64]


def user_values(ranks: Tensor, name: str, n: int) -> Values:
    """Return the value @n of each user, (users,).

    Args:
        ranks: (users, T) ranks of the targets, 0 where there is none.
        name: a metric of :data:`METRICS`.
        n: the cutoff.
    """
    values: Values = METRICS[name]((n,)).user_values(ranks, ranks > 0, torch.tensor([n]))[:, 0].numpy()
    return values


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def described(setting: Settings) -> str:
    """Write a setting on one line."""
    return ", ".join(f"{name} {value}" for name, value in setting.items()) or "–"


def failed_runs(failures: dict[str, Row]) -> list[str]:
    """Return the parts of a report that list the runs that failed; none if none did.

    Args:
        failures: their rows, by identity.
    """
    if not failures:
        return []
    rows = []
    for row in failures.values():
        settings = row["settings"]
        nested = settings.get("setting", {})
        run = described({**{name: settings[name] for name in settings if name != "setting"}, **nested})
        rows.append([run, row["error_type"], row["error"].replace("|", "\\|")])
    return [
        f"## Failed runs\n\n{len(rows)} failed and left out of everything above; the command that runs the "
        "comparison tries them again.",
        table(["run", "error", "message"], rows),
    ]


def mean_of_seeds(runs: Sequence[Values], digits: int) -> str:
    """Write the mean over users, then mean ± deviation over seeds, in percent."""
    means = [100 * values.mean() for values in runs]
    spread = f" ± {np.std(means, ddof=1):.{digits}f}" if len(means) > 1 else ""
    return f"{np.mean(means):.{digits}f}{spread}"


def mean_and_spread(values: Sequence[float], digits: int = 2) -> str:
    """Write the mean and the deviation of shares over seeds, in percent; nothing of no values."""
    if not values:
        return ""
    percent = 100 * np.asarray(values)
    spread = f" ± {percent.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{percent.mean():.{digits}f}{spread}"


def difference(ours: Sequence[Values], theirs: Sequence[Values], digits: int) -> str:
    """Write the difference in percentage points and its interval, bold if that leaves out 0.

    Args:
        ours: for each seed the values (users,).
        theirs: the same of the other side, on the same users.
        digits: digits after the point.
    """
    averaged = (np.mean(runs, axis=0) for runs in (ours, theirs))
    mean, low, high = (100 * value for value in paired_bootstrap(*averaged))
    text = f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def mark_cutoffs(axes: Any, ns: Sequence[int]) -> None:
    """Make the horizontal axis logarithmic, with a mark at each N."""
    axes.set_xscale("log")
    axes.set_xticks(ns, [str(n) for n in ns])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
