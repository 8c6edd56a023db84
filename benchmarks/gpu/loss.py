"""The loss alone, forward and backward, and three bare products of matrices.

It is computed fused by kernels in Triton, whether they would be chosen or not; fused portably; plainly; and
plainly, but compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common.rows import Row, Settings
from benchmarks.gpu.timing import mib_beyond, typical_seconds
from lightning_croloss.common.triton_switch import triton_kernels
from lightning_croloss.losses import CROLoss, RetrievalLoss, SoftmaxLoss

LOSSES: dict[str, Callable[..., RetrievalLoss]] = {"CROLoss": CROLoss, "softmax": SoftmaxLoss}
Call = Callable[[], Sequence[Tensor]]
FUSED = ("triton", "portable")


def measure(settings: Settings) -> Row:
    """Return the milliseconds of a step, and its MiB beyond inputs and gradients."""
    device = settings["device"]
    call = _call(settings)
    seconds = typical_seconds(call, device)
    return {"ms": 1000 * seconds, "MiB": mib_beyond(call, device)}


def _call(settings: Settings) -> Call:
    device, dtype = settings["device"], getattr(torch, settings["dtype"])
    torch.manual_seed(0)
    rows, columns, width = (settings[name] for name in ("B", "M", "D"))
    users, positives, items = (
        functional.normalize(torch.randn(count, width, device=device), dim=-1).to(dtype).requires_grad_()
        for count in (rows, rows, columns)
    )
    if settings["side"] == "products":
        return lambda: _products(users.detach(), items.detach())
    loss = LOSSES[settings["loss"]](num_items=columns, fused=settings["side"] in FUSED).to(device)
    ids = torch.arange(1, columns + 1, device=device)
    targets = torch.randint(1, columns + 1, (rows,), device=device)

    def value(users: Tensor, positives: Tensor, items: Tensor) -> Tensor:
        return loss.from_embeddings(users, positives, items, target_ids=targets, candidate_ids=ids)

    compute = value
    if settings["side"] == "compiled":
        torch._dynamo.reset()
        compute = torch.compile(value, backend="inductor" if device == "cuda" else "eager")

    def step() -> Sequence[Tensor]:
        with triton_kernels(settings["side"] == "triton") if device == "cuda" else nullcontext():
            return torch.autograd.grad(compute(users, positives, items), (users, positives, items))

    return step


def _products(users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what no loss over all pairs can do without: the scores (B, M) and both gradients."""
    scores = users @ items.T
    return scores @ items, scores.T @ users
