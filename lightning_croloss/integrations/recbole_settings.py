"""What RecBole's configuration says of the loss, and the class that it is about, checked."""

from inspect import signature
from typing import Any

from lightning_croloss.errors import suggest
from lightning_croloss.losses import CROLoss

#: Settings besides the arguments of CROLoss.
SWITCHES = ("in_batch", "cosine")


def read_settings(settings: Any) -> tuple[dict[str, Any], bool, bool]:
    """Return CROLoss's arguments, ``in_batch`` and ``cosine``.

    Args:
        settings: ``retrieval_loss`` of the configuration, None = nothing is said.

    Raises:
        ValueError: it is no dictionary, or it has an unknown name, or a switch that is neither on nor off.
    """
    given = {} if settings is None else settings
    if not isinstance(given, dict):
        raise ValueError(f"retrieval_loss must be a dictionary of CROLoss's arguments, got {settings!r}")
    known = [*SWITCHES, *signature(CROLoss).parameters]
    for name in given:
        if name not in known:
            raise ValueError(f"retrieval_loss has no setting {name!r}{suggest(str(name), known)}")
    for name in SWITCHES:
        if not isinstance(given.get(name, False), bool):
            raise ValueError(f"retrieval_loss: {name} must be True or False, got {given[name]!r}")
    arguments = {name: value for name, value in given.items() if name not in SWITCHES}
    return arguments, given.get("in_batch", False), given.get("cosine", False)


def base_of(kind: type, mixin: type, configured: str) -> str:
    """Return the name of RecBole's own class behind the mixin.

    Args:
        kind: the class of the model.
        mixin: the class that stands before it.
        configured: ``model`` of the configuration.

    Raises:
        ValueError: the configuration was made for the class with the mixin.
    """
    name = kind.__mro__[kind.__mro__.index(mixin) + 1].__name__
    if configured == kind.__name__ != name:
        raise ValueError(f"RecBole finds settings by name: use Config(model={name!r}) for {configured}")
    return name


def check_bases(kind: type, mixin: type) -> None:
    """Raise ``TypeError`` if the mixin is not the first base that is a model, as it would not be asked."""
    if not any(mixin in base.__mro__ for base in kind.__bases__[:1]):
        others = ", ".join(base.__name__ for base in kind.__bases__ if mixin not in base.__mro__)
        raise TypeError(f"class {kind.__name__}: {mixin.__name__} must stand first, before {others}")
