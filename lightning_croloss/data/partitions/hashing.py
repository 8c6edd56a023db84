"""The partition of a user: a hash of the text of its token, the same on every machine."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from lightning_croloss.common.mixing import mixed

_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def partitions_of(tokens: pl.Series, partitions: int) -> NDArray[np.int64]:
    """Return the partition (n,), from 0, of tokens (n,), integers or texts without missing ones.

    An integer counts as its decimal text, so that it is in the partition of that text.
    """
    return (hashes(tokens) % np.uint64(partitions)).astype(np.int64)


def hashes(tokens: pl.Series) -> NDArray[np.uint64]:
    """Return FNV-1a of the UTF-8 of each token (n,), its bits mixed by the finaliser of SplitMix64.

    The bytes at one place of all tokens are taken at a time.
    """
    text = tokens.cast(pl.String).to_arrow().cast(pa.large_binary())
    _, offsets_buffer, data_buffer = text.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64, len(text) + 1, 8 * text.offset)
    data = np.frombuffer(data_buffer or b"", np.uint8)
    lengths = np.diff(offsets)
    longest_first = np.argsort(-lengths, kind="stable")
    ordered, begins = lengths[longest_first], offsets[:-1][longest_first]
    found = np.full(len(tokens), _OFFSET)
    longer = len(tokens) - np.searchsorted(ordered[::-1], np.arange(int(lengths.max(initial=0))), "right")
    for place, reached in enumerate(longer.tolist()):
        found[:reached] = (found[:reached] ^ data[begins[:reached] + place]) * _PRIME  # modulo 2^64
    result = np.empty_like(found)
    result[longest_first] = mixed(found)
    return result
