"""What a command is told of a model whose weights bring arguments of their own: used, said, or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonargparse import Namespace

from lightning_croloss.cli.config.same_parts import Build, standing_for
from lightning_croloss.common.former_names import today
from lightning_croloss.common.printed_call import call_of
from lightning_croloss.pretrained.saving import FROM_DATA

#: Arguments that change what is measured and in how much memory, not what the weights mean.
EVALUATION = ("ns", "exclude_history", "tile_elements")
#: Arguments without effect on a trained model, besides every dropout.
TRAINING = (
    "loss",
    "negatives",
    "optimizer",
    "lr_scheduler",
    "lr_scheduler_interval",
    "sparse_gradients",
    "readout",
    "readout_power",
)
#: What a loss chooses itself where it is left out: null is no contradiction to what it has chosen.
FOUND = ("loss.kernel", "loss.importance", "loss.temperature", "loss.by_rule")
_ABSENT = "nothing"


@dataclass(frozen=True)
class Difference:
    """An argument that was given, and that the weights were not trained with.

    Attributes:
        path: the argument, ``loss.temperature`` for one of an argument's own.
        given: its value on the command line or in a config.
        kept: its value beside the weights.
    """

    path: str
    given: Any
    kept: Any

    @property
    def argument(self) -> str:
        """The model's own argument."""
        return self.path.partition(".")[0]


@dataclass(frozen=True)
class _Call:
    """Arguments that are told by their names, since others were given."""

    arguments: Mapping[str, Any]


def refuse_from_data(given: Mapping[str, Any]) -> None:
    """Refuse arguments of a model that come from its data.

    Raises:
        ValueError: one is given.
    """
    for name in FROM_DATA:
        value = (given.get("init_args") or {}).get(name)
        if value not in (None, [], ()):
            raise ValueError(f"model.{name} comes from the data, got {value!r}: leave it out")


def chosen_arguments(
    given: Mapping[str, Any],
    described: Mapping[str, Any],
    source: str,
    resumes: bool,
    build: Build | None = None,
) -> tuple[dict[str, Any], list[Difference]]:
    """Decide between what the user gave of a model and what its weights were trained with.

    Args:
        given: class path and arguments that the user wrote; defaults are not among them.
        described: class path and arguments beside the weights.
        source: where the weights come from, for errors.
        resumes: whether the training goes on, which the arguments of training then must fit.
        build: builds a part of the model from its description, to compare what differs in spelling only;
            None compares what is written.

    Returns:
        The arguments to use in place of the weights' own, and the differences that have no effect.

    Raises:
        ValueError: an argument, or the class, contradicts the weights.
    """
    ours, theirs = _name(given.get("class_path")), _name(described["class_path"])
    if ours is not None and ours != theirs:
        raise ValueError(f"model: {ours} was given, but {source} holds a {theirs}: give --model={theirs}")
    used, idle = {}, []
    arguments = {**(given.get("init_args") or {}), **(given.get("dict_kwargs") or {})}
    for name in FROM_DATA:
        arguments.pop(name, None)
    for difference in _differences(arguments, described["init_args"], build):
        name = difference.argument
        if name in EVALUATION:
            used[name] = arguments[name]
        elif (name in TRAINING or name.endswith("dropout")) and not resumes:
            idle.append(difference)
        else:
            start = ", or start a new run from its weights with --pretrained" if resumes else ""
            raise ValueError(
                f"model.{difference.path} was given as {_text(difference.given)}, but {source} was trained "
                f"with {_text(difference.kept)}: leave it out or give the same{start}"
            )
    return used, idle


def plain(value: Any) -> Any:
    """Return a parsed config as plain dictionaries and lists."""
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def idle_text(differences: list[Difference], source: str) -> str:
    """Return one line on differences that have no effect."""
    named = (f"model.{found.path} ({_text(found.given)})" for found in differences)
    return f"without effect, as it matters in training only and {source} is trained: {', '.join(named)}"


def _differences(given: Any, kept: Any, build: Build | None, path: str = "") -> Iterator[Difference]:
    """Yield what is given otherwise than kept; what is not given does not count."""
    if isinstance(given, dict) and isinstance(kept, dict):
        if "class_path" in given:
            if _name(given["class_path"]) != _name(kept.get("class_path")):
                yield Difference(path, given, kept)
                return
            inner = {**(given.get("init_args") or {}), **(given.get("dict_kwargs") or {})}
            for name, value in inner.items():
                yield from _of_argument(name, value, kept, build, path)
            return
        for name, value in given.items():
            yield from _differences(value, kept.get(name, _ABSENT), build, f"{path}.{name}" if path else name)
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for ours, theirs in zip(given, kept, strict=True):
            if found := next(_differences(ours, theirs, build, path), None):
                yield Difference(found.path, given, kept) if found.path == path else found
                return
    elif given != kept and not (given is None and path in FOUND):
        yield Difference(path, given, kept)


def _of_argument(
    name: str, value: Any, kept: Mapping[str, Any], build: Build | None, path: str
) -> Iterator[Difference]:
    """Yield how an argument of a part differs from what is kept of the part, not where it says the same."""
    inner = f"{path}.{name}" if path else name
    found = list(_differences(value, (kept.get("init_args") or {}).get(name, _ABSENT), build, inner))
    if not found or build is None:
        yield from found
        return
    same, excluded = standing_for(build, kept, name, value)
    if excluded:  # what it is short for
        yield Difference(inner, value, _Call(excluded))
    elif not same:
        yield from found


def _name(path: Any) -> str | None:
    """Return the name of a class, which may be written with or without its module."""
    return today(path).rpartition(".")[2] if isinstance(path, str) else None


def _text(value: Any) -> str:
    """Return how a value is told: a class by its name."""
    if isinstance(value, _Call):
        return ", ".join(f"{name}={call_of(entry)}" for name, entry in value.arguments.items())
    if isinstance(value, dict) and "class_path" in value:
        return str(_name(value["class_path"]))
    return str(value) if value is _ABSENT else repr(value)
