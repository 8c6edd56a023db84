"""Whether scores are dot products, told in every precision: RecBole need not be installed."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from lightning_croloss.integrations.recbole_fit import agree

ROWS, ITEMS = 1024, 200
PRECISIONS = [None, torch.bfloat16, torch.float16]


def data(dim: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return users as a LayerNorm gives them, items of a deviation, and targets."""
    generator = torch.Generator().manual_seed(0)
    users = torch.nn.functional.layer_norm(torch.randn(ROWS, dim, generator=generator), (dim,))
    items = scale * torch.randn(ITEMS, dim, generator=generator)
    return users, items, torch.randint(1, ITEMS, (ROWS,), generator=generator)


def autocast(precision: torch.dtype | None) -> torch.autocast | nullcontext[None]:
    return nullcontext() if precision is None else torch.autocast("cpu", precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("half_users", [False, True])
@pytest.mark.parametrize("dim", [2, 16, 64, 256])
@pytest.mark.parametrize("scale", [1e-4, 0.02, 0.3, 1.0, 10.0, 100.0])
def test_dot_products_agree(precision: torch.dtype | None, half_users: bool, dim: int, scale: float) -> None:
    users, items, ids = data(dim, scale)
    if half_users and precision is not None:
        users = users.to(precision)  # as a linear layer gives them
    with autocast(precision):
        logits = users @ items.T
        assert agree(users, items, ids, logits)
        assert agree(users, items, ids, logits + torch.zeros(ITEMS))  # in float32, with the digits of less
        assert agree(users, items, ids, (users * items[ids]).sum(-1))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dim", [16, 64])
@pytest.mark.parametrize("scale", [0.02, 1.0, 100.0])
def test_other_scores_do_not(precision: torch.dtype | None, dim: int, scale: float) -> None:
    users, items, ids = data(dim, scale)
    bias = 0.3 * scale * torch.randn(ITEMS, generator=torch.Generator().manual_seed(1))
    with autocast(precision):
        logits = users @ items.T
        others = [logits + bias, logits * 1.1, users[:, 1:] @ items[:, 1:].T, logits.flip(0)]
        others += [torch.nn.functional.normalize(users, dim=-1) @ items.T, logits * torch.nan]
        for other in others:
            assert not agree(users, items, ids, other)


def test_vectors_of_other_shapes_do_not() -> None:
    users, items, ids = data(16, 1.0)
    logits = users @ items.T
    for given in ((None, items), (users, None), (users[:, :8], items), (users[:5], items), (ids, items)):
        assert not agree(*given, ids, logits)
    assert not agree(users, items, ids, logits[:5])
