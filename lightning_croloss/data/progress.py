"""Stages: what a preparation is doing, shown on a terminal while it lasts."""

from __future__ import annotations

import sys
from types import TracebackType

from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm


class Stages:
    """A bar on the standard error that names the stage at work and goes when all is done.

    Nothing is shown where no person looks: in a pipe, in a file, or on another process than the first.

    Args:
        total: number of stages.
    """

    def __init__(self, total: int) -> None:
        somebody_looks = sys.stderr.isatty() and getattr(rank_zero_only, "rank", 0) == 0
        layout = "{desc} {bar:20} stage {n_fmt} of {total_fmt}, {elapsed}"
        self._bar = tqdm(
            total=total, bar_format=layout, leave=False, disable=not somebody_looks, file=sys.stderr
        )

    def begin(self, what: str) -> None:
        """Show that a stage begins, for example "reading orders.parquet"."""
        self._bar.set_description_str(what, refresh=False)
        self._bar.update()
        self._bar.refresh()

    def __enter__(self) -> Stages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
