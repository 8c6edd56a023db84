"""The comparison on MovieLens-100k: its metrics and its report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.rows import append_row, failed_row
from benchmarks.ml_100k.__main__ import RESULTS
from benchmarks.ml_100k.protocol import metric
from benchmarks.ml_100k.report import report


@pytest.mark.slow
def test_the_committed_tables_are_those_of_the_committed_rows(tmp_path: Path) -> None:
    report(RESULTS / "rows.jsonl", tmp_path)
    assert (tmp_path / "results.md").read_text() == (RESULTS / "results.md").read_text()


def test_a_failed_run_is_listed_and_left_out(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "rows.jsonl", tmp_path)
    path = tmp_path / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    few = [row for row in rows if row["settings"]["architecture"] in ("most popular", "MIND")]
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in few if row["settings"]["loss"] in ("", "CROLoss"))
    )
    run = few[-1]["settings"] | {"loss": "CROLoss", "setting": {"temperature": 9.0}, "seed": 1}
    append_row(path, failed_row(run, FloatingPointError("the loss is nan")))
    report(path, tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert text.endswith("temperature 9.0 | FloatingPointError | the loss is nan |\n")
    committed = (RESULTS / "results.md").read_text()
    (line,) = (line for line in committed.splitlines() if line.startswith("| MIND | CROLoss |"))
    assert line in text.splitlines()


def test_the_metrics_of_a_target_a_user() -> None:
    ranks = [1, 2, 3, 7, 8]
    assert metric(ranks, "Recall", 7).tolist() == [1, 1, 1, 1, 0]
    assert metric(ranks, "NDCG", 7).tolist() == pytest.approx([1, 1 / np.log2(3), 0.5, 1 / 3, 0])
