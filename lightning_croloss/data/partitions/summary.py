"""Summary: what all processes must know alike of data of which each reads a part."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from croloss_serving.common.feature_encoding import FeatureEncoding, plain_encodings, read_encodings
from croloss_serving.recommend.event_inputs import DATES, NUMBERS
from lightning_croloss.common.files import replacing
from lightning_croloss.data.report import PreparationReport
from lightning_croloss.data.splits.base import PARTS

_MAGIC = b"croloss summary of partitions\n"
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Summary:
    """What the filters leave and the split makes of all partitions.

    Attributes:
        items: (N,) bool, which items of the folder are left.
        users: (U,) bool, which users.
        item_counts: (num_items + 1,) int64 training events of each item.
        target_counts: the same of the training targets, without and with the users' first events; float64 if
            targets are drawn.
        rows: number of rows of each part of the split.
        evaluated: for "valid" and "test" (num_users,) bool, which users have a row.
        unseen_users: whether evaluation has users without training events.
        boundaries: when validation and test begin, if the split divides by time.
        times_are: what the times of the events are, "numbers" or "dates"; None without times.
        typical_time: the size that half of the times of the training events are below.
        encodings: how the features of events are read.
        report: the record of the preparation.
    """

    items: NDArray[np.bool_]
    users: NDArray[np.bool_]
    item_counts: Tensor
    target_counts: tuple[Tensor, Tensor]
    rows: Mapping[str, int]
    evaluated: Mapping[str, NDArray[np.bool_]]
    unseen_users: bool
    boundaries: tuple[int | float, int | float] | None
    times_are: str | None
    typical_time: float | None
    encodings: tuple[FeatureEncoding, ...]
    report: PreparationReport

    @property
    def num_items(self) -> int:
        """Number of items that are left."""
        return len(self.item_counts) - 1

    @property
    def num_users(self) -> int:
        """Number of users that are left."""
        return len(self.evaluated["valid"])

    def write(self, path: Path) -> None:
        """Write the summary, whole at once."""
        plain = {
            **vars(self),
            "items": _packed(self.items),
            "users": _packed(self.users),
            "evaluated": {part: _packed(rows) for part, rows in self.evaluated.items()},
            "rows": dict(self.rows),
            "encodings": plain_encodings(self.encodings),
            "report": self.report.to_dict(),
        }
        buffer = io.BytesIO()
        torch.save(plain, buffer)
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(_MAGIC + hashlib.sha256(buffer.getbuffer()).digest())
            file.write(buffer.getbuffer())

    @classmethod
    def read(cls, path: Path, num_items: int, num_users: int) -> Summary:
        """Read a summary of a folder of so many items and users.

        Raises:
            ValueError: the file is not such a summary, or is damaged.
            OSError: it cannot be read.
        """
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no plain file")
        content = path.read_bytes()
        payload = memoryview(content)[len(_MAGIC) + _DIGEST :]
        if content[: len(_MAGIC) + _DIGEST] != _MAGIC + hashlib.sha256(payload).digest():
            raise ValueError("its checksum is another")
        try:
            plain = torch.load(io.BytesIO(payload), weights_only=True)
            return _read(plain, num_items, num_users)
        except ValueError:
            raise
        except Exception as error:  # whatever a file that is none leads to
            raise ValueError(f"it holds something else ({type(error).__name__})") from error


def _read(plain: Any, num_items: int, num_users: int) -> Summary:
    items, users = _unpacked(plain["items"], num_items), _unpacked(plain["users"], num_users)
    left, kept = int(items.sum()), int(users.sum())
    evaluated = {part: _unpacked(plain["evaluated"][part], kept) for part in PARTS[1:]}
    boundaries, size = plain["boundaries"], plain["typical_time"]
    _check(plain["times_are"] in (None, NUMBERS, DATES), "its times are nothing known")
    _check(size is None or (type(size) is float and 0 <= size < math.inf), "its typical time is none")
    is_pair = boundaries is None or (
        isinstance(boundaries, tuple) and len(boundaries) == 2 and all(map(_is_number, boundaries))
    )
    _check(is_pair, "its boundaries are no times")
    rows = {part: plain["rows"][part] for part in PARTS}
    _check(all(type(count) is int and count > 0 for count in rows.values()), "its rows are no counts")
    _check(type(plain["unseen_users"]) is bool, "it does not say whether users are unseen")
    counts = (plain["item_counts"], *plain["target_counts"])
    for number, found in enumerate(counts):
        kinds = (torch.int64,) if number == 0 else (torch.int64, torch.float64)
        is_count = isinstance(found, Tensor) and found.dtype in kinds and found.shape == (left + 1,)
        _check(is_count and bool(((found >= 0) & found.isfinite()).all()), "its counts are none of its items")
    _check(len(counts) == 3 and left > 0 and kept > 0, "it leaves nothing")
    return Summary(
        items,
        users,
        counts[0],
        (counts[1], counts[2]),
        rows,
        evaluated,
        plain["unseen_users"],
        boundaries,
        plain["times_are"],
        size,
        tuple(read_encodings(plain["encodings"]) or ()),
        PreparationReport.from_dict(plain["report"]),
    )


def _packed(marks: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(np.packbits(marks))


def _unpacked(packed: Any, count: int) -> NDArray[np.bool_]:
    is_packed = isinstance(packed, Tensor) and packed.dtype == torch.uint8
    _check(is_packed and packed.shape == (-(-count // 8),), "it is of other items or users")
    return np.unpackbits(packed.numpy(), count=count).astype(np.bool_)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _check(condition: bool, why: str) -> None:
    if not condition:
        raise ValueError(why)
