"""No model makes anything of padding: a trimmed batch trains and serves as a wide one."""

import inspect

import pytest
import torch
from torch.nn import functional

from lightning_croloss import FullCatalogNegatives, RetrievalModel, SequenceModel, SoftmaxLoss
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.models.sequence_model import TRAIN_ON
from lightning_croloss.recommend import user_vectors as module
from tests.models.cases import FEATURES
from tests.registries import concrete

NUM_ITEMS, NUM_USERS, PADDING = 40, 60, 3
CASES = [
    (cls, train_on)
    for cls in concrete(RetrievalModel)
    for train_on in (TRAIN_ON if issubclass(cls, SequenceModel) else (None,))
    if not (train_on == "all" and cls.sees_later_events)
]


def build(cls, train_on):
    """Return the model in double precision, without anything drawn, with all features that it takes."""
    torch.manual_seed(0)
    taken = {name for base in cls.__mro__ for name in inspect.signature(base.__init__).parameters}
    wanted = {
        **FEATURES,
        "train_on": train_on,
        "id_dropout": 0.0,
        "dropout": 0.0,
        "message_dropout": 0.0,
        "routing_init": "fixed",
        "max_length": 20,
        "num_positions": 4,
    }
    arguments = {name: value for name, value in wanted.items() if name in taken and value is not None}
    model = cls(
        num_items=NUM_ITEMS,
        embedding_dim=8,
        loss=SoftmaxLoss(0.3),
        negatives=FullCatalogNegatives(exclude_known_positives=True),
        **arguments,
    )
    return model.double()


def batch_of(train_on, padding):
    """Return a batch of histories of up to 6 events, one of them empty, with so many columns of padding."""
    generator = torch.Generator().manual_seed(1)
    history = torch.randint(1, NUM_ITEMS + 1, (5, 6), generator=generator)
    for row, length in enumerate((6, 4, 1, 0, 5)):
        history[row, : 6 - length] = 0
    known = torch.randint(1, NUM_ITEMS + 1, (5, 4), generator=generator)
    if train_on == "all":
        targets = torch.randint(1, NUM_ITEMS + 1, (5, 6), generator=generator) * (history > 0)
        targets[1, 1] = 7  # the first event of a user, before which there is none
        targets[0, 2] = 0
        weight = torch.rand(5, 6, generator=generator)
        targets, weight = (functional.pad(each, (padding, 0)) for each in (targets, weight))
    else:
        targets = torch.randint(1, NUM_ITEMS + 1, (5, 1), generator=generator)
        weight = torch.rand(5, generator=generator)
    return RetrievalBatch(
        functional.pad(history, (padding, 0)), targets, torch.arange(1, 6), weight.double(), known
    )


@pytest.mark.parametrize(("cls", "train_on"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_users_loss_and_gradients_are_those_of_a_wide_batch(cls, train_on):
    model, found = build(cls, train_on), []
    for padding in (0, PADDING):
        batch = batch_of(train_on, padding)
        users, flat = model.training_users(batch)
        loss = model.loss_of(batch)
        used = [value for value in model.parameters() if value.requires_grad]
        gradients = torch.autograd.grad(loss, used, allow_unused=True)
        model.eval()
        found.append((users, flat.first_targets, model.encode_users(batch), loss, gradients))
        model.train()
    (*trimmed, few), (*wide, many) = found
    for one, other in zip(trimmed, wide, strict=True):
        torch.testing.assert_close(one, other)
    assert any(one is not None and bool(one.any()) for one in few)
    for one, other in zip(few, many, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("cls", "train_on"),
    [case for case in CASES if case[1] is not None],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_training_in_groups_of_similar_length_is_that_of_the_whole_batch(cls, train_on, monkeypatch):
    found = []
    for least in (2.0, -1.0):  # never, always
        monkeypatch.setattr(module, "LEAST_SAVED", least)
        monkeypatch.setattr(module, "ROWS_BESIDES", 0)
        monkeypatch.setattr(module, "POSITIONS_BESIDES", 0)
        model, seen = build(cls, train_on), []
        states = model.event_states
        model.event_states = lambda *args, s=states, n=seen: n.append(args[0].shape[1]) or s(*args)
        batch = batch_of(train_on, PADDING)
        users, flat = model.training_users(batch)
        widths = [1, 4, 5, 6] if train_on == "last" else [1, 5, 6]
        assert seen == ([9] if least > 1 else widths)
        loss = model.loss_of(batch)
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        found.append(
            (users, flat.first_targets, flat.users, flat.sample_weight, flat.history, loss, gradients)
        )
    (*whole, one), (*grouped, other) = found
    for before, after in zip([*whole, *one], [*grouped, *other], strict=True):
        torch.testing.assert_close(after, before)


def test_there_are_models_of_each_kind():
    assert len(CASES) >= 10
    assert {train_on for _, train_on in CASES} == {None, "last", "all"}
