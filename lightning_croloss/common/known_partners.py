"""The partners of ids that come in pairs: the items of each user, as far as a batch of pairs tells."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.equal_ids import EqualIds
from lightning_croloss.common.item_lists import ItemLists


def known_partners(own: Tensor, ids: Tensor, partners: Tensor) -> ItemLists:
    """Return for each row the partners that its id has in the pairs.

    None of them is a negative of the row: an item of one of the user's pairs, or a user of one of the item's.
    No size depends on an id, so that a device is not waited for.

    Args:
        own: (B,) ids of the rows, each of which some pair has.
        ids: (P,) those of the pairs.
        partners: (P,) ids of their other halves.
    """
    equal = EqualIds.of(ids)
    # as many lists as pairs: how many ids differ is not asked, and those beyond the last id are empty
    offsets = torch.searchsorted(equal.group, torch.arange(len(ids) + 1, device=ids.device))
    return ItemLists(partners[equal.order], offsets, equal.group[torch.searchsorted(equal.ids, own)])
