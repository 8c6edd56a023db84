"""How two vocabularies differ, in a few of the tokens that one of them alone has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.data.interactions import Vocabulary

#: So many tokens of each side are named.
NAMED = 2
#: So many are looked up at a time, until enough are found.
_PIECE = 2**16


def told_apart(theirs: Vocabulary, ours: Vocabulary) -> str:
    """Return which tokens one side alone has: ``only the checkpoint has 'a', only the data has 'b'``."""
    said = [
        f"only {side} has {' and '.join(found)}"
        for side, found in (("the checkpoint", _missing(theirs, ours)), ("the data", _missing(ours, theirs)))
        if found
    ]
    return ", ".join(said) or "the same in another order"


def _missing(of: Vocabulary, other: Vocabulary) -> list[str]:
    """Return the first tokens that another vocabulary lacks, as they are told."""
    tokens, found = of.tokens, list[str]()
    for start in range(0, len(tokens), _PIECE):
        piece = tokens[start : start + _PIECE]
        lacking: NDArray[np.int64] = np.flatnonzero(other.encode(piece) == 0)
        found += [f"{piece[at]!r:.60}" for at in lacking[: NAMED - len(found)].tolist()]
        if len(found) == NAMED:
            break
    return found
