"""Records of a search as something else may leave them: valid JSON, but not what a search writes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INFINITE, NO_NUMBER = float("inf"), float("nan")
ODD: tuple[Any, ...] = ("x", "../x", None, True, [], {}, [1], {"a": 1}, -1, 0, 1.5, INFINITE, NO_NUMBER)


def malformed(folder: Path, number: int, seed: int = 0) -> Iterator[tuple[Path, str, str]]:
    """Yield each record of a search with contents that are not as it was written.

    Args:
        folder: that of the search.
        number: how many contents of a record at most, drawn at random.
        seed: of the draw.

    Yields:
        The file, a content for it, and what has been changed in it.
    """
    chance = random.Random(seed)
    for path in sorted(folder.rglob("*.json")):
        whole = json.loads(path.read_text())
        changes = [([], odd) for odd in ODD]
        for place in _places(whole):
            changes += [(place, odd) for odd in (*ODD, _REMOVED)]
        for place, odd in chance.sample(changes, min(number, len(changes))):
            content = odd if not place else copy.deepcopy(whole)
            if place:
                holder = content
                for key in place[:-1]:
                    holder = holder[key]
                if odd is _REMOVED:
                    del holder[place[-1]]
                else:
                    holder[place[-1]] = odd
            if (text := json.dumps(content)) != json.dumps(whole):
                yield path, text, f"{path.relative_to(folder)} {place} {odd!r}"


class _Removed:
    def __repr__(self) -> str:
        return "removed"


_REMOVED = _Removed()


def _places(content: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something stands in a content, as the keys that lead there."""
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield (*before, key)
        yield from _places(content[key], (*before, key))
