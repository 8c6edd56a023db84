"""What a module has logged of an epoch so far with ``on_epoch=True``, which Lightning does not save."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

#: What ``self.log`` was told, besides the value; it must be told the same again.
SETTINGS = ("name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx")


def sums_of_the_epoch(trainer: Trainer) -> list[dict[str, Any]]:
    """Return the values added up since the epoch began, as plain types and tensors."""
    kept = []
    for metric in trainer.fit_loop.epoch_loop._results.values():
        meta = metric.meta
        if not metric.is_tensor or not meta.on_epoch or metric.has_reset or meta.sync.group is not None:
            continue
        kept.append(
            {
                "fx": meta.fx,
                "settings": {name: getattr(meta, name) for name in SETTINGS},
                "reduce_fx": meta.reduce_fx.__name__,
                "sync_dist": meta.sync.should,
                "rank_zero_only": meta.sync.rank_zero_only,
                "value": _copied(metric.value),
                "weight": _copied(metric.cumulated_batch_size) if meta.is_mean_reduction else None,
                "latest": None if metric._forward_cache is None else _copied(metric._forward_cache),
            }
        )
    return kept


def restore_sums(trainer: Trainer, kept: list[dict[str, Any]]) -> None:
    """Let what is logged in the rest of the epoch be added to the saved values."""
    results = trainer.fit_loop.epoch_loop._results
    for entry in kept:
        # what the progress bar shows is read after each step: from the host, where nothing waits
        shown = entry["settings"]["prog_bar"] and not entry["sync_dist"]  # which devices exchange among them
        device = torch.device("cpu") if shown else trainer.strategy.root_device
        value = entry["value"].to(device)
        results.log(
            entry["fx"],
            value=value,
            reduce_fx=entry["reduce_fx"],
            sync_dist=entry["sync_dist"],
            sync_dist_fn=trainer.strategy.reduce,
            rank_zero_only=entry["rank_zero_only"],
            batch_size=1,
            **entry["settings"],
        )
        metric = results[f"{entry['fx']}.{entry['settings']['name']}"]
        metric.value = value
        if entry["weight"] is not None:
            metric.cumulated_batch_size = entry["weight"].to(device)
        metric._forward_cache = None if entry["latest"] is None else entry["latest"].to(device)


def _copied(value: Tensor) -> Tensor:
    return value.detach().cpu().clone()
