"""Arguments of a wrong type: each constructor says which, in a sentence without the machinery's words."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import lightning_croloss
import lightning_croloss.public
from lightning_croloss import CROLoss, TableDataModule, UniformNegatives, YouTubeDNN
from lightning_croloss.common.argument_types import annotations_of, fits, wanted
from lightning_croloss.configurable import Configurable

#: A value of no declared type, of each plain kind.
WRONG: list[Any] = ["some text", 1.5, True, None, {"a": 1}, [1.5, "x"], object(), nn.Linear(1, 1), CROLoss]
JARGON = re.compile(
    r"NoneType|object is not|not supported between|typing\.|collections\.abc|<class|__init__|\n"
)
REQUIRED: dict[str, Any] = {
    "num_items": 12,
    "num_users": 5,
    "n": 5,
    "values": [1.0, 2.0],
    "milestones": [0.5],
    "start": 1.0,
    "end": 2.0,
    "value": 1.0,
    "column": "part",
    "interactions": "x.csv",
    "data": "x.csv",
}


def classes() -> list[type]:
    public = (getattr(lightning_croloss, name) for name in lightning_croloss.__all__)
    return [cls for cls in public if isinstance(cls, type) and issubclass(cls, Configurable)]


def arguments_of(cls: type) -> dict[str, Any]:
    """Return the declared arguments of a class, and of its bases as far as it passes them on."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None or not base.__module__.startswith("lightning_croloss"):
            continue
        found = annotations_of(inspect.unwrap(init)) | found
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(init).parameters.values()):
            break
    found.pop("self", None)
    return found


def given_to(cls: type) -> dict[str, Any]:
    if cls.__name__ == "MixedNegatives":
        return {"parts": [UniformNegatives(2), UniformNegatives(3)]}
    needed = [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    given = {name: REQUIRED[name] for name in needed if name in REQUIRED}
    if issubclass(cls, lightning_croloss.RetrievalModel):
        given |= {"num_items": 12, "ns": [5]}
    return given


def cases() -> Iterator[Any]:
    """Yield a class, an argument and a wrong value; what several classes inherit comes once."""
    seen = set()
    for cls in classes():
        if inspect.isabstract(cls):
            continue
        for name, annotation in arguments_of(cls).items():
            inherited = name not in inspect.signature(cls).parameters
            if inherited and name in seen:
                continue
            seen |= {name} if inherited else set()
            for at, value in enumerate(WRONG):
                if not fits(value, annotation):
                    yield pytest.param(cls, name, value, id=f"{cls.__name__}-{name}-{at}")


CASES = list(cases())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cls", "name", "value"), CASES)
def test_the_argument_is_named(cls, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        cls(**given_to(cls) | {name: value})
    said = str(caught.value)
    assert re.search(rf"\b{name}\b", said), said
    assert not JARGON.search(said), said


def test_the_grid_is_large():
    assert len(CASES) > 300


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "cls", [cls for cls in classes() if not inspect.isabstract(cls)], ids=lambda c: c.__name__
)
def test_what_is_right_is_taken(cls):
    assert isinstance(cls(**given_to(cls)), cls)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"loss": CROLoss},
            r"loss must be .*RetrievalLoss or None, got the class CROLoss itself: write",
        ),
        ({"loss": "CROLoss"}, r"loss must be .*, got the text 'CROLoss': write CROLoss\(\)"),
        ({"negatives": UniformNegatives}, r"negatives must be .*, got the class UniformNegatives itself"),
        (
            {"optimizer": torch.optim.Adam([torch.zeros(1, requires_grad=True)])},
            r"optimizer must be a class that is called later.*functools.partial\(torch\.optim.*got Adam",
        ),
        ({"embedding_dim": 1.5}, "embedding_dim must be a whole number, got 1.5"),
        ({"embedding_dim": True}, "embedding_dim must be a whole number, got True"),
        ({"embedding_dim": 0}, "embedding_dim must be at least 1, got 0"),
        ({"embedding_dim": -1}, "embedding_dim must be at least 1, got -1"),
        ({"embedding_dim": "64"}, "embedding_dim must be a whole number, got '64'"),
        ({"ns": []}, "ns must hold distinct cutoffs"),
        ({"ns": [0]}, "ns must hold distinct cutoffs of at least 1, got \\[0\\]"),
        ({"ns": ["10"]}, "ns must be a sequence of integers, got \\['10'\\]"),
        ({"ns": [5, 5]}, "ns must hold distinct cutoffs"),
        ({"ns": 10}, "ns must be a "),
        ({"ns": "10"}, "ns must be a "),
    ],
)
def test_models(arguments, said):
    with pytest.raises((TypeError, ValueError), match=said):
        YouTubeDNN(**{"num_items": 12, "ns": [5], **arguments})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"batch_size": -1}, "batch_size=-1 must be at least 1"),
        ({"batch_size": None}, "batch_size must be an integer, got None"),
        ({"batch_size": "8"}, "batch_size must be an integer, got '8'"),
        ({"batch_size": 8.0}, "batch_size must be an integer, got 8.0"),
        ({"split": "LeaveOneOut"}, "split='LeaveOneOut' must be a Split"),
        ({"interactions": 3}, "interactions"),
        ({"user_column": 3}, "user_column"),
    ],
)
def test_data_modules(arguments, said):
    with pytest.raises((TypeError, ValueError), match=said):
        TableDataModule(**{"interactions": "x.csv", **arguments})


def test_numbers_of_numpy_and_torch_are_numbers():
    import numpy as np

    model = YouTubeDNN(
        num_items=np.int64(12),
        embedding_dim=np.int32(4),
        ns=[np.int64(5)],
        loss=CROLoss(temperature=np.float32(1)),
    )
    assert model.embedding_dim == 4
    assert fits(np.bool_(True), bool)
    assert fits(
        functools.partial(torch.optim.Adam),
        annotations_of(YouTubeDNN.__mro__[3].__init__).get("optimizer", Any),
    )


class Mine(YouTubeDNN):
    """A subclass of a user's, whose own declaration nobody checks."""

    def __init__(self, extra: int = 0.5, **kwargs: Any) -> None:  # type: ignore[assignment]
        super().__init__(**kwargs)
        self.extra = extra


def test_a_users_own_class():
    assert Mine(num_items=12, ns=[5], extra="x").extra == "x"
    with pytest.raises(ValueError, match=r"embedding_dim must be a whole number, got 1\.5"):
        Mine(num_items=12, ns=[5], embedding_dim=1.5)


def test_what_is_wanted_is_said_plainly():
    for cls in classes():
        for annotation in arguments_of(cls).values():
            assert not JARGON.search(wanted(annotation))
