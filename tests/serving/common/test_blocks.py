"""Blocks of bounded padded size."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from croloss_serving.common import blocks as module
from croloss_serving.common.blocks import blocks


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(1, 8))
def test_all_rows_in_order_and_none_too_large(lengths, most_rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_ENTRIES", 50)
        found = list(blocks(iter(lengths), most_rows))
    assert [row for block in found for row in range(block.start, block.stop)] == list(range(len(lengths)))
    for block in found:
        rows = block.stop - block.start
        assert 1 <= rows <= most_rows
        assert rows == 1 or rows * max(lengths[block]) <= 50
    for block, following in pairwise(found):  # none could have been larger
        rows = block.stop - block.start + 1
        assert rows > most_rows or rows * max(lengths[block.start : following.start + 1]) > 50


def test_usual_rows_are_one_block():
    assert list(blocks([50] * 1024)) == [slice(0, 1024)]
    assert list(blocks([50] * 1024, 256)) == [slice(first, first + 256) for first in range(0, 1024, 256)]
    assert list(blocks([])) == []
