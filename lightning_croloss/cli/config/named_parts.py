"""Kernels and importances that a config names by dictionaries of a name, as ``{name: target_n, n: 50}``.

The parser gets them as ``class_path`` and ``init_args``, so that a later config or option can change an
argument, or put another class in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from lightning_croloss.configurable import class_path, to_config
from lightning_croloss.losses import IMPORTANCES, KERNELS

_REGISTRIES: dict[str, Mapping[str, type]] = {
    "kernel": KERNELS,
    "lambda_kernel": KERNELS,
    "importance": IMPORTANCES,
}


def with_classes(content: Any) -> Any:
    """Return the content of a config in which every known name is a class path; others stay as they are."""
    if isinstance(content, list):
        return [with_classes(entry) for entry in content]
    if not isinstance(content, dict):
        return content
    return {key: _described(key, with_classes(entry)) for key, entry in content.items()}


def named_classes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a loss in which a kernel or importance that is named alone is its class."""
    return {
        key: to_config(_REGISTRIES[key][value]())
        if isinstance(value, str) and value in _REGISTRIES.get(key, ())
        else value
        for key, value in arguments.items()
    }


def words_with_classes(words: Sequence[str]) -> list[str]:
    """Return a command line in which ``--….importance={name: …}`` is a class path."""
    found = list(words)
    for at, word in enumerate(words):
        option, mark, value = word.partition("=")
        field = option.rpartition(".")[2]
        if not option.startswith("--") or field not in _REGISTRIES:
            continue
        if not mark and at + 1 == len(words):
            continue
        text = value if mark else words[at + 1]
        try:
            given = yaml.safe_load(text)
        except yaml.YAMLError:
            continue  # which the parser explains
        if (described := _described(field, given)) is not given:
            text = yaml.safe_dump(described, default_flow_style=True, width=2**20).strip()
            found[at if mark else at + 1] = f"{option}={text}" if mark else text
    return found


def _described(key: Any, value: Any) -> Any:
    registry = _REGISTRIES.get(key) if isinstance(key, str) else None
    if key == "importance" and isinstance(value, str):  # the name of a kernel is as good as its class
        value = {"name": value} if value in IMPORTANCES else value
    if registry is None or not isinstance(value, dict) or "class_path" in value:
        return value
    name = value.get("name")
    cls = registry.get(name) if isinstance(name, str) else None
    if cls is None:
        return value
    arguments = {name: entry for name, entry in value.items() if name != "name"}
    return {"class_path": class_path(cls), "init_args": arguments}
