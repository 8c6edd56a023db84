"""log_prob_from_counts: the logQ of a sampler that follows counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    #: How often the item of each id occurs.
    Counts = Tensor | ArrayLike | Sequence[float]


def log_prob_from_counts(counts: Counts, exponent: float = 1.0) -> Tensor:
    """Return log q of each item, where q is proportional to ``counts ** exponent``.

    That is what logQ correction takes: how probable each item is as a negative. In-batch negatives follow
    how often an item is a target in the training data.

    Example:
        >>> import torch
        >>> from lightning_croloss import log_prob_from_counts
        >>> train_item_ids = torch.tensor([1, 1, 1, 2])
        >>> log_prob_from_counts(torch.bincount(train_item_ids)).exp()  # id 0 is padding here
        tensor([0.0000, 0.7500, 0.2500])

    Args:
        counts: (C,) how often the item of each id occurs, by id: a tensor, an array or a list of numbers. At
            an id of padding 0. Probabilities and weights will do, as only their ratios matter; logarithms
            will not. A pandas Series must be in the order of ids, its index 0 … C − 1.
        exponent: 1 is proportional to the counts, word2vec draws by 0.75, and 0 is uniform over the items
            that occur.

    Returns:
        (C,) float32, computed in float64, on the device of the counts; −∞ where the count is 0.

    Raises:
        ValueError: counts are negative, not finite, all 0, empty, or not one-dimensional; or the exponent is
            negative or not finite.
        TypeError: counts, or the exponent, are not numbers.
    """
    if not isinstance(exponent, Real) or isinstance(exponent, bool):
        raise TypeError(f"exponent must be a number of at least 0, got {exponent!r}")
    if not 0.0 <= exponent < math.inf:
        raise ValueError(f"exponent must be a finite number of at least 0, got {exponent}")
    weights = _checked(_as_tensor(counts))
    log_counts = weights.log()
    # the most frequent item at 0: no power overflows
    powers = float(exponent) * (log_counts - log_counts.max())
    powers = torch.where(weights > 0, powers, -math.inf)
    log_prob = (powers - powers.logsumexp(0)).float()
    return log_prob.to(counts.device) if isinstance(counts, Tensor) else log_prob


def _as_tensor(counts: Any) -> Tensor:
    """Return counts as a float64 tensor on the CPU."""
    if isinstance(counts, Tensor):
        if counts.dtype == torch.bool or counts.is_complex() or counts.layout != torch.strided:
            kind = f"{counts.dtype}" if counts.layout == torch.strided else f"{counts.layout}"
            raise TypeError(f"counts must be a dense tensor of numbers, got one of {kind}")
        return counts.detach().cpu().double()
    if hasattr(counts, "index") and hasattr(counts, "to_numpy"):
        _check_order(counts.index, len(counts))
    try:
        array = np.asarray(counts)
        if array.dtype.kind not in "iufO" or (array.dtype.kind == "O" and not _all_numbers(array)):
            raise TypeError(array.dtype)
        return torch.tensor(array.astype(np.float64), device="cpu")
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            "counts must be a one-dimensional tensor, array or list of numbers, one for each id from 0, got "
            f"{_described(counts)}"
        ) from None


def _all_numbers(array: np.ndarray[Any, Any]) -> bool:
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in array.flat)


def _check_order(index: Any, size: int) -> None:
    """Refuse the index of a pandas Series if the position of a count is not the item's id.

    ``value_counts`` sorts by frequency: its values alone would be given to other items.
    """
    if not np.array_equal(np.asarray(index), np.arange(size)):
        raise ValueError(
            "counts is indexed by id, but the index of this Series is not 0 … C − 1 in order: call "
            "counts.reindex(range(largest_id + 1), fill_value=0) first"
        )


def _checked(counts: Tensor) -> Tensor:
    """Return (C,) counts if they can be normalised, else raise ``ValueError``."""
    if counts.dim() != 1:
        raise ValueError(
            f"counts must be one-dimensional, (C,), one count for each id, got {tuple(counts.shape)}"
        )
    if not len(counts):
        raise ValueError("counts is empty: give a count for each id, torch.bincount(item_ids)")
    wrong = ~counts.isfinite() | (counts < 0)
    if wrong.any():
        index = int(wrong.nonzero()[0])
        raise ValueError(
            f"counts must be finite numbers of at least 0, got {float(counts[index]):g} for id {index}: "
            "give counts or probabilities, not their logarithms"
        )
    if not counts.any():
        raise ValueError("counts are all 0: at least one item must occur, count the training data's targets")
    return counts


def _described(counts: object) -> str:
    text = repr(counts)
    return f"{type(counts).__name__} {text if len(text) <= 60 else text[:60] + '…'}"
