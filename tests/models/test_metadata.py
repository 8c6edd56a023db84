"""What a checkpoint knows of its catalogue, and which data it fits."""

import functools

import pytest
import torch

from lightning_croloss import RetrievalModel, YouTubeDNN
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
        (ClusteredData(num_items=44), r"\(40 items\) than the data's \(44 items\)"),
        (ClusteredData(item_prefix="thing "), r"\(40 items\) than the data's \(40 items\)"),
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
