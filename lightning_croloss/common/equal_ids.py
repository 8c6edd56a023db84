"""EqualIds: ids in groups of equal ones, of which nobody asks how many there are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: How many terms are added up one after the other: the root of a number of equal ids that often comes.
_MOST_IN_TURN = 128


class EqualIds(NamedTuple):
    """Ids in ascending order, each with its group. No size depends on them: a device is not waited for.

    Attributes:
        ids: (n,) ascending.
        order: (n,) which of the given ids each is; equal ones in the given order.
        group: (n,) number of the group of each, from 0 on.
        is_first: (n,) bool, which is the first of its group.
    """

    ids: Tensor
    order: Tensor
    group: Tensor
    is_first: Tensor

    @classmethod
    def of(cls, ids: Tensor) -> EqualIds:
        """Group ids (n,)."""
        ids, order = ids.sort(stable=True)
        is_first = torch.ones_like(ids, dtype=torch.bool)
        is_first[1:] = ids[1:] != ids[:-1]
        return cls(ids, order, is_first.cumsum(0) - 1, is_first)

    def sums(self, values: Tensor) -> Tensor:
        """Return for each id, in ascending order, the sum of its group's values, the same in each run.

        Args:
            values: (n, …) of the ids as they were given.
        """
        terms = values[self.order]
        # a device adds up the equal ones one after the other: what comes often is added up in parts before,
        # padding for instance
        number = torch.arange(len(terms), device=terms.device)
        part = (self.is_first | (number % _MOST_IN_TURN == 0)).cumsum(0) - 1
        # what is beyond the last part is nothing, each of another group
        group_of_part = number.clone().index_copy_(0, part, self.group)
        return _added(_added(terms, part), group_of_part)[self.group]


def _added(terms: Tensor, places: Tensor) -> Tensor:
    """Return zeros to which terms (n, …) are added at places (n,)."""
    # not index_add_: by the atomic additions of a device each run would round in another order
    return torch.zeros_like(terms).index_put_((places,), terms, accumulate=True)
