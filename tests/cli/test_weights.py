"""Weights, and what is given beside them: used, or refused in one sentence, and never passed over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.checkpoint_path import find_checkpoint
from lightning_croloss.cli.config.overrides import chosen_arguments
from tests.cli.cases import error_of
from tests.cli.small import DATA, FIT, LAST, MODEL, NO_PLOT, QUIET, SMALL, fit, measured
from tests.data_for_tests import ClusteredData

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

EVALUATING = ["validate", "test", "predict"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, beside its model as a pretrained folder; both are read only."""
    folder = tmp_path_factory.mktemp("run")
    before = Path.cwd()
    os.chdir(folder)
    try:
        path = folder / fit()
        save_pretrained(load_pretrained(path), folder / "model")
    finally:
        os.chdir(before)
    return path


class Fewer(ClusteredData):
    """The data without its last events, and so without some of its items."""

    def load(self) -> Any:
        whole = super().load()
        kept = whole.items <= 36
        from lightning_croloss.data import Interactions, Vocabulary

        return Interactions.from_ids(
            whole.users[kept].numpy(),
            whole.items[kept].numpy(),
            whole.user_vocabulary,
            Vocabulary(whole.item_vocabulary.tokens[:36]),
        )


# ---------------------------------------------------------------------- there must be weights


@pytest.mark.parametrize("command", EVALUATING)
def test_without_weights_a_command_refuses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, command, *SMALL, *MODEL)
    assert said.startswith(f"{command} needs trained weights, from --ckpt_path or --pretrained: ")
    if command == "test":
        for empty in ("--ckpt_path=", "--pretrained="):
            assert "is empty" in error_of(capsys, command, *SMALL, *MODEL, empty)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("weights", ["--ckpt_path", "--pretrained"])
def test_predict_says_that_ns_have_no_effect(
    checkpoint: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["predict", *SMALL, f"{weights}={checkpoint}", "--model.ns=[3]", "--n=4", "--output=a.csv"])
    assert "model.ns has no effect on predict: --n is the number" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "kind"), [("test", "folder"), ("validate", "checkpoint")])
