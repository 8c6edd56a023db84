"""How long the items' vectors are before training, by the similarity."""

import pytest
import torch

from lightning_croloss import BERT4Rec, Caser, YouTubeDNN
from lightning_croloss.sharding.deferred import deferred_tables
from lightning_croloss.sharding.row_shards import RowShards
from tests.models.cases import EVENT_FEATURES, ITEM_FEATURES
from tests.models.sequences import ARCHITECTURE, WAYS

SMALL = [*dict.fromkeys(cls for cls, _ in WAYS), Caser, BERT4Rec]
each_small = pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)


def tables(cls, similarity, **features):
    """The weights of everything that is looked up for an item or an event, before training."""
    torch.manual_seed(0)
    model = cls(60, embedding_dim=16, similarity=similarity, **ARCHITECTURE.get(cls.__name__, {}), **features)
    found = (model.item_embedding, model.item_feature_embedding, model.event_feature_embedding)
    return [weight.detach() for table in found if table is not None for weight in table.parameters()]


@each_small
@pytest.mark.parametrize("features", [{}, ITEM_FEATURES, EVENT_FEATURES], ids=["none", "items", "events"])
def test_for_dot_products_the_same_draw_starts_at_a_fraction_of_its_length(cls, features):
    for cosine, dot in zip(tables(cls, "cosine", **features), tables(cls, "dot", **features), strict=True):
        torch.testing.assert_close(dot, cosine / 4)


@each_small
def test_items_start_with_length_1_for_cosines(cls):
    lengths = tables(cls, "cosine")[0][1:].norm(dim=1)
    assert 0.9 < float(lengths.mean()) < 1.1


def test_users_of_caser_start_as_small_as_items():
    users = {}
    for similarity in ("cosine", "dot"):
        torch.manual_seed(0)
        model = Caser(60, num_users=9, use_user_id=True, embedding_dim=16, similarity=similarity)
        users[similarity] = model.user_embedding.weight.detach()
    torch.testing.assert_close(users["dot"], users["cosine"] / 4)
    assert 0.7 < float(users["cosine"][1:].norm(dim=1).mean()) < 1.3


def test_an_architecture_that_does_not_ask_for_it_starts_alike():
    for cosine, dot in zip(tables(YouTubeDNN, "cosine"), tables(YouTubeDNN, "dot"), strict=True):
        assert torch.equal(cosine, dot)


@each_small
def test_tables_that_are_made_later_start_as_small(cls):
    def build():
        torch.manual_seed(0)
        return cls(60, embedding_dim=16, similarity="dot", **ARCHITECTURE.get(cls.__name__, {}))

    with deferred_tables():
        later = build().item_embedding
    assert torch.equal(later.made(RowShards(61)).weight, build().item_embedding.weight)
