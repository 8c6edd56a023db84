"""Kernels and importances by name, as texts and as plain dictionaries."""

import copy
import inspect
import json

import pytest

from lightning_croloss.configurable import class_path, to_config
from lightning_croloss.losses import (
    IMPORTANCES,
    KERNELS,
    CROLoss,
    HingeKernel,
    Importance,
    Kernel,
    PowerImportance,
    SigmoidKernel,
    TargetNImportance,
)
from tests.losses.cases import public_classes, scores, value_and_gradients
from tests.losses.variations import VARIATIONS

REGISTRIES = {"kernel": (KERNELS, Kernel), "importance": (IMPORTANCES, Importance)}
CASES = [(argument, name) for argument, (registry, _) in REGISTRIES.items() for name in registry]


def loss_of(argument, part):
    if argument == "kernel" and not getattr(part, "differentiable", part != "heaviside"):
        argument = "lambda_kernel"
    return CROLoss(**{argument: part})


@pytest.mark.parametrize("argument", REGISTRIES)
def test_every_class_of_the_package_has_a_name(argument):
    registry, base = REGISTRIES[argument]
    assert set(registry.values()) == set(public_classes(base))
    assert all(cls.name == name for name, cls in registry.items())


@pytest.mark.parametrize(("argument", "name"), CASES)
def test_all_ways_to_name_a_part_give_the_same_loss(argument, name):
    if name == "heaviside":
        argument = "lambda_kernel"
    cls = (KERNELS | IMPORTANCES)[name]
    arguments = {**VARIATIONS.get(cls, ({}, {}))[0], **VARIATIONS.get(cls, ({}, {}))[1]}
    expected = CROLoss(**{argument: cls(**arguments)})
    for given in (
        {"name": name, **arguments},
        {"name": cls.__name__, **arguments},
        {"class_path": cls.__name__, "init_args": arguments},
        {"class_path": class_path(cls), "init_args": arguments},
        {"class_path": f"{cls.__module__}.{cls.__name__}", "init_args": arguments},
        to_config(cls(**arguments)),
    ):
        before = copy.deepcopy(given)
        made = CROLoss(**{argument: given})
        assert given == before == json.loads(json.dumps(given))
        assert to_config(made) == to_config(expected)
        assert json.loads(json.dumps(to_config(made))) == to_config(made)
        pair = [value_and_gradients(loss, *scores()) for loss in (made, expected)]
        assert all((one == other).all() for one, other in zip(*pair, strict=True))


@pytest.mark.parametrize(("argument", "name"), [case for case in CASES if case[1] != "target_n"])
def test_a_name_alone_is_the_default_of_its_class(argument, name):
    cls = (KERNELS | IMPORTANCES)[name]
    for given in (name, cls.__name__, {"name": name}, {"class_path": name, "init_args": None}):
        made = loss_of(argument, given if name != "heaviside" else "heaviside")
        part = made.lambda_kernel if name == "heaviside" else getattr(made, argument)
        assert to_config(part) == to_config(cls())


def test_what_happens_to_the_dictionary_later_is_not_the_loss_s():
    given = {"name": "target_n", "n": 50}
    loss = CROLoss(importance=given)
    given["n"] = 7
    assert to_config(loss)["init_args"]["importance"]["init_args"]["n"] == 50
    assert float(loss.importance.n) == 50


def test_alpha_is_short_for_power_importance():
    loss = CROLoss(alpha=1.2)
    assert to_config(loss) == to_config(CROLoss(importance=PowerImportance(1.2)))
    assert to_config(CROLoss()) == to_config(CROLoss(alpha=1.0)) == to_config(CROLoss(importance="power"))
    assert to_config(loss)["init_args"]["alpha"] is None
    assert to_config(loss)["init_args"]["importance"]["init_args"] == {"alpha": 1.2}


class Strong(CROLoss):
    """A subclass whose arguments mean something else."""

    def __init__(self, alpha=2.0):
        super().__init__(kernel="exp", importance=PowerImportance(alpha + 1.0))


class Passing(CROLoss):
    """A subclass that passes its arguments on."""

    def __init__(self, width=1.0, **kwargs):
        super().__init__(**kwargs)


def test_a_subclass_keeps_its_own_arguments():
    assert to_config(Strong(1.0))["init_args"] == {"alpha": 1.0}
    assert repr(Strong(1.0)) == "Strong(alpha=1.0)"
    config = to_config(Passing(2.0, alpha=1.2))["init_args"]
    assert (config["width"], config["alpha"], config["importance"]) == (2.0, 1.2, None)


