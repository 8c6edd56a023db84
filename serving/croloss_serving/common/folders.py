"""What lies in a folder and in its sub-folders, through links too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: What the names of files and folders begin with that hold no data, such as ``_SUCCESS``.
HIDDEN = (".", "_")


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and those in it, through links to others, each with the names of its files.

    Each is entered once, however many links lead there; hidden ones never, and hidden files are left out.

    Raises:
        OSError: a folder cannot be looked into; it would be missing without a word.
    """

    def refuse(error: OSError) -> None:
        raise error

    seen = {os.path.realpath(folder)}
    for here, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        folders.sort()
        entered = []
        for name in folders:
            real = os.path.realpath(os.path.join(here, name))
            if real not in seen and not name.startswith(HIDDEN):
                seen.add(real)
                entered.append(name)
        folders[:] = entered
        yield Path(here), [name for name in files if not name.startswith(HIDDEN)]


def leads_nowhere(path: Path) -> str | None:
    """Return where a link leads if nothing is there; None if something is, or it is no link."""
    return os.readlink(path) if path.is_symlink() and not path.exists() else None
