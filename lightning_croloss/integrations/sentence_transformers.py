"""sentence-transformers: a loss for its trainer, to stand where MultipleNegativesRankingLoss stands."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, cat, nn
from torch.nn.functional import normalize

from croloss_serving.common.switches import check_switches
from lightning_croloss.integrations.citation import CITATION
from lightning_croloss.integrations.counted_items import CountedItems
from lightning_croloss.integrations.framework import framework
from lightning_croloss.integrations.given_loss import given_loss
from lightning_croloss.integrations.ranked_anchors import Anchors, loss_of_anchors
from lightning_croloss.integrations.text_ids import ids_of_columns
from lightning_croloss.losses import RetrievalLoss, SoftmaxLoss

with framework("sentence-transformers", "lightning-croloss[integrations]"):
    from sentence_transformers.util import all_gather, all_gather_with_grad


class SentenceRetrievalLoss(nn.Module):
    """A loss of (anchor, positive, negative, …) texts: those of the other rows are an anchor's negatives too.

    An anchor's positives, in any row, are none of its negatives. Scores are cosines. ``MatryoshkaLoss`` fits.

    Args:
        model: the SentenceTransformer that is trained.
        loss: None = SoftmaxLoss(temperature=0.05): MultipleNegativesRankingLoss with its scale of 20.
        item_counts: for logQ, how often each text is a positive or given negative: ``Counter(positives)``, of
            prompt + text with ``prompts``. Or a tensor (C,) by id: the label column holds their ids.
        symmetric: also take each positive's anchor against the other anchors.
        gather_across_devices: also take the texts of the other processes, with gradient.
    """

    citation = CITATION  # for the model card

    def __init__(
        self,
        model: nn.Module,
        loss: RetrievalLoss | None = None,
        *,
        item_counts: Mapping[str, int] | Tensor | None = None,
        symmetric: bool = False,
        gather_across_devices: bool = False,
    ) -> None:
        super().__init__()
        if not hasattr(model, "preprocess"):
            raise TypeError(f"model must be the SentenceTransformer that trains, got {type(model).__name__}")
        self.model, self.loss = model, given_loss(SoftmaxLoss(temperature=0.05) if loss is None else loss)
        check_switches(symmetric=symmetric, gather_across_devices=gather_across_devices)
        self.symmetric, self.gather = symmetric, gather_across_devices
        self.counted = None if item_counts is None else CountedItems.of(item_counts, model)
        if self.counted is not None and self.loss.num_items is None:
            self.loss.set_num_items(len(self.counted.ids))

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch: the features of each column, and the labels."""
        columns, counted = list(sentence_features), self.counted
        own, ids = ids_of_columns(columns, labels, counted is not None and counted.by_label)
        anchors, *others = (normalize(self.model(column)["sentence_embedding"], dim=-1) for column in columns)
        items = cat(others)
        rows = every = Anchors.of(anchors, columns[0], own)
        if self.gather:
            ids, items = all_gather(ids), all_gather_with_grad(items)
            ranked = all_gather_with_grad(anchors) if self.symmetric else anchors
            every = Anchors(ranked, *map(all_gather, rows[1:]))
        log_prob = None if counted is None else counted(ids, strict=self.model.training)
        given: dict[str, Any] = {"target_ids": own, "excluded_ids": every.known_to(rows), "padding_id": None}
        given |= {"candidate_ids": ids, "candidate_log_prob": log_prob, "num_sampled": len(ids) - 1}
        value = self.loss.from_embeddings(anchors, others[0], items, **given)
        if self.symmetric:
            value = value + loss_of_anchors(self.loss, others[0], rows, every)
        return value / (1 + self.symmetric)

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card says of the loss."""
        config = {"loss": repr(self.loss), "items_counted": self.counted and len(self.counted.ids)}
        return {**config, "symmetric": self.symmetric, "gather_across_devices": self.gather}
