"""What LightGCN and NGCF share: the graph of training events, one propagation a step, what files hold."""

import functools
from unittest.mock import patch

import pytest
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch.utils.data import DataLoader

from lightning_croloss import (
    NGCF,
    CROLoss,
    FullCatalogNegatives,
    GlobalTime,
    InBatchNegatives,
    LeaveOneOut,
    LightGCN,
    PerUserRatio,
    RetrievalModel,
    SoftmaxLoss,
    UniformNegatives,
    UserDisjoint,
    load_matching,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.data import Interactions
from lightning_croloss.data.splits import Split, SplitRows, TargetRows
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import KEY
from tests.data_for_tests import ClusteredData, fit, quiet_trainer
from tests.models.cases import check_exact_resume, reloaded, same
from tests.models.graph_cases import batch_of, small, with_graph

BOTH = pytest.mark.parametrize("cls", [LightGCN, NGCF], ids=lambda cls: cls.__name__)
FAST_ADAM = functools.partial(torch.optim.Adam, lr=0.03)


class Timed(ClusteredData):
    """The same events at times that mix the users."""

    def load(self):
        data = super().load()
        times = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)) + len(data) * (
            data.positions > 2
        )
        return Interactions.from_ids(
            data.users.numpy(),
            data.items.numpy(),
            data.user_vocabulary,
            data.item_vocabulary,
            times=times.numpy(),
        )


class MiddleOut(Split):
    """Of each user the third event is for validation, the last for test: training sees events after those."""

    def assign(self, interactions):
        valid, test = interactions.positions == 2, interactions.positions == 7
        training = ~(valid | test)
        return SplitRows(
            train=TargetRows.single(training & (interactions.positions > 0)),
            valid=TargetRows.single(valid),
            test=TargetRows.single(test),
            training_events=training,
            unseen_users=False,
        )


# ---------------------------------------------------------------------- the graph


@BOTH
@pytest.mark.parametrize(
    ("data", "split"),
    [
        (ClusteredData, LeaveOneOut()),
        (ClusteredData, PerUserRatio(0.5, 0.25, 0.25)),
        (Timed, GlobalTime(0.1, 0.1)),
        (ClusteredData, MiddleOut()),
    ],
    ids=["leave one out", "by ratio", "by time", "out of the middle"],
)
def test_no_event_of_validation_or_test_is_an_edge(cls, data, split):
    module = data(split=split)
    model = small(cls)
    fit(model, module, limit_train_batches=1)
    rows, events = module.rows, module.interactions
    pairs = list(zip(events.users.tolist(), events.items.tolist(), strict=True))
    held_out = {
        pairs[position]
        for part in (rows.valid, rows.test)
        for first, stop in zip(part.first.tolist(), part.stop.tolist(), strict=True)
        for position in range(first, stop)
    }
    edges = {tuple(edge) for edge in model.graph.edges.T.tolist()}
    assert len(held_out) >= 60 - 20
    assert not edges & held_out  # no user of these data has an item twice
    trained = rows.training_events.nonzero().flatten().tolist()
    assert edges == {pairs[position] for position in trained}
    # nothing that evaluation or prediction sees adds an edge
    trainer = quiet_trainer()
    for verb in (trainer.validate, trainer.test):
        verb(model, module, verbose=False)
    trainer.predict(model, module)
    assert {tuple(edge) for edge in model.graph.edges.T.tolist()} == edges


@BOTH
def test_held_out_items_do_not_change_what_is_learned(cls):
    """A leak detector: other events in validation and test, the same weights and vectors."""

    class Changed(ClusteredData):
        def load(self):
            data = super().load()
            items = data.items.clone()
            late = data.positions >= 6
            items[late] = items[late] % 40 + 1
            return Interactions.from_ids(
                data.users.numpy(), items.numpy(), data.user_vocabulary, data.item_vocabulary
            )

    found = []
    for data in (ClusteredData(), Changed()):
        model = small(cls)
        fit(model, data, limit_val_batches=0, num_sanity_val_steps=0)
        found.append({**model.state_dict(), "items": model.encode_catalogue()})
    assert same(*found)


