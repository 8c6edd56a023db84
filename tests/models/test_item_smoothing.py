"""Items smoothed along the graph of near items: in every architecture of histories, and in its files."""

import copy
import functools
import pickle
from unittest.mock import patch

import pytest
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch.utils.data import DataLoader

from lightning_croloss import (
    BERT4Rec,
    Caser,
    ComiRecSA,
    CROLoss,
    FullCatalogNegatives,
    GRU4Rec,
    HistoryModel,
    InBatchNegatives,
    PerUserRatio,
    RetrievalModel,
    SASRec,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
    load_matching,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import KEY
from lightning_croloss.models.layers.item_graph import ItemGraph
from tests.data_for_tests import ClusteredData, FeaturedData, fit, quiet_trainer
from tests.models.cases import ITEM_FEATURES, check_exact_resume, reloaded, same

CLASSES = [YouTubeDNN, TwoTower, SASRec, GRU4Rec, Caser, ComiRecSA, BERT4Rec]
EVERY = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
HISTORIES = [[1, 2, 3, 4], [11], []]


def small(cls: type[HistoryModel] = YouTubeDNN, **kwargs):
    torch.manual_seed(0)
    defaults = {"num_items": 40, "embedding_dim": 8, "ns": (5, 10, 20), "item_graph_weight": 0.5}
    return cls(**{**defaults, "negatives": UniformNegatives(30), **kwargs})


def edges_of(data, window=3):
    graph = ItemGraph(data.num_items, window)
    kept = data.rows.training_events
    graph.set_events(data.interactions.users[kept], data.interactions.items[kept])
    return graph.edges


@EVERY
def test_training_smooths_once_a_step_along_the_training_events(cls):
    data, model, calls = ClusteredData(), small(cls), []
    smooth = ItemGraph.forward

    def counted(self, table):
        calls.append(torch.is_grad_enabled())
        return smooth(self, table)

    with patch.object(ItemGraph, "forward", counted):
        fit(model, data, limit_train_batches=3, limit_val_batches=0, num_sanity_val_steps=0)
        assert calls == [True] * 3
        calls.clear()
        quiet_trainer().validate(model, data, verbose=False)  # several batches
        assert calls == [False]
    edges = model.item_embedding.graph.edges
    assert torch.equal(edges, edges_of(data))
    trainer = quiet_trainer()
    trainer.test(model, ClusteredData(split=PerUserRatio(0.5, 0.25, 0.25)), verbose=False)
    trainer.predict(model, data)
    assert model.item_embedding.graph.edges is edges  # nothing that is not training changes it


@pytest.mark.parametrize(
    "negatives",
    [UniformNegatives(7), UniformNegatives(3, shared=False), FullCatalogNegatives(), InBatchNegatives()],
    ids=lambda sampler: type(sampler).__name__,
)
def test_the_loss_is_that_of_the_smoothed_table(negatives):
    """A model whose table is smoothed beforehand has the same loss, and the gradient's way is the graph."""
    data = ClusteredData()
    model, plain = (small(negatives=negatives, loss=CROLoss(), item_graph_weight=each) for each in (0.5, 0.0))
    model.item_embedding.graph.take(edges_of(data))
    with torch.no_grad():
        plain.load_state_dict(
            {name: value for name, value in model.state_dict().items() if not name.endswith("edges")}
        )
        plain.item_embedding.weight.copy_(model.item_embedding.table())
    batch, losses = next(iter(data.train_dataloader())), []
    for each in (model, plain):
        each.negatives.prepare(data.item_counts, data.target_counts)
        torch.manual_seed(1)
        losses.append(each.loss_of(batch))
        losses[-1].backward()
    torch.testing.assert_close(*losses)
    gradient = plain.item_embedding.weight.grad
    expected = gradient + 0.5 * model.item_embedding.graph(gradient)
    torch.testing.assert_close(model.item_embedding.weight.grad, expected)


def test_features_add_to_what_is_smoothed():
    model = small(id_dropout=0.0, **ITEM_FEATURES)
    data = FeaturedData()
    fit(model, data, limit_train_batches=1)
    model.eval()
    expected = model.item_embedding.table() + model.item_feature_embedding(torch.arange(41))
    seen = model.seen_items
    torch.testing.assert_close(model.embed_items(None)[seen[1:]], expected[1:][seen[1:]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"item_graph_weight": -0.1}, "item_graph_weight must be a number of at least 0, got -0.1"),
        ({"item_graph_weight": float("nan")}, "item_graph_weight must be a number of at least 0, got nan"),
        ({"item_graph_window": 0}, "item_graph_window"),
        ({"use_item_id": False, **ITEM_FEATURES}, "which use_item_id=False leaves out"),
        ({"sparse_gradients": True}, "sparse_gradients=True and item_graph_weight=0.5: each step reaches"),
    ],
)
def test_a_smoothing_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_gradients_are_never_sparse():
    model = small(num_items=50_000)  # from this number on they would be
    assert not model.id_embeddings()
    data = ClusteredData(num_items=50_000)
    fit(model, data, limit_train_batches=1, limit_val_batches=0, num_sanity_val_steps=0)
    assert not model.item_embedding.weight.grad.is_sparse


