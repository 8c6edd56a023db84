"""Exact Recall of many users over a large catalogue, and lists: by this package and by torch's top-k."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common.rows import Row, Settings
from benchmarks.gpu.timing import mib_beyond, seconds_of
from lightning_croloss.common.triton_switch import triton_kernels
from lightning_croloss.retrieval import target_ranks, top_items

#: Users of a batch of evaluation, and the largest N.
BATCH, N = 1024, 500


def measure(settings: Settings) -> Row:
    """Return the seconds of all users, the MiB that a batch takes, and Recall@N, which all must share."""
    device = settings["device"]
    torch.manual_seed(0)
    items = functional.normalize(torch.randn(settings["M"], settings["D"], device=device), dim=-1)
    users = functional.normalize(torch.randn(settings["users"], settings["D"], device=device), dim=-1)
    targets = torch.randint(1, settings["M"] + 1, (settings["users"],), device=device)
    users = functional.normalize(users + settings["D"] ** -0.5 * items[targets - 1], dim=-1)
    side = SIDES[settings["side"]]
    hits = torch.zeros((), dtype=torch.int64, device=device)

    def all_users() -> None:
        for first in range(0, settings["users"], BATCH):
            part = slice(first, first + BATCH)
            hits.add_(side(users[part], items, targets[part]).sum())

    def one_batch() -> list[Tensor]:
        side(users[:BATCH], items, targets[:BATCH])
        return []

    one_batch()
    seconds = seconds_of(all_users, device)
    return {"s": seconds, "MiB": mib_beyond(one_batch, device), "recall": int(hits) / settings["users"]}


def _ranks(tile_elements: int, portable: bool = True) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def hits(users: Tensor, items: Tensor, targets: Tensor) -> Tensor:
        wanted = targets.unsqueeze(1)
        with triton_kernels(False) if portable else nullcontext():
            return target_ranks(users.unsqueeze(1), items, wanted, tile_elements=tile_elements) <= N

    return hits


def _lists(users: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    return (top_items(users.unsqueeze(1), items, N, tile_elements=2**28)[0] == targets.unsqueeze(1)).any(1)


def _topk(users: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    found = (users @ items.T).topk(N, dim=1).indices
    return (found + 1 == targets.unsqueeze(1)).any(1)


SIDES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "target_ranks": _ranks(2**24, portable=False),
    "portable": _ranks(2**24),
    "portable, larger tiles": _ranks(2**28),
    "torch top-k": _topk,
    "top_items": _lists,
}
