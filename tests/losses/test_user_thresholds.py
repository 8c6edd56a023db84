"""SL@K with thresholds that are kept for some epochs."""

import contextlib
import copy

import pytest
import torch

from lightning_croloss import SASRec, SLAtKLoss, UniformNegatives, YouTubeDNN
from lightning_croloss.losses import CROLoss
from lightning_croloss.losses.user_thresholds import UserThresholds
from tests.distributed import run_distributed
from tests.test_grid import batch_of_users

K, N = 9, 30


def vectors(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 4, generator=generator, dtype=torch.float64) for rows in (5, 5, 12)]


def threshold(users, candidates):
    """Return the scores at position ⌈9 · 12 / 30⌉ = 4."""
    return (users @ candidates.T).sort(dim=1, descending=True).values[:, 3]


def loss_by(threshold, users, positives, candidates):
    own = (users * positives).sum(1)
    total = torch.logsumexp((users @ candidates.T - own.unsqueeze(1)) / 0.5, 1)
    return torch.sigmoid((own - threshold) / 0.7) * total


def build(**kwargs):
    return SLAtKLoss(0.5, 0.7, K, N, **{"reduction": "none", "refresh_epochs": 2} | kwargs)


def test_a_threshold_is_kept_until_it_is_due():
    loss, ids = build(), torch.arange(5)
    first, second, third = (threshold(given[0], given[2]) for given in map(vectors, range(3)))
    for epoch, seed, expected in (
        (0, 0, first),
        (0, 1, first),
        (1, 1, first),
        (2, 1, second),
        (3, 2, second),
    ):
        loss.epoch = epoch
        given = vectors(seed)
        found = loss.from_embeddings(*given, user_ids=ids)
        torch.testing.assert_close(found, loss_by(expected, *given))
    found = loss.from_embeddings(*vectors(2), user_ids=torch.tensor([0, 7, 1, 8, 9]))  # some are new
    mixed = torch.stack([second[0], third[1], second[1], third[3], third[4]])
    torch.testing.assert_close(found, loss_by(mixed, *vectors(2)))


def test_what_another_training_kept_in_a_later_epoch_is_not_for_this_one():
    loss, ids = build(refresh_epochs=20), torch.arange(5)
    loss.epoch = 7
    loss.from_embeddings(*vectors(0), user_ids=ids)
    loss.epoch = 0  # of a new training with the same, or a loaded, model
    users, positives, candidates = vectors(1)
    found = loss.from_embeddings(users, positives, candidates, user_ids=ids)
    torch.testing.assert_close(found, loss_by(threshold(users, candidates), users, positives, candidates))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
@pytest.mark.parametrize("ids", [[5, 1, 2, 3, 4], [0, 1, 0, 3, 4]])
def test_ids_may_be_of_any_integer_type(ids, dtype):
    found = []
    for given in (torch.tensor(ids), torch.tensor(ids, dtype=dtype)):
        loss = build()
        loss.from_embeddings(*vectors(0), user_ids=given)
        found.append(loss.from_embeddings(*vectors(1), user_ids=given))
    assert torch.equal(*found)


def evaluating(loss):
    loss.eval()
    return contextlib.nullcontext()


@pytest.mark.parametrize(
    "no_training", [evaluating, lambda _: torch.no_grad(), lambda _: torch.inference_mode()]
)
def test_a_validation_changes_nothing(no_training):
    """Not of users that training has seen, which have their thresholds, and not of others."""
    loss, ids, (first, again) = build(), torch.arange(5), map(vectors, range(2))
    own = loss_by(threshold(again[0], again[2]), *again)
    with no_training(loss):
        torch.testing.assert_close(loss.from_embeddings(*again, user_ids=ids), own)
    loss.train()
    loss.from_embeddings(*first, user_ids=ids)
    before = copy.deepcopy(loss.training_state())
    loss.epoch = 7
    with no_training(loss):
        found = loss.from_embeddings(*again, user_ids=ids + 2)
        expected = threshold(again[0], again[2])
        expected[:3] = threshold(first[0], first[2])[2:]
        torch.testing.assert_close(found, loss_by(expected, *again))
        loss.epoch = -1  # what was kept in a later epoch is of another training
        torch.testing.assert_close(loss.from_embeddings(*again, user_ids=ids), own)
    after = loss.training_state()["user_thresholds"]
    assert all(torch.equal(value, after[name]) for name, value in before["user_thresholds"].items())
    loss.train()
    loss.epoch = 7
    torch.testing.assert_close(loss.from_embeddings(*again, user_ids=ids), own)  # due since long


def test_ids_that_are_hashes_are_refused():
    ids = torch.tensor([1, 2, 3, 4, 10**12])
    with pytest.raises(ValueError, match=r"^user_ids holds 1,000,000,000,000, .*number the users from 0 on"):
        build().from_embeddings(*vectors(0), user_ids=ids)
    with torch.no_grad():
        assert build().from_embeddings(*vectors(0), user_ids=ids).isfinite().all()


def test_of_several_rows_of_a_user_the_mean_is_kept():
    loss, given = build(), vectors(0)
    each = threshold(given[0], given[2])
    found = loss.from_embeddings(*given, user_ids=torch.tensor([3, 1, 3, 1, 0]))
    kept = torch.stack([each[[0, 2]].mean(), each[[1, 3]].mean()])
    torch.testing.assert_close(found, loss_by(torch.cat([kept, kept, each[4:]]), *given))


