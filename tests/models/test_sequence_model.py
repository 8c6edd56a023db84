"""What holds for every model that reads the history in its order; new ones join by WAYS."""

import functools

import pytest
import torch

from lightning_croloss import HSTU, ESASRec, FullCatalogNegatives, GRU4Rec, SASRec, SoftmaxLoss
from lightning_croloss.data import RetrievalBatch
from tests.data_for_tests import ClusteredData, fit, quiet_trainer
from tests.models.cases import check_exact_resume, reloaded
from tests.models.sequences import MODELS, WAYS, batch_of, small_sequence_model

FAST_ADAM = functools.partial(torch.optim.Adam, lr=0.02)
each_model = pytest.mark.parametrize(
    "cls", [cls for cls, train_on in WAYS if train_on == "last"], ids=lambda cls: cls.__name__
)
both_ways = pytest.mark.parametrize(
    ("cls", "train_on"), WAYS, ids=lambda value: getattr(value, "__name__", value)
)


@both_ways
def test_padding_changes_nothing(cls, train_on):
    model = small_sequence_model(cls, train_on=train_on).eval()
    short = model.encode_users(batch_of([5, 6, 7, 8, 9]))
    torch.testing.assert_close(model.encode_users(batch_of([0, 0, 0, 5, 6, 7, 8, 9])), short)
    # nor does it elsewhere
    torch.testing.assert_close(model.encode_users(batch_of([0, 5, 6, 0, 0, 7, 8, 0, 9, 0])), short)


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
def test_states_do_not_depend_on_later_events(cls):
    model = small_sequence_model(cls, train_on="all").eval()
    one, other = batch_of([0, 1, 2, 3, 4, 5]), batch_of([0, 1, 2, 3, 9, 5])
    users = []
    for batch in (one, other):
        batch.targets = torch.full_like(batch.history, 7)
        users.append(model.training_users(batch)[0])
    assert torch.equal(users[0][:4], users[1][:4])
    assert not torch.isclose(users[0][4:], users[1][4:]).all(-1).any()


@each_model
def test_the_order_of_events_matters(cls):
    model = small_sequence_model(cls).eval()
    users = model.encode_users(batch_of([1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 4, 3]))[:, 0]
    assert bool(((users[:1] - users[1:]).norm(dim=1) > 1e-3).all())


@both_ways
def test_an_empty_history_has_finite_vectors_and_gradients(cls, train_on):
    model = small_sequence_model(cls, train_on=train_on, history_dropout=0.5)
    batch = batch_of([0, 0, 0], [0, 0, 4], targets=[[1], [2]])
    users = model.encode_users(batch)
    assert users.shape == (2, 1, 8)
    assert torch.equal(users[0, 0], model.normalize(model.empty_user))
    if train_on == "all":
        batch.targets = torch.tensor([[0, 0, 3], [0, 5, 6]])  # also a position before the first event
    loss = model.loss_of(batch)
    loss.backward()
    assert bool(torch.isfinite(loss))
    parameters = [value for name, value in model.named_parameters() if not name.endswith("time_bias")]
    assert all(bool(torch.isfinite(value.grad).all()) for value in parameters)
    assert bool(model.empty_user.grad.any())
    ids, scores = model.recommend([[], [1, 2]], 5)
    assert bool((ids > 0).all())
    assert bool(torch.isfinite(scores).all())
    assert model.recommend([], 5)[0].shape == (0, 5)


@each_model
def test_a_dropped_event_leaves_nothing_but_a_gap_in_the_places(cls):
    model = small_sequence_model(cls, history_dropout=0.5, dropout=0.0).train()
    if hasattr(model, "place_embedding"):
        torch.nn.init.zeros_(model.place_embedding.weight)  # else see test_sasrec.py
    if cls is HSTU:
        for block in model.blocks:
            torch.nn.init.zeros_(block.position_bias)  # gaps are distances, too
    batch = batch_of([1, 2, 3, 4, 5, 6])
    torch.manual_seed(1)
    dropped = torch.rand(1, 6) < 0.5
    assert bool(dropped.any())
    assert not bool(dropped.all())
    torch.manual_seed(1)
    found = model.encode_users(batch)
    left = batch.history[~dropped].tolist()
    torch.testing.assert_close(found, model.eval().encode_users(batch_of(left)))


