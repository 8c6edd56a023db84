"""Where a command of the trainer takes its weights from: ``--ckpt_path`` or ``--pretrained``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import Trainer

from croloss_serving.common.home_folder import expanded
from lightning_croloss.cli.checkpoint_path import find_checkpoint, is_registry
from lightning_croloss.cli.config.overrides import plain
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.trust import trusted_by_user
from lightning_croloss.common.plain_text import check_texts
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models import RetrievalModel
from lightning_croloss.models.checkpoint import KEY, described_model, read_checkpoint, tensors_of
from lightning_croloss.models.declared_sizes import built_to_fit, elements, planned
from lightning_croloss.models.weights import check_weights
from lightning_croloss.pretrained import load_pretrained
from lightning_croloss.training.whole_checkpoints import check_lightning_version


@dataclass
class Weights:
    """The weights of a command, before its model is built.

    Attributes:
        source: what errors call them.
        described: class path and arguments of their model; None if the config's is taken.
        model: their model, if the command measures or uses it as it is.
    """

    source: str = ""
    described: dict[str, Any] | None = None
    model: RetrievalModel | None = None


def find_weights(command: str, section: Namespace, given: Mapping[str, Any], words: Sequence[str]) -> Weights:
    """Return where the weights come from; every command but fit needs some.

    Args:
        command: "fit", "validate", "test" or "predict".
        section: its config; a ``ckpt_path`` such as ``last`` becomes the file that it stands for.
        given: what the user gave of it.
        words: the command line.

    Raises:
        ValueError: there are none, they are given twice, or they cannot be found.
    """
    if section.get("ckpt_path") is not None:
        section["ckpt_path"] = find_checkpoint(str(section["ckpt_path"]), plain(section["trainer"]))
    path, name = section.get("ckpt_path"), section.get("pretrained")
    if name == "":
        raise ValueError("pretrained is empty: name a model, or leave it out")
    if path and name and command != "fit" and wrote(words, "pretrained"):
        raise ValueError(f"{command} takes its weights from --ckpt_path or --pretrained, not from both")
    if path:
        return Weights() if is_registry(path) else _of_checkpoint(command, path, section, given)
    if command == "fit":
        return Weights()
    if not name:
        raise ValueError(
            f"{command} needs trained weights, from --ckpt_path or --pretrained: without them they would be "
            "random"
        )
    model = load_pretrained(name, allow=trusted_by_user(section.get("allow_classes"), imported=True))
    described = described_model({"hyper_parameters": dict(model.hparams)})
    trusted = trusted_by_user(section.get("allow_classes"), imported=True)
    check_texts(described, f"--pretrained {name}", trusted.find)
    return Weights(f"--pretrained {name}", described, model)


def refuse_idle(command: str, section: Namespace, words: Sequence[str]) -> None:
    """Refuse on the command line what has a meaning in other commands only; a config serves them all.

    Raises:
        ValueError: naming the option.
    """
    if command != "fit" and wrote(words, "test_after_fit"):
        raise ValueError(f"test_after_fit has no effect on {command}, only on fit: leave it out")
    if command == "predict" and wrote(words, "metrics_per_user"):
        raise ValueError("metrics_per_user has no effect on predict, which measures nothing: leave it out")
    if command != "predict" and wrote(words, "overwrite") and not section.get("metrics_per_user"):
        raise ValueError(
            f"overwrite has no effect without metrics_per_user, the one file that {command} may replace: "
            "leave it out"
        )
    if command == "predict" and wrote(words, "trainer.logger") and section["trainer"].get("logger"):
        raise ValueError("trainer.logger: predict logs nothing: leave it out")


def wrote(words: Sequence[str], option: str) -> bool:
    """Tell whether an option, or a part of it, stands on the command line itself."""
    names = (word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--"))
    return any(name.rstrip("+") == option or name.startswith(f"{option}.") for name in names)


@contextmanager
def telling_checkpoint(trainer: Trainer) -> Iterator[None]:
    """Name the checkpoint in what goes wrong while the trainer restores it.

    Raises:
        PretrainedError: in place of an error that a state in it causes in Lightning or torch.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError, AssertionError) as error:
        # kept from the moment when it was read until all of it is restored
        if isinstance(error, PretrainedError) or not trainer._checkpoint_connector._loaded_checkpoint:
            raise
        told = " ".join(str(error).split()) or type(error).__name__
        raise PretrainedError(f"ckpt_path: {trainer.ckpt_path} cannot be used: {told}") from error


