"""Self-attention by plain loops, for the tests of the architectures that have it."""

import math
from typing import Any

import torch
from torch import Tensor


def naive_attention(block: Any, events: list[Tensor], causal: bool = True) -> list[Tensor]:
    """Return what a block's attention makes of normed events (D,), by a softmax in plain Python.

    Args:
        block: a ``SelfAttentionBlock``.
        events: the events, normed.
        causal: whether an event sees itself and earlier ones only, else all.
    """
    width = events[0].shape[0] // block.num_heads
    queries, keys, values = ([block.query_key_value(event).chunk(3)[i] for event in events] for i in range(3))
    outputs = []
    for position, query in enumerate(queries):
        seen = range(position + 1 if causal else len(events))
        heads = []
        for head in range(block.num_heads):
            part = slice(head * width, (head + 1) * width)
            logits = [(query[part] @ keys[other][part]).item() / math.sqrt(width) for other in seen]
            total = sum(math.exp(logit) for logit in logits)
            heads.append(
                sum(math.exp(a) / total * values[o][part] for o, a in zip(seen, logits, strict=True))
            )
        outputs.append(block.attention_output(torch.cat(heads)))
    return outputs
