"""Plain values out of a file that a stranger may have written: how deep and how many they are."""

from __future__ import annotations

from typing import Any

#: How deep lists and dictionaries may be nested in one another, and how many values they may stand for.
DEEPEST, MOST_VALUES = 64, 1_000_000
#: What no array or tensor can count.
TOO_LARGE = 2**63
_CONTAINERS = (dict, list, tuple, set, frozenset)


def check_bounded(
    value: Any, deepest: int = DEEPEST, most: int = MOST_VALUES, counts_leaves: bool = True
) -> int:
    """Refuse values that going through them would never, or not soon, come to an end with.

    One list may stand in many places, and these in many places again: a few lines then stand for billions of
    values. Each is visited once here, however often it stands somewhere.

    Args:
        value: strings, numbers, lists, tuples and dictionaries.
        deepest: how deep these may be nested.
        most: how many values they may stand for, one that stands in several places counted in each.
        counts_leaves: whether strings and numbers count; else the lists, tuples and dictionaries alone.

    Returns:
        How many values the lists, tuples and dictionaries hold, each of these counted once.

    Raises:
        ValueError: they refer to themselves, or are nested more deeply or more than that.
    """
    sizes: dict[int, tuple[int, int]] = {}  # of what is done: the number of values, and of levels
    under_way: dict[int, tuple[list[Any], int]] = {}  # the containers in each, and the number of its leaves
    held = 0
    waiting = [value] if isinstance(value, _CONTAINERS) else []
    while waiting:
        entry = waiting[-1]
        key = id(entry)
        if key in sizes:  # looked at once, however many places it stands in
            waiting.pop()
        elif key not in under_way:
            children = [*entry, *entry.values()] if isinstance(entry, dict) else list(entry)
            containers = [child for child in children if isinstance(child, _CONTAINERS)]
            held += len(children)
            under_way[key] = containers, (len(children) - len(containers)) * counts_leaves
            for child in containers:
                if id(child) in under_way:
                    raise ValueError("it refers to itself")
            waiting += [child for child in containers if id(child) not in sizes]
        else:
            waiting.pop()
            containers, leaves = under_way.pop(key)
            found = [sizes[id(child)] for child in containers]
            size = 1 + leaves + sum(size for size, _ in found)
            levels = 1 + max((deep for _, deep in found), default=0)
            sizes[key] = size, levels
            if size > most:
                raise ValueError(f"it stands for more than {most:,} values")
            if levels > deepest:
                raise ValueError(f"it is nested more than {deepest} levels deep")
    return held
