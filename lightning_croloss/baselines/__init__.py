"""What a model must beat: popularity, and the nearest neighbours of the items in the history."""

from lightning_croloss.baselines.item_knn import ItemKNN, item_similarity
from lightning_croloss.baselines.measuring import Baseline, baseline_ranks, measure_baselines
from lightning_croloss.baselines.popularity import Popularity

__all__ = ["Baseline", "ItemKNN", "Popularity", "baseline_ranks", "item_similarity", "measure_baselines"]
