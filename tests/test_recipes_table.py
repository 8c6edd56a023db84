"""The page on training shows what each architecture comes to on ml-100k."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

import lightning_croloss
from lightning_croloss import HistoryModel, RetrievalModel, SequenceModel

ROOT = Path(__file__).parents[1]
RECIPES = (ROOT / "docs" / "training.md").read_text().partition("## Recipes\n")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `(\w+)\.yaml` \| (.*) \|$", RECIPES, re.MULTILINE))


def architectures() -> set[str]:
    public = (getattr(lightning_croloss, name) for name in lightning_croloss.__all__)
    models = {each for each in public if inspect.isclass(each) and issubclass(each, RetrievalModel)}
    return {cls.__name__ for cls in models - {RetrievalModel, HistoryModel, SequenceModel}}


def test_the_table_of_recipes_lists_every_architecture() -> None:
    configs = {name: ROOT / "configs" / "ml-100k" / f"{name}.yaml" for name in ROWS}
    shown = {yaml.safe_load(path.read_text())["model"]["class_path"] for path in configs.values()}
    assert shown == architectures()
    assert len(shown) >= 15


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_recall_rises_with_n(name: str) -> None:
    values = [float(value) for value in ROWS[name].split(" | ")]
    assert len(values) == 6
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] < 1


def test_the_list_of_parts_names_every_architecture() -> None:
    (listed,) = re.findall(
        r"^\| model \| (.*) \|$", (ROOT / "docs" / "training.md").read_text(), re.MULTILINE
    )
    assert {*re.findall(r"`(\w+)`", listed)} >= architectures()
