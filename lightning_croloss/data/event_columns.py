"""Columns of events besides user, item and time, and what a batch holds of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.recommend.event_inputs import EventInputs
from lightning_croloss.common.checks import check_choice
from lightning_croloss.data.batch import EventValues
from lightning_croloss.data.windows import Windows
from lightning_croloss.errors import DataError

#: What a column of events can be. The times of the events are a third kind of input, but no column of these.
KINDS = ("categorical", "numeric")


@dataclass(frozen=True)
class EventColumn:
    """A feature of each event, as it was read.

    Attributes:
        name: name of the column.
        kind: "categorical" or "numeric".
        values: (E,) int64 numbers of tokens from 1, 0 = missing; or float64, NaN = missing.
        tokens: the tokens of a categorical column.
    """

    name: str
    kind: str
    values: Tensor
    tokens: tuple[str, ...] = ()

    @classmethod
    def of_texts(cls, name: str, texts: Iterable[str | None]) -> EventColumn:
        """Make a categorical column of a text for each event, "" or None where it is missing."""
        numbers: dict[str, int] = {"": 0}
        codes = [numbers.setdefault(text or "", len(numbers)) for text in texts]
        return cls(name, "categorical", torch.tensor(codes, dtype=torch.int64), tuple(numbers)[1:])

    @classmethod
    def of_numbers(cls, name: str, numbers: Sequence[float] | NDArray[Any]) -> EventColumn:
        """Make a numeric column of a number for each event, NaN where it is missing."""
        return cls(name, "numeric", torch.from_numpy(np.array(numbers, dtype=np.float64)))

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)

    def __len__(self) -> int:
        """Return the number of events E."""
        return len(self.values)

    def __getitem__(self, chosen: NDArray[Any] | Tensor) -> EventColumn:
        """Return the column of the events that a mask or positions name, in this order."""
        chosen = torch.as_tensor(chosen)
        return EventColumn(self.name, self.kind, self.values[chosen], self.tokens)

    def learn(self, training: Tensor) -> FeatureEncoding:
        """Return how the column is read, by the events that training may see, (E,) bool.

        Raises:
            DataError: it is missing in all of them, or the same.
        """
        seen = self.values[training]
        known = seen[~seen.isnan()] if self.kind == "numeric" else seen[seen > 0]
        distinct = known.unique()
        if len(distinct) < 2:
            what = "missing everywhere" if not len(distinct) else "the same everywhere"
            raise DataError(
                f"event_features: column {self.name!r} is {what} in the training events: take it out"
            )
        if self.kind == "numeric":
            return FeatureEncoding.of_numbers(self.name, seen.numpy())
        rows = [[self.tokens[number - 1]] for number in distinct.tolist()]
        return FeatureEncoding.of_tokens(self.name, self.kind, rows, " ")

    def encoded(self, encoding: FeatureEncoding) -> Tensor:
        """Return the column as a model reads it, (E,): int64 ids, 0 = missing or unknown; or float32."""
        if self.kind == "numeric":
            return torch.from_numpy(encoding.scaled(self.values.numpy())[:, 0])
        ids = encoding.ids([[token] for token in self.tokens])[:, 0]
        return torch.cat([torch.zeros(1, dtype=torch.int64), torch.from_numpy(ids)])[self.values]


@dataclass(frozen=True)
class EventTable:
    """What batches hold of the events of some :class:`Interactions`, as columns (E,).

    Attributes:
        times: int64 whole times, or None.
        features: for each feature int64 ids, 0 = missing, or float32, NaN = missing.
    """

    times: Tensor | None
    features: list[Tensor]

    @classmethod
    def of(
        cls, columns: Sequence[EventColumn], whole_times: Tensor | None, inputs: EventInputs
    ) -> EventTable | None:
        """Gather what a model reads; None if that is nothing.

        Args:
            columns: the features of the events.
            whole_times: the times of the events, or None.
            inputs: what the model reads.

        Raises:
            DataError: a feature is missing, or of another kind.
        """
        if not inputs:
            return None
        known = {column.name: column for column in columns}
        features = []
        for encoding in inputs.encodings:
            column = known.get(encoding.name)
            if column is None or column.kind != encoding.kind:
                found = "has no such column" if column is None else f"it is {column.kind} in the data"
                raise DataError(
                    f"the model reads {encoding.name!r} of events ({encoding.kind}), but {found}: name it in "
                    "the data's event_features, as in training"
                )
            features.append(column.encoded(encoding))
        if inputs.times is not None and whole_times is None:
            raise DataError(
                "the model reads the times of events, but the data has none: name its column of times"
            )
        return cls(whole_times if inputs.times is not None else None, features)

    def to(self, device: torch.device) -> EventTable:
        """Return the columns on a device."""
        times = None if self.times is None else self.times.to(device)
        return EventTable(times, [column.to(device) for column in self.features])

    def windows(self, windows: Windows) -> EventValues:
        """Return the values (B, width) of the events in windows, blank outside."""

        def filled(column: Tensor) -> Tensor:
            return windows.filled(column, float("nan") if column.is_floating_point() else 0)

        times = None if self.times is None else filled(self.times)
        return EventValues(times, [filled(column) for column in self.features])