def test_pretrained_weights_are_measured(
    checkpoint: Path, command: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = checkpoint if kind == "checkpoint" else checkpoint.parents[4] / "model"
    of_checkpoint = measured(command, *SMALL, f"--ckpt_path={checkpoint}")
    assert measured(command, *SMALL, f"--pretrained={name}") == of_checkpoint
    assert f"the weights are those of --pretrained {name}" in capsys.readouterr().err
    # as they are: another seed would change a random model's figures
    assert measured(command, *SMALL, f"--pretrained={name}", "--seed_everything=7") == of_checkpoint
    assert set(of_checkpoint["recall"]) == {"5", "10"}


def test_pretrained_weights_predict(checkpoint: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [tables]")
    model = checkpoint.parents[4] / "model"
    for output, weights in (
        ("a.parquet", f"--ckpt_path={checkpoint}"),
        ("b.parquet", f"--pretrained={model}"),
    ):
        main(["predict", *SMALL, weights, f"--output={output}", "--n=4"])
    assert parquet.read_table("a.parquet") == parquet.read_table("b.parquet")


def test_pretrained_weights_on_other_catalogues(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrained = f"--pretrained={checkpoint}"
    fewer = "--data=tests.cli.test_weights.Fewer"
    results = measured("test", fewer, *SMALL[1:], pretrained)
    assert 0.0 < results["recall"]["10"] < 1.0
    assert measured("test", fewer, *SMALL[1:], pretrained, "--seed_everything=7") == results
    said = error_of(capsys, "test", DATA, "--data.num_items=44", *SMALL[1:], pretrained)
    assert said.startswith("4 of the data's 44 items are unknown to --pretrained")
    said = error_of(capsys, "test", DATA, "--data.item_prefix=thing", *SMALL[1:], pretrained)
    assert said.startswith("none of the data's 40 items is known")


def test_two_sources_of_weights(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [f"--ckpt_path={checkpoint}", f"--pretrained={checkpoint}"]
    said = error_of(capsys, "validate", *SMALL, *both)
    assert said.startswith("validate takes its weights from --ckpt_path or --pretrained, not from both")


def test_a_fit_that_goes_on_from_what_it_started_from(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = checkpoint.parents[4] / "model"
    last = fit(f"--pretrained={model}")
    assert "items start from" in capsys.readouterr().err
    # the same command line after an interruption
    again = fit(f"--pretrained={model}", "--ckpt_path=last", "--trainer.max_epochs=2")
    assert "items start from" not in capsys.readouterr().err
    assert torch.load(again, weights_only=True)["lightning_croloss"]["started_from"] == str(model)
    # the config that the run has kept, and another way to write the path
    main(
        [
            "fit",
            f"--config={last.parents[1] / 'config.yaml'}",
            f"--ckpt_path={last}",
            "--test_after_fit=false",
        ]
    )
    fit(f"--pretrained={os.path.relpath(model)}/", f"--ckpt_path={last}")
    # what has begun otherwise
    said = error_of(capsys, "fit", *FIT, f"--ckpt_path={last}", "--pretrained=other")
    assert f"{last} goes on with a run that started from --pretrained {model}, and --pretrained other" in said
    said = error_of(capsys, "fit", *FIT, f"--ckpt_path={checkpoint}", f"--pretrained={model}")
    assert f"{checkpoint} goes on with a run that started from random weights, and --pretrained" in said
    assert said.endswith("starts a new one: give one of the two (set CROLOSS_TRACEBACK=1 to see where)")


def test_a_checkpoint_that_does_not_say_what_it_started_from(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["lightning_croloss"]["started_from"]
    torch.save(content, "old.ckpt")
    main(["fit", *FIT, "--test_after_fit=false", "--ckpt_path=old.ckpt", "--pretrained=model"])
    said = capsys.readouterr().err
    assert "does not say what it started from: --pretrained model, meant for new runs, is not used" in said


def test_the_config_of_a_run_that_began_with_pretrained_weights(checkpoint: Path) -> None:
    Path("kept.yaml").write_text("pretrained: nowhere\n")
    assert measured("test", "--config=kept.yaml", *SMALL, f"--ckpt_path={checkpoint}")["recall"]


# ---------------------------------------------------------------------- what is given beside weights


@pytest.mark.parametrize(
    ("weights", "where"),
    [("ckpt_path", "command line"), ("ckpt_path", "config"), ("pretrained", "command line")],
)
def test_what_is_given_for_the_evaluation_is_used(checkpoint: Path, weights: str, where: str) -> None:
    given: dict[str, Any] = {"ns": [1, 3], "exclude_history": True, "tile_elements": 1000}
    if where == "config":
        Path("mine.yaml").write_text(yaml.safe_dump({"model": {"init_args": given}}))
        arguments = ["--config=mine.yaml"]
    else:
        arguments = [f"--model.{name}={value}".replace("True", "true") for name, value in given.items()]
    base = ["test", *SMALL, f"--{weights}={checkpoint}"]
    whole = measured(*base, "--model.ns=[1,3]")
    found = measured(*base, *arguments)
    assert set(found["recall"]) == {"1", "3"}
    assert found != whole  # the history is left out
    if weights == "ckpt_path":
        kept = yaml.safe_load(sorted(Path("runs/croloss").iterdir())[-1].joinpath("config.yaml").read_text())
        written = {**kept["model"].get("init_args", {}), **kept["model"].get("dict_kwargs", {})}
        assert {name: written[name] for name in given} == given
        assert written["embedding_dim"] == 8  # which nobody gave


@pytest.mark.parametrize(
    ("command", "argument", "said"),
    [
        ("test", "--model.embedding_dim=9", "model.embedding_dim was given as 9, but --ckpt_path"),
        (
            "predict",
            "--model.hidden_dims=[16,16]",
            "model.hidden_dims was given as [16, 16], but --ckpt_path",
        ),
        ("validate", "--model.pooling=last", "model.pooling was given as 'last', but --ckpt_path"),
        ("test", "--model.similarity=dot", "model.similarity was given as 'dot', but --ckpt_path"),
        ("predict", "--model=GRU4Rec", "model: GRU4Rec was given, but --ckpt_path"),
        ("validate", "--model.num_users=99", "model.num_users comes from the data, got 99: leave it out"),
    ],
)
def test_what_contradicts_the_weights_is_refused(
    checkpoint: Path, command: str, argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = error_of(capsys, command, *SMALL, f"--ckpt_path={checkpoint}", argument)
    assert found.startswith(said)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", ["fit", "test"])
def test_the_size_of_the_catalogue_is_refused_always(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("model: {class_path: YouTubeDNN, init_args: {num_items: 40}}")
    assert "model.num_items comes from the data" in error_of(capsys, command, *FIT, "--model.num_items=99")
    said = error_of(capsys, command, "--config=mine.yaml", DATA, *QUIET)
    assert said.startswith("model.num_items comes from the data, got 40")


def test_what_matters_in_training_only_is_said(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["test", *SMALL, f"--ckpt_path={checkpoint}"]
    loss = ["--model.loss=CROLoss", "--model.loss.temperature=0.3", "--model.dropout=0.5"]
    assert measured(*base, *loss) == measured(*base)
    said = capsys.readouterr().err
    assert "croloss: without effect, as it matters in training only" in said
    assert "model.loss (CROLoss), model.dropout (0.5)" in said
    main([*base, "--model.dropout=0.0", "--model.negatives=null"])  # as in the checkpoint
    assert "without effect" not in capsys.readouterr().err


def described(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "lightning_croloss.YouTubeDNN", "init_args": arguments}


LOSS = {"class_path": "lightning_croloss.CROLoss", "init_args": {"temperature": 0.1, "importance": None}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss": {"class_path": "CROLoss", "init_args": {"temperature": 0.1}}}, None),
        ({"loss": {"class_path": "CROLoss", "init_args": {"temperature": 0.2}}}, "model.loss.temperature"),
        ({"loss": {"class_path": "SoftmaxLoss"}}, "model.loss was given as SoftmaxLoss"),
        ({"parts": [{"class_path": "a.Part", "init_args": {"size": 1}}]}, None),
        ({"parts": [{"class_path": "a.Part", "init_args": {"size": 2}}]}, "model.parts.size"),
        ({"parts": []}, "model.parts was given as []"),
        ({"unheard_of": 1}, "model.unheard_of was given as 1, but the weights was trained with nothing"),
    ],
)
def test_only_what_is_given_is_compared(given: dict[str, Any], said: str | None) -> None:
    parts = [{"class_path": "a.Part", "init_args": {"size": 1, "other": 2}}]
    kept = described(loss=LOSS, parts=parts, ns=[5])
    if said is None:
        assert chosen_arguments(described(**given), kept, "the weights", resumes=True) == ({}, [])
        return
    with pytest.raises(ValueError, match="leave it out") as caught:
        chosen_arguments(described(**given), kept, "the weights", resumes=True)
    assert str(caught.value).startswith(said)


# ---------------------------------------------------------------------- going on with a run


def test_a_resumed_run_uses_or_refuses_what_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    last = fit()
    base = ["fit", *FIT, *LAST, f"--ckpt_path={last}", "--trainer.max_epochs=2"]
    for argument, said in [
        ("--model.embedding_dim=16", "model.embedding_dim was given as 16"),
        ("--model.dropout=0.5", "model.dropout was given as 0.5"),
        ("--model.optimizer=torch.optim.SGD", "model.optimizer was given as SGD"),
        ("--model=GRU4Rec", "model: GRU4Rec was given"),
        (
            "--seed_everything=7",
            "seed_everything=7 was given, but --ckpt_path goes on with a run of the seed 42",
        ),
    ]:
        assert error_of(capsys, *base, argument).startswith(said)
    results = measured(*base, "--model.ns=[1,2]", "--seed_everything=42")
    assert set(results["recall"]) == {"1", "2"}


@pytest.mark.parametrize("name", ["last", "best", "hpc", "registry", "registry:mine", "nowhere.ckpt", ""])
def test_a_checkpoint_that_is_not_there_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, "fit", *FIT, f"--ckpt_path={name}")
    assert said.startswith("ckpt_path")
    assert not list(Path().iterdir())


def test_a_run_that_kept_no_last_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *FIT, "--test_after_fit=false"])
    said = error_of(capsys, "fit", *FIT, "--ckpt_path=last")
    assert said.startswith("ckpt_path: there is no 'last' checkpoint, as no earlier run has kept a last.ckpt")
    assert [path.name for path in Path("runs/croloss").iterdir()] == ["version_0"]


@pytest.mark.parametrize(
    "where",
    [
        [],
        ["--trainer.logger=false"],
        ["--trainer.logger.save_dir=logs", "--trainer.logger.name=mine"],
        ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.dirpath=kept"],
    ],
    ids=["default", "no logger", "another folder", "dirpath"],
)
def test_the_last_checkpoint_is_found(where: list[str]) -> None:
    saved = ["--trainer.callbacks.save_last=true"]
    given = [*where, *saved] if where[-1:] == ["--trainer.callbacks.dirpath=kept"] else [*where, *LAST]
    main(["fit", *FIT, *given, "--test_after_fit=false"])
    main(["fit", *FIT, *given, "--test_after_fit=false", "--ckpt_path=last", "--trainer.max_epochs=2"])
    saved_at = {
        path: torch.load(path, weights_only=True)["global_step"] for path in Path().glob("**/last*.ckpt")
    }
    assert max(saved_at.values()) == 6
    newest = max(saved_at, key=lambda path: path.stat().st_mtime_ns)
    for command in ("validate", "test"):
        found, expected = (
            measured(command, *FIT, *given, f"--ckpt_path={name}") for name in ("last", str(newest))
        )
        assert found == expected
    if not any("logger." in word for word in given):  # which predict refuses on the command line
        main(["predict", *FIT, *given, "--ckpt_path=last", "--n=2", "--output=lists.csv"])
        assert Path("lists.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [({}, "lightning_logs"), ({"project": "shop"}, "shop"), ({"project": None}, "lightning_logs")],
)
def test_the_last_checkpoint_of_a_tracker_is_in_its_projects_folder(
    arguments: dict[str, Any], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    path = Path("logs", folder, "a1b2", "checkpoints", "last.ckpt")
    path.parent.mkdir(parents=True)
    path.touch()
    given = {"save_dir": "logs", "name": "croloss", **arguments}
    logger = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": given}
    assert find_checkpoint("last", {"logger": logger}) == str(path)
    assert find_checkpoint("last", {"logger": [logger]}) == str(path)


def test_the_checkpoint_of_a_cluster_is_found(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(checkpoint, "hpc_ckpt_1.ckpt")
    assert measured("test", *SMALL, "--ckpt_path=hpc") == measured(
        "test", *SMALL, f"--ckpt_path={checkpoint}"
    )


def test_a_checkpoint_at_an_address_is_treated_like_a_file(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"--ckpt_path=file://{checkpoint}"
    assert set(measured("test", *SMALL, address)["recall"]) == {"5", "10"}
    assert "model.embedding_dim" in error_of(capsys, "test", *SMALL, address, "--model.embedding_dim=9")


def test_a_folder_that_is_no_checkpoint_is_called_so(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="is a folder, and not one that croloss_sharded wrote"):
        find_checkpoint(str(tmp_path), {})


def test_the_home_folder(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = next(folder for folder in checkpoint.parents if (folder / "model").is_dir())
    monkeypatch.setenv("HOME", str(home))
    inner = Path("~") / checkpoint.relative_to(home)
    assert find_checkpoint(str(inner), {}) == str(checkpoint)
    Path("lines.jsonl").write_text("[]\n")
    for model in ("~/model", str(inner)):
        main(["recommend", f"--model={model}", "--histories=lines.jsonl", "--n=2"])
        assert "1 users;" in capsys.readouterr().err
    main(["zoo", "list", "--zoo=~"])
    assert "model" in capsys.readouterr().out
    main(["zoo", "show", "model", "--zoo=~"])
    assert capsys.readouterr().out.startswith("# ")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "last.ckpt").touch()
    callback = {"class_path": "ModelCheckpoint", "init_args": {"dirpath": "~/kept"}}
    assert find_checkpoint("last", {"callbacks": [callback]}) == str(tmp_path / "kept" / "last.ckpt")
    address = "memory://~/a.ckpt"
    assert find_checkpoint(address, {}) == address
