"""The benchmark of fine-tuning runs, in small."""

import numpy as np
import polars as pl
import pytest

from benchmarks.common.rows import identity, rows_of
from benchmarks.finetune.__main__ import RESULTS
from benchmarks.finetune.protocol import base_of, pretraining_runs, runs, work
from benchmarks.finetune.report import report


def test_the_committed_table_is_that_of_the_committed_rows():
    assert report(rows_of(RESULTS / "rows.jsonl")) == (RESULTS / "results.md").read_text()


def test_runs_wait_for_their_pretraining():
    pretrained = {identity(settings) for settings in pretraining_runs()}
    for settings in runs():
        assert (base_of(settings) in pretrained) == (settings["side"] != "scratch")
    assert len({base_of(settings) for settings in runs()}) == 1 + len(pretrained) == 4


@pytest.mark.slow
def test_every_side_runs_and_the_table_is_written(tmp_path):
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(300), 8)
    items = np.concatenate([random.permutation(100)[:8] for _ in range(300)])
    source = tmp_path / "video.parquet"
    pl.DataFrame({"user_id": users, "item_id": items, "timestamp": np.arange(2400)}).write_parquet(source)
    rows = {}
    for settings in runs():
        if settings["seed"] == 1 and settings.get("rate", 0.003) == 0.003:
            row = work(settings, str(tmp_path), str(source), epochs=1)
            rows[identity(settings)] = {"settings": settings, **row}
            assert 0.0 <= row["recall@50"] <= 1.0
            if settings["side"] != "scratch":
                assert 0 < row["matched"] <= row["items"] == 100
    text = report(rows)
    assert [line.count("|") for line in text.splitlines() if line.startswith("| ")] == [6] * 4
    assert (tmp_path / "model-1" / "manifest.json").exists()

    parts = [set(pl.read_parquet(tmp_path / f"{part}-1.parquet")["user_id"]) for part in ("pretraining", 10)]
    assert not parts[0] & parts[1]
    assert len(parts[0]) == 150
    assert len(parts[1]) == 90
