"""Inputs of the fused path's tests, and both paths side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.losses.fused.plan import Tiling
from tests.losses.cases import assert_same

#: Few negatives, few items or scores far apart: no concern of these tests.
QUIET = pytest.mark.filterwarnings(
    "ignore:n=", "ignore:.*negatives are drawn out of", "ignore:the scores of a row"
)
N = 40
ROWS, COLUMNS, WIDTH = 7, 10, 3
#: Smaller than ROWS × COLUMNS in both directions, with ragged ends.
SMALL_TILES = Tiling(rows=3, width=4)


def vectors(
    rows: int = ROWS,
    columns: int = COLUMNS,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    scale: float = 0.4,
    width: int = WIDTH,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return users (B, D), positives (B, D), candidates (M, D) that require gradients."""
    generator = torch.Generator().manual_seed(seed)
    made = [
        scale * torch.randn(n, width, generator=generator, dtype=torch.float64) for n in (rows, rows, columns)
    ]
    users, positives, candidates = (entry.to(dtype).requires_grad_() for entry in made)
    return users, positives, candidates


def option_sets() -> dict[str, dict[str, object]]:
    """Return every option of from_embeddings, in sets that go together."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.tensor([3, 9, 0, 5, 9, 2, 0, 7, 11, 3])  # repeated draws, padding
    target_ids = torch.tensor([3, 9, 30, 5, 2, 2, 7])
    excluded_ids = torch.tensor([[9, 0], [5, 0], [0, 0], [3, 11], [0, 0], [2, 7], [9, 9]])
    log_prob = torch.rand(ROWS, COLUMNS, generator=generator, dtype=torch.float64) * 3 - 5
    sample_weight = torch.rand(ROWS, generator=generator, dtype=torch.float64) + 0.1
    return {
        "plain": {},
        "hits": {"candidate_ids": ids, "target_ids": target_ids},
        "catalogue": {
            "candidate_ids": torch.arange(1, COLUMNS + 1),
            "target_ids": target_ids,
            "excluded_ids": excluded_ids,
        },
        "logq shared": {"candidate_log_prob": log_prob[0], "num_sampled": torch.arange(ROWS)},
        "everything": {
            "candidate_ids": ids,
            "target_ids": target_ids,
            "excluded_ids": excluded_ids,
            "candidate_log_prob": log_prob,
            "sample_weight": sample_weight,
        },
    }


def outcome(loss: RetrievalLoss, fused: bool, inputs: tuple[Tensor, ...], **options: object) -> list[Tensor]:
    """Return value, gradients and diagnostics of one path."""
    loss.fused = fused
    value = loss.from_embeddings(*inputs, **options)
    gradients = torch.autograd.grad(value, [entry for entry in inputs if entry.requires_grad])
    return [value.detach(), *gradients, *loss.diagnostics.values()]


def assert_fused_is_naive(loss: RetrievalLoss, **options: object) -> None:
    """Assert that both paths agree on :func:`vectors`."""
    assert_same(outcome(loss, True, vectors(), **options), outcome(loss, False, vectors(), **options))
