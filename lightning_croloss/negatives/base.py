"""Negatives: which items a positive is compared with, and with what probability each was drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import check_counts
from lightning_croloss.common.counting_ids import counting_ids
from lightning_croloss.common.item_lists import Ids
from lightning_croloss.common.unread_values import is_unread
from lightning_croloss.configurable import Configurable
from lightning_croloss.data.batch import RetrievalBatch


@dataclass(frozen=True)
class Candidates:
    """The draws of one step, in the form that ``RetrievalLoss.from_embeddings`` takes.

    Attributes:
        ids: (M,) item ids shared by the batch, or (B, M); 0 = padding, which is not a draw.
        log_prob: (M,) or (B, M) log q of each id in one draw; None = uniform over the catalogue.
        excluded_ids: (B, E) items that are not negatives for a row, padded with 0, or lists of them; None =
            only its target.
        num_sampled: number of draws, if it is not the number of ids other than padding.
        whole_catalogue: the ids are 1 … num_items in order, so that the item matrix needs no look-up.
    """

    ids: Tensor
    log_prob: Tensor | None = None
    excluded_ids: Ids | None = None
    num_sampled: int | Tensor | None = None
    whole_catalogue: bool = False


class WholeCatalogue(Candidates):
    """Every item as a candidate: 1 … num_items, of which nobody lists the ids who does not ask for them.

    Args:
        num_items: size of the catalogue.
        device: of the ids.
        log_prob: as in ``Candidates``, (num_items,).
        excluded_ids: as in ``Candidates``.
    """

    def __init__(
        self,
        num_items: int,
        device: torch.device,
        log_prob: Tensor | None = None,
        excluded_ids: Ids | None = None,
    ) -> None:
        # not of its base, whose ids are there
        values = {"log_prob": log_prob, "excluded_ids": excluded_ids, "num_sampled": None}
        for name, value in {**values, "whole_catalogue": True, "_listed": (num_items, device)}.items():
            object.__setattr__(self, name, value)

    @cached_property
    def ids(self) -> Tensor:  # type: ignore[override]
        """All ids, (num_items,)."""
        num_items, device = self._listed  # type: ignore[attr-defined]
        return counting_ids(1, num_items, device)


class Negatives(Configurable, nn.Module, ABC):
    """A sampler of negatives: draws with replacement, from PyTorch's global generator.

    A draw that equals the row's target is ignored by the loss, but counted as a draw.

    Args:
        exclude_known_positives: also ignore draws that the user is known to like: the items of the user's
            training events. The data module then sends them along with each batch.

    Attributes:
        num_items: size of the catalogue, 0 until it is known.
        uses_whole_catalogue: whether every item is a candidate of every step.
        shared: whether all rows of a batch share the draws.
    """

    uses_whole_catalogue = False
    shared: bool = True

    def __init__(self, exclude_known_positives: bool = False) -> None:
        super().__init__()
        self.exclude_known_positives = exclude_known_positives
        self.num_items = 0

    def prepare(self, item_counts: Tensor, target_counts: Tensor) -> None:
        """Take what the sampler must know about the training data; called before training starts.

        Args:
            item_counts: (num_items + 1,) number of training events of each item; 0 at padding.
            target_counts: (num_items + 1,) number of training targets of each item; 0 at padding.
        """

    def set_num_items(self, num_items: int) -> None:
        """Take the size of the catalogue; called by ``RetrievalModel``.

        Raises:
            ValueError: it is no whole number of at least 1.
        """
        check_counts(num_items=num_items)
        self.num_items = num_items

    @abstractmethod
    def log_prob(self, ids: Tensor) -> Tensor:
        """Return log q of each id, of the shape of ``ids``: its probability in one draw; −∞ for padding."""

    @abstractmethod
    def sample(self, batch: RetrievalBatch) -> Candidates:
        """Draw the negatives of one batch, on its device."""

    def excluded(self, batch: RetrievalBatch) -> Ids | None:
        """Return the (B, E) items that are not negatives, if known positives are excluded.

        Raises:
            ValueError: the batch does not carry the known positives.
        """
        if not self.exclude_known_positives:
            return None
        if batch.known_positives is None:
            raise ValueError(
                "exclude_known_positives needs batches with known_positives: call prepare_for("
                "DataRequest(known_positives=True)) on the data module before it makes its loaders"
            )
        return batch.known_positives

    def _checked_ids(self, ids: Tensor) -> Tensor:
        """Return ids of which log q is asked. Their values are looked at on the CPU, as no device may wait.

        Raises:
            TypeError: they are no tensor of integers.
            ValueError: one is no item's and no padding.
            RuntimeError: the size of the catalogue is not known yet.
        """
        if not isinstance(ids, Tensor):
            raise TypeError(f"ids must be a tensor of item ids, got {type(ids).__name__}")
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise TypeError(f"ids must be integers, got {ids.dtype}: give ids.long()")
        num_items = self._known_num_items()
        if ids.device.type == "cpu" and ids.numel() and not is_unread(ids):
            low, high = (int(end) for end in torch.aminmax(ids))
            if low < 0 or high > num_items:
                raise ValueError(
                    f"ids must be in 0 … {num_items}, the number of items (0 = padding), got "
                    f"{low if low < 0 else high}"
                )
        return ids

    def _known_num_items(self) -> int:
        """Return the size of the catalogue.

        Raises:
            RuntimeError: it is not known yet.
        """
        if self.num_items < 1:
            raise RuntimeError(
                f"{type(self).__name__} does not know the catalogue: give it to a RetrievalModel, or call "
                "set_num_items(num_items)"
            )
        return self.num_items
