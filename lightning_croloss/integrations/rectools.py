"""RecTools: a lightning module that trains its transformers (SASRec, BERT4Rec, HSTU) by CROLoss."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from rectools.models.nn.transformers.lightning import TransformerLightningModule
from rectools.models.nn.transformers.similarity import DistanceSimilarityModule
from rectools.models.nn.transformers.torch_backbone import TransformerTorchBackbone
from rectools.models.rank import Distance
from torch import Tensor

from lightning_croloss.errors import suggest
from lightning_croloss.losses import CROLoss

#: What takes the place of each loss that RecTools knows by name: all items, or ``n_negatives`` drawn ones.
OWN = signature(TransformerLightningModule.__init__).parameters


class RetrievalLossModule(TransformerLightningModule):
    """Trains a transformer of RecTools, ``SASRecModel(lightning_module_type=RetrievalLossModule, …)``.

    The model's ``loss`` says only what a target is compared with: "softmax", its default, with all items; the
    others with ``n_negatives`` that are drawn uniformly. Padding and masks are not among them. The scores are
    the model's own, by dot product or cosine, divided by its ``logits_t``, and then by the loss's temperature.

    Args:
        retrieval_loss: the arguments of ``CROLoss`` as a plain dictionary, which RecTools writes into configs
            and checkpoints: ``lightning_module_kwargs={"retrieval_loss": {"kernel": "exp", "alpha": 1.2}}``.
            The size of the catalogue comes from the data. None = the defaults.

    Raises:
        ValueError: an argument is out of range; when the model is made or at the latest when it is fitted.
        TypeError: an argument is unknown, or not a dictionary.
    """

    def __init__(self, *args: Any, retrieval_loss: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if unknown := sorted(set(kwargs) - set(OWN)):
            raise TypeError(
                f"lightning_module_kwargs has {unknown[0]!r}, which nobody takes"
                f"{suggest(unknown[0], ['retrieval_loss', *OWN])}"
            )
        if not isinstance(retrieval_loss, Mapping | None):
            raise TypeError(f"retrieval_loss must be a dictionary of CROLoss's arguments, got {retrieval_loss!r}")
        super().__init__(*args, **kwargs)
        self.num_tokens = len(self.item_extra_tokens)  # such as PAD: the first ids
        num_items = len(self.item_external_ids) - self.num_tokens
        self.retrieval_loss = CROLoss(**{"num_items": num_items, **(retrieval_loss or {})})

    @staticmethod
    def requires_negatives(loss: str) -> bool:
        """Return whether a target is compared with drawn items instead of all."""
        drawn = TransformerLightningModule.requires_negatives(loss)
        if drawn is None:
            raise ValueError(
                f"loss={loss!r}: say what a target is compared with, 'softmax' for all items or "
                "'sampled_softmax' for n_negatives drawn ones; the loss itself is that of retrieval_loss"
            )
        return bool(drawn)

    def get_loss_calculator(self) -> None:
        """Return no loss of RecTools."""

    def configure_optimizers(self) -> torch.optim.Adam:
        """Return RecTools' optimizer; a learnable temperature is trained by it too."""
        first = self.optimizer is None
        optimizer = super().configure_optimizers()
        if first and (own := list(self.retrieval_loss.parameters())):
            optimizer.add_param_group({"params": own})
        return optimizer

    def _calc_custom_loss(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        backbone, similarity = self.torch_model, self.torch_model.similarity_module
        own = type(backbone).forward is TransformerTorchBackbone.forward
        if not own or type(similarity) is not DistanceSimilarityModule:
            return self._loss_of_scores(self.get_batch_logits(batch), batch)
        items = backbone.item_model.get_all_embeddings()
        users = backbone.encode_sessions(batch, items)
        if similarity.distance == Distance.COSINE:
            users, items = torch.nn.functional.normalize(users, dim=-1), torch.nn.functional.normalize(items)
        drawn = batch["negatives"] if self._requires_negatives else self._all_items(items)
        return self.retrieval_loss.from_embeddings(
            users / self.logits_t,
            items[batch["y"]],
            items[drawn],
            target_ids=self._item_ids(batch["y"]),
            candidate_ids=self._item_ids(drawn),
            sample_weight=batch["yw"],
        )

    def _calc_custom_loss_outputs(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        scores = self.get_batch_logits(batch)[:, -1:]
        name = "pos_neg_logits" if self._requires_negatives else "logits"
        return {"loss": self._loss_of_scores(scores, batch), name: scores.squeeze()}

    def _loss_of_scores(self, scores: Tensor, batch: dict[str, Tensor]) -> Tensor:
        targets, weight = self._item_ids(batch["y"]), batch["yw"]
        if self._requires_negatives:
            hits = batch["negatives"] == batch["y"].unsqueeze(-1)
            weight = weight * (targets != 0)
            return self.retrieval_loss(
                scores[..., 0], scores[..., 1:], negative_mask=hits, sample_weight=weight
            )
        scores = scores[..., self.num_tokens :]
        return self.retrieval_loss.from_logits(
            scores, targets - 1, ignore_index=-1, sample_weight=weight, class_dim=-1
        )

    def _item_ids(self, tokens: Tensor) -> Tensor:
        """Return item ids from 1, and 0 for all other tokens."""
        return (tokens - self.num_tokens + 1).clamp(min=0)
