"""Splits: which events are targets of training, validation and test."""

from lightning_croloss.data.splits.base import Split, SplitRows, TargetRows
from lightning_croloss.data.splits.leave_one_out import LeaveOneOut
from lightning_croloss.data.splits.user_disjoint import UserDisjoint

__all__ = ["LeaveOneOut", "Split", "SplitRows", "TargetRows", "UserDisjoint"]
