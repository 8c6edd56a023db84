import functools
import importlib
import json

import numpy as np
import pytest
import torch

from lightning_croloss.configurable import Configurable, class_path, to_config
from lightning_croloss.losses import (
    CROLoss,
    Importance,
    Kernel,
    PowerImportance,
    RetrievalLoss,
    SoftplusKernel,
)
from tests.losses.cases import options, public_classes, scores, value_and_gradients
from tests.losses.variations import IN_PLACE_OF, together


def build(config):
    """Build what ``to_config`` described, as the command line does."""
    if isinstance(config, dict) and "class_path" in config:
        module, _, name = config["class_path"].rpartition(".")
        arguments = {key: build(value) for key, value in config["init_args"].items()}
        return getattr(importlib.import_module(module), name)(**arguments)
    return config


CLASSES = [cls for base in (RetrievalLoss, Kernel, Importance) for cls in public_classes(base)]


@pytest.mark.filterwarnings("ignore:n=")
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_loss_kernel_and_importance_is_built_again(cls, tmp_path):
    arguments = together(cls)
    made = cls(**arguments)
    config = to_config(made)
    assert config["class_path"] == class_path(cls)
    assert set(config["init_args"]) == {*arguments, *IN_PLACE_OF.get(cls, ())}
    assert json.loads(json.dumps(config)) == config
    torch.save(config, tmp_path / "config.pt")
    again = build(torch.load(tmp_path / "config.pt", weights_only=True))
    assert type(again) is cls
    assert to_config(again) == config
    if isinstance(made, RetrievalLoss):
        first, second = (value_and_gradients(loss, *scores(), **options()) for loss in (made, again))
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_defaults_are_recorded_and_objects_nest():
    config = to_config(
        CROLoss(SoftplusKernel(), PowerImportance(np.float32(0.5)), 0.2, num_items=np.int64(7))
    )
    assert config == {
        "class_path": "lightning_croloss.CROLoss",
        "init_args": {
            "kernel": {"class_path": "lightning_croloss.losses.SoftplusKernel", "init_args": {}},
            "importance": {
                "class_path": "lightning_croloss.PowerImportance",
                "init_args": {"alpha": 0.5},
            },
            "temperature": 0.2,
            "lambda_weight": 0.0,
            "lambda_kernel": "sigmoid",
            "num_items": 7,
            "rank_scaling": "reference",
            "fused": None,
            "reduction": "mean",
            "positive_scale": 1.0,
            "alpha": None,
            "learnable_temperature": False,
        },
    }


class Base(Configurable):
    def __init__(self, size=1):
        self.size = size

    def after_init(self):
        self.finished = [*getattr(self, "finished", []), sorted(self.__dict__)]


class Derived(Base):
    def __init__(self, width, /, *, depth=2, **extra):
        super().__init__(size=width * depth)
        self.extra = extra


class Inheriting(Derived):
    pass


@pytest.mark.parametrize("cls", [Derived, Inheriting])
def test_the_outermost_call_is_recorded(cls):
    made = cls(3, colour="red")
    assert to_config(made) == {
        "class_path": class_path(cls),
        "init_args": {"width": 3, "depth": 2, "colour": "red"},
    }
    assert made.size == 6


class Reaching(Base):
    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width


class Fixing(Reaching):
    def __init__(self, *, height=5, **kwargs):
        super().__init__(width=7, **kwargs)
        self.height = height


class Closed(Reaching):
    def __init__(self, depth=2):
        super().__init__()


@pytest.mark.parametrize(
    ("made", "arguments"),
    [
        (lambda: Reaching(), {"width": 4, "size": 1}),
        (lambda: Reaching(3, size=2), {"width": 3, "size": 2}),
        (lambda: Fixing(), {"height": 5, "size": 1}),  # its width is not to be chosen
        (lambda: Fixing(size=6), {"height": 5, "size": 6}),
        (lambda: Closed(), {"depth": 2}),  # its base's arguments cannot be given
    ],
)
def test_defaults_of_the_base_are_recorded_where_they_can_be_given(made, arguments):
    first = made()
    assert to_config(first)["init_args"] == arguments
    again = build(to_config(first))
    assert vars(again) == vars(first)


def test_after_init_runs_once_when_all_is_built():
    ((*names,),) = Derived(3).finished
    assert {"size", "extra"} <= set(names)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        ((1, (2.0, None)), [1, [2.0, None]]),
        ({1: {"a": np.int8(2)}}, {"1": {"a": 2}}),
        (Base, {"class_path": "tests.test_configurable.Base"}),
        (
            functools.partial(torch.optim.AdamW, lr=np.float64(0.1), betas=(0.9, 0.99)),
            {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1, "betas": [0.9, 0.99]}},
        ),
    ],
)
def test_plain_form(value, plain):
    config = to_config(value)
    assert config == plain
    assert json.dumps(config) == json.dumps(plain)  # 1, 1.0 and True are not the same here


@pytest.mark.parametrize(
    "value",
    [
        lambda: 1,
        torch.ones(1),
        object(),
        functools.partial(print, 1),
        functools.partial(print, dict),
        functools.partial(dict, 1),
        {1, 2},
    ],
)
def test_what_cannot_be_built_again(value):
    with pytest.raises(TypeError, match="cannot be kept in a checkpoint"):
        to_config({"nested": [value]})
    with pytest.raises(TypeError, match="cannot be kept in a checkpoint"):
        to_config(Base(value))
