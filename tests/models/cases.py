"""That every argument of an architecture has an effect: the tests, and the cases that all share."""

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from lightning_croloss import (
    CROLossCallback,
    FullCatalogNegatives,
    HistoryModel,
    RetrievalModel,
    SequenceModel,
    SoftmaxLoss,
)
from lightning_croloss.negatives import UniformNegatives
from tests.data_for_tests import EventData, FeaturedData, events_of, fit

SGD = functools.partial(torch.optim.SGD, lr=0.1)
STEP_LR = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1)

#: Features of the data that the models are trained on.
ITEM_FEATURES = {"item_features": FeaturedData().item_feature_specs}
FEATURES = {
    "num_users": FeaturedData().num_users,
    "user_features": FeaturedData().user_feature_specs,
    **ITEM_FEATURES,
}

EVENT_FEATURES = {"event_features": EventData().event_feature_specs}

#: For each argument of RetrievalModel the arguments to start from, and another value of it.
FOR_RETRIEVAL: dict[str, tuple[dict[str, Any], Any]] = {
    "num_items": ({}, 44),
    "embedding_dim": ({}, 10),
    "loss": ({}, SoftmaxLoss()),
    "negatives": ({}, UniformNegatives(30)),
    "similarity": ({}, "dot"),
    "ns": ({}, (1, 2)),
    "exclude_history": ({}, True),
    "optimizer": ({}, SGD),
    "lr_scheduler": ({}, STEP_LR),
    "lr_scheduler_interval": ({"lr_scheduler": STEP_LR}, "step"),
    "sparse_gradients": ({"negatives": UniformNegatives(5)}, True),
}
#: The same of HistoryModel.
FOR_HISTORY: dict[str, tuple[dict[str, Any], Any]] = {
    **FOR_RETRIEVAL,
    "item_features": (ITEM_FEATURES, ()),
    "history_dropout": ({}, 0.5),
    "embedding_dropout": ({}, 0.5),
    "id_dropout": (ITEM_FEATURES, 0.5),
    "use_item_id": (ITEM_FEATURES, False),
    "item_graph_weight": ({}, 0.5),
    "item_graph_window": ({"item_graph_weight": 0.5}, 1),
    "event_features": ({}, EVENT_FEATURES["event_features"]),
}
#: The same of SequenceModel.
FOR_SEQUENCES: dict[str, tuple[dict[str, Any], Any]] = {**FOR_HISTORY, "train_on": ({}, "all")}
#: Arguments that must not change any result.
WITHOUT_EFFECT = {"tile_elements": 100}


def arguments_of(*classes: type) -> set[str]:
    """Return the names of the arguments of the classes' constructors."""
    names = {name for cls in classes for name in inspect.signature(cls).parameters}
    return names - {"self", "kwargs"}


def arguments_with_bases(cls: type) -> set[str]:
    """Return the names of the arguments of an architecture and of the bases it passes ``kwargs`` to."""
    bases = (cls, SequenceModel, HistoryModel, RetrievalModel)
    return arguments_of(*(base for base in cls.__mro__ if base in bases))


class Outcomes:
    """What the training of an architecture comes to.

    Args:
        cls: the architecture.
        users: the two users that are recommended to; 0 is unknown.
        **defaults: its arguments, if not those of a small model; always the same weights.
    """

    def __init__(self, cls: type[RetrievalModel], users: tuple[int, int] = (1, 0), **defaults: Any) -> None:
        self.cls = cls
        self.users = torch.tensor(users)
        # the whole catalogue is not drawn: a change of the draws must not pass for a change of the model
        self.defaults = {
            "num_items": 40,
            "embedding_dim": 8,
            "negatives": FullCatalogNegatives(),
            "ns": (5, 10, 20),
            **defaults,
        }
        self._known: dict[str, dict[str, Any]] = {}

    def build(self, **arguments: Any) -> Any:
        """Build the model."""
        torch.manual_seed(0)
        return self.cls(**{**self.defaults, **arguments})

    def __call__(self, **arguments: Any) -> dict[str, Any]:
        """Train for two epochs; return the metrics and what the model makes of items and users."""
        model = self.build(**arguments)
        num_users = getattr(model, "num_users", 0) or 60
        data = EventData(num_items=model.num_items, num_users=num_users, seed=0)
        trainer = fit(model, data, max_epochs=2, limit_train_batches=3)
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name != "train/loss"}
        model.eval()
        histories = [[1, 2, 3, 4, 5, 6, 7, 8], [11]]
        ids, scores = model.recommend(histories, 9, users=self.users, **events_of(model, histories))
        return {"ids": ids, "scores": scores, "items": model.encode_items(None), **metrics}

    def of(self, start: dict[str, Any]) -> dict[str, Any]:
        """Return the outcome of the arguments from which a case starts, computed once."""
        key = repr(sorted(start.items()))
        if key not in self._known:
            self._known[key] = self(**start)
        return self._known[key]

    def changed_by(self, name: str, case: tuple[dict[str, Any], Any]) -> bool:
        """Tell whether another value of an argument changes the outcome."""
        start, value = case
        return not same(self(**{**start, name: value}), self.of(start))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two outcomes are equal."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class ArgumentTests:
    """The tests of an architecture's arguments; they run in each class that inherits them.

    Attributes:
        outcome: what the training of the architecture comes to.
        cases: for each argument of the constructor the arguments to start from, and another value of it.
        refused: arguments that the architecture refuses to have changed.
    """

    outcome: ClassVar[Outcomes]
    cases: ClassVar[dict[str, tuple[dict[str, Any], Any]]]
    refused: ClassVar[Collection[str]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Let a test of an ``argument`` run for each."""
        if "argument" in metafunc.fixturenames:
            metafunc.parametrize("argument", sorted(self.cases.keys() - set(self.refused)))

    def test_there_is_a_case_for_every_argument(self):
        names = self.cases.keys() | WITHOUT_EFFECT.keys() | set(self.refused)
        assert names == arguments_with_bases(self.outcome.cls)

    def test_every_argument_changes_the_outcome(self, argument):
        assert self.outcome.changed_by(argument, self.cases[argument])

    @pytest.mark.slow
    def test_equal_arguments_give_equal_outcomes(self):
        assert same(self.outcome(**WITHOUT_EFFECT), self.outcome.of({}))


def check_exact_resume(build: Callable[[], Any], folder: Path) -> None:
    """Fail unless two epochs, resumed after the first, give the weights of two epochs without a break."""
    whole, resumed = build(), build()
    fit(whole, max_epochs=2, callbacks=[CROLossCallback()])
    fit(build(), max_epochs=1, callbacks=[CROLossCallback()]).save_checkpoint(folder / "one.ckpt")
    torch.manual_seed(12345)  # another process would have drawn other numbers
    fit(resumed, max_epochs=2, callbacks=[CROLossCallback()], ckpt_path=folder / "one.ckpt")
    assert same(dict(whole.state_dict()), dict(resumed.state_dict()))


def reloaded(model: RetrievalModel, folder: Path, **recommended: Any) -> Any:
    """Fit a model, and return what its checkpoint loads as; fail unless it recommends alike."""
    fit(model).save_checkpoint(folder / "model.ckpt")
    torch.manual_seed(12345)  # what was drawn at construction comes from the file
    again = RetrievalModel.load_from_checkpoint(folder / "model.ckpt", weights_only=True)
    assert type(again) is type(model)
    for one, other in zip(model.recommend(**recommended), again.recommend(**recommended), strict=True):
        assert torch.equal(one, other)
    return again
