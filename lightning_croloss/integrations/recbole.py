"""RecBole: a mixin that trains its models by CROLoss, and its ``run_recbole`` with the mixin."""

from inspect import signature
from typing import Any
from unittest.mock import patch

from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.integrations.framework import framework
from lightning_croloss.integrations.recbole_model import masked_positions, replace_criterion, unit_items
from lightning_croloss.integrations.recbole_settings import base_of, check_bases

with framework("RecBole", "lightning-croloss[recbole]"):
    from recbole.model.abstract_recommender import AbstractRecommender
    from recbole.utils import get_model


class RetrievalLossMixin(AbstractRecommender):
    """Stands before a RecBole model, ``class CROGRU4Rec(RetrievalLossMixin, GRU4Rec)``, to change its loss.

    CROLoss comes in place of the model's CrossEntropyLoss or BPRLoss; what else the model adds stays. The
    setting ``retrieval_loss`` of RecBole's configuration is a dictionary of CROLoss's arguments and of

    - in_batch: True takes the other rows' items as negatives, with logQ; else all items are;
    - cosine: True gives item embeddings and user vectors unit length, in training and when recommending.

    Models that compute pairs of scores (``loss_type: BPR``) never hold those of the whole catalogue. The
    configuration is the base's: ``Config(model="GRU4Rec", …)``, then ``CROGRU4Rec(config, dataset)``.

    Raises:
        TypeError: the mixin does not stand first.
        ValueError: a model or a setting does not fit, at the first training step at the latest.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take a class whose first base is the mixin."""
        super().__init_subclass__(**kwargs)
        check_bases(cls, RetrievalLossMixin)

    def __init__(self, config: Any, dataset: Any) -> None:
        base = base_of(type(self), RetrievalLossMixin, config["model"])
        super().__init__(config, dataset)
        criterion = replace_criterion(self, base, config, dataset.inter_feat)
        self.__dict__["retrieval_criterion"] = criterion  # without a second name in the state dictionary
        self._tables = not signature(super().forward).parameters  # it returns all users and all items
        if criterion.cosine:
            unit_items(self, base)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model returns, with unit length if ``cosine``."""
        output, criterion = super().forward(*args, **kwargs), self.retrieval_criterion
        parts = list(output) if isinstance(output, tuple) else [output]
        if criterion.cosine:
            parts[: 1 + self._tables] = [unit_length(part) for part in parts[: 1 + self._tables]]
        if criterion.batch is not None:
            own = parts[0][criterion.batch[self.USER_ID]] if self._tables else parts[0]
            table = getattr(self, "item_embedding", None)
            criterion.vectors = own, parts[1] if self._tables else getattr(table, "weight", None)
        return tuple(parts) if isinstance(output, tuple) else parts[0]

    def calculate_loss(self, interaction: Any) -> Any:
        """Return what the model adds up, with the retrieval loss in it."""
        criterion = self.retrieval_criterion
        criterion.expect(interaction, interaction[self.ITEM_ID])
        if hasattr(self, "MASK_INDEX"):  # BERT4Rec makes its criterion anew in each call
            return criterion(*masked_positions(self, criterion))
        total = super().calculate_loss(interaction)
        criterion.check_called()
        return total


def run_recbole(model: str, *args: Any, **kwargs: Any) -> Any:
    """Call ``recbole.quick_start.run_recbole``: the model of this name with :class:`RetrievalLossMixin`."""
    from recbole.quick_start import quick_start  # it needs ray

    mixed = type(model, (RetrievalLossMixin, get_model(model)), {})
    with patch.object(quick_start, "get_model", return_value=mixed):
        return quick_start.run_recbole(model, *args, **kwargs)
