"""Inspection: what the values of a call say about mistakes that no shape shows.

Values are looked at in the first call of each kind and shape, and of a sample of rows. The figures are
computed where the values are; on another device than the CPU they are read at a later call, once they have
arrived, so that nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial

import torch
from torch import Tensor

from lightning_croloss.common.item_lists import Ids, ItemLists
from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.common.unread_values import is_unread, shares_memory
from lightning_croloss.losses.batches.call_scores import CallScores
from lightning_croloss.losses.batches.logits import LogitBatch
from lightning_croloss.losses.batches.metadata import VectorBatch
from lightning_croloss.losses.checking import own_positives, score_figures
from lightning_croloss.losses.checking.answers import Answers
from lightning_croloss.losses.checking.kinds import ends_of_amounts, judge_amounts
from lightning_croloss.losses.checking.resolution import Comparison

#: Calls at which values are looked at again that change while a model trains.
LATER_CALLS = (1, 10, 100, 1_000, 10_000, 100_000)
#: Shapes of which the first call is looked at; a loss that sees more has been looked at enough.
MOST_SHAPES = 64
#: log q above which it is none: rounding may bring the logarithm of 1 a little above 0.
LARGEST_LOG_PROB = 1e-2


class Inspection:
    """Looks at the values of a loss's calls.

    Args:
        warn: gives a warning, once for each key.
        answers: where values go that are asked for.
    """

    def __init__(self, warn: Callable[[str, str], None], answers: Answers | None = None) -> None:
        self._warn = warn
        self._answers = Answers() if answers is None else answers
        self._seen: set[Hashable] = set()
        self._too_many: set[tuple[int, int]] = set()
        self._targets_seen = 0
        self._amounts_seen = 0
        self._calls = 0

    def of_scores(
        self, positive: Tensor, negative: Tensor, mask: Tensor | None, log_prob: Tensor | None
    ) -> None:
        """Look at the scores (B,) and (B, M) of a call, at their mask and at log q, (M,) or (B, M).

        Raises:
            ValueError: each row's own positive is among its negatives, or ``log_prob`` is no log q.
        """
        if not self._begins("scores", negative.shape, mask is None, log_prob is None) or not negative.numel():
            return
        if log_prob is not None:
            self.log_prob("negative_log_prob", log_prob)
        figures = score_figures.figures(positive, negative, mask)
        self._answers.ask(figures, lambda found: score_figures.judge(found, self._warn))

    def of_logits(self, batch: LogitBatch) -> None:
        """Look at the logits of a call, at their mask and at log q.

        Raises:
            ValueError: ``log_prob`` is no log q.
        """
        mask, log_prob = batch.mask, batch.log_prob
        if not batch.positives.number or not batch.logits.numel():
            return
        if not self._begins(
            "logits", batch.logits.shape, None if mask is None else mask.dim(), log_prob is None
        ):
            return
        if log_prob is not None:
            self.log_prob("log_prob", log_prob)
        figures = score_figures.figures_of_logits(*batch.sample())
        self._answers.ask(figures, lambda found: score_figures.judge(found, self._warn, "mask"))

    def of_vectors(self, batch: VectorBatch, shape: torch.Size, padding_id: int | None) -> None:
        """Look at the vectors of a call, and at their ids and log q.

        Args:
            batch: the vectors, one row for each positive.
            shape: the caller's, of the users.
            padding_id: the caller's; other ids than those that 0 pads may be any.

        Raises:
            ValueError: each row's own positive is among its negatives, ids are out of range, or log q is not.
        """
        metadata, candidates = batch.metadata, batch.candidates
        targets, ids, excluded = metadata.target_ids, metadata.candidate_ids, metadata.excluded_ids
        without_ids = targets is None and excluded is None
        if without_ids and _same_memory(batch.positives, candidates):
            own_positives.refuse_without_ids(
                "positives are the candidates, where they count as negatives too"
            )
        if not self._begins("vectors", shape, candidates.shape, without_ids, metadata.log_prob is None):
            return
        if padding_id == 0:
            named = (("target_ids", targets), ("candidate_ids", ids), ("excluded_ids", excluded))
            self._ids(named, metadata.num_items)
        if metadata.log_prob is not None:
            self.log_prob("candidate_log_prob", metadata.log_prob)
        if (without_ids or targets is not None) and batch.positives.shape[0] > 1 and candidates.numel():
            if metadata.unit_candidates:
                candidates = unit_length(candidates.detach())
            figures = own_positives.figures(batch.positives, candidates, targets, ids)
            self._answers.ask(figures, lambda found: own_positives.judge(found, targets is not None))

    def targets(self, target_ids: Tensor, padding_id: int, sample_weight: Tensor | None) -> None:
        """Look for targets (B,) that are padding, but for rows that weigh nothing.

        On the CPU every call is looked at, as the first may hold none; elsewhere some are.

        Raises:
            ValueError: there are such.
        """
        self._targets_seen += 1
        if target_ids.device.type == "cpu":
            if bool(target_ids.all()) if padding_id == 0 else not bool((target_ids == padding_id).any()):
                return
        elif self._targets_seen not in LATER_CALLS:
            return
        padded = target_ids == padding_id
        if sample_weight is not None:
            padded = padded & (sample_weight != 0)
        rows = target_ids.shape[0]

        def answer(found: list[float]) -> None:
            if found[0]:
                raise ValueError(
                    f"target_ids is padding_id={padding_id} in {found[0]:.0f} of {rows} rows, but a target "
                    "is an item: give padding_id=None if ids are numbered from 0 or any integers; rows that "
                    "are padding are left out as positions (B, L), or by sample_weight 0"
                )

        self._answers.ask(padded.sum().double().unsqueeze(0), answer)

    def amounts(self, num_sampled: object, sample_weight: Tensor | None) -> None:
        """Look at weights and numbers of draws of a device, in a few of all calls; the host's are known.

        Raises:
            ValueError: some are negative or not finite.
        """
        amounts = {"num_sampled": num_sampled, "sample_weight": sample_weight}
        unknown = {
            name: given
            for name, given in amounts.items()
            if isinstance(given, Tensor) and given.device.type != "cpu" and not is_unread(given)
        }
        if not unknown:
            return
        self._amounts_seen += 1
        for name, given in unknown.items():
            if given.numel() and self._amounts_seen in LATER_CALLS:
                self._answers.ask(ends_of_amounts(given), partial(judge_amounts, name))

    def draws(self, scores: CallScores) -> None:
        """Warn of more draws than there are items; ignored candidates, as padding is, are not drawn."""
        items, candidates = scores.num_items, scores.num_candidates
        if items is None or candidates <= items or (candidates, items) in self._too_many:
            return
        self._too_many.add((candidates, items))

        def answer(found: list[float]) -> None:
            if found[0] > items:
                self._warn(
                    "too many draws",
                    f"{found[0]:.0f} negatives are drawn out of {items} items: FullCatalogNegatives costs "
                    "less and sees every item",
                )

        if scores.counted is None:
            answer([candidates])
        else:
            self._answers.ask(scores.counted().double().reshape(1), answer)

    def temperature(self, comparison: Callable[[], Comparison | None], scores: CallScores) -> None:
        """Warn of a temperature that does not suit the scores; looked at in a few of all calls."""
        self._answers.read()
        if not torch.is_grad_enabled():
            return  # nothing is trained
        self._calls += 1
        if self._calls not in LATER_CALLS or (compared := comparison()) is None:
            return
        calls, differences = self._calls, scores.differences()

        def answer(found: list[float]) -> None:
            if (advice := compared.advice(found, calls)) is not None:
                self._warn("temperature", advice)

        if differences.numel():
            self._answers.ask(compared.figures(differences), answer)

    def log_prob(self, name: str, log_prob: Tensor) -> None:
        """Look at log q of any shape.

        Raises:
            ValueError: these are no logarithms of probabilities.
        """

        def answer(found: list[float]) -> None:
            largest, nan = found
            if nan:
                raise ValueError(
                    f"{name} holds NaN: log q of an item that is never drawn is −inf, and of counts it is "
                    "log_prob_from_counts(counts)"
                )
            if largest > LARGEST_LOG_PROB:
                kind = "counts: give log_prob_from_counts(counts), of each candidate"
                if largest <= 1.0:
                    kind = f"probabilities: give {name}.log()"
                raise ValueError(
                    f"{name} must be logarithms of probabilities, at most 0, got {largest:.6g}: these look "
                    f"like {kind}"
                )

        if log_prob.numel():
            values = log_prob.detach()
            nan = values.isnan()
            largest = values.masked_fill(nan, float("-inf")).max()
            self._answers.ask(torch.stack([largest.double(), nan.any().double()]), answer)

    def _begins(self, *kind: Hashable) -> bool:
        """Read what has arrived; return whether a call of this kind is to be looked at."""
        self._answers.read()
        if kind in self._seen or len(self._seen) >= MOST_SHAPES:
            return False
        self._seen.add(kind)
        return True

    def _ids(self, given: Iterable[tuple[str, Ids | None]], num_items: int | None) -> None:
        """Look at ids among which 0 is padding.

        Raises:
            ValueError: an id is negative or above ``num_items``.
        """
        tensors = [
            (name, ids.values if isinstance(ids, ItemLists) else ids)
            for name, ids in given
            if ids is not None
        ]
        tensors = [(name, ids) for name, ids in tensors if ids.numel()]
        names = [name for name, _ in tensors]

        def answer(found: list[float]) -> None:
            for name, low, high in zip(names, found[::2], found[1::2], strict=True):
                if low < 0 or (num_items is not None and high > num_items):
                    items = "numbered from 1" if num_items is None else f"1 … num_items={num_items}"
                    raise ValueError(
                        f"{name} holds {low if low < 0 else high:.0f}, but with padding_id=0 items are "
                        f"{items}: give padding_id=None if ids are any integers and none is padding, or the "
                        "id that is"
                    )

        if tensors:
            ends = [end.double() for _, ids in tensors for end in torch.aminmax(ids)]
            self._answers.ask(torch.stack(ends), answer)


def _same_memory(positives: Tensor, candidates: Tensor) -> bool:
    if not positives.numel() or not candidates.numel():
        return False
    return positives is candidates or shares_memory(positives, candidates)
