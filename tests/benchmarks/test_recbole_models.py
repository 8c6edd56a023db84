"""Our models beside RecBole's own: the same data on both sides, the committed rows and their table."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.common.rows import Row, rows_of
from benchmarks.recbole_models import our_side, recbole_side, sequential
from benchmarks.recbole_models.__main__ import RESULTS
from benchmarks.recbole_models.protocol import MODELS, runs, work
from benchmarks.recbole_models.report import METRICS, report
from lightning_croloss import NDCGAtN, RecallAtN, TableDataModule
from lightning_croloss.retrieval import target_ranks


def test_the_committed_table_is_that_of_the_committed_rows() -> None:
    rows = rows_of(RESULTS / "rows.jsonl")
    assert report(rows) == (RESULTS / "results.md").read_text()


def test_no_model_falls_behind() -> None:
    """Each reaches 95 % of RecBole's, as the README says."""
    rows = {
        (row["settings"]["model"], row["settings"]["side"]): row
        for row in rows_of(RESULTS / "rows.jsonl").values()
    }
    assert rows
    assert {
        model
        for (model, side), row in rows.items()
        if side == "here"
        and any(row[metric] < 0.95 * rows[model, "RecBole"][metric] for metric in METRICS.keys() & row.keys())
    } == set()


def test_every_model_runs_on_both_sides_and_a_side_alone_is_no_line() -> None:
    assert {run["side"] for run in runs()} == {"RecBole", "here"}
    assert {run["model"] for run in runs(["SASRec"])} == {"SASRec"}
    rows = {
        str(number): Row(
            settings=run, valid=0.2, test=0.25 - 0.01 * number, ndcg=0.2, epoch=2, fit_seconds=8.0
        )
        for number, run in enumerate(runs(["LightGCN", "BERT4Rec"]))
    }
    lines = report(rows).splitlines()
    assert lines[-2:] == [
        "| LightGCN | 0.2500 | 0.2400 | 0.96 | 0.2000 | 0.2000 | 1.00 | 0.4 | 0.4 | 0.8 | 0.8 |",
        "| BERT4Rec | 0.2300 | 0.2200 | 0.96 | 0.2000 | 0.2000 | 1.00 | 1.0 | 1.0 | 2.0 | 2.0 |",
    ]
    del rows["3"]
    assert report(rows).splitlines() == lines[:-1]


def test_what_an_early_row_lacks_is_left_empty() -> None:
    rows = {str(number): Row(settings=run, valid=0.2, test=0.25) for number, run in enumerate(runs(["NGCF"]))}
    assert report(rows).splitlines()[-1] == "| NGCF | 0.2500 | 0.2500 | 1.00 |  |  |  |  |  |  |  |"


def small(folder: Path) -> TableDataModule:
    """Events of 30 users, several of which share a second."""
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 32, 30)
    users = np.repeat(np.arange(30), lengths)
    items = np.concatenate([rng.permutation(90)[:length] for length in lengths])
    table = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": rng.integers(0, 9, len(users))})
    table.write_parquet(folder / "events.parquet")
    return TableDataModule(
        str(folder / "events.parquet"),
        max_history=5,
        batch_size=16,
        min_user_interactions=1,
        seed=0,
        split=sequential.ByOrder(),
    )


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableDataModule:
    pytest.importorskip("recbole")
    for name, value in {"EPOCHS": 2, "LENGTH": 5, "BATCH": 16, "DIM": 8}.items():
        monkeypatch.setattr(sequential, name, value)
    data = small(tmp_path)
    monkeypatch.setattr(sequential, "events_of", lambda: small(tmp_path))
    return data


def test_both_sides_have_the_same_histories_and_targets(tiny: TableDataModule) -> None:
    with tempfile.TemporaryDirectory() as folder, recbole_side.inside(folder):
        sequential.write_events(Path(folder))
        given = sequential.given("SASRec", folder) | {"hidden_size": 8}
        _, dataset, loaders = recbole_side.prepared("SASRec", given, folder)
    for loader, ours in zip(
        loaders, (tiny.train_dataloader(), tiny.val_dataloader(), tiny.test_dataloader()), strict=True
    ):
        parts = loader.dataset.inter_feat
        named = [[int(dataset.id2token("user_id", int(user))) for user in parts["user_id"]]]
        items = dataset.field2id_token["item_id"]
        items = np.array([0, *(int(token) for token in items[1:])])
        theirs = sorted(
            (user, *history[history > 0], target)
            for user, history, target in zip(
                *named, items[parts["item_id_list"].numpy()], items[parts["item_id"].numpy()], strict=True
            )
        )
        rows = ours.dataset.__getitems__(range(len(ours.dataset)))
        mine = sorted(
            (int(user), *history[history > 0].tolist(), int(target))
            for user, history, target in zip(rows.users, rows.history, rows.padded_targets[:, 0], strict=True)
        )
        assert theirs == mine


def test_both_sides_measure_the_same_vectors_alike(tiny: TableDataModule) -> None:
    from recbole.utils import get_model, get_trainer

    with tempfile.TemporaryDirectory() as folder, recbole_side.inside(folder):
        sequential.write_events(Path(folder))
        given = sequential.given("SASRec", folder) | {"hidden_size": 8}
        config, dataset, (_, _, test) = recbole_side.prepared("SASRec", given, folder)
        model = get_model("SASRec")(config, dataset).eval()
        theirs = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model).evaluate(
            test, load_best_model=False, show_progress=False
        )
    rows = test.dataset.inter_feat
    with torch.no_grad():
        users = model(rows["item_id_list"], rows["item_length"]).unsqueeze(1)
    ranks = target_ranks(users, model.item_embedding.weight[1:], rows["item_id"].unsqueeze(1))
    for metric in (RecallAtN((recbole_side.N,)), NDCGAtN((recbole_side.N,))):
        metric.update(ranks)
        for name, value in metric.compute().items():
            assert 0 < theirs[name] == pytest.approx(float(value), abs=1e-6)


@pytest.mark.parametrize("model", sequential.MODELS)
def test_a_model_of_histories_is_trained_and_tested_on_both_sides(tiny: TableDataModule, model: str) -> None:
    for run in runs([model]):
        row = work(run)
        assert row["epoch"] in (1, 2)
        assert 0 <= row["ndcg"] <= row["test"] <= 1
        assert row["fit_seconds"] > 0


def test_windows_are_read_as_often_as_rows_of_single_targets(tiny: TableDataModule) -> None:
    epochs = sequential.epochs_for_as_many_rows(tiny)
    windows = len(tiny.train_dataloader().dataset)
    lengths = tiny.interactions.lengths[1:] - 1
    targets = int((lengths - 2 * (lengths // 10).clamp(min=1)).sum())
    assert epochs == round(targets / windows) > 1


def test_the_best_epoch_is_counted_in_those_of_recbole(tiny: TableDataModule) -> None:
    model = MODELS["GRU4Rec"].MODELS["GRU4Rec"][0](num_items=tiny.num_items, embedding_dim=4, ns=(10,))
    found = our_side.train_and_test(model, tiny, 4, every=2, counted=5)
    assert found["epoch"] in (5, 10)
