"""lightning-croloss: train the retrieval stage of a recommender on the Recall@N that will be deployed.

The public names are those of :mod:`lightning_croloss.public`. They are imported when one is first used, so
that serving an exported model needs neither torch nor lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_croloss.public import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Return a public name, or a subpackage."""
    if not name.startswith("__") or name == "__all__":
        public = import_module("lightning_croloss.public")
        if hasattr(public, name):
            return getattr(public, name)
        if name in globals():  # a subpackage, which the line above has imported
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names too."""
    return sorted({*globals(), *import_module("lightning_croloss.public").__all__})
