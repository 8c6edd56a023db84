"""What ``tune`` hands back: the winner of each objective, with its trained model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.models import RetrievalModel
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.plan import FitLength, Plan
from lightning_croloss.tuning.search import Choice
from lightning_croloss.tuning.table import rung_rows, rung_table, seconds_spent, steps_spent


@dataclass(frozen=True)
class Winner:
    """The best candidate for one objective.

    Attributes:
        objective: what it is best in.
        candidate: its settings.
        value: its validation value, that of the checkpoint.
        checkpoint: the checkpoint with the best weights of its fit.
    """

    objective: Objective
    candidate: Candidate
    value: float
    checkpoint: Path
    _build: Callable[[Candidate], LightningModule] = field(repr=False)
    _loss: Callable[[Candidate], RetrievalLoss] = field(repr=False)

    @property
    def loss(self) -> RetrievalLoss:
        """A new loss with the winning settings."""
        return self._loss(self.candidate)

    def model(self) -> LightningModule:
        """Return the trained model: a new one with the weights of the checkpoint, in evaluation mode."""
        with isolate_rng():
            module = self._build(self.candidate)
        if isinstance(module, RetrievalModel):
            return type(module).load_from_checkpoint(self.checkpoint).eval()
        # a checkpoint that this process or one like it has written
        content = torch.load(self.checkpoint, map_location="cpu", weights_only=False)
        module.on_load_checkpoint(content)
        module.load_state_dict(content["state_dict"], strict=module.strict_loading)
        return module.eval()


@dataclass(frozen=True, repr=False)
class TuneResult:
    """The winners of a search and how they were found; its ``repr`` is a table.

    Attributes:
        winners: one for each objective, in their order.
        choice: what came of every candidate at every rung.
        plan: the rungs.
        length: the length of one fit.
        folder: where the records and checkpoints are.
    """

    winners: tuple[Winner, ...]
    choice: Choice
    plan: Plan
    length: FitLength
    folder: Path

    @property
    def best(self) -> Winner:
        """The winner of the first objective: of the only one, where one N was asked for."""
        return self.winners[0]

    def winner(self, n: int) -> Winner:
        """Return the winner for an N.

        Raises:
            KeyError: that N was not asked for.
        """
        for each in self.winners:
            if list(each.objective.weights) == [n]:
                return each
        asked = ", ".join(str(each.objective) for each in self.winners)
        raise KeyError(f"n={n} was not looked for, only {asked}")

    def model(self, n: int | None = None) -> LightningModule:
        """Return the trained model of the winner for an N, of the first winner if None."""
        return (self.best if n is None else self.winner(n)).model()

    @property
    def loss(self) -> RetrievalLoss:
        """A new loss with the settings of the first winner."""
        return self.best.loss

    @property
    def checkpoint(self) -> Path:
        """The checkpoint with the best weights of the first winner."""
        return self.best.checkpoint

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each candidate at each rung: its step, its values, whether it went on, and its error."""
        return rung_rows(self.choice, self.plan)

    @property
    def cost(self) -> float:
        """What the search has cost in fits, by training steps and validation batches."""
        return steps_spent(self.choice, self.length)

    @property
    def seconds(self) -> float:
        """How many seconds training and validating took, over all candidates."""
        return seconds_spent(self.choice)

    @property
    def cost_in_seconds(self) -> float:
        """What the search has cost in fits, by time: relative to that of the first winner alone."""
        return self.seconds / self.choice.latest(self.choice.winners[0]).seconds

    def __repr__(self) -> str:
        lines = [rung_table(self.choice, self.plan), ""]
        for each in self.winners:
            lines.append(f"{each.objective}: {each.value:.4f} with {each.candidate.name}: {each.checkpoint}")
        lines.append(
            f"cost: {self.cost:.2f} fits by steps (planned: at most {self.plan.cost:.2f}), "
            f"{self.cost_in_seconds:.2f} by time ({self.seconds:.0f} s)"
        )
        return "\n".join(lines)
