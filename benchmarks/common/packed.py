"""Numbers as short text, for rows."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def packed(values: NDArray[Any]) -> str:
    """Return numbers as short text."""
    return base64.b85encode(zlib.compress(values.tobytes(), 9)).decode()


def unpacked(text: str, dtype: str) -> NDArray[Any]:
    """Return the numbers of :func:`packed`."""
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype=dtype)
