"""Who computes a loss from vectors, the kernels in Triton or the portable path, and by which plan."""

from __future__ import annotations

from torch import Tensor

from lightning_croloss.common.spare_memory import SpareMemory
from lightning_croloss.losses.batches.metadata import BatchMetadata
from lightning_croloss.losses.fused.plan import LossPlan, Plan, Tiling, factor_dtype
from lightning_croloss.losses.fused.triton.choice import is_computable
from lightning_croloss.losses.fused.triton.layout import Layout
from lightning_croloss.losses.fused.triton.plan import IgnoredPairs, TritonPlan


def plan_of_vectors(
    plan: LossPlan,
    users: Tensor,
    positives: Tensor,
    candidates: Tensor,
    metadata: BatchMetadata,
    spare_memory: SpareMemory,
) -> Plan | TritonPlan:
    """Return all that the computation of a batch goes by.

    Args:
        plan: the loss, its draws and the weights of rows.
        users: (B, D).
        positives: (B, D).
        candidates: (M, D), shared by the rows.
        metadata: which of them to ignore.
        spare_memory: for the candidates' gradient.
    """
    parts = (plan.form, plan.draws, plan.row_weight)
    if is_computable(plan.form, users, positives, candidates):
        dtype = factor_dtype(users, candidates)
        layout = Layout.choose(users.shape[1], dtype, users.device)
        ignored = IgnoredPairs.of(metadata, len(users), len(candidates))
        return TritonPlan(*parts, ignored, layout, dtype, metadata.unit_candidates, spare_memory)
    tiling = Tiling.choose(users, candidates)
    hits = metadata.hits_by_tile(tiling.rows, tiling.width)
    return Plan(*parts, hits, tiling, metadata.unit_candidates, spare_memory)
