"""Paths that begin with ``~``, as a shell would read them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for a ``~`` at its beginning; that of an unknown user stays."""
    return Path(os.path.expanduser(path))  # Path.expanduser would raise RuntimeError
