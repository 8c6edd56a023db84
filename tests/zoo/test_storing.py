"""Weights are stored in half the space only where Recall stays."""

import copy
import json

import pytest
import torch
import yaml

from lightning_croloss import LightGCN, MatrixFactorization, load_pretrained, save_pretrained
from lightning_croloss.zoo import measuring
from lightning_croloss.zoo.cards import model_card
from lightning_croloss.zoo.storing import MOST_LOST, lost_too_much, store
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.zoo.cases import NAME


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = small_model()
    fit(model, limit_train_batches=2)
    return model, ClusteredData()


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_half_the_space_where_recall_stays(trained):
    model, data = copy.deepcopy(trained[0]), trained[1]
    before = state_of(model)
    stored = store(model, data, "float16")
    assert stored.dtype == "float16"
    assert stored.record["kept"] is None
    assert stored.record["most_lost"] == MOST_LOST == 0.005
    names = {"recall@5", "recall@10", "recall@20"}
    assert stored.record["float32"].keys() == stored.record["float16"].keys() == names
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name].half().float() if value.is_floating_point() else value)
    assert not torch.equal(model.item_embedding.weight, before["item_embedding.weight"])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_was_measured_is_of_the_weights_that_are_stored(trained, dtype, monkeypatch):
    model, data = copy.deepcopy(trained[0]), trained[1]
    if dtype == "float32":  # kept
        monkeypatch.setattr("lightning_croloss.zoo.storing.lost_too_much", lambda *_: "much is lost")
    stored = store(model, data, "float16")
    assert stored.dtype == dtype
    assert stored.tested == measuring.tested(model, data)


def test_nothing_is_measured_of_what_is_stored_whole(trained, monkeypatch):
    def never(model, data):
        raise AssertionError("a model was measured")

    monkeypatch.setattr("lightning_croloss.zoo.storing.tested", never)
    stored = store(copy.deepcopy(trained[0]), trained[1], "float32")
    assert (stored.dtype, stored.record) == ("float32", None)


def refined(num_users=60, num_items=40):
    """Return a model whose scores are told apart by less than float16 keeps: each user's target is ahead."""
    model = MatrixFactorization(
        num_items=num_items, num_users=num_users, embedding_dim=num_items, similarity="dot", ns=(5, 10)
    )
    data = ClusteredData(num_users, num_items)
    data.setup("test")
    with torch.no_grad():
        model.user_embedding.weight[1:] = 1024.0
        model.item_embedding.weight[1:] = torch.eye(num_items)
        for user in range(1, num_users + 1):
            last = data.interactions.items[data.interactions.users == user][-1]
            model.user_embedding.weight[user, last - 1] += 0.1
    return model, data


def test_float32_is_kept_where_recall_falls():
    model, data = refined()
    before = state_of(model)
    stored = store(model, data, "float16")
    assert stored.dtype == "float32"
    assert stored.record["float32"] == {"recall@5": 1.0, "recall@10": 1.0}
    assert stored.record["float16"]["recall@5"] < 0.5
    assert stored.record["kept"] == (
        "float32 is kept, since with float16 Recall@5 would fall from 1.0000 to "
        f"{stored.record['float16']['recall@5']:.4f}, by more than 0.5%"
    )
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_float32_is_kept_beyond_the_range(trained):
    model, data = copy.deepcopy(trained[0]), trained[1]
    with torch.no_grad():
        model.item_embedding.weight[3] *= 1e6
    before = state_of(model)
    stored = store(model, data, "float16")
    assert stored.dtype == "float32"
    assert stored.record["float16"] is None
    assert stored.record["kept"] == (
        "float32 is kept, since item_embedding.weight has values beyond the range of float16"
    )
    assert torch.equal(model.item_embedding.weight, before["item_embedding.weight"])
    assert store(model, data, "bfloat16").dtype == "bfloat16"  # which has the range of float32


def test_what_cannot_be_stored_at_all(trained):
    model, data = copy.deepcopy(trained[0]), trained[1]
    with pytest.raises(ValueError, match="dtype must be one of"):
        store(model, data, "float8")
    with torch.no_grad():
        model.item_embedding.weight[3] = float("inf")
    for dtype in ("float32", "float16"):
        with pytest.raises(ValueError, match=r"item_embedding\.weight are not finite as float32"):
            store(model, data, dtype)


def test_the_edges_of_a_graph_stay_as_they_are(tmp_path):
    torch.manual_seed(0)
    model = LightGCN(num_items=40, num_users=60, embedding_dim=8, ns=(5,))
    fit(model, limit_train_batches=2)
    edges = model.graph.edges
    stored = store(model, ClusteredData(), "float16")
    assert torch.equal(model.graph.edges, edges)
    again = load_pretrained(save_pretrained(model, tmp_path / "model", dtype=stored.dtype))
    assert torch.equal(again.graph.edges, edges)
    assert again.graph.edges.dtype == torch.int32
    for name, value in model.named_parameters():  # what was measured is what is read again
        assert torch.equal(dict(again.named_parameters())[name], value)


@pytest.mark.parametrize(
    ("before", "after", "num_users", "fault"),
    [
        ({"recall@5": 0.2}, {"recall@5": 0.2}, 10_000, None),
        ({"recall@5": 0.2}, {"recall@5": 0.3}, 10_000, None),  # a gain
        ({"recall@5": 0.2}, {"recall@5": 0.1991}, 10_000, None),
        ({"recall@5": 0.2}, {"recall@5": 0.1989}, 10_000, "Recall@5 would fall from 0.2000 to 0.1989"),
        ({"recall@5": 0.2}, {"recall@5": 0.1989}, 1_000, None),  # of one user
        ({"recall@5": 0.2}, {"recall@5": 0.198}, 1_000, "Recall@5"),  # of two
        ({"recall@5": 0.0}, {"recall@5": 0.0}, 10, None),
        (  # any N counts, and the worst is told
            {"recall@5": 0.2, "recall@10": 0.4, "recall@20": 0.6},
            {"recall@5": 0.2, "recall@10": 0.3, "recall@20": 0.5},
            10_000,
            "Recall@10 would fall from 0.4000 to 0.3000, by more than 0.5%",
        ),
    ],
)
def test_what_may_be_lost(before, after, num_users, fault):
    found = lost_too_much(before, after, num_users)
    assert found is None if fault is None else found.startswith(fault)


def test_the_card_says_what_was_measured(here):
    folder = here / "zoo" / NAME
    metrics = json.loads((folder / "metrics.json").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    card = (folder / "README.md").read_text()
    before = ", ".join(f"{value:.4f}" for value in metrics["precision"]["float32"].values())
    after = ", ".join(f"{metrics['test'][f'recall@{n}']:.4f}" for n in (5, 10, 20))
    assert f"- Precision: stored as float16: test Recall {before} in float32, {after} in float16." in card
    assert model_card(NAME, metrics, config) == card
    metrics["weights"], metrics["precision"]["float16"] = "float32", None
    metrics["precision"]["kept"] = "float32 is kept, since a has values beyond the range of float16"
    card = model_card(NAME, metrics, config)
    assert f"- Precision: {metrics['precision']['kept']}: test Recall {before} in float32.\n" in card
    metrics.pop("precision")  # of an earlier release, or stored whole
    assert "Precision" not in model_card(NAME, metrics, config)
