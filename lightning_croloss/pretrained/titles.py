"""Titles of items that a pretrained model must not contain, read from the data where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.data.recbole.datamodule import RecBoleDataModule
from lightning_croloss.errors import DataError

#: The arguments that matter for titles. No other is taken from a config that a stranger may have written.
_ARGUMENTS = ("dataset", "title_field", "missing_values", "ragged")


def titles_at_hand(
    config: Mapping[str, Any], vocabulary: Vocabulary | None, trusted: TrustedClasses
) -> list[str] | None:
    """Return the titles of a model's items from the data set bundled with RecBole, or None.

    The licence of ml-100k does not let its titles travel with a model; RecBole has them. A config cannot
    have any other file opened.

    Args:
        config: the sections of the model's config.
        vocabulary: the tokens of the items.
        trusted: the classes that the config may name.
    """
    described = config.get("data")
    if vocabulary is None or not isinstance(described, dict):
        return None
    if trusted.find(described.get("class_path"), "the config") is not RecBoleDataModule:
        return None
    arguments = described.get("init_args") or {}
    if not isinstance(arguments, dict) or find_spec("recbole") is None:
        return None
    elsewhere = arguments.get("data_path") or arguments.get("config_files") or arguments.get("config")
    wanted = {name: arguments[name] for name in _ARGUMENTS if arguments.get(name) is not None}
    if elsewhere or not wanted.get("title_field"):
        return None
    if any(not isinstance(value, str) for name, value in wanted.items() if name != "missing_values"):
        return None
    try:
        return RecBoleDataModule(**wanted).load_titles(vocabulary)
    except (DataError, ValueError, TypeError):  # another release of RecBole may bundle other data
        return None
