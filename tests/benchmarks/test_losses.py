"""The comparison of the losses: one run of it on a small table, who is chosen, and the report of the rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.packed import packed, unpacked
from benchmarks.common.rows import Row, Settings, append_row, identity
from benchmarks.losses import datasets, runs
from benchmarks.losses.__main__ import RESULTS
from benchmarks.losses.choosing import chosen, finals, grid, promising, survivors, trial
from benchmarks.losses.datasets import ARCHITECTURES, DATA_SETS, NS, PARTS
from benchmarks.losses.report import report
from benchmarks.losses.runs import num_targets, work
from benchmarks.losses.sides import TRIALS, build_loss

polars = pytest.importorskip("polars")
NUM_USERS, NUM_ITEMS = 120, 520


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(NUM_USERS), 12)
    items = np.concatenate([np.arange(NUM_ITEMS), random.integers(0, NUM_ITEMS, len(users) - NUM_ITEMS)])
    folder = tmp_path_factory.mktemp("data")
    polars.DataFrame(
        {"user_id": users, "item_id": random.permutation(items), "timestamp": np.arange(len(users))}
    ).write_parquet(folder / "toys.parquet")
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.DATA_SETS, "toys", replace(DATA_SETS["toys"], epochs=2))
    assert runs.DATA_SETS is datasets.DATA_SETS


def row_of(run: Settings, values: list[float], number: int = 4) -> Row:
    row: Row = {"settings": run, "valid": {str(n): [value * n / 500 for value in values] for n in NS}}
    if run["purpose"] == "final":
        hits = np.full(number, run["seed"], "uint16")
        row |= {name: {str(n): packed(hits.astype(kind)) for n in NS} for name, kind in KINDS.items()}
    return row


KINDS = {"hits": "uint16", "ndcg": "float16"}


def test_a_part_is_the_beginning_of_the_whole(folder: Path, short: None) -> None:
    setting = TRIALS["CROLoss"][0]
    whole = work(trial("toys", "CROLoss", setting), str(folder))
    part = work(trial("toys", "CROLoss", setting, parts=2), str(folder))
    for n in NS:
        assert len(whole["valid"][str(n)]) == PARTS
        assert part["valid"][str(n)] == whole["valid"][str(n)][:2]
    assert "hits" not in whole


def test_the_other_architectures_run_too(folder: Path, short: None) -> None:
    found = {
        architecture: work(trial("toys", "CROLoss", TRIALS["CROLoss"][0], architecture, parts=1), str(folder))
        for architecture in ARCHITECTURES
    }
    values = {tuple(*zip(*row["valid"].values(), strict=True)) for row in found.values()}
    assert [len(value) for value in values] == [len(NS)] * len(ARCHITECTURES)


def test_the_winner_is_tested_with_the_weights_of_its_best_part(folder: Path, short: None) -> None:
    final = {**trial("toys", "softmax", TRIALS["softmax"][6]), "purpose": "final", "seed": 1}
    row = work(final, str(folder))
    targets = num_targets(folder, "toys")
    assert targets.tolist() == [3] * 12
    recall = [(unpacked(row["hits"][str(n)], "uint16") / targets).mean() for n in NS]
    assert recall == sorted(recall)
    assert 0.5 < recall[-1] <= 1.0  # 500 of 520 items


def test_each_side_has_as_many_trials_and_each_is_a_loss() -> None:
    counts = {side: len(trials) for side, trials in TRIALS.items()}
    assert counts.pop("softmax, learned") == 3  # what is learned has a beginning alone
    assert set(counts.values()) == {12}
    for side, trials in TRIALS.items():
        assert len({identity(setting) for setting in trials}) == len(trials)
        for setting in trials:
            build_loss(side, setting)


def test_halving_judges_by_what_it_has_seen() -> None:
    late, early = [0.1] * 7 + [0.9], [0.3] * 8
    rows = [row_of(trial("toys", "softmax", each), early) for each in TRIALS["softmax"][:11]]
    rows.append(row_of(trial("toys", "softmax", TRIALS["softmax"][11]), late))
    assert survivors(dict(enumerate(rows)), 12) == [0, 1, 2, 3]
    turned = dict(enumerate(reversed(rows)))
    assert survivors(turned, 12) == [1, 2, 3, 4]


def test_the_best_beginnings_go_on() -> None:
    values = [0.1, 0.5, 0.2, 0.6, 0.3, 0.05, 0.04, 0.4, 0.03, 0.02, 0.01, 0.0]
    runs = [trial("toys", "PSL", setting, parts=2) for setting in TRIALS["PSL"]]
    rows = {identity(run): row_of(run, [value] * 2) for run, value in zip(runs, values, strict=True)}
    went_on = [TRIALS["PSL"].index(run["setting"]) for run in promising(rows, "toys", "PSL")]
    assert went_on == [3, 1, 7, 4]


def test_the_report_compares_the_winners(tmp_path: Path) -> None:
    rows: dict[str, Row] = {}
    for side, value in (("CROLoss", 0.5), ("softmax", 0.4)):
        for number, run in enumerate(grid("toys", side)):
            rows[identity(run)] = row_of(run, [value - 0.01 * number] * PARTS)
    assert chosen(rows.values(), "toys", "softmax", 20) == TRIALS["softmax"][0]
    for run in finals(rows, "toys", ["CROLoss", "softmax"]):
        rows[identity(run)] = row_of(run, [0.5] * PARTS)
    (tmp_path / "toys").mkdir()
    for row in rows.values():
        append_row(tmp_path / "toys" / "rows.jsonl", row)
    counts = json.dumps(packed(np.full(4, 4, dtype="int64")))
    (tmp_path / "toys" / "num_targets.json").write_text(counts)
    report(tmp_path)
    text = (tmp_path / "toys" / "results.md").read_text()
    assert "| CROLoss | 50.00 ± 25.00 |" in text  # a quarter, a half and three quarters
    assert "| CROLoss | +0.00 [+0.00, +0.00] |" in text
    assert "| softmax | 100.0 |" in text


@pytest.mark.slow
def test_the_committed_tables_are_those_of_the_committed_rows(tmp_path: Path) -> None:
    for path in RESULTS.glob("*/rows.jsonl"):
        (tmp_path / path.parent.name).mkdir()
        for each in (path, path.with_name("num_targets.json")):
            if each.exists():
                (tmp_path / path.parent.name / each.name).write_bytes(each.read_bytes())
    report(tmp_path)
    for path in RESULTS.glob("*/results.md"):
        assert (tmp_path / path.parent.name / "results.md").read_text() == path.read_text()
