"""Our models under a published protocol: the runs, what is tested of them, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.common.packed import packed, unpacked
from benchmarks.common.rows import Row, Settings, append_row, identity
from benchmarks.published import others
from benchmarks.published import report as reporting
from benchmarks.published.__main__ import RESULTS
from benchmarks.published.others import OTHERS
from benchmarks.published.plan import RECIPES, finals, searches, trials
from benchmarks.published.report import columns, report
from benchmarks.published.runs import NS, RECIPE, build_data, build_loss, build_model, work
from benchmarks.published.sides import SIDES
from lightning_croloss.zoo.published import PUBLISHED

SMALL: Settings = {"embedding_dim": 8, "max_history": 6, "batch_size": 16}
LOSS: Settings = {"class_path": "SoftmaxLoss", "init_args": {"temperature": 0.2}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small table of the name of one that is published."""
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 8)
    items = np.concatenate([generator.permutation(250)[:8] for _ in range(60)])
    table = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": np.tile(np.arange(8), 60)})
    table.write_parquet(tmp_path / "beauty.parquet")
    return tmp_path


def _run(**more: object) -> Settings:
    run: Settings = {
        "purpose": "final",
        "data": "beauty",
        "architecture": "SASRec",
        "recipe": SMALL,
        "seed": 1,
        "epochs": 2,
        "side": "softmax",
        "loss": LOSS,
    }
    return run | more


@pytest.mark.parametrize("architecture", ["SASRec", "ESASRec"])
def test_the_best_epoch_is_tested_with_seen_items_left_out(folder: Path, architecture: str) -> None:
    row = work(_run(architecture=architecture), str(folder), str(folder))
    assert len(row["valid"]) == 2
    ranks = unpacked(row["ranks"], "uint16")
    assert ranks.shape == (60,)
    assert ranks.min() >= 1
    again = work(_run(architecture=architecture), str(folder), str(folder))
    assert again["ranks"] == row["ranks"]
    assert again["valid"] == row["valid"]
    assert work(_run(architecture=architecture, seed=2), str(folder), str(folder))["ranks"] != row["ranks"]


