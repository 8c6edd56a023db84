"""A checkpoint in shards as a folder: what one process makes of it, and of one that is damaged or strange."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.checkpoint import filesystem

from lightning_croloss import RetrievalModel, UniformNegatives
from lightning_croloss.errors import NotEnoughSpaceError, PretrainedError
from lightning_croloss.models import gather_checkpoint
from lightning_croloss.models.checkpoint import read_checkpoint
from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.sharded import saving
from lightning_croloss.training.sharded.folder import KEY, REST, ROWS, is_sharded_checkpoint
from lightning_croloss.training.sharded.saving import save_in_shards
from lightning_croloss.training.whole_checkpoints import WholeCheckpointIO, _link_checkpoint
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model
from tests.training.sharded.cases import TABLE, in_shards

WEIGHT = f"state_dict.{TABLE}.weight"
METADATA = f"{ROWS}/.metadata"
VALUES = f"{ROWS}/__0_0.distcp"


def model() -> Any:
    return small_model(sparse_gradients=True, negatives=UniformNegatives(20))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the checkpoint of a moment in training as one file, and as a folder."""
    folder = tmp_path_factory.mktemp("checkpoints")
    fit(model(), max_epochs=2, limit_train_batches=3).save_checkpoint(folder / "file.ckpt")
    in_shards(folder / "file.ckpt", folder / "folder.ckpt")
    return folder / "file.ckpt", folder / "folder.ckpt"


def same(one: Any, other: Any) -> bool:
    return str(one) == str(other)


def test_it_loads_as_the_file_does(checkpoints: tuple[Path, Path]) -> None:
    file, folder = checkpoints
    assert is_sharded_checkpoint(folder)
    assert not is_sharded_checkpoint(file)
    one, other = (RetrievalModel.load_from_checkpoint(path).state_dict() for path in checkpoints)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_goes_on_from_it_as_from_the_file(checkpoints: tuple[Path, Path]) -> None:
    ends = []
    for path in checkpoints:
        resumed = model()
        trainer = fit(resumed, ClusteredData(), max_epochs=4, limit_train_batches=3, ckpt_path=path)
        ends.append((resumed.state_dict(), trainer.optimizers[0].state_dict()))
    assert same(*ends)


def test_what_is_only_described_has_shapes_alone(checkpoints: tuple[Path, Path]) -> None:
    for rows, target in ((False, "cpu"), (True, "meta")):
        weights = read_checkpoint(checkpoints[1], target, rows=rows)["state_dict"]
        assert weights[f"{TABLE}.weight"].is_meta
        assert weights[f"{TABLE}.weight"].shape == (41, 8)
    assert "optimizer_states" not in read_checkpoint(checkpoints[1])


