"""What ``croloss_sharded`` cannot train, told in one sentence before it begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.cloud_io import _is_local_file_protocol
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from torch import nn
from torch.optim import Optimizer

from lightning_croloss.sharding.deferred import DeferredEmbedding
from lightning_croloss.sharding.embedding import ShardedEmbedding
from lightning_croloss.sharding.padded import PaddedEmbedding
from lightning_croloss.training.lazy_adam import LazyAdam
from lightning_croloss.training.position import AVERAGES
from lightning_croloss.training.sharded.tables import shards_of, tables_of
from lightning_croloss.training.whole_checkpoints import WholeCheckpointIO

#: Optimizers that update each number by its own gradient and state, so that rows can lie anywhere.
_BY_NUMBER = (
    LazyAdam,
    torch.optim.Adam,
    torch.optim.SGD,
    torch.optim.SparseAdam,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.ASGD,
)
_KINDS = (nn.Embedding, PaddedEmbedding, DeferredEmbedding, ShardedEmbedding)
#: Lightning's strategies for TPUs, by name: their modules need torch_xla.
_OF_TPUS = ("XLAStrategy", "SingleDeviceXLAStrategy")
_SAY = "trainer.strategy: croloss_sharded"


def refuse_model(model: Any) -> None:
    """Raise ``ValueError`` if the tables of a model cannot lie in shards, also in one process."""
    kind = type(model).__name__
    if getattr(model, "supports_shards", None) is None:
        raise ValueError(f"{_SAY} trains a RetrievalModel of this package, not a {kind}: use ddp")
    refuse_tables(model, _SAY, "use ddp")
    if model.negatives.uses_whole_catalogue and not model.loss.supports_shards:
        raise ValueError(
            f"{_SAY}: {type(model.loss).__name__} cannot be computed over a whole catalogue in shards, as "
            "its rows need more of their negatives than sums: sample the negatives, or use CROLoss"
        )


def refuse_tables(model: Any, asked_by: str, instead: str) -> None:
    """Raise ``ValueError`` if the tables of a retrieval model cannot lie in shards.

    Args:
        model: the model.
        asked_by: what asks for shards, as the user wrote it.
        instead: what to do without.
    """
    kind = type(model).__name__
    if not model.supports_shards:
        raise ValueError(
            f"{asked_by}: {kind} cannot lie in shards, as its every vector depends on the rows of all "
            f"processes through a graph: {instead}, or take a model without one"
        )
    tables = tables_of(model)
    if "item_embedding" not in tables:
        raise ValueError(f"{asked_by}: this {kind} has no table of the items' ids to spread: {instead}")
    for name, table in tables.items():
        if type(table) not in _KINDS or getattr(table, "max_norm", None) is not None:
            raise ValueError(
                f"{asked_by}: {kind}.{name} must be what id_embedding makes, a plain nn.Embedding without "
                f"max_norm, got {type(table).__name__}: {instead}"
            )
        shared = [key for key, weight in _all_parameters(model) if weight is table.weight]
        if len(shared) > 1:
            raise ValueError(
                f"{asked_by}: the weight of {kind}.{name} is also {shared[-1]}, but each process has only "
                f"some of its rows: {instead}"
            )


def refuse_trainer(trainer: Trainer, model: LightningModule) -> None:
    """Raise ``ValueError`` if a trainer of several processes does what cannot be done by rows."""
    if model._compiler_ctx is not None:
        raise ValueError(f"{_SAY} cannot train a compiled model: leave torch.compile out")
    if trainer.precision == "16-mixed":
        raise ValueError(
            f"{_SAY} cannot scale gradients, as each process would skip other steps: set trainer.precision "
            "to bf16-mixed instead of 16-mixed"
        )
    if type(trainer.strategy.checkpoint_io) not in (TorchCheckpointIO, WholeCheckpointIO):
        raise ValueError(
            f"{_SAY} writes its checkpoints itself, from all processes: leave "
            f"{type(trainer.strategy.checkpoint_io).__name__} out of trainer.plugins"
        )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = type(callback).__name__
        if isinstance(callback, AVERAGES):
            raise ValueError(
                f"{_SAY} cannot average weights: leave {name} out of trainer.callbacks, or use ddp"
            )
        on_exception = isinstance(callback, ModelCheckpoint) and callback.save_on_exception
        folder = str(callback.dirpath or "") if isinstance(callback, ModelCheckpoint) else ""
        folder = folder or str(trainer.default_root_dir)
        if isinstance(callback, ModelCheckpoint) and not _is_local_file_protocol(folder):
            raise ValueError(
                f"{_SAY} keeps checkpoints in a folder that all processes share, not at {folder}: set the "
                f"dirpath of {name} to one"
            )
        if on_exception or isinstance(callback, OnExceptionCheckpoint):
            what = f"save_on_exception of {name}" if on_exception else name
            raise ValueError(
                f"{_SAY} saves with all processes together, which an error in one of them prevents: leave "
                f"{what} out of trainer.callbacks"
            )


def refuse_strategy(model: LightningModule, strategy: Any) -> None:
    """Raise ``ValueError`` if tables in shards, or that wait to be, meet a strategy that knows of none.

    So does a strategy for TPUs, on which nothing here was ever run.
    """
    if getattr(strategy, "spreads_tables", False):
        return
    kind, own = type(model).__name__, type(strategy).__name__
    if any(each.__name__ in _OF_TPUS for each in type(strategy).__mro__):
        raise ValueError(
            f"trainer.strategy: {own} runs on TPUs, which {kind} does not support: set trainer.accelerator "
            "to cpu or gpu, and trainer.strategy to auto, ddp or croloss_sharded"
        )
    for name, table in tables_of(model).items():
        if isinstance(table, DeferredEmbedding):
            raise ValueError(
                f"{kind}.{name} has no memory yet, as the model was built in the context of a trainer with "
                f"strategy='croloss_sharded': give it to that trainer, not to one with {own}"
            )
    if shards_of(model):
        raise ValueError(
            f"{kind} has its tables in shards, of which {own} would keep those of one process: load a "
            "checkpoint of it, or go on with strategy='croloss_sharded'"
        )


def refuse_start(method: str) -> None:
    """Raise ``ValueError`` if processes would be started that only give back the weights of the first."""
    if method != "popen":
        raise ValueError(
            f"{_SAY} cannot start its processes by {method!r}, which brings back the weights of the first "
            "alone, a part of each table: leave start_method out, and run a script instead of a notebook"
        )


def refuse_optimizers(optimizers: Iterable[Optimizer]) -> None:
    """Raise ``ValueError`` if one looks at a table as a whole, as matrices are by Muon or Adafactor."""
    for optimizer in optimizers:
        if not isinstance(optimizer, _BY_NUMBER):
            raise ValueError(
                f"{_SAY} needs an optimizer that treats each number of a table by itself, such as Adam, "
                f"AdamW or SGD, got {type(optimizer).__name__}"
            )


def _all_parameters(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return model.named_parameters(remove_duplicate=False)
