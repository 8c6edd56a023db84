"""There is a file of each format version, and of whatever can be part of a model."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any

import pytest
import torch
import yaml

from croloss_serving.layout import FORMAT as EXPORTS_FORMAT
from lightning_croloss import losses, models, negatives
from lightning_croloss.configurable import Configurable
from lightning_croloss.models.checkpoint import FORMAT_VERSION, KEY
from lightning_croloss.pretrained.layout import FORMAT as FOLDERS_FORMAT
from lightning_croloss.training.sharded.folder import FORMAT_VERSION as SHARDS_VERSION
from lightning_croloss.training.sharded.folder import KEY as SHARDS_KEY
from tests.formats.class_paths import every_class_path
from tests.formats.kept import HERE, SETS

#: Bases of one's own classes, which no file names.
BASES = {"HistoryModel", "RetrievalModel", "SequenceModel"}


def checkpoints() -> list[dict[str, Any]]:
    """Return the content of all checkpoints, without tables in shards."""
    paths = [path for path in HERE.rglob("*.ckpt") if path.is_file()]
    return [torch.load(path, weights_only=True) for path in paths]


def manifests(pattern: str) -> set[int]:
    """Return the versions of all folders of a kind."""
    found = (json.loads(path.read_text()) for path in HERE.glob(pattern))
    return {manifest["format_version"] for manifest in found}


def test_there_are_files_of_each_version() -> None:
    kept = checkpoints()
    versions = {
        "checkpoints": {content[KEY].get("format_version", 0) for content in kept},
        "in shards": {content[SHARDS_KEY]["format_version"] for content in kept if SHARDS_KEY in content},
        "folders": manifests("*/zoo/*/*/manifest.json"),
        "exports": manifests("*/exports/*/manifest.json"),
    }
    assert versions == {
        "checkpoints": {*range(FORMAT_VERSION + 1)},
        "in shards": {*range(1, SHARDS_VERSION + 1)},
        "folders": {*range(1, FOLDERS_FORMAT.version + 1)},
        "exports": {*range(1, EXPORTS_FORMAT.version + 1)},
    }


def named_in_files() -> set[str]:
    """Return the names of all classes that checkpoints and the configs of users name."""
    configs = [yaml.safe_load(path.read_text()) for path in HERE.glob("*/configs/*.yaml")]
    hyperparameters = [content["hyper_parameters"] for content in checkpoints()]
    return {path.rpartition(".")[2] for path in every_class_path([configs, hyperparameters])}


@pytest.mark.parametrize("package", [models, losses, negatives], ids=lambda package: package.__name__)
def test_there_is_a_file_of_each_class(package: Any) -> None:
    public = {name: getattr(package, name) for name in package.__all__}
    concrete = {
        name
        for name, value in public.items()
        if inspect.isclass(value) and issubclass(value, Configurable) and not inspect.isabstract(value)
    }
    assert concrete - BASES <= named_in_files()


def test_there_is_a_file_of_each_split() -> None:
    splits = {"GlobalTime", "LeaveOneOut", "PerUserRatio", "Predefined", "UserDisjoint"}
    assert splits <= named_in_files()


def test_there_is_a_file_with_each_part_of_a_checkpoint() -> None:
    kept = checkpoints()
    ours = {name for content in kept for name, value in content[KEY].items() if value is not None}
    assert {"by_rule", "events", "loss", "position", "titles", "trained_on", "users"} <= ours
    assert any("current_model_state" in content for content in kept)  # of which the weights are averages
    assert any(SHARDS_KEY in content for content in kept)


@pytest.mark.parametrize("folder", SETS)
def test_the_configs_are_those_of_the_set(folder: str) -> None:
    made = importlib.import_module(f"tests.formats.making.{folder}").configs()
    kept = {path.stem: yaml.safe_load(path.read_text()) for path in (HERE / folder / "configs").iterdir()}
    assert made == kept


@pytest.mark.parametrize("folder", SETS)
def test_no_file_tells_where_it_was_written(folder: str) -> None:
    for path in (HERE / folder).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [place for place in (b"/home/", b"/root/", b"/Users/") if place in content], path
