"""Whether the metadata of a checkpoint is what a model has saved."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from croloss_serving.common.plain_values import TOO_LARGE
from lightning_croloss.data.history_filters import FILTERS, read_filters
from lightning_croloss.data.training_record import TrainingRecord

#: What the metadata of a checkpoint consists of, where it is there.
_NONE = type(None)
_KINDS: dict[str, tuple[type, ...]] = {
    "items": (list, _NONE),
    "titles": (list, _NONE),
    "counts": (Tensor, _NONE),
    "users": (str, _NONE),
    "user_tokens": (list, _NONE),
    "events": (dict, _NONE),
    "max_history": (int, _NONE),
    "reading": (dict, _NONE),
    "trained_on": (dict, _NONE),
    "seed": (int,),
    "learning_rate": (int, float, _NONE),
    "position": (dict, _NONE),
    "by_rule": (dict, _NONE),
    "started_from": (str, _NONE),
}

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_saved(kept: object, num_items: int) -> None:
    """Refuse metadata that no run has written.

    Args:
        kept: what the checkpoint holds.
        num_items: size of the catalogue.

    Raises:
        ValueError: naming the entry.
    """
    if not isinstance(kept, dict):
        raise ValueError(f"the checkpoint is damaged: its metadata is a {type(kept).__name__}")
    for name, kinds in _KINDS.items():
        value = kept.get(name)
        if type(value) is bool or not isinstance(value, kinds):
            raise ValueError(f"the checkpoint is damaged: {name!r} of its metadata is {value!r:.60}")
    if type(kept.get("seed")) is not int or not {"items", "max_history"} <= kept.keys():
        raise ValueError("the checkpoint is damaged: its metadata lacks the seed, the items or max_history")
    titles, counts, tokens = kept.get("titles"), kept.get("counts"), kept["items"]
    size = num_items if tokens is None else len(tokens)  # whether that is the model's is told elsewhere
    if tokens is not None and len({type(token) for token in tokens} - {str, int}) > 0:
        raise ValueError("the checkpoint is damaged: its items are neither texts nor whole numbers")
    if titles is not None and not (len(titles) == size and all(isinstance(title, str) for title in titles)):
        raise ValueError(f"the checkpoint is damaged: its titles are not the texts of {size} items")
    if counts is not None and not (_are_counts(counts) and tuple(counts.shape) == (size + 1,)):
        raise ValueError(f"the checkpoint is damaged: its counts are not the whole numbers of {size} items")
    longest = kept["max_history"]
    if longest is not None and not 1 <= longest < TOO_LARGE:
        raise ValueError(f"the checkpoint is damaged: its max_history is {longest!r:.80}")
    if abs(kept["seed"]) >= 2 * TOO_LARGE:
        raise ValueError(f"the checkpoint is damaged: its seed is {kept['seed']!r:.80}")
    try:
        read_filters((kept.get("reading") or {}).get(FILTERS, []))
        TrainingRecord.from_plain(kept.get("trained_on"))
    except ValueError as error:
        raise ValueError(f"the checkpoint is damaged: {error}") from None
    rate = kept.get("learning_rate")
    if rate is not None and not (0 < rate < math.inf and (isinstance(rate, float) or rate < TOO_LARGE)):
        raise ValueError(f"the checkpoint is damaged: its learning_rate is {rate!r:.80}")


def _are_counts(counts: Tensor) -> bool:
    plain = counts.layout == torch.strided and not (counts.is_quantized or counts.is_meta)
    return plain and counts.dtype in _WHOLE and (counts.numel() == 0 or int(counts.min()) >= 0)
