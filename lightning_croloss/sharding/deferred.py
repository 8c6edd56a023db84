"""Tables of ids that are made only when it is known in which shards: no process ever holds a whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from lightning_croloss.sharding.drawing import draw_rows
from lightning_croloss.sharding.embedding import ShardedEmbedding
from lightning_croloss.sharding.padded import PaddedEmbedding
from lightning_croloss.sharding.row_shards import RowShards

#: Whether tables are made later, and whether the generator moves on for their rows.
_DEFERS: ContextVar[tuple[bool, bool]] = ContextVar("defers", default=(False, False))


@contextmanager
def deferred_tables(drawn: bool = True) -> Iterator[None]:
    """Let models that are built in this block have tables of ids without memory, see ``id_embedding``.

    ``croloss_sharded`` makes this process's rows of them when its processes have met. Nothing else does: a
    model that was built so is trained and evaluated with that strategy.

    Args:
        drawn: whether they will be drawn; else their rows are read from a file, and no random number is taken
            for them.
    """
    token = _DEFERS.set((True, drawn))
    try:
        yield
    finally:
        _DEFERS.reset(token)


def defers_tables() -> bool:
    """Tell whether tables are to be made later, see :func:`deferred_tables`."""
    return _DEFERS.get()[0]


class DeferredEmbedding(nn.Embedding):
    """An embedding of ids, with zeros for id 0, that has a shape and no memory until :meth:`made`.

    It takes as many random numbers as an embedding that is made at once, so that whatever is drawn after it
    is the same, and remembers where its own began.

    Args:
        num_embeddings: rows of the whole table.
        embedding_dim: D.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx=0, device="meta")
        _, self._draws = _DEFERS.get()
        self._drawn_as = self.weight.dtype
        self._pass(0)  # what an embedding draws at its construction
        self._std, self._state = 1.0, torch.get_rng_state()
        self._factor = 1.0

    def draw(self, std: float) -> None:
        """Note that all rows but that of id 0 are normally distributed."""
        self._std, self._state = std, torch.get_rng_state()
        self._pass(1)

    def shorten(self, factor: float) -> None:
        """Note that all rows are multiplied once they are drawn."""
        self._factor *= factor

    def made(self, shards: RowShards) -> nn.Embedding | ShardedEmbedding:
        """Return the rows of this process, those that one process would have drawn; see ``draw_rows``."""
        rows = torch.zeros(shards.num_own, self.embedding_dim, dtype=self._drawn_as)
        after = torch.get_rng_state()
        torch.set_rng_state(self._state)
        draw_rows(rows, shards, self._fill, first=1)
        torch.set_rng_state(after)
        rows = rows.to(self.weight.dtype)
        if shards.num_shards == 1:
            number, dim = self.weight.shape
            return PaddedEmbedding(number, dim, self.sparse, rows)
        own = self.described(shards)
        own.weight = nn.Parameter(rows, requires_grad=self.weight.requires_grad)
        return own

    def described(self, shards: RowShards) -> ShardedEmbedding:
        """Return the rows of this process without memory, for values that are read from a file."""
        number, dim = self.weight.shape
        return ShardedEmbedding(
            number, dim, 0, sparse=self.sparse, shards=shards, device="meta", dtype=self.weight.dtype
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DeferredEmbedding:
        """Take another type; on another device it has no memory either, which a trainer that ends may ask."""
        dtype = fn(torch.empty(0, dtype=self.weight.dtype)).dtype
        super()._apply(lambda weight: weight.to(dtype), recurse)
        return self

    def _fill(self, rows: Tensor) -> object:
        return rows.normal_(std=self._std).mul_(self._factor)

    def _pass(self, first: int) -> None:
        """Let the generator move on as if all rows from ``first`` on were drawn."""
        if self._draws:
            draw_rows(self.weight, RowShards(self.num_embeddings), Tensor.normal_, first)
