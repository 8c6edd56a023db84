"""BERT4Rec: its attention by plain loops, its masks, what a mask may see, and every argument."""

import functools
import itertools
import math
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import BERT4Rec, FullCatalogNegatives, InBatchNegatives, SoftmaxLoss, UniformNegatives
from lightning_croloss.data import DataRequest, RetrievalBatch
from tests.data_for_tests import ClusteredData, EventData, fit, quiet_trainer
from tests.models.cases import (
    FOR_HISTORY,
    ArgumentTests,
    Outcomes,
    check_exact_resume,
    reloaded,
)
from tests.models.naive_attention import naive_attention
from tests.models.sequences import batch_of


def small_model(**arguments):
    torch.manual_seed(0)
    defaults = {"num_items": 40, "embedding_dim": 8, "negatives": UniformNegatives(30), "ns": (5, 10, 20)}
    return BERT4Rec(**{**defaults, "feedforward_dim": 16, "max_length": 20, **arguments})


def windows(**arguments):
    """Return the batches of an epoch, as a fit gets them."""
    data = ClusteredData(batch_size=8, **arguments)
    data.prepare_for(DataRequest(all_positions=True, first_events=True))
    return data, list(data.train_dataloader())


class TestArguments(ArgumentTests):
    outcome = Outcomes(BERT4Rec, feedforward_dim=16, max_length=10)
    cases: ClassVar = {
        **FOR_HISTORY,
        "num_blocks": ({}, 1),
        "num_heads": ({}, 4),
        "feedforward_dim": ({}, 12),
        "dropout": ({}, 0.5),
        "mask_probability": ({}, 0.9),
        "mask_last_probability": ({}, 0.9),
        "random_ends": ({}, True),
        "max_length": ({"max_length": 5}, 6),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"num_heads": 3}, "num_heads=3 must divide embedding_dim=8"),
        ({"feedforward_dim": 0}, "feedforward_dim must be at least 1, got 0"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"mask_probability": -0.1}, "mask_probability must be at least 0 and below 1, got -0.1"),
        ({"mask_last_probability": 1.0}, "mask_last_probability must be at least 0 and below 1, got 1.0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


def naive_block(block, events):
    """One block on a list of events, attention to all of them."""
    attended = naive_attention(block, [block.attention_norm(event) for event in events], causal=False)
    outputs = [event + added for event, added in zip(events, attended, strict=True)]
    hidden = [block.feedforward_input(block.feedforward_norm(event)) for event in outputs]
    hidden = [h * (1 + torch.erf(h / math.sqrt(2))) / 2 for h in hidden]
    return [event + block.feedforward_output(h) for event, h in zip(outputs, hidden, strict=True)]


def naive_outputs(model, items):
    """The vectors at each of the items, of which None is a mask."""
    events = [
        (model.mask_embedding if item is None else model.item_embedding.weight[item] * 8**0.5)
        + model.position_embedding.weight[len(items) - 1 - position]
        for position, item in enumerate(items)
    ]
    for block in model.blocks:
        events = naive_block(block, events)
    found = torch.stack([model.output_map(model.output_norm(event)) for event in events])
    return model.vector_norm(found * (1 + torch.erf(found / math.sqrt(2))) / 2)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_user_is_the_output_at_a_mask_behind_the_history(similarity):
    model = small_model(similarity=similarity).eval()
    expected = naive_outputs(model, [7, 3, 9, 3, None])[-1]
    if similarity == "cosine":
        expected = functional.normalize(expected, dim=-1)
    found = model.encode_users(batch_of([0, 0, 7, 3, 9, 3]))
    assert found.shape == (1, 1, 8)
    torch.testing.assert_close(found[0, 0], expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_masked_item_is_told_from_what_is_left_on_both_sides(seed):
    model = small_model(similarity="dot", dropout=0.0, mask_probability=0.5)
    window = [5, 6, 7, 8, 9, 11]
    batch = batch_of([0, 0, *window[:-1]], targets=[[0, 0, *window[1:]]])
    torch.manual_seed(seed)
    users, flat = model.training_users(batch)
    masked = flat.targets[:, 0].tolist()
    assert 0 < len(masked) < 6
    items = [None if item in masked else item for item in window]
    expected = naive_outputs(model, items)[[items_index for items_index, i in enumerate(items) if i is None]]
    torch.testing.assert_close(users[:, 0], expected)
    assert flat.history[:, 0].tolist() == [window[window.index(item) - 1] for item in masked]
    assert flat.users.tolist() == [1] * len(masked)


def test_nothing_of_a_masked_item_is_seen():
    model = small_model(mask_probability=0.5, dropout=0.0)
    one = batch_of([0, 1, 2, 3, 4, 5], targets=[[1, 2, 3, 4, 5, 6]])
    torch.manual_seed(3)
    users, flat = model.training_users(one)
    masked = flat.targets[:, 0]
    history, targets = (ids.where(~torch.isin(ids, masked), 40) for ids in (one.history, one.targets))
    torch.manual_seed(3)
    again, flat = model.training_users(RetrievalBatch(history, targets, one.users))
    assert flat.targets[:, 0].tolist() == [40] * len(masked)
    assert torch.equal(users, again)


def test_only_targets_of_training_are_masked():
    """Whatever the probability: held-out events and those between windows are never told."""
    model = small_model(mask_probability=0.9, mask_last_probability=0.0)
    batch = batch_of([1, 2, 3, 4, 5], targets=[[2, 0, 4, 0, 6]])
    told = Counter()
    for _ in range(200):
        told.update(model.training_users(batch)[1].targets[:, 0].tolist())
    assert told.keys() == {2, 4, 6}
    assert all(count / 200 == pytest.approx(0.9, abs=0.1) for count in told.values())


def test_each_row_has_a_mask_and_some_the_last_alone():
    targets = torch.tensor([[0, 0, 3, 4, 5], [1, 2, 3, 4, 0]] * 500) != 0
    last = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 1, 0]] * 500).bool()
    assert torch.equal(small_model(mask_probability=0.0)._choose(targets)[0], last)
    chosen, left = small_model(mask_probability=0.6, mask_last_probability=0.25)._choose(targets)
    assert bool(left.all())
    assert bool(chosen.any(1).all())
    assert not bool((chosen & ~targets).any())
    alone = float((chosen == last).all(1).double().mean())
    assert alone == pytest.approx(0.25 + 0.75 * (0.6 * (0.4**2 + 0.4**3) + 0.4**3 + 0.4**4) / 2, abs=0.04)


