"""The N of a model's metrics @N, which mean something only below the size of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: The N of the metrics where nobody says otherwise.
DEFAULT = (20, 50, 100, 200, 500)


def chosen_cutoffs(ns: Sequence[int], num_items: int) -> Sequence[int]:
    """Return the N to measure at: Recall@N of N items or fewer is 1, whatever the model.

    Args:
        ns: the N that were asked for; of :data:`DEFAULT` those are left out that mean nothing.
        num_items: size of the catalogue.

    Raises:
        ValueError: one of others is not below the size of the catalogue.
    """
    if num_items < 2 or not _is_numbers(ns):  # refused elsewhere
        return ns
    if tuple(ns) == DEFAULT:
        return below(ns, num_items)
    if max(ns, default=0) >= num_items:
        raise ValueError(
            f"ns holds {max(ns)}, but the catalogue has only {num_items} items: every recall@{max(ns)} would "
            "be 1; choose smaller ns"
        )
    return ns


def below(ns: Sequence[int], num_items: int) -> Sequence[int]:
    """Return those of ``ns`` that are below the size of the catalogue, or half of it if none is."""
    return [n for n in ns if n < num_items] or [max(1, num_items // 2)]


def measurable(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a model's arguments from a file, where earlier releases let N be the size of the catalogue."""
    ns, num_items = arguments.get("ns"), arguments.get("num_items")
    if not isinstance(num_items, int) or num_items < 2 or not _is_numbers(ns):
        return arguments
    assert isinstance(ns, Sequence)
    return arguments if num_items not in ns else {**arguments, "ns": list(below(ns, num_items))}


def _is_numbers(ns: Any) -> bool:
    return isinstance(ns, (list, tuple)) and all(isinstance(n, int) for n in ns)
