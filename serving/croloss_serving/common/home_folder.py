"""Paths that begin with ``~``, as a shell would read them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for a ``~`` at its beginning; that of an unknown user stays.

    Raises:
        TypeError: it is neither text nor a path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"a path must be text or a pathlib.Path, got {path!r:.80} ({type(path).__name__})")
    return Path(os.path.expanduser(path))  # Path.expanduser would raise RuntimeError
