"""The embeddings of users' features in an export, of known and of new users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.array_files import array_of, check_finite, read_archive
from croloss_serving.common.feature_encoding import FeatureEncoding, plain_encodings, read_encodings
from croloss_serving.common.manifest import checked_content
from croloss_serving.common.plain_json import parse_json
from croloss_serving.errors import PretrainedError
from croloss_serving.layout import USER_FEATURES, USER_VECTORS
from croloss_serving.recommend.user_features import EncodedFeatures

ENCODINGS = "encodings"
Vectors = NDArray[np.float32]


class UserFeatureVectors:
    """The sum of the embeddings of a user's features, as the model's ``FeatureEmbedding`` computes it.

    Args:
        table: (num_users + 1, D) those of the known users; row 0 is zeros.
        encodings: how the features are read; None if the export does not hold that.
        weights: for each feature the embeddings (size, D) of its tokens, or (2, D) if it is a number.
    """

    def __init__(
        self, table: Vectors, encodings: list[FeatureEncoding] | None, weights: list[Vectors]
    ) -> None:
        self.table = table
        self.encodings = encodings
        self._weights = weights

    def vectors(self, users: NDArray[np.int64], features: EncodedFeatures | None) -> Vectors:
        """Return (B, D): of known users their own, of others what is given, else zeros.

        Args:
            users: (B,) ids, 0 = unknown.
            features: features that are given; those of known users do not count.
        """
        found = self.table[users]
        if features is not None:
            new = features.given & (users == 0)
            found[new] = self._sum([values[new] for values in features.values], int(new.sum()))
        return found

    def _sum(self, features: list[NDArray[Any]], count: int) -> Vectors:
        assert self.encodings is not None
        total = np.zeros((count, self.table.shape[1]), dtype=np.float32)
        for encoding, weight, values in zip(self.encodings, self._weights, features, strict=True):
            if encoding.kind == "numeric":
                missing = np.isnan(values)
                total += np.where(missing, weight[0], np.where(missing, 0, values) * weight[1])
            else:
                present = (values != 0)[..., None]
                total += (weight[values] * present).sum(1) / np.maximum(present.sum(1), 1)
        return total

    def write(self, vectors: Path, features: Path) -> None:
        """Write the table to one file, and what makes the vectors of new users to another."""
        np.save(vectors, self.table)
        plain = json.dumps(plain_encodings(self.encodings))
        content: dict[str, Any] = {ENCODINGS: np.frombuffer(plain.encode(), dtype=np.uint8)}
        content |= {f"weight_{number}": weight for number, weight in enumerate(self._weights)}
        np.savez(features, **content)

    @classmethod
    def read(cls, folder: Path, manifest: dict[str, Any], num_users: int) -> UserFeatureVectors:
        """Read what :meth:`write` wrote.

        Args:
            folder: the folder of the export.
            manifest: its manifest, which lists both files.
            num_users: how many users the table must have.

        Raises:
            PretrainedError: the files are damaged, or do not belong together.
        """
        try:
            content_of_table = checked_content(folder, USER_VECTORS, manifest)
            table = check_finite(array_of(content_of_table, np.float32, (num_users + 1, None)))
        except ValueError as error:
            raise PretrainedError(f"{folder / USER_VECTORS} cannot be read: {error}") from None
        try:
            content = read_archive(checked_content(folder, USER_FEATURES, manifest))
            plain = array_of(content.pop(ENCODINGS, b""), np.uint8, (None,))
            encodings = read_encodings(parse_json(plain.tobytes()))
            names = [f"weight_{number}" for number in range(len(content))]
            if {*names} != {*content} or (encodings is not None and len(encodings) != len(names)):
                raise ValueError("it does not have one table of weights for each feature")
            sizes = [None] * len(names) if encodings is None else [_size_of(one) for one in encodings]
            weights = [
                check_finite(array_of(content[name], np.float32, (size, table.shape[1])))
                for name, size in zip(names, sizes, strict=True)
            ]
        except ValueError as error:
            raise PretrainedError(f"{folder / USER_FEATURES} cannot be read: {error}") from None
        return cls(table, encodings, weights)


def _size_of(encoding: FeatureEncoding) -> int:
    """Return the number of vectors that a feature's embeddings have."""
    return 2 if encoding.tokens is None else len(encoding.tokens) + 1
