"""Whether an argument, however it is spelled, builds the part of a model that is kept beside weights.

What a checkpoint keeps of a loss is one form of it: ``alpha: 1.2`` is kept as the importance that it is short
for, and the name of an importance as its class. So two spellings are compared by what is built of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from lightning_croloss.cli.config.named_parts import named_classes
from lightning_croloss.configurable import to_config
from lightning_croloss.errors import PretrainedError

#: Builds what a description of class path and arguments means; raises PretrainedError where it cannot.
Build = Callable[[Any], Any]


def standing_for(
    build: Build, kept: Mapping[str, Any], name: str, value: Any
) -> tuple[bool, dict[str, Any] | None]:
    """Put an argument in the place of what is kept of a part, and compare what is built.

    Args:
        build: see :data:`Build`.
        kept: class path and arguments of the part beside the weights.
        name: the argument that was given, spelled otherwise than kept.
        value: its value.

    Returns:
        Whether the part is the same; and, if it is another, the kept argument that the given one excludes.
    """
    arguments = dict(kept.get("init_args") or {})
    before = _form(build, {"class_path": kept["class_path"], "init_args": arguments})
    if before is None:
        return False, None
    excluded: dict[str, Any] | None = None
    for left_out in (None, *(other for other in arguments if other != name)):
        rest = {other: entry for other, entry in arguments.items() if other != left_out}
        found = _form(build, {"class_path": kept["class_path"], "init_args": {**rest, name: value}})
        if found == before:
            return True, None
        if found is not None:
            excluded = None if left_out is None else {left_out: arguments[left_out]}
            break  # it goes with all that is kept, but for what it excludes: so it means something else
    return False, excluded


def _form(build: Build, described: Mapping[str, Any]) -> Any:
    """Return what a part keeps of itself, a class of torch with its defaults; None if it cannot be built."""
    try:
        with torch.random.fork_rng(devices=[]):
            part = build(_one_form(described))
    except PretrainedError:
        return None
    kept = to_config(part)
    if isinstance(part, functools.partial):
        kept["init_args"] = dict(_defaults(part.func)) | kept["init_args"]
    return {**kept, "init_args": named_classes(kept["init_args"])}


def _one_form(value: Any) -> Any:
    """Return a description in which further arguments stand among the others."""
    if isinstance(value, (list, tuple)):
        return [_one_form(entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    if "class_path" not in value:
        return {name: _one_form(entry) for name, entry in value.items()}
    arguments = {**(value.get("init_args") or {}), **(value.get("dict_kwargs") or {})}
    return {"class_path": value["class_path"], "init_args": _one_form(arguments)}


def _defaults(cls: Any) -> Iterator[tuple[str, Any]]:
    for name, parameter in inspect.signature(cls).parameters.items():
        try:
            if parameter.default is not inspect.Parameter.empty:
                yield name, to_config(parameter.default)
        except TypeError:
            continue  # a default that no config writes
