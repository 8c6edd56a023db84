"""What the first release wrote loads by each way in, gives the same figures, and can be trained further."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Trainer

import lightning_croloss
from lightning_croloss import MIND, RetrievalModel, YouTubeDNN, load_pretrained, save_pretrained
from lightning_croloss.cli import main
from lightning_croloss.common.former_names import today
from lightning_croloss.configurable import class_path
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import FORMAT_VERSION, KEY

pytest.importorskip("polars", reason="the data of these files are tables")
pytest.importorskip("scipy", reason="the zoo measures item kNN")

WRITTEN = Path(__file__).parent / "version_1"
CLASSES = {
    "comirec_dr": "ComiRecDR",
    "comirec_sa": "ComiRecSA",
    "gru4rec": "GRU4Rec",
    "matrix_factorization": "MatrixFactorization",
    "mind": "MIND",
    "sasrec": "SASRec",
    "two_tower": "TwoTower",
    "youtube_dnn": "YouTubeDNN",
}
WAYS = {
    "its class": lambda name: getattr(lightning_croloss, CLASSES[name]).load_from_checkpoint(
        f"fits/{name}/best.ckpt"
    ),
    "the base class": lambda name: RetrievalModel.load_from_checkpoint(f"fits/{name}/best.ckpt"),
    "load_pretrained of a checkpoint": lambda name: load_pretrained(f"fits/{name}/best.ckpt"),
    "load_pretrained of a folder": lambda name: load_pretrained(f"zoo/small/{name}"),
}


@pytest.fixture(autouse=True)
def in_a_copy(tmp_path, monkeypatch):
    """Work in a copy of the files, whose configs name their tables by relative paths."""
    shutil.copytree(WRITTEN, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


def quiet_trainer(**kwargs):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(accelerator="cpu", **dict.fromkeys(quiet, False), **kwargs)


def figures(name):
    """Return what was measured when the files were written."""
    return json.loads(Path(f"zoo/small/{name}/metrics.json").read_text())["test"]


def data_of(name):
    """Build the data of a config."""
    described = yaml.safe_load(Path(f"configs/{name}.yaml").read_text())["data"]["init_args"]
    split = described.pop("split", None)
    if split is not None:
        split = getattr(lightning_croloss, split["class_path"])(**split.get("init_args", {}))
    return lightning_croloss.TableDataModule(**described, split=split)


def measured(model, data):
    """Test a model; return its figures."""
    trainer = quiet_trainer()
    trainer.test(model, data, verbose=False)
    return {name.removeprefix("test/"): float(value) for name, value in trainer.callback_metrics.items()}


def every_class_path(value):
    """Go through the class paths in plain values."""
    if isinstance(value, dict):
        yield from (entry for key, entry in value.items() if key in ("class_path", "_class_path"))
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from every_class_path(entry)


def public(path):
    """Tell whether a class path is one of ours that may stay as it is, or not ours."""
    package, _, name = path.rpartition(".")
    if not package.startswith("lightning_croloss"):
        return True
    return name in importlib.import_module(package).__all__ and today(path) == path


def test_there_are_files_of_every_family():
    assert {path.name for path in (WRITTEN / "fits").iterdir() if path.is_dir()} == set(CLASSES)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CLASSES)
def test_loaded_in_python_it_gives_the_same_figures(name, way):
    model = WAYS[way](name)
    assert type(model).__name__ == CLASSES[name]
    assert measured(model, data_of(name)) == pytest.approx(figures(name), abs=1e-9)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.slow
def test_the_command_line_gives_the_same_figures(name, capsys):
    # the resolved config of the old run, and its checkpoint, whose model replaces the config's
    main(["test", "--config", f"fits/{name}/config.yaml", "--ckpt_path", f"fits/{name}/best.ckpt"])
    results = json.loads(Path(f"work/{name}/test_results.json").read_text())
    found = {f"{metric}@{n}": value for metric, by_n in results.items() for n, value in by_n.items()}
    assert found == pytest.approx(figures(name), abs=1e-9)
    assert "--ckpt_path sets" not in capsys.readouterr().err


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.slow
def test_an_old_run_goes_on_and_writes_todays_format(name):
    before = torch.load(f"fits/{name}/best.ckpt", weights_only=True)
    run = ["fit", "--config", f"fits/{name}/config.yaml", "--ckpt_path", f"fits/{name}/best.ckpt"]
    main([*run, f"--trainer.max_epochs={before['epoch'] + 2}", "--test_after_fit=false"])
    (last,) = Path().rglob("last.ckpt")
    content = torch.load(last, weights_only=True)
    assert content["global_step"] > before["global_step"]
    assert content[KEY]["format_version"] == FORMAT_VERSION
    config = yaml.safe_load(Path(f"work/{name}/config.yaml").read_text())
    paths = list(every_class_path([content["hyper_parameters"], config]))
    assert len(paths) > 5
    assert all(map(public, paths)), paths


@pytest.mark.parametrize("name", CLASSES)
def test_fine_tuning_starts_from_an_old_folder(name, capsys):
    run = ["fit", "--config", f"configs/{name}.yaml", "--pretrained", f"zoo/small/{name}"]
    main([*run, "--trainer.max_epochs=1", "--test_after_fit=false"])
    assert "32 of 32 items start from the pretrained model's 32" in capsys.readouterr().err


@pytest.mark.parametrize("name", CLASSES)
def test_saved_again_it_names_public_classes(name, tmp_path):
    model = load_pretrained(f"zoo/small/{name}")
    folder = save_pretrained(model, tmp_path / "again", config=f"zoo/small/{name}/config.yaml")
    content = yaml.safe_load((folder / "config.yaml").read_text())
    paths = list(every_class_path({"model": content["model"]}))
    assert all(map(public, paths)), paths
    again = load_pretrained(folder)
    for key, value in model.state_dict().items():  # features hold NaN where a value is missing
        assert torch.equal(value.nan_to_num(), again.state_dict()[key].nan_to_num())


def test_a_model_built_in_python_loads_with_the_state_of_its_optimizer():
    path = "fits/built_in_python.ckpt"
    content = torch.load(path, weights_only=True)
    model = YouTubeDNN.load_from_checkpoint(path)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in content["state_dict"].items())
    data = lightning_croloss.TableDataModule(
        "events.csv", user_column="user", item_column="item", time_column="time"
    )
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(model, data, ckpt_path=path, weights_only=True)
    (optimizer,) = trainer.optimizers
    assert type(optimizer).__name__ == "LazyAdam"
    assert trainer.current_epoch == 3


@pytest.mark.parametrize("name", ["youtube_dnn", "gru4rec"])
def test_an_old_export_is_served(name):
    pytest.importorskip("onnxruntime", reason="exports are served by onnxruntime")
    pytest.importorskip("faiss", reason="one of the exports has an index")
    histories = [["i01", "i02"], ["i30"], []]
    served = lightning_croloss.Recommender.from_export(f"exports/{name}").recommend(histories, n=5)
    expected = load_pretrained(f"zoo/small/{name}").recommend_tokens(
        histories,
        n=5,
        exclude_history=True,  # as exports did that do not say
    )
    assert [user.tokens for user in served] == [user.tokens for user in expected]
    assert [user.titles for user in served] == [user.titles for user in expected]


@pytest.mark.parametrize("path", (WRITTEN / "class_paths.txt").read_text().split())
def test_every_class_path_that_was_written_is_known(path):
    module, _, name = today(path).rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    assert cls.__name__ == path.rpartition(".")[2]
    assert public(class_path(cls)), class_path(cls)


class TestNewerFormats:
    """A file of a version that is not known yet is refused in one sentence, by each way in."""

    @pytest.fixture
    def newer(self):
        content = torch.load("fits/mind/best.ckpt", weights_only=True)
        content[KEY]["format_version"] = FORMAT_VERSION + 1
        torch.save(content, "newer.ckpt")
        return "newer.ckpt"

    @pytest.mark.parametrize(
        "load", [MIND.load_from_checkpoint, RetrievalModel.load_from_checkpoint, load_pretrained]
    )
    def test_a_checkpoint_in_python(self, newer, load):
        with pytest.raises(PretrainedError, match=r"^newer\.ckpt is of format version 2, .* reads up to 1"):
            load(newer)

    def test_a_checkpoint_that_a_trainer_opens(self, newer):
        model = MIND.load_from_checkpoint("fits/mind/best.ckpt")
        with pytest.raises(PretrainedError, match="is of format version 2"):
            quiet_trainer().test(model, data_of("mind"), ckpt_path=newer, weights_only=True)

    @pytest.mark.parametrize("command", ["fit", "test"])
    def test_a_checkpoint_on_the_command_line(self, newer, command, capsys):
        with pytest.raises(SystemExit):
            main([command, "--config", "configs/mind.yaml", "--ckpt_path", newer])
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert "ckpt_path: newer.ckpt is of format version 2" in line

    @pytest.mark.parametrize(
        ("folder", "newest", "load"),
        [
            ("zoo/small/mind", 1, load_pretrained),
            ("exports/gru4rec", 2, lightning_croloss.Recommender.from_export),
        ],
        ids=["pretrained", "export"],
    )
    def test_a_folder(self, folder, newest, load):
        path = Path(folder) / "manifest.json"
        newer = f'"format_version": {newest + 1}'
        path.write_text(path.read_text().replace('"format_version": 1', newer))
        said = rf"was saved in format version {newest + 1}; .* reads up to {newest}"
        with pytest.raises(PretrainedError, match=said):
            load(folder)
