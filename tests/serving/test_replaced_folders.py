"""Folders in whose place others come while they are read: nothing of two is mixed."""

import hashlib
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fuzz.folders import FORMATS, copied, manifest_of, sign

for package in ("faiss", "onnxruntime", "pyarrow"):
    pytest.importorskip(package, reason="needs the extra [export]")
import croloss_serving.export_folder as export_folder  # noqa: E402
import lightning_croloss.pretrained.loading as loading  # noqa: E402
from croloss_serving import Recommender  # noqa: E402
from croloss_serving.common.manifest import checked_file, path_of_open  # noqa: E402
from croloss_serving.errors import PretrainedError  # noqa: E402
from lightning_croloss import load_pretrained  # noqa: E402

CHANGED = "was changed while it was read: try again"
EXPORT = FORMATS / "exports" / "youtube_dnn"
MODEL = FORMATS / "zoo" / "small" / "two_tower"


@pytest.fixture
def export(tmp_path):
    return copied(EXPORT, tmp_path / "export")


@pytest.fixture
def model(tmp_path):
    return copied(MODEL, tmp_path / "model")


def before(monkeypatch, module, name, action):
    """Do something before a function of a module, the first time."""
    original = getattr(module, name)
    left = [action]

    def acting(*arguments, **options):
        if left:
            left.pop()()
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, acting)


def replaced(path):
    """Another file in the place of one, as a rename brings it."""
    content = bytearray(path.read_bytes())
    content[-64:] = bytes(64)
    path.with_name("new").write_bytes(content)
    os.replace(path.with_name("new"), path)


def overwritten(path):
    """Other content in the same file."""
    with path.open("r+b") as file:
        file.seek(-64, io.SEEK_END)
        file.write(bytes(64))


@pytest.mark.parametrize("change", [replaced, overwritten])
@pytest.mark.parametrize("name", ["items.npy", "index.faiss"])
def test_files_of_an_export_that_change_after_the_folder_was_opened(export, name, change, monkeypatch):
    opened = export_folder.ExportFolder.open

    def changing(folder):
        found = opened(folder)
        change(folder / name)
        return found

    monkeypatch.setattr(export_folder.ExportFolder, "open", staticmethod(changing))
    with pytest.raises(PretrainedError, match=f"{name} is damaged or was changed"):
        Recommender.from_export(export)


def test_what_is_read_is_what_was_compared(export, monkeypatch):
    expected = np.load(export / "items.npy")
    before(monkeypatch, export_folder, "read_array", lambda: replaced(export / "items.npy"))
    before(monkeypatch, export_folder, "check_index", lambda: replaced(export / "index.faiss"))
    found = Recommender.from_export(export)
    assert np.array_equal(found._vectors, expected)
    assert np.array_equal(found._index.reconstruct_n(0, len(expected)), expected)


@pytest.mark.parametrize("name", ["items.npy", "index.faiss"])
def test_what_is_written_over_meanwhile_is_refused(export, name, monkeypatch):
    function = "read_array" if name == "items.npy" else "read_index"
    before(monkeypatch, export_folder, function, lambda: overwritten(export / name))
    with pytest.raises(PretrainedError, match=f"{name} {CHANGED}|{name} is damaged|index of 30 items"):
        Recommender.from_export(export)


def test_another_export_in_its_place(export, monkeypatch, tmp_path):
    def replace():
        shutil.move(export, tmp_path / "old")
        copied(EXPORT, export)
        manifest = manifest_of(export)
        sign(export, {**manifest, "model": {**manifest["model"], "max_history": 3}})

    before(monkeypatch, export_folder.ExportFolder, "events", replace)
    with pytest.raises(PretrainedError, match=CHANGED):
        Recommender.from_export(export)


@pytest.mark.parametrize("change", [replaced, overwritten])
def test_weights_that_change_after_the_manifest_was_read(model, change, monkeypatch):
    before(monkeypatch, loading, "_parsed_config", lambda: change(model / "model.safetensors"))
    with pytest.raises(PretrainedError, match=r"model\.safetensors is damaged or was changed"):
        load_pretrained(model)


def test_weights_that_are_replaced_meanwhile(model, monkeypatch):
    expected = load_pretrained(MODEL).state_dict()
    before(monkeypatch, loading, "load_file", lambda: replaced(model / "model.safetensors"))
    found = load_pretrained(model).state_dict()
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_weights_that_are_written_over_meanwhile(model, monkeypatch):
    before(monkeypatch, loading, "_load_weights", lambda: overwritten(model / "model.safetensors"))
    with pytest.raises(PretrainedError, match=rf"model\.safetensors {CHANGED}"):
        load_pretrained(model)


def test_another_model_in_its_place(model, monkeypatch):
    def replace():
        manifest = manifest_of(model)
        sign(model, {**manifest, "facts": {**manifest["facts"], "seed": 5}})

    before(monkeypatch, loading, "_load_items", replace)
    with pytest.raises(PretrainedError, match=CHANGED):
        load_pretrained(model)


def test_a_path_of_an_open_file(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("one")
    other.write_text("two")
    manifest = {"files": {"a": {"bytes": 3, "sha256": hashlib.sha256(b"one").hexdigest()}}}
    with checked_file(tmp_path, "a", manifest) as file:
        os.replace(other, path)
        assert Path(path_of_open(file, path)).read_text() == "one"
    assert path.read_text() == "two"