@each_model
def test_recommendations_do_not_depend_on_the_company(cls):
    model = small_sequence_model(cls)
    alone = model.recommend([[11]], 9)[0]
    assert torch.equal(model.recommend([[1, 2, 3, 4, 5], [11]], 9)[0][1:], alone)
    assert model.training


@pytest.mark.slow
@each_model
def test_the_encoder_compiles_to_one_graph(cls):
    model = small_sequence_model(cls).eval()
    history = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0]])

    def encode(history):
        return model.encode_users(RetrievalBatch(history, history[:, :1], history[:, 0]))

    torch.compiler.reset()
    compiled = torch.compile(encode, backend="eager", fullgraph=cls is not GRU4Rec)
    torch.testing.assert_close(compiled(history), encode(history))


# ---------------------------------------------------------------------- training


@both_ways
@pytest.mark.parametrize("arguments", [{}, {"loss": SoftmaxLoss(0.2), "negatives": FullCatalogNegatives()}])
@pytest.mark.slow
def test_training_lowers_the_loss_and_finds_the_items(cls, train_on, arguments):
    data = ClusteredData(batch_size=32 if train_on == "last" else 8)  # rows of 1 or up to 5 targets
    model = small_sequence_model(cls, train_on=train_on, optimizer=FAST_ADAM, **arguments)
    (before,) = quiet_trainer().validate(model, data, verbose=False)
    first = float(fit(model, data, limit_train_batches=1).callback_metrics["train/loss"])
    metrics = fit(model, data, max_epochs=20, check_val_every_n_epoch=20).callback_metrics
    assert float(metrics["train/loss"]) < 0.8 * first
    assert before["val/recall@10"] < 0.5
    assert float(metrics["val/recall@10"]) > 0.7  # the ten items of the user's cluster


@both_ways
@pytest.mark.slow
def test_training_in_bfloat16(cls, train_on):
    for precision in ("bf16-mixed", "bf16-true"):
        model = small_sequence_model(cls, train_on=train_on)
        before = model.item_embedding.weight.clone()
        fit(model, precision=precision, limit_train_batches=2)
        assert all(bool(torch.isfinite(value).all()) for value in model.parameters())
        assert not torch.equal(model.item_embedding.weight.float(), before)


@both_ways
@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(cls, train_on, tmp_path):
    def resumable():
        return small_sequence_model(cls, train_on=train_on, history_dropout=0.3, dropout=0.3)

    check_exact_resume(resumable, tmp_path)


@both_ways
def test_a_checkpoint_is_enough_to_recommend_alike(cls, train_on, tmp_path):
    model = small_sequence_model(cls, train_on=train_on)
    again = reloaded(model, tmp_path, histories=[[1, 2, 3, 4, 5, 6, 7, 8], []], n=9)
    assert type(again) is cls
    assert again.train_on == train_on


@pytest.mark.parametrize("cls", [SASRec, ESASRec, HSTU])
def test_windows_longer_than_the_positions_are_refused(cls):
    """Those of a loader of one's own: the data modules' are compared with max_length before."""
    model = small_sequence_model(cls, train_on="all", max_length=3)
    with pytest.raises(ValueError, match=r"reads the last max_length=3 events, .* on windows of 4"):
        model.training_users(batch_of([1, 2, 3, 4], targets=[[2, 3, 4, 5]]))


def test_single_targets_of_positions_may_have_weights_of_their_shape():
    model = small_sequence_model(SASRec, train_on="all", negatives=FullCatalogNegatives())
    flat, deep = (batch_of([1, 2], targets=targets) for targets in ([[2, 3]], [[[2], [3]]]))
    flat.sample_weight, deep.sample_weight = torch.tensor([[1.0, 3.0]]), torch.tensor([[[1.0], [3.0]]])
    model.eval()
    torch.testing.assert_close(*(model.loss_of(each) for each in (flat, deep)))
