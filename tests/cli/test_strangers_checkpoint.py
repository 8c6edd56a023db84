"""A stranger's checkpoint on the command line: nothing is imported, run, deleted or left half-loaded."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.cli import main
from tests.cli.cases import error_of
from tests.cli.small import FIT, LAST, NO_PLOT, SMALL, fit
from tests.pretrained.cases import vouch_again
from tests.training.cases import set_entry

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

RESUME = [*FIT, *LAST, "--test_after_fit=false", "--trainer.max_epochs=2"]
NOW = ["--trainer.logger=false", "--trainer.limit_test_batches=1"]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    before = Path.cwd()
    os.chdir(folder)
    try:
        return folder / fit()
    finally:
        os.chdir(before)


def evil(honest: Path, change: Any, name: str = "evil.ckpt") -> str:
    content = torch.load(honest, weights_only=True)
    change(content)
    torch.save(content, name)
    return name


RUNS = {"class_path": "os.system", "init_args": {"command": "touch ran"}}
IMPORTS = {"class_path": "strangers_module.Anything"}
#: What a stranger may write in place of an argument.
TEXTS = {
    "JSON": json.dumps(RUNS),
    "YAML": "{class_path: os.system, init_args: {command: touch ran}}",
    "blocks": "class_path: os.system\ninit_args:\n  command: touch ran\n",
    "import": "{class_path: strangers_module.Anything}",
    "path": "strangers_module.Anything",
    "file": "strangers.yaml",
    "file without extension": "strangers",
    "a tuple": (RUNS,),
    "inside a tuple": {"class_path": "CROLoss", "init_args": {"kernel": (IMPORTS,)}},
    "called later": {
        "class_path": "torch.optim.lr_scheduler.LambdaLR",
        "init_args": {"lr_lambda": json.dumps(RUNS)},
    },
    "a function": {
        "class_path": "torch.optim.lr_scheduler.LambdaLR",
        "init_args": {"lr_lambda": "strangers_module.function"},
    },
    "data": {"class_path": "TableDataModule", "init_args": {"interactions": "x.csv"}},
    "a model": {"class_path": "YouTubeDNN", "init_args": {"num_items": 5}},
    "no argument of it": {"class_path": "torch.optim.SGD", "init_args": {"rate": 1}},
}


@pytest.fixture
def traps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in the current folder that leave a mark where they are imported or read as a config."""
    Path("strangers_module.py").write_text("open('ran', 'w').close()\ndef function(epoch): return 1\n")
    for name in ("strangers", "strangers.yaml"):
        Path(name).write_text(yaml.safe_dump(IMPORTS))
    monkeypatch.syspath_prepend(os.getcwd())


