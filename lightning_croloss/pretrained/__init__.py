"""The zoo: pretrained models that can be listed, loaded, saved and shared.

A pretrained model is a folder ``<dataset>/<model>`` of ``model.safetensors``, ``config.yaml``,
``vocabulary.parquet``, ``metrics.json``, the model card ``README.md``, and ``manifest.json`` with the format
version and the checksums.
"""

from lightning_croloss.pretrained.evaluation import load_for_evaluation
from lightning_croloss.pretrained.fine_tuning import Matching, load_matching
from lightning_croloss.pretrained.loading import load_pretrained
from lightning_croloss.pretrained.pushing import push_to_hub
from lightning_croloss.pretrained.registry import find_pretrained, list_pretrained
from lightning_croloss.pretrained.saving import save_pretrained

__all__ = [
    "Matching",
    "find_pretrained",
    "list_pretrained",
    "load_for_evaluation",
    "load_matching",
    "load_pretrained",
    "push_to_hub",
    "save_pretrained",
]
