"""save_pretrained: a model as a folder that others can load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from croloss_serving.common.feature_encoding import plain_encodings
from croloss_serving.common.home_folder import expanded
from croloss_serving.common.switches import check_switches
from croloss_serving.recommend.token_table import write_tokens
from lightning_croloss.common.files import replacing_folder
from lightning_croloss.common.made_plain import check_text, made_plain
from lightning_croloss.common.plain_yaml import OF_USERS, dump_yaml, read_yaml
from lightning_croloss.common.replaceable import check_folder
from lightning_croloss.common.space import check_space
from lightning_croloss.models import RetrievalModel
from lightning_croloss.models.layers import FeatureEmbedding
from lightning_croloss.pretrained.layout import (
    CARD,
    CONFIG,
    EVENTS,
    FORMAT,
    METRICS,
    NEEDED_BY,
    STORED,
    USER_FEATURES,
    USERS,
    VOCABULARY,
    WEIGHTS,
    write_manifest,
)
from lightning_croloss.recommend.protocol import items_of, metadata_of

#: Arguments of a model that come from its data, so that a config does not write them.
FROM_DATA = ("num_items", "num_users", "item_features", "user_features", "event_features")


def save_pretrained(
    model: RetrievalModel,
    folder: str | Path,
    *,
    config: Mapping[str, Any] | str | Path | None = None,
    metrics: Mapping[str, Any] | None = None,
    card: str | None = None,
    titles: bool = True,
    users: bool = True,
    dtype: str = "float32",
    overwrite: bool = False,
) -> Path:
    """Write a trained model as a folder that :func:`load_pretrained` reads, complete or not at all.

    Args:
        model: the model; it must have seen its data, whose vocabulary is kept.
        folder: where to write it; as ``<zoo>/<dataset>/<model>`` it is found by name.
        config: the resolved config of the run, as sections, or its file; its section ``model`` is
            written anew from the model. None writes that section alone.
        metrics: what was measured: numbers, also of numpy or torch, texts, and lists and dictionaries of
            them.
        card: the text of the model card; None writes a short one.
        titles: whether to write the titles of the items, if the model knows them. False where the licence of
            the data does not let them be shown.
        users: whether to write the tokens of the users, if the model uses their ids or features. Without them
            it cannot be asked for a user by its token. False where they must not be shown.
        dtype: "float32", or "float16" or "bfloat16" to store numbers in half the space.
        overwrite: whether an earlier model may be replaced.

    Returns:
        The folder.

    Raises:
        ValueError: the model has not seen its data, the dtype is unknown or cannot hold the weights, the
            config is not one, or metrics, config or card hold what a file cannot.
        TypeError: metrics, config or card hold what is not plain, it is no model of this package, or an
            argument is of another type.
        FileExistsError: the folder exists and must not be overwritten, is not a pretrained model or holds
            other files, or another job is writing it.
        NotEnoughSpaceError: the disk is full.
    """
    check_switches(titles=titles, users=users, overwrite=overwrite)
    metadata = metadata_of(model)
    path = expanded(folder)
    check_folder(path, FORMAT, overwrite)
    if metadata.item_vocabulary is None:
        raise ValueError("the model has no vocabulary: fit or test it on its data before saving it")
    items = items_of(model) if titles else replace(items_of(model), titles=None)
    # what cannot be written is told before anything is
    if not isinstance(card, (str, NoneType)):
        raise TypeError(f"card must be the text of the card, got a {type(card).__name__}")
    text_of_card = check_text(card or _short_card(model), "card")
    plain_metrics = made_plain(dict(metrics or {}), "metrics", of_json=True)
    text_of_metrics = json.dumps(plain_metrics, indent=2, allow_nan=False)
    content = {**made_plain(_sections(config), "config"), "model": model_section(model)}
    text_of_config = dump_yaml(content)
    reading = made_plain(metadata.reading, "what is known of how the events were read")
    tensors = stored_weights(model, dtype)
    check_space(path, sum(tensor.nbytes for tensor in tensors.values()), "the weights alone")
    from_data = {name: model.hparams[name] for name in FROM_DATA if name in model.hparams}
    if not from_data.get("event_features"):
        from_data.pop("event_features", None)  # which earlier releases do not know
    with replacing_folder(path, overwrite) as temporary:
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
        (temporary / CONFIG).write_text(text_of_config, "utf-8")
        shutil.copymode(temporary / CONFIG, temporary / WEIGHTS)  # which only its owner could read
        items.write(temporary / VOCABULARY, NEEDED_BY)
        if users and metadata.user_vocabulary is not None:
            write_tokens(metadata.user_vocabulary, temporary / USERS, NEEDED_BY)
        if metadata.user_encodings is not None:
            encodings = json.dumps(plain_encodings(metadata.user_encodings), ensure_ascii=False)
            (temporary / USER_FEATURES).write_text(encodings + "\n", "utf-8")
        if metadata.events:
            events = json.dumps(metadata.events.to_plain(), ensure_ascii=False)
            (temporary / EVENTS).write_text(events + "\n", "utf-8")
        (temporary / METRICS).write_text(text_of_metrics + "\n", "utf-8")
        (temporary / CARD).write_text(text_of_card, "utf-8")
        write_manifest(
            temporary,
            {
                "model": content["model"]["class_path"],
                "from_data": from_data,
                "facts": {
                    "max_history": metadata.max_history,
                    "reading": reading,
                    "user_fingerprint": metadata.user_fingerprint,
                    "seed": metadata.seed,
                },
            },
        )
    return path


def stored_weights(model: RetrievalModel, dtype: str) -> dict[str, Tensor]:
    """Return the state of a model as it is stored.

    Raises:
        ValueError: the dtype is unknown, or a weight is too large for it or not finite.
    """
    if (name := not_finite_as(model, dtype)) is not None:
        raise ValueError(f"the weights {name} are not finite as {dtype}: they cannot be stored")
    return {name: _as_stored(name, value, dtype).contiguous().clone() for name, value in _state_of(model)}


def not_finite_as(model: RetrievalModel, dtype: str) -> str | None:
    """Return the name of the first weights that a type cannot hold, or None.

    Raises:
        ValueError: the dtype is unknown.
    """
    if dtype not in STORED:
        raise ValueError(f"dtype must be one of {', '.join(STORED)}, got {dtype!r}")
    for name, value in _state_of(model):
        if _is_weight(name, value) and not bool(torch.isfinite(_as_stored(name, value, dtype)).all()):
            return name
    return None


def _state_of(model: RetrievalModel) -> Iterator[tuple[str, Tensor]]:
    return ((name, value.detach().cpu()) for name, value in model.state_dict().items())


def _is_weight(name: str, value: Tensor) -> bool:
    # a feature's table holds NaN where a value is missing, and numbers that are not weights
    return value.is_floating_point() and not FeatureEmbedding.is_table(name)


def _as_stored(name: str, value: Tensor, dtype: str) -> Tensor:
    return value.to(getattr(torch, dtype)) if _is_weight(name, value) else value


def model_section(model: RetrievalModel) -> dict[str, Any]:
    """Return the model as a config file writes it, without what comes from the data."""
    arguments = {
        name: value
        for name, value in model.hparams.items()
        if name not in FROM_DATA and not name.startswith("_")
    }
    return {"class_path": model.hparams["_class_path"], "init_args": arguments}


def _sections(config: Mapping[str, Any] | str | Path | None) -> dict[str, Any]:
    if isinstance(config, (str, Path)):
        config = read_yaml(expanded(config), OF_USERS)
    if config is not None and not isinstance(config, Mapping):
        raise ValueError("config must consist of sections such as 'data' and 'model'")
    return dict(config or {})


def _short_card(model: RetrievalModel) -> str:
    return (
        f"# {type(model).__name__}\n\nA retrieval model of lightning-croloss over a catalogue of "
        f"{model.num_items:,} items. Load it with `load_pretrained` of this folder.\n"
    )
