"""Numbers as short text."""

from __future__ import annotations

import numpy as np

from benchmarks.common.packed import packed, unpacked


def test_unpacked_is_what_was_packed() -> None:
    values = np.arange(300, dtype="uint8")
    assert unpacked(packed(values), "uint8").tolist() == values.tolist()