def test_rows_may_end_with_any_of_their_targets():
    targets = torch.tensor([[0, 0, 3, 4, 5], [1, 2, 3, 4, 0]] * 1000) != 0
    columns = torch.arange(5)
    chosen, left = small_model(random_ends=True, mask_probability=0.0)._choose(targets)
    assert bool((chosen.sum(1) == 1).all())
    assert not bool((chosen & ~targets).any())
    assert torch.equal(left, columns <= chosen.int().argmax(1, keepdim=True))
    counts = torch.stack([chosen[0::2].sum(0), chosen[1::2].sum(0)]) / 1000
    expected = torch.tensor([[0, 0, 1 / 3, 1 / 3, 1 / 3], [1 / 4, 1 / 4, 1 / 4, 1 / 4, 0]])
    torch.testing.assert_close(counts, expected, atol=0.06, rtol=0)
    model = small_model(random_ends=True, mask_probability=0.9, mask_last_probability=0.25)
    chosen, left = model._choose(targets)
    assert bool(chosen.any(1).all())
    ended = ~left.all(1)
    assert bool((chosen[ended].sum(1) == 1).all())
    # of the rows that end with a drawn target, 2 of 3 and all end before their last column
    assert float(ended.double().mean()) == pytest.approx(0.25 * (2 / 3 + 1) / 2, abs=0.04)


