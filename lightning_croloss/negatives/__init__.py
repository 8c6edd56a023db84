"""Samplers of negatives: ids, log-probabilities, and what to exclude."""

from lightning_croloss.negatives.base import Candidates, Negatives, WholeCatalogue
from lightning_croloss.negatives.counted import CountedNegatives
from lightning_croloss.negatives.full_catalog import FullCatalogNegatives
from lightning_croloss.negatives.in_batch import InBatchNegatives
from lightning_croloss.negatives.mixed import MixedNegatives
from lightning_croloss.negatives.popularity import PopularityNegatives
from lightning_croloss.negatives.uniform import UniformNegatives

__all__ = [
    "Candidates",
    "CountedNegatives",
    "FullCatalogNegatives",
    "InBatchNegatives",
    "MixedNegatives",
    "Negatives",
    "PopularityNegatives",
    "UniformNegatives",
    "WholeCatalogue",
]
