"""The data of every swap: MovieLens-100k as RecBole bundles it, in the exact order of time, leave-one-out.

Of each user the last event is the test target and the one before the validation target; the rest is for
training. The file is read as it is: RecBole itself keeps timestamps in float32, which cannot tell the
seconds of a minute apart. Users are 0 … 942. Items are dense ids 1 … 1682, 0 is padding; column ``i`` of
scores is item ``i + 1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.tables import user_values
from lightning_croloss.retrieval import target_ranks

NS = (20, 50, 100)


@dataclass
class Split:
    """The parts of the data.

    Args:
        events: for each user the ids of the items in the order of time, the two targets included.
        titles: (num_items + 1) titles by item id, the first one empty.
        tokens: (num_items + 1) the file's own name of each item, the first one empty.
    """

    events: list[Tensor]
    titles: list[str]
    tokens: list[str]

    @property
    def num_users(self) -> int:
        """Number of users."""
        return len(self.events)

    @property
    def num_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        return len(self.titles) - 1

    @cached_property
    def train(self) -> list[Tensor]:
        """For each user the items of training: the history of the validation target."""
        return [items[:-2] for items in self.events]

    @cached_property
    def test_histories(self) -> list[Tensor]:
        """For each user the history of the test target: training and the validation target."""
        return [items[:-1] for items in self.events]

    @cached_property
    def valid_targets(self) -> Tensor:
        """(U,) the items before the last."""
        return torch.stack([items[-2] for items in self.events])

    @cached_property
    def test_targets(self) -> Tensor:
        """(U,) the last items."""
        return torch.stack([items[-1] for items in self.events])

    @cached_property
    def item_counts(self) -> Tensor:
        """(num_items + 1,) how often each id is a target of :meth:`samples`: what logQ needs."""
        return torch.bincount(self.samples(1)[2], minlength=self.num_items + 1)

    def samples(self, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the training samples: users (n,), histories (n, length), targets (n,).

        Each event of training but a user's first is a target once, with the events before it as its history.
        """
        users, histories, targets = [], [], []
        for user, items in enumerate(self.train):
            for position in range(1, len(items)):
                users.append(user)
                histories.append(items[:position])
                targets.append(items[position])
        return torch.tensor(users), padded(histories, length), torch.stack(targets)


def load() -> Split:
    """Read the data out of the installed RecBole, which is not imported."""
    found = find_spec("recbole")
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "dataset_example" / "ml-100k"
    events = np.loadtxt(folder / "ml-100k.inter", skiprows=1, usecols=(0, 1, 3), dtype=np.int64)
    events = events[np.argsort(events[:, 2], kind="stable")]  # of one second: in the order of the file
    lines = (folder / "ml-100k.item").read_text("utf-8").splitlines()[1:]
    named = sorted((int(token), title) for token, title, *_ in (line.split("\t") for line in lines))
    tokens = np.array([token for token, _ in named])
    assert np.array_equal(tokens, np.unique(events[:, 1]))
    users = np.searchsorted(np.unique(events[:, 0]), events[:, 0])
    items = torch.from_numpy(np.searchsorted(tokens, events[:, 1]) + 1)
    of_users = [items[torch.from_numpy(users == user)] for user in range(users.max() + 1)]
    return Split(of_users, ["", *(title for _, title in named)], ["", *map(str, tokens.tolist())])


def padded(histories: Sequence[Tensor], length: int | None = None) -> Tensor:
    """Return (n, length) the latest ``length`` items of each history, 0 behind them; all by default."""
    cut = histories if length is None else [items[-length:] for items in histories]
    matrix = torch.nn.utils.rnn.pad_sequence(list(cut), batch_first=True)
    return torch.nn.functional.pad(matrix, (0, (length or matrix.shape[1]) - matrix.shape[1]))


def recall(
    scores: Tensor, targets: Tensor, ns: Sequence[int] = NS, exclude: Sequence[Tensor] | None = None
) -> dict[str, float]:
    """Return the exact Recall@n over the whole catalogue, by "recall@n"; ties count against the target.

    Args:
        scores: (U, num_items) of items 1 … num_items; −inf is the least of all, NaN puts the target last.
        targets: (U,) item ids.
        ns: the cutoffs.
        exclude: for each user the items that are no candidates, such as the history; None: none.
    """
    scores = scores.detach().float().clamp(min=torch.finfo(torch.float32).min)
    catalogue = torch.eye(scores.shape[1])  # a user of one interest, and items of one coordinate each
    ranks = target_ranks(
        scores[:, None], catalogue, targets[:, None], excluded=None if exclude is None else padded(exclude)
    )
    return {f"recall@{n}": float(user_values(ranks, "Recall", n).mean()) for n in ns}
