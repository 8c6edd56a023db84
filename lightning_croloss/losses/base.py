"""RetrievalLoss: the contract that every loss of this package keeps."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_croloss.common.checks import check_counts
from lightning_croloss.common.item_lists import Ids
from lightning_croloss.common.printed_call import PrintedCall
from lightning_croloss.common.products import no_autocast
from lightning_croloss.common.spare_memory import SpareMemory
from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.common.unread_values import is_unread
from lightning_croloss.configurable import Configurable
from lightning_croloss.losses.batches.call_scores import CallScores
from lightning_croloss.losses.batches.in_batch import Pairs, own_item_batches
from lightning_croloss.losses.batches.item_counts import ItemCounts
from lightning_croloss.losses.batches.logits import LogitBatch
from lightning_croloss.losses.batches.metadata import BatchMetadata, VectorBatch
from lightning_croloss.losses.batches.reduction import (
    Fold,
    blank_unweighted,
    check_reduction,
    reduce_losses,
    total_weight,
)
from lightning_croloss.losses.batches.rows import flat_scores, one_row_each
from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.losses.checking.arguments_given import (
    check_embeddings,
    check_logits,
    check_pairs,
    check_scores,
    check_user_ids,
)
from lightning_croloss.losses.checking.inspection import Inspection
from lightning_croloss.losses.checking.resolution import Comparison
from lightning_croloss.losses.checking.scheduled_values import ScheduledValues
from lightning_croloss.losses.sharded.arguments import checked_rows, refuse_unshardable
from lightning_croloss.losses.sharded.batch import ShardedBatch
from lightning_croloss.losses.sharded.naive import naive_losses
from lightning_croloss.losses.temperature import LearnableTemperature
from lightning_croloss.sharding.row_shards import RowShards

if TYPE_CHECKING:
    from lightning_croloss.losses.log_prob import Counts

#: Most scores of pairs that are computed all at once, 16 MiB of them.
MOST_PAIRS = 2**22


class RetrievalLoss(PrintedCall, Configurable, LearnableTemperature, ABC):
    """A loss over one positive and many negatives, blind to the model that scored them.

    A subclass implements :meth:`row_losses`. Callers use :meth:`in_batch` when the other rows of a batch are
    the negatives, :meth:`from_embeddings` when they have the vectors of candidates, :meth:`from_logits` when
    they have scores and labels as for cross-entropy, or ``loss(positive_scores, negative_scores)``.

    Args:
        num_items: size of the catalogue N.
        reduction: "mean" over the rows, weighted if there is a ``sample_weight``; "sum"; or "none", the
            (weighted) loss of each row.

    Attributes:
        num_items: size of the catalogue N. None, when left out, is filled by ``RetrievalModel``; outside a
            model it stays None and the negatives count as the whole catalogue.
        diagnostics: detached scalars of the last forward pass, for logging (CROLoss: ``soft_rank``).
        needs_user_ids: whether ``from_embeddings`` needs ``user_ids``.
        epoch: number of the epoch, for losses that keep something for some epochs. A ``RetrievalModel``
            sets it where ``needs_user_ids``; in a loop of your own it is for you to set.
        num_users: the largest id of a user, where ``needs_user_ids``; None = it is read of each batch, which
            waits for a device. A ``RetrievalModel`` sets it if its trainer has a data module.
        positive_scale: what a positive's score is multiplied by before negatives are compared with it.
        across_processes: whether the mean (or sum) is that of the rows of all processes of
            ``torch.distributed``, so that the mean of the processes' losses, which DDP minimises, is the loss
            of one process with all rows, however many each has: for W processes W times the weighted sum of
            the own rows, divided by the weights of all. Every process must call the loss as often, also with
            no rows. ``from_sharded_embeddings`` always does so.
    """

    needs_user_ids: bool = False
    epoch: int = 0
    num_users: int | None = None
    positive_scale: float = 1.0
    across_processes: bool = False
    #: Of a class that implements ``row_losses``: whether all that it takes of negatives are
    #: ``ScoredBatch.sum``, ``largest`` and what is made of them.
    sums_over_negatives: bool = False

    def __init__(self, num_items: int | None = None, *, reduction: str = "mean") -> None:
        super().__init__()
        if num_items is not None:
            check_counts(num_items=num_items)
        self.num_items = num_items
        self.reduction = check_reduction(reduction)
        self._item_counts = ItemCounts()
        self._scheduled = ScheduledValues()
        self.diagnostics: dict[str, Tensor] = {}
        #: for the gradient of many candidates, where whoever trains gives back what an optimizer is done with
        self.spare_memory = SpareMemory()
        self._warned: set[str] = set()
        self._inspection = Inspection(self._warn_once)

    def after_init(self) -> None:
        """Take the values that the constructor has set; what is set later is checked."""
        self._scheduled.keep(self)

    @abstractmethod
    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the loss of each row, (B,); the batch has at least one row and one negative."""

    def forward(
        self,
        positive_scores: Tensor,
        negative_scores: Tensor | None = None,
        *,
        negative_mask: Tensor | None = None,
        negative_log_prob: Tensor | None = None,
        num_sampled: int | Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss from scores.

        Args:
            positive_scores: (B,) score of each row's positive, or (B, L) for L positions.
            negative_scores: (B, M) scores of its negatives, or (B, L, M).
            negative_mask: (M,) or (B, M) bool, True = ignore (padding, accidental hits, known positives); or
                (B, L, M).
            negative_log_prob: (M,) or (B, M) log q_j, the probability of item j in one draw of the sampler;
                None = uniform; or (B, L, M).
            num_sampled: number of draws, a number or (B,). Default M: ignored draws are draws too, only
                padding is not. Rows without any draw have loss 0.
            sample_weight: (B,) weight of each row in the mean, or (B, L); 0 leaves a padded position out.

        Returns:
            Scalar: the (weighted) mean over the batch, in float32 or float64. With ``reduction="sum"`` the
            sum, with "none" the loss of each row, (B,) or (B, L).

        Raises:
            TypeError: an argument is not a tensor, or the negatives are missing.
            ValueError: types, shapes or devices do not fit, ``negative_log_prob`` comes without a catalogue
                size, or values show a mistake (see ``lightning_croloss.losses.checking.inspection``).
        """
        negative_scores = check_scores(
            positive_scores, negative_scores, negative_mask, negative_log_prob, num_sampled, sample_weight
        )
        self._inspection.amounts(num_sampled, sample_weight)
        fold = None
        if positive_scores.dim() == 2 and negative_scores.dim() == 3:
            fold = Fold.of_shape(positive_scores)
            positive_scores, negative_scores, negative_mask, negative_log_prob, num_sampled, sample_weight = (
                flat_scores(
                    positive_scores,
                    negative_scores,
                    negative_mask,
                    negative_log_prob,
                    num_sampled,
                    sample_weight,
                )
            )
        if not is_unread(negative_scores):
            self._inspection.of_scores(positive_scores, negative_scores, negative_mask, negative_log_prob)
        positive_scores = blank_unweighted(positive_scores, sample_weight)
        batch = ScoredBatch.check(
            positive_scores, negative_scores, negative_mask, negative_log_prob, num_sampled, self.num_items
        )
        batch = replace(batch, positive_scores=self._scaled(batch.positive_scores))
        return self._loss_of_scores(self.batch_at_temperature(batch), sample_weight, fold)

    def _loss_of_scores(self, batch: ScoredBatch, sample_weight: Tensor | None, fold: Fold | None) -> Tensor:
        """Compute the loss of checked scores; ``sample_weight`` (B,), the result as ``fold`` shapes it."""
        self._scheduled.check(self)
        if batch.negative_scores.numel() == 0:
            # nothing to compare with: loss 0, gradient 0, also of negatives that other processes wait for
            losses = batch.positive_scores * 0.0 + batch.negative_scores.sum(1)
        else:
            if not is_unread(batch.negative_scores):
                self.inspect_scores(CallScores.of(batch))
            with no_autocast(batch.positive_scores.device):
                losses = self.row_losses(batch)
            losses = torch.where(batch.draws.has_draws, losses, torch.zeros_like(losses))
        return reduce_losses(losses, sample_weight, self.reduction, fold, self.across_processes)

    def from_embeddings(
        self,
        users: Tensor,
        positives: Tensor,
        candidates: Tensor,
        *,
        target_ids: Tensor | None = None,
        candidate_ids: Tensor | None = None,
        excluded_ids: Ids | None = None,
        candidate_log_prob: Tensor | None = None,
        num_sampled: int | Tensor | None = None,
        sample_weight: Tensor | None = None,
        padding_id: int | None = 0,
        user_ids: Tensor | None = None,
        normalize_candidates: bool = False,
    ) -> Tensor:
        """Compute the loss from vectors, by their dot products.

        A row is a user and a positive. With users (B, L, D) and positives (B, L, D) each of the L positions
        is a row; padding among the ``target_ids`` (B, L) leaves a position out. With users (B, D) and
        positives (B, P, D) a row has several positives, padded likewise: each is compared with the negatives
        alone, and the loss of the row is their mean.

        Args:
            users: (B, D) user vectors, or (B, L, D).
            positives: (B, D) vectors of the targets, or (B, L, D), or (B, P, D).
            candidates: (M, D) negatives shared by the batch, or (B, M, D) negatives of each row, or
                (B, L, M, D).
            target_ids: (B,), (B, L) or (B, P) item ids of the targets: a candidate equal to its row's target
                is not a negative.
            candidate_ids: (M,) or (B, M) item ids of the candidates; padding does not count as a draw. Or
                (B, L, M).
            excluded_ids: (B, E) items that are not negatives for a row, padded, or lists of them; or
                (B, L, E) or (B, P, E), of each position or positive.
            candidate_log_prob: (M,) or (B, M) log q_j of each candidate, or (B, L, M).
            num_sampled: number of draws, a number or (B,). Default: the candidates that are not padding.
            sample_weight: (B,) weight of each row in the mean, or (B, L).
            padding_id: the id that is padding. None = none is, and ids may be any integers: class indices
                from 0, hashes.
            user_ids: (B,) id of each row's user, from 0 on, of any integer type; only a loss with
                ``needs_user_ids`` looks at it.
            normalize_candidates: bring the candidates to unit length first, zeros staying zeros. With a whole
                table as the candidates this takes less time and memory than to give it normalised.

        Returns:
            The loss as :meth:`forward` returns it for the vectors' dot products.

        Raises:
            TypeError: an argument is not a tensor.
            ValueError: types, shapes or devices do not fit, ids to compare come without ``candidate_ids``,
                ``candidate_log_prob`` without a catalogue size, or values show a mistake (see
                ``lightning_croloss.losses.checking.inspection``).
        """
        check_embeddings(
            users,
            positives,
            candidates,
            target_ids,
            candidate_ids,
            excluded_ids,
            candidate_log_prob,
            num_sampled,
            sample_weight,
            padding_id,
        )
        self._inspection.amounts(num_sampled, sample_weight)
        metadata = BatchMetadata.check(
            target_ids,
            candidate_ids,
            excluded_ids,
            candidate_log_prob,
            num_sampled,
            sample_weight,
            self.num_items,
            padding_id,
            normalize_candidates,
        )
        if user_ids is not None:
            check_user_ids(user_ids, users.shape[:1], users.device)
            metadata = replace(metadata, user_ids=user_ids.long())
        batch = VectorBatch(users, positives, candidates, metadata)
        if users.dim() == 3 or positives.dim() == 3:
            batch = one_row_each(batch)
        if not is_unread(users):
            if (
                target_ids is not None
                and padding_id is not None
                and target_ids.dim() == 1
                and len(candidates)
            ):
                self._inspection.targets(target_ids, padding_id, sample_weight)
            self._inspection.of_vectors(batch, users.shape, padding_id)
        if sample_weight is not None and batch.metadata.fold is None:  # padded positions are blank already
            users, positives = (blank_unweighted(part, sample_weight) for part in (users, positives))
            batch = batch._replace(users=users, positives=positives)
        return self._loss_of_vectors(*batch._replace(positives=self._scaled(batch.positives)))

    def from_logits(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        mask: Tensor | None = None,
        log_prob: Tensor | None = None,
        ignore_index: int = -100,
        sample_weight: Tensor | None = None,
        class_dim: int | None = None,
    ) -> Tensor:
        """Compute the loss from logits and labels, as ``torch.nn.functional.cross_entropy`` is called.

        Each positive is compared with its row's negatives alone, and the loss of a row with several is their
        mean. Rows without a positive are ignored: they have loss 0 and do not count in the mean.

        Without ``log_prob`` the columns are the whole catalogue, so N and M are the number of columns that
        are not padding, whatever ``num_items`` is. With it they were drawn: N is ``num_items``, and M the
        columns that are neither padding nor positives of the row.

        Args:
            logits: (B, C) scores of the classes; (B, L, C) or, as for cross-entropy, (B, C, L) for L
                positions. Which of the two is told by the shape of the labels.
            labels: (B,) or (B, L) class indices, of any integer type. Several positives a row: (B, P) or
                (B, L, P) class indices, padded with ``ignore_index``; or multi-hot, bool or floating, of the
                logits' shape.
            mask: columns to ignore, bool, True = ignore. (C,): padding, which is no item and no draw. Of the
                logits' shape: known positives and the like, which are. A positive may be masked.
            log_prob: (C,), or of the logits' shape, log q of each column: the probability of its item in one
                draw of the sampler.
            ignore_index: a label that is no class: a row to ignore, or padding.
            sample_weight: (B,) or (B, L) weight of each row in the mean.
            class_dim: -1 (B, L, C) or 1 (B, C, L), where shapes do not tell. Multi-hot labels lie as the
                logits do, and classes come last unless it is 1.

        Returns:
            Scalar: the (weighted) mean over the rows that are not ignored; 0 if all are. With
            ``reduction="sum"`` their sum, with "none" the loss of each row, (B,) or (B, L).

        Raises:
            TypeError: logits or labels are no tensors.
            ValueError: shapes or types do not fit, or fit in two ways; a label is no class (on the CPU; a
                device would be waited for); ``log_prob`` comes without ``num_items``; or values show a
                mistake (see ``lightning_croloss.losses.checking.inspection``).
        """
        check_logits(logits, labels, mask, log_prob, ignore_index, sample_weight, class_dim)
        self._inspection.amounts(None, sample_weight)
        batch = LogitBatch.check(
            logits, labels, mask, log_prob, ignore_index, sample_weight, class_dim, self.num_items
        )
        if not is_unread(logits):
            if (advice := batch.advice(self.num_items)) is not None:
                self._warn_once("logits", advice)
            self._inspection.of_logits(batch)
        batch = replace(batch, logits=self.scores_at_temperature(batch.logits))
        batch = batch.with_positives_times(self.positive_scale)
        if batch.positives.number == 0 or batch.logits.numel() == 0:
            nothing = batch.nothing(self.reduction)
            if self.across_processes and self.reduction == "mean":  # the others ask for it
                total_weight(nothing.detach().new_zeros(1), across=True)
            return nothing
        return self._loss_of_logits(batch)

    def _loss_of_logits(self, batch: LogitBatch) -> Tensor:
        """Compute the loss of checked logits, of which there is at least one, with one positive."""
        return self._loss_of_scores(batch.scored(), batch.sample_weight, batch.fold)

    def in_batch(
        self,
        users: Tensor,
        items: Tensor,
        *,
        item_ids: Tensor | None = None,
        item_counts: Counts | None = None,
        sample_weight: Tensor | None = None,
        symmetric: bool = False,
        gather_across_devices: bool = False,
        user_ids: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss of pairs: row i's positive is item i, the items of the other rows its negatives.

        An item is drawn as a negative as often as it is a target, so that popular items are pushed away for
        nothing but their popularity, unless ``item_counts`` corrects for it (Yi et al., RecSys 2019). **Give
        them**: nothing else that a loss does is worth as much here.

        Args:
            users: (B, D) user or query vectors.
            items: (B, D) vector of each row's item.
            item_ids: (B,) ids of the items, any integers. A row's own item is never its negative, nor are
                items with the same id. None = all are different items.
            item_counts: (C,) how often each id is a target in the training data, by id:
                ``torch.bincount(all_item_ids)``. Needs ``item_ids`` from 0 to C − 1. None = no correction.
            sample_weight: (B,) weight of each row in the mean.
            symmetric: also take each item's user against the other users; the loss is the mean of both.
            gather_across_devices: also take the items of the batches of the other processes, with gradient.
            user_ids: (B,) ids of the users, any integers. All items that a user has in the batch are then
                none of its negatives, nor is it one of theirs. None = all are different users.

        Returns:
            The loss as :meth:`forward` returns it; M = B − 1 draws a row. N is ``num_items`` or, without it,
            the number of ids that occur in ``item_counts``.

        Raises:
            TypeError: an argument is not a tensor.
            ValueError: types, shapes or devices do not fit, ``item_counts`` comes without ``item_ids`` or
                lacks one of them.
        """
        check_pairs(users, items, item_ids, sample_weight, user_ids)
        self._inspection.amounts(None, sample_weight)
        pairs = own_item_batches(
            users,
            items,
            item_ids,
            None if item_counts is None else self._item_counts.of(item_counts, users.device),
            sample_weight,
            self.num_items,
            gather_across_devices,
            user_ids,
        )
        if not symmetric:
            return self._loss_of_pairs(pairs.forth, pairs)
        # the diagnostics that stay are those of the users' ranking
        other = self._loss_of_pairs(pairs.back, pairs)
        return 0.5 * (self._loss_of_pairs(pairs.forth, pairs) + other)

    def _loss_of_pairs(self, batch: VectorBatch, pairs: Pairs) -> Tensor:
        """Compute the loss of one direction: from all scores where they are few, which is faster."""
        users, items, candidates, metadata = batch
        number = users.shape[0] * candidates.shape[0]
        if not 0 < number <= MOST_PAIRS:
            return self._loss_of_vectors(users, self._scaled(items), candidates, metadata)
        dtype = torch.promote_types(users.dtype, candidates.dtype)
        scores = self.vectors_at_temperature(users).to(dtype) @ candidates.to(dtype).T
        logits = LogitBatch.of_pairs(scores, pairs.first, pairs.distinct, metadata)
        return self._loss_of_logits(logits.with_positives_times(self.positive_scale))

    def _scaled(self, positives: Tensor) -> Tensor:
        """Return scores or vectors of positives times ``positive_scale``."""
        return positives if self.positive_scale == 1.0 else positives * self.positive_scale

    def _loss_of_vectors(
        self, users: Tensor, positives: Tensor, candidates: Tensor, metadata: BatchMetadata
    ) -> Tensor:
        """Compute all scores, then the loss from them; the vectors are those of :meth:`from_embeddings`."""
        users = self.vectors_at_temperature(users)
        candidates = unit_length(candidates) if metadata.unit_candidates else candidates
        dtype = torch.promote_types(torch.promote_types(users.dtype, positives.dtype), candidates.dtype)
        users, positives, candidates = users.to(dtype), positives.to(dtype), candidates.to(dtype)
        positive_scores = (users * positives).sum(-1)
        if candidates.dim() == 2:
            negative_scores = users @ candidates.T
        else:
            negative_scores = torch.einsum("bd,bmd->bm", users, candidates)
        batch = ScoredBatch.check(
            positive_scores,
            negative_scores,
            metadata.hit_mask(),
            metadata.log_prob,
            metadata.num_sampled,
            metadata.num_items,
        )
        if metadata.user_ids is not None:
            batch = replace(batch, user_ids=metadata.user_ids)
        return self._loss_of_scores(batch, metadata.sample_weight, metadata.fold)

    @property
    def supports_shards(self) -> bool:
        """Whether :meth:`from_sharded_embeddings` can compute the loss: a row needs sums over negatives."""
        owner = next(cls for cls in type(self).__mro__ if "row_losses" in vars(cls))
        return bool(vars(owner).get("sums_over_negatives", False))

    @uncompiled
    def from_sharded_embeddings(
        self,
        users: Tensor,
        positives: Tensor,
        candidates: Tensor,
        shards: RowShards,
        *,
        target_ids: Tensor,
        excluded_ids: Ids | None = None,
        candidate_log_prob: Tensor | None = None,
        sample_weight: Tensor | None = None,
        user_ids: Tensor | None = None,
        normalize_candidates: bool = False,
        of_table: bool = False,
    ) -> Tensor:
        """Compute the exact loss against a whole catalogue whose items lie in shards, one a process.

        Every process calls it with its own rows of the batch, whose numbers may differ and be 0, and with the
        vectors of its own items. What it returns is such that the **mean over the processes** is the loss of
        one process with all rows and all items (see ``across_processes``), and so are the gradients: of the
        users and positives those of this process's loss, of the candidates those of the sum over the
        processes' losses, which is what ``ShardedEmbedding.own_items`` takes. No process holds more of the
        catalogue than its shard.

        Traffic of a process, with b of the R rows of all W processes, width D: users R (2 D + 3) numbers
        to gather, two sums a row (four with the Lambda method) to add up, (R + (W − 2) b) (D + 1) numbers of
        the users' gradients, 16 bytes for each target and excluded item, 8 (W + 4) bytes of headers from
        each, and R numbers in the backward pass. None of it grows with the catalogue.

        Args:
            users: (b, D), or (b, L, D), as for :meth:`from_embeddings`.
            positives: (b, D), (b, L, D) or (b, P, D).
            candidates: (m, D) vectors of ``shards.own_items``, in this order.
            shards: of the table of items, whose row 0 is padding.
            target_ids: (b,), (b, L) or (b, P) items of the positives, which are no negatives.
            excluded_ids: (b, E) items that are not negatives for a row, padded with 0, or lists of them.
            candidate_log_prob: (m,) log q_j of each of the candidates.
            sample_weight: (b,) weight of each row in the mean, or (b, L).
            user_ids: (b,) id of each row's user, for a loss with ``needs_user_ids``.
            normalize_candidates: as for :meth:`from_embeddings`.
            of_table: the candidates (and their log q) are all rows of this process's ``shards``, row 0 too if
                it is here: the ``weight`` of a ``ShardedEmbedding``. Their gradient is that of the mean over
                the processes, as of its look-ups.

        Returns:
            Scalar: W times this process's share of the (weighted) mean or sum over the rows of all. With
            ``reduction="none"`` the loss of each row of this process, (b,) or (b, L).

        Raises:
            TypeError: an argument is not a tensor.
            ValueError: the loss is not made of sums over negatives, types, shapes or devices do not fit, an
                id is out of range; on all processes if on one.
        """
        refuse_unshardable(self, shards)

        def check() -> VectorBatch:
            batch = checked_rows(
                users,
                positives,
                candidates,
                shards,
                target_ids,
                excluded_ids,
                candidate_log_prob,
                sample_weight,
                user_ids,
                self.num_items,
                normalize_candidates,
                of_table,
            )
            targets, weight = batch.metadata.target_ids, batch.metadata.sample_weight
            if targets is not None:
                self._inspection.targets(targets, 0, weight)
            self._inspection.amounts(None, weight)
            if candidate_log_prob is not None:
                self._inspection.log_prob("candidate_log_prob", candidate_log_prob)
            return batch._replace(positives=self._scaled(batch.positives))

        if shards.num_shards == 1:
            return self._loss_of_vectors(*check())
        self._scheduled.check(self)
        batch = ShardedBatch.of(check, self.vectors_at_temperature, shards, users, self.reduction, of_table)
        if batch.rows == 0 or batch.num_columns == 0:
            losses = batch.nothing()
        else:
            self.inspect_scores(batch.call_scores(self.num_items))
            losses = self._losses_over_shards(batch)
        return reduce_losses(losses, None, "none" if self.reduction == "none" else "sum", batch.fold)

    def _losses_over_shards(self, batch: ShardedBatch) -> Tensor:
        """Return the losses (b,) of this process's rows, times their weights, by autograd."""
        return naive_losses(batch, self.row_losses)

    def _printed_arguments(self) -> dict[str, Any]:
        given = super()._printed_arguments()
        if "num_items" in given:  # a model may have filled it
            given["num_items"] = getattr(self, "num_items", given["num_items"])
        return given

    def comparison(self) -> Comparison | None:
        """Return how the loss compares a negative with the positive, for warnings; None: otherwise."""
        return None

    def inspect_scores(self, scores: CallScores) -> None:
        """Warn about scores that the loss cannot work with; every path calls it once a forward pass."""
        if self.num_items is not None:  # a size that was counted in the data is no mistake of the caller's
            self._inspection.draws(scores)
        self._inspection.temperature(self.comparison, scores)

    def training_state(self) -> dict[str, Any]:
        """Return what a training run needs to go on exactly and the weights do not hold: plain content."""
        return {}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`training_state` returned; that of another loss is left alone.

        Raises:
            ValueError: it is damaged.
        """

    def schedulable(self) -> dict[str, Tensor]:
        """Return the values that may change while training, by name.

        They are scalar tensors that stay on the CPU in float64, so that reading one never waits for a GPU and
        none is rounded by ``.half()``; ``loss.schedulable()["temperature"].fill_(0.2)`` sets one. They are
        not part of the state dictionary: they follow from the constructor's arguments and the step.
        """
        return {}

    def set_num_items(self, num_items: int) -> None:
        """Fill the size of the catalogue, as ``RetrievalModel`` does when it was left out.

        Raises:
            ValueError: it is no whole number of at least 1.
        """
        check_counts(num_items=num_items)
        self.num_items = num_items

    @property
    def follows_n(self) -> bool:
        """Whether values of the loss go with a scheduled n, see :meth:`values_at_n`."""
        return False

    def values_at_n(self, n: float) -> dict[str, float]:
        """Return the schedulable values that go with a scheduled n, by name; ``CROLoss(n=…)`` has such."""
        return {}

    def check_value(self, name: str, value: float) -> None:
        """Raise ``ValueError`` if the schedulable ``name`` must not be set to ``value``."""

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(message, stacklevel=3)
