"""``croloss zoo``, on a small table."""

import json
from pathlib import Path

import pytest

pytest.importorskip("polars", reason="the zoo's tables need polars and pyarrow")
pytest.importorskip("scipy", reason="item kNN needs scipy")

from lightning_croloss import load_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.zoo import main as zoo
from lightning_croloss.pretrained.layout import read_manifest, write_manifest
from lightning_croloss.zoo import recipes
from lightning_croloss.zoo.recipes import Recipe
from tests.zoo.cases import CONFIG, NAME, write_inputs

pytestmark = pytest.mark.filterwarnings(
    "ignore:LightningCLI's args parameter", "ignore:.*smaller than the logging interval"
)


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


def test_what_a_build_refuses(here, capsys, tmp_path):
    given = ["build", "--config", "dnn.yaml", "--data", "tables"]
    runs = len(list(Path("runs/croloss").iterdir()))
    assert "exists: choose another name, or give --overwrite" in failed(capsys, *given, "--name", NAME)
    assert "must be <dataset>/<model>" in failed(capsys, *given, "--name", "dnn")
    assert "must be <dataset>/<model>" in failed(capsys, *given, "--name", "../dnn")
    assert "must be <dataset>/<model>" in failed(capsys, *given, "--name", "clusters/.dnn")
    assert "needs --name <dataset>/<model>" in failed(capsys, *given)
    absent = failed(capsys, "build", "--config", "dnn.yaml", "--name", "clusters/other")
    assert "there is no data/clusters.parquet: name the folder that holds it with --data" in absent
    assert "there is no config 'd.yaml'" in failed(capsys, "build", "--config", "d.yaml", "--name", "a/b")
    assert "give none" in failed(capsys, "build", "--all", "--trainer.max_epochs=3")
    assert "did you mean 'video'" in failed(capsys, "build", "--all", "--dataset", "vidoe")
    assert len(list(Path("runs/croloss").iterdir())) == runs  # nothing was trained
    assert not (here / "zoo" / "clusters" / "other").exists()


@pytest.mark.slow
def test_all_builds_what_is_missing_and_can_be(here, capsys, tmp_path, monkeypatch):
    (tmp_path / "absent.yaml").write_text(CONFIG.replace("clusters.parquet", "absent.parquet"))
    table = [
        Recipe(NAME, "dnn.yaml"),
        Recipe("clusters/small", "dnn.yaml", ("--model.init_args.embedding_dim=4",)),
        Recipe("clusters/absent", str(tmp_path / "absent.yaml")),
    ]
    monkeypatch.setattr(recipes, "RECIPES", table)
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        zoo(["build", "--all", "--data", "tables"])
    assert exit_info.value.code == 1  # one is not built
    lines = capsys.readouterr().out.splitlines()
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
    with pytest.raises(SystemExit) as exit_info:
        zoo(["evaluate", "--all", *where])
    assert exit_info.value.code == 1
    told = capsys.readouterr()
    assert "skipped, there is no data/clusters.parquet" in told.out
    assert told.err == f"croloss: error: {copy}: skipped, since the data is absent: not evaluated\n"
    (copy / "README.md").write_text("# A card with other figures\n")
    with pytest.raises(SystemExit) as exit_info:
        zoo(["evaluate", "--all", *where, "--data", "tables"])
    assert exit_info.value.code == 1
    assert "README.md has" in capsys.readouterr().out
    assert "README.md has" in failed(capsys, "evaluate", NAME, *where, "--data", "tables")


@pytest.mark.parametrize("words", [["evaluate", NAME], ["build", "--all"]], ids=lambda words: words[0])
def test_a_folder_of_data_that_is_not_there_is_refused(here, words):
    """Also for a model whose data needs none."""
    with pytest.raises(ValueError, match=r"^--data: there is no folder 'nowhere'$"):
        zoo([*words, "--data=nowhere"])


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
