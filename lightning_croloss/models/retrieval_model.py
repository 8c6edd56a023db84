"""RetrievalModel: training, exact evaluation and recommendation, shared by every architecture."""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_croloss.callbacks.logging_steps import logs_next_step
from lightning_croloss.configurable import Configurable, class_path, to_config
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.errors import suggest
from lightning_croloss.losses import CROLoss, RetrievalLoss
from lightning_croloss.metrics import RankMetrics
from lightning_croloss.models.checkpoint import CheckpointFacts, check_features
from lightning_croloss.models.finite import FiniteLoss
from lightning_croloss.models.histories import batch_of_histories
from lightning_croloss.models.monitors import check_monitors
from lightning_croloss.models.resume import batches_so_far, count_resumed_epoch, seed_step
from lightning_croloss.negatives import Negatives, UniformNegatives
from lightning_croloss.retrieval import target_ranks, top_items

SIMILARITIES = ("cosine", "dot")


class RetrievalModel(Configurable, LightningModule, ABC):
    """Base of the architectures: a subclass implements :meth:`encode_users` and :meth:`encode_items`.

    Args:
        num_items: size of the catalogue, from the data: item ids are 1 … num_items, 0 is padding.
        embedding_dim: width D of user and item vectors.
        loss: the training loss; None is ``CROLoss()``.
        negatives: the sampler of negatives; None is ``UniformNegatives()``.
        similarity: "cosine" (unit vectors) or "dot".
        ns: the N of every metric @N.
        exclude_history: never rank or recommend an item of the user's history.
        optimizer: any torch optimizer; None is Adam with learning rate 0.001.
        lr_scheduler: any torch learning rate scheduler; None keeps the rate.
        lr_scheduler_interval: "epoch" or "step": how often the scheduler steps.
        tile_elements: number of scores that evaluation holds at a time.

    Attributes:
        predicts_n: number of items that ``Trainer.predict`` recommends to each user.
        predicts_unseen_only: whether it leaves out the items of the history.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        loss: RetrievalLoss | None = None,
        negatives: Negatives | None = None,
        similarity: str = "cosine",
        ns: Sequence[int] = (20, 50, 100, 200, 500),
        exclude_history: bool = False,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: str = "epoch",
        tile_elements: int = 2**24,
    ) -> None:
        super().__init__()
        if num_items < 1:
            raise ValueError(f"num_items must be at least 1, got {num_items}")
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, got {embedding_dim}")
        if similarity not in SIMILARITIES:
            raise ValueError(f"unknown similarity {similarity!r}{suggest(str(similarity), SIMILARITIES)}")
        if lr_scheduler_interval not in ("epoch", "step"):
            raise ValueError(
                f'lr_scheduler_interval must be "epoch" or "step", got {lr_scheduler_interval!r}'
            )
        if max(ns, default=0) > num_items:
            raise ValueError(
                f"ns holds {max(ns)}, but the catalogue has only {num_items} items: every recall@{max(ns)} "
                "would be 1; choose smaller ns"
            )
        self.num_items = num_items
        self.embedding_dim = embedding_dim
        self.loss = CROLoss() if loss is None else loss
        self.negatives = UniformNegatives() if negatives is None else negatives
        self.similarity = similarity
        self.exclude_history = exclude_history
        self.tile_elements = tile_elements
        self._optimizer = _without_numpy(optimizer)
        self._lr_scheduler = _without_numpy(lr_scheduler)
        self._lr_scheduler_interval = lr_scheduler_interval
        if self.loss.num_items is None:
            self.loss.num_items = num_items
        elif self.loss.num_items != num_items:
            raise ValueError(
                f"the loss was given num_items={self.loss.num_items}, but the catalogue has {num_items} "
                "items: leave it out"
            )
        for name, value in self.loss.schedulable().items():
            self.loss.check_value(name, float(value))  # again, now that the catalogue is known
        self.negatives.set_num_items(num_items)
        self.metrics = nn.ModuleDict({stage: RankMetrics(ns) for stage in ("val", "test")})
        self.facts = CheckpointFacts()
        self._finite = FiniteLoss(self.loss)
        self._item_matrix: Tensor | None = None
        self.predicts_n = min(100, num_items)
        self.predicts_unseen_only = True

    def after_init(self) -> None:
        """Keep the hyperparameters as plain types, from which Lightning rebuilds the model."""
        config = {name: to_config(value) for name, value in self._init_arguments.items()}
        config["_class_path"] = class_path(type(self))
        config["_instantiator"] = "lightning.pytorch.cli.instantiate_module"
        self._set_hparams(config)
        self._hparams_initial = copy.deepcopy(self._hparams)
        self._log_hyperparams = True  # to the loggers

    # ------------------------------------------------------------------ what an architecture is

    @abstractmethod
    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the users' vectors, (B, K, D) with K interests, normalised by :meth:`normalize`."""

    @abstractmethod
    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return item vectors, normalised by :meth:`normalize`.

        Args:
            ids: item ids of any shape ``(...)``, or None for the whole catalogue 1 … num_items.

        Returns:
            (..., D), or (num_items, D).
        """

    def select_interest(self, users: Tensor, positives: Tensor) -> Tensor:
        """Choose the vector that stands for each user in training: the interest closest to the target.

        Args:
            users: (B, K, D).
            positives: (B, D) vectors of the targets.

        Returns:
            (B, D).
        """
        if users.shape[1] == 1:
            return users[:, 0]
        closest = torch.einsum("bkd,bd->bk", users, positives).argmax(1)
        return users[torch.arange(users.shape[0], device=users.device), closest]

    def normalize(self, vectors: Tensor) -> Tensor:
        """Bring vectors to unit length if the similarity is cosine."""
        return functional.normalize(vectors, dim=-1) if self.similarity == "cosine" else vectors

    # ------------------------------------------------------------------ training

    def setup(self, stage: str) -> None:
        """Take from the data module what training needs; refuse metrics to monitor that do not exist."""
        data = self.data
        if data is not None:
            self.facts.take_from(data, self.knows_users)
            if stage == "fit":
                self.negatives.prepare(data.item_counts, data.target_counts)
                if self.negatives.exclude_known_positives:
                    data.include_known_positives = True
                self._fill_features(data)
        if stage == "fit":
            check_monitors(self.trainer.callbacks, self.metric_names("val"))  # type: ignore[attr-defined]

    @property
    def data(self) -> RetrievalDataModule | None:
        """The data module that the trainer was given, if it is one of this package's."""
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, RetrievalDataModule) else None

    @property
    def knows_users(self) -> bool:
        """Whether the model has embeddings or features of single users."""
        names = ("user_embedding", "user_feature_embedding")
        return any(getattr(self, name, None) is not None for name in names)

    def on_train_start(self) -> None:
        """Let a run that was resumed in the middle of an epoch be resumed again (see resume.py)."""
        count_resumed_epoch(self.trainer)

    def on_train_batch_start(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Seed the step by its place in training, so that a resumed run draws what the whole run drew."""
        seed_step(self.facts.seed, batches_so_far(self.trainer), self.global_rank)

    def loss_of(self, batch: RetrievalBatch) -> Tensor:
        """Return the training loss of one batch, a scalar with gradient."""
        users = self.encode_users(batch)
        targets = batch.targets[:, 0]
        positives = self.encode_items(targets)
        candidates = self.negatives.sample(batch)
        return self.loss.from_embeddings(
            self.select_interest(users, positives),
            positives,
            self.encode_items(None if candidates.whole_catalogue else candidates.ids),
            target_ids=targets,
            candidate_ids=candidates.ids,
            excluded_ids=candidates.excluded_ids,
            candidate_log_prob=candidates.log_prob,
            num_sampled=candidates.num_sampled,
            sample_weight=batch.sample_weight,
        )

    def training_step(self, batch: RetrievalBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite.
        """
        loss = self.loss_of(batch)
        logs_now = logs_next_step(self.trainer)
        self._finite.check(loss, self.trainer.global_step, wait=logs_now)
        if logs_now:
            self.log("train/loss", loss.detach(), prog_bar=True, batch_size=batch.batch_size)
        return loss

    def configure_optimizers(self) -> Any:
        """Build the optimizer and the scheduler of the configuration."""
        optimizer = (
            torch.optim.Adam(self.parameters(), lr=1e-3)
            if self._optimizer is None
            else self._optimizer(self.parameters())
        )
        if self._lr_scheduler is None:
            return optimizer
        scheduler = self._lr_scheduler(optimizer)
        entry: dict[str, Any] = {"scheduler": scheduler, "interval": self._lr_scheduler_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            entry["monitor"] = getattr(scheduler, "monitor", None)
        return {"optimizer": optimizer, "lr_scheduler": entry}

    # ------------------------------------------------------------------ evaluation

    def on_validation_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self._begin_evaluation("val")

    def validation_step(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Rank the targets of a batch among the whole catalogue."""
        self._rank(batch, "val")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all users."""
        self._log_metrics("val")

    def on_test_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self._begin_evaluation("test")

    def test_step(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Rank the targets of a batch among the whole catalogue."""
        self._rank(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of all users."""
        self._log_metrics("test")

    def on_predict_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self._item_matrix = self._encode_catalogue()

    def predict_step(self, batch: RetrievalBatch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Return the ids (B, n) and scores (B, n) of the best items, n being ``predicts_n``."""
        assert self._item_matrix is not None
        return top_items(
            self.encode_users(batch).float(),
            self._item_matrix,
            self.predicts_n,
            excluded=batch.history if self.predicts_unseen_only else None,
            tile_elements=self.tile_elements,
        )

    def on_predict_epoch_end(self) -> None:
        """Forget the encoded catalogue."""
        self._item_matrix = None

    def metric_names(self, stage: str) -> list[str]:
        """Return the names under which the metrics of ``stage`` ("val" or "test") are logged."""
        return [f"{stage}/{name}" for name in self._metrics(stage).names()]

    # ------------------------------------------------------------------ use

    @torch.no_grad()
    def recommend(
        self,
        histories: Sequence[Sequence[int]] | Tensor,
        n: int = 100,
        exclude_history: bool = True,
        users: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the n best items for each history.

        Args:
            histories: for each user the item ids of its events, oldest first; or a (B, L) tensor of them,
                left-padded with 0.
            n: how many items.
            exclude_history: leave out the items of the history.
            users: (B,) ids of the users, 0 = unknown, for models that use user ids or features; None = all
                unknown.

        Returns:
            ids (B, n) and scores (B, n), best first; where fewer than n items are left, the rest is 0 and −∞.

        Raises:
            ValueError: an id outside 0 … num_items, n outside 1 … num_items, or users that are not one known
                id for each history.
        """
        batch = batch_of_histories(
            histories,
            users,
            num_items=self.num_items,
            num_users=int(getattr(self, "num_users", 0)),
            max_history=self.facts.max_history,
            device=self.device,
        )
        was_training = self.training
        self.eval()
        try:
            vectors = self.encode_users(batch).float()
            matrix = self._encode_catalogue()
        finally:
            self.train(was_training)
        excluded = batch.history if exclude_history else None
        return top_items(vectors, matrix, n, excluded=excluded, tile_elements=self.tile_elements)

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the vocabulary and what exact resume needs beside the weights."""
        self.facts.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back; refuse a checkpoint of another catalogue.

        Raises:
            ValueError: the catalogue, the users or the features of the checkpoint are not those of the model
                or of its data.
        """
        self.facts.load(checkpoint, self.num_items)
        check_features(checkpoint["hyper_parameters"], self.hparams)

    # ------------------------------------------------------------------ inside

    def _encode_catalogue(self) -> Tensor:
        with torch.no_grad():
            return self.encode_items(None).float()

    def _begin_evaluation(self, stage: str) -> None:
        self._item_matrix = self._encode_catalogue()
        # not at the end of the evaluation: reset under Trainer.validate's inference mode, the metrics could
        # not be updated in a fit that follows
        self._metrics(stage).reset()

    def _rank(self, batch: RetrievalBatch, stage: str) -> None:
        assert self._item_matrix is not None
        ranks = target_ranks(
            self.encode_users(batch).float(),
            self._item_matrix,
            batch.targets,
            excluded=batch.history if self.exclude_history else None,
            tile_elements=self.tile_elements,
        )
        self._metrics(stage).update(ranks, batch.targets != 0)

    def _log_metrics(self, stage: str) -> None:
        self._item_matrix = None
        values = {f"{stage}/{name}": value for name, value in self._metrics(stage).compute().items()}
        first = next(iter(values))
        self.log(first, values.pop(first), prog_bar=True)
        self.log_dict(values)

    def _metrics(self, stage: str) -> RankMetrics:
        metrics = self.metrics[stage]
        assert isinstance(metrics, RankMetrics)
        return metrics

    def _fill_features(self, data: RetrievalDataModule) -> None:
        for name, features in zip(("item", "user"), data.features, strict=True):
            embedding = getattr(self, f"{name}_feature_embedding", None)
            if embedding is not None:
                embedding.fill(features)


def _without_numpy(value: Any) -> Any:
    """Make the numbers plain that an optimizer would put into its state, and so into checkpoints."""
    if isinstance(value, functools.partial):
        keywords = {name: _without_numpy(entry) for name, entry in value.keywords.items()}
        return functools.partial(value.func, *value.args, **keywords)
    if isinstance(value, (list, tuple)):
        return type(value)(_without_numpy(entry) for entry in value)
    return value.item() if isinstance(value, np.generic) else value
