"""The sides of the benchmark of models of sequences train the same targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import sequences
from benchmarks.speed.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small table of the name of the one that is measured."""
    pl = pytest.importorskip("polars")
    pytest.importorskip("recbole")
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), rng.integers(5, 12, 40))
    frame = {"user_id": users, "item_id": rng.integers(0, 30, len(users)), "timestamp": np.arange(len(users))}
    pl.DataFrame(frame).write_parquet(tmp_path / sequences.FILE)
    return tmp_path


def test_an_epoch_of_every_side(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "THEIR_STEPS", 1)
    rows, text = sequences.run(Settings((1,), 1, False, data=folder), folder)
    assert [(row["model"], row["side"]) for row in rows] == [
        (model, side) for model in ("SASRec", "BERT4Rec") for side in ("here", "RecBole")
    ]
    # so few rows are one batch: what was counted is the whole epoch
    assert all(row["share of an epoch"] == 1 for row in rows)
    targets = {(row["model"], row["side"]): row["targets/s"] * row["s an epoch"] for row in rows}
    assert targets["SASRec", "here"] == pytest.approx(targets["SASRec", "RecBole"])
    assert targets["BERT4Rec", "RecBole"] > targets["BERT4Rec", "here"] > 0
    assert "| SASRec | RecBole | 1 |" in text


def test_without_the_table_it_says_so(tmp_path: Path) -> None:
    assert "Left out: " in sequences.run(Settings((1,), 1, True), tmp_path)[1]
