"""No command replaces a file that it was not asked to replace."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

import lightning_croloss
from lightning_croloss import save_pretrained
from lightning_croloss.cli import main
from lightning_croloss.zoo.building import build
from tests.cli.cases import error_of
from tests.cli.small import FIT, LAST, NO_PLOT
from tests.data_for_tests import fit, small_model

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]


def content() -> dict[str, bytes]:
    """Return what lies in the current folder."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trainer.logger=false"],
        ["--trainer.logger=false", "--trainer.default_root_dir=."],
        ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=.", "--trainer.logger.name="],
        ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=.", "--trainer.logger.version=mine"],
    ],
    ids=["no logger", "root folder", "no name", "version"],
)
def test_two_runs_replace_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.yaml", "test_results.json", "test_recall_at_n.png", "metrics.csv"):
        Path(name).write_text("mine")
    run = ["fit", *FIT, *LAST, *arguments]
    for number in range(2):
        before = content()
        if number and "--trainer.logger.version=mine" in arguments:
            assert "of an earlier run, which would be replaced" in error_of(capsys, *run)
            assert content() == before
            return
        main(run)
        after = content()
        assert {path: after[path] for path in before} == before
        new = sorted(Path(path).name for path in after.keys() - before.keys())
        assert len([name for name in new if name.startswith("config")]) == 1
        assert len([name for name in new if name.startswith("test_results")]) == 1
        if "--trainer.logger=false" in arguments:
            assert f"config-{number + 1}.yaml\n" in capsys.readouterr().err


def test_an_error_before_training_leaves_no_version(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/recall@7"]
    assert "val/recall@7" in error_of(capsys, "fit", *FIT, *wrong)
    assert not list(Path("runs").rglob("version_*"))


@pytest.mark.parametrize("command", ["recommend", "export", "predict"])
def test_an_output_that_exists_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra [tables]")
    model = small_model()
    fit(model, limit_train_batches=1)
    save_pretrained(model, "model")
    output = {"recommend": "out.jsonl", "export": "out", "predict": "out.parquet"}[command]
    Path(output).write_text("mine")
    given = {
        "recommend": ["--model=model", "--histories=none.jsonl"],
        "export": ["--model=model"],
        "predict": [*FIT[:5], "--pretrained=model"],
    }[command]
    said = error_of(capsys, command, *given, f"--output={output}")
    assert "exists: choose another" in said
    assert "overwrite" in said
    assert Path(output).read_text() == "mine"


def test_export_deletes_no_folder_of_other_things(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    Path("photos/one.jpg").write_text("mine")
    said = error_of(capsys, "export", "--model=nowhere", "--output=photos", "--overwrite")
    assert said.startswith("--output photos is not an export, and --overwrite would delete all that it holds")
    assert Path("photos/one.jpg").read_text() == "mine"


def test_a_zoo_replaces_neither_a_readme_nor_a_folder_of_other_things() -> None:
    def never(arguments: object) -> object:
        raise AssertionError("trained")

    Path("zoo/a/b").mkdir(parents=True)
    Path("zoo/README.md").write_text("# My project")
    with pytest.raises(FileExistsError, match=r"zoo/README\.md was not written by croloss zoo build"):
        build("a/c", Path("c.yaml"), Path("zoo"), never)  # type: ignore[arg-type]
    Path("zoo/a/b/notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="zoo/a/b is not a pretrained model"):
        build("a/b", Path("c.yaml"), Path("zoo"), never, overwrite=True)  # type: ignore[arg-type]


def test_a_zoo_is_built_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with pytest.raises(ValueError, match=r"in one process: add --trainer\.devices=1"):
        build("a/c", Path("c.yaml"), Path("zoo"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["recommend", "export", "predict"])
@pytest.mark.parametrize("target", ["mine", "nowhere"])
def test_overwrite_replaces_no_link(command: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra [tables]")
    output = Path({"recommend": "out.jsonl", "export": "out", "predict": "out.parquet"}[command])
    Path("mine").write_text("mine")
    output.symlink_to(target)
    given = {
        "recommend": ["--model=none", "--histories=none.jsonl", "--overwrite"],
        "export": ["--model=none", "--overwrite"],
        "predict": [*FIT[:5], "--pretrained=none", "--overwrite=true"],
    }[command]
    if command == "predict":  # which looks for its weights first
        model = small_model()
        fit(model, limit_train_batches=1)
        save_pretrained(model, "none")
    assert f"is a symbolic link to {target}" in error_of(capsys, command, *given, f"--output={output}")
    assert output.is_symlink()
    assert Path("mine").read_text() == "mine"


@pytest.mark.parametrize("command", ["recommend", "export"])
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_the_second_of_two_jobs_is_told(
    command: str, overwrite: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path({"recommend": "out.jsonl", "export": "out"}[command])
    other = os.open(f".{output}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    arguments = [command, "--model=none", f"--output={output}", *overwrite]
    arguments += ["--histories=none.jsonl"] * (command == "recommend")
    assert "is being written by another job: wait until it ends" in error_of(capsys, *arguments)
    os.close(other)  # as when it is killed
    assert "being written" not in error_of(capsys, *arguments)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", ["recommend", "export", "predict"])
def test_an_output_in_the_home_folder(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # no shell expands it behind a sign of equality
    pytest.importorskip("pyarrow", reason="needs the extra [tables]")
    if command == "export":
        pytest.importorskip("onnx", reason="needs the extra [export]")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    model = small_model()
    fit(model, limit_train_batches=1)
    save_pretrained(model, "~/model")
    Path("none.jsonl").write_text("")
    given = {
        "recommend": ["--histories=none.jsonl", "--output=~/out.csv", "--n=3", f"--model={home}/model"],
        "export": ["--output=~/out", f"--model={home}/model"],
        "predict": [*FIT[:5], f"--pretrained={home}/model", "--output=~/out.csv", "--n=3"],
    }[command]
    main([command, *given])
    assert {path.stem for path in home.iterdir()} == {"model", "out"}
    assert not Path("~").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["tune", "--interactions=~nobody-here/events.parquet", "--n=5"],
        ["recommend", "--model=~nobody-here/model", "--histories=-"],
        ["recommend", "--model=ml-100k/gru4rec", "--histories=~nobody-here/events.parquet"],
        ["data", "inspect", "--config=~nobody-here/config.yaml"],
        ["export", "--model=~nobody-here/model", "--output=out"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_home_folder_of_nobody_is_a_file_that_is_not_there(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    said = error_of(capsys, *arguments)
    assert "~nobody-here/" in said
    assert "Could not determine home directory" not in said


def test_no_path_is_expanded_by_what_raises_for_an_unknown_user() -> None:
    """``Path.expanduser`` ends in a traceback there: ``home_folder.expanded`` stands for it."""
    root = Path(lightning_croloss.__file__).parents[1]
    files = [*root.glob("lightning_croloss/**/*.py"), *root.glob("serving/croloss_serving/**/*.py")]
    assert len(files) > 400
    assert [path for path in files if ".expanduser()" in path.read_text("utf-8")] == []
