"""PerUserRatio: the first events of each user for training, the next for validation, the last for test."""

from __future__ import annotations

from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits.base import Split, SplitRows
from lightning_croloss.data.splits.fractions import check_whole, share
from lightning_croloss.data.splits.parts import TEST, TRAIN, VALID, rows_of_parts


class PerUserRatio(Split):
    """Each user's events in their order: the first are for training, then validation, the last for test.

    The rule of RecBole: the shares of validation and test are rounded down, training has the rest. Where a
    share comes to less than one event it is one, for test first, as long as training keeps one. So a user
    with one event has it in training, one with two the last in test.

    Training has one row for each event but the user's first; validation and test have one row a user, with
    everything before as history (that of test includes the validation events).

    Args:
        train: fraction of a user's events for training.
        valid: fraction for validation.
        test: fraction for test.

    Raises:
        ValueError: if a fraction is not between 0 and 1 or they do not sum to 1.
    """

    def __init__(self, train: float = 0.8, valid: float = 0.1, test: float = 0.1) -> None:
        super().__init__()
        check_whole(train, valid, test)
        self.train, self.valid, self.test = train, valid, test

    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part; evaluation has only users that training saw."""
        length = interactions.lengths
        test = share(length, self.test)
        valid = share(length, self.valid)
        test += (test == 0) & (length - valid > 1)
        valid += (valid == 0) & (length - test > 1)
        from_end = length[interactions.users] - 1 - interactions.positions
        parts = interactions.users.new_full((len(interactions),), TRAIN)
        parts[from_end < (test + valid)[interactions.users]] = VALID
        parts[from_end < test[interactions.users]] = TEST
        return rows_of_parts(interactions, parts)
