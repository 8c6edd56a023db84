"""Reading and checking of RecBole settings; needs no RecBole."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.plain_yaml import check_yaml
from lightning_croloss.data.history_filters import parse_intervals

# What loading and filtering depend on. Nothing else of the configuration reaches RecBole: its own training
# and evaluation settings could only make it raise.
LOADING = (
    "field_separator",
    "seq_separator",
    "encoding",
    "USER_ID_FIELD",
    "ITEM_ID_FIELD",
    "TIME_FIELD",
    "load_col",
    "unload_col",
    "seq_len",
    "rm_dup_inter",
    "val_interval",
    "filter_inter_by_user_or_item",
    "user_inter_num_interval",
    "item_inter_num_interval",
    "alias_of_user_id",
    "alias_of_item_id",
)
COUNT_FILTERS = ("user_inter_num_interval", "item_inter_num_interval")
NO_EFFECT = {
    "eval_args": "the argument split decides about training, validation and test",
    "threshold": "it only makes labels; drop events with val_interval",
}


def read_settings(files: Sequence[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``files``, later ones winning, overlaid with ``config``.

    Raises:
        ValueError: if a file is missing or is not a mapping, or for settings that cannot be honoured.
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
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(
                f"config file {name!r} is not valid YAML: {' '.join(str(error).split())}"
            ) from error
        if content is not None and not isinstance(content, dict):
            raise ValueError(f"config file {name!r} must be a mapping of names to values")
        given.update(content or {})
    given.update(config)
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


def check_filters(settings: Mapping[str, Any]) -> None:
    """Refuse filter values that RecBole would only warn about and ignore, or fail on.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in COUNT_FILTERS:
        if settings.get(key) is not None:
            check_interval(key, settings[key])
    keep = settings.get("rm_dup_inter")
    if keep not in (None, "first", "last"):
        raise ValueError(f"rm_dup_inter={keep!r} must be 'first' or 'last', or null to keep repeated events")
    if not isinstance(settings.get("val_interval") or {}, dict):
        raise ValueError(f"val_interval={settings['val_interval']!r} must map columns to intervals")
    load_col = settings.get("load_col")
    if load_col is not None and not (
        isinstance(load_col, dict)
        and all(names == "*" or isinstance(names, list) for names in load_col.values())
    ):
        raise ValueError(
            f"load_col={load_col!r} must map file extensions to lists: {{inter: [user_id, item_id]}}"
        )


def check_interval(name: str, value: object) -> None:
    """Refuse what is not one or several intervals.

    Raises:
        ValueError: naming the setting and its value.
    """
    try:
        parse_intervals(str(value))
    except ValueError:
        raise ValueError(f"{name}={value!r} is not an interval such as '[5,inf)'") from None
