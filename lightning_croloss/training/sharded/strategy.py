"""ShardedStrategy: DDP, but for the tables of ids, of which each process holds and trains its own rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lightning_croloss.sharding.deferred import deferred_tables
from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint, rest_of
from lightning_croloss.training.sharded.loading import check_own_rows, fill_rows
from lightning_croloss.training.sharded.refusals import (
    refuse_model,
    refuse_optimizers,
    refuse_start,
    refuse_trainer,
)
from lightning_croloss.training.sharded.rows import keep_own_rows, keep_own_states, optimized_tables
from lightning_croloss.training.sharded.saving import save_in_shards
from lightning_croloss.training.sharded.tables import (
    refuse_more_processes,
    shard_tables,
    shards_of,
    weights_of,
)

#: Name of the strategy in ``Trainer(strategy=…)``.
NAME = "croloss_sharded"


class ShardedStrategy(DDPStrategy):
    """Trains a ``RetrievalModel`` whose tables of items and users lie in shards, one a process.

    When the processes have met, each keeps its rows of the tables (``ShardedEmbedding``), of their gradients
    and of the optimizer's state; all else is as in Lightning's ``DDPStrategy``, whose arguments this takes.
    With one process it is that. Losses and metrics are exact over the whole catalogue.

    A model of which no process can hold a whole table is built inside of ``trainer.init_module()`` or
    ``deferred_tables()``, as the command line does.
    """

    #: What a model with tables in shards looks for.
    spreads_tables = True

    def _configure_launcher(self) -> None:
        refuse_start(self._start_method)
        super()._configure_launcher()

    def setup_environment(self) -> None:
        """Let the processes meet, and spread the tables over them, before anything looks at the model.

        Raises:
            ValueError: the model or the trainer cannot be sharded, or there are more processes than rows.
        """
        model = self.lightning_module
        assert model is not None
        refuse_model(model)
        refuse_more_processes(model, self.num_nodes * self.num_processes)
        super().setup_environment()
        if self.world_size > 1:
            refuse_trainer(model.trainer, model)
        shard_tables(model)

    def setup_optimizers(self, trainer: Trainer) -> None:
        """Build the optimizers.

        Raises:
            ValueError: one does not treat each number of a table by itself.
        """
        super().setup_optimizers(trainer)
        if self.lightning_module is not None and shards_of(self.lightning_module):
            refuse_optimizers(self.optimizers)

    def configure_ddp(self) -> None:
        """Wrap the model, unless nothing but tables in shards is trained."""
        model = self.lightning_module
        assert model is not None
        apart = {f"{name}.weight" for name in shards_of(model)}
        if any(weight.requires_grad for name, weight in model.named_parameters() if name not in apart):
            super().configure_ddp()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, a folder to which all processes write if tables lie in shards.

        Raises:
            OSError: it cannot be written; what was there before stays as it was.
        """
        weights, shards = self._weights_in_shards()
        if not shards:
            super().save_checkpoint(checkpoint, filepath, storage_options)
            return
        if storage_options is not None:
            raise TypeError("croloss_sharded takes no storage_options: it writes its checkpoints itself")
        path = self.broadcast(filepath)
        save_in_shards(checkpoint, path, shards, optimized_tables(self.optimizers, weights))

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read this process's part of a checkpoint, from however many processes it is.

        Raises:
            PretrainedError: it is damaged, or of tables of other sizes, or holds weights that are not finite.
        """
        model = self.lightning_module
        _, shards = self._weights_in_shards()
        if not shards or model is None:
            return super().load_checkpoint(checkpoint_path, weights_only)
        content = super().load_checkpoint(rest_of(checkpoint_path), weights_only)
        if is_sharded_checkpoint(checkpoint_path):
            fits = model.trainer.state.fn == TrainerFn.FITTING
            device = self.root_device
            fill_rows(content, checkpoint_path, shards=shards, weights_alone=not fits, device=device)
        else:
            keep_own_rows(content, shards)
        weights = content.get("state_dict")
        if isinstance(weights, Mapping):  # else others refuse it
            check_own_rows(weights, shards, str(checkpoint_path))
        return content

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give the optimizers their states, of tables in shards those of this process's rows."""
        keep_own_states(self.optimizers, checkpoint["optimizer_states"], *self._weights_in_shards())
        super().load_optimizer_state_dict(checkpoint)

    def _weights_in_shards(self) -> tuple[dict[str, Tensor], dict[str, RowShards]]:
        model = self.lightning_module
        return ({}, {}) if model is None else (weights_of(model), shards_of(model))

    @contextmanager
    def tensor_init_context(self, empty_init: bool | None = None) -> Iterator[None]:
        """Let a model that is built inside have tables without memory until the processes have met."""
        with super().tensor_init_context(empty_init), deferred_tables():
            yield


StrategyRegistry.register(
    NAME, ShardedStrategy, description="DDP with the tables of items and users in shards, one a process"
)
