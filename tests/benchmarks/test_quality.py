"""The comparison on video: one run of it on a small table, and the report of its rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.rows import append_row, failed_row
from benchmarks.quality import protocol
from benchmarks.quality.__main__ import RESULTS
from benchmarks.quality.report import Results, report

polars = pytest.importorskip("polars")
NUM_USERS, NUM_ITEMS = 150, 520


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(NUM_USERS), 12)
    # every item occurs
    items = np.concatenate([np.arange(NUM_ITEMS), random.integers(0, NUM_ITEMS, len(users) - NUM_ITEMS)])
    path = tmp_path_factory.mktemp("data") / "video.parquet"
    polars.DataFrame(
        {"user_id": users, "item_id": random.permutation(items), "timestamp": np.arange(len(users))}
    ).write_parquet(path)
    return str(path)


def run(side: str, setting: object, purpose: str, table: str) -> dict[str, object]:
    settings = {
        "purpose": purpose,
        "architecture": "YouTubeDNN",
        "side": side,
        "setting": setting,
        "seed": 1 if purpose == "final" else 0,
    }
    return {"settings": settings, **protocol.work(settings, table)}


@pytest.fixture(scope="module")
def folder(table: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "EPOCHS", 2)
        rows = [
            run(side, trials[0], purpose, table)
            for side, trials in protocol.TRIALS.items()
            for purpose in ("tuning", "final")
        ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "num_targets.json").write_text(json.dumps(protocol.num_targets(table).tolist()))
    return folder


def test_tuning_never_looks_at_test(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        tuning = row["settings"]["purpose"] == "tuning"
        assert ("hits" in row) != tuning
        assert all(len(values) == 2 for values in row["valid"].values())


def test_hits_are_shares_of_the_targets(folder: Path, table: str) -> None:
    rows = {line: json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()}
    targets = np.asarray(json.loads((folder / "num_targets.json").read_text()), dtype=float)
    assert targets.tolist() == [3.0] * 15  # 12 events, of which 80 % are history
    results = Results(rows, targets)
    for side in protocol.TRIALS:
        recall = [results.seeds("YouTubeDNN", side, n, "recall")[0].mean() for n in protocol.NS]
        assert recall == sorted(recall)
        assert 0.5 < recall[-1] <= 1.0  # 500 of 520 items
        (ndcg,) = results.seeds("YouTubeDNN", side, 500, "ndcg")
        assert ndcg.shape == targets.shape
        assert (ndcg <= results.seeds("YouTubeDNN", side, 500, "recall")[0] + 1e-3).all()


def test_the_report_is_written(folder: Path) -> None:
    report(folder / "rows.jsonl", folder)
    text = (folder / "results.md").read_text()
    assert "| YouTubeDNN | CROLoss |" in text
    assert "| YouTubeDNN | 1 |" in text
    assert (folder / "recall_at_n.png").stat().st_size > 5000


def test_each_side_has_as_many_trials() -> None:
    assert {len(trials) for trials in protocol.TRIALS.values()} == {14}
    temperatures = [trial["temperature"] for trial in protocol.TRIALS["softmax"]]
    assert (min(temperatures), max(temperatures)) == (0.05, 0.4)


def test_a_failed_run_is_listed_and_left_out(folder: Path, tmp_path: Path) -> None:
    for name in ("rows.jsonl", "num_targets.json"):
        shutil.copy(folder / name, tmp_path)
    report(tmp_path / "rows.jsonl", tmp_path)
    before = (tmp_path / "results.md").read_text()
    settings = {"architecture": "YouTubeDNN", "side": "softmax", "setting": protocol.TRIALS["softmax"][0]}
    for purpose, seed in (("final", 2), ("tuning", 7)):
        failure = failed_row(settings | {"purpose": purpose, "seed": seed}, MemoryError("too large"))
        append_row(tmp_path / "rows.jsonl", failure)
    report(tmp_path / "rows.jsonl", tmp_path)
    after = (tmp_path / "results.md").read_text()
    assert after.startswith(before)
    assert "2 failed" in after
    assert after.count("| MemoryError | too large |") == 2


@pytest.mark.slow
def test_the_committed_tables_are_those_of_the_committed_rows(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "num_targets.json", tmp_path)
    report(RESULTS / "rows.jsonl", tmp_path)
    assert (tmp_path / "results.md").read_text() == (RESULTS / "results.md").read_text()
