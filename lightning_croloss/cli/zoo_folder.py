"""Where ``croloss zoo`` finds a model that it is told by name."""

from __future__ import annotations

from pathlib import Path

from lightning_croloss.errors import PretrainedError, suggest
from lightning_croloss.pretrained.registry import find_pretrained, list_pretrained


def find_in_zoo(name: str, zoo: Path | None) -> Path:
    """Return the folder of a model of a zoo, or of what ``load_pretrained`` takes if the zoo is None.

    Raises:
        PretrainedError: there is none; similar names are suggested.
    """
    if zoo is not None and not (zoo / name).is_dir():
        known = [Path(found).relative_to(zoo).as_posix() for found in list_pretrained(zoo)]
        raise PretrainedError(f"there is no pretrained model {name!r} in {zoo}{suggest(name, known)}")
    return find_pretrained(name if zoo is None else zoo / name)


__all__ = ["find_in_zoo"]
