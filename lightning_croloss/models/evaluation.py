"""ExactEvaluation: validation, test and prediction over the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.metrics import RankMetrics
from lightning_croloss.models.encoder import Encoder
from lightning_croloss.retrieval import target_ranks, top_items


class ExactEvaluation(Encoder):
    """The evaluation hooks of Lightning: the catalogue is encoded once, every target ranked exactly.

    Args:
        ns: the N of every metric @N.
        exclude_history: never rank an item that the user had before.
        tile_elements: number of scores that evaluation holds at a time.

    Attributes:
        predicts_n: number of items that ``Trainer.predict`` recommends to each user.
        predicts_unseen_only: whether it leaves out the items that the user had before.
    """

    def __init__(self, ns: Sequence[int], exclude_history: bool, tile_elements: int) -> None:
        super().__init__()
        self.exclude_history = exclude_history
        self.tile_elements = tile_elements
        self.metrics = nn.ModuleDict({stage: RankMetrics(ns) for stage in ("val", "test")})
        self._item_matrix: Tensor | None = None
        self.predicts_n = 100
        self.predicts_unseen_only = True

    def on_validation_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self._begin("val")

    def validation_step(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Rank the targets of a batch among the whole catalogue."""
        self._rank(batch, "val")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all users."""
        self._log("val")

    def on_test_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self._begin("test")

    def test_step(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Rank the targets of a batch among the whole catalogue."""
        self._rank(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of all users."""
        self._log("test")

    def on_predict_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self._item_matrix = self.encode_catalogue()

    def predict_step(self, batch: RetrievalBatch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Return the ids (B, n) and scores (B, n) of the best items, n being ``predicts_n``."""
        assert self._item_matrix is not None
        users = self.encode_users(batch).float()
        found = [
            top_items(
                users[rows],
                self._item_matrix,
                self.predicts_n,
                excluded=piece.padded_items_before if self.predicts_unseen_only else None,
                tile_elements=self.tile_elements,
            )
            for rows, piece in batch.pieces()
        ]
        ids, scores = zip(*found, strict=True)
        return torch.cat(ids), torch.cat(scores)

    def on_predict_epoch_end(self) -> None:
        """Forget the encoded catalogue."""
        self._item_matrix = None

    def metric_names(self, stage: str) -> list[str]:
        """Return the names under which the metrics of ``stage`` ("val" or "test") are logged."""
        return [f"{stage}/{name}" for name in self._metrics(stage).names()]

    @uncompiled
    def _begin(self, stage: str) -> None:
        self._item_matrix = self.encode_catalogue()
        # not at the end of the evaluation: reset under Trainer.validate's inference mode, the metrics could
        # not be updated in a fit that follows
        self._metrics(stage).reset()

    def _rank(self, batch: RetrievalBatch, stage: str) -> None:
        assert self._item_matrix is not None
        self._count(self.encode_users(batch).float(), batch, stage)

    @uncompiled
    def _count(self, users: Tensor, batch: RetrievalBatch, stage: str) -> None:
        """Rank the targets of a batch for its users' vectors (B, K, D); nothing here is worth compiling."""
        assert self._item_matrix is not None
        for rows, piece in batch.pieces():
            targets = piece.padded_targets
            ranks = target_ranks(
                users[rows],
                self._item_matrix,
                targets,
                excluded=piece.padded_items_before if self.exclude_history else None,
                tile_elements=self.tile_elements,
            )
            self._metrics(stage).update(ranks, targets != 0)

    @uncompiled
    def _log(self, stage: str) -> None:
        self._item_matrix = None
        values = {f"{stage}/{name}": value for name, value in self._metrics(stage).compute().items()}
        first = next(iter(values))
        self.log(first, values.pop(first), prog_bar=True)
        self.log_dict(values)

    def _metrics(self, stage: str) -> RankMetrics:
        metrics = self.metrics[stage]
        assert isinstance(metrics, RankMetrics)
        return metrics
