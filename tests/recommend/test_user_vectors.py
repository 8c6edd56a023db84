"""Users encoded in groups of similar length are the same users, in the same order."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lightning_croloss import RetrievalModel
from lightning_croloss.data import Interactions, RetrievalBatch
from lightning_croloss.data.batch import GivenFeatures
from lightning_croloss.recommend import user_vectors as module
from lightning_croloss.recommend.user_vectors import groups_by_width, user_vectors, widths_of
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model
from tests.models.sequences import MODELS, small_sequence_model
from tests.registries import concrete
from tests.test_grid import build


@pytest.fixture
def groups_of_one_width(monkeypatch):
    free_groups(monkeypatch)
    monkeypatch.setattr(module, "LEAST_SAVED", -1.0)  # always


def free_groups(monkeypatch):
    monkeypatch.setattr(module, "ROWS_BESIDES", 0)
    monkeypatch.setattr(module, "POSITIONS_BESIDES", 0)


def cost_of(parts):
    """What groups of (rows, width) cost."""
    return sum((rows + module.ROWS_BESIDES) * width + module.POSITIONS_BESIDES for rows, width in parts)


def every_division(widths):
    """All divisions of ascending widths into groups in this order, as (rows, width)."""
    for cuts in itertools.product([False, True], repeat=len(widths) - 1):
        ends = [number + 1 for number, cut in enumerate(cuts) if cut] + [len(widths)]
        yield [(end - begin, widths[end - 1]) for begin, end in itertools.pairwise([0, *ends])]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, 5, 17, 30, 50]), min_size=1, max_size=8), st.integers(1, 40))
def test_groups_are_those_that_cost_least(widths, times):
    many = torch.tensor(widths).repeat_interleave(times)
    groups = groups_by_width(many, 50)
    each = sorted(max(1, width) for width in widths)
    least = min(cost_of([(rows * times, width) for rows, width in parts]) for parts in every_division(each))
    whole = cost_of([(len(many), 50)])
    assert (groups is None) == (least > (1 - module.LEAST_SAVED) * whole)
    if groups is None:
        return
    assert sorted(torch.cat([rows for rows, _ in groups]).tolist()) == list(range(len(many)))
    assert [width for _, width in groups] == [max(1, int(many[rows].max())) for rows, _ in groups]
    assert cost_of([(len(rows), width) for rows, width in groups]) == least


@pytest.mark.parametrize("name", ["ROWS_BESIDES", "POSITIONS_BESIDES"])
def test_what_a_group_costs_makes_groups_fewer(name, monkeypatch):
    widths = torch.arange(200) // 4 + 1
    before = groups_by_width(widths, 50)
    monkeypatch.setattr(module, name, 4 * getattr(module, name))
    monkeypatch.setattr(module, "LEAST_SAVED", -1.0)
    assert 1 <= len(groups_by_width(widths, 50)) < len(before)


def test_a_width_reaches_back_to_the_first_event():
    history = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 2, 0], [3, 0, 0], [4, 5, 6]])
    assert widths_of(history != 0).tolist() == [0, 1, 2, 3, 3]


@pytest.mark.usefixtures("groups_of_one_width")
@pytest.mark.parametrize("cls", concrete(RetrievalModel), ids=lambda cls: cls.__name__)
def test_they_equal_those_of_the_whole_batch(cls):
    torch.manual_seed(0)
    model = build(cls, num_items=12, embedding_dim=4).double().eval()
    lengths = torch.tensor([0, 8, 2, 1, 3, 8, 5, 0, 7, 1, 2])
    history = torch.randint(1, 13, (11, 8)) * (torch.arange(8, 0, -1) <= lengths.unsqueeze(1))
    batch = RetrievalBatch(history, history[:, :1], users=torch.arange(11) % 6)
    torch.testing.assert_close(user_vectors(model, batch), model.encode_users(batch))


@pytest.mark.usefixtures("groups_of_one_width")
def test_the_model_sees_narrow_histories():
    model, seen = small_model(), []
    encode = model.encode_users
    model.encode_users = lambda batch: seen.append(tuple(batch.history.shape)) or encode(batch)
    history = torch.tensor([[7] * 9] * 3 + [[0] * 7 + [5, 5]] * 5)
    expected = encode(RetrievalBatch(history, history[:, :1], torch.ones(8, dtype=torch.long)))
    batch = RetrievalBatch(history, history[:, :1], torch.ones(8, dtype=torch.long))
    torch.testing.assert_close(user_vectors(model, batch), expected)
    assert seen == [(5, 2), (3, 9)]


def test_every_field_of_a_batch_is_selected():
    ids = torch.arange(1, 13).reshape(4, 3)
    given_features = GivenFeatures([ids, ids + 1], ids[:, 0] > 3)
    batch = RetrievalBatch(ids, ids, ids[:, 0], ids[:, 0] / 2, ids, ids, ids[:, 1], given_features)
    rows = torch.tensor([2, 0])
    found = batch.select(rows)
    for field in dataclasses.fields(batch):
        value = getattr(found, field.name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(batch, field.name)[rows])
    assert torch.equal(found.user_features.values[1], ids[rows] + 1)
    assert found.user_features.given.tolist() == [True, False]
    assert batch.last_events(2).history.tolist() == ids[:, 1:].tolist()


class Varied(ClusteredData):
    """Users of 3 to 8 events, those of many among those of few."""

    def load(self):
        data = super().load()
        kept = torch.arange(len(data)) % 8 < 3 + (5 * data.users) % 6
        return Interactions.from_ids(
            data.users[kept].numpy(), data.items[kept].numpy(), data.user_vocabulary, data.item_vocabulary
        )


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
def test_metrics_and_the_order_of_predictions_stay(cls, monkeypatch):
    model, data = small_sequence_model(cls, exclude_history=True), Varied(eval_batch_size=30, max_history=8)
    fit(model, data)
    histories = [row[row != 0].tolist() for batch in data.predict_dataloader() for row in batch.history]
    outcomes = []
    for least in (2.0, -1.0):  # never, always
        free_groups(monkeypatch)
        monkeypatch.setattr(module, "LEAST_SAVED", least)
        trainer = quiet_trainer()
        metrics = [trainer.validate(model, data, verbose=False), trainer.test(model, data, verbose=False)]
        predicted = trainer.predict(model, data)
        lists = model.recommend(histories, 10, exclude_history=True)
        outcomes.append((metrics, *(torch.cat(part) for part in zip(*predicted, strict=True)), *lists))
    (one, *plain), (other, *grouped) = outcomes
    for before, after in zip(one, other, strict=True):
        assert before[0] == pytest.approx(after[0], rel=1e-6)
    ids, scores, listed, _ = plain
    assert np.array_equal(ids[:, :10].numpy(), listed.numpy())
    for before, after in zip(plain, grouped, strict=True):
        torch.testing.assert_close(before, after)
    assert functional.relu(scores).any()
