"""Data: interactions, splits, batches and the modules that bring them to Lightning."""

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.features import Feature, build_feature
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.loader import BatchLoader
from lightning_croloss.data.recbole.datamodule import RecBoleDataModule
from lightning_croloss.data.recipients import Recipients
from lightning_croloss.data.report import Counts, PreparationReport, PreparationStep
from lightning_croloss.data.request import DataRequest
from lightning_croloss.data.sequences import SequenceDataset
from lightning_croloss.data.splits import (
    GlobalTime,
    LeaveOneOut,
    PerUserRatio,
    Predefined,
    Split,
    SplitRows,
    TargetRows,
    UserDisjoint,
)
from lightning_croloss.data.table.datamodule import TableDataModule

__all__ = [
    "BatchLoader",
    "Counts",
    "DataRequest",
    "Feature",
    "GlobalTime",
    "Interactions",
    "LeaveOneOut",
    "PerUserRatio",
    "Predefined",
    "PreparationReport",
    "PreparationStep",
    "RecBoleDataModule",
    "Recipients",
    "RetrievalBatch",
    "RetrievalDataModule",
    "SequenceDataset",
    "Split",
    "SplitRows",
    "TableDataModule",
    "TargetRows",
    "UserDisjoint",
    "Vocabulary",
    "build_feature",
]
