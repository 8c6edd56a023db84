"""Plain values out of a file that a stranger may have written: how deep and how many they are."""

from __future__ import annotations

from typing import Any

#: How deep lists and dictionaries may be nested in one another, and how many values they may stand for.
DEEPEST, MOST_VALUES = 64, 1_000_000
_CONTAINERS = (dict, list, tuple, set, frozenset)


def check_bounded(
    value: Any, deepest: int = DEEPEST, most: int = MOST_VALUES, counts_leaves: bool = True
) -> None:
    """Refuse values that going through them would never, or not soon, come to an end with.

    One list may stand in many places, and these in many places again: a few lines then stand for billions of
    values. Each is visited once here, however often it stands somewhere.

    Args:
        value: strings, numbers, lists, tuples and dictionaries.
        deepest: how deep these may be nested.
        most: how many values they may stand for, one that stands in several places counted in each.
        counts_leaves: whether strings and numbers count; else the lists, tuples and dictionaries alone.

    Raises:
        ValueError: they refer to themselves, or are nested more deeply or more than that.
    """
    sizes: dict[int, tuple[int, int]] = {}  # of what is done: the number of values, and of levels
    under_way: set[int] = set()
    waiting = [(value, False)]
    while waiting:
        entry, is_done = waiting.pop()
        children = _children(entry)
        if children is None:
            continue
        if not counts_leaves:
            children = [child for child in children if isinstance(child, _CONTAINERS)]
        if is_done:
            under_way.remove(id(entry))
            found = [sizes.get(id(child), (1, 0)) for child in children]
            sizes[id(entry)] = (
                1 + sum(size for size, _ in found),
                1 + max((deep for _, deep in found), default=0),
            )
            size, levels = sizes[id(entry)]
            if size > most:
                raise ValueError(f"it stands for more than {most:,} values")
            if levels > deepest:
                raise ValueError(f"it is nested more than {deepest} levels deep")
        elif id(entry) in under_way:
            raise ValueError("it refers to itself")
        elif id(entry) not in sizes:
            under_way.add(id(entry))
            waiting.append((entry, True))
            waiting += [(child, False) for child in children]


def _children(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, _CONTAINERS) else None
