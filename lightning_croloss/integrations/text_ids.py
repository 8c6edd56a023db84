"""Texts as items: an id of each from its tokens, the same in every batch and process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def text_ids(features: Mapping[str, Any]) -> Tensor:
    """Return (B,) int64: an id of each text, equal where the tokens are.

    It is a hash of 64 bits, computed where the tokens are: nothing waits for a device.

    Args:
        features: what a tokenizer gives: ``input_ids`` (B, T) with an ``attention_mask``, or all tokens one
            behind the other with the ``offsets`` (B,) or ``cu_seq_lens_q`` (B + 1,) at which the texts begin.

    Raises:
        ValueError: they are no tokens, but those of images, say.
    """
    tokens = features.get("input_ids")
    if tokens is None:
        raise ValueError(
            "items are told apart by their tokens, but a column is no text: give the data set a label column "
            "of item ids, and the loss item_counts=torch.bincount(labels)"
        )
    starts = features["cu_seq_lens_q"][:-1] if "cu_seq_lens_q" in features else features.get("offsets")
    if starts is None:
        real = features.get("attention_mask", torch.ones_like(tokens)).long()
        row = torch.arange(len(tokens), device=tokens.device).unsqueeze(1).expand_as(tokens)
        position, size = real.cumsum(1) - 1, len(tokens)
    else:
        tokens, size = tokens.flatten(), len(starts)
        index = torch.arange(len(tokens), device=tokens.device)
        row = torch.searchsorted(starts, index.to(starts.dtype), right=True) - 1
        position, real = index - starts[row], torch.ones_like(tokens)
    hashes = _mixed(_mixed(tokens.long()) + position) * real
    ids: Tensor = hashes.new_zeros(size).index_add(0, row.flatten(), hashes.flatten())
    return ids


def _mixed(values: Tensor) -> Tensor:
    """Return int64 values of which each bit depends on all bits of the given ones (SplitMix64)."""
    values = values - 0x61C8864680B583EB
    values = (values ^ (values >> 30 & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    values = (values ^ (values >> 27 & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return values ^ (values >> 31 & 0x1FFFFFFFF)


def ids_of_columns(
    columns: Sequence[Mapping[str, Any]], labels: Tensor | None, by_label: bool
) -> tuple[Tensor, Tensor]:
    """Return the ids of the positives (B,), and those of positives and negatives (B · columns,).

    Args:
        columns: the features of (anchor, positive, negative, …).
        labels: (B,) what the data set's label column holds.
        by_label: whether that is the ids of the positives.

    Raises:
        ValueError: there is no positive, or ``by_label`` and no ids, or negatives without any.
    """
    if len(columns) < 2 or (by_label and len(columns) > 2):
        wanted = "(anchor, positive), as ids are labels" if by_label else "(anchor, positive, negative, …)"
        raise ValueError(f"the data set must have the columns {wanted}, got {len(columns)} without the label")
    if not by_label:
        ids = [text_ids(column) for column in columns[1:]]
        return ids[0], torch.cat(ids)
    if labels is None or labels.dim() != 1 or labels.is_floating_point():
        got = "none" if labels is None else f"{tuple(labels.shape)} {labels.dtype}"
        raise ValueError(f"item_counts is a tensor: give a label column of integer ids (B,), got {got}")
    return labels, labels
