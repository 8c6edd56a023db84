"""What optimizers need where the parameters themselves are in half precision."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import Optimizer

from lightning_croloss.sharding.embedding import IdEmbedding

#: The least that an optimizer adds to a divisor: a round number above the smallest normal one, 6.1e-5.
LEAST_EPS = 1e-4


def refuses_sparse(embeddings: Iterable[IdEmbedding], trainer: Trainer) -> bool:
    """Tell whether sparse gradients of the embeddings would be float16 on a processor, which cannot add them.

    Asked before the trainer has converted the model.
    """
    half = trainer.precision == "16-true" or any(e.weight.dtype == torch.float16 for e in embeddings)
    return half and trainer.strategy.root_device.type == "cpu"


def raise_eps(optimizers: Iterable[Optimizer]) -> None:
    """Raise the ``eps`` of optimizers to :data:`LEAST_EPS` where their parameters are float16, and say so.

    The usual 1e-8 is 0 in float16, as the square of a small gradient is: the first step would divide by zero.
    bfloat16 has the range of float32 and needs none of this.

    Args:
        optimizers: the optimizers of a training that is about to start, their states restored already.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            eps = group.get("eps")
            if not isinstance(eps, float) or eps >= LEAST_EPS:
                continue
            if any(parameter.dtype == torch.float16 for parameter in group["params"]):
                group["eps"] = LEAST_EPS
                rank_zero_info(
                    f"{type(optimizer).__name__}: eps={eps:g} is too small for float16 and is raised to "
                    f"{LEAST_EPS:g}"
                )