@pytest.mark.parametrize("argument", REGISTRIES)
def test_an_abstract_base_names_those_of_its_kind(argument):
    registry, base = REGISTRIES[argument]
    bases = {each for cls in registry.values() for each in cls.__mro__ if inspect.isabstract(each)}
    assert base in bases
    for each in bases:
        known = ", ".join(sorted(name for name, cls in registry.items() if issubclass(cls, each)))
        own = each.__name__
        for name in (own, f"{each.__module__}.{own}", f"lightning_croloss.{own}"):
            for given in (name, {"class_path": name}):
                with pytest.raises(ValueError, match="is only the base of others") as caught:
                    CROLoss(**{argument: given})
                assert str(caught.value) == f"{argument} {name!r} is only the base of others; known: {known}"


MISTAKES = [
    ({"importance": "target_n"}, 'needs n: write importance={"name": "target_n", "n": 50}'),
    ({"importance": "TargetNImportance"}, 'importance={"name": "TargetNImportance", "n": 50}'),
    ({"importance": {"name": "target_n"}}, 'needs n: write importance={"name": "target_n", "n": 50}'),
    (
        {"importance": {"name": "target_n", "sharpness": 2}},
        'write importance={"name": "target_n", "sharpness": 2, "n": 50}',
    ),
    ({"importance": "target"}, "unknown importance 'target'; did you mean 'target_n'?"),
    ({"importance": "Power"}, "unknown importance 'Power'; did you mean 'power'?"),
    (
        {"importance": "powerimportance"},
        "unknown importance 'powerimportance'; did you mean 'PowerImportance'?",
    ),
    ({"importance": ""}, "unknown importance ''; known: exponential, gamma, power, target_n"),
    (
        {"importance": {"alpha": 1.2}},
        'with a \'name\', such as {"name": "target_n", "n": 50}, got one with \'alpha\'',
    ),
    ({"importance": {}}, "with a 'name'"),
    ({"importance": {"name": 3}}, "the name of importance must be a text, got 3"),
    (
        {"importance": {"name": "power", "alpa": 1.2}},
        "importance 'power' has no argument 'alpa'; did you mean 'alpha'?",
    ),
    ({"importance": {"name": "power", "alpha": "x"}}, "alpha must be a number, got 'x'"),
    ({"importance": {"name": "power", "alpha": -1.0}}, "alpha must be a number of at least 0, got -1.0"),
    ({"importance": {"class_path": "PowerImportance", "alpha": 1.2}}, "its arguments belong into init_args"),
    (
        {"importance": {"class_path": "PowerImportance", "init_args": 3}},
        "init_args of importance must be a dictionary",
    ),
    ({"importance": {"class_path": "PowerImportance", "name": "power"}}, "both 'name' and 'class_path'"),
    ({"importance": 1.2}, "importance must be a name such as 'power'"),
    ({"importance": PowerImportance}, "got the class PowerImportance itself: write PowerImportance(...)"),
    ({"importance": SigmoidKernel()}, "object of the class Importance, got SigmoidKernel()"),
    ({"importance": "hinge"}, "unknown importance 'hinge'"),
    ({"kernel": "power"}, "unknown kernel 'power'"),
    (
        {"kernel": {"name": "hinge", "margn": 1.0}},
        "kernel 'hinge' has no argument 'margn'; did you mean 'margin'?",
    ),
    (
        {"kernel": {"name": "sigmoid", "margin": 1.0}},
        "kernel 'sigmoid' has no argument 'margin'; it takes none",
    ),
    ({"lambda_kernel": None}, "lambda_kernel must be a name such as 'exp', a dictionary such as"),
    ({"kernel": HingeKernel}, "got the class HingeKernel itself: write HingeKernel(...)"),
    ({"lambda_kernel": 3}, "lambda_kernel must be a name"),
    ({"kernel": ["hinge"]}, "kernel must be a name"),
    ({"alpha": 1.2, "importance": "power"}, "alpha=1.2 is short for importance=PowerImportance(alpha=1.2)"),
    ({"alpha": 1.2, "importance": TargetNImportance(50)}, "importance=TargetNImportance(n=50) is given too"),
    ({"alpha": "1.2"}, "alpha must be a number, got '1.2'"),
    ({"alpha": -1.0}, "alpha must be a number of at least 0, got -1.0"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_mistakes_get_one_sentence(arguments, sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        CROLoss(**arguments)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


class Own(SigmoidKernel):
    """A kernel that is not the package's."""

    name = "own"


@pytest.mark.parametrize(
    "path",
    [
        "torch.nn.Linear",
        "os.HingeKernel",
        "builtins.eval",
        f"{__name__}.Own",
        "Own",
        "own",
        "HingeKernel.HingeKernel",
    ],
)
def test_a_dictionary_names_classes_of_this_package_alone(path):
    for given in (path, {"name": path}, {"class_path": path}, {"class_path": path, "init_args": {}}):
        with pytest.raises(ValueError, match="unknown kernel"):
            CROLoss(given)
    assert CROLoss(Own()).kernel.name == "own"  # an object is welcome
