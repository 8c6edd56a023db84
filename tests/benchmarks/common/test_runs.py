"""The harness of the comparisons: resumable rows and the paired bootstrap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness import execute, paired_bootstrap, rows_of
from benchmarks.ml_100k_report import metric


def double(settings: dict[str, Any]) -> dict[str, Any]:
    with Path(settings["log"]).open("a") as log:
        log.write("x")
    return {"result": 2 * settings["number"]}


def test_runs_are_executed_once_and_resumed(tmp_path: Path) -> None:
    path, log = tmp_path / "rows.jsonl", tmp_path / "log"
    runs = [{"number": number, "log": str(log)} for number in range(4)]
    execute(runs[:2], double, path, processes=1)
    assert log.read_text() == "xx"
    path.write_text(path.read_text() + '{"settings": {"numb')  # killed while writing
    assert len(rows_of(path)) == 2
    rows = execute([*runs, runs[0]], double, path, processes=2)
    assert log.read_text() == "xxxx"
    assert sorted(row["result"] for row in rows.values()) == [0, 2, 4, 6]
    assert rows == rows_of(path)
    assert [json.loads(line)["result"] for line in path.read_text().splitlines()][:2] == [0, 2]


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = []
    for trial in range(200):
        theirs = random.random(300)
        ours = theirs + random.normal(0.1, 0.5, 300)
        mean, low, high = paired_bootstrap(ours, theirs, samples=400, seed=trial)
        assert low < mean < high
        covered.append(low <= 0.1 <= high)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_pairing_cancels_what_users_have_in_common() -> None:
    users = np.random.default_rng(0).normal(0.0, 10.0, 300)
    mean, low, high = paired_bootstrap(users + 0.1, users)
    assert (mean, low, high) == pytest.approx((0.1, 0.1, 0.1))


def test_the_metrics_of_a_target_a_user() -> None:
    ranks = [1, 2, 3, 7, 8]
    assert metric(ranks, "Recall", 7).tolist() == [1, 1, 1, 1, 0]
    assert metric(ranks, "NDCG", 7).tolist() == pytest.approx([1, 1 / np.log2(3), 0.5, 1 / 3, 0])
