"""BERT4Rec: masked items of the history, told from the events on both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.common.checks import check_counts, check_probability
from lightning_croloss.common.uniform_draws import uniform_draws
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.target_counts import places_of, sent
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.layers.transformer import PreNormBlock, TransformerEncoder, check_heads
from lightning_croloss.models.masked_targets import masked_counts
from lightning_croloss.models.windows import one_by_one, targets_of_windows


class BERT4Rec(HistoryModel):
    """Read the history with attention to both sides; the user is the output at a mask behind the last event.

    Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from
    Transformer", CIKM 2019. A training row is a window of up to ``max_history`` + 1 events. Some of its
    targets are masked; each of these is told from all events that are not, later ones included, and compared
    with the negatives by the loss. An epoch has every window once, with other masks each time, so that more
    epochs are needed than with ``train_on="all"`` of the architectures that see earlier events only. The
    mask is a parameter of its own and no item: it is never recommended. Only events that the split trains on
    are masked; a row with a single target, as other architectures are trained on, has its target masked.

    The cross-entropy of the paper is ``SoftmaxLoss`` over ``FullCatalogNegatives``, with ``similarity="dot"``
    and without the bias of each item, which a search by vectors has no place for. The blocks are those of
    ``SASRec``, norm first, with GELU. Positions count back from the end of the row, where inference asks.

    Args:
        num_items: size of the catalogue, from the data.
        num_blocks: number of blocks of attention and feed-forward network.
        num_heads: number of heads, a divisor of ``embedding_dim``.
        feedforward_dim: width of the hidden layer of the feed-forward networks.
        dropout: probability that a component of what a part of a block adds is dropped in training.
        mask_probability: probability that a target is masked; of a row where none is, the last one will be
            masked.
        mask_last_probability: probability that of a row the last target alone is masked, as at inference.
        random_ends: whether a row whose last target alone is masked ends there with any of its targets, drawn
            anew each time, and not with the window. The end of a window is the same target in each epoch and,
            with a large ``mask_last_probability``, soon learned by heart.
        max_length: number of events, at least the data's ``max_history``; of a longer history the model
            reads the last ones.
        **kwargs: arguments of ``HistoryModel`` and ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range.
    """

    all_positions = True
    starts_small = True
    tells_first_events = True
    max_length: int

    def __init__(
        self,
        num_items: int,
        num_blocks: int = 2,
        num_heads: int = 2,
        feedforward_dim: int = 256,
        dropout: float = 0.2,
        mask_probability: float = 0.3,
        mask_last_probability: float = 0.1,
        random_ends: bool = False,
        max_length: int = 200,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        check_counts(
            num_blocks=num_blocks, num_heads=num_heads, feedforward_dim=feedforward_dim, max_length=max_length
        )
        dim = self.embedding_dim
        check_heads(num_heads, dim)
        check_probability(
            dropout=dropout, mask_probability=mask_probability, mask_last_probability=mask_last_probability
        )
        self.mask_probability = mask_probability
        self.mask_last_probability = mask_last_probability
        self.random_ends = random_ends
        self.max_length = max_length
        self.mask_embedding = nn.Parameter(torch.randn(dim))
        self.position_embedding = nn.Embedding(max_length + 1, dim)
        # items, scaled below, have components of about 1 for cosines, and at first outweigh the positions
        nn.init.normal_(self.position_embedding.weight, std=0.1)
        self.blocks = TransformerEncoder(
            lambda: PreNormBlock(
                dim, num_heads, feedforward_dim, dropout, num_blocks, False, functional.gelu
            ),
            num_blocks,
        )
        self.output_norm = nn.LayerNorm(dim)
        self.output_map = nn.Linear(dim, dim)
        self.vector_norm = nn.LayerNorm(dim)

    def setup(self, stage: str) -> None:
        """Take from the data what training needs.

        Raises:
            ValueError: the data has other targets than the events of a window themselves.
        """
        super().setup(stage)
        if stage == "fit" and self.data is not None and self.data.target_window > 1:
            raise ValueError(
                f"BERT4Rec is trained to tell masked events, not later ones: set target_window="
                f"{self.data.target_window} to 1"
            )

    def target_counts(self, data: RetrievalDataModule) -> Tensor:
        """Return (num_items + 1,) how often each item is masked in an epoch, on average.

        Of data in partitions nobody sees all rows at once; there it is how often each is a target.
        """
        if data.partitions is not None:
            return super().target_counts(data)
        return masked_counts(
            data.interactions,
            data.train_rows.first,
            data.max_history,
            self.mask_probability,
            self.mask_last_probability,
            self.random_ends,
        )

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the vector at a mask behind the last event, (B, 1, D)."""
        batch = self.visible(batch)
        items = functional.pad(batch.history, (0, 1))
        masked = functional.pad(torch.zeros_like(batch.history, dtype=torch.bool), (0, 1), value=True)
        return self._vectors(self._states(batch, items, masked)[:, -1])

    def training_users(self, batch: RetrievalBatch) -> tuple[Tensor, RetrievalBatch]:
        """Return user vectors (P, 1, D) at the masks and a batch of P rows, one for each masked target.

        The history of the returned batch holds the event before the target alone.

        Raises:
            ValueError: the batch has neither one target a row nor one at each position of the history, or
                more events than the model reads.
        """
        if batch.padded_targets.shape[1] == 1:
            batch = self.visible(batch)
            if batch.sample_weight is not None:
                batch = replace(batch, sample_weight=batch.sample_weight.flatten())
            items = torch.cat([batch.history, batch.padded_targets], dim=1)
            masked = torch.zeros_like(items, dtype=torch.bool)
            masked[:, -1] = True
            return self._vectors(self._states(batch, items, masked)[:, -1]), batch
        targets = targets_of_windows(batch, "BERT4Rec", self.max_length, single=True)
        counts, number = batch.target_counts, None
        if counts is None:
            chosen, left = self._choose(targets != 0)
        else:  # drawn on the host, which then knows how many there are without waiting for the device
            chosen, left = self._choose(counts.on_host != 0)
            number = int(chosen.sum())
            chosen, left = sent(chosen, targets.device), sent(left, targets.device)
        if self.event_feature_embedding is not None:
            # of the features of a window's last event nothing is known: it is told, or it is not there
            left = torch.cat([left[:, :-1], left[:, -1:] & chosen[:, -1:]], dim=1)
        # position i of the targets is event i + 1 of the window
        items = torch.cat([batch.history, targets[:, -1:]], dim=1)
        items = items.where(functional.pad(left, (1, 0), value=True), 0)
        masked = functional.pad(chosen, (1, 0))
        states = self._states(self._without_hidden_times(batch, masked), items, masked)
        rows, positions = places_of(chosen, number)
        return self._vectors(states[rows, positions + 1]), one_by_one(batch, targets, rows, positions)

    def _choose(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return which targets are masked, one a row at least, and which are left, up to the row's end.

        Args:
            targets: (B, L) bool, the targets that there are.

        Returns:
            (B, L) and (B, L) bool.
        """
        chosen = targets & (uniform_draws(targets.shape, targets.device) < self.mask_probability)
        alone = uniform_draws((len(targets), 1), targets.device) < self.mask_last_probability
        alone = alone | ~chosen.any(1, keepdim=True)
        columns = torch.arange(targets.shape[1], device=targets.device)
        if not self.random_ends:
            last = torch.where(targets, columns, -1).amax(1, keepdim=True)
            return torch.where(alone, targets & (columns == last), chosen), torch.ones_like(targets)
        drawn = uniform_draws(targets.shape, targets.device).where(targets, -1)
        last = drawn.argmax(1, keepdim=True)
        return torch.where(alone, targets & (columns == last), chosen), ~alone | (columns <= last)

    def _states(self, batch: RetrievalBatch, items: Tensor, masked: Tensor) -> Tensor:
        """Return the outputs (B, L, D) of the last block.

        Args:
            batch: the batch that the items are of.
            items: (B, L) the events, 0 = padding, or a mask without an item.
            masked: (B, L) bool, True = a mask, at least one in each row.
        """
        real = masked | (items != 0)
        visible = items.masked_fill(masked, 0)
        # an event behind a masked one has one before it, unless all before it are masked
        before = real & ((visible != 0).cumsum(1) > 0)
        events, seen = self.embed_history(replace(batch, history=visible), before)
        numbers = real.cumsum(1)  # dropped events counted
        positions = (numbers[:, -1:] - numbers).clamp(max=self.max_length)
        # for cosines components of about 1, the size of what the blocks add
        events = torch.where(
            masked.unsqueeze(-1), self.mask_embedding.to(events.dtype), events * self.embedding_dim**0.5
        )
        states: Tensor = self.blocks(events + self.position_embedding(positions), seen | masked)
        return states

    @staticmethod
    def _without_hidden_times(batch: RetrievalBatch, masked: Tensor) -> RetrievalBatch:
        """Return the batch with the time of the event before in place of each masked one's, (B, L)."""
        if batch.events is None or batch.events.times is None:
            return batch
        times = batch.events.times
        columns = torch.arange(times.shape[1], device=times.device)
        told = torch.where(masked[:, : times.shape[1]], 0, columns).cummax(1).values
        return replace(batch, events=replace(batch.events, times=times.gather(1, told)))

    def _vectors(self, states: Tensor) -> Tensor:
        """Map outputs (P, D) to the users' vectors (P, 1, D)."""
        vectors = self.vector_norm(functional.gelu(self.output_map(self.output_norm(states))))
        return self.normalize(vectors).unsqueeze(1)
