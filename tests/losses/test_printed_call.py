"""Losses and what they are made of print as the call that builds them again."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss import callbacks, losses
from lightning_croloss.callbacks import Constant, Cosine, Geometric, Linear, Schedule, Steps
from lightning_croloss.common.printed_call import PrintedCall
from lightning_croloss.configurable import Configurable, to_config
from lightning_croloss.losses import (
    BPRLoss,
    CROLoss,
    HingeKernel,
    PowerImportance,
    SigmoidKernel,
    SoftmaxLoss,
    TargetNImportance,
    TripletLoss,
)
from tests.losses.cases import public_classes
from tests.losses.variations import VARIATIONS, that_go_together

NAMES = {name: getattr(module, name) for module in (losses, callbacks) for name in module.__all__}
CLASSES = [
    cls for base in (losses.RetrievalLoss, losses.Kernel, losses.Importance) for cls in public_classes(base)
]
SCHEDULES = [
    Constant(3),
    Linear(0.5, 1.0),
    Geometric(1000, 50, until=0.5),
    Cosine(start=0.5, end=0.1, begin=10, until=200),
    Steps([1.0, 2, 3], [0.5, 100]),
    Steps((1.0, 2.0), (0.5,)),
]


def pasted(text):
    return eval(text, dict(NAMES))


def assert_pasteable(made):
    text = repr(made)
    assert "\n" not in text
    assert type(pasted(text)) is type(made)
    assert to_config(pasted(text)) == to_config(made)
    assert repr(pasted(text)) == text


@settings(max_examples=60)
@given(st.data())
def test_what_is_printed_can_be_pasted(data):
    cls = data.draw(st.sampled_from(CLASSES))
    _, variations = VARIATIONS.get(cls, ({}, {}))
    chosen = data.draw(st.lists(st.sampled_from(sorted(variations)), unique=True)) if variations else []
    assert_pasteable(cls(**that_go_together(cls, chosen)))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_can_be_pasted(schedule):
    assert isinstance(schedule, Schedule)
    assert_pasteable(schedule)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (CROLoss(), "CROLoss(kernel='sigmoid', importance=PowerImportance(alpha=1.0), temperature=0.1)"),
        (
            CROLoss("exp", alpha=1.2, temperature=0.14),
            "CROLoss(kernel='exp', importance=PowerImportance(alpha=1.2), temperature=0.14)",
        ),
        (
            CROLoss({"name": "hinge", "margin": 1.0}, {"name": "target_n", "n": 50}, reduction="sum"),
            "CROLoss(kernel=HingeKernel(margin=1.0), importance=TargetNImportance(n=50), temperature=0.1, "
            "reduction='sum')",
        ),
        (
            CROLoss(lambda_kernel="heaviside", lambda_weight=0.5, fused=False, learnable_temperature=True),
            "CROLoss(kernel='sigmoid', importance=PowerImportance(alpha=1.0), temperature=0.1, "
            "lambda_weight=0.5, lambda_kernel='heaviside', fused=False, learnable_temperature=True)",
        ),
        (SoftmaxLoss(), "SoftmaxLoss(temperature=0.1)"),
        (BPRLoss(num_items=np.int64(7)), "BPRLoss(temperature=0.1, num_items=7)"),
        (TripletLoss(0.9), "TripletLoss(margin=0.9, temperature=0.1)"),
        (SigmoidKernel(), "SigmoidKernel()"),
        (HingeKernel(), "HingeKernel(margin=0.5)"),
        (PowerImportance(np.float64(0.5)), "PowerImportance(alpha=0.5)"),
        (TargetNImportance(50), "TargetNImportance(n=50)"),
        (TargetNImportance(50, sharpness=2.0), "TargetNImportance(n=50, sharpness=2.0)"),
        (Geometric(1000, 50), "Geometric(start=1000, end=50)"),
        (Linear(1, 2, until=0.5), "Linear(start=1, end=2, until=0.5)"),
    ],
)
def test_what_matters_is_shown(made, text):
    assert repr(made) == text
    assert_pasteable(made)


def test_the_size_of_the_catalogue_is_shown_as_it_is():
    loss = CROLoss()
    loss.num_items = 1682
    assert repr(loss).endswith("temperature=0.1, num_items=1682)")


def test_a_schedule_does_not_change_what_is_printed():
    loss = CROLoss()
    before = repr(loss)
    loss.schedulable()["temperature"].fill_(0.3)
    assert repr(loss) == before


def test_a_module_with_a_loss_stays_readable():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.loss = CROLoss(alpha=1.2, learnable_temperature=True)
            self.layer = torch.nn.Linear(2, 3)

    assert repr(Model()).splitlines() == [
        "Model(",
        f"  (loss): {CROLoss(alpha=1.2, learnable_temperature=True)!r}",
        "  (layer): Linear(in_features=2, out_features=3, bias=True)",
        ")",
    ]


class Odd(PrintedCall, Configurable):
    def __init__(self, first, /, *more, value=None, text="a", **extra):
        super().__init__()


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (Odd(1), "Odd(1)"),
        (Odd(1, 2, "b"), "Odd(1, 2, 'b')"),
        (Odd(1, value=(1,)), "Odd(1, value=(1,))"),
        (Odd(1, value={"a": [np.float32(0.5), None]}), "Odd(1, value={'a': [0.5, None]})"),
        (Odd(1, value=torch.ones(2, 2)), "Odd(1, value=tensor([[1., 1.], [1., 1.]]))"),
        (Odd(1, value=math.pi, text="b\nc"), "Odd(1, value=3.141592653589793, text='b\\nc')"),
        (Odd(1, text="a", colour="red"), "Odd(1, colour='red')"),
    ],
)
def test_any_constructor_prints_in_one_line(made, text):
    assert repr(made) == text
