"""Every argument of every public class of the loss package does something."""

import inspect

import pytest
import torch

from lightning_croloss.losses import (
    BSLLoss,
    CROLoss,
    Importance,
    Kernel,
    RecallSurrogateLoss,
    RetrievalLoss,
    SLAtKLoss,
    SoftmaxLoss,
)
from tests.losses.cases import (
    BLIND_TO_DRAWS,
    LOSSES,
    assert_same,
    options,
    public_classes,
    scores,
    value_and_gradients,
)
from tests.losses.variations import NEEDS, VARIATIONS

pytestmark = pytest.mark.filterwarnings("ignore:n=")

#: arguments that leave the value alone and change the gradient only
GRADIENT_ONLY = {(CROLoss, "lambda_weight"), (CROLoss, "lambda_kernel")}
#: arguments that choose how, not what, as tests/losses/fused/test_loss.py tests, or what is learned, as
#: tests/losses/test_temperature.py does
SAME_OUTCOME = {
    (CROLoss, "fused"),
    (SoftmaxLoss, "fused"),
    (BSLLoss, "fused"),
    (RecallSurrogateLoss, "fused"),
    (SLAtKLoss, "refresh_epochs"),  # needs users, as tests/losses/test_user_thresholds.py has them
    *((cls, "learnable_temperature") for cls in public_classes(RetrievalLoss)),
}
CASES = [
    (cls, name)
    for cls, (_, variations) in VARIATIONS.items()
    for name in variations
    if (cls, name) not in SAME_OUTCOME
]


def outcome(cls, **kwargs):
    made = cls(**kwargs)
    if isinstance(made, Kernel):
        made = CROLoss(made, num_items=40)
    elif isinstance(made, Importance):
        made = CROLoss(importance=made, num_items=40)
    return value_and_gradients(made, *scores(), **options())


def test_every_argument_has_a_case():
    for base in (RetrievalLoss, Kernel, Importance):
        for cls in public_classes(base):
            arguments = set() if cls.__init__ is object.__init__ else set(inspect.signature(cls).parameters)
            assert set(VARIATIONS.get(cls, ({}, {}))[1]) == arguments, (
                f"add a case for each argument of {cls}"
            )


@pytest.mark.parametrize(("cls", "name"), CASES, ids=[f"{cls.__name__}.{name}" for cls, name in CASES])
def test_every_argument_changes_the_outcome(cls, name):
    start, variations = VARIATIONS[cls]
    start = start | NEEDS.get(cls, {}).get(name, {})
    value, *gradients = outcome(cls, **start)
    other_value, *other_gradients = outcome(cls, **start | {name: variations[name]})
    assert torch.isfinite(other_value)
    if (cls, name) in GRADIENT_ONLY:
        assert value == other_value
        assert all(
            not torch.allclose(*pair, rtol=1e-3) for pair in zip(gradients, other_gradients, strict=True)
        )
    else:
        assert not torch.allclose(value, other_value, rtol=1e-3)


SCHEDULED = [
    (cls, name)
    for cls, name in CASES
    if name in (cls(**VARIATIONS[cls][0]).schedulable() if hasattr(cls, "schedulable") else {})
]


@pytest.mark.parametrize(
    ("cls", "name"), SCHEDULED, ids=[f"{cls.__name__}.{name}" for cls, name in SCHEDULED]
)
def test_a_schedule_sets_what_the_constructor_sets(cls, name):
    start, variations = VARIATIONS[cls]
    loss = cls(**start)
    loss = CROLoss(importance=loss, num_items=40) if isinstance(loss, Importance) else loss
    loss.schedulable()[name].fill_(variations[name])
    result = value_and_gradients(loss, *scores(), **options())
    assert_same(result, outcome(cls, **start | {name: variations[name]}), rtol=0)


def test_what_can_be_scheduled():
    names = {cls.__name__: set() for cls in VARIATIONS}
    for cls, name in SCHEDULED:
        names[cls.__name__].add(name)
    assert {key: value for key, value in names.items() if value} == {
        "CROLoss": {"temperature", "lambda_weight", "alpha"},
        "SoftmaxLoss": {"temperature"},
        "BPRLoss": {"temperature"},
        "TripletLoss": {"temperature"},
        "SLAtKLoss": {"temperature", "weight_temperature"},
        "BSLLoss": {"temperature", "positive_temperature"},
        "BCELoss": {"temperature"},
        "GBCELoss": {"temperature"},
        "RecallSurrogateLoss": {"temperature", "rank_temperature"},
        "PowerImportance": {"alpha"},
        "TargetNImportance": {"n", "sharpness"},
        "ExponentialImportance": {"rate"},
        "GammaImportance": {"concentration", "rate"},
    }


@pytest.mark.parametrize("option", options())
@pytest.mark.parametrize("name", LOSSES)
def test_every_option_of_forward_changes_the_outcome(name, option):
    if name in BLIND_TO_DRAWS and option == "num_sampled":
        pytest.skip("the loss is blind to M")
    loss = LOSSES[name](num_items=40)
    with_all = value_and_gradients(loss, *scores(), **options())
    without = {key: value for key, value in options().items() if key != option}
    assert not torch.allclose(with_all[0], value_and_gradients(loss, *scores(), **without)[0], rtol=1e-3)
