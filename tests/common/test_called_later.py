"""An optimizer or scheduler is understood in every form that it can come in."""

import functools

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import StepLR

from lightning_croloss.common.called_later import read_called_later
from lightning_croloss.training.lazy_adam import LazyAdam

PARSER = ArgumentParser(exit_on_error=False)
PARSER.add_argument("--optimizer", type=OptimizerCallable)
PARSER.add_argument("--lr_scheduler", type=LRSchedulerCallable)


def from_config(name, class_path, **init_args):
    """Return what jsonargparse makes of a section of a config file."""
    config = PARSER.parse_object({name: {"class_path": class_path, "init_args": init_args}})
    return PARSER.instantiate(config)[name]


def build(rate, parameters):
    return SGD(parameters, rate)


class Rate:
    def __call__(self, parameters):
        return build(1.0, parameters)


@pytest.mark.parametrize(
    ("value", "cls", "keywords"),
    [
        (AdamW, AdamW, {}),
        (functools.partial(AdamW, lr=0.3), AdamW, {"lr": 0.3}),
        (
            functools.partial(functools.partial(AdamW, lr=0.3, eps=0.1), lr=0.2),
            AdamW,
            {"lr": 0.2, "eps": 0.1},
        ),
        (from_config("optimizer", "torch.optim.AdamW", lr=0.3), AdamW, {"lr": 0.3, "weight_decay": 0.01}),
        (
            from_config("optimizer", "torch.optim.SGD", lr=0.3, momentum=0.9),
            SGD,
            {"lr": 0.3, "momentum": 0.9},
        ),
        (functools.partial(from_config("optimizer", "torch.optim.SGD"), lr=0.5), SGD, {"lr": 0.5}),
        (from_config("optimizer", "LazyAdam", betas=[0.5, 0.6]), LazyAdam, {"betas": (0.5, 0.6)}),
        (from_config("lr_scheduler", "StepLR", step_size=3), StepLR, {"step_size": 3, "gamma": 0.1}),
    ],
)
def test_the_class_and_its_settings_are_found(value, cls, keywords):
    given = read_called_later(value)
    assert given.cls is cls
    assert {name: given.keywords[name] for name in keywords} == keywords
    assert given.positional == ()


def test_arguments_by_position_are_kept():
    given = read_called_later(functools.partial(functools.partial(dict, 1), 2))
    assert (given.cls, given.positional) == (dict, (1, 2))


@pytest.mark.parametrize(
    "function",
    [build, Rate(), functools.partial(build, 0.1), functools.partial(build, SGD), lambda parameters: None],
)
def test_nothing_is_known_of_a_function(function):
    assert read_called_later(function).cls is None


@pytest.mark.parametrize("value", [None, 3, "torch.optim.SGD", {"class_path": "SGD"}])
def test_what_cannot_be_called(value):
    assert read_called_later(value) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (AdamW, "AdamW()"),
        (from_config("optimizer", "torch.optim.SGD", lr=0.3), "SGD(lr=0.3)"),
        (functools.partial(SGD, lr=torch.tensor(0.5)), "SGD(lr=tensor(0.5000))"),
        (functools.partial(build, 0.1), "build(0.1)"),
    ],
)
def test_as_text_it_is_python_without_the_defaults(value, text):
    assert str(read_called_later(value)) == text
