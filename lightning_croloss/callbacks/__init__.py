"""Callbacks: the schedules of the loss, and the report of Recall against N."""

from lightning_croloss.callbacks.croloss_callback import CROLossCallback
from lightning_croloss.callbacks.prediction_writer import PredictionWriter
from lightning_croloss.callbacks.recall_report import RecallReport
from lightning_croloss.callbacks.user_metrics_writer import UserMetricsWriter
from lightning_croloss.schedules import Constant, Cosine, Geometric, Linear, Ramp, Schedule, Steps

__all__ = [
    "CROLossCallback",
    "Constant",
    "Cosine",
    "Geometric",
    "Linear",
    "PredictionWriter",
    "Ramp",
    "RecallReport",
    "Schedule",
    "Steps",
    "UserMetricsWriter",
]
