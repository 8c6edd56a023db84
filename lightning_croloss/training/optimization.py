"""Optimization: the optimizer, the scheduler and the kind of gradients of a model's training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import Optimizer, SparseAdam

from lightning_croloss.negatives import Negatives
from lightning_croloss.sharding.embedding import IdEmbedding, ShardedEmbedding
from lightning_croloss.training.half_precision import refuses_sparse
from lightning_croloss.training.lazy_adam import LazyAdam
from lightning_croloss.training.optimizers import DEFAULT_RATE, build_optimizers, rate_of, without_numpy
from lightning_croloss.training.schedulers import composed
from lightning_croloss.training.sparse_gradients import (
    check_sparse,
    holds,
    lazy_optimizer,
    pays,
    takes_dense_only,
)

INTERVALS = ("epoch", "step")


class Optimization:
    """Builds the optimizer, and decides whether the embeddings of ids get row-sparse gradients.

    Args:
        optimizer: any torch optimizer; None is Adam with learning rate 0.001.
        lr_scheduler: any torch learning rate scheduler; None keeps the rate.
        lr_scheduler_interval: "epoch" or "step": how often the scheduler steps.
        sparse_gradients: what the user says of sparse gradients; None leaves the choice.
        negatives: the model's sampler.

    Attributes:
        lr_scheduler: as given.
        learning_rate: the rate that training begins with in place of the optimizer's own; None keeps that.
        lazy: whether the current training has sparse gradients, and so ``LazyAdam``.

    Raises:
        ValueError: the interval is unknown, the scheduler cannot work as it is, or sparse gradients are asked
            for where they cannot be.
        TypeError: the optimizer or the scheduler cannot be called.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable | None,
        lr_scheduler: LRSchedulerCallable | None,
        lr_scheduler_interval: str,
        sparse_gradients: bool | None,
        negatives: Negatives,
    ) -> None:
        if lr_scheduler_interval not in INTERVALS:
            raise ValueError(
                f'lr_scheduler_interval must be "epoch" or "step", got {lr_scheduler_interval!r}'
            )
        for name, given in (("optimizer", optimizer), ("lr_scheduler", lr_scheduler)):
            if given is not None and not callable(given):
                raise TypeError(
                    f"{name} must be a class that is called later, such as functools.partial(torch.optim.Adam"
                    f", lr=0.01), got {type(given).__name__}"
                )
        self._optimizer = without_numpy(optimizer)
        self.lr_scheduler: LRSchedulerCallable | None = composed(without_numpy(lr_scheduler))
        self._interval = lr_scheduler_interval
        self._sparse = sparse_gradients
        self.lazy = False
        self.learning_rate: float | None = None
        check_sparse(sparse_gradients, self._optimizer, negatives)

    @property
    def rate(self) -> float | None:
        """The rate that training begins with; None if only the optimizer knows it."""
        if self.learning_rate is not None:
            return self.learning_rate
        return DEFAULT_RATE if self._optimizer is None else rate_of(self._optimizer)

    def decide(
        self,
        embeddings: Sequence[IdEmbedding],
        negatives: Negatives,
        trainer: Trainer,
        compiled: bool,
        builds: bool = True,
        exchanged: bool = False,
    ) -> None:
        """Choose sparse or dense gradients for a training that is about to start.

        Args:
            embeddings: the embeddings of ids.
            negatives: the model's sampler.
            trainer: what will train the model.
            compiled: whether the model is compiled.
            builds: whether :meth:`build` builds the optimizer, and no ``configure_optimizers`` of a user.
            exchanged: whether a ``RowExchange`` can average sparse gradients.

        Raises:
            ValueError: sparse gradients are asked for in float16 on a processor.
        """
        dense_only = refuses_sparse(embeddings, trainer)
        if dense_only and self._sparse:
            raise ValueError(
                "sparse_gradients=True with precision 16-true: a processor cannot add up sparse gradients in "
                "float16: leave sparse_gradients out, or choose precision bf16-true"
            )
        on_devices = trainer.world_size > 1 and trainer.strategy.root_device.type != "cpu"
        # over shards each process adds up the gradients of its own rows
        in_shards = any(isinstance(each, ShardedEmbedding) for each in embeddings)
        must_add_up = on_devices and not exchanged and not in_shards
        sparse = pays(embeddings, self._sparse, self._optimizer, negatives, must_add_up, compiled)
        # what shares gradients between processes must know before there is an optimizer to look at
        unknown = self._sparse is None and not builds and trainer.world_size > 1
        self.set_sparse(embeddings, sparse and not unknown and not dense_only)

    def confirm(self, embeddings: Sequence[IdEmbedding], optimizers: Sequence[Optimizer]) -> None:
        """Keep sparse gradients only where the optimizer takes them that was really built.

        Args:
            embeddings: the embeddings of ids.
            optimizers: what the trainer has, from whatever ``configure_optimizers``.

        Raises:
            ValueError: the user asks for sparse gradients, and the optimizer takes dense ones only.
        """
        for embedding in embeddings:
            own = [each for each in optimizers if holds(each, embedding.weight)]
            refusing = [type(each).__name__ for each in own if takes_dense_only(each)]
            if self._sparse and embedding.sparse and refusing:
                raise ValueError(
                    f"sparse_gradients=True, but configure_optimizers builds {refusing[0]} for the embeddings"
                    ", which takes dense gradients only: build LazyAdam there, or leave sparse_gradients out"
                )
            if not self._sparse:
                lazy = embedding.sparse and all(isinstance(each, LazyAdam) for each in own)
                embedding.sparse = lazy or any(isinstance(each, SparseAdam) for each in own)
        self.lazy = any(embedding.sparse for embedding in embeddings)

    def set_sparse(self, embeddings: Iterable[IdEmbedding], sparse: bool) -> None:
        """Let the embeddings of ids have sparse gradients, or dense ones."""
        self.lazy = sparse
        for embedding in embeddings:
            embedding.sparse = sparse

    def build(self, parameters: Iterator[nn.Parameter], undecayed: Iterable[nn.Parameter] = ()) -> Any:
        """Return what ``configure_optimizers`` must: the optimizer, and the scheduler if there is one.

        Args:
            parameters: what to train.
            undecayed: those of them that weight decay leaves alone.
        """
        optimizer = lazy_optimizer(self._optimizer) if self.lazy else self._optimizer
        return build_optimizers(
            parameters, optimizer, self.lr_scheduler, self._interval, self.learning_rate, undecayed
        )
