"""The building of a pretrained model, on a small table."""

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("polars", reason="the zoo's tables need polars and pyarrow")
pytest.importorskip("scipy", reason="item kNN needs scipy")

from lightning_croloss import load_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.lightning_cli import run_fit
from lightning_croloss.pretrained.layout import read_manifest
from lightning_croloss.zoo.building import build
from lightning_croloss.zoo.sources import AbsentDataError
from tests.data_for_tests import ClusteredData
from tests.zoo.cases import NAME

pytestmark = pytest.mark.filterwarnings(
    "ignore:LightningCLI's args parameter", "ignore:.*smaller than the logging interval"
)


def test_a_build_brings_all_files_and_a_card_with_every_fact(here):
    folder = here / "zoo" / NAME
    read_manifest(folder, check=("model.safetensors", "README.md"))
    card = (folder / "README.md").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    for n in (5, 10, 20):
        assert f"{metrics['test'][f'recall@{n}']:.4f}" in card
        assert f"{metrics['baselines']['item_knn']['test'][f'recall@{n}']:.4f}" in card
    for fact in (
        "(best baseline)",
        "CROLoss(kernel=sigmoid, importance=PowerImportance(alpha=1.0), temperature=0.2",
        "LeaveOneOut()",
        "AdamW(lr=0.02)",
        "`croloss zoo build --config dnn.yaml --name clusters/dnn --data FOLDER --weights float16`",
        "stored as float16",
        "960 events of 120 users with 40 items, 720 of them for training",
        "on validation",
        "Licence: not stated",
        "torch 2",
        "## Use and limits",
        "3 epochs",
    ):
        assert fact in card
    assert str(here) not in card
    assert metrics["choose_by"] == 10
    assert metrics["training"]["best_epoch"] <= metrics["training"]["epochs"] == 3
    board = (here / "zoo" / "README.md").read_text()
    assert f"[dnn](clusters/dnn/README.md) | {metrics['test']['recall@5']:.4f}" in board
    assert "popularity" in board


def test_the_weights_are_those_of_the_best_epoch(here):
    model = load_pretrained(here / "zoo" / NAME)
    metrics = json.loads((here / "zoo" / NAME / "metrics.json").read_text())
    rows = [row.split(",") for row in (here / "runs/croloss/version_0/metrics.csv").read_text().splitlines()]
    values = [row[rows[0].index("val/recall@10")] for row in rows[1:]]
    recalls = [float(value) for value in values if value]
    assert metrics["training"]["best_epoch"] == recalls.index(max(recalls)) + 1
    assert sorted(model.metadata.item_vocabulary.tokens) == sorted(ClusteredData().item_vocabulary.tokens)


def test_the_config_of_a_model_trains_it_again(here, monkeypatch):
    config = here / "zoo" / NAME / "config.yaml"
    content = yaml.safe_load(config.read_text())
    assert content["data"]["init_args"]["interactions"] == "data/clusters.parquet"
    assert content["test_after_fit"] is True
    main(["fit", "--config", str(config), "--data.init_args.interactions=tables/clusters.parquet"])
    again = max(Path("runs/croloss").iterdir(), key=lambda path: int(path.name.rpartition("_")[2]))
    results = json.loads((again / "test_results.json").read_text())
    metrics = json.loads((here / "zoo" / NAME / "metrics.json").read_text())
    # the card's figures are of the weights as they are stored, in half the precision
    for n in ("5", "10", "20"):
        assert results["recall"][n] == pytest.approx(metrics["test"][f"recall@{n}"], abs=0.03)


def test_the_fit_is_run_by_what_is_handed_in(here):
    given = []

    def recording(arguments):
        given.append(list(arguments))
        return run_fit(arguments)

    options = ["--trainer.max_epochs=1", "--model.init_args.embedding_dim=4"]
    folder = build(
        "clusters/recorded",
        Path("dnn.yaml"),
        here / "others",
        recording,
        data_folder="tables",
        options=options,
    )
    moved = "--data.init_args.interactions=tables/clusters.parquet"
    assert given == [["--config", "dnn.yaml", moved, "--test_after_fit=false", *options]]
    assert load_pretrained(folder).embedding_dim == 4
    assert json.loads((folder / "metrics.json").read_text())["training"]["epochs"] == 1


@pytest.mark.parametrize(
    ("name", "config", "data_folder", "error"),
    [
        (NAME, "dnn.yaml", "tables", FileExistsError),
        ("dnn", "dnn.yaml", "tables", ValueError),
        ("../dnn", "dnn.yaml", "tables", ValueError),
        ("clusters/other", "nowhere.yaml", "tables", ValueError),
        ("clusters/other", "dnn.yaml", None, AbsentDataError),
    ],
)
def test_what_is_refused_is_refused_before_the_training(here, name, config, data_folder, error):
    def never(arguments):
        raise AssertionError("a fit was run")

    with pytest.raises(error):
        build(name, Path(config), Path("zoo"), never, data_folder=data_folder)
    assert not (here / "zoo" / "clusters" / "other").exists()
