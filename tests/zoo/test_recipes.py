"""The recipes of the committed models, and their configs."""

from pathlib import Path

import pytest
import yaml

from lightning_croloss.cli import main
from lightning_croloss.zoo.datasets import DATASETS
from lightning_croloss.zoo.published import PUBLISHED, N
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


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("diginetica", "youtube_dnn"),
        ("diginetica", "gru4rec"),
        ("diginetica", "comirec_sa"),
        ("beauty", "sasrec"),
        ("toys", "sasrec"),
    ],
)
def test_the_configs_of_tables_are_valid(dataset, name, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["fit", "--config", str(ROOT / f"configs/{dataset}/{name}.yaml"), "--print_config"])
    assert exit_info.value.code in (0, None)
    assert f"{dataset}.parquet" in capsys.readouterr().out


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_what_stands_beside_published_figures_has_their_protocol(dataset):
    of_this = [recipe for recipe in RECIPES if recipe.name.partition("/")[0] == dataset]
    assert of_this
    for recipe in of_this:
        config = yaml.safe_load((ROOT / recipe.config).read_text())
        arguments = config["model"]["init_args"]
        assert arguments["exclude_history"] is True
        assert N in arguments["ns"]
        assert config["data"]["init_args"]["split"] == {"class_path": "LeaveOneOut"}
        assert "duplicates" not in config["data"]["init_args"]
        monitored = {
            callback["init_args"]["monitor"]
            for callback in config["trainer"]["callbacks"]
            if "monitor" in callback.get("init_args", {})
        }
        assert monitored == {f"val/recall@{N}"}
