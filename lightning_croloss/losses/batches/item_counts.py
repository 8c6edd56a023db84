"""ItemCounts: the logQ of in-batch negatives from counts, computed once for the same counts."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lightning_croloss.common.unread_values import is_transformed
from lightning_croloss.losses.log_prob import log_prob_from_counts

if TYPE_CHECKING:
    from lightning_croloss.losses.log_prob import Counts

#: Rows that repeat an item, and different values, from which on it is no accident that values follow items.
_FEWEST_REPEATED, _FEWEST_VALUES = 4, 3


@dataclass(frozen=True)
class CountedCatalogue:
    """What the counts of the training data say of the catalogue.

    Attributes:
        log_prob: (C,) log q of each id, −∞ where it never occurs.
        num_items: number of ids that occur.
        least: the smallest log q of those that occur.
    """

    log_prob: Tensor
    num_items: int
    least: float

    def log_prob_of(self, ids: Tensor) -> Tensor:
        """Return log q of each id, (B,).

        Raises:
            ValueError: an id is not among the counts, or never occurs in them. On a device, which such a
                question would wait for, an id that never occurs counts as the rarest does, and one outside
                raises there.
        """
        ids = ids.long()  # what is looked up by uint8 would be taken for a mask
        if ids.device.type != "cpu" or is_transformed(ids):
            return self.log_prob[ids].clamp(min=self.least)
        return self._checked(ids)

    def _checked(self, ids: Tensor) -> Tensor:
        size = self.log_prob.shape[0]
        of_rows = (
            "; the loss itself looks up the counts of rows: give those of all ids, not item_counts[item_ids]"
        ) * (size == ids.shape[0])
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= size):
            raise ValueError(
                f"item_counts is indexed by item_ids and has {size} entries, but item_ids go from "
                f"{int(ids.min())} to {int(ids.max())}: number the items from 0 and give a count for each"
                f"{of_rows}"
            )
        if of_rows and _are_of_rows(self.log_prob, ids):
            raise ValueError(f"item_counts has the same value in all rows of an item{of_rows}")
        log_prob = self.log_prob[ids]
        if (never := torch.isinf(log_prob)).any():
            raise ValueError(
                f"item_counts is 0 for item {int(ids[never][0])}, which is in the batch: count the targets "
                "of all training data, torch.bincount(item_ids_of_all_rows)"
            )
        return log_prob


def _are_of_rows(values: Tensor, ids: Tensor) -> bool:
    """Tell whether values (B,) must be those of B rows, as rows of the same id have the same, which vary."""
    distinct, item = torch.unique(ids, return_inverse=True)
    if len(ids) - len(distinct) < _FEWEST_REPEATED or len(torch.unique(values)) < _FEWEST_VALUES:
        return False
    one_of_item = values.new_zeros(len(distinct)).scatter_(0, item, values)
    return torch.equal(one_of_item[item], values)


def _counted(counts: Counts, device: torch.device) -> CountedCatalogue:
    try:
        log_prob = log_prob_from_counts(counts)
    except (TypeError, ValueError) as error:  # they begin with the argument's name there
        raise type(error)(f"item_{error}") from None
    finite = log_prob[log_prob.isfinite()]
    return CountedCatalogue(log_prob.to(device), len(finite), float(finite.min()))


class _Known(NamedTuple):
    """What was found out, and of what.

    Attributes:
        counted: what was found out.
        given: the counts themselves.
        version: how often PyTorch had seen them change.
        copy: their values then, on a processor.
    """

    counted: CountedCatalogue
    given: weakref.ref[Tensor]
    version: int
    copy: Tensor | None

    def is_of(self, counts: Tensor, device: torch.device) -> bool:
        """Tell whether the counts are the same still.

        On a processor they are compared: others, such as numpy, may share their memory and change them
        unseen. A device would have to be waited for.
        """
        if self.counted.log_prob.device != device:
            return False
        if self.copy is not None and counts.device.type == "cpu":
            return self.copy.dtype == counts.dtype and torch.equal(self.copy, counts)
        return self.given() is counts and not counts.is_inference() and self.version == counts._version


class ItemCounts:
    """Turns counts into :class:`CountedCatalogue`, once for the same counts at each step."""

    def __init__(self) -> None:
        self._known: _Known | None = None

    def of(self, counts: Counts, device: torch.device) -> CountedCatalogue:
        """Return what ``counts`` (C,) say, on a device.

        Raises:
            ValueError: they are no counts.
        """
        if not isinstance(counts, Tensor):  # an array or a list
            return _counted(counts, device)
        known = self._known
        if known is None or not known.is_of(counts, device):
            counted = _counted(counts, device)
            version = -1 if counts.is_inference() else counts._version
            copy = counts.detach().clone() if counts.device.type == "cpu" else None
            known = self._known = _Known(counted, weakref.ref(counts), version, copy)
        return known.counted

    def __deepcopy__(self, memo: dict[int, object]) -> ItemCounts:
        """Return a new one: a weak reference cannot be copied, and what it remembers is found again."""
        return ItemCounts()

    def __reduce__(self) -> tuple[type[ItemCounts], tuple[()]]:
        """Pickle as a new one, likewise."""
        return ItemCounts, ()
