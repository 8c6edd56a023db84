"""``croloss zoo``, on a small table and on the committed models."""

import json
from pathlib import Path

import pytest
import yaml

from lightning_croloss import list_pretrained, load_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.zoo import main as zoo
from lightning_croloss.pretrained.layout import read_manifest, write_manifest
from lightning_croloss.zoo import recipes
from lightning_croloss.zoo.datasets import DATASETS
from lightning_croloss.zoo.recipes import RECIPES, Recipe
from tests.data_for_tests import ClusteredData

pl = pytest.importorskip("polars", reason="the zoo's tables need polars and pyarrow")
pytest.importorskip("scipy", reason="item kNN needs scipy")

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"
NAME = "clusters/dnn"
CONFIG = """
seed_everything: 1
data:
  class_path: TableDataModule
  init_args: {interactions: data/clusters.parquet, batch_size: 32, max_history: 5, time_column: null}
model:
  class_path: YouTubeDNN
  init_args:
    embedding_dim: 8
    ns: [5, 10, 20]
    exclude_history: true
    negatives: {class_path: FullCatalogNegatives}
    loss: {class_path: CROLoss, init_args: {temperature: 0.2}}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.02}}
trainer:
  max_epochs: 3
  accelerator: cpu
  enable_progress_bar: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {monitor: val/recall@10, mode: max, filename: best}
"""

pytestmark = pytest.mark.filterwarnings(
    "ignore:LightningCLI's args parameter", "ignore:.*smaller than the logging interval"
)


def write_inputs(folder):
    """Write a table and a config for it; return the folder of the table."""
    events = ClusteredData(num_users=120).interactions
    users, items = events.user_vocabulary.tokens, events.item_vocabulary.tokens
    frame = pl.DataFrame(
        {
            "user_id": [users[user - 1] for user in events.users.tolist()],
            "item_id": [items[item - 1] for item in events.items.tolist()],
        }
    )
    (folder / "tables").mkdir()
    frame.write_parquet(folder / "tables" / "clusters.parquet")
    (folder / "dnn.yaml").write_text(CONFIG)
    return folder / "tables"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder in which a model was built: its zoo, config and table."""
    folder = tmp_path_factory.mktemp("built")
    write_inputs(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(
            [
                "zoo",
                "build",
                "--config",
                "dnn.yaml",
                "--name",
                NAME,
                "--data",
                "tables",
                "--weights",
                "float16",
            ]
        )
    return folder


@pytest.fixture
def here(built, monkeypatch):
    monkeypatch.chdir(built)
    return built


def printed(capsys, *arguments):
    """Run ``croloss zoo`` and return what it prints."""
    capsys.readouterr()
    zoo(list(arguments))
    return capsys.readouterr().out


def failed(capsys, *arguments):
    """Run ``croloss zoo``, which must fail, and return the error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        main(["zoo", *arguments])
    assert exit_info.value.code != 0
    return capsys.readouterr().err.splitlines()[-1]


# ---------------------------------------------------------------------- build


def test_a_build_brings_all_files_and_a_card_with_every_fact(here):
    folder = here / "zoo" / NAME
    read_manifest(folder, check=("model.safetensors", "README.md"))
    card = (folder / "README.md").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    for n in (5, 10, 20):
        assert f"{metrics['test'][f'recall@{n}']:.4f}" in card
        assert f"{metrics['baselines']['item_knn']['test'][f'recall@{n}']:.4f}" in card
    for fact in (
        "(best baseline)",
        "CROLoss(kernel=sigmoid, temperature=0.2",
        "LeaveOneOut()",
        "AdamW(lr=0.02)",
        "`croloss zoo build --config dnn.yaml --name clusters/dnn --data FOLDER --weights float16`",
        "stored as float16",
        "960 events of 120 users with 40 items, 720 of them for training",
        "on validation",
        "Licence: not stated",
        "torch 2",
        "## Use and limits",
        "3 epochs",
    ):
        assert fact in card
    assert str(here) not in card
    assert metrics["choose_by"] == 10
    assert metrics["training"]["best_epoch"] <= metrics["training"]["epochs"] == 3
    board = (here / "zoo" / "README.md").read_text()
    assert f"[dnn](clusters/dnn/README.md) | {metrics['test']['recall@5']:.4f}" in board
    assert "popularity" in board


