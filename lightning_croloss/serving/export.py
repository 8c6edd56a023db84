"""export_model: all that serving a model needs, in a folder that needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from croloss_serving.common.home_folder import expanded
from croloss_serving.common.switches import check_switches
from croloss_serving.errors import NeededBy
from croloss_serving.index import INDEXES, build_index, write_index
from croloss_serving.layout import (
    ENCODER,
    FORMAT,
    INDEX,
    ITEMS,
    KNOWN_USERS,
    OF_ITEMS_ALONE,
    USER_FEATURES,
    USER_TABLE,
    USER_VECTORS,
    VECTORS,
)
from croloss_serving.recommend.token_table import write_tokens
from croloss_serving.user_feature_vectors import UserFeatureVectors, Vectors
from lightning_croloss import __version__
from lightning_croloss.common.checks import check_choice
from lightning_croloss.common.files import replacing_folder
from lightning_croloss.common.replaceable import check_folder
from lightning_croloss.common.space import check_space
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models import RetrievalModel
from lightning_croloss.recommend.protocol import items_of, user_knowledge
from lightning_croloss.recommend.top_items import evaluating
from lightning_croloss.serving.encoder import write_encoder

NEEDED_BY = NeededBy("exporting a model", "export")
#: Users whose vectors are computed together.
BLOCK = 4096


def export_model(
    model: RetrievalModel,
    folder: str | Path,
    *,
    index: str | None = None,
    overwrite: bool = False,
    exclude_history: bool | None = None,
) -> Path:
    """Write a model for serving, complete or not at all.

    The folder holds the user encoder as ONNX (``encoder.onnx``), the item vectors (``items.npy``, float32,
    row i for item id i + 1), tokens, training events and titles of the items (``items.parquet``), the tokens
    of the users if the model uses their ids or features (``users.parquet``) and the embeddings of their
    features (``user_features.npy``, ``user_features.npz``), on request a faiss index of the vectors
    (``index.faiss``), and a manifest with checksums. ``Recommender`` serves it.

    A model that recommends to users of known ids only has no encoder: the vectors of its users are written
    instead (``users.npy``, float32, row i for user id i + 1, whose tokens are in ``users.parquet``).

    Args:
        model: the model; it must know its vocabulary.
        folder: where to.
        index: "flat", "ivf", "hnsw", or None for none: the vectors are then searched exactly.
        overwrite: whether an earlier export may be replaced.
        exclude_history: whether ``Recommender`` leaves out the items of the history, unless it is told
            otherwise; None is the model's own ``exclude_history``.

    Returns:
        The folder.

    Raises:
        ValueError: the model knows no tokens, or the index is unknown.
        TypeError: it is no model of this package, or an argument is of another type.
        FileExistsError: the folder exists and is not to be overwritten, is not an export or holds other
            files, or another job is writing it.
        NotEnoughSpaceError: the disk is full.
        MissingExtraError: a package is missing.
    """
    check_switches(overwrite=overwrite, exclude_history=exclude_history)
    items = items_of(model)
    path = expanded(folder)
    check_folder(path, FORMAT, overwrite)
    if index is not None:
        check_choice("index", index, INDEXES)
    knowledge = user_knowledge(model)
    with torch.no_grad(), evaluating(model):
        vectors = np.ascontiguousarray(model.encode_catalogue().cpu().numpy(), dtype=np.float32)
        users = None
        if model.needs_known_users:
            if knowledge.vocabulary is None:
                raise ValueError(
                    f"this {type(model).__name__} is served by the tokens of its users, which its file does "
                    "not hold: fit or test it on its data, or save it with them"
                )
            users = _user_vectors(model)
    check_space(path, vectors.nbytes, "the vectors of the items alone")
    lengths = [length for length in (model.metadata.max_history, model.max_length) if length]
    with replacing_folder(path, overwrite) as temporary:
        files = [ENCODER if users is None else KNOWN_USERS, VECTORS, ITEMS]
        if users is None:
            write_encoder(model, temporary / ENCODER)
        else:
            np.save(temporary / KNOWN_USERS, users)
        np.save(temporary / VECTORS, vectors)
        items.write(temporary / ITEMS, NEEDED_BY)
        if knowledge.vocabulary is not None:
            write_tokens(knowledge.vocabulary, temporary / USER_TABLE, NEEDED_BY)
            files.append(USER_TABLE)
        if model.user_feature_embedding is not None:
            _user_features(model).write(temporary / USER_VECTORS, temporary / USER_FEATURES)
            files += [USER_VECTORS, USER_FEATURES]
        if index is not None:
            write_index(build_index(index, vectors), temporary / INDEX)
            files.append(INDEX)
        described: dict[str, Any] = {
            "class": type(model).__name__,
            "similarity": model.similarity,
            "num_items": model.num_items,
            "dim": vectors.shape[1],
            "max_history": min(lengths, default=None),
            "num_users": model.num_users if knowledge.uses_users else 0,
            "uses_history": knowledge.uses_history,
            "index": index,
            "exclude_history": model.exclude_history if exclude_history is None else exclude_history,
        }
        version = replace(FORMAT, version=OF_ITEMS_ALONE)
        if users is not None:
            described["needs_users"], version = True, FORMAT
        if model.metadata.events:
            described["events"], version = model.metadata.events.to_plain(), FORMAT
        version.write(temporary, {"model": described, "lightning_croloss": __version__}, files)
    return path


def _user_vectors(model: RetrievalModel) -> Vectors:
    """Return the vectors (num_users, D) of all users of a model that has one for each, without gradient."""
    parts = []
    for ids in torch.arange(1, model.num_users + 1, device=model.device).split(BLOCK):
        nothing = torch.zeros(len(ids), 1, dtype=torch.int64, device=model.device)
        batch = RetrievalBatch(history=nothing, targets=nothing, users=ids)
        parts.append(model.encode_users(batch)[:, 0].float().cpu())
    return np.ascontiguousarray(torch.cat(parts).numpy(), dtype=np.float32)


@torch.no_grad()
def _user_features(model: RetrievalModel) -> UserFeatureVectors:
    """Return the embeddings of the features of a model's users."""
    embedding = model.user_feature_embedding
    assert embedding is not None
    with evaluating(model):
        table = embedding(torch.arange(model.num_users + 1, device=model.device))
    weights = [weight.float().cpu().numpy() for weight in embedding.weights()]
    return UserFeatureVectors(table.float().cpu().numpy(), model.metadata.user_encodings, weights)
