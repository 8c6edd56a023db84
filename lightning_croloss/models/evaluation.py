"""ExactEvaluation: validation and test over the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.metrics import RankMetrics
from lightning_croloss.models.encoder import Encoder
from lightning_croloss.models.metadata import ModelMetadata
from lightning_croloss.recommend.catalogue import Catalogue
from lightning_croloss.recommend.user_vectors import user_vectors

#: Name under which the number of targets is logged that no list can hold, if there are any.
EXCLUDED_TARGETS = "excluded_targets"
#: How values are logged that the metrics have already made of all processes' users: as they are. Without
#: ``sync_dist`` Lightning (2.6) warns that they are of one process; a mean could change their last bit.
SAME_EVERYWHERE: dict[str, Any] = {"sync_dist": True, "reduce_fx": "max"}
#: From which share of the targets on there is a warning.
COMMON = 0.1


class ExactEvaluation(Encoder):
    """The evaluation hooks of Lightning: the catalogue is encoded once, every target ranked exactly.

    Over ``item_shards`` the processes rank together, each the targets of its own users, in as many batches.

    Args:
        ns: the N of every metric @N.
        exclude_history: never rank an item that the user had before. A target among these is a miss.
        tile_elements: number of scores that evaluation holds at a time.

    Attributes:
        metadata: holds the length that histories are cut to.
    """

    metadata: ModelMetadata
    needs_history: bool

    def __init__(self, ns: Sequence[int], exclude_history: bool, tile_elements: int) -> None:
        super().__init__()
        self._exclude_history = exclude_history
        self.tile_elements = tile_elements
        self.metrics = nn.ModuleDict({stage: RankMetrics(ns) for stage in ("val", "test")})
        self._catalogue: Catalogue | None = None
        self._warned_of: set[str] = set()

    @property
    def exclude_history(self) -> bool:
        """Whether items that the user had before are left out; if set, checkpoints keep it too."""
        return self._exclude_history

    @exclude_history.setter
    def exclude_history(self, value: bool) -> None:
        self._exclude_history = value
        if "exclude_history" in self.hparams:
            self.hparams["exclude_history"] = value

    def on_validation_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self._begin("val")

    def validation_step(
        self, batch: RetrievalBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Any]:
        """Rank the targets of a batch among the whole catalogue; see :meth:`test_step`."""
        return self._rank(batch, "val")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all users."""
        self._log("val")

    def on_test_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self._begin("test")

    def test_step(self, batch: RetrievalBatch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Rank the targets of a batch among the whole catalogue.

        Returns:
            Under ``ranks`` the ranks (b, T) of the targets of the users, 0 where there is none, for one piece
            of the batch after another; see :meth:`RetrievalBatch.pieces`.
        """
        return self._rank(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of all users."""
        self._log("test")

    def metric_names(self, stage: str) -> list[str]:
        """Return the names under which the metrics of ``stage`` ("val" or "test") are logged."""
        return [f"{stage}/{name}" for name in self._metrics(stage).names()]

    @property
    def metric_cutoffs(self) -> tuple[int, ...]:
        """The N of every metric @N, ascending."""
        return self._metrics("test").ns

    def user_metrics(self, ranks: Tensor, stage: str = "test") -> dict[str, Tensor]:
        """Return the metrics of each user, (B,) by name, from the ranks (B, T) that :meth:`test_step` gives.

        Args:
            ranks: the ranks of the users' targets, 0 = no target.
            stage: "val" or "test".
        """
        return self._metrics(stage).user_values(ranks, ranks > 0)

    @uncompiled
    def _begin(self, stage: str) -> None:
        found = self.trainer.num_test_batches if stage == "test" else self.trainer.num_val_batches
        if len(found) > 1:
            called = "Trainer.test" if stage == "test" else "Trainer.validate"
            raise ValueError(
                f"{len(found)} loaders of {stage} data were given, and the metrics are those of one: give "
                f"one, and measure the others by a {called} each"
            )
        self._catalogue = Catalogue.of(self)
        # not at the end of the evaluation: reset under Trainer.validate's inference mode, the metrics could
        # not be updated in a fit that follows
        self._metrics(stage).reset()

    def _rank(self, batch: RetrievalBatch, stage: str) -> dict[str, Any]:
        assert self._catalogue is not None
        return self._count(user_vectors(self, batch).float(), batch, stage)

    @uncompiled
    def _count(self, users: Tensor, batch: RetrievalBatch, stage: str) -> dict[str, Any]:
        """Rank the targets of a batch for its users' vectors (B, K, D); nothing here is worth compiling."""
        assert self._catalogue is not None
        self._warn_of_short_histories(batch)
        found, metrics = [], self._metrics(stage)
        for rows, piece in self._catalogue.pieces(batch):
            targets = piece.padded_targets
            excluded = piece.padded_items_before if self.exclude_history else None
            ranks = self._catalogue.ranks(users[rows], targets, excluded, self.tile_elements)
            if not len(ranks):  # over shards, where other processes have more pieces
                continue
            metrics.update(ranks, targets != 0)
            if excluded is not None:
                metrics.few.update(excluded, self._catalogue.num_items)
            found.append(ranks.masked_fill(targets == 0, 0))
        return {"ranks": found}

    @uncompiled
    def _log(self, stage: str) -> None:
        self._catalogue = None
        metrics = self._metrics(stage)
        values = {f"{stage}/{name}": value for name, value in metrics.compute().items()}
        first = next(iter(values))
        self.log(first, values.pop(first), prog_bar=True, **SAME_EVERYWHERE)
        self.log_dict(values, **SAME_EVERYWHERE)
        excluded, targets = (int(count) for count in metrics.excluded.compute())
        if excluded:
            self.log(f"{stage}/{EXCLUDED_TARGETS}", float(excluded), **SAME_EVERYWHERE)
            self._warn_of_repeats(excluded, targets)
        if self.exclude_history:
            self._warn_of_few_candidates(metrics)

    def _warn_of_repeats(self, excluded: int, targets: int) -> None:
        """Say once that many targets are misses whatever the model learns."""
        if excluded < COMMON * targets or "repeats" in self._warned_of or self.trainer.sanity_checking:
            return
        self._warned_of.add("repeats")
        rank_zero_warn(
            f"{excluded:,} of {targets:,} targets are items that their users had before, which "
            "exclude_history leaves out of every list: they count as misses; where repeats are wanted, set "
            "exclude_history to false"
        )

    def _warn_of_few_candidates(self, metrics: RankMetrics) -> None:
        """Say once that for most users an N holds all that may be recommended to them."""
        users, short = metrics.few.compute()
        if "few" in self._warned_of or self.trainer.sanity_checking:
            return
        trivial = [
            n
            for n, count in zip(metrics.ns, short.reshape(-1).tolist(), strict=True)
            if 2 * count > int(users)
        ]
        if trivial:
            self._warned_of.add("few")
            count = int(
                short.reshape(-1)[metrics.ns.index(trivial[0])]
            )  # torchmetrics returns one as a scalar
            rank_zero_warn(
                f"exclude_history leaves at most {trivial[0]} items for {count:,} of {int(users):,} users: "
                f"their recall@{trivial[0]} is high whatever the model; choose smaller ns"
            )

    def _warn_of_short_histories(self, batch: RetrievalBatch) -> None:
        """Say once that a loader of one's own may hold too little to leave out."""
        if not self.exclude_history or batch.whole_history is not None or "histories" in self._warned_of:
            return
        longest = self.metadata.max_history
        if longest is not None and batch.history.shape[1] < longest:  # trimmed to the longest there is
            return
        if bool((batch.history[:, :1] != 0).any()):  # perhaps there were events before
            self._warned_of.add("histories")
            rank_zero_warn(
                f"exclude_history leaves out the last {batch.history.shape[1]} events of each user only, as "
                "the batches have no whole_history: give the trainer the data module itself, or call "
                "prepare_for(DataRequest(whole_history=True)) before you take its loader"
            )

    def _metrics(self, stage: str) -> RankMetrics:
        metrics = self.metrics[stage]
        assert isinstance(metrics, RankMetrics)
        return metrics
