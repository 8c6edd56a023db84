"""The classes that the config of a pretrained model may name."""

from __future__ import annotations

from collections.abc import Iterable

import lightning.pytorch.callbacks
import lightning.pytorch.loggers

import lightning_croloss.callbacks

# they define every class that a config may name
import lightning_croloss.data
import lightning_croloss.losses
import lightning_croloss.models
import lightning_croloss.negatives
import lightning_croloss.training
from lightning_croloss.common.safe_config import TrustedClasses, names_of_classes


def trusted_classes(
    allow: Iterable[type | str] = (), imported: bool = False, advice: str = "allow=[{!r}]"
) -> TrustedClasses:
    """Return the classes of this package and of torch that a config may name, and those allowed besides.

    Args:
        allow: further classes, or their dotted paths, which are imported.
        imported: whether to trust what the running program has imported, see :class:`TrustedClasses`.
        advice: what to do to have a class trusted, for errors; ``{}`` stands for its class path.

    Raises:
        ValueError: an allowed path is not that of a class.
    """
    modules = (lightning.pytorch.callbacks, lightning.pytorch.loggers, lightning_croloss.callbacks)
    tolerated = {name for module in modules for name in names_of_classes(module)}
    return TrustedClasses(allow, imported, tolerated, advice)