@pytest.mark.parametrize(
    "change",
    [
        {"embedding_dim": 4},
        {"num_blocks": 2},
        {"num_heads": 2},
        {"feedforward": 1},
        {"dropout": 0.6},
        {"history_dropout": 0.5},
        {"item_graph_weight": 0.5},
        {"negatives": 5},
        {"learning_rate": 0.01},
        {"weight_decay": 0.9, "learning_rate": 0.01},
        {"batch_size": 8},
        {"max_history": 3},
        {"average": 0.9},
        {"similarity": "dot"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_part_of_a_recipe_changes_the_outcome(folder: Path, change: Settings) -> None:
    assert change.keys() <= RECIPE.keys()
    plain, changed = (
        work(_run(recipe=SMALL | recipe), str(folder), str(folder))["ranks"] for recipe in ({}, change)
    )
    assert plain != changed


def test_a_side_is_tuned_and_its_choice_is_tested(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIDES, "softmax", SIDES["softmax"][:3])  # type: ignore[index]
    run = _run(purpose="tune", epochs=8)
    del run["loss"]
    row = work(run, str(folder), str(folder / "scratch"))
    assert row["loss"] in [candidate.loss for candidate in SIDES["softmax"]]
    assert 0 < row["fits"] <= 2.5


def test_the_runs_of_a_data_set() -> None:
    assert {run["side"] for run in searches("toys", "ESASRec")} == set(SIDES)
    assert len({identity(run) for run in trials("toys", "SASRec", "softmax")}) == len(RECIPES)
    found = {identity(run): Row(settings=run, loss=LOSS) for run in searches("toys", "ESASRec")[:1]}
    tested = finals(found, "toys", "ESASRec")
    assert [run["seed"] for run in tested] == [1, 2, 3]
    assert all(run["loss"] == LOSS for run in tested)


def test_every_side_has_as_many_settings_to_choose_from() -> None:
    assert len({len(candidates) for candidates in SIDES.values()}) == 1
    for candidates in SIDES.values():
        for candidate in candidates:
            assert candidate.loss is not None
            build_loss(dict(candidate.loss))


def test_the_model_has_the_recipe(folder: Path) -> None:
    data = build_data(folder, "beauty", RECIPE, 0)
    model = build_model("ESASRec", data.num_items, build_loss(LOSS), RECIPE | {"embedding_dim": 16}, epochs=2)
    assert model.exclude_history
    assert model.all_positions
    assert model.embedding_dim == 16


def test_the_report_of_ranks(tmp_path: Path) -> None:
    path = tmp_path / "beauty" / "rows.jsonl"
    ranks = {"CROLoss": [1, 3, 11, 150], "softmax": [2, 12, 11, 300]}
    for side, values in ranks.items():
        for seed in (1, 2):
            run = _run(side=side, seed=seed)
            append_row(path, {"settings": run, "ranks": packed(np.array(values, "uint16"))})
        search = _run(side=side, purpose="tune")
        append_row(path, {"settings": search, "loss": LOSS, "valid": 0.5, "fits": 2.4})
    append_row(path, {"settings": _run(purpose="recipe"), "valid": [0.1, 0.3], "seconds_per_epoch": 1.0})
    report(tmp_path)
    text = (tmp_path / "beauty" / "results.md").read_text()
    ndcg = (1 + 1 / 2) / 4
    recalls = "50.00 ± 0.00 | 75.00 ± 0.00 | 75.00 ± 0.00 | 75.00 ± 0.00 | 100.00 ± 0.00"
    line = f"| SASRec, CROLoss | ours, 2 seeds | {recalls} | {100 * ndcg:.2f} ± 0.00 |"
    assert line in text
    assert "| WEARec | its own paper, width 64 | 10.41 |" in text
    assert "| SASRec | +25.00 [" in text
    assert "| SASRec, softmax | embedding_dim 8, max_history 6, batch_size 16 | 30.00 | 2 | 1.0 |" in text


def test_the_columns_are_those_of_the_metrics() -> None:
    row = {"settings": {"seed": 1}, "ranks": packed(np.array([1, 20, 21], "uint16"))}
    found = columns([row])
    assert [values[0].tolist() for values in found[:2]] == [[1, 0, 0], [1, 1, 0]]
    assert len(found) == len(NS) + 1


@pytest.mark.slow
@pytest.mark.parametrize("data", PUBLISHED)
def test_the_committed_tables_are_those_of_the_committed_rows(tmp_path: Path, data: str) -> None:
    rows = RESULTS / data / "rows.jsonl"
    if not rows.exists():
        pytest.skip(f"no runs of {data} yet")
    (tmp_path / data).mkdir()
    (tmp_path / data / "rows.jsonl").write_bytes(rows.read_bytes())
    reporting.report(tmp_path)
    assert (tmp_path / data / "results.md").read_text() == rows.with_name("results.md").read_text()


TINY: Settings = {
    "embedding_dim": 8,
    "hidden_dims": [8],
    "num_blocks": 1,
    "num_heads": 2,
    "feedforward_dim": 8,
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_family_with_published_settings_is_trained_and_tested(folder: Path, name: str) -> None:
    (run,) = others.runs("beauty", [name])
    given = run["recipe"]["model"]
    run["recipe"] = run["recipe"] | {"model": given | {key: TINY[key] for key in TINY.keys() & given.keys()}}
    row = others.work(run | {"epochs": 2}, str(folder))
    assert len(row["valid"]) == 2
    assert unpacked(row["ranks"], "uint16").shape == (60,)


def test_a_family_has_its_settings(folder: Path) -> None:
    for run in others.runs("beauty"):
        data = others.build_data(folder, "beauty", run["recipe"], 1)
        model = others.build_model(run["architecture"], run["recipe"], data)
        assert model.exclude_history
        assert model.embedding_dim == run["recipe"]["model"]["embedding_dim"]
        assert not model.reads_times
        assert json.loads(json.dumps(run)) == run


def test_the_report_names_whose_settings_they_are(tmp_path: Path) -> None:
    (run,) = others.runs("toys", ["Caser"])
    ranks = packed(np.array([1, 12], "uint16"))
    append_row(tmp_path / "toys" / "rows.jsonl", {"settings": run, "valid": [0.1], "ranks": ranks})
    report(tmp_path)
    text = (tmp_path / "toys" / "results.md").read_text()
    assert f"| Caser | ours, one seed, settings of {OTHERS['Caser'].source} | 50.00 | 100.00 |" in text
