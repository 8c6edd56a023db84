"""Embeddings of the features of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from croloss_serving.common.feature_encoding import FeatureEncoding
from lightning_croloss.data.batch import EventValues
from lightning_croloss.models.layers.time_buckets import NUM_BUCKETS, time_buckets

#: What features of events are: tokens, numbers, or the time since the event before.
KINDS = ("categorical", "numeric", "time")


class EventFeatureEmbedding(nn.Module):
    """The sum of the embeddings of an event's features.

    A token is looked up, and a number scales a learned vector. What is missing has a vector of its own, zeros
    until training meets a missing value; so has any token that training does not know. The time since the
    event before is looked up by its size, see ``time_buckets``; the first event of a history, or of the part
    of it that the model reads, has none before.

    Args:
        specs: name, kind and size of each feature, from the data; the times come last.
        dim: width D.

    Raises:
        ValueError: a feature is not described, or of an unknown kind.
    """

    def __init__(self, specs: Sequence[Mapping[str, Any]], dim: int) -> None:
        super().__init__()
        self.names: list[str] = []
        self.kinds: list[str] = []
        self.embeddings = nn.ModuleList()
        for spec in specs:
            name, kind, size = spec.get("name"), spec.get("kind"), spec.get("size")
            if not isinstance(name, str) or kind not in KINDS:
                raise ValueError(
                    f"event_features must be what data.event_feature_specs says, got {spec!r:.80}: the "
                    f"kinds are {', '.join(KINDS)}"
                )
            if kind == "categorical" and (type(size) is not int or size < 1):
                raise ValueError(
                    f"event_features must say the size of {name!r}, at least 1, got {size!r:.60}"
                )
            if name in self.names or "time" in self.kinds:
                raise ValueError(
                    "event_features must name each feature once, and the times last, got "
                    f"{[*self.names, name]!r:.200}"
                )
            self.names.append(name)
            self.kinds.append(kind)
            # of a number: row 1 is scaled by it; row 0 stands for a missing value, or no event before
            rows = {"numeric": 2, "time": NUM_BUCKETS + 1}.get(kind) or int(size or 0)
            embedding = nn.Embedding(rows, dim)
            nn.init.normal_(embedding.weight, std=dim**-0.5)
            nn.init.zeros_(embedding.weight[:1])
            self.embeddings.append(embedding)

    @property
    def reads_times(self) -> bool:
        """Whether the time since the event before is one of the features."""
        return "time" in self.kinds

    @property
    def value_names(self) -> list[str]:
        """The names of the features that have a value of each event, in their order: all but the times."""
        return [name for name, kind in zip(self.names, self.kinds, strict=True) if kind != "time"]

    def fits(self, encodings: Sequence[FeatureEncoding]) -> bool:
        """Tell whether these say how the values of these very features become numbers."""
        found = zip(self.names, self.kinds, self.embeddings.parameters(), strict=True)
        sizes = [(name, kind, len(weight)) for name, kind, weight in found if kind != "time"]
        return sizes == [
            (one.name, one.kind, 2 if one.tokens is None else len(one.tokens) + 1) for one in encodings
        ]

    def forward(self, events: EventValues | None, real: Tensor) -> Tensor:
        """Return the sum over features (B, L, D), zeros where there is no event.

        Args:
            events: the values of the features.
            real: (B, L) bool, True = an event.

        Raises:
            ValueError: the batch does not hold the features.
        """
        if events is None or len(events.features) != len(self.value_names):
            raise ValueError(_missing(self.names))
        if self.reads_times and events.times is None:
            raise ValueError(_missing([name for name in self.names if name not in self.value_names]))
        values = iter(events.features)
        total = torch.zeros((), device=real.device)
        for kind, embedding in zip(self.kinds, self.embeddings, strict=True):
            assert isinstance(embedding, nn.Embedding)
            if kind == "numeric":
                total = total + _of_number(embedding.weight, next(values))
            elif kind == "categorical":
                total = total + embedding(next(values))
            else:
                assert events.times is not None
                total = total + embedding(_since_event_before(events.times, real))
        return total * real.unsqueeze(-1)


def _of_number(weight: Tensor, values: Tensor) -> Tensor:
    missing = values.isnan()
    scaled = torch.where(missing, 0.0, values).to(weight.dtype).unsqueeze(-1) * weight[1]
    return torch.where(missing.unsqueeze(-1), weight[0], scaled)


def _since_event_before(times: Tensor, real: Tensor) -> Tensor:
    """Return for each event (B, L) 1 + the bucket of the time since the event before, 0 = there is none."""
    before = functional.pad(times[:, :-1], (1, 0))
    has_before = real & functional.pad(real[:, :-1], (1, 0))
    return (1 + time_buckets(times - before)).where(has_before, 0)


def _missing(names: Sequence[str]) -> str:
    return (
        f"the model reads {', '.join(map(repr, names))} of events, which this batch does not hold: fit the "
        "model on the data, or call prepare_for(DataRequest(events=data.event_inputs)) on the data module"
    )
