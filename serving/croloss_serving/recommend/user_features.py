"""The features of users that are recommended to, as a user of the library gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.recommend.unread import warn_of_unread

#: For each feature a value of each user; None or "" is missing.
UserFeatures = Mapping[str, Sequence[Any]]


class EncodedFeatures(NamedTuple):
    """Features of users as numbers.

    Attributes:
        values: for each feature (B, W), int64 ids of tokens padded with 0, or float32 with NaN where missing.
        given: (B,) bool, whether a user has any of them.
    """

    values: list[NDArray[Any]]
    given: NDArray[np.bool_]

    def rows(self, part: slice) -> EncodedFeatures:
        """Return those of some users."""
        return EncodedFeatures([values[part] for values in self.values], self.given[part])


def encode_user_features(
    encodings: Sequence[FeatureEncoding] | None, features: UserFeatures | None, count: int, who: str
) -> EncodedFeatures | None:
    """Return the features of ``count`` users as numbers; None if none are given that the model reads.

    Warns of what is given though the model does not read it.

    Args:
        encodings: how the model reads its features; None if its file does not hold that.
        features: what is given; a feature that is left out is missing everywhere.
        count: number of users.
        who: what errors call the model.

    Raises:
        ValueError: the model does not know how to read its features, a value is not of its kind, or the
            values are not as many as the users.
    """
    if features is None:
        return None
    if encodings is None:
        raise ValueError(
            f"{who} does not know how to read features of users, since an earlier release wrote its file: "
            "leave user_features out, or fit or test it on its data and save it again"
        )
    names = [encoding.name for encoding in encodings]
    warn_of_unread(who, [name for name in features if name not in names], "users", names)
    if not encodings:
        return None
    for name in names:
        values = features.get(name, [None] * count)
        if isinstance(values, (str, bytes)) or len(values) != count:
            raise ValueError(f"user_features[{name!r}] must hold a value for each of the {count} users")
    encoded, given = [], np.zeros(count, dtype=np.bool_)
    for encoding in encodings:
        numbers = encoding.encode(list(features.get(encoding.name, [None] * count)))
        encoded.append(numbers)
        given |= ~np.isnan(numbers[:, 0]) if encoding.kind == "numeric" else numbers[:, 0] > 0
    return EncodedFeatures(encoded, given)
