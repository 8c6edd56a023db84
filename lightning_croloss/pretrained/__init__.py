"""The zoo: pretrained models that can be listed, loaded, saved and shared.

A pretrained model is a folder ``<dataset>/<model>`` of ``model.safetensors``, ``config.yaml``,
``vocabulary.parquet``, ``metrics.json``, the model card ``README.md``, and ``manifest.json`` with the format
version and the checksums. A public name is imported when it is first used, so that listing needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "Matching": "fine_tuning",
    "find_pretrained": "registry",
    "list_pretrained": "registry",
    "load_for_evaluation": "evaluation",
    "load_matching": "fine_tuning",
    "load_pretrained": "loading",
    "push_to_hub": "pushing",
    "save_pretrained": "saving",
}


def __getattr__(name: str) -> Any:
    """Return a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names too."""
    return sorted({*globals(), *__all__})
