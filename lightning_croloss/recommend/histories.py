"""A batch from histories that a user of the library gives, in place of a data module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_croloss.data.batch import GivenFeatures, RetrievalBatch
from lightning_croloss.recommend.user_features import EncodedFeatures


def batch_of_histories(
    histories: Sequence[Sequence[int]] | Tensor | None,
    users: Tensor | None,
    *,
    num_items: int,
    num_users: int,
    max_history: int | None,
    device: torch.device,
    user_features: EncodedFeatures | None = None,
) -> RetrievalBatch:
    """Check histories and users and make a batch without targets of them.

    Args:
        histories: for each user the item ids of its events, oldest first; or a (B, L) tensor of them,
            left-padded with 0; None = no events of any of the users.
        users: (B,) ids of the users, 0 = unknown; None = all unknown.
        num_items: size of the catalogue.
        num_users: number of users that the model knows; 0 if it has no use for them.
        max_history: number of events that the model sees, the last ones; None = all.
        device: where the batch is wanted.
        user_features: features of the users, for those who are unknown; None = of no one.

    Raises:
        ValueError: an id is out of range, or users do not fit the histories.
    """
    if histories is None:
        if users is None:
            raise ValueError("give histories, or users if the model knows them by their ids or features")
        histories = [[] for _ in range(len(users))]
    if isinstance(histories, Tensor):
        history = histories.to(device, torch.long)
    else:
        length = max((len(events) for events in histories), default=0)
        rows = [[0] * (length - len(events)) + list(events) for events in histories]
        history = torch.tensor(rows, dtype=torch.long, device=device).reshape(len(rows), length)
    if history.shape[1] == 0:
        history = history.new_zeros(history.shape[0], 1)
    if not _within(history, num_items):
        raise ValueError(
            f"histories must hold item ids 1 … {num_items} (0 = padding), "
            f"got {int(history.min())} … {int(history.max())}"
        )
    users = torch.zeros_like(history[:, 0]) if users is None else users.to(device, torch.long)
    if users.shape != history.shape[:1]:
        raise ValueError(
            f"users must hold one id for each of the {len(history)} histories, got {tuple(users.shape)}"
        )
    if num_users and not _within(users, num_users):
        raise ValueError(
            f"users must hold user ids 1 … {num_users} (0 = unknown), "
            f"got {int(users.min())} … {int(users.max())}"
        )
    features = None
    if user_features is not None:
        values = [torch.from_numpy(value).to(device) for value in user_features.values]
        features = GivenFeatures(values, torch.from_numpy(user_features.given).to(device))
    return RetrievalBatch(
        history if max_history is None else history[:, -max_history:],
        targets=torch.zeros_like(history[:, :1]),
        users=users,
        whole_history=history,
        user_features=features,
    )


def _within(ids: Tensor, largest: int) -> bool:
    return ids.numel() == 0 or 0 <= int(ids.min()) <= int(ids.max()) <= largest
