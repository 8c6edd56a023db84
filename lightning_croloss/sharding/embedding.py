"""ShardedEmbedding: an embedding table whose rows lie in shards, one a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.sharding.drawing import draw_rows
from lightning_croloss.sharding.layout import as_dtensor, whole_table
from lightning_croloss.sharding.look_up import looked_up, no_such_row, own_rows
from lightning_croloss.sharding.padded import rows_without_padding
from lightning_croloss.sharding.row_shards import RowShards

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


class ShardedEmbedding(nn.Module):
    """``nn.Embedding`` with its rows, their gradients and the optimizer's state spread over the processes.

    Each process holds the rows that ``RowShards`` says. A look-up asks the owners, each distinct id once, and
    the backward pass sends the gradients there; both are collectives, which every process must take part in,
    also with no ids at all. One process, or none of ``torch.distributed``, is an ordinary embedding.

    Gradients are those of the **mean over the processes** of their losses, as under DDP: what all processes'
    losses say of a row is summed up and divided by the number of processes. So the weight must be left out of
    DDP's own averaging.

    Traffic of a look-up, each process, for k distinct ids of which k (W − 1) / W are of others: 8 bytes an id
    to ask, D numbers a row for the answer, and D numbers a row for the gradient.

    Args:
        num_embeddings: rows of the whole table.
        embedding_dim: D.
        padding_idx: a row that is 0 at first and gets no gradient.
        sparse: whether gradients of look-ups are sparse (for ``LazyAdam`` and ``SparseAdam``).
        shards: which rows are whose. None = of the processes of ``torch.distributed``.
        device: of the rows.
        dtype: of the rows.

    Attributes:
        weight: (own rows, D), which may be none.
        shards: which rows are whose.

    Raises:
        ValueError: there are more processes than rows, or ``padding_idx`` is no row.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        sparse: bool = False,
        shards: RowShards | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.shards = RowShards.here(num_embeddings) if shards is None else shards
        if self.shards.num_rows != num_embeddings:
            raise ValueError(
                f"num_embeddings is {num_embeddings:,}, but shards are of {self.shards.num_rows:,} rows"
            )
        if padding_idx is not None and not 0 <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx must be in 0 … {num_embeddings - 1:,}, got {padding_idx}")
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.sparse = sparse
        self.weight = nn.Parameter(
            torch.empty(self.shards.num_own, embedding_dim, device=device, dtype=dtype)
        )
        if self.weight.device.type != "meta":
            self.draw(Tensor.normal_)

    @property
    def num_embeddings(self) -> int:
        """Rows of the whole table."""
        return self.shards.num_rows

    @classmethod
    def from_whole(cls, embedding: nn.Embedding, shards: RowShards | None = None) -> ShardedEmbedding:
        """Return the part of this process of an embedding that all processes have alike.

        Args:
            embedding: the whole.
            shards: as for the constructor.
        """
        rows, dim = embedding.weight.shape
        own = cls(rows, dim, embedding.padding_idx, sparse=embedding.sparse, shards=shards, device="meta")
        weight = embedding.weight.detach()[own.shards.start : own.shards.stop].clone()
        own.weight = nn.Parameter(weight, requires_grad=embedding.weight.requires_grad)
        return own

    @torch.no_grad()
    def draw(self, fill: Callable[[Tensor], object], first: int = 0) -> None:
        """Fill the rows from ``first`` on, the same for every number of processes.

        They are those of ``fill(whole.weight[first:])`` by the same seed, up to the size that ``draw_rows``
        tells. The padding row is set to 0.

        Args:
            fill: fills a tensor of some rows in place, as ``lambda rows: rows.normal_(std=0.1)``.
            first: the rows before stay as they are.
        """
        draw_rows(self.weight, self.shards, fill, first)
        if (padding := self._own_padding()) is not None:
            self.weight[padding] = 0.0

    @uncompiled
    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows (…, D) of ids (…).

        Raises:
            ValueError: an id of any process is no row; on all processes.
        """
        if self.shards.num_shards > 1:
            return looked_up(self.weight, ids, self.shards, self.padding_idx, self.sparse)
        if ids.device.type == "cpu" and ids.numel():
            for end in torch.aminmax(ids):
                if not 0 <= int(end) < self.num_embeddings:
                    raise no_such_row(int(end), self.num_embeddings)
        elif self.sparse and self.padding_idx == 0:
            return rows_without_padding(self.weight, ids)
        return functional.embedding(ids, self.weight, self.padding_idx, sparse=self.sparse)

    def own_rows(self) -> Tensor:
        """Return the rows of this process, (own rows, D), for a loss over all; no gradient for padding."""
        return own_rows(self.weight, self.shards, self.padding_idx)

    def own_items(self) -> Tensor:
        """Return the rows of this process but row 0, those of ``shards.own_items``, with gradient."""
        first = self.shards.own_items.start - self.shards.start
        return own_rows(self.weight, self.shards, self.padding_idx, min(first, self.shards.num_own))

    def as_dtensor(self, mesh: DeviceMesh | None = None) -> DTensor:
        """Return the whole table as a ``DTensor`` that shares its memory, see ``as_dtensor``."""
        return as_dtensor(self.weight, self.shards, mesh)

    def whole(self, to: int | None = None) -> Tensor | None:
        """Return a copy of the whole weight on the process ``to``, None elsewhere; without ``to`` on all."""
        return whole_table(self.weight, self.shards, to)

    def extra_repr(self) -> str:
        """Return what is printed."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return (
            f"{self.num_embeddings}, {self.embedding_dim}{padding}, sparse={self.sparse}, "
            f"{self.shards.num_own} rows from {self.shards.start} on"
        )

    def _own_padding(self) -> int | None:
        """Return which of this process's rows is padding, if one is."""
        if self.padding_idx is None or not self.shards.start <= self.padding_idx < self.shards.stop:
            return None
        return self.padding_idx - self.shards.start


#: A table of ids whose rows are all here, or in shards.
IdEmbedding = nn.Embedding | ShardedEmbedding
