"""load_pretrained: a model from the zoo, a folder, the Hugging Face Hub or a checkpoint of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, distributed

from croloss_serving.common.feature_encoding import FeatureEncoding, read_encodings
from croloss_serving.common.home_folder import expanded
from croloss_serving.common.manifest import check_same, checked_content, checked_file, path_of_open
from croloss_serving.common.plain_json import MOST_BYTES_OF_TOKENS, parse_json
from croloss_serving.common.regular_files import read_regular
from croloss_serving.recommend.event_inputs import EventInputs
from croloss_serving.recommend.item_table import ItemTable
from croloss_serving.recommend.token_table import count_rows, read_tokens
from lightning_croloss.common.plain_yaml import OF_STRANGERS, PlainYamlError, parse_yaml
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models import RetrievalModel
from lightning_croloss.models.checkpoint import described_model, read_checkpoint, tensors_of
from lightning_croloss.models.cutoffs import measurable
from lightning_croloss.models.declared_sizes import built_to_fit, elements
from lightning_croloss.models.metadata import check_events
from lightning_croloss.models.weights import check_weights
from lightning_croloss.pretrained.layout import (
    CONFIG,
    EVENTS,
    MANIFEST,
    METRICS,
    NEEDED_BY,
    USER_FEATURES,
    USERS,
    VOCABULARY,
    WEIGHTS,
    read_manifest,
)
from lightning_croloss.pretrained.metadata import checked_arguments, checked_metadata
from lightning_croloss.pretrained.registry import find_pretrained
from lightning_croloss.pretrained.safe_config import trusted_classes
from lightning_croloss.pretrained.titles import titles_at_hand
from lightning_croloss.sharding.deferred import deferred_tables
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint, rest_of
from lightning_croloss.training.sharded.loading import fill_own_weights
from lightning_croloss.training.sharded.refusals import refuse_tables
from lightning_croloss.training.sharded.tables import shard_tables, shards_of


def load_pretrained(name: str | Path, *, allow: Iterable[type | str] | TrustedClasses = ()) -> RetrievalModel:
    """Return a pretrained model, ready to recommend.

    No code is run because a file names it: weights are safetensors (or plain types, in a checkpoint),
    and a config may name classes of this package and of torch's optimizers and schedulers only. Every file
    is checked against its checksum.

    Args:
        name: a name of :func:`list_pretrained` such as ``"ml-100k/mind"``; a folder that
            ``save_pretrained`` wrote; ``"hf://owner/name"``, ``"hf://owner/name@revision/some/folder"``; or
            the ``.ckpt`` file of a run.
        allow: further classes that the config may name, or their dotted paths: a model of your own, for
            example. Or all that it may name, as ``TrustedClasses``.

    Returns:
        The model in evaluation mode, on the CPU. Its ``metadata`` holds ``item_vocabulary``, ``item_counts``,
        ``item_titles`` (or None) and ``max_history``. Call ``train()`` on it before training it further.

    Raises:
        PretrainedError: there is no such model, a file is damaged, changed or of another version, a class is
            not allowed, or weights and config do not match.
        MissingExtraError: a package that reading needs is missing.
    """
    return _loaded(name, allow, in_shards=False)


def load_in_shards(name: str | Path, *, allow: Iterable[type | str] | TrustedClasses = ()) -> RetrievalModel:
    """Return a pretrained model whose tables of ids lie in shards, one a process; all processes call it.

    Of a checkpoint in shards each process reads its own rows alone, however many processes wrote it. Any
    other model is read whole, and each process keeps its rows.

    Args:
        name: as for :func:`load_pretrained`.
        allow: the same.

    Raises:
        PretrainedError: the same; also if a row of another process is not a finite number.
        ValueError: the tables of this model cannot lie in shards, or have fewer rows than there are
            processes.
    """
    if not (distributed.is_initialized() and distributed.get_world_size() > 1):
        return load_pretrained(name, allow=allow)
    model = _loaded(name, allow, in_shards=is_sharded_checkpoint(name))
    refuse_tables(model, f"{name} in several processes", "take one")
    shard_tables(model)
    return model


def _loaded(
    name: str | Path, allow: Iterable[type | str] | TrustedClasses, in_shards: bool
) -> RetrievalModel:
    trusted = allow if isinstance(allow, TrustedClasses) else trusted_classes(allow)
    path = expanded(name)
    # the random weights of a new model are overwritten: the caller's random numbers go on undisturbed
    with torch.random.fork_rng(devices=[]):
        if _is_checkpoint(path):
            model = _from_checkpoint(path, trusted, in_shards)
        else:
            model = _from_folder(name, trusted)
    return model.eval()


def read_config(folder: Path) -> dict[str, Any]:
    """Return the sections of a pretrained model's config.

    Raises:
        PretrainedError: the file is not such a config.
    """
    try:
        content = read_regular(folder / CONFIG, OF_STRANGERS.most_bytes)
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{folder / CONFIG} cannot be read: {error}") from None
    return _parsed_config(content, folder / CONFIG)


def _parsed_config(content: bytes, path: Path) -> dict[str, Any]:
    fault = f"{path} is not plain YAML with the section 'model'"
    try:
        config = parse_yaml(content)
    except PlainYamlError as error:
        raise PretrainedError(f"{fault}: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise PretrainedError(fault)
    if not isinstance(config["model"].get("init_args") or {}, dict):
        raise PretrainedError(f"{path}: the section 'model' must have class_path and init_args only")
    return config


def _is_checkpoint(path: Path) -> bool:
    return path.suffix == ".ckpt" and os.path.isfile(rest_of(path))


def _from_folder(name: str | Path, trusted: TrustedClasses) -> RetrievalModel:
    folder = find_pretrained(name)
    manifest = read_manifest(folder, (METRICS,))  # each other file is compared when it is read
    content = checked_content(folder, CONFIG, manifest, OF_STRANGERS.most_bytes)
    config = _parsed_config(content, folder / CONFIG)
    where = str(folder / CONFIG)
    trusted.check(config, where)
    described = config["model"]
    from_data = checked_arguments(manifest["from_data"], folder / MANIFEST)
    arguments = measurable({**(described.get("init_args") or {}), **from_data})
    with checked_file(folder, WEIGHTS, manifest) as file:
        try:
            tensors = load_file(path_of_open(file, folder / WEIGHTS))
        except SafetensorError as error:
            raise PretrainedError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from None
        model = _build({**described, "init_args": arguments}, tensors, where, trusted)
        _load_weights(model, tensors, f"{folder / WEIGHTS}")
        del tensors  # which lie in the file
    kept = checked_metadata(manifest["facts"], folder / MANIFEST)
    model.metadata.max_history = kept["max_history"]
    model.metadata.reading = kept.get("reading")
    model.metadata.user_fingerprint = kept["user_fingerprint"]
    model.metadata.seed = kept["seed"]
    if USERS in manifest["files"]:
        _load_users(model, folder / USERS, checked_content(folder, USERS, manifest))
    if USER_FEATURES in manifest["files"]:
        content = checked_content(folder, USER_FEATURES, manifest, MOST_BYTES_OF_TOKENS)
        model.metadata.user_encodings = _user_encodings(model, folder / USER_FEATURES, content)
    if EVENTS in manifest["files"]:
        content = checked_content(folder, EVENTS, manifest, MOST_BYTES_OF_TOKENS)
        model.metadata.events = _events(folder / EVENTS, content)
    try:
        check_events(model.metadata.events, model.event_feature_embedding, model.reads_times)
    except ValueError as error:
        raise PretrainedError(f"{folder / EVENTS} is missing or damaged: {error}") from None
    _load_items(model, folder / VOCABULARY, checked_content(folder, VOCABULARY, manifest))
    check_same(folder, manifest)
    if model.metadata.item_titles is None:
        model.metadata.item_titles = titles_at_hand(config, model.metadata.item_vocabulary, trusted)
    return model


def _load_items(model: RetrievalModel, path: Path, content: bytes) -> None:
    """Read the items of a model from the content of a file.

    Raises:
        PretrainedError: the file is not a table of items, or has another catalogue.
    """
    if (rows := count_rows(path, NEEDED_BY, content)) != model.num_items:
        raise PretrainedError(
            f"{path} has {rows:,} items, but the weights are for a catalogue of {model.num_items:,}"
        )
    items = ItemTable.read(path, NEEDED_BY, model.num_items, content)
    metadata = model.metadata
    metadata.item_vocabulary, metadata.item_titles = items.vocabulary, items.titles
    metadata.item_counts = None
    if items.counts is not None:
        metadata.item_counts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.from_numpy(items.counts)])


def _load_users(model: RetrievalModel, path: Path, content: bytes) -> None:
    """Read the tokens of the users of a model from the content of a file.

    Raises:
        PretrainedError: the file is not such a table, or holds other users.
    """
    vocabulary = read_tokens(path, NEEDED_BY, int(model.hparams.get("num_users") or 0), content)
    if vocabulary.fingerprint() != model.metadata.user_fingerprint:
        raise PretrainedError(f"{path} holds other users than the weights are for")
    model.metadata.user_vocabulary = vocabulary


def _user_encodings(model: RetrievalModel, path: Path, content: bytes) -> list[FeatureEncoding] | None:
    fault = f"{path} does not say how features of users are read: it is damaged"
    try:
        encodings = read_encodings(parse_json(content))
    except ValueError as error:
        raise PretrainedError(f"{fault} ({error})") from None
    embedding = model.user_feature_embedding
    if encodings is not None and (embedding is None or not embedding.fits(encodings)):
        raise PretrainedError(f"{path} describes other features of users than the weights are for")
    return encodings


def _events(path: Path, content: bytes) -> EventInputs:
    try:
        events = EventInputs.from_plain(parse_json(content))
    except ValueError as error:
        raise PretrainedError(f"{path} does not say how events are read: it is damaged ({error})") from None
    return events


def _from_checkpoint(path: Path, trusted: TrustedClasses, in_shards: bool) -> RetrievalModel:
    content = read_checkpoint(path, rows=not in_shards)
    if not all(isinstance(content.get(part), dict) for part in ("state_dict", "hyper_parameters")):
        raise PretrainedError(f"{path} is not a checkpoint of plain types, or is damaged")
    described = described_model(content)
    trusted.check({"model": described}, str(path))
    with deferred_tables(drawn=False) if in_shards else nullcontext():
        model = _build(described, tensors_of(content, str(path)), str(path), trusted)
    try:
        model.on_load_checkpoint(content)
    except ValueError as error:
        raise PretrainedError(f"{path}: {error}") from None
    if in_shards:
        refuse_tables(model, f"{path} in several processes", "take one")
        shard_tables(model, drawn=False)
        fill_own_weights(content, path, shards_of(model))
    _load_weights(model, content["state_dict"], str(path), assign=in_shards)
    return model


def _build(
    described: dict[str, Any], tensors: dict[str, Tensor], where: str, trusted: TrustedClasses
) -> RetrievalModel:
    def build() -> RetrievalModel:
        model = trusted.build(described, where)
        if not isinstance(model, RetrievalModel):
            raise PretrainedError(f"{where}: {described.get('class_path')!r} is not a RetrievalModel")
        return model

    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return built_to_fit(build, shapes, elements(tensors), where)


def _load_weights(
    model: RetrievalModel, tensors: dict[str, Tensor], where: str, assign: bool = False
) -> None:
    """Copy weights into a model, or let it take them as they are.

    Raises:
        PretrainedError: they are of another architecture or catalogue, or are no numbers.
    """
    check_weights(model, tensors, where, f" of {model.num_items:,} items")
    if assign:
        types = {name: value.dtype for name, value in model.state_dict().items()}
        tensors = {name: value.to(types[name]) for name, value in tensors.items()}
    model.load_state_dict(tensors, assign=assign)