def naive_masked(number, probability, last_probability, random_ends):
    """How often each of a row's targets is masked, over all that may be drawn."""
    found = [0.0] * number
    for chosen in itertools.product((False, True), repeat=number):
        likely = math.prod(probability if each else 1 - probability for each in chosen)
        for alone, weight in ((True, last_probability), (False, 1 - last_probability)):
            for position in range(number):
                if alone or not any(chosen):
                    share = 1 / number if random_ends else float(position == number - 1)
                else:
                    share = float(chosen[position])
                found[position] += weight * likely * share
    return found


@pytest.mark.parametrize("random_ends", [False, True])
@pytest.mark.parametrize(("probability", "last"), [(0.3, 0.1), (0.0, 0.5), (0.9, 0.9)])
def test_samplers_are_told_how_often_an_item_is_masked(probability, last, random_ends):
    model = small_model(
        negatives=InBatchNegatives(),
        mask_probability=probability,
        mask_last_probability=last,
        random_ends=random_ends,
    )
    data, batches = windows(max_history=5)
    expected = torch.zeros(41, dtype=torch.float64)
    for batch in batches:
        for row in batch.targets:
            items = row[row != 0]
            expected[items] += torch.tensor(
                naive_masked(len(items), probability, last, random_ends), dtype=torch.float64
            )
    torch.testing.assert_close(model.target_counts(data), expected)
    fit(model, ClusteredData(batch_size=8, max_history=5), limit_train_batches=1)
    share = (expected[1:] / expected.sum()).float()
    torch.testing.assert_close(model.negatives.log_prob(torch.arange(1, 41)).exp(), share)


def with_event_features(**arguments):
    """A model that reads features of events, trained for a step, and windows of its data."""
    data = EventData(batch_size=8)
    model = small_model(event_features=data.event_feature_specs, **arguments)
    fit(model, data, limit_train_batches=1)
    data.prepare_for(DataRequest(all_positions=True, first_events=True, events=model.metadata.events))
    return model.train(), next(iter(data.train_dataloader()))


def test_an_event_behind_a_masked_one_has_the_last_that_is_told_before_it():
    """As at inference every event but the first has one; nothing is told of the time of what is masked."""
    model, batch = with_event_features(mask_probability=0.5, mask_last_probability=0.0)
    asked, chosen = [], []
    model.event_feature_embedding.register_forward_pre_hook(lambda module, given: asked.append(given))
    choose = model._choose
    model._choose = lambda targets: chosen.append(choose(targets)) or chosen[0]
    model.training_users(batch)
    ((events, real),), ((masked, _),) = asked, chosen
    behind = 0
    for row, history in enumerate(batch.history.tolist()):
        hidden = [False, *masked[row].tolist()]
        for position, item in enumerate(history):
            told = [i for i in range(position) if history[i] and not hidden[i]]
            if not item or hidden[position]:
                continue
            assert real[row, position]
            assert events.times[row, position] == batch.events.times[row, position]
            has_before = position > 0 and bool(real[row, position - 1])
            assert has_before == bool(told)
            if told:
                assert events.times[row, position - 1] == batch.events.times[row, told[-1]]
                behind += told[-1] < position - 1
    assert behind > 0


def test_a_last_event_without_features_is_told_or_not_there():
    model, batch = with_event_features(mask_probability=0.5, mask_last_probability=0.0, dropout=0.0)
    other = replace(batch, targets=batch.targets.clone())
    other.targets[:, -1] = other.targets[:, -1] % 40 + 1
    found = []
    for each in (batch, other):
        torch.manual_seed(2)
        users, flat = model.training_users(each)
        found.append((users, flat.targets))
    assert 0 < int((found[0][1] != found[1][1]).sum()) < len(batch.targets)  # some are told
    assert torch.equal(found[0][0], found[1][0])


def test_windows_of_more_than_it_reads_and_of_several_targets_are_refused():
    model = small_model(max_length=3)
    with pytest.raises(ValueError, match=r"reads the last max_length=3 events, .* on windows of 4"):
        model.training_users(batch_of([1, 2, 3, 4], targets=[[2, 3, 4, 5]]))
    several = torch.tensor([[[2, 3], [3, 4], [4, 5]]])
    with pytest.raises(ValueError, match=r"one target at each position, .* got \(1, 3, 2\): set"):
        model.training_users(batch_of([1, 2, 3], targets=several))
    long, short = batch_of([1, 2, 3, 4], targets=[[5]]), batch_of([2, 3, 4], targets=[[5]])
    model.eval()
    assert torch.equal(model.training_users(long)[0], model.training_users(short)[0])


