"""Published figures of the zoo's data sets, with their source: none of them was measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BENCHMARK = "the benchmark of the eSASRec paper (Tikhonovich et al., RecSys 2025)"
#: The N of the published figures.
N = 10


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


@dataclass(frozen=True)
class PublishedTable:
    """Published figures of one data set under one protocol.

    Attributes:
        protocol: how they were measured, in one sentence.
        counts: what the ``data`` of a ``metrics.json`` holds if a model was measured on the same rows.
        figures: the figures.
    """

    protocol: str
    counts: Mapping[str, int]
    figures: tuple[Figure, ...]

    def is_comparable(self, metrics: Mapping[str, Any]) -> bool:
        """Tell whether the figures of a ``metrics.json`` were measured under this protocol."""
        counts = metrics["data"]
        same = all(counts.get(name) == value for name, value in self.counts.items())
        return same and metrics.get("exclude_history") is True


def _leave_one_out(users: int, items: int, interactions: int, *figures: Figure) -> PublishedTable:
    return PublishedTable(
        "a user's last event is for test and the one before for validation, the whole catalogue is ranked, "
        "and what the user had before is left out of the list.",
        {
            "users": users,
            "items": items,
            "interactions": interactions,
            "training_events": interactions - 2 * users,
            "test_users": users,
            "test_targets": users,
        },
        figures,
    )


PUBLISHED: dict[str, PublishedTable] = {
    "beauty": _leave_one_out(
        22_363,
        12_101,
        198_502,
        Figure("SASRec, sampled softmax", 0.0921, 0.0531, BENCHMARK),
        Figure("eSASRec", 0.0928, 0.0523, BENCHMARK),
        Figure("HSTU", 0.0788, 0.0439, BENCHMARK),
        Figure("FuXi-α", 0.0809, 0.0451, BENCHMARK),
        Figure("DuoRec", 0.0965, None, "the comparison of the WEARec paper, width 64"),
        Figure("BSARec", 0.1008, 0.0611, "the comparison of the WEARec paper, width 64"),
        Figure("WEARec", 0.1041, None, "its own paper, width 64"),
    ),
    "toys": _leave_one_out(
        19_412,
        11_924,
        167_597,
        Figure("SASRec, sampled softmax", 0.0970, 0.0580, BENCHMARK),
        Figure("eSASRec", 0.0939, 0.0538, BENCHMARK),
        Figure("HSTU", 0.0778, 0.0450, BENCHMARK),
        Figure("FuXi-α", 0.0765, 0.0437, BENCHMARK),
    ),
}
