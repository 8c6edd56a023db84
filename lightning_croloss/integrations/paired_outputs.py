"""Which of a model's outputs a loss takes: logits, or the embeddings of two towers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

#: Outputs of two towers that need not be named, the user's or query's first.
USUAL = ("user_embeds item_embeds", "query_embeds item_embeds", "query_embeds document_embeds")
PAIRS = [tuple(pair.split()) for pair in (*USUAL, "text_embeds image_embeds")]


def named_outputs(outputs: Any) -> Mapping[str, Any]:
    """Return outputs by name: what is no mapping are logits, or begins with them."""
    if isinstance(outputs, Mapping):
        return outputs
    return {"logits": outputs if isinstance(outputs, Tensor) else outputs[0]}


def taken_outputs(
    found: Mapping[str, Any], embeddings: tuple[str, str] | None, user_ids: str | None
) -> list[Any]:
    """Return the logits alone, or users, items and the users' ids, which are None if not wanted.

    Args:
        found: the outputs by name.
        embeddings: the names of a pair among them; None = "logits" or, without those, a usual pair.
        user_ids: the name of the ids.

    Raises:
        ValueError: they do not have what is named, or neither logits nor a usual pair; or there are user ids
            but no pair.
    """
    usual = next((pair for pair in PAIRS if {*pair} <= {*found}), ())
    names = embeddings or (("logits",) if "logits" in found else usual)
    if not names or not {*names} <= {*found}:
        raise ValueError(f"name a pair of the model's outputs {[*found]}: embeddings=(user, item)")
    if user_ids is not None and (user_ids not in found or len(names) == 1):
        asked = f"user_ids={user_ids!r} must be one of the model's outputs, (B,), beside a pair of embeddings"
        raise ValueError(f"{asked}, got {[*found]}")
    taken = [found[name] for name in names]
    return taken if len(names) == 1 else [*taken, None if user_ids is None else found[user_ids]]
