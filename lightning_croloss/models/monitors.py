"""A check of what callbacks monitor, before training starts."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import Callback

from lightning_croloss.errors import suggest


def check_monitors(callbacks: Sequence[Callback], names: Sequence[str]) -> None:
    """Refuse a metric @N to monitor that is not measured; Lightning would notice after the first epoch.

    Args:
        callbacks: the trainer's callbacks.
        names: what will be logged, such as ``val/recall@20``.

    Raises:
        ValueError: naming the callback and the nearest metric.
    """
    kinds = {name.split("@")[0] for name in names}
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.split("@")[0] in kinds and monitor not in names:
            raise ValueError(
                f"{type(callback).__name__} monitors {monitor!r}, which is not measured"
                f"{suggest(monitor, names)} (ns are the model's)"
            )
