"""What is given beside weights is compared by what it builds, not by how it is spelled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import lightning_croloss.public  # noqa: F401
from lightning_croloss.cli import main
from lightning_croloss.cli.config.named_parts import with_classes
from lightning_croloss.cli.config.overrides import chosen_arguments
from lightning_croloss.cli.trust import trusted_by_user
from lightning_croloss.configurable import Configurable, class_path, to_config
from lightning_croloss.losses import CROLoss, PowerImportance, RetrievalLoss
from lightning_croloss.losses.importance import Importance
from lightning_croloss.losses.kernels import Kernel
from lightning_croloss.negatives import InBatchNegatives, MixedNegatives, Negatives, UniformNegatives
from tests.cli.cases import error_of
from tests.cli.small import FIT, NO_PLOT, fit, newest
from tests.losses.variations import VARIATIONS, that_go_together
from tests.negatives.test_configs_of_every_sampler import CONFIGS
from tests.registries import concrete

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

SAMPLER = {cls.__name__: cls for cls in concrete(Negatives)}
OF_SAMPLERS = [(name, argument) for name in CONFIGS for argument in yaml.safe_load(CONFIGS[name][0])]
OF_PARTS = [(cls, name) for cls, (_, others) in VARIATIONS.items() for name in others]
NAMES = [f"{cls.__name__}.{name}" for cls, name in OF_PARTS]


def plain(part: Configurable) -> dict[str, Any]:
    described: dict[str, Any] = to_config(part)
    return described


def in_a_model(part: Configurable) -> dict[str, Any]:
    """Return the part where a model keeps it: a loss, its importance or its kernel, or a sampler."""
    if isinstance(part, Importance):
        return {"loss": plain(CROLoss(importance=part))}
    if isinstance(part, Kernel):
        return {"loss": plain(CROLoss(kernel=part))}
    return {"loss" if isinstance(part, RetrievalLoss) else "negatives": plain(part)}


def written(cls: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what a config holds that gives the arguments and nothing else."""
    given = {"class_path": class_path(cls), "init_args": to_config(arguments)}
    if issubclass(cls, (Importance, Kernel)):
        name = "importance" if issubclass(cls, Importance) else "kernel"
        given = {"class_path": class_path(CROLoss), "init_args": {name: given}}
        return {"loss": given}
    return {"loss" if issubclass(cls, RetrievalLoss) else "negatives": given}


def compared(given: dict[str, Any], kept: dict[str, Any], resumes: bool = True) -> list[Any]:
    trusted = trusted_by_user(None, imported=True)
    path = "lightning_croloss.YouTubeDNN"
    _, idle = chosen_arguments(
        {"class_path": path, "init_args": with_classes(given)},
        {"class_path": path, "init_args": kept},
        "the weights",
        resumes,
        lambda part: trusted.build(part, "the weights"),
    )
    return idle


@pytest.mark.parametrize(("cls", "name"), OF_PARTS, ids=NAMES)
def test_what_was_given_is_given_again(cls: type, name: str) -> None:
    arguments = that_go_together(cls, [name])
    kept = in_a_model(cls(**arguments))
    assert compared(written(cls, arguments), kept) == []
    assert compared(written(cls, {name: arguments[name]}), kept, resumes=False) == []


@pytest.mark.parametrize(("cls", "name"), OF_PARTS, ids=NAMES)
def test_what_was_not_given_is_refused(cls: type, name: str) -> None:
    start, others = VARIATIONS[cls]
    kept = in_a_model(cls(**start))
    with pytest.raises(ValueError, match=rf"^model\.loss\.(\w+\.)?{name}(\.\w+)? was given as .*leave"):
        compared(written(cls, {name: others[name]}), kept)


@pytest.mark.parametrize(("name", "argument"), OF_SAMPLERS)
def test_samplers_likewise(name: str, argument: str) -> None:
    cls, arguments = SAMPLER[name], yaml.safe_load(CONFIGS[name][0])
    assert compared(written(cls, arguments), in_a_model(CONFIGS[name][1]())) == []
    other = {"parts": MixedNegatives([InBatchNegatives(), InBatchNegatives()])} if argument == "parts" else {}
    kept = in_a_model(
        other["parts"]
        if other
        else cls(**{"parts": [UniformNegatives()] * 2} if name == "MixedNegatives" else {})
    )
    with pytest.raises(ValueError, match=rf"^model\.negatives\.{argument}"):
        compared(written(cls, {argument: arguments[argument]}), kept)


SPELLINGS = [
    ({"alpha": 1.2}, {"importance": PowerImportance(1.2)}, None),
    ({"alpha": 1.0}, {}, None),
    ({"importance": "power"}, {}, None),
    ({"importance": {"name": "power", "alpha": 1.2}}, {"alpha": 1.2}, None),
    ({"kernel": {"name": "sigmoid"}}, {}, None),
    ({"kernel": "exp", "n": None, "by_rule": None}, {"kernel": "exp", "alpha": 1.2}, None),
    (
        {"alpha": 1.5},
        {"alpha": 1.2},
        "loss.alpha was given as 1.5, but the weights was trained with importance=PowerImportance(alpha=1.2)",
    ),
    ({"alpha": 1.0}, {"n": 10}, "loss.alpha was given as 1.0"),
    (
        {"importance": "power"},
        {"importance": {"name": "target_n", "n": 50}},
        "loss.importance was given as PowerImportance",
    ),
    ({"kernel": "exp", "alpha": 1.2}, {"alpha": 1.2}, "loss.kernel was given as 'exp'"),
]


@pytest.mark.parametrize(("given", "kept", "said"), SPELLINGS, ids=lambda value: str(value)[:40])
def test_spellings_of_a_loss(given: dict[str, Any], kept: dict[str, Any], said: str | None) -> None:
    theirs = {"loss": plain(CROLoss(**kept))}
    ours = {"loss": {"class_path": class_path(CROLoss), "init_args": given}}
    if said is None:
        assert compared(ours, theirs) == []
        return
    with pytest.raises(ValueError, match=rf"^{re.escape('model.' + said)}"):
        compared(ours, theirs)


def test_defaults_of_an_optimizer_are_no_difference() -> None:
    adam = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1}}
    kept = {"optimizer": adam}
    whole = {"optimizer": {**adam, "init_args": {"lr": 0.1, "betas": [0.9, 0.999], "foreach": None}}}
    assert compared(whole, kept) == []
    whole["optimizer"]["init_args"]["betas"] = [0.8, 0.999]
    with pytest.raises(ValueError, match=r"model\.optimizer\.betas was given as \[0.8, 0.999\]"):
        compared(whole, kept)


def test_a_run_with_a_short_form_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(
        "model: {class_path: YouTubeDNN, init_args: {loss: {class_path: CROLoss, init_args: "
        "{kernel: exp, alpha: 1.2, temperature: 0.14}}}}"
    )
    last = fit("--config=mine.yaml")
    capsys.readouterr()
    kept = newest("runs/**/config.yaml")
    for arguments in (["--config=mine.yaml", *FIT], [f"--config={kept}"]):
        main(["fit", *arguments, f"--ckpt_path={last}", "--trainer.max_epochs=2", "--test_after_fit=false"])
        main(["test", *arguments, f"--ckpt_path={last}"])
    main(["fit", f"--config={kept}", "--test_after_fit=false"])  # a new run
    assert "without effect" not in capsys.readouterr().err
    said = error_of(
        capsys, "fit", "--config=mine.yaml", *FIT, f"--ckpt_path={last}", "--model.loss.alpha=1.3"
    )
    assert said.startswith("model.loss.alpha was given as 1.3, but --ckpt_path")
