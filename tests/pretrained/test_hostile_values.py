"""What a file or a caller says too long, or too large, ends in one sentence that can be read."""

import time

import pytest
import yaml

from lightning_croloss import load_pretrained
from lightning_croloss.errors import LONGEST_MESSAGE, PretrainedError
from lightning_croloss.pretrained import list_pretrained
from tests.fuzz.folders import FORMATS, copied, manifest_of, sign, vouch
from tests.pretrained.cases import refused

MODEL = FORMATS / "zoo" / "small" / "two_tower"


@pytest.fixture
def model(tmp_path):
    return copied(MODEL, tmp_path / "model")


@pytest.mark.parametrize(
    "name",
    ["a" * 5000, "a" * 5000 + ".ckpt", "/" + "a" * 5000, "a/" * 5000, "a\0b"],
    ids=["long", "checkpoint", "root", "deep", "NUL"],
)
def test_a_name_that_no_file_can_have(name):
    with pytest.raises(PretrainedError, match="there is no pretrained model") as caught:
        load_pretrained(name)
    assert len(str(caught.value)) < 2500
    with pytest.raises(PretrainedError, match="there is no folder"):
        list_pretrained(name)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("facts", "max_history", 10**30),
        ("facts", "max_history", 2**63),
        ("facts", "seed", 10**30),
        ("from_data", "num_items", 10**30),
        ("from_data", "user_features", [{"name": "a", "kind": "numeric", "size": 10**30, "width": 1}]),
    ],
)
def test_numbers_that_nothing_can_count(model, section, name, value):
    manifest = manifest_of(model)
    manifest[section][name] = value
    sign(model, manifest)
    assert f"'{name}' must be" in refused(model)


def test_a_number_that_nothing_reaches(model):
    manifest = manifest_of(model)
    manifest["facts"]["max_history"] = 2**63 - 1
    sign(model, manifest)
    assert len(load_pretrained(model).recommend_tokens([["i01"]], 3)[0].tokens) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda arguments: arguments.update(pooling="x" * 900_000),
        lambda arguments: arguments.update(user_hidden_dims=[list(range(40_000))]),
        lambda arguments: arguments["loss"].update(class_path="x" * 100_000),
        lambda arguments: arguments.update({"x" * 900: 1}),
        lambda arguments: arguments["loss"].update(class_path=["x" * 100_000]),
    ],
    ids=["a value", "a list", "a class", "a name", "no class"],
)
def test_what_is_quoted_is_cut(model, change):
    config = yaml.safe_load((model / "config.yaml").read_text())
    change(config["model"]["init_args"])
    vouch(model, "config.yaml", yaml.safe_dump({"model": config["model"]}).encode())
    began = time.process_time()
    said = refused(model)
    assert len(said) < 1200
    assert time.process_time() - began < 5


def test_no_message_is_endless():
    said = str(PretrainedError("begin" + "x" * 10**6 + "end"))
    assert len(said) == LONGEST_MESSAGE
    assert said.startswith("begin")
    assert said.endswith("end")
