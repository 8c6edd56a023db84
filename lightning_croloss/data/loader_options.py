"""Checks of the options of a data module that say what its batches hold."""

from __future__ import annotations

from lightning_croloss.common.checks import check_choice


def check_loader_options(
    seed: int | None, predict_users: str, target_window: int, targets_per_history: int, **sizes: int
) -> None:
    """Raise ``ValueError`` naming the first option that is out of range; see :class:`RetrievalDataModule`.

    Args:
        seed: seed of the training order.
        predict_users: whom ``Trainer.predict`` serves.
        target_window: among how many targets that of a history is drawn.
        targets_per_history: number of those that are drawn.
        **sizes: other numbers that must be at least 1.
    """
    sizes |= {"target_window": target_window, "targets_per_history": targets_per_history}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    if targets_per_history > target_window:
        raise ValueError(
            f"targets_per_history={targets_per_history} must be at most target_window={target_window}: "
            "they are drawn out of it"
        )
    if seed is not None and seed < 0:
        raise ValueError(f"seed={seed} must not be negative")
    check_choice("predict_users", predict_users, ("all", "test"))
