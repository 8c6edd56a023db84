"""Splits: which events are targets of training, validation and test."""

from lightning_croloss.data.splits.base import Split, SplitRows, TargetRows
from lightning_croloss.data.splits.global_time import GlobalTime
from lightning_croloss.data.splits.leave_one_out import LeaveOneOut
from lightning_croloss.data.splits.per_user_ratio import PerUserRatio
from lightning_croloss.data.splits.predefined import Predefined
from lightning_croloss.data.splits.user_disjoint import UserDisjoint

__all__ = [
    "GlobalTime",
    "LeaveOneOut",
    "PerUserRatio",
    "Predefined",
    "Split",
    "SplitRows",
    "TargetRows",
    "UserDisjoint",
]
