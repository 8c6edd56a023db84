"""The Hub, with a local folder in its place."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

from lightning_croloss import list_pretrained, load_pretrained, push_to_hub, save_pretrained
from lightning_croloss.errors import MissingExtraError, PretrainedError
from lightning_croloss.pretrained.hub import Address, parse_address
from tests.data_for_tests import fit, small_model

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the Hub's own client is needed")


class LocalHub:
    """Stands for the Hub: repositories are folders, and what was downloaded stays in a cache."""

    def __init__(self, folder):
        self.folder, self.cache, self.offline, self.made = folder / "hub", folder / "cache", False, []

    def create_repo(self, repo_id, *, private, token, exist_ok):
        assert exist_ok
        self.made.append((repo_id, private))
        (self.folder / repo_id).mkdir(parents=True, exist_ok=True)

    def upload_folder(
        self, *, repo_id, folder_path, path_in_repo, revision, token, commit_message, allow_patterns
    ):
        for path in Path(folder_path).iterdir():
            if path.name in allow_patterns:
                target = self.folder / repo_id / (path_in_repo or "") / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)

    def snapshot_download(self, repo_id, *, revision, allow_patterns):
        source, cached = self.folder / repo_id, self.cache / repo_id
        if self.offline:
            if not cached.is_dir():
                raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache\nand more lines")
            return str(cached)
        if not source.is_dir():
            raise OSError(f"404 Client Error: {repo_id} not found\nand more lines")
        for path in source.rglob("*"):
            name = path.relative_to(source).as_posix()
            if path.is_file() and any(fnmatch(name, pattern) for pattern in allow_patterns):
                (cached / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, cached / name)
        cached.mkdir(parents=True, exist_ok=True)
        return str(cached)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    local = LocalHub(tmp_path)
    for name in ("create_repo", "upload_folder", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, name, getattr(local, name))
    return local


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = small_model()
    fit(model, limit_train_batches=2)
    return save_pretrained(model, tmp_path_factory.mktemp("zoo") / "clusters" / "dnn")


@pytest.mark.parametrize("address", ["hf://me/models", "hf://me/models/clusters/dnn"])
def test_there_and_back_the_same_scores(hub, saved, address):
    (saved / "secret.txt").write_text("not of the model")
    assert push_to_hub(saved, address, private=True) == address
    assert hub.made == [("me/models", True)]
    assert not list(hub.folder.rglob("secret.txt"))
    got, expected = load_pretrained(address), load_pretrained(saved)
    for one, other in zip(got.recommend([[1, 2]], 9), expected.recommend([[1, 2]], 9), strict=True):
        assert torch.equal(one, other)
    assert list_pretrained("hf://me/models") == [address]


def test_what_was_loaded_once_loads_offline(hub, saved):
    push_to_hub(saved, "hf://me/models/dnn")
    load_pretrained("hf://me/models/dnn")
    hub.offline = True
    load_pretrained("hf://me/models/dnn")
    assert list_pretrained("hf://me/models") == ["hf://me/models/dnn"]
    with pytest.raises(PretrainedError, match=r"its cache: the Hub cannot be reached, and it is not in"):
        load_pretrained("hf://me/others")


def test_the_offline_switch_of_the_hub_is_its_own(saved, tmp_path, monkeypatch):
    """Without the stand-in, offline and with an empty cache: one sentence, no attempt to connect."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        PretrainedError, match="hf://me/models cannot be read from the Hub or its cache"
    ) as caught:
        load_pretrained("hf://me/models")
    assert "\n" not in str(caught.value)


def test_what_is_not_there(hub, saved):
    with pytest.raises(PretrainedError, match=r"hf://me/nothing cannot be read .*404 .* not found$"):
        load_pretrained("hf://me/nothing")
    push_to_hub(saved, "hf://me/models/dnn")
    with pytest.raises(PretrainedError, match=r"me/models has no pretrained model in its folder 'mind'"):
        load_pretrained("hf://me/models/mind")
    with pytest.raises(PretrainedError, match=r"me/models has no pretrained model: list_pretrained"):
        load_pretrained("hf://me/models")
    with pytest.raises(PretrainedError, match="is not a pretrained model"):
        push_to_hub(saved.parent, "hf://me/models")


def test_a_damaged_upload_is_refused(hub, saved):
    push_to_hub(saved, "hf://me/models")
    (hub.folder / "me/models/model.safetensors").write_bytes(b"cut off")
    with pytest.raises(PretrainedError, match=r"model\.safetensors has 7 bytes instead of"):
        load_pretrained("hf://me/models")


@pytest.mark.parametrize("name", ["README.md", "users.parquet"])
def test_nothing_that_was_not_checked_is_uploaded(hub, saved, tmp_path, name):
    """A folder that someone else has made may hold a link to what is nobody's business."""
    (tmp_path / "private.txt").write_text("nobody's business")
    folder = shutil.copytree(saved, tmp_path / "copy")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "private.txt")
    if name == "README.md":
        with pytest.raises(
            PretrainedError, match=r"README\.md cannot be read: it is a link to a file outside"
        ):
            push_to_hub(folder, "hf://me/models")
        folder.joinpath(name).unlink()
    push_to_hub(folder, "hf://me/models")  # without a card, which loading does not need
    assert not list(hub.folder.rglob(name))


def test_addresses():
    assert parse_address("hf://me/models") == Address("me/models", None, "")
    assert parse_address("hf://me/models@v1/a/b/") == Address("me/models", "v1", "a/b")
    for wrong in (
        "hf://",
        "hf://me",
        "hf://me/",
        "hf:///models",
        "hf://me/m@",
        "hf://me/m/../x",
        "me/models",
    ):
        with pytest.raises(PretrainedError, match="is not an address: write hf://owner/name"):
            parse_address(wrong)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"the Hugging Face Hub needs the extra \[hub\]"):
        load_pretrained("hf://me/models")