def test_what_is_behind_the_end_of_a_row_is_not_seen():
    model = small_model(similarity="dot", dropout=0.0, mask_probability=0.0, random_ends=True)
    window = [5, 6, 7, 8, 9, 11]
    batch = batch_of([0, 0, *window[:-1]], targets=[[0, 0, *window[1:]]])
    told = set()
    for seed in range(20):
        torch.manual_seed(seed)
        users, flat = model.training_users(batch)
        ((target,),) = flat.targets.tolist()
        told.add(target)
        earlier = window[: window.index(target)]
        torch.testing.assert_close(users, model.eval().encode_users(batch_of(earlier)))
        assert flat.history.tolist() == [earlier[-1:]]
        model.train()
    assert told == set(window[1:])


@pytest.mark.parametrize("max_history", [1, 3, 9])
def test_the_targets_of_an_epoch_are_all_events_of_training(max_history):
    data, batches = windows(max_history=max_history)
    seen = Counter()
    for batch in batches:
        rows, positions = batch.targets.nonzero(as_tuple=True)
        seen.update(zip(batch.users[rows].tolist(), batch.targets[rows, positions].tolist(), strict=True))
    events = data.rows.training_events
    items, users = data.interactions.items[events].tolist(), data.interactions.users[events].tolist()
    assert seen == Counter(zip(users, items, strict=True))


def test_padding_changes_nothing():
    model = small_model().eval()
    short = model.encode_users(batch_of([5, 6, 7, 8, 9]))
    torch.testing.assert_close(model.encode_users(batch_of([0, 0, 0, 5, 6, 7, 8, 9])), short)
    torch.testing.assert_close(model.encode_users(batch_of([0, 5, 6, 0, 0, 7, 8, 0, 9, 0])), short)


def test_the_order_of_events_matters():
    users = small_model().eval().encode_users(batch_of([1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 4, 3]))[:, 0]
    assert bool(((users[:1] - users[1:]).norm(dim=1) > 1e-3).all())


def test_a_dropped_event_is_not_seen_and_every_mask_stays():
    model = small_model(history_dropout=0.5, dropout=0.0, mask_probability=0.0).train()
    batch = batch_of([1, 2, 3, 4, 5, 6], targets=[[2, 3, 4, 5, 6, 7]])
    torch.nn.init.zeros_(model.position_embedding.weight)  # in which dropped events leave gaps
    for seed in range(4):
        torch.manual_seed(seed)
        torch.rand(1, 6), torch.rand(1, 1)  # which are masked
        dropped = (torch.rand(1, 7) < 0.5)[0, :6]
        assert not bool(dropped.all())
        torch.manual_seed(seed)
        users, flat = model.training_users(batch)
        assert flat.targets.tolist() == [[7]]
        expected = model.eval().encode_users(batch_of(batch.history[0, ~dropped].tolist()))
        torch.testing.assert_close(users, expected)
        model.train()


def test_a_single_target_is_masked_behind_its_history():
    model = small_model(similarity="dot", dropout=0.0)
    batch = batch_of([0, 1, 2, 3], [4, 5, 6, 7], targets=[[9], [8]])
    batch.sample_weight = torch.tensor([1.0, 3.0])
    users, flat = model.training_users(batch)
    assert flat.targets.tolist() == [[9], [8]]
    assert flat.sample_weight.tolist() == [1.0, 3.0]
    torch.testing.assert_close(users, model.eval().encode_users(batch))


def test_windows_of_one_target_have_one_weight_each():
    model = small_model()
    batch = batch_of([1], [2], targets=[[3], [4]])
    batch.sample_weight = torch.tensor([[1.0], [3.0]])
    assert model.training_users(batch)[1].sample_weight.tolist() == [1.0, 3.0]


