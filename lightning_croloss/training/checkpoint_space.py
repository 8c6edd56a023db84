"""Whether the checkpoints of a fit find space, told before it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning.fabric.utilities.cloud_io import _is_local_file_protocol
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from lightning_croloss.common.space import check_space, free_bytes, size
from lightning_croloss.training.sharded.tables import shards_of, weights_of


def check_checkpoint_space(trainer: Trainer, model: LightningModule) -> None:
    """Refuse a fit whose first checkpoint cannot be written; warn if all that are kept may not find space.

    Args:
        trainer: the trainer, with its optimizers.
        model: what it trains.

    Raises:
        NotEnoughSpaceError: not even the weights of one checkpoint can be written.
    """
    if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
        return
    tables = weights_of(model)
    parts = {id(tables[name]): shards.num_shards for name, shards in shards_of(model).items()}
    weights = sum(_bytes(parameter, parts) for parameter in model.parameters())
    state = sum(_state_bytes(optimizer, parts) for optimizer in trainer.optimizers)
    for callback in trainer.checkpoint_callbacks:
        if not isinstance(callback, ModelCheckpoint) or not (callback.save_top_k or callback.save_last):
            continue
        folder = str(callback.dirpath)
        if not _is_local_file_protocol(folder):
            continue
        path = Path(folder.removeprefix("file://"))
        check_space(path, weights, "a checkpoint, of which the weights alone count here,")
        one = weights + (0 if callback.save_weights_only else state)
        kept = abs(callback.save_top_k) + (callback.save_last is True)
        needed = one * (kept + 1)  # a new one is complete before an old one is removed
        if (free := free_bytes(path)) < needed:
            rank_zero_warn(
                f"the {kept + 1} checkpoints that lie in {path} at a time take about {size(needed)}, but "
                f"{size(free)} are free: a full disk ends the training"
            )


def _bytes(parameter: Tensor, parts: Mapping[int, int]) -> int:
    """Return what a parameter takes, of a table in shards all about equal parts together."""
    return parameter.numel() * parameter.element_size() * parts.get(id(parameter), 1)


def _state_bytes(optimizer: Optimizer, parts: Mapping[int, int]) -> int:
    """Return what the moments of an optimizer take, as far as its settings tell."""
    total = 0
    for group in optimizer.param_groups:
        moments = 2 + bool(group.get("amsgrad")) if "betas" in group else int(bool(group.get("momentum")))
        numbers = sum(_bytes(parameter, parts) for parameter in group["params"])
        total += moments * numbers
    return total
