"""Embeddings of the features of items or users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from croloss_serving.common.feature_encoding import FeatureEncoding
from lightning_croloss.data.batch import GivenFeatures
from lightning_croloss.data.features import KINDS, Feature
from lightning_croloss.errors import suggest

#: Beginning of the names of the buffers that hold the features' values; part of every saved state dictionary.
TABLE = "table_"


def feature_embedding(
    specs: Sequence[Mapping[str, Any]], num_ids: int, dim: int, whose: str, separate: bool = False
) -> FeatureEmbedding | None:
    """Return the embedding of the features of ``whose`` ("items" or "users"); None if there are none.

    Args:
        specs: see :class:`FeatureEmbedding`.
        num_ids: see :class:`FeatureEmbedding`.
        dim: see :class:`FeatureEmbedding`.
        whose: for errors.
        separate: see :class:`FeatureEmbedding`.

    Raises:
        ValueError: there are features but no ids.
    """
    if not specs:
        return None
    if num_ids < 1:
        raise ValueError(f"num_{whose} must be at least 1 for features of {whose}, got {num_ids}")
    return FeatureEmbedding(specs, num_ids, dim, separate)


class FeatureEmbedding(nn.Module):
    """The sum of the embeddings of an id's features, or each of them.

    A categorical value is looked up; the tokens of a multi-valued one are averaged; a number scales a learned
    vector. What is missing adds nothing, or a learned vector of its own where the feature is a number. The
    features themselves are buffers: they travel in checkpoints, so that a model needs no data to recommend.

    Args:
        specs: name, kind, size and width of each feature, from the data.
        num_ids: number of items or users; ids are 1 … num_ids, 0 is unknown and embeds to zeros.
        dim: width D.
        separate: whether the embeddings of the F features stand in a row, (..., F · D), and are not added.
    """

    def __init__(
        self, specs: Sequence[Mapping[str, Any]], num_ids: int, dim: int, separate: bool = False
    ) -> None:
        super().__init__()
        self.names = [str(spec["name"]) for spec in specs]
        self.kinds = [str(spec["kind"]) for spec in specs]
        self.dim = dim
        self.separate = separate
        self.embeddings = nn.ModuleList()
        for number, spec in enumerate(specs):
            if spec["kind"] not in KINDS:
                raise ValueError(f"feature {spec['name']!r} has unknown kind {spec['kind']!r}")
            numeric = spec["kind"] == "numeric"
            dtype = torch.float32 if numeric else torch.long
            table = torch.full((num_ids + 1, int(spec["width"])), float("nan") if numeric else 0, dtype=dtype)
            self.register_buffer(f"{TABLE}{number}", table)
            # of a number: row 1 is scaled by it, row 0 stands for a missing one
            embedding = nn.Embedding(2 if numeric else int(spec["size"]), dim)
            nn.init.normal_(embedding.weight, std=dim**-0.5)
            if not numeric:
                nn.init.zeros_(embedding.weight[:1])
            self.embeddings.append(embedding)

    def fill(self, features: Sequence[Feature]) -> None:
        """Take the features of the data.

        Raises:
            ValueError: they are not those that the model was built for.
        """
        if [feature.name for feature in features] != self.names:
            raise ValueError(
                f"the model was built for the features {self.names}, the data has "
                f"{[feature.name for feature in features]}"
            )
        for number, feature in enumerate(features):
            table = self._table(number)
            if table.shape != feature.values.shape:
                raise ValueError(
                    f"feature {feature.name!r} has the shape {tuple(feature.values.shape)}, the model was "
                    f"built for {tuple(table.shape)}"
                )
            table.copy_(feature.values)

    def fits(self, encodings: Sequence[FeatureEncoding]) -> bool:
        """Tell whether these say how the values of these very features become numbers."""
        sizes = [2 if one.tokens is None else len(one.tokens) + 1 for one in encodings]
        return (
            [encoding.name for encoding in encodings] == self.names
            and [encoding.kind for encoding in encodings] == self.kinds
            and [len(weight) for weight in self.weights()] == sizes
        )

    def forward(self, ids: Tensor, given: GivenFeatures | None = None) -> Tensor:
        """Return the sum over features, (..., D), for ids of any shape, or (..., F · D); zeros for id 0.

        Args:
            ids: the ids.
            given: features of the ids (B,) that are 0, where any are given.
        """
        distinct, position = _distinct(ids)
        found = self._embed(distinct)[position]
        if given is None:
            return found
        return torch.where((given.given & (ids == 0)).unsqueeze(-1), self._joined(given.values), found)

    def fields(self, ids: Tensor) -> list[Tensor]:
        """Return the embedding of each feature, (..., D), for ids of any shape; zeros for id 0."""
        distinct, position = _distinct(ids)
        real = (distinct != 0).unsqueeze(-1)
        return [(values * real)[position] for values in self._each(self._values_of(distinct))]

    def weights(self) -> list[Tensor]:
        """Return for each feature the embeddings of its tokens, or the two of a number, that add up.

        Returns:
            (size, D), or (2, D) of a number; if ``separate`` (size, F · D), zeros in place of other features.
        """
        found = [parameter.detach() for parameter in self.embeddings.parameters()]
        if not self.separate:
            return found
        after = self.dim * (len(found) - 1)
        return [
            functional.pad(weight, (self.dim * number, after - self.dim * number))
            for number, weight in enumerate(found)
        ]

    def categories(self, name: str) -> Tensor:
        """Return the token ids (num_ids + 1, W) of a categorical or multi-valued feature, 0 = no more.

        Raises:
            ValueError: there is no such feature, or it is a number.
        """
        usable = [known for known, kind in zip(self.names, self.kinds, strict=True) if kind != "numeric"]
        if name in usable:
            return self._table(self.names.index(name))
        fault = "is a number" if name in self.names else f"is not among the features{suggest(name, usable)}"
        raise ValueError(f"category {name!r} {fault}: it must be one of {', '.join(usable) or 'none'}")

    @staticmethod
    def is_table(key: str) -> bool:
        """Tell whether a key of a state dictionary, a model's too, is of the values of a feature.

        These are filled by the data, while all else is learned.
        """
        name = key.rpartition(".")[2]
        return name.startswith(TABLE) and name.removeprefix(TABLE).isdigit()

    @staticmethod
    def learned_prefix(number: int) -> str:
        """Return what the keys begin with of the parameters that the feature of this number has."""
        return f"embeddings.{number}."

    def rows_agree(self, number: int, rows: Tensor, feature: Feature) -> bool:
        """Tell whether what is learned of one feature would mean the same for other data.

        Args:
            number: number of the feature, from 0.
            rows: (n + 1,) for each id of the other data the id of this embedding that is the same, 0 = none.
            feature: the feature of the other data.

        Returns:
            Whether the tokens are as many, and the values of all ids that both know are equal.
        """
        table = self._table(number)
        embedding = self.embeddings[number]
        assert isinstance(embedding, nn.Embedding)
        if (feature.size or 2) != embedding.num_embeddings or table.shape[1:] != feature.values.shape[1:]:
            return False
        known = rows > 0
        ours, theirs = table[rows[known]], feature.values[known].to(table.dtype)
        return torch.equal(ours.nan_to_num(), theirs.nan_to_num())

    def _embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ids (n,), zeros for id 0."""
        return self._joined(self._values_of(ids)) * (ids != 0).unsqueeze(-1)

    def _values_of(self, ids: Tensor) -> list[Tensor]:
        return [self._table(number)[ids] for number in range(len(self.kinds))]

    def _joined(self, features: Sequence[Tensor]) -> Tensor:
        """Return the sum of the embeddings of the values (n, W) of each feature, or these in a row."""
        each = self._each(features)
        if self.separate:
            return torch.cat(each, dim=-1)
        total = torch.zeros(len(features[0]), self.dim, dtype=self._dtype, device=features[0].device)
        for values in each:
            total = total + values
        return total

    def _each(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the embeddings (n, D) of the values (n, W) of each feature."""
        rows = torch.arange(2, device=features[0].device)
        found: list[Tensor] = []
        for kind, embedding, values in zip(self.kinds, self.embeddings, features, strict=True):
            if kind == "numeric":
                missing = torch.isnan(values)
                absent, scaled = embedding(rows)
                found.append(torch.where(missing, absent, torch.where(missing, 0.0, values) * scaled))
            else:
                present = (values != 0).unsqueeze(-1)
                added = (embedding(values) * present).sum(-2)
                found.append(added / present.sum(-2).clamp(min=1))
        return found

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.embeddings.parameters()).dtype

    def _table(self, number: int) -> Tensor:
        return self.get_buffer(f"{TABLE}{number}")


def _distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids (n,), on a processor without repetition, and the place of each of the given ones among them.

    A batch of histories holds each item many times. An accelerator would have to be waited for until it told
    how many different ones there are.
    """
    if ids.is_cpu:
        distinct, places = torch.unique(ids, return_inverse=True)
        return distinct, places
    return ids.flatten(), torch.arange(ids.numel(), device=ids.device).view(ids.shape)
