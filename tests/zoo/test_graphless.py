"""Models of a graph whose edges may not travel: their vectors do."""

import json
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("polars", reason="the zoo's tables need polars and pyarrow")
pytest.importorskip("scipy", reason="item kNN needs scipy")

from lightning_croloss import (
    NGCF,
    LightGCN,
    MatrixFactorization,
    SASRec,
    SoftmaxLoss,
    YouTubeDNN,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.cli.lightning_cli import run_fit
from lightning_croloss.zoo import building
from lightning_croloss.zoo.datasets import DATASETS, UNKNOWN
from lightning_croloss.zoo.evaluating import evaluate
from lightning_croloss.zoo.graphless import holds_graph, own_section, without_graph
from tests.data_for_tests import ClusteredData, fit
from tests.zoo.cases import CONFIG

pytestmark = pytest.mark.filterwarnings(
    "ignore:LightningCLI's args parameter", "ignore:.*smaller than the logging interval"
)

EDGES_OF_GRAPH = "graph.edges"
USERS = ["user 41", "user 3", "nobody", "user 59"]


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize(("cls", "width"), [(LightGCN, 8), (NGCF, 8 + 6 + 4)])
def test_the_vectors_give_the_same_lists(cls, width, similarity, tmp_path):
    torch.manual_seed(0)
    own = {"hidden_dims": (6, 4)} if cls is NGCF else {"num_layers": 2}
    model = cls(
        num_items=40,
        num_users=60,
        embedding_dim=8,
        ns=(5,),
        similarity=similarity,
        exclude_history=True,
        loss=SoftmaxLoss(temperature=0.3),
        **own,
    )
    fit(model, limit_train_batches=4)
    found = without_graph(model)
    assert type(found) is MatrixFactorization
    assert found.embedding_dim == width
    assert found.exclude_history
    assert found.loss.extra_repr() == model.loss.extra_repr()
    assert EDGES_OF_GRAPH not in found.state_dict()
    users = torch.arange(1, 61)
    expected, scores = model.recommend(n=40, users=users)
    ids, again = found.recommend(n=40, users=users)
    torch.testing.assert_close(again, scores, rtol=1e-5, atol=1e-6)
    assert (ids == expected).float().mean() > 0.99  # but for scores that are the same
    loaded = load_pretrained(save_pretrained(found, tmp_path / "model"))
    for ours, theirs in zip(
        loaded.recommend_tokens(n=5, users=USERS), model.recommend_tokens(n=5, users=USERS), strict=True
    ):
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-5)
    written = own_section(model)
    assert written["init_args"].keys() >= own.keys()
    assert not written["init_args"].keys() & {"loss", "embedding_dim", "num_items", "num_users"}


def test_it_can_be_trained_further(tmp_path):
    torch.manual_seed(0)
    model = LightGCN(num_items=40, num_users=60, embedding_dim=8, ns=(5,))
    fit(model, limit_train_batches=2)
    found = without_graph(model)
    before = found.item_embedding.weight.clone()
    fit(found, ClusteredData(), limit_train_batches=2)
    assert not torch.equal(found.item_embedding.weight, before)


@pytest.mark.parametrize(("dataset", "holds"), [("ml-100k", False), ("clusters", True)])
def test_a_build_holds_the_events_only_where_they_may_travel(here, tmp_path, dataset, holds):
    config = yaml.safe_load(CONFIG)
    config["model"]["class_path"] = "LightGCN"
    config["trainer"]["max_epochs"] = 1
    (tmp_path / "graph.yaml").write_text(yaml.safe_dump(config))
    folder = building.build(
        f"{dataset}/lightgcn",
        tmp_path / "graph.yaml",
        Path(tmp_path / "zoo"),
        run_fit,
        data_folder="tables",
        dtype="float16",
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    card = (folder / "README.md").read_text()
    model = load_pretrained(folder)
    assert (EDGES_OF_GRAPH in model.state_dict()) is holds
    assert ("trained_as" in metrics) is not holds
    assert "LightGCN of lightning-croloss" in card
    assert "can recommend to no others" in card
    assert ("Its graph is the training events, which this folder may not hold" in card) is not holds
    if not holds:
        assert metrics["trained_as"] == "LightGCN(num_layers=3, edge_dropout=0.0, regularization=0.0)"
        assert f"- Model: {metrics['trained_as']}; D = 8, cosine similarity." in card
        assert b"edges" not in (folder / "model.safetensors").read_bytes()
    assert all(figure.agrees for figure in evaluate(folder, "tables"))


def test_no_known_data_set_lets_its_events_travel():
    assert UNKNOWN.may_hold_events
    assert not any(about.may_hold_events for about in DATASETS.values())


@pytest.mark.parametrize("cls", [SASRec, YouTubeDNN])
def test_smoothed_items_are_stored_as_they_are(cls, tmp_path):
    torch.manual_seed(0)
    model = cls(num_items=40, embedding_dim=8, ns=(5,), item_graph_weight=0.7)
    fit(model, limit_train_batches=2)
    found = without_graph(model)
    assert type(found) is cls
    assert not holds_graph(found)
    assert found.hparams["item_graph_weight"] == 0.0
    loaded = load_pretrained(save_pretrained(found, tmp_path / "model"))
    histories = [[1, 2, 3], [7], []]
    for one, other in zip(loaded.recommend(histories, 9), model.recommend(histories, 9), strict=True):
        assert torch.equal(one, other)
    assert own_section(model)["init_args"]["item_graph_weight"] == 0.7
