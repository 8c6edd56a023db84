"""How a public name goes away: it works for one minor version more and says what to use."""

from __future__ import annotations

import warnings


def warn_deprecated(name: str, instead: str, removed_in: str) -> None:
    """Warn the caller of the caller that a name is deprecated.

    Args:
        name: the name as a user writes it.
        instead: what to write now.
        removed_in: the version that removes it.
    """
    warnings.warn(
        f"{name} is deprecated and will be gone in lightning-croloss {removed_in}: use {instead}",
        FutureWarning,
        stacklevel=3,
    )
