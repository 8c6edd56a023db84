"""Data with a structure to learn, and the model and trainer that the tests train on it within a moment."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from lightning_croloss import UniformNegatives, YouTubeDNN
from lightning_croloss.data import Feature, Interactions, RetrievalDataModule, Vocabulary, build_feature
from lightning_croloss.data.event_columns import EventColumn

NUM_CLUSTERS = 4


class ClusteredData(RetrievalDataModule):
    """Items in four clusters, users that stay in one: 8 different items of it in random order.

    Args:
        num_users: number of users.
        num_items: size of the catalogue, a multiple of 4 from 32 on.
        item_prefix: beginning of the items' tokens.
        batch_size: rows of a training batch.
        eval_batch_size: rows of an evaluation batch.
        max_history: length of the histories.
        **kwargs: arguments of ``RetrievalDataModule``.
    """

    def __init__(
        self,
        num_users: int = 60,
        num_items: int = 40,
        item_prefix: str = "item ",
        batch_size: int = 32,
        eval_batch_size: int = 16,
        max_history: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, max_history=max_history, **kwargs
        )
        self.size = num_users, num_items
        self.item_prefix = item_prefix

    def load(self) -> Interactions:
        num_users, num_items = self.size
        random = np.random.default_rng(0)
        clusters = np.arange(1, num_items + 1).reshape(NUM_CLUSTERS, -1)
        items = [random.permutation(clusters[user % NUM_CLUSTERS])[:8] for user in range(num_users)]
        return Interactions.from_ids(
            np.repeat(np.arange(1, num_users + 1), 8),
            np.concatenate(items),
            Vocabulary([f"user {number}" for number in range(num_users)]),
            Vocabulary([f"{self.item_prefix}{number}" for number in range(num_items)]),
        )


class FeaturedData(ClusteredData):
    """:class:`ClusteredData` with features of every kind that tell the cluster, here and there missing.

    Args:
        cold: leave out the events of the last two items of each cluster.
        **kwargs: arguments of :class:`ClusteredData`.
    """

    def __init__(self, cold: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cold = cold

    @property
    def cold_items(self) -> list[list[int]]:
        """The last two items of each cluster."""
        ends = np.arange(1, self.size[1] + 1).reshape(NUM_CLUSTERS, -1)[:, -2:]
        return [[int(item) for item in row] for row in ends]

    def load(self) -> Interactions:
        data = super().load()
        if not self.cold:
            return data
        kept = ~torch.isin(data.items, torch.tensor(self.cold_items))
        return Interactions.from_ids(
            data.users[kept].numpy(), data.items[kept].numpy(), data.user_vocabulary, data.item_vocabulary
        )

    def load_features(self) -> tuple[list[Feature], list[Feature]]:
        num_users, num_items = self.size
        of_items = [item * NUM_CLUSTERS // num_items for item in range(num_items)]
        of_users = [user % NUM_CLUSTERS for user in range(num_users)]
        tags = [f"about{c} {'new' if item % 3 else 'old'}" for item, c in enumerate(of_items)]
        prices = ["" if item % 7 == 6 else str(10 * c + item % 3) for item, c in enumerate(of_items)]
        ages = ["" if user % 5 == 4 else str(20 + 10 * c + user % 2) for user, c in enumerate(of_users)]
        items = [
            build_feature("genre", "categorical", [f"genre{c}" for c in of_items], "items"),
            build_feature("tags", "multi", tags, "items"),
            build_feature("price", "numeric", prices, "items"),
        ]
        users = [
            build_feature("country", "categorical", [f"country{c}" for c in of_users], "users"),
            build_feature("age", "numeric", ages, "users"),
        ]
        return items, users


class EventData(FeaturedData):
    """:class:`FeaturedData` with times, and a number and a token of each event, here and there missing."""

    time_feature = "when"

    def load(self) -> Interactions:
        data = super().load()
        random = np.random.default_rng(1)
        seconds = np.cumsum(np.exp(random.uniform(0, 15, len(data))).astype(np.int64))
        rated = np.where(random.random(len(data)) < 0.1, np.nan, random.integers(1, 6, len(data)))
        kinds = [
            "" if number == 3 else ("view", "buy", "cart")[number]
            for number in random.integers(0, 4, len(data))
        ]
        return replace(
            data,
            times=torch.from_numpy(seconds),
            columns=(EventColumn.of_numbers("rating", rated), EventColumn.of_texts("kind", kinds)),
        )


def events_of(model: Any, histories: Any) -> dict[str, Any]:
    """Return times and features of events, those that a model reads, for histories of any items."""
    events = model.metadata.events
    given: dict[str, Any] = {}
    if events.times is not None:
        given["times"] = [[1000 * 3**position for position in range(len(row))] for row in histories]
    values = {"rating": (3, 5.0, None), "kind": ("buy", None, "view", "unheard of")}
    if events.names:
        given["event_features"] = {
            name: [
                [values[name][place % len(values[name])] for place in range(len(row))] for row in histories
            ]
            for name in events.names
        }
    return given


def small_model(cls: type[YouTubeDNN] = YouTubeDNN, **kwargs: Any) -> Any:
    """Build a model for :class:`ClusteredData`, always with the same weights."""
    torch.manual_seed(0)
    defaults: dict[str, Any] = {
        "num_items": 40,
        "embedding_dim": 8,
        "hidden_dims": (16,),
        "negatives": UniformNegatives(30),
        "ns": (5, 10, 20),
    }
    return cls(**{**defaults, **kwargs})


def quiet_trainer(folder: Path | None = None, **kwargs: Any) -> Trainer:
    """Build a trainer on the CPU that prints nothing, and logs to a CSV file in ``folder`` if given."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False if folder is None else CSVLogger(folder, name="", version=""),
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "max_epochs": 1,
    }
    return Trainer(**{**defaults, **kwargs})


def fit(
    model: LightningModule, data: LightningDataModule | None = None, *, ckpt_path: Any = None, **kwargs: Any
) -> Trainer:
    """Fit ``model`` and return the trainer; ``kwargs`` are those of :func:`quiet_trainer`."""
    trainer = quiet_trainer(**kwargs)
    trainer.fit(model, ClusteredData() if data is None else data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def token_sequences(data: RetrievalDataModule) -> dict[Any, list[Any]]:
    """Return each user's whole history in order, as the data's own tokens."""
    events = data.interactions
    return {
        token: events.item_vocabulary.decode(
            events.items[events.user_offsets[number] : events.user_offsets[number + 1]]
        )
        for number, token in enumerate(data.user_vocabulary.tokens, start=1)
    }
