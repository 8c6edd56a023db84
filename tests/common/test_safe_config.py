"""Which classes a config may name, and what is built of it: nothing is imported on its word."""

import functools
import importlib
import sys

import pytest
import torch

from lightning_croloss import CROLoss, CROLossCallback, MixedNegatives, PowerImportance, UniformNegatives
from lightning_croloss.common import safe_config
from lightning_croloss.common.safe_config import TrustedClasses, names_of_classes
from lightning_croloss.errors import PretrainedError

OWN = "tests.common.test_safe_config.OwnNegatives"


class OwnNegatives(UniformNegatives):
    """A sampler that the package does not know."""


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Return the path of a class that nobody has imported."""
    (tmp_path / "stranger_of_a_config.py").write_text(
        "from lightning_croloss import UniformNegatives\n\n\nclass Stranger(UniformNegatives):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "stranger_of_a_config.Stranger"
    sys.modules.pop("stranger_of_a_config", None)


@pytest.fixture
def imports(monkeypatch):
    """Return what is imported on the word of somebody, and let it be imported."""
    seen = []

    def spy(name):
        seen.append(name)
        return importlib.import_module(name)

    monkeypatch.setattr(safe_config, "import_module", spy)
    return seen


def refused(trusted, path):
    with pytest.raises(PretrainedError, match="config names the class") as caught:
        trusted.find(path, "config")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "CROLoss",
        "lightning_croloss.CROLoss",
        "lightning_croloss.losses.CROLoss",
        "lightning_croloss.losses.croloss.CROLoss",
    ],
)
def test_a_class_of_the_package_has_many_names(path):
    assert TrustedClasses().find(path, "config") is CROLoss


@pytest.mark.parametrize("path", ["torch.optim.AdamW", "torch.optim.adamw.AdamW", "AdamW"])
def test_the_optimizers_of_torch_are_known(path):
    assert TrustedClasses().find(path, "config") is torch.optim.AdamW


def test_a_misspelt_class_names_the_nearest():
    assert "did you mean" in refused(TrustedClasses(), "lightning_croloss.CROLos")
    assert "did you mean" not in refused(TrustedClasses(), "os.system")


def test_what_the_program_has_imported_is_trusted_on_request_only():
    assert f"allow=[{OWN!r}]" in refused(TrustedClasses(), OWN)
    assert TrustedClasses(imported=True).find(OWN, "config") is OwnNegatives


@pytest.mark.parametrize("imported", [False, True])
def test_a_class_path_that_was_never_imported_is_not_imported(stranger, imports, imported):
    trusted = TrustedClasses(imported=imported)
    refused(trusted, stranger)
    with pytest.raises(PretrainedError):
        trusted.check({"model": {"negatives": [{"class_path": stranger}]}}, "config")
    with pytest.raises(PretrainedError):
        trusted.build({"class_path": stranger}, "config")
    assert imports == []
    assert "stranger_of_a_config" not in sys.modules


def test_an_allowed_path_is_imported(stranger, imports):
    trusted = TrustedClasses([stranger])
    assert imports == ["stranger_of_a_config"]
    assert trusted.find(stranger, "config") is trusted.find("Stranger", "config")


def test_an_allowed_class_has_its_path_and_its_name():
    trusted = TrustedClasses([OwnNegatives])
    assert trusted.find(OWN, "config") is trusted.find("OwnNegatives", "config") is OwnNegatives


@pytest.mark.parametrize("path", ["nowhere.Nothing", "os.path", "Nothing", ".", "json.loads"])
def test_an_allowed_path_without_a_class_is_refused(path):
    with pytest.raises(ValueError, match=r"allow: .* is not a class"):
        TrustedClasses([path])


def test_callbacks_are_tolerated_in_the_section_of_the_trainer_and_never_built():
    tolerated = names_of_classes(importlib.import_module("lightning_croloss.callbacks"))
    former = "lightning_croloss.callbacks.croloss_callback.CROLossCallback"
    trusted = TrustedClasses(tolerated=tolerated)
    for path in ("CROLossCallback", "lightning_croloss.CROLossCallback", former):
        written = {"callbacks": [{"class_path": path}]}
        trusted.check({"trainer": written}, "config")
        for section, each in (("model", trusted), ("trainer", TrustedClasses(imported=True))):
            with pytest.raises(PretrainedError, match="names the class"):
                each.check({section: written}, "config")
        with pytest.raises(PretrainedError, match="names the class"):
            trusted.build({"class_path": path}, "config")
    assert CROLossCallback.__name__ in tolerated


@pytest.mark.parametrize("path", [3, None, ["CROLoss"], {"class_path": "CROLoss"}])
def test_a_class_path_that_is_not_text_is_refused(path):
    refused(TrustedClasses(), path)


def test_what_a_config_describes_is_built():
    part = {"class_path": "UniformNegatives", "init_args": {"num_negatives": 7}}
    built = TrustedClasses().build(
        {
            "negatives": {"class_path": "MixedNegatives", "init_args": {"parts": [part, part]}},
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}},
            "loss": {"class_path": "CROLoss", "init_args": {"importance": {"class_path": "PowerImportance"}}},
            "text": "class_path: CROLoss",
            "numbers": [1, 2.5, None],
        },
        "config",
    )
    assert isinstance(built["negatives"], MixedNegatives)
    assert [each.num_negatives for each in built["negatives"].parts] == [7, 7]
    assert isinstance(built["optimizer"], functools.partial)
    assert (built["optimizer"].func, built["optimizer"].keywords) == (torch.optim.SGD, {"lr": 0.5})
    assert isinstance(built["loss"].importance, PowerImportance)
    assert built["text"] == "class_path: CROLoss"
    assert built["numbers"] == [1, 2.5, None]


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"class_path": "CROLoss", "args": [1]}, "CROLoss must have class_path and init_args only"),
        ({"class_path": "CROLoss", "init_args": [1]}, "CROLoss must have class_path and init_args only"),
        ({"class_path": "RetrievalLoss"}, "RetrievalLoss is only the base of others"),
        ({"class_path": "CROLoss", "init_args": {"temprature": 1}}, "CROLoss cannot be built: .*temprature"),
        ({"class_path": "CROLoss", "init_args": {"temperature": 0}}, "CROLoss cannot be built: temperature"),
    ],
)
def test_what_cannot_be_built_is_refused(described, message):
    with pytest.raises(PretrainedError, match=f"config: {message}"):
        TrustedClasses().build(described, "config")
