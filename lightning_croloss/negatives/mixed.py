"""MixedNegatives: several samplers together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.negatives.base import Candidates, Negatives


class MixedNegatives(Negatives):
    """The draws of several samplers, each corrected by the density of the mixture.

    Yang et al., "Mixed Negative Sampling for Learning Two-tower Neural Networks in Recommendations", WWW
    2020. With M_k draws of part k the density of an item is ``Σ_k (M_k / M) q_k``, whichever part drew it.

    Args:
        parts: the samplers, at least two, whose draws are shared by the batch.
        exclude_known_positives: also ignore the user's other training items.

    Raises:
        ValueError: fewer than two parts, or one that takes the whole catalogue, draws for each row, or
            excludes known positives on its own.
        TypeError: a part is not a sampler.
    """

    _draws: tuple[int, ...] = ()

    def __init__(self, parts: Sequence[Negatives], exclude_known_positives: bool = False) -> None:
        super().__init__(exclude_known_positives)
        if len(parts) < 2:
            raise ValueError(f"MixedNegatives needs at least two parts, got {len(parts)}")
        for part in parts:
            name = type(part).__name__
            if not isinstance(part, Negatives):
                raise TypeError(f"the parts of a mixture are samplers of negatives, got {part!r}")
            if part.uses_whole_catalogue:
                raise ValueError(f"{name} holds every item already: use it alone")
            if not part.shared:
                raise ValueError(f"the parts of a mixture share their draws: set shared of {name} to true")
            if part.exclude_known_positives:
                raise ValueError(f"set exclude_known_positives of MixedNegatives, not of its part {name}")
        self.parts = torch.nn.ModuleList(parts)

    def set_num_items(self, num_items: int) -> None:
        """Pass the size of the catalogue on to the parts."""
        super().set_num_items(num_items)
        for part in self._parts():
            part.set_num_items(num_items)

    def prepare(self, item_counts: Tensor, target_counts: Tensor) -> None:
        """Pass the counts on to the parts."""
        for part in self._parts():
            part.prepare(item_counts, target_counts)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return log q of the mixture for the numbers of draws of the last sample.

        Raises:
            RuntimeError: nothing has been sampled, so that the parts' numbers of draws are not known.
        """
        if not self._draws:
            raise RuntimeError("the density of MixedNegatives depends on the parts' draws: sample first")
        total = sum(self._draws)
        terms = [
            part.log_prob(ids) + (math.log(draws / total) if draws else -math.inf)
            for part, draws in zip(self._parts(), self._draws, strict=True)
        ]
        return torch.logsumexp(torch.stack(terms), dim=0)

    def sample(self, batch: RetrievalBatch) -> Candidates:
        """Return the (M,) draws of all parts."""
        drawn = [part.sample(batch) for part in self._parts()]
        self._draws = tuple(
            len(part.ids) if part.num_sampled is None else int(part.num_sampled) for part in drawn
        )
        ids = torch.cat([part.ids for part in drawn])
        return Candidates(ids, self.log_prob(ids), self.excluded(batch), num_sampled=sum(self._draws))

    def _parts(self) -> list[Negatives]:
        # not children(), which leaves out a part that is given twice
        return [part for part in self.parts if isinstance(part, Negatives)]