def _of_checkpoint(command: str, path: str, section: Namespace, given: Mapping[str, Any]) -> Weights:
    """Read the model of a checkpoint, which may name trusted and imported classes only.

    Unlike Lightning's own way, this imports nothing because the file names it.
    """
    plain_types = section.get("weights_only") is not False
    try:
        content = read_checkpoint(path, weights_only=plain_types, mmap="://" not in path, rows=False)
    except (PretrainedError, FileNotFoundError) as error:
        raise ValueError(f"ckpt_path: {error}") from None
    source, described = f"--ckpt_path {path}", described_model(content)
    if described["class_path"] is None and KEY not in content:
        raise ValueError(
            f"ckpt_path: {path!r} was not written by this package: it names no model that a command "
            "could take; give the checkpoint of a run of croloss, or of a Trainer with a RetrievalModel"
        )
    advice = "name {0!r} in a config, which imports it, or give --allow_classes={0}"
    trusted = trusted_by_user(section.get("allow_classes"), imported=True, advice=advice)
    if described["class_path"] is not None:
        trusted.check({"model": described}, path)
    check_lightning_version(content, f"ckpt_path: {path!r}")
    if command == "fit" and section.get("pretrained"):
        _check_beginning(content.get(KEY) or {}, path, section["pretrained"])
    if described["class_path"] is None:
        return Weights(source)
    described = _as_built(described, content, path, trusted)
    seed, kept = given.get("seed_everything"), (content.get(KEY) or {}).get("seed")
    if command == "fit" and type(seed) is int and kept is not None and seed != kept:
        raise ValueError(
            f"seed_everything={seed} was given, but --ckpt_path goes on with a run of the seed {kept}: give "
            "the same"
        )
    return Weights(source, described)


def _check_beginning(kept: Mapping[str, Any], path: str, name: str) -> None:
    """Refuse to go on with a run as if it had started from a pretrained model; the same model again is right.

    Args:
        kept: what this package keeps in the checkpoint.
        path: the checkpoint.
        name: the pretrained model that was given.

    Raises:
        ValueError: the run started otherwise.
    """
    if "started_from" not in kept:  # an earlier release wrote it
        say(
            f"--ckpt_path goes on with a run, which does not say what it started from: --pretrained {name}, "
            "meant for new runs, is not used"
        )
    elif not _is_same_model(before := kept["started_from"], name):
        began = f"--pretrained {before}" if isinstance(before, str) else "random weights"
        raise ValueError(
            f"--ckpt_path {path} goes on with a run that started from {began}, and --pretrained {name} "
            "starts a new one: give one of the two"
        )


def _is_same_model(before: object, now: str) -> bool:
    """Tell whether two names are those of one pretrained model, a path to it written in two ways included."""
    if not isinstance(before, str) or "://" in before + now:
        return before == now
    return expanded(before).resolve() == expanded(now).resolve()


def _as_built(
    described: dict[str, Any], content: dict[str, Any], path: str, trusted: TrustedClasses
) -> dict[str, Any]:
    """Return the description of a checkpoint's model as the model itself gives it, if the weights are its.

    The parser of the command line then has nothing to read into what a stranger wrote.
    """
    trusted.check({"model": described}, path)
    weights = tensors_of(content, path)
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    held = elements(weights)

    def build() -> RetrievalModel:
        model = trusted.build(described, path)
        if not isinstance(model, RetrievalModel):
            raise PretrainedError(f"{path}: {described['class_path']!r} is not a RetrievalModel")
        model.configure_model()
        return model

    with torch.random.fork_rng(devices=[]):
        model = planned(build, shapes, held, path) or built_to_fit(build, shapes, held, path)
    check_weights(model, content["state_dict"], path, f" of {model.num_items:,} items", model.strict_loading)
    described = described_model({"hyper_parameters": dict(model.hparams)})
    check_texts(described, path, trusted.find)
    return described
