"""What an output may replace, as a folder and as a file."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from croloss_serving.common.manifest import Format
from lightning_croloss.common.files import output_file, replacing_folder
from lightning_croloss.common.replaceable import check_folder, check_path
from lightning_croloss.common.space import check_space
from lightning_croloss.errors import NotEnoughSpaceError

KIND = Format("shop window", 1, "a shop window")
OTHER = Format("something else", 1, "something else")
Usage = namedtuple("Usage", "total used free")


def written(folder: Path, kind: Format = KIND) -> Path:
    folder.mkdir(parents=True)
    (folder / "w").write_text("old")
    kind.write(folder, {}, ["w"])
    return folder


def test_an_earlier_folder_of_the_same_kind_is_replaced_on_request_only(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine")
    check_folder(folder, KIND, overwrite=True)
    check_folder(tmp_path / "new", KIND, overwrite=False)
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", KIND, overwrite=True)
    for option, leave in (("--output", "give --overwrite"), ("", "overwrite it")):
        with pytest.raises(FileExistsError, match=f"mine exists: choose another folder, or {leave}"):
            check_folder(folder, KIND, False, option)


@pytest.mark.parametrize("name", [".hidden", "notes.txt", "w2", "sub/w"])
def test_a_folder_that_holds_something_else_besides_stays(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "mine")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("precious")
    with pytest.raises(
        FileExistsError, match=f"holds {name.split('/')[0]} besides a shop window, and --overwr"
    ):
        check_folder(folder, KIND, True, "--output")


@pytest.mark.parametrize("what", ["other kind", "no manifest", "damaged", "file"])
def test_a_folder_of_another_kind_stays(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "mine"
    if what == "file":
        folder.write_text("precious")
    else:
        written(folder, OTHER if what == "other kind" else KIND)
    if what == "no manifest":
        (folder / "manifest.json").unlink()
    if what == "damaged":
        (folder / "manifest.json").write_text("{")
    with pytest.raises(
        FileExistsError, match=r"mine is (not a shop window, and overwriting it would|a file)"
    ):
        check_folder(folder, KIND, overwrite=True)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (".", "is the current folder"),
        ("", "is the current folder"),
        ("..", "holds the current folder"),
        ("../..", "holds the current folder"),
        ("sub/..", "is the current folder"),
        ("../here", "is the current folder"),
        ("/", "holds the current folder"),
        ("link", "link is a symbolic link to target"),
        ("link/", "link is a symbolic link to target"),
        ("dangling", "dangling is a symbolic link to nowhere"),
        ("~", "is the home folder"),
        ("~/..", "holds the home folder"),
    ],
)
def test_folders_that_must_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    here = tmp_path / "here"
    written(here / "target")
    (here / "sub").mkdir()
    (here / "link").symlink_to("target")
    (here / "dangling").symlink_to("nowhere")
    (tmp_path / "users" / "me").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "users" / "me"))
    monkeypatch.chdir(here)
    before = sorted(tmp_path.rglob("*"))
    given = Path(path).expanduser()
    for overwrite in (True, False):
        with pytest.raises(FileExistsError) as caught, replacing_folder(given, overwrite):
            raise AssertionError("not reached")
        assert said in str(caught.value) or (not overwrite and "exists" in str(caught.value))
        with pytest.raises(FileExistsError):
            check_folder(given, KIND, overwrite, "--output")
    assert sorted(tmp_path.rglob("*")) == before
    assert (here / "target" / "w").read_text() == "old"


def test_a_mounted_file_system_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path)
    with pytest.raises(FileExistsError, match="is where a file system is mounted: name a folder in it"):
        check_path(tmp_path)


def test_a_link_on_the_way_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with replacing_folder(tmp_path / "link" / "model") as folder:
        (folder / "w").write_text("new")
    assert (tmp_path / "real" / "model" / "w").read_text() == "new"


@pytest.mark.parametrize("what", ["link", "dangling", "folder", "pipe"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_must_stay(tmp_path: Path, what: str, overwrite: bool) -> None:
    path = tmp_path / "out.csv"
    (tmp_path / "target").write_text("precious")
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("target" if what == "link" else "nowhere")
    before = sorted(tmp_path.iterdir())
    said = "is a symbolic link to|is a folder: name a file in it|is not a plain file"
    with (
        pytest.raises(FileExistsError, match=rf"--output .*out\.csv ({said})"),
        output_file(path, overwrite, "--output"),
    ):
        raise AssertionError("not reached")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "target").read_text() == "precious"


def test_space_is_checked_where_the_output_will_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(2**40, 0, 3 * 2**20)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    check_space(tmp_path / "new" / "model", 3 * 2**20, "the weights alone")
    with pytest.raises(
        NotEnoughSpaceError, match=r"the weights alone takes 5\.0 GiB, but the file system of .* has 3\.0 MiB"
    ):
        check_space(tmp_path / "new" / "model", 5 * 2**30, "the weights alone")
    assert asked == [tmp_path, tmp_path]


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("name", ["file/x", "file/x/y", "link/x", "nowhere/x"])
def test_an_output_lies_in_a_folder(tmp_path: Path, name: str, folder: bool) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "nowhere").symlink_to("absent")
    kind = "folder" if folder else "file"
    with pytest.raises(
        FileExistsError, match=f"{name} cannot lie in .*, which is not a folder: choose another {kind}"
    ):
        check_path(tmp_path / name, "--output", folder)
    for whole in ("new/deep/x", "x"):
        check_path(tmp_path / whole, "--output", folder)
