"""LeaveOneOut: the last two targets of each user are held out."""

from __future__ import annotations

from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits.base import Split, SplitRows, TargetRows


class LeaveOneOut(Split):
    """Each user's last target is for test, the one before for validation, the others for training.

    The rule of RecBole: a user's targets are all events but the first. Three or more: as above. Two: one for
    training, one for test. One: for training. The events before the targets, and the single event of a user
    who has no more, are for training too.
    """

    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part; evaluation has only users that training saw."""
        position = interactions.positions
        from_end = interactions.lengths[interactions.users] - 1 - position
        targets = interactions.lengths[interactions.users] - 1
        test = (from_end == 0) & (targets >= 2)
        valid = (from_end == 1) & (targets >= 3)
        held_out = test | valid
        return SplitRows(
            train=TargetRows.single((position >= 1) & ~held_out),
            valid=TargetRows.single(valid),
            test=TargetRows.single(test),
            training_events=~held_out,
            unseen_users=False,
        )
