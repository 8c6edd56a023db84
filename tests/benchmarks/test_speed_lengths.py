"""The sides of the benchmark of padding differ in nothing but the padding."""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.speed import lengths
from benchmarks.speed.settings import Settings
from lightning_croloss.data import DataRequest


def tables(folder):
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), rng.integers(5, 30, 40))
    frame = {"user_id": users, "item_id": rng.integers(0, 30, len(users)), "timestamp": np.arange(len(users))}
    pl.DataFrame(frame).write_parquet(folder / lengths.FILE)


def test_every_side_runs(tmp_path):
    tables(tmp_path)
    rows, text = lengths.run(Settings((1,), 1, True, data=tmp_path), tmp_path)
    assert [(row["work"], row["side"]) for row in rows] == [
        *(("epoch", side) for side in ("padded", "trimmed", "in groups", "group_by_length")),
        *(("evaluation", side) for side in ("together", "in groups")),
    ]
    assert all(row["first by this"] > 0 for row in rows)
    assert "| epoch | padded |" in text


def test_padded_batches_hold_what_trimmed_ones_hold(tmp_path):
    tables(tmp_path)
    batches = []
    for cls in (lengths.PaddedData, lengths.TableDataModule):
        data = cls(str(tmp_path / lengths.FILE), batch_size=7, max_history=25, seed=0)
        data.prepare_for(DataRequest(all_positions=True))
        batches.append(list(data.train_dataloader()))
    for padded, trimmed in zip(*batches, strict=True):
        width = trimmed.history.shape[1]
        assert padded.history.shape[1] == padded.targets.shape[1] == 25
        assert padded.history[:, -width:].equal(trimmed.history)
        assert padded.targets[:, -width:].equal(trimmed.targets)
        assert not padded.history[:, :-width].any()


def test_without_the_table_it_says_so(tmp_path):
    assert "name the folder" in lengths.run(Settings((1,), 1, True), tmp_path)[1]
    assert "holds no beauty.parquet" in lengths.run(Settings((1,), 1, True, data=tmp_path), tmp_path)[1]
