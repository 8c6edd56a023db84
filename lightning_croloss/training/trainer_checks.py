"""What Lightning's trainer accepts, and then fails with in the middle of a run or quietly does wrong."""

from __future__ import annotations

from lightning.pytorch import Trainer

#: The least sensible value of fields that Lightning does not check.
_LEAST = {
    "accumulate_grad_batches": 1,
    "gradient_clip_val": 0,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
}


def check_trainer(trainer: Trainer) -> None:
    """Refuse settings of a trainer that cannot be trained with.

    Raises:
        ValueError: naming the field.
    """
    for name, least in _LEAST.items():
        value = getattr(trainer, name, None)
        if value is not None and value < least:
            raise ValueError(f"trainer.{name} must be at least {least}, got {value}")
    interval = getattr(trainer, "val_check_interval", None)
    if isinstance(interval, (int, float)) and interval <= 0:
        raise ValueError(
            "trainer.val_check_interval must be a number of batches of at least 1, or a part of an epoch "
            f"above 0, got {interval}: to leave out validation set limit_val_batches to 0"
        )
