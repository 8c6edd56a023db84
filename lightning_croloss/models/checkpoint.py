"""CheckpointFacts: what a checkpoint holds beside weights and hyperparameters."""

from __future__ import annotations

from typing import Any

from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.models.resume import run_seed

KEY = "lightning_croloss"


class CheckpointFacts:
    """The vocabulary, the length of histories and the seed of a model's training run.

    Attributes:
        item_vocabulary: the user's own item tokens, None until the model met its data.
        max_history: number of events that the model was trained on at most, None until then.
        seed: seed of the run, from which each step is seeded.
    """

    def __init__(self) -> None:
        self.item_vocabulary: Vocabulary | None = None
        self.max_history: int | None = None
        self.seed = run_seed()

    def take_from(self, data: RetrievalDataModule) -> None:
        """Take the facts of the data that the model is attached to.

        Raises:
            ValueError: the model was trained on another catalogue.
        """
        known = self.item_vocabulary
        if known is not None and known.fingerprint() != data.item_vocabulary.fingerprint():
            raise ValueError(_other_catalogue(len(known), len(data.item_vocabulary)))
        self.item_vocabulary = data.item_vocabulary
        self.max_history = data.max_history

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Write the facts into a checkpoint, as plain types."""
        checkpoint[KEY] = {
            "items": None if self.item_vocabulary is None else list(self.item_vocabulary.tokens),
            "max_history": self.max_history,
            "seed": self.seed,
        }

    def load(self, checkpoint: dict[str, Any], num_items: int) -> None:
        """Read the facts of a checkpoint into a model of ``num_items`` items.

        Raises:
            ValueError: the checkpoint is of another catalogue.
        """
        facts = checkpoint.get(KEY)
        if facts is None:
            raise ValueError("this checkpoint was not made by a RetrievalModel of lightning-croloss")
        vocabulary = None if facts["items"] is None else Vocabulary(facts["items"])
        if vocabulary is not None:
            if len(vocabulary) != num_items:
                raise ValueError(_other_catalogue(len(vocabulary), num_items))
            known = self.item_vocabulary
            if known is not None and known.fingerprint() != vocabulary.fingerprint():
                raise ValueError(_other_catalogue(len(vocabulary), len(known)))
        self.item_vocabulary = vocabulary
        self.max_history = facts["max_history"]
        self.seed = facts["seed"]


def _other_catalogue(of_checkpoint: int, of_data: int) -> str:
    return (
        f"the checkpoint was trained on another catalogue ({of_checkpoint} items) than the data's ({of_data} "
        "items): use the data and the filters it was trained with"
    )
