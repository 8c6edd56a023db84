"""RecTools: a lightning module that trains its transformers (SASRec, BERT4Rec, HSTU) by CROLoss."""

from inspect import signature
from typing import Any

from torch import Tensor, arange
from torch.nn.functional import normalize

from lightning_croloss.errors import suggest
from lightning_croloss.integrations.framework import framework
from lightning_croloss.losses import CROLoss

with framework("RecTools", "rectools[torch]"):
    from rectools.models.nn.transformers.lightning import TransformerLightningModule
    from rectools.models.nn.transformers.similarity import DistanceSimilarityModule
    from rectools.models.nn.transformers.torch_backbone import TransformerTorchBackbone as Backbone


class RetrievalLossModule(TransformerLightningModule):
    """Trains a transformer of RecTools, ``SASRecModel(lightning_module_type=RetrievalLossModule, …)``.

    The model's ``loss`` only says what a target is compared with: "softmax", its default, with all items; the
    others with ``n_negatives`` drawn ones, never padding or masks. A ``negative_sampler_type`` that does not
    draw uniformly puts log q (B, L, n_negatives) into its ``batch_dict["negative_log_prob"]``. The scores are
    the model's own, by dot product or cosine, divided by its ``logits_t`` and then by the loss's temperature.

    Args:
        retrieval_loss: CROLoss's arguments, such as ``{"kernel": "exp", "alpha": 1.2}``. N is the data's.
    """

    def __init__(self, *args: Any, retrieval_loss: dict[str, Any] | None = None, **kwargs: Any) -> None:
        known = ["retrieval_loss", *signature(TransformerLightningModule.__init__).parameters]
        if unknown := [name for name in kwargs if name not in known]:
            raise TypeError(f"unknown {unknown[0]!r} in lightning_module_kwargs{suggest(unknown[0], known)}")
        if not isinstance(given := {} if retrieval_loss is None else retrieval_loss, dict):
            raise TypeError(f"retrieval_loss must be a dictionary of CROLoss's arguments, got {given!r}")
        super().__init__(*args, **kwargs)
        if self._requires_negatives is None or given.get("reduction") == "none":
            raise ValueError(f"loss={self.loss!r}: take 'softmax' or 'sampled_softmax', no reduction='none'")
        self.first = len(self.item_extra_tokens)  # the first item's token, after PAD and the like
        self.retrieval_loss = CROLoss(**{"num_items": len(self.item_external_ids) - self.first, **given})

    def get_loss_calculator(self) -> None:
        """Return None: the loss is a custom one."""

    def configure_optimizers(self) -> Any:
        """Return RecTools' optimizer, which a learnable temperature has joined."""
        begins, optimizer = self.optimizer is None, super().configure_optimizers()
        if begins and (own := list(self.retrieval_loss.parameters())):
            optimizer.add_param_group({"params": own})
        return optimizer

    def _calc_custom_loss(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        model, similarity = self.torch_model, self.torch_model.similarity_module
        if type(similarity) is not DistanceSimilarityModule or type(model).forward is not Backbone.forward:
            return self._loss_of(self.get_batch_logits(batch), batch)
        users = model.encode_sessions(batch, items := model.item_model.get_all_embeddings())
        if similarity.distance.value == "cosine":
            users, items = normalize(users, dim=-1), normalize(items, dim=-1)
        drawn = batch.get("negatives", arange(self.first, len(items), device=items.device))
        vectors = users / self.logits_t, items[batch["y"]], items[drawn]
        ids: dict[str, Any] = {"target_ids": self._ids(batch["y"]), "candidate_ids": self._ids(drawn)}
        ids["candidate_log_prob"] = batch.get("negative_log_prob")
        return self.retrieval_loss.from_embeddings(*vectors, **ids, sample_weight=batch["yw"])

    def _calc_custom_loss_outputs(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        scores, name = self.get_batch_logits(batch)[:, -1:], "pos_neg_logits" * bool(self._requires_negatives)
        return {"loss": self._loss_of(scores, batch), name or "logits": scores.squeeze()}

    def _loss_of(self, scores: Tensor, batch: dict[str, Tensor]) -> Tensor:
        loss, ids = self.retrieval_loss, self._ids(batch["y"])
        rest: dict[str, Any] = {"sample_weight": batch["yw"] * (ids != 0)}
        if not self._requires_negatives:
            return loss.from_logits(scores[..., self.first :], ids - 1, ignore_index=-1, class_dim=-1, **rest)
        hits, q = batch["negatives"] == batch["y"][..., None], batch.get("negative_log_prob")
        return loss.forward(scores[..., 0], scores[..., 1:], negative_mask=hits, negative_log_prob=q, **rest)

    def _ids(self, tokens: Tensor) -> Tensor:
        return (tokens - self.first + 1).clamp(min=0)  # items from 1, and 0 for all else
