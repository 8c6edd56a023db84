"""The tokens that users of the library speak in: checks and ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.vocabulary import Vocabulary

Token = str | int


def check_tokens(name: str, tokens: Any) -> Collection[Token]:
    """Return ``tokens``, if they are a list of texts or integers.

    Raises:
        TypeError: naming what was given instead.
    """
    if isinstance(tokens, (str, bytes, Mapping)) or not isinstance(tokens, (Collection, np.ndarray)):
        raise TypeError(f"{name} must be a list of tokens, got {tokens!r}")
    kinds = {type(token) for token in tokens}
    if wrong := [kind for kind in kinds if not issubclass(kind, (str, int, np.integer)) or kind is bool]:
        token = next(token for token in tokens if type(token) in wrong)
        raise TypeError(f"{name} holds {token!r}: tokens must be text or integers")
    return tokens


def encode_tokens(tokens: Collection[Token], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the id of each token, 0 if it is not known; texts and integers may be mixed."""
    return vocabulary.encode(list(tokens))


def histories_of(
    histories: Sequence[Sequence[Token]] | None, users: Sequence[Token] | None
) -> Sequence[Sequence[Token]]:
    """Return the histories, empty ones if only users are given.

    Raises:
        ValueError: neither is given.
        TypeError: users without histories are not a list.
    """
    if histories is not None:
        return histories
    if users is None:
        raise ValueError("give histories, or users if the model uses them")
    return [[] for _ in check_tokens("users", users)]


def known_ids(histories: Sequence[NDArray[np.int64]]) -> tuple[list[list[int]], list[int]]:
    """Return the ids of each history that are not 0, and how many are."""
    return [ids[ids > 0].tolist() for ids in histories], [int((ids == 0).sum()) for ids in histories]


def all_ids_of_histories(
    histories: Sequence[Sequence[Token]], vocabulary: Vocabulary
) -> list[NDArray[np.int64]]:
    """Return for each history the id of each token, 0 if it is not known.

    Raises:
        TypeError: a history is not a list, or a token neither text nor integer.
    """
    if isinstance(histories, (str, bytes)) or not isinstance(histories, (Sequence, np.ndarray)):
        raise TypeError(f"histories must be a list of lists of tokens, got {type(histories).__name__}")
    for number, history in enumerate(histories):
        if isinstance(history, Set):
            raise TypeError(f"histories[{number}] must be a list of tokens, oldest first, got {history!r}")
        check_tokens(f"histories[{number}]", history)
    ids = encode_tokens([token for history in histories for token in history], vocabulary)
    ends = np.cumsum([0, *map(len, histories)])
    return [ids[begin:end] for begin, end in pairwise(ends)]


def allowed_ids(
    vocabulary: Vocabulary, allow: Collection[Token] | None, deny: Collection[Token] | None
) -> NDArray[np.int64] | None:
    """Return the ids of the items that may be recommended, distinct and in ascending order; None = all.

    Args:
        vocabulary: the tokens of all items.
        allow: tokens of the only items to recommend; None = all. Those that are not known are passed over.
        deny: tokens of items never to recommend.

    Raises:
        TypeError: ``allow`` or ``deny`` is not a list, or a token neither text nor integer.
    """
    denied = encode_tokens(check_tokens("deny", [] if deny is None else deny), vocabulary)
    if allow is None:
        if not len(denied):
            return None
        allowed = np.arange(1, len(vocabulary) + 1)
    else:
        allowed = np.unique(encode_tokens(check_tokens("allow", allow), vocabulary))
    return allowed[(allowed > 0) & ~np.isin(allowed, denied)]
