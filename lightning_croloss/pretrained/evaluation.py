"""load_for_evaluation: a pretrained model on the data of its users, as it is or not at all."""

from __future__ import annotations

from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models import RetrievalModel
from lightning_croloss.models.metadata import check_features
from lightning_croloss.pretrained.fine_tuning import SEEN, load_matching


def load_for_evaluation(
    model: RetrievalModel, pretrained: RetrievalModel, data: RetrievalDataModule, source: str
) -> None:
    """Copy all that a pretrained model has learned into one that is measured without training.

    Its items are found by token, so that the data may leave some out. Nothing may be left to chance: unlike
    :func:`load_matching` this refuses data with items that the pretrained model does not know.

    Args:
        model: the model to fill, built with the arguments of the pretrained one and for the data.
        pretrained: the model to take from.
        data: the data that ``model`` will be measured on.
        source: what the pretrained model is called in errors.

    Raises:
        PretrainedError: something of the data is unknown to the pretrained model.
        ValueError: the data has other features than the pretrained model.
    """
    check_features(pretrained.hparams, model.hparams)
    known = pretrained.metadata.item_vocabulary
    if known is not None and known.fingerprint() == data.item_vocabulary.fingerprint():
        model.load_state_dict(pretrained.state_dict())
        model.metadata = pretrained.metadata
        return
    found = load_matching(model, pretrained, data)
    if found.num_matched < found.num_items:
        raise PretrainedError(
            f"{found.num_items - found.num_matched:,} of the data's {found.num_items:,} items are unknown to "
            f"{source}: train on the data first, with croloss fit --pretrained"
        )
    if found.left:
        left = ", ".join(f"{name} ({why})" for name, why in found.left.items())
        raise PretrainedError(f"{source} does not fit the data: {left}")
    embeddings = (model.item_feature_embedding, model.user_feature_embedding)
    for embedding, features in zip(embeddings, data.features, strict=True):
        if embedding is not None:
            embedding.fill(features)
    seen = getattr(model, SEEN, None)
    if seen is not None:
        seen.copy_(model.known_items)
