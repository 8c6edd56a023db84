"""Published figures, with their source: none of them was measured here."""

from __future__ import annotations

from dataclasses import dataclass

BENCHMARK = "the benchmark of the eSASRec paper (Tikhonovich et al., RecSys 2025)"


@dataclass(frozen=True)
class Figure:
    """Test figures of a model on a data set, as its source prints them.

    Attributes:
        model: name in the source.
        recall: Recall@10.
        ndcg: NDCG@10; None: not in the source.
        source: where the figures stand.
    """

    model: str
    recall: float
    ndcg: float | None
    source: str


FIGURES: dict[str, tuple[Figure, ...]] = {
    "beauty": (
        Figure("SASRec, sampled softmax", 0.0921, 0.0531, BENCHMARK),
        Figure("eSASRec", 0.0928, 0.0523, BENCHMARK),
        Figure("HSTU", 0.0788, 0.0439, BENCHMARK),
        Figure("FuXi-α", 0.0809, 0.0451, BENCHMARK),
        Figure("DuoRec", 0.0965, None, "the comparison of the WEARec paper, width 64"),
        Figure("BSARec", 0.1008, 0.0611, "the comparison of the WEARec paper, width 64"),
        Figure("WEARec", 0.1041, None, "its own paper, width 64"),
    ),
    "toys": (
        Figure("SASRec, sampled softmax", 0.0970, 0.0580, BENCHMARK),
        Figure("eSASRec", 0.0939, 0.0538, BENCHMARK),
        Figure("HSTU", 0.0778, 0.0450, BENCHMARK),
        Figure("FuXi-α", 0.0765, 0.0437, BENCHMARK),
    ),
}
