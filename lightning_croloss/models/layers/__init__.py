"""Parts that the architectures share."""

from lightning_croloss.common.checks import check_choice, check_counts, check_probability, check_widths
from lightning_croloss.models.layers.features import FeatureEmbedding, feature_embedding
from lightning_croloss.models.layers.history_dropout import drop_history
from lightning_croloss.models.layers.mlp import mlp
from lightning_croloss.models.layers.pooling import POOLINGS, pool_history
from lightning_croloss.models.layers.positions import places_from_end

__all__ = [
    "POOLINGS",
    "FeatureEmbedding",
    "check_choice",
    "check_counts",
    "check_probability",
    "check_widths",
    "drop_history",
    "feature_embedding",
    "mlp",
    "places_from_end",
    "pool_history",
]
