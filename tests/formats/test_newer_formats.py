"""A file of a version that is not known yet is refused in one sentence, by each way in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_croloss import MIND, Recommender, RetrievalModel, load_pretrained
from lightning_croloss.cli import main
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import FORMAT_VERSION, KEY
from tests.formats.kept import Run, quiet_trainer

pytest.importorskip("polars", reason="the data of these files are tables")


@pytest.fixture(autouse=True)
def in_a_copy(copied: Any) -> None:
    copied("version_1")


@pytest.fixture
def newer():
    content = torch.load("fits/mind/best.ckpt", weights_only=True)
    content[KEY]["format_version"] = FORMAT_VERSION + 1
    torch.save(content, "newer.ckpt")
    return "newer.ckpt"


@pytest.mark.parametrize(
    "load", [MIND.load_from_checkpoint, RetrievalModel.load_from_checkpoint, load_pretrained]
)
def test_a_checkpoint_in_python(newer, load):
    with pytest.raises(PretrainedError, match=r"^newer\.ckpt is of format version 2, .* reads up to 1"):
        load(newer)


def test_a_checkpoint_that_a_trainer_opens(newer):
    model = MIND.load_from_checkpoint("fits/mind/best.ckpt")
    with pytest.raises(PretrainedError, match="is of format version 2"):
        quiet_trainer().test(model, Run("mind").data(), ckpt_path=newer, weights_only=True)


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_checkpoint_on_the_command_line(newer, command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--config", "configs/mind.yaml", "--ckpt_path", newer])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert "ckpt_path: newer.ckpt is of format version 2" in line


@pytest.mark.parametrize(
    ("folder", "newest", "load"),
    [
        ("zoo/small/mind", 1, load_pretrained),
        ("exports/gru4rec", 2, Recommender.from_export),
    ],
    ids=["pretrained", "export"],
)
def test_a_folder(folder, newest, load):
    path = Path(folder) / "manifest.json"
    newer = f'"format_version": {newest + 1}'
    path.write_text(path.read_text().replace('"format_version": 1', newer))
    said = rf"was saved in format version {newest + 1}; .* reads up to {newest}"
    with pytest.raises(PretrainedError, match=said):
        load(folder)
