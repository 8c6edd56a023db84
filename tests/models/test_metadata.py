"""What a checkpoint knows of its catalogue, and which data it fits."""

import dataclasses
import functools

import pytest
import torch

from lightning_croloss import Caser, LightGCN, MatrixFactorization, RetrievalModel, YouTubeDNN
from lightning_croloss.data import Vocabulary
from lightning_croloss.models.other_tokens import told_apart
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model
from tests.models.small_models import HISTORIES


def test_the_vocabulary_and_the_length_of_histories_travel(checkpoint):
    again = RetrievalModel.load_from_checkpoint(checkpoint[0], weights_only=True)
    assert again.metadata.item_vocabulary == ClusteredData().item_vocabulary
    assert again.metadata.max_history == 5
    assert again.metadata.item_counts is not None
    assert torch.equal(again.metadata.item_counts, ClusteredData().item_counts)


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (
            ClusteredData(num_items=44),
            r"\(40 items\) than the data's \(44 items\): only the data has 'item 40' and 'item 41'; use",
        ),
        (
            ClusteredData(item_prefix="thing "),
            r"\(40 items\) than the data's \(40 items\): only the checkpoint has 'item 0' and 'item 1', only "
            "the data has 'thing 0' and 'thing 1'; use the data",
        ),
    ],
    ids=["other size", "other tokens"],
)
@pytest.mark.parametrize("verb", ["fit", "validate", "test", "loaded"])
def test_another_catalogue_is_refused_in_one_sentence(checkpoint, data, sizes, verb):
    if verb == "loaded":
        model = YouTubeDNN.load_from_checkpoint(checkpoint[0], weights_only=True)
        meet = functools.partial(quiet_trainer().test, model, data)
    else:
        model = small_model(num_items=data.num_items)
        meet = getattr(quiet_trainer(), verb)
        meet = functools.partial(meet, model, data, ckpt_path=checkpoint[0], weights_only=True)
    with pytest.raises(ValueError, match=f"another catalogue {sizes}") as caught:
        meet()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("more", [-1, 1, 60])
def test_other_sizes_than_the_data_s_are_refused_before_anything_is_computed(verb, more):
    data = ClusteredData()
    other = small_model(num_items=data.num_items + more)
    told = (
        f"num_items={data.num_items + more}, but the data has {data.num_items} items: give it data.num_items"
    )
    with pytest.raises(ValueError, match=told):
        getattr(quiet_trainer(), verb)(other, data)
    if more > 0:
        assert other.metadata.item_vocabulary is None  # nothing of these data is kept
    sizes = {"num_users": data.num_users + more, "embedding_dim": 4, "ns": [5]}
    told = (
        f"num_users={data.num_users + more}, but the data has {data.num_users} users: give it data.num_users"
    )
    for known in (MatrixFactorization, LightGCN, Caser):
        kwargs = {"use_user_id": True} if known is Caser else {}
        with pytest.raises(ValueError, match=told):
            getattr(quiet_trainer(), verb)(known(data.num_items, **sizes, **kwargs), data)


def test_tokens_that_one_side_alone_has():
    many = [f"i{number}" for number in range(2**16 + 5)]
    assert told_apart(Vocabulary(many), Vocabulary(many[:-1])) == f"only the checkpoint has {many[-1]!r}"
    assert told_apart(Vocabulary(["a", "b"]), Vocabulary(["b", "a"])) == "the same in another order"
    assert told_apart(Vocabulary([1, 2, 3]), Vocabulary([3, 4])) == (
        "only the checkpoint has 1 and 2, only the data has 4"
    )


def test_other_users_are_named():
    model = MatrixFactorization(40, num_users=60, ns=(5,))
    data, other = ClusteredData(), ClusteredData()
    events = data.interactions
    users = Vocabulary([f"user {number}" for number in range(1, 61)])
    other.__dict__["interactions"] = dataclasses.replace(events, user_vocabulary=users)
    model.metadata.take_from(data, knows_users=True)
    said = "only the checkpoint has 'user 0', only the data has 'user 60'; use the data and the filters"
    with pytest.raises(ValueError, match=f"^the model knows other users, .* than the data's: {said}"):
        model.metadata.take_from(other, knows_users=True)


def test_the_same_catalogue_is_welcome(checkpoint):
    model = small_model(pooling="max")
    quiet_trainer().test(model, ClusteredData(), ckpt_path=checkpoint[0], weights_only=True, verbose=False)
    assert torch.equal(model.recommend(HISTORIES, 9)[0], checkpoint[1].recommend(HISTORIES, 9)[0])


def test_a_checkpoint_of_something_else_is_refused(checkpoint, tmp_path):
    content = torch.load(checkpoint[0], weights_only=True)
    del content["lightning_croloss"]
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="not made by a RetrievalModel"):
        YouTubeDNN.load_from_checkpoint(tmp_path / "foreign.ckpt", weights_only=True)
