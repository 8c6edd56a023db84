"""Spans of time as a few kinds: each lasts about 1.35 times as long as the one before."""

from __future__ import annotations

import torch
from torch import Tensor

#: Number of buckets, and the width of each in natural logarithms, as in the published code of HSTU.
NUM_BUCKETS, WIDTH = 128, 0.301


def time_buckets(spans: Tensor) -> Tensor:
    """Return the bucket, 0 … 127, of spans of time: 0 up to 1, in whatever unit the times are.

    With 128 buckets spans of up to 38 powers of e are told apart: from a second to any span of dates, in
    nanoseconds too.

    Args:
        spans: int64 differences of times, of any shape; their signs do not count.
    """
    # exact enough that no whole number falls into another bucket in an export; and converted first, since
    # onnxruntime takes integers beyond 32 bits for others where they are limited
    exact = torch.float32 if spans.device.type == "mps" else torch.float64
    return (spans.to(exact).abs().clamp(min=1).log() / WIDTH).clamp(max=NUM_BUCKETS - 1).long()