def test_the_weights_are_those_of_the_best_epoch(here):
    model = load_pretrained(here / "zoo" / NAME)
    metrics = json.loads((here / "zoo" / NAME / "metrics.json").read_text())
    rows = [row.split(",") for row in (here / "runs/croloss/version_0/metrics.csv").read_text().splitlines()]
    values = [row[rows[0].index("val/recall@10")] for row in rows[1:]]
    recalls = [float(value) for value in values if value]
    assert metrics["training"]["best_epoch"] == recalls.index(max(recalls)) + 1
    assert sorted(model.facts.item_vocabulary.tokens) == sorted(ClusteredData().item_vocabulary.tokens)


def test_the_config_of_a_model_trains_it_again(here, monkeypatch):
    config = here / "zoo" / NAME / "config.yaml"
    content = yaml.safe_load(config.read_text())
    assert content["data"]["init_args"]["interactions"] == "data/clusters.parquet"
    assert content["test_after_fit"] is True
    main(["fit", "--config", str(config), "--data.init_args.interactions=tables/clusters.parquet"])
    again = max(Path("runs/croloss").iterdir(), key=lambda path: int(path.name.rpartition("_")[2]))
    results = json.loads((again / "test_results.json").read_text())
    metrics = json.loads((here / "zoo" / NAME / "metrics.json").read_text())
    # the card's figures are of the weights as they are stored, in half the precision
    for n in ("5", "10", "20"):
        assert results["recall"][n] == pytest.approx(metrics["test"][f"recall@{n}"], abs=0.03)


def test_what_a_build_refuses(here, capsys, tmp_path):
    given = ["build", "--config", "dnn.yaml", "--data", "tables"]
    runs = len(list(Path("runs/croloss").iterdir()))
    assert "exists: choose another name, or give --overwrite" in failed(capsys, *given, "--name", NAME)
    assert "must be <dataset>/<model>" in failed(capsys, *given, "--name", "dnn")
    assert "must be <dataset>/<model>" in failed(capsys, *given, "--name", "../dnn")
    assert "needs --name <dataset>/<model>" in failed(capsys, *given)
    absent = failed(capsys, "build", "--config", "dnn.yaml", "--name", "clusters/other")
    assert "there is no data/clusters.parquet: name the folder that holds it with --data" in absent
    assert "there is no config 'd.yaml'" in failed(capsys, "build", "--config", "d.yaml", "--name", "a/b")
    assert "give none" in failed(capsys, "build", "--all", "--trainer.max_epochs=3")
    assert "did you mean 'video'" in failed(capsys, "build", "--all", "--dataset", "vidoe")
    assert len(list(Path("runs/croloss").iterdir())) == runs  # nothing was trained
    assert not (here / "zoo" / "clusters" / "other").exists()


def test_all_builds_what_is_missing_and_can_be(here, capsys, tmp_path, monkeypatch):
    (tmp_path / "absent.yaml").write_text(CONFIG.replace("clusters.parquet", "absent.parquet"))
    table = [
        Recipe(NAME, "dnn.yaml"),
        Recipe("clusters/small", "dnn.yaml", ("--model.init_args.embedding_dim=4",)),
        Recipe("clusters/absent", str(tmp_path / "absent.yaml")),
    ]
    monkeypatch.setattr(recipes, "RECIPES", table)
    lines = printed(capsys, "build", "--all", "--data", "tables").splitlines()
    said = [line for line in lines if line.startswith("clusters/")]
    assert said[0] == f"{NAME}: exists"
    assert said[1] == "clusters/small: wrote zoo/clusters/small"
    assert said[2].startswith("clusters/absent: skipped, there is no tables/absent.parquet")
    assert load_pretrained("zoo/clusters/small").embedding_dim == 4


# ---------------------------------------------------------------------- evaluate, list, show


def test_evaluate_agrees_with_a_card_it_made(here, capsys):
    text = printed(capsys, "evaluate", NAME, "--zoo", "zoo", "--data", "tables")
    assert "figures agree" in text
    assert "differs" not in text
    assert "item_knn recall@10" in text
    assert f"{NAME}: " in printed(capsys, "evaluate", "--all", "--zoo", "zoo", "--data", "tables")


