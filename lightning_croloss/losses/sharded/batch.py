"""ShardedBatch: the rows of one process, and what all processes know of all rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.common.item_lists import Ids, ItemLists
from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.losses.batches.call_scores import CallScores, spread_over
from lightning_croloss.losses.batches.metadata import VectorBatch
from lightning_croloss.losses.batches.reduction import Fold
from lightning_croloss.losses.batches.scored import Draws, rank_dtype
from lightning_croloss.losses.checking.kinds import ends_of_amounts, judge_amounts
from lightning_croloss.sharding.messages import everyone_says, gathered_rows, swapped
from lightning_croloss.sharding.row_shards import RowShards


@dataclass(frozen=True)
class ShardedBatch:
    """The rows of this process, its items, and the hits of all rows among them.

    Attributes:
        users: (b, D) of this process.
        positives: (b, D) of this process.
        candidates: (m, D), the items of this process, after some that all rows ignore: row 0 of a table, or
            a made one where there would be none.
        counts: number of rows of each process, in whose order the R rows of all are.
        row_weight: (b,) factor of each row of this process in what it returns.
        hits: (P,) rows of all processes, and (P,) columns of this one's items that they ignore.
        draws: M is the number of items of all processes; weights are those of this one's.
        num_columns: M.
        ignored: how many of the candidates, from the first on, all rows ignore, 0 or 1.
        needs_gradient: whether any process needs one.
        rank: of this process.
        unit_candidates: whether the candidates are still to be brought to unit length.
        share: what the candidates' gradient is multiplied by.
        id_dtype: of numbers of the candidates.
        fold: the shape of the caller's rows, if it is not (b,).
        user_ids: (R,) of all rows, if they are given.
    """

    users: Tensor
    positives: Tensor
    candidates: Tensor
    counts: list[int]
    row_weight: Tensor
    hits: tuple[Tensor, Tensor]
    draws: Draws
    num_columns: int
    ignored: int
    needs_gradient: bool
    rank: int
    unit_candidates: bool
    share: float
    id_dtype: torch.dtype
    fold: Fold | None = None
    user_ids: Tensor | None = None

    @classmethod
    def of(
        cls,
        check: Callable[[], VectorBatch],
        scaled: Callable[[Tensor], Tensor],
        shards: RowShards,
        users: Tensor,
        reduction: str,
        of_table: bool,
    ) -> ShardedBatch:
        """Exchange what all processes must know.

        Args:
            check: returns the rows of this process and its items, or raises.
            scaled: of users' vectors those that are compared.
            shards: of the items.
            users: as the caller gave them, for the device.
            reduction: of the loss.
            of_table: whether the candidates are the rows of a table.

        Raises:
            TypeError, ValueError: ``check`` or an id is refused; on all processes.
        """
        device = users.device if isinstance(users, Tensor) else torch.device("cpu")
        numbers, found = [0.0] * (3 + shards.num_shards), None
        problem: Exception | None = None
        try:
            batch = check()
            batch = batch._replace(users=scaled(batch.users))
            found = batch, *_hits_by_owner(batch, shards)
            numbers = _numbers(*found[:2])
        except (TypeError, ValueError) as error:
            problem = error
        said = everyone_says(numbers, problem, device)
        assert found is not None
        (users, positives, candidates, metadata), sent, pairs = found
        counts = [int(row[0]) for row in said]
        hits = swapped(pairs, sent, [int(row[3 + shards.rank]) for row in said])
        first = torch.tensor([sum(counts[:rank]) for rank in range(len(counts))], device=device)
        arrived = torch.tensor([int(row[3 + shards.rank]) for row in said], device=device)
        rows = hits[:, 0] + first.repeat_interleave(arrived)
        needs_gradient = any(row[1] for row in said)
        if needs_gradient and not users.requires_grad:  # all must take part in the backward pass
            users = users.detach().requires_grad_()
        dtype = rank_dtype(users.dtype, positives.dtype, candidates.dtype)
        num_columns = shards.num_rows - 1
        log_prob = metadata.log_prob
        first_row = shards.start if of_table else shards.own_items.start
        ignored = int(of_table and shards.start == 0)
        if not len(candidates):
            ignored = 1
            candidates = torch.cat([candidates, candidates.new_zeros(1, candidates.shape[1])])
            log_prob = None if log_prob is None else log_prob.new_zeros(1)
        draws = Draws.check(
            torch.Size((sum(counts), len(candidates))),
            dtype,
            device,
            log_prob,
            num_columns,
            metadata.num_items,
        )
        weight = metadata.sample_weight
        weight = users.new_ones(len(users), dtype=dtype) if weight is None else weight.to(dtype)
        if reduction != "none":
            total = max(sum(row[2] for row in said), torch.finfo(dtype).tiny)
            weight = weight * (shards.num_shards if reduction == "sum" else shards.num_shards / total)
        user_ids = metadata.user_ids
        return cls(
            users,
            positives,
            candidates,
            counts,
            weight,
            (rows, hits[:, 1] - first_row),
            draws,
            num_columns,
            ignored,
            needs_gradient,
            shards.rank,
            metadata.unit_candidates,
            1.0 / shards.num_shards if of_table else 1.0,
            shards.id_dtype,
            metadata.fold,
            None if user_ids is None else gathered_rows(user_ids, counts),
        )

    @property
    def rows(self) -> int:
        """Number of rows of all processes R."""
        return sum(self.counts)

    @property
    def own(self) -> slice:
        """Which of them are of this process."""
        before = sum(self.counts[: self.rank])
        return slice(before, before + self.counts[self.rank])

    def hit_lists(self) -> tuple[Tensor, ItemLists]:
        """Return numbers of the columns, 0 = all ignore it, and those that each row ignores.

        They count up without a gap, as those of a catalogue: such need not be sorted.
        """
        rows, columns = self.hits
        lengths = torch.bincount(rows, minlength=self.rows)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        first = 1 - self.ignored
        stop = first + len(self.candidates)
        numbers = torch.arange(first, stop, device=rows.device, dtype=self.id_dtype)
        return numbers, ItemLists(columns[torch.argsort(rows)] + first, offsets)

    def hit_mask(self) -> Tensor:
        """Return (R, m) bool, which columns each row ignores."""
        shape = self.rows, len(self.candidates)
        mask = torch.zeros(shape, dtype=torch.bool, device=self.users.device)
        mask[:, : self.ignored] = True
        mask[self.hits] = True
        return mask

    def nothing(self) -> Tensor:
        """Return losses (b,) of 0, with gradient 0, where there is nothing to compare."""
        dtype = self.row_weight.dtype
        scores = (self.users.to(dtype) * self.positives.to(dtype)).sum(-1)
        return scores * 0.0 + self.candidates[:0].to(dtype).sum()

    def call_scores(self, num_items: int | None) -> CallScores:
        """Return what is told of the scores, for warnings: those of this process's rows and items.

        Args:
            num_items: size of the catalogue as far as the loss knows it.
        """
        return CallScores(self.num_columns, num_items, self._sample_of_differences)

    @torch.no_grad()
    def _sample_of_differences(self) -> Tensor:
        users, positives = self.users.float(), self.positives.float()
        candidates = self.candidates[self.ignored :]
        if not len(candidates) or not len(users):
            return users.new_zeros(0, 0)
        rows, columns = spread_over(len(users), len(candidates))
        users, positives, candidates = users[rows], positives[rows], candidates[columns].float()
        candidates = unit_length(candidates) if self.unit_candidates else candidates
        return users @ candidates.T - (users * positives).sum(-1, keepdim=True)


def _numbers(batch: VectorBatch, sent: list[int]) -> list[float]:
    users, positives, candidates, metadata = batch
    needs = any(part.requires_grad for part in (users, positives, candidates)) and torch.is_grad_enabled()
    weight = metadata.sample_weight
    total = float(len(users)) if weight is None else 0.0
    if weight is not None and weight.numel():
        *ends, total = torch.cat([ends_of_amounts(weight), weight.detach().double().sum().view(1)]).tolist()
        judge_amounts("sample_weight", ends)
    return [float(len(users)), float(needs), total, *map(float, sent)]


def _hits_by_owner(batch: VectorBatch, shards: RowShards) -> tuple[list[int], Tensor]:
    """Return how many pairs go to each process, and these: (P, 2) of row and item to ignore.

    Raises:
        ValueError: an id is out of range.
    """
    targets, excluded = batch.metadata.target_ids, batch.metadata.excluded_ids
    found = []
    for name, ids in (("target_ids", targets), ("excluded_ids", excluded)):
        if ids is None:
            continue
        rows, items = _entries(ids)
        wrong = items[(items < 0) | (items >= shards.num_rows)]
        if len(wrong):
            raise ValueError(
                f"{name} holds {int(wrong[0])}, but items are 1 … {shards.num_rows - 1:,}, and 0 is padding"
            )
        found.append(torch.stack([rows, items], dim=1))
    pairs = torch.cat(found) if found else torch.zeros(0, 2, dtype=torch.long, device=batch.users.device)
    owners = shards.owners(pairs[:, 1])
    order = torch.argsort(owners, stable=True)
    return torch.bincount(owners, minlength=shards.num_shards).tolist(), pairs[order]


def _entries(ids: Ids) -> tuple[Tensor, Tensor]:
    """Return row and id of each id that is not padding, (P,) both, of ids (B,), (B, E) or lists."""
    if isinstance(ids, ItemLists):
        begin, stop = ids.offsets[ids.rows], ids.offsets[ids.rows + 1]
        each = ItemLists.of_ranges(ids.values, begin, stop)
        real = each.values != 0
        return each.list_of_value[real], each.values[real]
    listed = ids.unsqueeze(1) if ids.dim() == 1 else ids
    rows, columns = torch.nonzero(listed, as_tuple=True)
    return rows, listed[rows, columns]