@BOTH
def test_users_whom_training_never_sees_are_refused(cls):
    message = f"{cls.__name__} needs users that training has seen, but UserDisjoint evaluates others"
    with pytest.raises(ValueError, match=message):
        fit(small(cls), ClusteredData(split=UserDisjoint(0.6, 0.2, 0.2)))
    with pytest.raises(ValueError, match=f"{cls.__name__} knows users by their ids alone"):
        small(cls).recommend(n=5, users=torch.tensor([1, 0]))


@BOTH
def test_loaders_of_ones_own_need_a_graph(cls):
    data = ClusteredData()
    loader = DataLoader(list(data.train_dataloader()), batch_size=None)
    with pytest.raises(ValueError, match=rf"{cls.__name__} propagates along the events .*graph\.set_edges"):
        quiet_trainer().fit(small(cls), loader)
    model = with_graph(small(cls), data)
    edges = model.graph.edges
    quiet_trainer().fit(model, loader)
    assert model.graph.edges is edges


@BOTH
def test_a_new_model_is_evaluated_with_the_graph_of_the_data(cls):
    data, model = ClusteredData(), small(cls)
    quiet_trainer().validate(model, data, verbose=False)
    assert torch.equal(model.graph.edges, with_graph(small(cls), data).graph.edges)
    edges = model.graph.edges
    quiet_trainer().validate(model, ClusteredData(split=PerUserRatio(0.5, 0.25, 0.25)), verbose=False)
    assert model.graph.edges is edges


@BOTH
def test_gradients_are_never_sparse(cls):
    with pytest.raises(ValueError, match=f"sparse_gradients=True and {cls.__name__}: each step reaches"):
        small(cls, sparse_gradients=True)
    model = small(cls, num_items=50_000)  # from this number on they would be
    assert not model.id_embeddings()
    data = ClusteredData(num_items=50_000)
    fit(model, data, limit_train_batches=1, limit_val_batches=0, num_sanity_val_steps=0)
    assert not model.item_embedding.weight.grad.is_sparse


# ---------------------------------------------------------------------- one propagation


@BOTH
@pytest.mark.parametrize(
    "negatives",
    [UniformNegatives(30), UniformNegatives(3, shared=False), FullCatalogNegatives(), InBatchNegatives()],
    ids=lambda sampler: type(sampler).__name__,
)
def test_a_step_propagates_once_and_an_evaluation_once(cls, negatives):
    data, calls = ClusteredData(), []
    model = small(cls, negatives=negatives, exclude_history=True)
    propagate = type(model).propagate

    def counted(self, embeddings):
        calls.append(self.training)
        return propagate(self, embeddings)

    with patch.object(cls, "propagate", counted):
        fit(model, data, limit_train_batches=3, limit_val_batches=0, num_sanity_val_steps=0)
        assert calls == [True] * 3
        calls.clear()
        quiet_trainer().validate(model, data, verbose=False)  # several batches
        assert calls == [False]
        calls.clear()
        quiet_trainer().predict(model, data)
        assert calls == [False]
        calls.clear()
        model.eval().recommend(n=5, users=torch.arange(1, 61))
        assert calls == [False]


@BOTH
@torch.no_grad()
def test_what_is_kept_follows_the_weights_and_the_graph(cls):
    model = with_graph(small(cls)).eval()
    batch = batch_of([1, 2, 3])

    def anew():
        again = small(cls).eval()
        again.load_state_dict(model.state_dict())
        return again.encode_users(batch)

    def changed(change):
        before = model.encode_users(batch)
        assert torch.equal(model.encode_users(batch), before)
        change()
        after = model.encode_users(batch)
        assert torch.equal(after, anew())
        return not torch.equal(after, before)

    assert changed(lambda: model.item_embedding.weight.mul_(torch.rand(41, 8)))
    assert changed(lambda: model.graph.set_edges(torch.tensor([1]), torch.tensor([1])))
    assert changed(lambda: model.load_state_dict(with_graph(small(cls, num_users=60)).state_dict()))
    # as weights are swapped for their averages, which their versions do not tell
    before = model.encode_catalogue()
    model.item_embedding.weight.data.mul_(torch.rand(41, 8))
    assert not torch.equal(model.encode_catalogue(), before)
    assert torch.equal(model.encode_users(batch), anew())
    assert model.double().encode_users(batch).dtype == torch.float64
    # another type and back: other values, perhaps in the memory of before
    model.float().encode_users(batch)
    model.half().float()
    assert torch.equal(model.encode_users(batch), anew())