def test_evaluate_fails_when_a_figure_does_not_agree(here, capsys, tmp_path):
    copy = copied(here, tmp_path)
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["test"]["recall@10"] += 0.02
    metrics["parameters"] += 1
    (copy / "metrics.json").write_text(json.dumps(metrics))
    vouch_again(copy)
    with pytest.raises(SystemExit) as exit_info:
        zoo(["evaluate", "--all", "--zoo", str(tmp_path / "zoo"), "--data", "tables"])
    assert exit_info.value.code == 1
    told = capsys.readouterr()
    apart = [line.split()[0] for line in told.out.splitlines() if line.endswith("differs")]
    assert apart == ["parameters", "recall@10"]
    assert "DOES NOT AGREE" in told.out
    assert "the card does not agree" in told.err


def test_evaluate_skips_absent_data_and_fails_on_damage(here, capsys, tmp_path):
    copy = copied(here, tmp_path)
    where = ["--zoo", str(tmp_path / "zoo")]
    assert "skipped, there is no data/clusters.parquet" in printed(capsys, "evaluate", "--all", *where)
    (copy / "README.md").write_text("# A card with other figures\n")
    with pytest.raises(SystemExit) as exit_info:
        zoo(["evaluate", "--all", *where, "--data", "tables"])
    assert exit_info.value.code == 1
    assert "README.md has" in capsys.readouterr().out
    assert "README.md has" in failed(capsys, "evaluate", NAME, *where, "--data", "tables")


def test_list_and_show(here, capsys, monkeypatch):
    monkeypatch.setattr("lightning_croloss.pretrained.registry.zoo_folders", lambda: [here / "zoo"])
    lines = printed(capsys, "list").splitlines()
    assert lines[0].split() == ["model", "metric", "test", "parameters"]
    assert any(line.split()[:2] == [NAME, "recall@10"] for line in lines)
    assert printed(capsys, "show", NAME) == (here / "zoo" / NAME / "README.md").read_text()
    assert "did you mean 'clusters/dnn'?" in failed(capsys, "show", "clusters/dmn")
    assert "did you mean 'clusters/dnn'?" in failed(capsys, "show", "clusters/dmn", "--zoo", "zoo")
    assert "unrecognized arguments: --dat" in failed(capsys, "evaluate", NAME, "--dat", "x")
    monkeypatch.setattr("lightning_croloss.pretrained.registry.zoo_folders", list)
    assert printed(capsys, "list") == "the zoo is empty\n"
    assert "the zoo is empty" in failed(capsys, "evaluate", "--all")


def copied(built, folder):
    """Copy the built model into another zoo."""
    copy = folder / "zoo" / NAME
    copy.mkdir(parents=True)
    for path in (built / "zoo" / NAME).iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def vouch_again(folder):
    """Write the manifest anew, as one who tampers with care would."""
    manifest = read_manifest(folder, check=())
    write_manifest(folder, {name: manifest[name] for name in ("model", "from_data", "facts")})


# ---------------------------------------------------------------------- the committed zoo


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


def test_the_zoo_is_small_and_holds_no_title_of_ml_100k():
    def size(folder):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    assert size(ZOO / "ml-100k") < 5e6  # it travels in the wheel
    assert size(ZOO) < 30e6
    for path in (ZOO / "ml-100k").rglob("*"):
        assert not path.is_file() or b"Toy Story" not in path.read_bytes()


def test_a_committed_model_does_what_its_card_says(capsys):
    pytest.importorskip("recbole", reason="the data is the one that RecBole bundles")
    text = printed(capsys, "evaluate", "ml-100k/youtube_dnn", "--zoo", str(ZOO))
    assert "figures agree" in text
    assert "differs" not in text


def test_a_committed_model_loads_by_its_name_with_titles():
    pytest.importorskip("recbole", reason="the titles are those of the data that RecBole bundles")
    assert "ml-100k/youtube_dnn" in list_pretrained()
    model = load_pretrained("ml-100k/youtube_dnn")
    assert model.facts.item_titles[model.facts.item_vocabulary.encode(["1"])[0] - 1] == "Toy Story"
    assert int(model.facts.item_counts.sum()) == 98_114