def test_rows_of_which_nothing_counts_keep_nothing():
    loss, given = build(), vectors(0)
    nothing = torch.arange(1, 13).expand(5, 12) * (torch.arange(5) != 2).unsqueeze(1)
    loss.from_embeddings(*given, candidate_ids=nothing, user_ids=torch.arange(5))
    found = loss.from_embeddings(*vectors(1), user_ids=torch.arange(5))
    expected = threshold(given[0], given[2])
    expected[2] = threshold(vectors(1)[0], vectors(1)[2])[2]
    torch.testing.assert_close(found, loss_by(expected, *vectors(1)))


def test_positions_have_the_threshold_of_their_user():
    users, positives, candidates = vectors(0)
    one, several = build(), build()
    rows = one.from_embeddings(users, positives, candidates, user_ids=torch.tensor([4, 4, 2, 2, 9]))
    found = several.from_embeddings(
        users[:4].view(2, 2, 4), positives[:4].view(2, 2, 4), candidates, user_ids=torch.tensor([4, 2])
    )
    torch.testing.assert_close(found.flatten(), rows[:4])


def test_the_temperature_that_is_learned_leaves_the_threshold_alone():
    loss, constant = build(learnable_temperature=True).double(), build(refresh_epochs=None)
    loss.raw_temperature.data.fill_(0.2)
    constant.temperature.mul_(10 ** torch.tensor(0.2).double().tanh())
    for seed in (0, 1):
        found = loss.from_embeddings(*vectors(seed), user_ids=torch.arange(5) + 5 * seed)
        torch.testing.assert_close(found, constant.from_embeddings(*vectors(seed)))


def test_the_state_goes_on_exactly_and_is_nothing_to_another_loss():
    loss = build()
    loss.from_embeddings(*vectors(0), user_ids=torch.arange(5))
    state = copy.deepcopy(loss.training_state())
    loss.epoch = 1
    expected = loss.from_embeddings(*vectors(1), user_ids=torch.arange(5))
    again = build()
    again.epoch = 1
    again.load_training_state(state)
    assert torch.equal(again.from_embeddings(*vectors(1), user_ids=torch.arange(5)), expected)
    for other in (build(refresh_epochs=None), CROLoss()):
        other.load_training_state(state)
        assert other.training_state() == {}
    again.load_training_state({})
    assert torch.equal(again.from_embeddings(*vectors(1), user_ids=torch.arange(5)), expected)


def trained_on_parts(rank, world_size):
    """Train on rows of a batch, of which processes have other numbers; a user's rows lie on several."""
    loss = build()
    rows = slice(0, 3) if rank == 0 else slice(3, 5)
    found = []
    for epoch in (0, 1, 2):
        loss.epoch = epoch
        users, positives, candidates = vectors(epoch)
        ids = torch.tensor([0, 1, 2, 2, 7])[rows]
        found.append(loss.from_embeddings(users[rows], positives[rows], candidates, user_ids=ids))
    return found, loss.training_state()


def test_several_processes_keep_the_same():
    one, other = run_distributed(trained_on_parts, 2)
    alone = build()
    for epoch in (0, 1, 2):
        alone.epoch = epoch
        expected = alone.from_embeddings(*vectors(epoch), user_ids=torch.tensor([0, 1, 2, 2, 7]))
        torch.testing.assert_close(torch.cat([one[0][epoch], other[0][epoch]]), expected)
    for name, value in alone.training_state()["user_thresholds"].items():
        torch.testing.assert_close(one[1]["user_thresholds"][name], value)
        assert torch.equal(one[1]["user_thresholds"][name], other[1]["user_thresholds"][name])


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"values": torch.zeros(3)},
        {"values": torch.zeros(3), "epochs": torch.zeros(2).long()},
        {"values": [0.0], "epochs": [0]},
    ],
)
def test_a_damaged_state_is_refused(state):
    with pytest.raises(ValueError, match="thresholds of its loss are none"):
        UserThresholds().load_state_dict(state)


def test_users_must_be_told():
    given = vectors(0)
    with pytest.raises(ValueError, match="needs to know the users: give from_embeddings user_ids"):
        build().from_embeddings(*given)
    with pytest.raises(ValueError, match=r"user_ids must be \(5,\), one for each user, got \(4,\)"):
        build().from_embeddings(*given, user_ids=torch.arange(4))
    with pytest.raises(ValueError, match="user_ids must be from 0 on, got -1"):
        build().from_embeddings(*given, user_ids=torch.arange(5) - 1)
    with pytest.raises(ValueError, match="refresh_epochs must be at least 1, got 0"):
        SLAtKLoss(refresh_epochs=0)


@pytest.mark.parametrize("model", [YouTubeDNN, SASRec])
def test_a_model_gives_them_and_its_checkpoint_keeps_them(model):
    def make(loss):
        return model(num_items=12, embedding_dim=4, ns=(5,), loss=loss, negatives=UniformNegatives(4))

    kept = make(SLAtKLoss(k=3, refresh_epochs=2))
    kept.negatives.prepare(torch.arange(13) + 1, torch.arange(13) + 1)
    kept.loss_of(batch_of_users()).backward()
    state = kept.loss.training_state()["user_thresholds"]
    assert (state["epochs"] == torch.tensor([-1, 0, 0, 0, 0, 0])).all()
    checkpoint = {
        "state_dict": kept.state_dict(),
        "hyper_parameters": dict(kept.hparams),
        "global_step": 1,
        "epoch": 0,
    }
    kept.on_save_checkpoint(checkpoint)
    again = make(SLAtKLoss(k=3, refresh_epochs=2))
    again.on_load_checkpoint(checkpoint)
    assert torch.equal(again.loss.training_state()["user_thresholds"]["values"], state["values"])
    make(CROLoss()).on_load_checkpoint(checkpoint)
    plain = {**checkpoint}
    make(CROLoss()).on_save_checkpoint(plain)
    again.on_load_checkpoint(plain)
