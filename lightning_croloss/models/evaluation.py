"""ExactEvaluation: validation and test over the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.metrics import RankMetrics
from lightning_croloss.models.encoder import Encoder
from lightning_croloss.retrieval import target_ranks


class ExactEvaluation(Encoder):
    """The evaluation hooks of Lightning: the catalogue is encoded once, every target ranked exactly.

    Args:
        ns: the N of every metric @N.
        exclude_history: never rank an item that the user had before.
        tile_elements: number of scores that evaluation holds at a time.
    """

    def __init__(self, ns: Sequence[int], exclude_history: bool, tile_elements: int) -> None:
        super().__init__()
        self.exclude_history = exclude_history
        self.tile_elements = tile_elements
        self.metrics = nn.ModuleDict({stage: RankMetrics(ns) for stage in ("val", "test")})
        self._item_matrix: Tensor | None = None

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

    def metric_names(self, stage: str) -> list[str]:
        """Return the names under which the metrics of ``stage`` ("val" or "test") are logged."""
        return [f"{stage}/{name}" for name in self._metrics(stage).names()]

    def _begin(self, stage: str) -> None:
        self._item_matrix = self.encode_catalogue()
        # not at the end of the evaluation: reset under Trainer.validate's inference mode, the metrics could
        # not be updated in a fit that follows
        self._metrics(stage).reset()

    def _rank(self, batch: RetrievalBatch, stage: str) -> None:
        assert self._item_matrix is not None
        ranks = target_ranks(
            self.encode_users(batch).float(),
            self._item_matrix,
            batch.targets,
            excluded=batch.items_before if self.exclude_history else None,
            tile_elements=self.tile_elements,
        )
        self._metrics(stage).update(ranks, batch.targets != 0)

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
