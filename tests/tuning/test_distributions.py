"""Parameters of a search in Optuna's storage: none is lost, and a sampler of Optuna can go on with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_croloss.cli.tune.configs import parameters, settings
from lightning_croloss.cli.tune.settings import all_candidates
from lightning_croloss.tuning.distributions import dimensions_of, distribution_of, holding, plain_choice
from lightning_croloss.tuning.portfolio import portfolio
from lightning_croloss.tuning.space import read_space
from lightning_croloss.tuning.study import Mirror, MirroredTrial

optuna = pytest.importorskip("optuna", reason="needs the extra [tune]")

CLASSES = [
    {"class_path": "UniformNegatives", "init_args": {"num_negatives": 1024}},
    {"class_path": "UniformNegatives", "init_args": {"num_negatives": 512}},
    {"class_path": "InBatchNegatives"},
]
#: A field of a space, and how somebody asks Optuna for it.
FIELDS: dict[str, tuple[Any, dict[str, tuple[Any, ...]]]] = {
    "model.class_path": (
        ["YouTubeDNN", "SASRec", "GRU4Rec"],
        {"model.class_path": ("categorical", ["YouTubeDNN", "SASRec", "GRU4Rec"])},
    ),
    "model.init_args.embedding_dim": ([8, 16], {"model.embedding_dim": ("categorical", [8, 16])}),
    "model.init_args.hidden_dims": (
        [[16], [32, 16]],
        {"model.hidden_dims": ("categorical", ["[16]", "[32, 16]"])},
    ),
    "model.init_args.scaled": ([True, False, None], {"model.scaled": ("categorical", [True, False, None])}),
    "model.init_args.negatives": (
        CLASSES,
        {
            "model.negatives": ("categorical", ["UniformNegatives", "InBatchNegatives"]),
            "model.negatives.num_negatives": ("categorical", [1024, 512]),
        },
    ),
    "model.init_args.layers": ({"low": 1, "high": 4}, {"model.layers": ("int", 1, 4)}),
    "model.init_args.width": (
        {"low": 16, "high": 256, "log": True},
        {"model.width": ("int", 16, 256, {"log": True})},
    ),
    "model.init_args.heads": (
        {"low": 1, "high": 8, "step": 2},  # the last one is 7
        {"model.heads": ("int", 1, 7, {"step": 2})},
    ),
    "model.init_args.dropout": ({"low": 0.0, "high": 0.5}, {"model.dropout": ("float", 0.0, 0.5)}),
    "model.init_args.weight": (
        {"low": 0.1, "high": 0.95, "step": 0.2},
        {"model.weight": ("float", 0.1, 0.9, {"step": 0.2})},
    ),
    "model.init_args.optimizer.init_args.lr": (
        {"low": 0.001, "high": 0.05, "log": True},
        {"model.optimizer.lr": ("float", 0.001, 0.05, {"log": True})},
    ),
}
OF_LOSSES: dict[str, tuple[Any, ...]] = {
    "kernel": ("categorical", ["exp", "softplus"]),
    "alpha": ("float", 0.6, 1.6),
    "temperature": ("float", 0.03, 0.3, {"log": True}),
}


def ask(trial: Any, name: str, kind: str, *how: Any) -> Any:
    named = how[-1] if isinstance(how[-1], dict) else {}
    return getattr(trial, f"suggest_{kind}")(name, *(each for each in how if each is not named), **named)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("known_users", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_study_has_the_space_of_the_search(tmp_path: Path, at_once: bool, known_users: bool) -> None:
    space = read_space({name: entry for name, (entry, _) in FIELDS.items()})
    losses = portfolio([10], known_users=known_users)
    candidates = all_candidates(losses, space, len(losses) + 8, seed=0)
    trials = [MirroredTrial(each.name, settings(each)) for each in candidates]
    url = f"sqlite:///{tmp_path / 'study.db'}"
    mirror = Mirror(url, "mine", "mine")
    steps = [len(trials)] if at_once else range(len(losses), len(trials) + 1)  # as TPE draws them
    for step in steps:
        mirror.write(trials[:step], space=parameters(space))
    study = optuna.load_study(study_name="mine", storage=url)
    for trial, written in zip(study.trials, trials, strict=True):
        assert trial.params == {name: plain_choice(value) for name, value in written.params.items()}
        assert trial.user_attrs == {"name": written.name}
    further = study.ask()
    for name, how in {
        **OF_LOSSES,
        **{k: v for _, asked in FIELDS.values() for k, v in asked.items()},
    }.items():
        ask(further, name, *how)
    mirror.close()


@pytest.mark.parametrize("field", FIELDS)
def test_a_distribution_is_that_of_the_section(field: str) -> None:
    entry, asked = FIELDS[field]
    found = {name: distribution_of(each) for name, each in parameters(read_space({field: entry})).items()}
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    for name, how in asked.items():
        ask(trial, name, *how)
    assert found == trial.distributions


def test_what_a_distribution_holds() -> None:
    d = optuna.distributions
    rate, width = d.FloatDistribution(0.01, 0.1, log=True), d.IntDistribution(4, 8)
    assert holding(rate, 0.05) is rate
    assert holding(rate, 0.2) == d.FloatDistribution(0.01, 0.2, log=True)
    assert holding(width, 2) == d.IntDistribution(2, 8)
    assert holding(d.FloatDistribution(0.0, 1.0), 2) == d.FloatDistribution(0.0, 2.0)
    for distribution, value in (
        (rate, 0.0),
        (rate, "high"),
        (rate, float("nan")),
        (width, 4.5),
        (width, 12.5),
        (width, True),
        (d.IntDistribution(0, 8, step=2), 3),
        (d.FloatDistribution(0.0, 1.0, step=0.5), 2.0),
        (d.CategoricalDistribution(["a", "b"]), "c"),
    ):
        assert holding(distribution, value) is None


def test_what_values_show() -> None:
    given = [
        {"loss": "CROLoss", "temperature": 0.5, "alpha": 1, "margin": 1, "n": 5, "scale": None},
        {"loss": "SoftmaxLoss", "temperature": 0.1, "margin": 2.5, "n": 20, "scale": 0.8},
    ]
    found = {name: distribution_of(each) for name, each in dimensions_of(given).items()}
    d = optuna.distributions
    assert found == {
        "loss": d.CategoricalDistribution(["CROLoss", "SoftmaxLoss"]),
        "temperature": d.FloatDistribution(0.03, 0.5, log=True),
        "alpha": d.FloatDistribution(0.6, 1.6),
        "margin": d.FloatDistribution(1.0, 2.5),
        "n": d.IntDistribution(5, 20),
        "scale": d.CategoricalDistribution([None, 0.8]),
    }