def test_loaders_of_ones_own_need_a_graph():
    data = ClusteredData()
    loader = DataLoader(list(data.train_dataloader()), batch_size=None)
    with pytest.raises(ValueError, match=r"smooths along the events .*graph\.set_events"):
        quiet_trainer().fit(small(), loader)
    model = small()
    model.item_embedding.graph.set_events(torch.tensor([1, 1]), torch.tensor([3, 4]))
    quiet_trainer().fit(model, loader)
    assert model.item_embedding.graph.num_edges == 1


# ---------------------------------------------------------------------- files


@EVERY
def test_a_file_is_enough_to_recommend_alike(cls, tmp_path):
    model = small(cls)
    again = reloaded(model, tmp_path, histories=HISTORIES, n=9)
    assert again.hparams == model.hparams
    save_pretrained(model, tmp_path / "folder")
    loaded = load_pretrained(tmp_path / "folder")
    assert torch.equal(loaded.item_embedding.graph.edges, model.item_embedding.graph.edges)
    for one, other in zip(loaded.recommend(HISTORIES, 9), model.recommend(HISTORIES, 9), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    check_exact_resume(lambda: small(SASRec, history_dropout=0.3), tmp_path)


def test_resuming_on_another_graph_is_refused(tmp_path):
    path = tmp_path / "one.ckpt"
    fit(small(), limit_train_batches=1).save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content[KEY]["trained_on"] = None  # which earlier releases did not keep
    torch.save(content, path)
    data = ClusteredData(split=PerUserRatio(0.5, 0.25, 0.25))
    with pytest.raises(ValueError, match=r"was trained with a graph of .* edges, but .* another of"):
        fit(small(), data, max_epochs=2, ckpt_path=path)


def test_a_graph_that_cannot_be_is_refused(tmp_path):
    path = tmp_path / "model.ckpt"
    fit(small(), limit_train_batches=1).save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    edges = content["state_dict"]["item_embedding.graph.edges"]
    edges[1] += 30
    torch.save(content, path)
    for read in (RetrievalModel.load_from_checkpoint, load_pretrained):
        with pytest.raises(PretrainedError, match="is damaged: the edges of its graph have other items"):
            read(path)


def test_averaged_weights_keep_their_graph(tmp_path):
    model = small()
    trainer = fit(model, max_epochs=2, callbacks=[WeightAveraging()])
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt").eval()
    assert again.item_embedding.graph.num_edges == model.item_embedding.graph.num_edges > 0
    assert torch.equal(again.encode_catalogue(), model.eval().encode_catalogue())


def test_what_is_kept_of_an_evaluation_is_never_of_other_weights_or_edges():
    model, ids = small().eval(), torch.tensor([1, 2])
    table, users = model.item_embedding, torch.tensor([1, 1])
    table.graph.set_events(users, torch.tensor([1, 2]))
    with torch.no_grad():
        precise = table(ids)
        # as half() and then float() do if the second gets the memory that the first has freed
        table._apply(lambda weight: weight.data.copy_(weight.data.half()))
        assert torch.equal(table(ids), table._smoothed()[ids])
        assert not torch.equal(table(ids), precise)
        for other in range(3, 30):
            table.graph.set_events(users, torch.tensor([1, other]))
            assert torch.equal(table(ids), table._smoothed()[ids])


def test_nothing_is_kept_of_weights_whose_changes_nobody_counts():
    with torch.inference_mode():
        model, ids = small().eval(), torch.tensor([1, 2])
        table = model.item_embedding
        table.graph.set_events(torch.tensor([1, 1]), torch.tensor([1, 2]))
        before = table(ids)
        table.weight.mul_(2)
        assert torch.equal(table(ids), 2 * before)


def test_a_copy_and_a_pickle_have_the_table_once():
    model = small(num_items=4000).eval()
    with torch.no_grad():
        expected = model.item_embedding(torch.arange(9))
    alone = len(pickle.dumps(small(num_items=4000)))
    assert len(pickle.dumps(model)) < alone * 1.5
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            assert torch.equal(made.item_embedding(torch.arange(9)), expected)


def test_a_model_without_a_graph_takes_the_smoothed_items_of_one_with():
    pretrained, data = small(), ClusteredData()
    fit(pretrained, limit_train_batches=2)
    model = small(item_graph_weight=0.0)
    load_matching(model, pretrained, data)
    expected = pretrained.eval().item_embedding.table()
    assert torch.equal(model.item_embedding.weight, expected)
    assert not torch.equal(pretrained.item_embedding.weight, expected)


def test_a_pretrained_model_brings_its_vectors_and_not_its_graph():
    pretrained, data = small(), ClusteredData(split=PerUserRatio(0.5, 0.25, 0.25))
    fit(pretrained, limit_train_batches=2)
    model = small()
    taken = load_matching(model, pretrained, data)
    assert not taken.left
    assert torch.equal(model.item_embedding.weight, pretrained.item_embedding.weight)
    assert model.item_embedding.graph.num_edges == 0
    fit(model, data, limit_train_batches=1)
    assert torch.equal(model.item_embedding.graph.edges, edges_of(data))


def test_two_seeds_alike_train_alike():
    found = []
    for _ in range(2):
        model = small(SASRec, train_on="all", optimizer=functools.partial(torch.optim.Adam, lr=0.02))
        fit(model, ClusteredData(seed=0), max_epochs=2)
        found.append(dict(model.state_dict()))
    assert same(*found)
