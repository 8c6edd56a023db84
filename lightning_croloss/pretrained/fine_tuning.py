"""load_matching: start a model on new data from the weights of a pretrained one, items matched by token."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from croloss_serving.recommend.time_units import in_unit, other_size, other_unit
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models import HistoryModel, RetrievalModel
from lightning_croloss.models.graphs import graphs_of
from lightning_croloss.models.layers import FeatureEmbedding
from lightning_croloss.models.layers.smoothed_embedding import SmoothedEmbedding
from lightning_croloss.models.transformer_model import TransformerModel
from lightning_croloss.pretrained.loading import load_pretrained

#: Parameters with a row for each item or user, and the prefixes of those of features.
ITEM_TABLE, USER_TABLE = "item_embedding.weight", "user_embedding.weight"
ITEM_FEATURES, USER_FEATURES = "item_feature_embedding.", "user_feature_embedding."
EVENT_FEATURES = "event_feature_embedding."
SEEN, POSITIONS = "seen_items", "place_embedding.weight"
#: Layers whose widths follow from the number of features.
CROSS = ("user_interactions.cross.", "item_interactions.cross.")


@dataclass
class Matching:
    """What a model took from a pretrained one.

    Attributes:
        num_items: size of the new catalogue.
        num_matched: number of its items that the pretrained model knows.
        num_pretrained: number of items of the pretrained model.
        left: names of the parameters that keep their own initial values, and why.
    """

    num_items: int
    num_matched: int
    num_pretrained: int
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return one line: what was taken, what was not, and why."""
        text = f"{self.num_matched:,} of {self.num_items:,} items start from the pretrained model's "
        text += f"{self.num_pretrained:,}"
        if self.left:
            text += "; not taken: " + ", ".join(f"{name} ({why})" for name, why in self.left.items())
        return text


@torch.no_grad()
def load_matching(
    model: RetrievalModel, pretrained: RetrievalModel | str | Path, data: RetrievalDataModule
) -> Matching:
    """Copy into a new model what a pretrained one of the same architecture has learned.

    Item embeddings follow the tokens of the items: a new item keeps its own vector. User embeddings are taken
    if the users are the same. Embeddings of features are taken if the features, and their values on all
    matched items (or all users), are the same, so that their rows mean the same; those of positions if
    ``train_on`` is, which says from which end they count; what is learned of the time between events if the
    times are in the same unit, as far as that is known. All else is copied whole.

    Warns of times in another unit.

    Args:
        model: the model to fill, before its training.
        pretrained: the model to take from, or what :func:`load_pretrained` takes.
        data: the data that ``model`` will be trained on.

    Returns:
        What was taken.

    Raises:
        PretrainedError: the pretrained model has another architecture or other widths, knows no tokens, or
            shares no item with the data.
    """
    if not isinstance(pretrained, RetrievalModel):
        pretrained = load_pretrained(pretrained)
    if type(pretrained) is not type(model):
        raise PretrainedError(
            f"the pretrained model is a {type(pretrained).__name__}, the model to train a "
            f"{type(model).__name__}: choose one of the same architecture"
        )
    known = pretrained.metadata.item_vocabulary
    if known is None:
        raise PretrainedError("the pretrained model knows no tokens: its items cannot be matched")
    # rows[i]: the pretrained row of the new item i, 0 = none
    rows = torch.from_numpy(known.encode(data.item_vocabulary.tokens))
    rows = torch.cat([rows.new_zeros(1), rows])
    matched = rows > 0
    if not matched.any():
        raise PretrainedError(
            f"none of the data's {data.num_items:,} items is known to the pretrained model (its first is "
            f"{known.tokens[0]!r}, the data's {data.item_vocabulary.tokens[0]!r}): are the tokens the same?"
        )
    found = Matching(data.num_items, int(matched.sum()), len(known))
    theirs, ours = pretrained.state_dict(), model.state_dict()
    table = pretrained.item_embedding
    if isinstance(table, SmoothedEmbedding) and not isinstance(model.item_embedding, SmoothedEmbedding):
        theirs[ITEM_TABLE] = table.table()  # what its items are, to a model that smooths nothing
    same_users = pretrained.metadata.user_fingerprint == data.user_vocabulary.fingerprint()
    left = _features_left(pretrained, data, rows) | ({} if same_users else {USER_TABLE: "other users"})
    left |= _event_features_left(pretrained, model, data)
    left |= _times_left(pretrained, model, data)
    if isinstance(model, TransformerModel) and model.train_on != getattr(pretrained, "train_on", None):
        left[POSITIONS] = "with another train_on they count from the other end"
    from_data = {SEEN, *graphs_of(model)}  # set when training begins, the first from ``known_items`` too
    for name, value in ours.items():
        reason = next((why for start, why in left.items() if name.startswith(start)), None)
        if name not in theirs:
            reason = reason or "new"
        elif name.startswith(CROSS) and theirs[name].shape != value.shape:
            reason = reason or "other fields"
        if reason is not None:
            if not FeatureEmbedding.is_table(name):
                found.left[name] = reason
        elif name in from_data:
            pass
        elif name == ITEM_TABLE:
            _check_shape(name, theirs[name].shape[1:], value.shape[1:])
            value[matched] = theirs[name][rows[matched]].to(value)
        elif not FeatureEmbedding.is_table(name):
            _check_shape(name, theirs[name].shape, value.shape)
            value.copy_(theirs[name])
    if isinstance(model, HistoryModel):
        counts = pretrained.metadata.item_counts
        seen = theirs.get(SEEN, torch.ones(len(known) + 1) > 0 if counts is None else counts > 0)
        model.known_items = matched & seen[rows]
    return found


