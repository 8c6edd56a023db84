"""SentenceRetrievalLoss against a loop over the texts, with a model that keeps to what the loss asks of one.

Where sentence-transformers is not installed, what the loss takes of it stands in: nothing is gathered here.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_croloss import CROLoss, SoftmaxLoss
from lightning_croloss.losses import RetrievalLoss

LOSSES = {"softmax": lambda: SoftmaxLoss(0.1), "croloss": lambda: CROLoss(alpha=1.2, positive_scale=0.8)}
MODULE = "lightning_croloss.integrations.sentence_transformers"


class WordMeans(nn.Module):
    """A text is the mean of its words' vectors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(20, 6, padding_idx=0)

    def preprocess(self, texts: list[str]) -> dict[str, Tensor]:
        numbers = [[int(word) for word in text.split()] for text in texts]
        width = max(map(len, numbers))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in numbers])
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        number = features["attention_mask"].sum(1, keepdim=True)
        return {"sentence_embedding": self.words(features["input_ids"]).sum(1) / number}


@pytest.fixture
def loss_class(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if find_spec("sentence_transformers") is not None:
        yield import_module(MODULE).SentenceRetrievalLoss
        return
    util: Any = ModuleType("sentence_transformers.util")
    util.all_gather = util.all_gather_with_grad = None
    monkeypatch.setitem(sys.modules, "sentence_transformers", ModuleType("sentence_transformers"))
    monkeypatch.setitem(sys.modules, "sentence_transformers.util", util)
    try:
        yield import_module(MODULE).SentenceRetrievalLoss
    finally:
        sys.modules.pop(MODULE, None)  # whoever imports it next is told what is missing


def one_way(
    loss: RetrievalLoss,
    ranking: Tensor,
    ranked: Tensor,
    known: list[list[bool]],
    log_prob: Tensor | None,
) -> Tensor:
    """Return the mean of the losses of single rows (B, D) that rank (C, D), of which (B, C) are known."""
    values = []
    for row, vector in enumerate(ranking):
        others = [place for place in range(len(ranked)) if place != row]
        values.append(
            loss(
                (vector @ ranked[row])[None],
                (ranked[others] @ vector)[None],
                negative_mask=torch.tensor([[known[row][place] for place in others]]),
                negative_log_prob=None if log_prob is None else log_prob[others],
            )
        )
    return torch.stack(values).mean()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("negatives", [0, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_text_is_a_negative_of_one_that_it_is_a_pair_with(
    loss_class: Any, name: str, counted: bool, symmetric: bool, negatives: int, seed: int
) -> None:
    draw, model = random.Random(seed), WordMeans()
    queries = [draw.choice(["1 2", "3", "4 5"]) for _ in range(6)]
    columns = [[draw.choice(["6", "7 8", "9", "10 11 12"]) for _ in queries] for _ in range(1 + negatives)]
    documents, items = columns[0], [text for column in columns for text in column]
    pairs = {*zip(queries, documents, strict=True)}

    def vectors(texts: list[str]) -> Tensor:
        return normalize(model(model.preprocess(texts))["sentence_embedding"], dim=-1)

    counts, log_prob = Counter(items), None
    if counted:
        log_prob = torch.tensor([counts[text] / len(items) for text in items]).log()
    forth = LOSSES[name]()
    if counted:
        forth.set_num_items(len(counts))
    known = [[(query, item) in pairs for item in items] for query in queries]
    expected = one_way(forth, vectors(queries), vectors(items), known, log_prob)
    if symmetric:
        known = [[(query, document) in pairs for query in queries] for document in documents]
        back = one_way(LOSSES[name](), vectors(documents), vectors(queries), known, None)
        expected = (expected + back) / 2
    loss = loss_class(model, LOSSES[name](), item_counts=counts if counted else None, symmetric=symmetric)
    value = loss([model.preprocess(texts) for texts in (queries, *columns)])
    torch.testing.assert_close(value, expected)