@BOTH
def test_gradients_reach_the_neighbours_in_evaluation_too(cls):
    model = with_graph(small(cls)).eval()
    model.encode_users(batch_of([1])).sum().backward()
    touched = model.item_embedding.weight.grad.any(1)
    items = model.graph.edges[1, model.graph.edges[0] == 1].long()
    assert touched[items].all()
    assert not touched[0]


@BOTH
def test_id_0_is_nothing_and_learns_nothing(cls):
    model = with_graph(small(cls))
    assert not model.encode_users(batch_of([0])).any()
    assert not model.encode_items(torch.tensor([0, 3]))[0].any()
    model.encode_items(torch.tensor([0, 3])).sum().backward()
    assert not model.item_embedding.weight.grad[0].any()


# ---------------------------------------------------------------------- training


@BOTH
@pytest.mark.parametrize(
    "negatives",
    [UniformNegatives(7), UniformNegatives(3, shared=False), FullCatalogNegatives(), InBatchNegatives()],
    ids=lambda sampler: type(sampler).__name__,
)
def test_the_regularisation_is_that_of_what_the_step_reads(cls, negatives):
    arguments = {"message_dropout": 0.0} if cls is NGCF else {}
    model = with_graph(small(cls, negatives=negatives, **arguments))
    model.negatives.prepare(torch.arange(41), torch.arange(41))
    batch, drawn = batch_of([3, 3, 9], [2, 5, 2]), []
    sample = model.negatives.sample

    def noted(given):
        drawn.append(sample(given))
        return drawn[-1]

    losses = []
    with patch.object(model.negatives, "sample", noted):
        for regularization in (0.0, 0.3):
            torch.manual_seed(1)
            model.regularization = regularization
            losses.append(model.loss_of(batch))
    ids = torch.arange(1, 41) if drawn[1].whole_catalogue else drawn[1].ids.flatten()
    own = torch.cat([model.user_embedding.weight[1:], model.item_embedding.weight[1:]])
    vectors = own if cls is LightGCN else model.propagate(own)
    users, items = vectors[:60], vectors[60:]
    total = sum(users[user - 1] @ users[user - 1] for user in (3, 3, 9))
    total = total + sum(items[item - 1] @ items[item - 1] for item in [2, 5, 2, *ids.tolist()])
    torch.testing.assert_close(losses[1] - losses[0], 0.3 / 2 * total / 3)


@pytest.mark.parametrize("regularization", [-0.1, float("nan"), float("inf")])
def test_the_regularisation_is_checked(regularization):
    with pytest.raises(ValueError, match="regularization must be a number of at least 0"):
        small(regularization=regularization)


@BOTH
@pytest.mark.parametrize(
    "arguments",
    [
        {"loss": SoftmaxLoss(fused=True), "similarity": "dot", "regularization": 1e-4},
        {"negatives": FullCatalogNegatives(), "loss": CROLoss(n=5)},
    ],
    ids=["fused, dot", "all items, told n"],
)
@pytest.mark.slow
def test_training_lowers_the_loss_and_finds_the_items(cls, arguments):
    data, model = ClusteredData(), small(cls, optimizer=FAST_ADAM, exclude_history=True, **arguments)
    first = float(fit(model, data, limit_train_batches=1).callback_metrics["train/loss"])
    metrics = fit(model, data, max_epochs=15, check_val_every_n_epoch=15).callback_metrics
    assert float(metrics["train/loss"]) < 0.9 * first
    assert float(metrics["val/recall@5"]) > 0.8  # of the user's cluster four items are left


@BOTH
@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(cls, tmp_path):
    arguments = {"edge_dropout": 0.3} if cls is LightGCN else {"node_dropout": 0.3, "message_dropout": 0.3}
    check_exact_resume(lambda: small(cls, **arguments), tmp_path)


@BOTH
def test_resuming_on_another_graph_is_refused(cls, tmp_path):
    path = tmp_path / "one.ckpt"
    fit(small(cls), limit_train_batches=1).save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content[KEY]["trained_on"] = None  # which earlier releases did not keep
    torch.save(content, path)
    data = ClusteredData(split=PerUserRatio(0.5, 0.25, 0.25))
    with pytest.raises(ValueError, match=r"was trained with a graph of 360 edges, but .* another of 240"):
        fit(small(cls), data, max_epochs=2, ckpt_path=path)
    model = small(cls)  # evaluated it keeps its own
    quiet_trainer().test(model, data, ckpt_path=path, verbose=False, weights_only=True)
    assert model.graph.num_edges == 360


