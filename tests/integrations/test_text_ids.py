"""Ids of texts and the counts of items, from what tokenizers give."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lightning_croloss.integrations.counted_items import CountedItems
from lightning_croloss.integrations.text_ids import ids_of_columns, text_ids

TEXTS = st.lists(st.lists(st.integers(0, 3), max_size=5).map(tuple), min_size=1, max_size=12)


def padded(
    texts: list[tuple[int, ...]], pad: int = 0, width: int = 0, side: str = "right"
) -> dict[str, Tensor]:
    rows = [torch.tensor(text, dtype=torch.long) for text in [*texts, (0,) * width]]
    tokens = pad_sequence(rows, batch_first=True, padding_value=pad, padding_side=side)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side=side)
    return {"input_ids": tokens[:-1], "attention_mask": mask[:-1]}  # the last one only made it wider


def in_a_row(texts: list[tuple[int, ...]], name: str = "offsets") -> dict[str, Tensor]:
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text))
    tokens = torch.tensor([token for text in texts for token in text], dtype=torch.long)
    if name == "offsets":
        return {"input_ids": tokens, "offsets": torch.tensor(starts[:-1])}
    return {"input_ids": tokens[None], name: torch.tensor(starts, dtype=torch.int32)}


@settings(max_examples=30)
@given(TEXTS)
def test_ids_are_equal_where_the_texts_are(texts: list[tuple[int, ...]]) -> None:
    ids = text_ids(in_a_row(texts)).tolist()
    for a, first in zip(texts, ids, strict=True):
        for b, second in zip(texts, ids, strict=True):
            assert (first == second) == (a == b)


@settings(max_examples=30)
@given(TEXTS)
def test_ids_depend_on_the_tokens_alone(texts: list[tuple[int, ...]]) -> None:
    expected = text_ids(in_a_row(texts))
    assert torch.equal(text_ids(in_a_row(texts, "cu_seq_lens_q")), expected)
    assert torch.equal(text_ids(in_a_row(texts[::-1])), expected.flip(0))
    for pad, width, side in [(0, 0, "right"), (9, 8, "right"), (1, 7, "left")]:
        assert torch.equal(text_ids(padded(texts, pad, width, side)), expected)


def test_many_texts_have_as_many_ids() -> None:
    tokens = torch.cartesian_prod(*[torch.arange(40)] * 3)
    assert len(text_ids({"input_ids": tokens}).unique()) == 64_000


def test_columns_that_are_no_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="label column of item ids"):
        text_ids({"pixel_values": torch.zeros(2, 3, 4, 4)})


@pytest.mark.parametrize(
    ("columns", "labels", "by_label", "message"),
    [
        (1, None, False, r"\(anchor, positive, negative, …\), got 1"),
        (3, torch.tensor([1]), True, r"\(anchor, positive\), as ids are labels, got 3"),
        (2, None, True, "integer ids .*got none"),
        (2, torch.tensor([1.0]), True, r"integer ids .*got \(1,\) torch.float32"),
    ],
)
def test_columns_that_do_not_fit(columns: int, labels: Any, by_label: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ids_of_columns([in_a_row([(1,)])] * columns, labels, by_label)


class Characters:
    def preprocess(self, texts: list[str]) -> dict[str, Tensor]:
        return padded([tuple(map(ord, text.lower())) for text in texts])


def test_counts_of_texts_with_the_same_tokens_add_up() -> None:
    counted = CountedItems.of({"Up": 1, "up": 2, "Alien": 3, "Heat": 2, "never": 0}, Characters())
    ids = text_ids(Characters().preprocess(["up", "alien", "heat"]))
    expected = torch.tensor([3 / 8, 3 / 8, 2 / 8]).log()
    torch.testing.assert_close(counted(ids, strict=True), expected)
    assert len(counted.ids) == 3
    others = text_ids(Characters().preprocess(["up", "never", "heated"]))
    assert counted(others, strict=False).exp().tolist() == pytest.approx([3 / 8, 2 / 8, 2 / 8])
    with pytest.raises(ValueError, match="item_counts lacks 2 of the 3"):
        counted(others, strict=True)


def test_counts_by_label() -> None:
    counted = CountedItems.of(torch.tensor([3, 0, 1]), Characters())
    assert counted(torch.tensor([2, 0, 2]), strict=True).tolist() == pytest.approx(
        [math.log(0.25), math.log(0.75), math.log(0.25)]
    )
    for never in (1, 3, -1):
        with pytest.raises(ValueError, match="item_counts lacks 1 of the 2"):
            counted(torch.tensor([0, never]), strict=True)


@pytest.mark.parametrize("counts", [["a", "b", "a"], [1, 2]])
def test_counts_that_are_none(counts: Any) -> None:
    with pytest.raises(TypeError, match=r"Counter\(dataset\['positive'\]\).*got list"):
        CountedItems.of(counts, Characters())
