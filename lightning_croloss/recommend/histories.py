"""A batch from histories that a user of the library gives, in place of a data module."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from croloss_serving.common.blocks import blocks
from croloss_serving.recommend.event_inputs import EncodedEvents, EventFeatures, EventInputs, Times, is_list
from croloss_serving.recommend.user_features import EncodedFeatures
from lightning_croloss.common.item_lists import Ids, ItemLists
from lightning_croloss.data.batch import EventValues, GivenFeatures, RetrievalBatch


def histories_of_ids(histories: Any) -> Sequence[Sequence[int]] | Tensor | None:
    """Return histories that a user gives, if they are of ids: lists of them, or a padded array or tensor.

    Raises:
        ValueError: an id is beyond 64 bits.
        TypeError: naming what is no list, or no id.
    """
    if isinstance(histories, np.ndarray) and histories.ndim == 2 and histories.dtype.kind in "iu":
        return torch.from_numpy(histories.astype(np.int64))
    if isinstance(histories, Tensor):
        if histories.dtype.is_floating_point or histories.dtype.is_complex or histories.dtype == torch.bool:
            raise TypeError(f"histories must hold item ids, which are integers, got {histories.dtype}")
        return histories
    if histories is None:
        return None
    if _is_no_list(histories):
        raise TypeError(f"histories must be a list of lists of item ids, got {_shown(histories)}")
    rows = histories if isinstance(histories, (list, tuple)) else list(histories)
    for number, row in enumerate(rows):
        if _is_no_list(row):
            raise TypeError(f"histories[{number}] must be a list of item ids, got {_shown(row)}")
        if not {int, np.int64} >= set(map(type, row)):
            for item in row:
                _check_id(f"histories[{number}]", item)
        elif len(row) and not (min(row) >= -(2**63) and max(row) < 2**63):
            raise ValueError(f"histories[{number}] holds {max(row, key=abs)}, which is the id of no item")
    return rows


def _is_no_list(value: object) -> bool:
    """Tell what has no entries, or none that are in order, or whose entries are columns."""
    if isinstance(value, (str, bytes, Mapping, Set)) or hasattr(value, "columns"):
        return True
    return not isinstance(value, Iterable) or not isinstance(value, Sized) or getattr(value, "ndim", 1) == 0


def _check_id(where: str, item: object) -> None:
    try:
        if isinstance(item, (bool, np.bool_)):
            raise TypeError
        operator.index(item)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{where} holds {_shown(item)}: item ids are integers; recommend_tokens takes tokens"
        ) from None


def _shown(value: object) -> str:
    """Return a value as an error shows it, of a table or an array its type alone."""
    return f"a {type(value).__name__}" if hasattr(value, "shape") else repr(value)[:80]


def batch_of_histories(
    histories: Sequence[Sequence[int]] | Tensor | None,
    users: Tensor | None,
    *,
    num_items: int,
    num_users: int,
    max_history: int | None,
    device: torch.device,
    user_features: EncodedFeatures | None = None,
    events: EncodedEvents | None = None,
) -> RetrievalBatch:
    """Check histories and users and make a batch without targets of them.

    Args:
        histories: for each user the item ids of its events, oldest first; or a (B, L) tensor of them,
            padded with 0; None = no events of any of the users. A 0 is no event, wherever it stands.
        users: (B,) ids of the users, 0 = unknown; None = all unknown.
        num_items: size of the catalogue.
        num_users: number of users that the model knows; 0 if it has no use for them.
        max_history: number of events that the model sees, the last ones; None = all.
        device: where the batch is wanted.
        user_features: features of the users, for those who are unknown; None = of no one.
        events: times and features of the events; None for a model that reads neither.

    Raises:
        ValueError: an id is out of range, or users do not fit the histories.
    """
    if histories is None:
        if users is None:
            raise ValueError("give histories, or users if the model knows them by their ids or features")
        histories = [[] for _ in range(len(users))]
    whole: Ids
    if isinstance(histories, Tensor):
        _check_padded(histories)
        whole = history = given = _left_padded(histories.to(device, torch.long))
    else:
        lengths = torch.tensor(list(map(len, histories)), dtype=torch.long, device=device)
        given = torch.tensor([item for row in histories for item in row], dtype=torch.long, device=device)
        if not given.all():
            rows = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
            lengths, given = rows[given != 0].bincount(minlength=len(lengths)), given[given != 0]
        stop = lengths.cumsum(0)
        begin = torch.cat([stop.new_zeros(1), stop])[:-1]
        whole = ItemLists.of_ranges(given, begin, stop).compact(left=True)
        if max_history is not None:
            begin = torch.maximum(begin, stop - max_history)
        history = ItemLists.of_ranges(given, begin, stop).padded(left=True)
    if history.shape[1] == 0:
        whole = history = history.new_zeros(history.shape[0], 1)
    if not _within(given, num_items):
        raise ValueError(
            f"histories must hold item ids 1 … {num_items} (0 = padding), "
            f"got {min(int(given.min()), int(history.min()))} … {int(given.max())}"
        )
    users = torch.zeros_like(history[:, 0]) if users is None else users.to(device, torch.long)
    check_one_user_each(users, len(history))
    if num_users and not _within(users, num_users):
        raise ValueError(
            f"users must hold user ids 1 … {num_users} (0 = unknown), "
            f"got {int(users.min())} … {int(users.max())}"
        )
    features = None
    if user_features is not None:
        values = [torch.from_numpy(value).to(device) for value in user_features.values]
        features = GivenFeatures(values, torch.from_numpy(user_features.given).to(device))
    history = history if max_history is None else history[:, -max_history:]
    of_events = None
    if events is not None:
        times, columns = events.padded(history.shape[1])
        of_events = EventValues(
            None if times is None else torch.from_numpy(times).to(device),
            [torch.from_numpy(column).to(device) for column in columns],
        )
    return RetrievalBatch(
        history,
        targets=torch.zeros_like(history[:, :1]),
        users=users,
        whole_history=whole,
        user_features=features,
        events=of_events,
    )


def events_of_histories(
    inputs: EventInputs,
    histories: Sequence[Sequence[int]] | Tensor | None,
    num_users: int,
    times: Times | Tensor | None,
    features: EventFeatures | None,
    who: str,
) -> tuple[Sequence[Sequence[int]] | Tensor | None, EncodedEvents | None]:
    """Return histories of ids, and what is given of their events as numbers; None if the model reads nothing.

    A 0 is no event, wherever it stands: for a model that reads more of events than items it is left out, so
    that each event keeps its own time and features, and the event before it is one.

    Args:
        inputs: what the model reads.
        histories: as for :func:`batch_of_histories`.
        num_users: number of users, if there are no histories.
        times: for each history the times of its events; of a padded tensor (B, L) of histories as wide.
        features: for each feature the same.
        who: what errors call the model.

    Raises:
        ValueError: what is given does not fit the model or the histories.
    """
    if isinstance(histories, Tensor):
        _check_padded(histories)
    listed: Sequence[Sequence[int]]
    listed = histories.tolist() if isinstance(histories, Tensor) else histories or [()] * num_users
    real = [[item != 0 for item in row] for row in listed]

    def events_alone(rows: Any) -> Any:
        """Leave out what stands at padding; what is not as wide is refused later."""
        rows = rows.tolist() if isinstance(rows, Tensor) else rows
        if not is_list(rows) or len(rows) != len(real):
            return rows
        return [
            list(compress(row, mask)) if is_list(row) and len(row) == len(mask) else row
            for row, mask in zip(rows, real, strict=True)
        ]

    if isinstance(features, Mapping):
        features = {name: events_alone(rows) for name, rows in features.items()}
    times = None if times is None else events_alone(times)
    encoded = inputs.encode(list(map(sum, real)), times, features, who)
    if encoded is None or histories is None or all(map(all, real)):
        return histories, encoded
    return [list(compress(row, mask)) for row, mask in zip(listed, real, strict=True)], encoded


def _left_padded(histories: Tensor) -> Tensor:
    """Return (B, L) ids with the padding before the events, in whose order nothing changes."""
    real = histories != 0
    if not (real[:, :-1] & ~real[:, 1:]).any():
        return histories
    return histories.gather(1, real.to(torch.uint8).argsort(dim=1, stable=True))


def _check_padded(histories: Tensor) -> None:
    """Raise ``ValueError`` unless a tensor holds a row for each history."""
    if histories.ndim != 2:
        raise ValueError(
            f"histories must have the shape (B, L), a row for each user, got {tuple(histories.shape)}"
        )


def check_one_user_each(users: Tensor, num_histories: int) -> None:
    """Raise ``ValueError`` unless users are ids (num_histories,)."""
    if users.shape != (num_histories,):
        raise ValueError(
            f"users must hold one id for each of the {num_histories} histories, got {tuple(users.shape)}"
        )


def blocks_of_histories(
    histories: Sequence[Sequence[int]] | Tensor | None, max_history: int | None, most_rows: int = 2**62
) -> Iterator[slice]:
    """Yield slices of histories whose batches take little memory, however long one history is.

    Args:
        histories: as for :func:`batch_of_histories`; a tensor is padded already, and one block.
        max_history: number of events that the model sees; None = all.
        most_rows: the most histories of a block.
    """
    if histories is None or isinstance(histories, Tensor) or not len(histories):
        yield slice(None)
        return
    most = max_history or 2**62
    yield from blocks((min(most, len(events)) for events in histories), most_rows=most_rows)


def _within(ids: Tensor, largest: int) -> bool:
    return ids.numel() == 0 or 0 <= int(ids.min()) <= int(ids.max()) <= largest