@pytest.mark.slow
def test_several_processes_share_one_graph():
    model = small(negatives=FullCatalogNegatives())
    data = ClusteredData(batch_size=16, seed=0)
    quiet_trainer(strategy="ddp_fork", devices=2).fit(model, data)
    assert torch.equal(model.graph.edges, with_graph(small(), data).graph.edges)
    quiet_trainer().test(model, data, verbose=False)


# ---------------------------------------------------------------------- files


@BOTH
def test_a_file_is_enough_to_recommend_alike(cls, tmp_path):
    asked = {"n": 9, "users": torch.tensor([4, 60])}
    arguments = {"edge_dropout": 0.3} if cls is LightGCN else {"node_dropout": 0.3}
    model = small(cls, regularization=0.1, **arguments)
    again = reloaded(model, tmp_path, **asked)
    assert again.hparams == model.hparams
    with pytest.raises(ValueError, match="the model knows other users"):
        quiet_trainer().validate(again, ClusteredData(num_users=59), verbose=False)
    save_pretrained(model, tmp_path / "folder")
    for loaded in (load_pretrained(tmp_path / "folder"), load_pretrained(tmp_path / "model.ckpt")):
        assert torch.equal(loaded.graph.edges, model.graph.edges)
        for one, other in zip(loaded.recommend(**asked), model.recommend(**asked), strict=True):
            assert torch.equal(one, other)
    # prediction with the data gives the same lists
    (found,), (expected,) = (
        quiet_trainer().predict(each, ClusteredData(eval_batch_size=60)) for each in (again, model)
    )
    assert torch.equal(found[0], expected[0])


@BOTH
def test_a_graph_that_cannot_be_is_refused(cls, tmp_path):
    path = tmp_path / "model.ckpt"
    fit(small(cls), limit_train_batches=1).save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["graph.edges"] = content["state_dict"]["graph.edges"] + 30
    torch.save(content, path)
    with pytest.raises(PretrainedError, match="is damaged: the edges of its graph have other users than"):
        RetrievalModel.load_from_checkpoint(path)
    with pytest.raises(PretrainedError, match="is damaged: the edges of its graph have other users than"):
        load_pretrained(path)
    with pytest.raises(PretrainedError, match="is damaged: the edges of its graph have other users than"):
        fit(small(cls), max_epochs=2, ckpt_path=path)
    edges = torch.ones(2, 1, dtype=torch.int32)
    content["state_dict"]["graph.edges"] = edges.expand(2, 10**12)  # a few bytes in the file
    torch.save(content, path)
    with pytest.raises(PretrainedError, match="edges of its graph are declared larger than what is there"):
        load_pretrained(path)


@BOTH
def test_averaged_weights_keep_their_graph(cls, tmp_path):
    model = small(cls)
    trainer = fit(model, max_epochs=2, callbacks=[WeightAveraging()])
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt").eval()
    assert again.graph.num_edges == 360
    assert torch.equal(again.encode_catalogue(), model.eval().encode_catalogue())


@BOTH
def test_a_pretrained_model_brings_its_vectors_and_not_its_graph(cls):
    pretrained, data = small(cls), ClusteredData(split=PerUserRatio(0.5, 0.25, 0.25))
    fit(pretrained, limit_train_batches=2)
    model = small(cls)
    taken = load_matching(model, pretrained, data)
    assert not taken.left
    assert torch.equal(model.item_embedding.weight, pretrained.item_embedding.weight)
    assert model.graph.num_edges == 0
    fit(model, data, limit_train_batches=1)
    assert model.graph.num_edges == 240


def test_a_node_without_edges_keeps_its_embedding():
    model = small(similarity="dot")
    model.graph.set_edges(torch.tensor([1, 2]), torch.tensor([3, 3]))
    model.eval()
    assert torch.equal(model.encode_users(batch_of([7]))[:, 0], model.user_embedding.weight[[7]])
    assert torch.equal(model.encode_items(torch.tensor([4])), model.item_embedding.weight[[4]])
    assert not torch.equal(model.encode_items(torch.tensor([3])), model.item_embedding.weight[[3]])