def test_a_file_takes_the_place_of_a_folder(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    shutil.copytree(checkpoints[1], path)
    WholeCheckpointIO().save_checkpoint({"weights": 1}, path)
    assert torch.load(path, weights_only=True) == {"weights": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_removed_folder_is_gone_but_for_the_link_to_it(
    checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    for linked in (True, False):
        path, link = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
        shutil.copytree(checkpoints[1], path)
        if linked:
            link.symlink_to(path.name)
        WholeCheckpointIO().remove_checkpoint(path)
        assert [each.name for each in tmp_path.iterdir()] == (["last.ckpt"] if linked else [])
        if linked:
            assert RetrievalModel.load_from_checkpoint(link).num_items == 40
            WholeCheckpointIO().remove_checkpoint(link)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """Let this process be a group of one."""
    store = (tmp_path.parent / f"{tmp_path.name}-rendezvous").as_uri()
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def saved(file: Path, path: Path | str) -> None:
    content = torch.load(file, weights_only=True)
    save_in_shards(content, path, {TABLE: RowShards(41)}, [{0: TABLE}])


def test_it_does_not_tell_where_it_was_written(
    group: None, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    saved(checkpoints[0], tmp_path / "best.ckpt")
    files = [path for path in (tmp_path / "best.ckpt").rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:  # paths are pickled part by part
        assert tmp_path.name.encode() not in path.read_bytes()
    assert same(*map(read_checkpoint, (tmp_path / "best.ckpt", checkpoints[1])))


@pytest.mark.parametrize("held", ["thesis.txt", REST, ROWS])
def test_a_folder_of_the_users_own_is_never_replaced(
    held: str, group: None, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "results"
    path.mkdir()
    (path / held).write_text("mine")
    with pytest.raises(FileExistsError, match=f"is a folder that holds '{held}', which a checkpoint"):
        saved(checkpoints[0], path)
    with pytest.raises(OSError, match="results"):
        WholeCheckpointIO().save_checkpoint({"weights": 1}, path)
    assert not is_sharded_checkpoint(path)
    assert (path / held).read_text() == "mine"
    assert os.listdir(tmp_path) == ["results"]


def test_what_lies_beside_the_rows_is_not_deleted_with_them(
    checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    shutil.copytree(checkpoints[1], path)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds 'notes\.txt'"):
        WholeCheckpointIO().save_checkpoint({"weights": 1}, path)
    assert (path / "notes.txt").read_text() == "mine"
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_whatever_a_checkpoint_was_it_is_replaced(
    group: None, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    """A file, a folder, a link to either, and one that leads nowhere; by folders and by files."""
    io = WholeCheckpointIO()
    for number, there in enumerate(("file", "folder", "to file", "to folder", "nowhere", "empty")):
        for name, write in (("folder", saved), ("file", lambda file, path: io.save_checkpoint({}, path))):
            place = tmp_path / f"{number}-{name}"
            place.mkdir()
            shutil.copy(checkpoints[0], place / "file.ckpt")
            shutil.copytree(checkpoints[1], place / "folder.ckpt")
            path = place / "last.ckpt"
            if there == "empty" and name == "file":
                continue
            if there.startswith(("to", "nowhere")):
                path.symlink_to(f"{there.removeprefix('to ')}.ckpt")
            elif there == "empty":
                path.mkdir()
            else:
                (place / f"{there}.ckpt").rename(path)
            left = {each.name for each in place.iterdir()} | {"last.ckpt"}
            write(checkpoints[0], path)
            assert not path.is_symlink()
            assert is_sharded_checkpoint(path) == (name == "folder"), there
            assert {each.name for each in place.iterdir()} == left
            assert not path.stat().st_mode & 0o100 or path.is_dir()


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), NotEnoughSpaceError, "No space left on device: "),
        (OSError(errno.EIO, "Input/output error"), OSError, "could not be written: "),
        (RuntimeError("unexpected pos 1216"), OSError, "could not be written: unexpected pos 1216"),
    ],
    ids=["full", "broken", "of torch"],
)
@pytest.mark.parametrize("part", ["rows", "rest"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    part: str,
    error: Exception,
    kind: type[Exception],
    said: str,
    group: None,
    checkpoints: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "last.ckpt"
    saved(checkpoints[0], path)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    if part == "rows":
        monkeypatch.setattr(filesystem, "_write_item", fail)
    elif isinstance(error, OSError):
        monkeypatch.setattr(saving, "WholeCheckpointIO", lambda: SimpleNamespace(save_checkpoint=fail))
        said = said.replace("could not be written: ", "")
    else:
        return
    with pytest.raises(kind) as caught:
        saved(checkpoints[0], path)
    assert said in str(caught.value)
    assert "None" not in str(caught.value)
    assert ".new" not in str(caught.value)
    assert os.listdir(tmp_path) == ["last.ckpt"]
    assert RetrievalModel.load_from_checkpoint(path).num_items == 40


def test_a_state_that_cannot_be_saved_is_named_and_leaves_the_checkpoint_before(
    group: None, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    content = torch.load(checkpoints[0], weights_only=True)
    for before in ("folder", "file"):
        if before == "folder":
            saved(checkpoints[0], path)
        else:
            shutil.copy(checkpoints[0], path := tmp_path / "file.ckpt")
        broken = {**content, "callbacks": {"Mine{'every': 2}": {"lock": threading.Lock()}}}
        shards: tuple[Any, ...] = ({TABLE: RowShards(41)}, [{0: TABLE}]) if before == "folder" else ()
        write = save_in_shards if shards else WholeCheckpointIO().save_checkpoint
        with pytest.raises(TypeError) as caught:
            write(broken, path, *shards)
        assert "'Mine' in 'callbacks' of the checkpoint cannot be saved (cannot pickle" in str(caught.value)
        assert RetrievalModel.load_from_checkpoint(path).num_items == 40
    assert sorted(os.listdir(tmp_path)) == ["file.ckpt", "last.ckpt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077], ids=oct)
def test_who_may_read_it_is_what_the_umask_says(
    mask: int, group: None, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    before = os.umask(mask)
    try:
        for number in range(2):  # a new one, and one in place of another
            saved(checkpoints[0], tmp_path / "last.ckpt")
            found = [tmp_path / "last.ckpt", *(tmp_path / "last.ckpt").rglob("*")]
            modes = {path.name: path.stat().st_mode & 0o777 for path in found}
            assert len(modes) == 5
            for path in found:
                assert modes[path.name] == (0o777 if path.is_dir() else 0o666) & ~mask, (number, path.name)
    finally:
        os.umask(before)


def test_the_link_to_the_last_takes_the_place_of_a_folder_in_one_step(
    checkpoints: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it is killed, last.ckpt is a whole checkpoint, or absent."""
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    for path in (best, last):
        shutil.copytree(checkpoints[1], path)
    remove = shutil.rmtree

    def watched(path: Path) -> None:
        assert Path(path) != last
        assert RetrievalModel.load_from_checkpoint(last).num_items == 40
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", watched)
    _link_checkpoint(quiet_trainer(), str(best), str(last))
    assert last.readlink() == Path("best.ckpt")
    assert sorted(os.listdir(tmp_path)) == ["best.ckpt", "last.ckpt"]


def test_an_address_of_this_machine_is_its_path(checkpoints: tuple[Path, Path]) -> None:
    address = checkpoints[1].as_uri()
    assert RetrievalModel.load_from_checkpoint(address).num_items == 40
    quiet_trainer().validate(model(), ClusteredData(), ckpt_path=address, verbose=False, weights_only=True)


def test_the_file_in_the_folder_is_no_checkpoint_by_itself(checkpoints: tuple[Path, Path]) -> None:
    path = checkpoints[1] / REST
    for read in (
        RetrievalModel.load_from_checkpoint,
        lambda path: fit(model(), max_epochs=4, ckpt_path=path),
        lambda path: quiet_trainer().validate(model(), ClusteredData(), ckpt_path=path, weights_only=True),
    ):
        with pytest.raises(PretrainedError, match="is a part of a checkpoint in shards, without its tables"):
            read(path)


def test_what_cannot_be_gathered(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such checkpoint"):
        gather_checkpoint(tmp_path / "none.ckpt", tmp_path / "model.ckpt")
    with pytest.raises(PretrainedError, match="may be loaded as it is"):
        gather_checkpoint(checkpoints[0], tmp_path / "model.ckpt")
    with pytest.raises(IsADirectoryError, match="is a folder, not a file to write: name one in it"):
        gather_checkpoint(checkpoints[1], tmp_path)
    assert not os.listdir(tmp_path)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    # the values of the first tensor, behind the pickle that describes it
    at = content.index(b"data/0") + 100
    content[at] ^= 1
    path.write_bytes(content)


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def metadata(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / METADATA
        content = pickle.loads(path.read_bytes())
        changed = change(content)
        path.write_bytes(pickle.dumps(content if changed is None else changed))

    return damage


def rest(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = torch.load(folder / REST, weights_only=True)
        change(content)
        torch.save(content, folder / REST)

    return damage


def place(**changed: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for index, info in content.storage_data.items():
            if index.fqn == WEIGHT:
                for name, value in changed.items():
                    setattr(info, name, value)

    return change


def larger(content: Any) -> None:
    content.state_dict_metadata[WEIGHT].chunks[0].sizes = torch.Size((40, 8))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of the values": (lambda folder: flipped(folder / VALUES), "does not match its checksums"),
    "no values": (lambda folder: (folder / VALUES).unlink(), "__0_0.distcp is missing"),
    "half of the values": (
        lambda folder: (folder / VALUES).write_bytes((folder / VALUES).read_bytes()[:1000]),
        "the end of __0_0.distcp is missing",
    ),
    "no metadata": (lambda folder: (folder / METADATA).unlink(), ".metadata cannot be read"),
    "half of the metadata": (
        lambda folder: (folder / METADATA).write_bytes((folder / METADATA).read_bytes()[:90]),
        ".metadata is not what was written there",
    ),
    "code": (
        metadata(lambda content: Harmful(Path("harmed"))),
        "is no part of such a file",
    ),
    "another path": (metadata(place(relative_path="../../other")), "not in a file of it"),
    "a place behind the end": (metadata(place(offset=10**9)), "the end of __0_0.distcp is missing"),
    "fewer bytes than values": (metadata(place(length=1000)), "holds fewer values of"),
    "another transformation": (metadata(place(transform_descriptors=["zstd"])), "does not say where"),
    "a part is missing": (metadata(larger), "of 41 rows of 'state_dict.item_embedding.weight' it holds 40"),
    "a tensor is missing": (
        metadata(lambda content: content.state_dict_metadata.pop(WEIGHT) and None),
        "does not hold 'state_dict.item_embedding.weight'",
    ),
    "no description": (rest(lambda content: content.pop(KEY)), "does not say which tensors are in shards"),
    "another shape": (
        rest(lambda content: content[KEY]["rows"].update({WEIGHT: [[50, 8], "torch.float32"]})),
        "has the shape (41, 8) instead of (50, 8)",
    ),
    "another name": (
        rest(lambda content: content[KEY]["rows"].update({"callbacks.x": [[50, 8], "torch.float32"]})),
        "it describes 'callbacks.x'",
    ),
    "a newer format": (
        rest(lambda content: content[KEY].update(format_version=9)),
        "of format version 9, this lightning-croloss reads up to 1",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_refused_in_one_sentence(
    damage: str, checkpoints: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder.ckpt"
    shutil.copytree(checkpoints[1], folder)
    apply, sentence = DAMAGES[damage]
    apply(folder)
    with pytest.raises(PretrainedError) as caught:
        RetrievalModel.load_from_checkpoint(folder)
    told = str(caught.value)
    assert "\n" not in told
    assert "folder.ckpt" in told
    assert sentence in told
    assert not Path("harmed").exists()


def test_another_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder, not a checkpoint"):
        RetrievalModel.load_from_checkpoint(tmp_path)
