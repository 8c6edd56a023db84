"""Archives that unpack to more than they take are told from their directory, before anything is unpacked."""

import io
import struct
import zipfile

import pytest
import torch
from lightning.pytorch import Trainer

from lightning_croloss.common.archives import is_intact, is_stored
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import read_checkpoint
from lightning_croloss.training.resume import keep_checkpoints_together
from lightning_croloss.training.whole_checkpoints import WholeCheckpointIO


def saved(path, content):
    torch.save(content, path)
    return path


def packed(source, path):
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(path, "w") as archive:
        for record in given.infolist():
            archive.writestr(record.filename, given.read(record), zipfile.ZIP_DEFLATED, 9)
    return path


def declaring_more(source, path, named_twice):
    """An archive whose directory says of every record that it is longer, or names each record ten times."""
    content = source.read_bytes()
    begin = content.index(b"PK\1\2")
    end = content.rindex(b"PK\5\6")
    entries, tail = content[begin:end].partition(b"PK\6\6")[0], content[end:]
    number = struct.unpack_from("<H", tail, 10)[0]
    if named_twice:
        entries, number = entries * 10, number * 10
    else:
        entries = bytearray(entries)
        struct.pack_into("<I", entries, 24, 2**30)
        entries = bytes(entries)
    tail = bytearray(tail)
    struct.pack_into("<HHII", tail, 8, number, number, len(entries), begin)
    path.write_bytes(content[:begin] + entries + bytes(tail))
    return path


@pytest.fixture
def checkpoint(tmp_path):
    return saved(tmp_path / "m.ckpt", {"state_dict": {"w": torch.zeros(2**18)}})


@pytest.fixture(params=["packed", "longer", "twice"])
def bomb(request, checkpoint, tmp_path):
    path = tmp_path / "bomb.ckpt"
    if request.param == "packed":
        return packed(checkpoint, path)
    return declaring_more(checkpoint, path, request.param == "twice")


def test_what_torch_writes_is_stored(checkpoint, tmp_path):
    assert is_stored(checkpoint)
    assert is_intact(checkpoint)
    with checkpoint.open("rb") as file:
        file.seek(5)
        assert is_stored(file)
        assert file.tell() == 5
    (tmp_path / "text").write_text("no archive")
    assert is_stored(tmp_path / "text")
    legacy = io.BytesIO()
    torch.save({"a": torch.ones(2)}, legacy, _use_new_zipfile_serialization=False)
    assert is_stored(legacy)
    half = io.BytesIO(checkpoint.read_bytes()[:-500])
    assert not is_stored(half)


def test_nothing_is_unpacked(bomb, monkeypatch):
    def unpack(*_, **__):
        raise AssertionError("unpacked")

    monkeypatch.setattr(torch, "load", unpack)
    assert not is_stored(bomb)
    assert not is_intact(bomb)
    with pytest.raises(PretrainedError, match="is damaged: it is compressed, or declares more than it holds"):
        read_checkpoint(bomb)
    with (
        bomb.open("rb") as file,
        pytest.raises(PretrainedError, match="is compressed, or declares more than it"),
    ):
        read_checkpoint(file)
    with pytest.raises(PretrainedError, match="not a checkpoint of plain types, or is damaged"):
        WholeCheckpointIO().load_checkpoint(bomb)
    keep_checkpoints_together(Trainer(logger=False, accelerator="cpu"), bomb)
