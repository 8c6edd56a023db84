"""SampledTraining: training steps that compare each target with sampled negatives."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from lightning_croloss.common.spare_memory import Released, worth_keeping
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.models.encoder import Encoder
from lightning_croloss.models.metadata import ModelMetadata
from lightning_croloss.models.windows import one_target_a_row
from lightning_croloss.negatives import FullCatalogNegatives, Negatives
from lightning_croloss.sharding.embedding import IdEmbedding, ShardedEmbedding
from lightning_croloss.training.fused_steps import fuse_steps
from lightning_croloss.training.half_precision import raise_eps
from lightning_croloss.training.logging_steps import logs_next_step
from lightning_croloss.training.monitors import still_improving
from lightning_croloss.training.nan_guard import NaNGuard, mean_of_processes
from lightning_croloss.training.optimization import Optimization
from lightning_croloss.training.resume import batches_so_far, seed_step
from lightning_croloss.training.row_exchange import RowExchange
from lightning_croloss.training.saved_states import check_number, check_optimizer, check_scheduler
from lightning_croloss.training.sharded.rows import keep_own_states
from lightning_croloss.training.sharded.tables import shards_of, weights_of
from lightning_croloss.training.sparse_gradients import clip_gradients
from lightning_croloss.training.table_gradients import (
    RowIds,
    SpareGradients,
    is_plain,
    looked_up_rows,
    whole_rows,
)


class SampledTraining(Encoder):
    """The training hooks of Lightning; what they work with is set by the constructor of a subclass.

    Attributes:
        loss: the training loss.
        negatives: the sampler of negatives.
        metadata: holds the seed of the run.
        item_embedding: the embedding of the items' ids; None without.
        user_embedding: the embedding of the users' ids; None without.
    """

    loss: RetrievalLoss
    similarity: str
    negatives: Negatives
    metadata: ModelMetadata
    # not set here: a class attribute would hide the modules that a subclass assigns
    item_embedding: IdEmbedding | None
    user_embedding: IdEmbedding | None
    _optimization: Optimization
    _finite: NaNGuard
    _spare_gradients: SpareGradients
    _row_ids: RowIds
    _rate_at_setup: float | None = None
    #: exchanges the sparse gradients of processes that cannot add them up
    _row_exchange: RowExchange | None = None
    #: those of optimizers and schedulers in the checkpoint that is being resumed, until these are built
    _saved_states: tuple[list[Any], list[Any], bool] | None = None

    def id_embeddings(self) -> list[IdEmbedding]:
        """Return the embeddings of items and users by their ids."""
        tables = (self.item_embedding, self.user_embedding)
        return [table for table in tables if table is not None]

    def on_train_start(self) -> None:
        """Look at the optimizer that was really built."""
        self._optimization.confirm(self.id_embeddings(), self.trainer.optimizers)
        raise_eps(self.trainer.optimizers)
        if not self._builds_its_own:
            fuse_steps(self.trainer.optimizers, self.modules())

    def on_train_end(self) -> None:
        """Say what was still improving."""
        for name in still_improving(self.trainer):
            rank_zero_info(
                f"{name} was at its best in the last epoch: training longer may improve it further"
            )

    def on_train_batch_start(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Seed the step by its number, so that a resumed run draws what the uninterrupted run draws."""
        seed_step(self.metadata.seed, batches_so_far(self.trainer), self.global_rank, self.device)

    def on_after_backward(self) -> None:
        """Average over the processes what DDP leaves alone; one of your own must call this."""
        if self._row_exchange is not None:
            self._row_exchange.average(self.trainer)

    @property
    def learning_rate(self) -> float | None:
        """The learning rate that training begins with; None if only the optimizer knows it.

        Set by hand, by ``Tuner.lr_find`` or by ``LearningRateFinder``, it takes the place of the optimizer's
        own, and travels in checkpoints. A ``configure_optimizers`` of your own must use it to obey it.
        """
        return self._optimization.rate

    @learning_rate.setter
    def learning_rate(self, rate: float | None) -> None:
        if rate is not None and not 0.0 < float(rate) < math.inf:
            raise ValueError(f"learning_rate must be a number above 0, got {rate}")
        self._optimization.learning_rate = None if rate is None else float(rate)

    def on_fit_start(self) -> None:
        """Build the optimizer again if a callback has just found another learning rate for it."""
        if self._row_exchange is not None:
            self._row_exchange.begin(self)
        rate = self._optimization.learning_rate
        if rate is None:
            return
        if rate != self._rate_at_setup:
            self.trainer.strategy.setup_optimizers(self.trainer)
        groups = [group for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        if all(group.get("initial_lr", group["lr"]) == rate for group in groups):
            return
        if not self._builds_its_own:
            rank_zero_warn(
                f"learning_rate={rate:.3g} has no effect: the lr_scheduler, such as OneCycleLR, has rates of "
                "its own"
            )
        elif rate != self._rate_at_setup and all(
            group.get("initial_lr", group["lr"]) != rate for group in groups
        ):
            rank_zero_warn(
                f"{type(self).__name__}.configure_optimizers does not use self.learning_rate: what was "
                f"found, {rate:.3g}, is set in its optimizers, but not in its schedulers"
            )
            for group in groups:
                group["lr"] = rate

    def training_users(self, batch: RetrievalBatch) -> tuple[Tensor, RetrievalBatch]:
        """Return the users' vectors (P, K, D) and a batch of P rows with the targets of each.

        One for each row of the batch, unless an architecture trains on many positions of a history at once.
        """
        return self.encode_users(batch), batch

    def loss_of(self, batch: RetrievalBatch) -> Tensor:
        """Return the training loss of one batch, a scalar with gradient."""
        if not torch.is_grad_enabled():
            return self._loss_of(batch, None)
        with (
            looked_up_rows(self._looked_up_tables, self._spare_gradients) as zeros,
            self._candidate_rows() as rows,
        ):
            loss = self._loss_of(batch, rows)
        for zero in zeros:
            loss = loss + zero
        return loss

    def _loss_of(self, batch: RetrievalBatch, rows: Tensor | None) -> Tensor:
        """Return the loss; ``rows`` are those of the table of items where they are the candidates."""
        users, batch = one_target_a_row(*self.training_users(batch))
        targets = batch.first_targets
        positives = self.encode_items(targets)
        of_users: dict[str, Any] = {}
        if self.loss.needs_user_ids:
            self.loss.epoch, of_users = self.current_epoch, {"user_ids": batch.users}
        chosen = self.select_interest(users, positives)
        of_rows: dict[str, Any] = {"target_ids": targets, "sample_weight": batch.sample_weight, **of_users}
        if rows is not None:
            of_rows["excluded_ids"] = self.negatives.excluded(batch)
            return self._loss_of_table(chosen, positives, rows, of_rows)
        candidates = self.negatives.sample(batch)
        of_rows["excluded_ids"] = candidates.excluded_ids
        vectors = self.encode_items(None if candidates.whole_catalogue else candidates.ids)
        shards, log_prob = self.item_shards, candidates.log_prob
        if candidates.whole_catalogue and shards is not None:
            if log_prob is not None:
                log_prob = log_prob[shards.own_items.start - 1 : shards.own_items.stop - 1]
            return self.loss.from_sharded_embeddings(
                chosen, positives, vectors, shards, candidate_log_prob=log_prob, **of_rows
            )
        return self.loss.from_embeddings(
            chosen,
            positives,
            vectors,
            candidate_ids=candidates.ids,
            candidate_log_prob=log_prob,
            num_sampled=candidates.num_sampled,
            **of_rows,
        )

    def _loss_of_table(
        self, users: Tensor, positives: Tensor, rows: Tensor, of_rows: dict[str, Any]
    ) -> Tensor:
        """Return the loss whose candidates are the rows of the table of items, of which row 0 is padding."""
        of_rows["normalize_candidates"] = self.similarity == "cosine"
        if self.item_shards is not None:
            return self.loss.from_sharded_embeddings(
                users, positives, rows, self.item_shards, of_table=True, **of_rows
            )
        ids = self._row_ids.of(rows)
        return self.loss.from_embeddings(users, positives, rows, candidate_ids=ids, **of_rows)

    def _candidate_rows(self) -> AbstractContextManager[Tensor | None]:
        """Return, for one step, the rows of a table that all are candidates; of None these are encoded."""
        return whole_rows(self._whole_table)

    @property
    def _whole_table(self) -> IdEmbedding | None:
        """The table of items whose every row is a candidate of every step; None: it is not so."""
        return self.plain_item_table if self._takes_whole_tables else None

    @property
    def _takes_whole_tables(self) -> bool:
        """Whether a step compares with the whole catalogue, and its loss takes a table as it is."""
        sampler, loss = type(self.negatives), type(self.loss)
        return (
            sampler.sample is FullCatalogNegatives.sample
            and loss.from_embeddings is RetrievalLoss.from_embeddings
            and loss.from_sharded_embeddings is RetrievalLoss.from_sharded_embeddings
            and self._compiler_ctx is None  # sparse gradients would break the graph
        )

    @property
    def _looked_up_tables(self) -> list[IdEmbedding]:
        """The tables that a step only looks ids up in, and whose gradients are dense."""
        if self._compiler_ctx is not None:  # the gradients of look-ups would break the graph
            return []
        of_all = self.item_embedding if isinstance(self.negatives, FullCatalogNegatives) else None
        tables: dict[int, IdEmbedding] = {}
        for each in self.id_embeddings():
            tables.setdefault(id(each.weight), each)  # users and items may share one, whose gradient is one
        return [each for each in tables.values() if each is not of_all and is_plain(each) and not each.sparse]

    def training_step(self, batch: RetrievalBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite.
        """
        loss = self.loss_of(batch)
        self._note(loss, batch.batch_size)
        return loss

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # a compiled step stops here: what follows is Lightning's
    def _note(self, loss: Tensor, batch_size: int) -> None:
        """Check the loss, and log it every so many steps."""
        logs_now = logs_next_step(self.trainer, "train/loss")
        value = loss.detach()
        # over shards none may stop alone while the others wait for its rows
        together = self.item_shards is not None and (logs_now or value.device.type == "cpu")
        if together or (logs_now and self.trainer.world_size > 1):
            value = mean_of_processes(value)  # what schedulers and callbacks monitor is the same for all
        self._finite.check(value, self.trainer.global_step, wait=logs_now)
        if logs_now:
            # Lightning reads what the progress bar shows after each step: on the host nothing waits for that
            self.log("train/loss", value.cpu(), prog_bar=True, batch_size=batch_size)

    def configure_optimizers(self) -> Any:
        """Build the optimizer and the scheduler of the configuration.

        Raises:
            ValueError: the checkpoint that is about to be resumed has states that are not theirs.
        """
        built = self._optimization.build(
            self.parameters(), [] if self.loss.raw_temperature is None else [self.loss.raw_temperature]
        )
        states, self._saved_states = self._saved_states, None
        if states is not None:
            optimizer, scheduler = built, None
            if isinstance(built, dict):
                optimizer, scheduler = built["optimizer"], built["lr_scheduler"]["scheduler"]
            begun = states[2]
            check_number(states[0], 1, "optimizer_states", begun)
            check_number(states[1], int(scheduler is not None), "lr_schedulers", begun)
            # a scaler of gradients leaves steps out, the first ones perhaps all
            begun = begun and getattr(self.trainer.precision_plugin, "scaler", None) is None
            tables = weights_of(self), shards_of(self)
            keep_own_states([optimizer], states[0][:1], *tables)  # type: ignore[list-item]
            for state in states[0][:1]:
                check_optimizer(optimizer, state, "optimizer_states", begun)
            for state in states[1][:1] if scheduler is not None else ():
                check_scheduler(scheduler, state, "lr_schedulers")
        return built

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients, sparse ones and those in shards too, which PyTorch's own clipping does not."""
        if not gradient_clip_val:  # as in most steps: nothing to look for
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        in_shards = [
            each.weight
            for each in self.modules()
            if isinstance(each, ShardedEmbedding) and each.shards.num_shards > 1
        ]
        weights = list(self.parameters())
        sparse = any(weight.grad is not None and weight.grad.is_sparse for weight in weights)
        if sparse or in_shards:
            algorithm = gradient_clip_algorithm or "norm"
            clip_gradients(weights, float(gradient_clip_val), algorithm, in_shards)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Let go of the gradients; the memory of those of whole large tables is kept for the next step."""
        if not any(worth_keeping(each.weight) for each in self.id_embeddings()):
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)
            return
        kept = [(each, self._spare_gradients.of(each)) for each in self._looked_up_tables]
        if (table := self._whole_table) is not None:
            kept.append((table, self.loss.spare_memory))
        # under DDP a gradient may lie in what the processes exchange
        alone = self._trainer is None or self.trainer.world_size == 1 or self.item_shards is not None
        gradients = [Released.of(each.weight.grad) if alone else None for each, _ in kept]
        super().optimizer_zero_grad(epoch, batch_idx, optimizer)
        for (_, memory), gradient in zip(kept, gradients, strict=True):
            if gradient is not None and gradient.is_free():
                memory.give(gradient.block)

    def teardown(self, stage: str) -> None:
        """Leave a model whose gradients any optimizer can take."""
        if stage == "fit":
            self._optimization.set_sparse(self.id_embeddings(), False)
            self.loss.spare_memory.forget()
            self._spare_gradients.forget()
            self._row_ids.forget()
            if self._row_exchange is not None:
                self._row_exchange.hand_back(self)
                self._row_exchange = None

    def _use_sparse_gradients(self) -> None:
        """Decide for this training; before the strategy wraps the model, which must know."""
        exchange = RowExchange.of(self, self.id_embeddings(), self.trainer)
        self._optimization.decide(
            self.id_embeddings(),
            self.negatives,
            self.trainer,
            compiled=self._compiler_ctx is not None,
            builds=not self._builds_its_own,
            exchanged=exchange is not None,
        )
        if exchange is not None and self._optimization.lazy:
            self._row_exchange = exchange
            exchange.leave_out_of_ddp(self)

    @property
    def _builds_its_own(self) -> bool:
        """Whether a subclass builds the optimizer."""
        return type(self).configure_optimizers is not SampledTraining.configure_optimizers
