"""``croloss gather``: a checkpoint in shards becomes one ordinary file, or nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from lightning_croloss import RetrievalModel, load_pretrained
from lightning_croloss.cli import main
from lightning_croloss.common import space
from lightning_croloss.models import gather_checkpoint
from lightning_croloss.training.sharded.folder import ROWS
from tests.cli.cases import error_of
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.training.sharded.cases import in_shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shards")
    fit(small_model(), ClusteredData(), max_epochs=1).save_checkpoint(made / "file.ckpt")
    in_shards(made / "file.ckpt", made / "folder.ckpt")
    return made / "folder.ckpt"


def test_the_file_is_the_model_of_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gather", f"--checkpoint={folder}", "--output=made/model.ckpt"]
    main(words)
    assert "made/model.ckpt" in capsys.readouterr().out
    path = Path("made/model.ckpt")
    weights = RetrievalModel.load_from_checkpoint(path).state_dict()
    expected = RetrievalModel.load_from_checkpoint(folder).state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    assert len(load_pretrained(path).recommend_tokens([["item 1"]], n=3)[0].tokens) == 3
    assert "optimizer_states" not in torch.load(path, weights_only=True)

    path.write_bytes(b"mine")
    assert "--output made/model.ckpt exists" in error_of(capsys, *words)
    assert path.read_bytes() == b"mine"
    main([*words, "--overwrite"])
    assert path.stat().st_size > 1000
    assert [each.name for each in path.parent.iterdir()] == ["model.ckpt"]


def test_what_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["gather", f"--checkpoint={folder}", "--output=model.ckpt"]
    assert "--output model.pt must end in .ckpt" in error_of(capsys, *words[:2], "--output=model.pt")
    ordinary = folder.with_name("file.ckpt")
    assert "may be loaded as it is" in error_of(capsys, words[0], f"--checkpoint={ordinary}", words[2])
    assert "there is no such checkpoint" in error_of(capsys, words[0], "--checkpoint=none.ckpt", words[2])
    shutil.copytree(folder, "folder.ckpt")
    assert "is a folder" in error_of(capsys, *words[:2], "--output=folder.ckpt", "--overwrite")
    inside = error_of(capsys, words[0], "--checkpoint=folder.ckpt", "--output=folder.ckpt/in.ckpt")
    assert "folder.ckpt/in.ckpt cannot be written: it is folder.ckpt or lies in it" in inside
    Path("link").symlink_to("folder.ckpt")
    for output in ("folder.ckpt", "link"):
        with pytest.raises(FileExistsError, match="without which training cannot go on"):
            gather_checkpoint("folder.ckpt", output)
    Path("link").unlink()
    shutil.rmtree("folder.ckpt/" + ROWS)
    assert "and not one that" in error_of(capsys, words[0], "--checkpoint=folder.ckpt", words[2])
    shutil.rmtree("folder.ckpt")
    monkeypatch.setattr(space, "free_bytes", lambda path: 1000)
    assert "the weights alone count here, takes" in error_of(capsys, *words)
    assert not list(Path().iterdir())
