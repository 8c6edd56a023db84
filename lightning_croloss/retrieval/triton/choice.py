"""For which ranks the kernels in Triton count; does not import it."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.triton_switch import takes_triton

#: Wider vectors and more targets of a user are counted portably.
LARGEST_WIDTH, MOST_TARGETS = 128, 64


def is_countable(users: Tensor, item_matrix: Tensor, targets: Tensor) -> bool:
    """Return whether ranks are to be counted by the kernels in Triton.

    Args:
        users: (B, K, D).
        item_matrix: (N, D).
        targets: (B, T).
    """
    return (
        takes_triton(users.device)
        and users.dtype == item_matrix.dtype == torch.float32
        and torch.get_float32_matmul_precision() == "highest"  # else lists are made of other scores
        and users.shape[2] <= LARGEST_WIDTH
        and targets.shape[1] <= MOST_TARGETS
    )
