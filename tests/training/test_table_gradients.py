"""A step makes one gradient of each table of ids, equal to that of the ordinary way."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn.utils import prune

from lightning_croloss import (
    BPRLoss,
    CROLoss,
    FullCatalogNegatives,
    InBatchNegatives,
    PopularityNegatives,
    SoftmaxLoss,
    UniformNegatives,
)
from lightning_croloss.common import spare_memory
from lightning_croloss.losses.fused import plan
from lightning_croloss.models import SASRec, TwoTower, YouTubeDNN
from lightning_croloss.models.encoder import Encoder
from lightning_croloss.models.layers import smoothed_embedding
from lightning_croloss.models.lightgcn import LightGCN
from lightning_croloss.models.matrix_factorization import MatrixFactorization
from lightning_croloss.training.lazy_adam import LazyAdam
from tests.data_for_tests import ClusteredData, FeaturedData, fit, small_model

WHOLE = {"negatives": FullCatalogNegatives(), "num_items": 40, "embedding_dim": 8, "ns": (5,)}
LOSSES = {
    "default": lambda: None,
    "softmax": lambda: SoftmaxLoss(fused=True),
    "lambda": lambda: CROLoss("softplus", lambda_weight=0.5, fused=True),
    "bpr": BPRLoss,
}


@pytest.fixture(params=["one sweep", "two sweeps"])
def sweeps(request, monkeypatch):
    if request.param == "two sweeps":
        monkeypatch.setattr(plan, "MOST_KEPT", 0)


def make(name, **options):
    torch.manual_seed(0)
    options = {**WHOLE, **options}
    builders = {
        "YouTubeDNN": lambda: YouTubeDNN(**options),
        "SASRec": lambda: SASRec(**options, train_on="all", max_length=5),
        "MatrixFactorization": lambda: MatrixFactorization(**options, num_users=60),
        "TwoTower": lambda: TwoTower(**options, use_user_id=True, num_users=60),
    }
    return builders[name]()


def a_batch(model, exclude=False):
    data = ClusteredData(batch_size=8)
    model.negatives.exclude_known_positives = exclude
    trainer = fit(model, data, max_steps=1, limit_val_batches=0)
    return next(iter(trainer.train_dataloader))


def gradients(model, batch):
    model.zero_grad()
    torch.manual_seed(1)
    loss = model.loss_of(batch)
    loss.backward()
    assert not model.item_embedding.sparse
    return [loss.detach()] + [each.grad.clone() for each in model.parameters() if each.grad is not None]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def assert_a_fit_is_the_same(monkeypatch, ordinary_way, make_model, options):
    """Fit twice, the second time after ``ordinary_way(monkeypatch)``."""
    weights = []
    for begin in (lambda _: None, ordinary_way):
        begin(monkeypatch)
        model = make_model()
        fit(model, ClusteredData(), max_epochs=2, **options)
        weights.append(model.item_embedding.weight.detach().float())
        assert not weights[-1][0].any()
    exact = "precision" not in options
    torch.testing.assert_close(*weights, rtol=1e-4 if exact else 0.1, atol=1e-5 if exact else 0.02)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("name", ["YouTubeDNN", "SASRec", "MatrixFactorization"])
def test_gradients_are_those_of_the_ordinary_way(sweeps, monkeypatch, name, similarity, loss):
    model = make(name, similarity=similarity, loss=LOSSES[loss]())
    batch = a_batch(model, exclude=loss == "lambda")
    model.double()
    model.eval()
    assert model.plain_item_table is model.item_embedding
    found = gradients(model, batch)
    table = model.item_embedding.weight
    assert table.grad.layout is torch.strided
    assert not table.grad[0].any()
    monkeypatch.setattr(type(model), "plain_item_table", Encoder.plain_item_table)
    assert_equal(found, gradients(model, batch))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("name", ["YouTubeDNN", "SASRec"])
def test_a_smoothed_table_has_one_gradient_too(sweeps, monkeypatch, name, similarity, whole):
    negatives = FullCatalogNegatives if whole else lambda: UniformNegatives(30)
    model = make(
        name,
        similarity=similarity,
        loss=CROLoss("softplus", fused=True),
        negatives=negatives(),
        item_graph_weight=0.7,
    )
    batch = a_batch(model)
    model.double()
    model.eval()
    together, encoded = [], []
    make_one, encode, step = smoothed_embedding.one_gradient, model.encode_items, model.item_embedding.step
    monkeypatch.setattr(
        smoothed_embedding, "one_gradient", lambda *args: together.append(1) or make_one(*args)
    )
    found = gradients(model, batch)
    assert len(together) == 1
    assert not model.item_embedding.weight.grad[0].any()
    # the ordinary way: a gradient for each look-up, and a copy of the table to compare with
    model.encode_items = lambda ids: encoded.append(ids is None) or encode(ids)
    monkeypatch.setattr(model.item_embedding, "step", lambda **_: step(one_gradient=False))
    assert_equal(found, gradients(model, batch))
    assert len(together) == 1
    assert (True in encoded) == whole


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1},
        {"precision": "bf16-mixed"},
        {"precision": "bf16-true"},
        {"precision": "16-true"},
    ],
)
def test_a_fit_is_that_of_the_ordinary_way(sweeps, monkeypatch, options):
    def ordinary_way(patch):
        patch.setattr(YouTubeDNN, "plain_item_table", Encoder.plain_item_table)

    def make_model():
        return small_model(negatives=FullCatalogNegatives(), loss=CROLoss(fused=True))

    assert_a_fit_is_the_same(monkeypatch, ordinary_way, make_model, options)


def test_the_same_seed_makes_the_same_run(sweeps):
    runs = []
    for _ in range(2):
        model = small_model(negatives=FullCatalogNegatives(), loss=CROLoss(fused=True))
        fit(model, ClusteredData(), max_epochs=2)
        runs.append(model.item_embedding.weight.detach())
    assert torch.equal(*runs)


def test_lazy_adam_takes_the_whole_gradient():
    model = small_model(negatives=FullCatalogNegatives(), optimizer=LazyAdam)
    before = model.item_embedding.weight.detach().clone()
    (used,) = fit(model, limit_train_batches=1).optimizers
    assert type(used) is LazyAdam
    assert (model.item_embedding.weight[1:] != before[1:]).any(1).all()


def test_the_memory_of_the_gradient_is_used_again(monkeypatch):
    monkeypatch.setattr(spare_memory, "FEWEST_BYTES", 0)
    monkeypatch.setattr(plan, "MOST_KEPT", 0)
    model = small_model(negatives=FullCatalogNegatives(), loss=CROLoss(fused=True))
    memory = model.loss.spare_memory
    given, taken = [], []
    give, take = memory.give, memory.take
    memory.give = lambda block: given.append(block.data_ptr()) or give(block)

    def note(like):
        block = take(like)
        taken.append(block.data_ptr())
        return block

    memory.take = note
    fit(model, ClusteredData(), max_epochs=2)
    assert len(given) >= len(taken) - 2 > 3  # an epoch begins without gradients
    assert taken[1:8] == given[:7]
    assert memory._block is None
    assert copy.deepcopy(memory)._block is None


class OfItsOwn(YouTubeDNN):
    """Makes vectors of items in another way."""

    def encode_items(self, ids):
        return 2.0 * super().encode_items(ids)


class Scaled(MatrixFactorization):
    """Brings vectors to another length."""

    def normalize(self, vectors):
        return 2.0 * super().normalize(vectors)


def test_vectors_made_otherwise_keep_the_ordinary_way():
    features = {"item_features": FeaturedData().item_feature_specs}
    assert YouTubeDNN(**WHOLE, **features).plain_item_table is None
    assert YouTubeDNN(**WHOLE, item_graph_weight=0.5).plain_item_table is None
    assert TwoTower(**WHOLE).plain_item_table is None
    assert LightGCN(**WHOLE, num_users=60).plain_item_table is None
    assert OfItsOwn(**WHOLE).plain_item_table is None
    assert Scaled(**WHOLE, num_users=60).plain_item_table is None
    frozen = YouTubeDNN(**WHOLE)
    frozen.item_embedding.weight.requires_grad_(False)
    assert frozen.plain_item_table is None
    on_the_object = YouTubeDNN(**WHOLE)
    on_the_object.encode_items = on_the_object.embed_items
    assert on_the_object.plain_item_table is None


SAMPLERS = {
    "uniform": lambda: UniformNegatives(7),
    "in batch": InBatchNegatives,
    "popularity": lambda: PopularityNegatives(7, shared=False),
}


@pytest.mark.parametrize("negatives", SAMPLERS)
@pytest.mark.parametrize("name", ["YouTubeDNN", "SASRec", "MatrixFactorization", "TwoTower"])
def test_gradients_of_look_ups_are_those_of_the_ordinary_way(monkeypatch, name, negatives):
    model = make(name, negatives=SAMPLERS[negatives]())
    batch = a_batch(model)
    model.double()
    model.eval()
    assert model._looked_up_tables == model.id_embeddings() != []
    found = gradients(model, batch)
    for table in model.id_embeddings():
        assert table.weight.grad.layout is torch.strided
        assert not table.weight.grad[0].any()
    torch.manual_seed(1)
    loss = model.loss_of(batch)
    (again,) = torch.autograd.grad(loss, [model.item_embedding.weight], retain_graph=True)
    torch.testing.assert_close(again, model.item_embedding.weight.grad)
    loss.backward()  # the same graph once more, onto what is there
    torch.testing.assert_close(2.0 * again, model.item_embedding.weight.grad)
    ordinary(monkeypatch, type(model))
    assert_equal(found, gradients(model, batch))


def ordinary(monkeypatch, cls):
    monkeypatch.setattr(cls, "_looked_up_tables", [])


@pytest.mark.parametrize(
    "options", [{"accumulate_grad_batches": 3, "gradient_clip_val": 0.1}, {"precision": "bf16-true"}]
)
def test_a_fit_with_look_ups_is_that_of_the_ordinary_way(monkeypatch, options):
    def ordinary_way(patch):
        ordinary(patch, YouTubeDNN)

    def make_model():
        return small_model(negatives=UniformNegatives(9))

    assert_a_fit_is_the_same(monkeypatch, ordinary_way, make_model, options)


@pytest.mark.parametrize("negatives", [FullCatalogNegatives(), UniformNegatives(9)], ids=["all", "sampled"])
def test_nobody_looks_after_the_gradients_of_small_tables(negatives, monkeypatch):
    def refuse(*_):
        raise AssertionError("a small table's gradient is kept")

    monkeypatch.setattr(spare_memory.Released, "of", refuse)
    monkeypatch.setattr(spare_memory.SpareMemory, "give", refuse)
    fit(small_model(negatives=negatives), limit_train_batches=3)


def test_the_memory_of_looked_up_gradients_is_used_again(monkeypatch):
    monkeypatch.setattr(spare_memory, "FEWEST_BYTES", 0)
    model = small_model(negatives=UniformNegatives(9))
    blocks = []
    zero_grad = model.optimizer_zero_grad

    def note(*arguments):
        table = model.item_embedding.weight
        blocks.append(None if table.grad is None else table.grad.data_ptr())  # held, it would be spared
        zero_grad(*arguments)

    monkeypatch.setattr(model, "optimizer_zero_grad", note)
    fit(model, ClusteredData(), max_epochs=1)
    assert len(blocks) > 4
    assert len({*blocks[1:]}) == 1  # the first step begins without
    assert model._spare_gradients._memory == {}
    model._spare_gradients.of(model.item_embedding).give(torch.zeros(3))
    assert copy.deepcopy(model._spare_gradients)._memory == {}


def test_features_of_items_and_padding_that_learns_are_looked_up_too(monkeypatch):
    features = {"item_features": FeaturedData().item_feature_specs, "id_dropout": 0.0}
    model = make("YouTubeDNN", negatives=UniformNegatives(7), **features)
    model.item_embedding = torch.nn.Embedding(41, 8)  # row 0 is looked up, and learns
    data = FeaturedData(batch_size=8)
    batch = next(iter(fit(model, data, max_steps=1, limit_val_batches=0).train_dataloader))
    found = gradients(model, batch)
    assert model._looked_up_tables == [model.item_embedding]
    ordinary(monkeypatch, YouTubeDNN)
    for one, other in zip(found, gradients(model, batch), strict=True):
        torch.testing.assert_close(one, other)


def test_tables_that_autograd_must_see_keep_the_ordinary_way():
    sampled = {"negatives": UniformNegatives(7)}
    assert make("YouTubeDNN", **sampled, item_graph_weight=0.5)._looked_up_tables == []
    assert make("YouTubeDNN")._looked_up_tables == []  # the loss has the whole table
    model = make("YouTubeDNN", **sampled)
    for change in ({"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}):
        model.item_embedding = torch.nn.Embedding(41, 8, padding_idx=0, **change)
        assert model._looked_up_tables == []
    model.item_embedding = torch.nn.Embedding(41, 8, padding_idx=0)
    model.item_embedding.forward = model.item_embedding.forward
    assert model._looked_up_tables == []


def test_a_look_up_that_fails_leaves_the_table_as_it_was():
    model = make("YouTubeDNN", negatives=UniformNegatives(7))
    batch = a_batch(model)
    batch.history[0, -1] = 99
    with pytest.raises(IndexError):
        model.loss_of(batch)
    assert "forward" not in vars(model.item_embedding)


def test_sampled_negatives_and_losses_of_a_user_keep_the_ordinary_way():
    class Own(CROLoss):
        def from_embeddings(self, users, positives, candidates, **given):
            assert len(candidates) == 40
            assert "normalize_candidates" not in given
            return super().from_embeddings(users, positives, candidates, **given)

    fit(small_model(negatives=FullCatalogNegatives(), loss=Own()), limit_train_batches=1)
    assert small_model(negatives=UniformNegatives(30))._whole_table is None


def both_ways(monkeypatch, model, step):
    """Return what a step gives, with the ordinary way second."""
    found = step(model)
    with monkeypatch.context() as patch:
        ordinary(patch, type(model))
        return found, step(model)


def sampled(cls=YouTubeDNN, **options):
    torch.manual_seed(0)
    model = cls(**{**WHOLE, "negatives": UniformNegatives(7), **options})
    batch = a_batch(model)
    model.eval()
    return model, batch


@pytest.mark.parametrize("shared", ["weight", "table"])
def test_users_and_items_may_share_a_table(monkeypatch, shared):
    model, batch = sampled(MatrixFactorization, num_users=60)
    table = torch.nn.Embedding(61, 8, padding_idx=0)
    model.user_embedding = table
    model.item_embedding = table if shared == "table" else torch.nn.Embedding(61, 8, padding_idx=0)
    model.item_embedding.weight = table.weight
    assert len(model._looked_up_tables) == 1

    def three_steps(model):
        weights = [each.detach().clone() for each in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        for number in range(3):
            torch.manual_seed(number)
            model.optimizer_zero_grad(0, number, optimizer)
            model.loss_of(batch).backward()
            optimizer.step()
        trained = table.weight.detach().clone()
        with torch.no_grad():
            for each, before in zip(model.parameters(), weights, strict=True):
                each.copy_(before)
        model.zero_grad()
        return trained

    torch.testing.assert_close(*both_ways(monkeypatch, model, three_steps))


class InAThread(YouTubeDNN):
    """Encodes items in a thread of their own, in which autograd counts anew."""

    def encode_items(self, ids):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().encode_items, ids).result()


class WithItsSlope(YouTubeDNN):
    """Asks within a step for the gradient of a part of it."""

    def encode_users(self, batch):
        users = super().encode_users(batch)
        (slope,) = torch.autograd.grad(users.sum(), [self.item_embedding.weight], retain_graph=True)
        return users + 0.1 * slope[1]


@pytest.mark.parametrize("cls", [InAThread, WithItsSlope])
def test_no_look_up_is_forgotten(monkeypatch, cls):
    model, batch = sampled(cls)
    for one, other in zip(*both_ways(monkeypatch, model, lambda model: gradients(model, batch)), strict=True):
        torch.testing.assert_close(one, other)


def test_a_gradient_can_be_derived_once_more(monkeypatch):
    model, batch = sampled(loss=BPRLoss())

    def penalised(model):
        model.zero_grad()
        torch.manual_seed(1)
        loss = model.loss_of(batch)
        weights = list(model.parameters())
        slopes = torch.autograd.grad(loss, weights, create_graph=True)
        (loss + sum(each.square().sum() for each in slopes)).backward()
        return [each.grad.clone() for each in weights]

    for one, other in zip(*both_ways(monkeypatch, model, penalised), strict=True):
        torch.testing.assert_close(one, other)


def test_a_table_that_no_step_looks_into_has_no_gradient():
    model, batch = sampled()
    model.user_embedding = torch.nn.Embedding(61, 8)
    model.loss_of(batch).backward()
    assert model.user_embedding in model._looked_up_tables
    assert model.user_embedding.weight.grad is None


def test_a_weight_that_is_made_at_each_look_up_keeps_the_ordinary_way():
    model, batch = sampled()
    prune.l1_unstructured(model.item_embedding, "weight", amount=0.3)
    assert model._looked_up_tables == []
    for _ in range(2):
        model.loss_of(batch).backward()
    whole = make("YouTubeDNN")
    prune.l1_unstructured(whole.item_embedding, "weight", amount=0.3)
    assert whole.plain_item_table is None


@pytest.mark.parametrize("hold", [lambda gradient: gradient, torch.Tensor.detach], ids=["it", "a view"])
@pytest.mark.parametrize("negatives", [UniformNegatives(7), FullCatalogNegatives()], ids=["some", "all"])
def test_a_gradient_that_somebody_holds_stays_as_it_is(monkeypatch, hold, negatives):
    monkeypatch.setattr(plan, "MOST_KEPT", 0)
    model, batch = sampled(negatives=negatives, loss=CROLoss(fused=True))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model.loss_of(batch).backward()
    held = hold(model.item_embedding.weight.grad)
    before = held.clone()
    for number in range(2):
        model.optimizer_zero_grad(0, number, optimizer)
        model.loss_of(batch).backward()
        optimizer.step()
    assert torch.equal(held, before)