def _features_left(pretrained: RetrievalModel, data: RetrievalDataModule, rows: Tensor) -> dict[str, str]:
    """Return the prefixes of feature embeddings whose rows would mean something else, and why."""
    left = {}
    users = torch.arange(data.num_users + 1)
    same_users = pretrained.metadata.user_fingerprint == data.user_vocabulary.fingerprint()
    for prefix, theirs, features, known, comparable in (
        (ITEM_FEATURES, pretrained.item_feature_embedding, data.features[0], rows, True),
        (USER_FEATURES, pretrained.user_feature_embedding, data.features[1], users, same_users),
    ):
        if theirs is None:
            continue
        if not comparable or [feature.name for feature in features] != theirs.names:
            left[prefix] = "other users" if not comparable else "other features"
            continue
        for number, feature in enumerate(features):
            if not theirs.rows_agree(number, known, feature):
                left[prefix + theirs.learned_prefix(number)] = f"{feature.name} has other values"
    return left


def _event_features_left(
    pretrained: RetrievalModel, model: RetrievalModel, data: RetrievalDataModule
) -> dict[str, str]:
    """Return the prefixes of embeddings of features of events that would mean something else, and why."""
    theirs, ours = pretrained.event_feature_embedding, model.event_feature_embedding
    if theirs is None or ours is None:
        return {}
    if theirs.names != ours.names or theirs.kinds != ours.kinds:
        return {EVENT_FEATURES: "other features"}
    left = {}
    encodings = zip(pretrained.metadata.events.encodings, data.event_inputs.encodings, strict=True)
    for number, (before, now) in enumerate(encodings):
        if before != now:
            left[f"{EVENT_FEATURES}embeddings.{number}."] = f"{now.name} has other values"
    return left


def _times_left(
    pretrained: RetrievalModel, model: RetrievalModel, data: RetrievalDataModule
) -> dict[str, str]:
    """Return the names of parameters that were learned of times in another unit, and why; warn of it."""
    before, now, names = pretrained.metadata.events, data.times_are, model.time_parameters()
    if before.times is None or now is None or not names:
        return {}
    sizes = before.typical_time, data.typical_time
    theirs, ours = (in_unit(size) for size in sizes)
    if before.typical_time is None:  # an earlier release wrote the file
        theirs, ours = f"that are {before.times}", now
        differ = before.times != now
    else:
        differ = other_unit(*sizes) or other_size(*sizes)
    if not differ:
        return {}
    why = f"was trained with times of events {theirs}, the data's are {ours}"
    rank_zero_warn(f"the pretrained model {why}: what it has learned of the time between events is not taken")
    return dict.fromkeys(names, f"times {theirs}, the data's are {ours}")


def _check_shape(name: str, theirs: torch.Size, ours: torch.Size) -> None:
    if theirs != ours:
        raise PretrainedError(
            f"the pretrained model has other widths: {name!r} has the shape {tuple(theirs)}, but "
            f"{tuple(ours)} in the model to train; give the model the arguments of the pretrained one"
        )
