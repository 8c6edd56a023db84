"""Reading and checking of RecBole settings; needs no RecBole."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.plain_yaml import check_yaml
from lightning_croloss.data.recbole.kinds import KINDS, check_kinds, evaluated

# What loading and filtering depend on. Nothing else of the configuration reaches RecBole: its own training
# and evaluation settings could only make it raise.
LOADING = tuple(KINDS)
COUNT_FILTERS = ("user_inter_num_interval", "item_inter_num_interval")
NO_EFFECT = {
    "eval_args": "the argument split decides about training, validation and test",
    "threshold": "it only makes labels; drop events with val_interval",
}


def read_settings(files: Sequence[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``files``, later ones winning, overlaid with ``config``.

    Texts of ``config`` are evaluated as RecBole evaluates them.

    Raises:
        ValueError: if a file is missing or is not a mapping, or for settings that cannot be honoured or have
            values of another kind.
    """
    given: dict[str, Any] = {}
    for name in files:
        path = expanded(name)
        if not path.is_file():
            raise ValueError(f"config_files names {name!r}, which is not a file")
        try:
            text = path.read_text(encoding="utf-8")
            check_yaml(text)
            content = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # a date that does not exist is a ValueError
            raise ValueError(
                f"config file {name!r} is not valid YAML: {' '.join(str(error).split())}"
            ) from error
        if content is not None and not isinstance(content, dict):
            raise ValueError(f"config file {name!r} must be a mapping of names to values")
        given.update(content or {})
    given.update(evaluated(config))
    check_kinds(given)
    if given.get("benchmark_filename") is not None:
        raise ValueError(
            "benchmark_filename is not supported: give one .inter file and let the argument split divide it"
        )
    for key, reason in NO_EFFECT.items():
        if given.get(key) is not None:
            warnings.warn(f"the RecBole setting {key} has no effect here: {reason}", stacklevel=2)
    return given


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a setting that RecBole does not know and that looks like one of those for loading.

    Raises:
        ValueError: naming the setting and the nearest known one.
    """
    for name in set(given) - set(known):
        nearest = difflib.get_close_matches(name, LOADING, n=1, cutoff=0.8)
        if nearest:
            raise ValueError(f"RecBole has no setting {name!r}; did you mean {nearest[0]!r}?")
