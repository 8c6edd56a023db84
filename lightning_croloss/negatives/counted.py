"""CountedNegatives: the base of samplers whose probabilities follow from the training data."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_croloss.losses.log_prob import log_prob_from_counts
from lightning_croloss.negatives.base import Negatives


class CountedNegatives(Negatives, ABC):
    """A sampler whose probabilities follow from counts; a subclass implements :meth:`probabilities`.

    These are plain tensors, not buffers: training in half precision would round buffers, so that the draws
    would no longer follow the stated probabilities, and a checkpoint must load with any sampler.
    """

    _log_prob: Tensor | None = None

    @abstractmethod
    def probabilities(self, item_counts: Tensor, target_counts: Tensor) -> Tensor:
        """Return the probability of each item in one draw, (num_items,) float64; arguments as in prepare."""

    def prepare(self, item_counts: Tensor, target_counts: Tensor) -> None:
        """Compute the probabilities from the counts of the training data.

        Raises:
            TypeError: the counts are no tensors of numbers.
            ValueError: they are not those of ``num_items`` items, negative, or not finite.
            RuntimeError: ``num_items`` is not known yet.
        """
        num_items = self._known_num_items()
        for name, counts in (("item_counts", item_counts), ("target_counts", target_counts)):
            _check_counts(name, counts, num_items)
        probabilities = self.probabilities(item_counts, target_counts)
        self._log_prob = log_prob_from_counts(torch.nn.functional.pad(probabilities, (1, 0)))

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return log q of each id, of the shape of ``ids``; −∞ for padding and for what is never drawn.

        Raises:
            RuntimeError: the sampler has not seen the training data.
            TypeError, ValueError: the ids are none.
        """
        self._check_prepared()
        assert self._log_prob is not None
        ids = self._checked_ids(ids)
        self._log_prob = self._log_prob.to(ids.device)
        return self._log_prob[ids.long()]

    def _check_prepared(self) -> None:
        num_items = self._known_num_items()
        if self._log_prob is None or self._log_prob.shape[0] != num_items + 1:
            raise RuntimeError(
                f"{type(self).__name__} must see the training data first: train with a RetrievalDataModule, "
                "or call prepare(item_counts, target_counts)"
            )


def _check_counts(name: str, counts: object, num_items: int) -> None:
    if not isinstance(counts, Tensor):
        raise TypeError(
            f"{name} must be a tensor (num_items + 1,), got {type(counts).__name__}: torch.as_tensor({name}) "
            "makes one"
        )
    if counts.shape != (num_items + 1,):
        raise ValueError(
            f"{name} must be (num_items + 1,) with num_items={num_items}, got {tuple(counts.shape)}"
        )
    if counts.is_complex() or counts.dtype == torch.bool:
        raise TypeError(f"{name} must hold numbers, got {counts.dtype}")
    wrong = ~counts.isfinite() | (counts < 0)
    if wrong.any():
        index = int(wrong.nonzero()[0])
        raise ValueError(
            f"{name} must hold finite numbers of at least 0, got {float(counts[index]):g} for id {index}"
        )
