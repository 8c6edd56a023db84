"""The recipes of the committed models, and their configs."""

from pathlib import Path

import pytest
import yaml

from lightning_croloss.cli import main
from lightning_croloss.zoo.datasets import DATASETS
from lightning_croloss.zoo.recipes import RECIPES

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings(
    "ignore:LightningCLI's args parameter", "ignore:.*smaller than the logging interval"
)


def test_each_recipe_is_of_a_known_data_set_and_has_a_config():
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names)
    for recipe in RECIPES:
        assert recipe.name.partition("/")[0] in DATASETS
        config = yaml.safe_load((ROOT / recipe.config).read_text())
        assert {"data", "model", "trainer"} <= config.keys()


@pytest.mark.parametrize("name", ["youtube_dnn", "gru4rec", "comirec_sa"])
def test_the_configs_of_diginetica_are_valid(name, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["fit", "--config", str(ROOT / f"configs/diginetica/{name}.yaml"), "--print_config"])
    assert exit_info.value.code in (0, None)
    assert "diginetica.parquet" in capsys.readouterr().out