def test_other_targets_are_refused():
    message = r"BERT4Rec needs targets of the shape \(1, 3\) of the history, got \(1, 2\)"
    with pytest.raises(ValueError, match=message):
        small_model().loss_of(batch_of([1, 2, 3], targets=[[1, 2]]))


def test_an_empty_history_has_finite_vectors_and_gradients():
    model = small_model(history_dropout=0.5)
    batch = batch_of([0, 0, 0], [0, 0, 4], targets=[[0, 0, 3], [0, 5, 6]])
    loss = model.loss_of(batch)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(bool(torch.isfinite(value.grad).all()) for value in model.parameters())
    assert bool(model.mask_embedding.grad.any())
    ids, scores = model.recommend([[], [1, 2]], 5)
    assert bool((ids > 0).all())
    assert bool(torch.isfinite(scores).all())
    assert model.recommend([], 5)[0].shape == (0, 5)


def test_the_mask_is_no_item():
    model = small_model()
    assert model.encode_items(None).shape == (40, 8)
    ids = model.recommend([[1, 2]], 40, exclude_history=False)[0]
    assert sorted(ids[0].tolist()) == list(range(1, 41))


def test_histories_longer_than_the_positions():
    model = small_model(max_length=4)
    with pytest.raises(ValueError, match="max_length=4 is less than the data's max_history=5: raise the one"):
        quiet_trainer().validate(model, ClusteredData(), verbose=False)
    fit(small_model(max_length=5), limit_train_batches=1)
    long, short = model.recommend([[1, 2, 3, 4, 5]], 20, False), model.recommend([[2, 3, 4, 5]], 20, False)
    assert torch.equal(long[0], short[0])
    assert torch.equal(long[1], short[1])


@pytest.mark.parametrize(
    "negatives", [UniformNegatives(30, exclude_known_positives=True), InBatchNegatives()]
)
def test_samplers_see_the_masked_targets_one_by_one(negatives):
    trainer = fit(small_model(negatives=negatives), ClusteredData(batch_size=8), limit_train_batches=3)
    assert bool(torch.isfinite(trainer.callback_metrics["train/loss"]))


def test_softmax_over_the_catalogue_is_the_cross_entropy_of_the_paper():
    model = small_model(
        similarity="dot", loss=SoftmaxLoss(1.0), negatives=FullCatalogNegatives(), dropout=0.0
    )
    _, (batch, *_) = windows()
    torch.manual_seed(1)
    users, flat = model.training_users(batch)
    expected = functional.cross_entropy(users[:, 0] @ model.encode_items(None).T, flat.targets[:, 0] - 1)
    torch.manual_seed(1)
    torch.testing.assert_close(model.loss_of(batch), expected)


@pytest.mark.slow
def test_training_finds_the_items():
    fast = functools.partial(torch.optim.Adam, lr=0.01)
    model = small_model(optimizer=fast, embedding_dim=32, mask_probability=0.6)
    data = ClusteredData(batch_size=8, max_history=9)
    (before,) = quiet_trainer().validate(model, data, verbose=False)
    metrics = fit(model, data, max_epochs=30, check_val_every_n_epoch=30).callback_metrics
    assert before["val/recall@10"] < 0.5
    assert float(metrics["val/recall@10"]) > 0.7  # the ten items of the user's cluster


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    check_exact_resume(lambda: small_model(history_dropout=0.3, dropout=0.3), tmp_path)


def test_a_checkpoint_is_enough_to_recommend_alike(tmp_path):
    again = reloaded(small_model(), tmp_path, histories=[[1, 2, 3, 4, 5, 6, 7, 8], []], n=9)
    assert type(again) is BERT4Rec


@pytest.mark.slow
def test_the_encoder_compiles_to_one_graph():
    model = small_model().eval()
    history = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0]])

    def encode(history):
        return model.encode_users(RetrievalBatch(history, history[:, :1], history[:, 0]))

    torch.compiler.reset()
    compiled = torch.compile(encode, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(history), encode(history))
