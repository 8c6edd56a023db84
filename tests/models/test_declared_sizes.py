"""A model is not built if its file describes one that is larger than its weights."""

import random

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from lightning_croloss import YouTubeDNN, load_pretrained, save_pretrained
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models import declared_sizes
from lightning_croloss.models.declared_sizes import built_to_fit, elements, planned
from tests.models.test_checkpoint import rewritten
from tests.pretrained.cases import vouch_again
from tests.pretrained.test_loading import MODELS

pytestmark = pytest.mark.filterwarnings("ignore")

HUGE = {
    "num_items": 4 * 10**7,
    "embedding_dim": 10**8,
    "hidden_dims": [50_000, 50_000],
    "num_items and embedding_dim": 10**6,
}


def with_sizes(arguments, sizes):
    return arguments | {name: value for names, value in sizes.items() for name in names.split(" and ")}


@pytest.fixture
def no_memory(monkeypatch):
    """Let nothing be allocated that is larger than the largest tensor of a small model."""
    empty = torch.empty

    def small(*size, **kwargs):
        made = empty(*size, **kwargs)
        assert made.is_meta or made.numel() < 10**6, "allocated"
        return made

    monkeypatch.setattr(torch, "empty", small)


@pytest.mark.parametrize("name", HUGE)
def test_a_checkpoint_that_declares_more_than_it_holds(checkpoint, tmp_path, name, no_memory):
    given = torch.load(checkpoint[0], weights_only=True)["hyper_parameters"]
    path = rewritten(
        checkpoint[0], tmp_path / "huge.ckpt", hyper_parameters=with_sizes(given, {name: HUGE[name]})
    )
    for load in (YouTubeDNN.load_from_checkpoint, load_pretrained):
        with pytest.raises(PretrainedError, match=r"huge\.ckpt describes a YouTubeDNN whose '[\w.]+' has"):
            load(path)


@pytest.mark.parametrize("name", ["num_items", "hidden_dims"])
def test_a_folder_that_declares_more_than_it_holds(checkpoint, tmp_path, name, no_memory):
    folder = save_pretrained(YouTubeDNN.load_from_checkpoint(checkpoint[0]), tmp_path / "model")
    if name == "num_items":
        vouch_again(folder, from_data={"num_items": HUGE[name]})
    else:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["model"]["init_args"][name] = HUGE[name]
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        vouch_again(folder)
    with pytest.raises(PretrainedError, match="describes a YouTubeDNN whose"):
        load_pretrained(folder)


def test_a_tensor_that_repeats_one_value_holds_no_more(checkpoint, tmp_path, no_memory):
    content = torch.load(checkpoint[0], weights_only=True)
    content["hyper_parameters"]["num_items"] = 10**7 - 1
    content["state_dict"]["item_embedding.weight"] = torch.zeros(1).expand(10**7, 8)
    path = rewritten(checkpoint[0], tmp_path / "repeating.ckpt", **content)
    assert path.stat().st_size < 10**5
    with pytest.raises(PretrainedError, match="describes a YouTubeDNN"):
        load_pretrained(path)


class Layers(nn.Module):
    def __init__(self, count=1, width=4, reads=False, buffer=0):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(count))
        self.register_buffer("mask", torch.zeros(buffer, buffer), persistent=False)
        if reads:
            self.first = float(torch.eye(width)[0, 0])
            assert self.first == 1.0, "a plan has no values"


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("sizes", [{"count": 10**9}, {"width": 10**5}, {"buffer": 10**5}])
def test_no_way_to_declare_too_much(sizes, reads):
    small = Layers()
    shapes = {name: tensor.shape for name, tensor in small.state_dict().items()}
    held = elements(small.state_dict())
    with pytest.raises(PretrainedError, match=r"model\.ckpt describes a"):
        built_to_fit(lambda: Layers(reads=reads, **sizes), shapes, held, "model.ckpt")


def test_a_class_that_reads_its_tensors_is_built_all_the_same(monkeypatch):
    monkeypatch.setattr(declared_sizes, "_SMALL", 4)
    small = Layers()
    shapes = {name: tensor.shape for name, tensor in small.state_dict().items()}
    assert planned(lambda: Layers(reads=True), shapes, 20, "model.ckpt") is None
    built = built_to_fit(lambda: Layers(reads=True), shapes, 20, "model.ckpt")
    assert all(not tensor.is_meta for tensor in built.state_dict().values())


@pytest.mark.parametrize(("cls", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_architecture_can_be_planned(cls, arguments, monkeypatch):
    def build():
        return cls(num_items=40, embedding_dim=8, ns=(5, 10), **arguments)

    monkeypatch.setattr(declared_sizes, "_SMALL", 8)
    model = build()
    weights = model.state_dict()
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    plan = planned(build, shapes, elements(weights), "model.ckpt")
    assert plan is not None
    assert {name: tensor.shape for name, tensor in plan.state_dict().items()} == shapes
    assert any(tensor.is_meta for tensor in plan.state_dict().values())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002


def test_building_draws_what_it_draws_alone():
    torch.manual_seed(3)
    alone = Layers()
    shapes = {name: tensor.shape for name, tensor in alone.state_dict().items()}
    torch.manual_seed(3)
    built = built_to_fit(Layers, shapes, 20, "model.ckpt")
    assert torch.equal(built.layers[0].weight, alone.layers[0].weight)
