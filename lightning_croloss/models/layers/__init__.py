"""Parts that the architectures share."""

from lightning_croloss.models.layers.event_features import EventFeatureEmbedding
from lightning_croloss.models.layers.features import FeatureEmbedding, feature_embedding
from lightning_croloss.models.layers.history_dropout import drop_history
from lightning_croloss.models.layers.id_embedding import id_embedding, id_embeddings, rows_of_ids
from lightning_croloss.models.layers.mlp import mlp
from lightning_croloss.models.layers.pooling import POOLINGS, pool_events, pool_history
from lightning_croloss.models.layers.positions import positions_from_end

__all__ = [
    "POOLINGS",
    "EventFeatureEmbedding",
    "FeatureEmbedding",
    "drop_history",
    "feature_embedding",
    "id_embedding",
    "id_embeddings",
    "mlp",
    "pool_events",
    "pool_history",
    "positions_from_end",
    "rows_of_ids",
]