@pytest.mark.usefixtures("traps")
@pytest.mark.parametrize(
    ("argument", "kind"),
    [
        *(("optimizer", kind) for kind in TEXTS),
        *(("lr_scheduler", kind) for kind in ("JSON", "called later", "a function")),
        *((argument, kind) for argument in ("loss", "negatives") for kind in ("import", "path", "file")),
    ],
)
def test_an_argument_is_not_read_as_a_config(
    honest: Path, argument: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = evil(honest, lambda content: content["hyper_parameters"].update({argument: TEXTS[kind]}))
    said = error_of(capsys, "test", *SMALL, *NOW, f"--ckpt_path={path}")
    assert "evil.ckpt" in said
    assert not Path("ran").exists()
    assert "strangers_module" not in sys.modules


@pytest.mark.usefixtures("traps")
@pytest.mark.parametrize("kind", ["JSON", "path", "file", "called later"])
def test_nor_is_that_of_a_pretrained_folder(
    honest: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_pretrained(load_pretrained(honest), Path("model"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["init_args"]["lr_scheduler"] = TEXTS[kind]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    vouch_again(folder)
    error_of(capsys, "test", *SMALL, *NOW, "--pretrained=./model")
    assert not Path("ran").exists()
    assert "strangers_module" not in sys.modules


@pytest.mark.parametrize("together", [True, False])
def test_a_resumed_run_deletes_nothing_of_others(honest: Path, together: bool) -> None:
    Path("work").mkdir()
    Path("precious.txt").write_text("x")
    Path("precious.ckpt").write_text("x")
    os.chdir("work")

    def name_others(content: dict[str, Any]) -> None:
        for state in content["callbacks"].values():
            state.update(
                dirpath="." if together else "elsewhere",
                last_model_path="./../precious.txt",
                best_model_path="./../precious.ckpt",
            )

    main(["fit", *RESUME, f"--ckpt_path={evil(honest, name_others)}"])
    assert Path("../precious.txt").read_text() == Path("../precious.ckpt").read_text() == "x"
    assert bool(list(Path().glob("last*.ckpt"))) == together


# ---------------------------------------------------------------------- what cannot be resumed


BROKEN: list[tuple[tuple[Any, ...], Any]] = [
    (("optimizer_states",), ...),
    (("loops",), ...),
    (("loops", "fit_loop", "epoch_progress", "current", "ready"), -1),
    (("pytorch-lightning_version",), ...),
    (("pytorch-lightning_version",), "2.0\x1b[2J"),
    (("pytorch-lightning_version",), "0.0.1"),
    (("pytorch-lightning_version",), "\u0662.\u0660"),
    (("lightning_croloss",), 5),
    (("lightning_croloss", "position", "metrics"), {"a": "b"}),
    (("hyper_parameters",), ...),
    (("hyper_parameters", "num_items"), 41),
    (("hyper_parameters", "ns"), {"a": 1}),
    (("state_dict",), ...),
]


@pytest.mark.parametrize(("path", "value"), BROKEN, ids=lambda value: repr(value)[:60])
def test_what_cannot_be_resumed_ends_in_one_sentence(
    honest: Path, path: tuple[Any, ...], value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    name = evil(honest, lambda content: set_entry(content, path, value))
    said = error_of(capsys, "fit", *RESUME, "--trainer.logger=false", f"--ckpt_path={name}")
    assert "evil.ckpt" in said
    assert len(said) < 500


# ---------------------------------------------------------------------- what is no checkpoint


def other_files(honest: Path) -> dict[str, str]:
    """Files of other kinds, and what their refusal says."""
    Path("text.ckpt").write_text("croloss\n")
    Path("empty.ckpt").touch()
    Path("folder.ckpt").mkdir()
    torch.save([1, 2], "list.ckpt")
    weights = torch.load(honest, weights_only=True)["state_dict"]
    torch.save(weights, "weights.ckpt")
    torch.save({"state_dict": weights, "pytorch-lightning_version": "2.6.0"}, "foreign.ckpt")
    shutil.make_archive("archive", "zip", honest.parent.parent, "checkpoints")
    Path("archive.zip").rename("archive.ckpt")
    folder = save_pretrained(load_pretrained(honest), Path("model"))
    shutil.copy(folder / "model.safetensors", "tensors.ckpt")
    content = honest.read_bytes()
    Path("cut.ckpt").write_bytes(content[: len(content) // 2])
    torch.save(Path("x"), "pickle.ckpt")
    Path("lists.jsonl").write_text('{"history": ["item 1"]}\n')
    return {
        "text": "it is a text",
        "empty": "it is empty",
        "folder": "folder.ckpt",
        "list": "it holds a list",
        "weights": "weights alone",
        "foreign": "this package",
        "archive": "a zip archive of something else",
        "tensors": "it is a safetensors file",
        "cut": "its end is missing",
        "pickle": "not a checkpoint of plain types",
    }


def test_what_is_no_checkpoint_is_named(honest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, says in other_files(honest).items():
        said = error_of(capsys, "test", *SMALL, *NOW, f"--ckpt_path={name}.ckpt")
        assert says in said, name
        assert f"{name}.ckpt" in said
    for name in ("text", "folder", "cut"):
        for words in (
            ["fit", *SMALL, *NOW, f"--ckpt_path={name}.ckpt"],
            ["test", *SMALL, *NOW, f"--pretrained={name}.ckpt"],
            ["export", f"--model={name}.ckpt", "--output=served"],
            ["recommend", f"--model={name}.ckpt", "--histories=lists.jsonl"],
        ):
            said = error_of(capsys, *words)
            assert f"{name}.ckpt" in said, (name, words)
