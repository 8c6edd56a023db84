"""Serve what lightning-croloss exported, without torch: onnxruntime and numpy, or a faiss index.

lightning-croloss depends on this package and has it write the files that are read here. A public name is
imported when it is first used, so that the errors alone need not even numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from croloss_serving.recommend.item_table import ItemTable
    from croloss_serving.recommend.results import Recommendations, UserRecommendations
    from croloss_serving.recommender import Recommender

__version__ = "0.1.0"
__all__ = ["ItemTable", "Recommendations", "Recommender", "UserRecommendations"]

_MODULES = {
    "ItemTable": "recommend.item_table",
    "Recommendations": "recommend.results",
    "Recommender": "recommender",
    "UserRecommendations": "recommend.results",
}


def __getattr__(name: str) -> Any:
    """Return a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names too."""
    return sorted({*globals(), *__all__})
