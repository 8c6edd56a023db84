"""The models that are committed and travel with the package."""

from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from lightning_croloss import list_pretrained, load_pretrained
from lightning_croloss.cli import main
from lightning_croloss.models.layers.edges import EDGES
from lightning_croloss.pretrained.layout import CARD, MANIFEST, WEIGHTS, read_manifest, read_metrics
from lightning_croloss.zoo.leaderboard import leaderboard
from lightning_croloss.zoo.recipes import RECIPES
from lightning_croloss.zoo.storing import lost_too_much

ZOO = Path(__file__).parents[2] / "zoo"
NAMES = sorted(path.parent.relative_to(ZOO).as_posix() for path in ZOO.glob(f"*/*/{MANIFEST}"))


def test_the_zoo_is_small_and_holds_no_title_of_ml_100k():
    def size(folder):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    assert size(ZOO / "ml-100k") < 10e6  # it travels in the wheel
    assert size(ZOO) < 30e6
    for path in (ZOO / "ml-100k").rglob("*"):
        assert not path.is_file() or b"Toy Story" not in path.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_whole_and_holds_no_events(name):
    folder = ZOO / name
    manifest = read_manifest(folder)
    read_manifest(folder, manifest["files"])
    weights = load_file(folder / WEIGHTS)
    assert not any(name.endswith(f".{EDGES}") for name in weights)
    types = {str(tensor.dtype) for tensor in weights.values()}
    metrics = read_metrics(folder)
    assert f"torch.{metrics['weights']}" in types
    assert metrics["weights"] == "float32" or "torch.float32" not in types
    assert [metrics["weights"]] == [recipe.dtype for recipe in RECIPES if recipe.name == name]
    card = (folder / CARD).read_text("utf-8")
    for value in (v for metric, v in metrics["test"].items() if metric.startswith(("recall@", "ndcg@"))):
        assert f"{value:.4f}" in card
    if precision := metrics.get("precision"):
        users = metrics["data"]["test_users"]
        assert precision["kept"] is None
        assert lost_too_much(precision["float32"], precision[precision["asked"]], users) is None
        assert precision[metrics["weights"]] == {
            metric: value for metric, value in metrics["test"].items() if metric.startswith("recall@")
        }


def loss_of(recipe):
    """Return the class and the arguments of the loss that a recipe's config and options ask for."""
    loss = yaml.safe_load((ZOO.parent / recipe.config).read_text())["model"]["init_args"]["loss"]
    given = loss.get("init_args", {})
    for option in recipe.options:
        name, _, value = option.partition("=")
        if name == "--model.init_args.loss.init_args":
            given = yaml.safe_load(value)
    return loss["class_path"], given


def assert_holds(kept, asked):
    """Compare what a resolved config holds with what was asked for: plain values, or classes."""
    if isinstance(asked, dict):
        assert kept["class_path"].rpartition(".")[2] == asked["class_path"].rpartition(".")[2]
        for name, value in asked.get("init_args", {}).items():
            assert_holds(kept["init_args"][name], value)
    else:
        assert kept == asked


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_an_entry_was_trained_with_the_loss_of_its_recipe(recipe):
    kept = yaml.safe_load((ZOO / recipe.name / "config.yaml").read_text())["model"]["init_args"]["loss"]
    path, asked = loss_of(recipe)
    if "alpha" in asked:  # a short form, which a run resolves
        asked = dict(asked)
        alpha = {"alpha": asked.pop("alpha")}
        asked["importance"] = {"class_path": "PowerImportance", "init_args": alpha}
    assert_holds(kept, {"class_path": path, "init_args": asked})


def test_the_leaderboard_is_that_of_the_entries():
    assert (ZOO / CARD).read_text("utf-8") == leaderboard(ZOO)


@pytest.mark.slow
def test_a_committed_model_does_what_its_card_says(capsys):
    pytest.importorskip("scipy", reason="item kNN needs scipy")
    pytest.importorskip("recbole", reason="the data is the one that RecBole bundles")
    main(["zoo", "evaluate", "ml-100k/youtube_dnn", "--zoo", str(ZOO)])
    text = capsys.readouterr().out
    assert "figures agree" in text
    assert "differs" not in text


def test_a_committed_model_loads_by_its_name_with_titles():
    pytest.importorskip("recbole", reason="the titles are those of the data that RecBole bundles")
    assert "ml-100k/youtube_dnn" in list_pretrained()
    model = load_pretrained("ml-100k/youtube_dnn")
    assert model.metadata.item_titles[model.metadata.item_vocabulary.encode(["1"])[0] - 1] == "Toy Story"
    assert int(model.metadata.item_counts.sum()) == 98_114
