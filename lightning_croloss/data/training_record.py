"""TrainingRecord: what decided the training part of data, and what it came to, kept in checkpoints.

A run that goes on with another training part would be trained on what it is measured by, and a model that is
tested on another split has been. Both can be told from a few numbers, without the data of then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.printed_call import call_of
from lightning_croloss.configurable import class_path, to_config
from lightning_croloss.data.history_filters import FILTERS, read_filters
from lightning_croloss.data.splits import Split

#: What earlier checkpoints do not tell.
LATER = {"weights"}


@dataclass(frozen=True)
class TrainingRecord:
    """The training part of some data.

    Attributes:
        split: class path and arguments of the split.
        target_window: as the data module takes it.
        targets_per_history: likewise.
        filters: the filters of histories in plain types, where the data module tells them.
        rows: number of training rows.
        events: number of events that training may see.
        counts: digest of how often each item is among them.
        order: digest of their items in order, user by user; None where each process reads some of the users.
        weights: digest of their weights, likewise, "" without weights; None where that is not known.
    """

    split: dict[str, Any]
    target_window: int
    targets_per_history: int
    filters: list[dict[str, Any]]
    rows: int
    events: int
    counts: str
    order: str | None
    weights: str | None = None

    @classmethod
    def of(
        cls,
        split: Split,
        target_window: int,
        targets_per_history: int,
        reading: Mapping[str, Any] | None,
        rows: int,
        counts: Tensor,
        items: Tensor | None,
        weights: Tensor | None = None,
    ) -> TrainingRecord:
        """Record the training part of data.

        Args:
            split: the split.
            target_window: as the data module takes it.
            targets_per_history: likewise.
            reading: how the events were read, None if that is not known.
            rows: number of training rows.
            counts: (num_items + 1,) events of each item that training may see.
            items: (E,) items of these events in their order; None if this process has a part of them.
            weights: (E,) their weights; None without.
        """
        return cls(
            split=_described(split),
            target_window=target_window,
            targets_per_history=targets_per_history,
            filters=list((reading or {}).get(FILTERS, [])),
            rows=rows,
            events=int(counts.sum()),
            counts=_digest(counts),
            order=None if items is None else _digest(items),
            weights="" if weights is None else None if items is None else _digest_of_weights(weights),
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the record as plain types."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Any) -> TrainingRecord | None:
        """Return what :meth:`to_plain` was called on; None of None, which earlier releases kept.

        Raises:
            ValueError: it is something else.
        """
        if plain is None:
            return None
        named = {entry.name for entry in fields(cls)}
        if not isinstance(plain, Mapping) or not named - LATER <= plain.keys():
            raise ValueError("it does not say what the training data were")
        record = cls(**{name: plain[name] for name in named & plain.keys()})
        numbers = (record.target_window, record.targets_per_history, record.rows, record.events)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("the numbers of its training data are none")
        described = record.split if isinstance(record.split, Mapping) else {}
        if not isinstance(described.get("class_path"), str) or not isinstance(
            described.get("init_args", {}), Mapping
        ):
            raise ValueError("it does not say by which split its training data were chosen")
        digests = (record.order, record.weights)
        if not isinstance(record.counts, str) or not all(isinstance(each, str | None) for each in digests):
            raise ValueError("the digest of its training data is none")
        read_filters(record.filters)
        return record

    def other_training(self, now: TrainingRecord) -> str | None:
        """Tell why training on other data would not go on with the training on these; None if it would.

        Args:
            now: the other data.

        Returns:
            What this record says and what the other one says, as the end of a sentence on both.
        """
        if not _is_same_split(self.split, now.split):
            return _pair(call_of(self.split), call_of(now.split))
        for name in ("target_window", "targets_per_history"):
            if getattr(self, name) != getattr(now, name):
                return _pair(f"{name}={getattr(self, name)}", f"{name}={getattr(now, name)}")
        return self.other_events(now) or self.other_weights(now)

    def other_weights(self, now: TrainingRecord) -> str | None:
        """Tell how the weights of the events are others; None if they are not, or if that is not known.

        Events in another order have theirs in another order, too.
        """
        ours, theirs = now.weights, self.weights
        if None in (ours, theirs) or ours == theirs or (ours and theirs and self.other_order(now)):
            return None
        if ours and theirs:
            return "weights of events, the data has others"
        return _pair(*("weights of events" if each else "no weights of events" for each in (theirs, ours)))

    def other_events(self, now: TrainingRecord) -> str | None:
        """Tell how the events of training are others; None if they are not, whatever their order."""
        if (self.rows, self.events, self.counts) == (now.rows, now.events, now.counts):
            return None
        if not _is_same_split(self.split, now.split):
            return _pair(call_of(self.split), call_of(now.split))
        if self.filters != now.filters:
            return _pair(_filters(self.filters), _filters(now.filters))
        if (self.rows, self.events) == (now.rows, now.events):
            return f"{self.events:,} events of training, the data has as many, but others"
        return _pair(
            f"{self.events:,} events of training and {self.rows:,} targets",
            f"{now.events:,} and {now.rows:,}",
        )

    def other_order(self, now: TrainingRecord) -> bool:
        """Tell whether the events of training lie in another order, where both records know it."""
        return None not in (self.order, now.order) and self.order != now.order


def _described(split: Split) -> dict[str, Any]:
    try:
        described: dict[str, Any] = to_config(split)
    except TypeError:  # an argument that no file can hold
        return {"class_path": class_path(type(split)), "init_args": {}}
    return described


def _is_same_split(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two splits are of one class, and no argument that both releases knew differs."""
    ours, theirs = (each.get("init_args") or {} for each in (one, other))
    names = [each["class_path"].rpartition(".")[2] for each in (one, other)]
    return names[0] == names[1] and all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())


def _digest_of_weights(weights: Tensor) -> str:
    return _digest(weights.cpu().double().contiguous().view(torch.int64))


def _digest(numbers: Tensor) -> str:
    whole = numbers.cpu().long().contiguous()
    return hashlib.blake2b(whole.numpy().data, digest_size=16).hexdigest()


def _pair(theirs: str, ours: str) -> str:
    return f"{theirs}, the data has {ours}"


def _filters(plain: list[dict[str, Any]]) -> str:
    left_out = [each.leaves_out for each in read_filters(plain)]
    return f"the filters of events [{'; '.join(left_out)}]" if left_out else "no filters of events"
