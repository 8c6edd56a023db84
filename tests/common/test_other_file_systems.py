"""File systems that cannot do everything: NFS, FUSE, exFAT, folders of several users."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lightning_croloss.common import files, leftovers, locks
from lightning_croloss.common.files import output_file, replacing, replacing_folder, write_atomically

NUMBERS = [errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.EPERM]


def fails(number: int, *only: Any) -> Any:
    """Return a function of the system that a file system does not have."""

    def call(*given: Any, **_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_nothing_but_renaming_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    for module, name in (
        (fcntl, "flock"),
        (os, "link"),
        (os, "symlink"),
        (os, "chmod"),
        (shutil, "copymode"),
    ):
        monkeypatch.setattr(module, name, fails(number))
    monkeypatch.setattr(files, "exchanged", lambda *_: False)
    fsync = os.fsync

    def of_files_only(descriptor: int) -> None:
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    file, folder = tmp_path / "result.csv", tmp_path / "model"
    for text in ("old", "new"):
        with output_file(file, True), replacing(file, new=text == "old") as temporary:
            temporary.write_text(text)
        with replacing_folder(folder, overwrite=True) as new:
            (new / "w").write_text(text)
        assert (file.read_text(), (folder / "w").read_text()) == (text, text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "result.csv"]


def test_what_cannot_be_removed_does_not_undo_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # NFS keeps a file that somebody reads under another name, in a folder that then cannot be removed
    folder = tmp_path / "model"
    for text in ("old", "new", "newest"):
        monkeypatch.setattr(leftovers.shutil, "rmtree", fails(errno.EBUSY))
        with replacing_folder(folder, overwrite=True) as new:
            (new / "w").write_text(text)
        assert (folder / "w").read_text() == text
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.undo()
    with replacing_folder(folder, overwrite=True) as new:
        (new / "w").write_text("last")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_lock_of_another_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / ".result.csv.lock"
    mark.touch()
    monkeypatch.setattr(locks.os, "open", fails(errno.EACCES))
    with (
        pytest.raises(
            FileExistsError, match=r"result\.csv is being written .* another user.* remove .*\.lock"
        ),
        output_file(tmp_path / "result.csv", True),
    ):
        raise AssertionError("not reached")
    mark.unlink()
    for number, said in (
        (errno.EACCES, "you may not write to its folder"),
        (errno.EROFS, "can only be read"),
    ):
        monkeypatch.setattr(locks.os, "open", fails(number))
        with (
            pytest.raises(PermissionError, match=rf"result\.csv cannot be written: .*{said}"),
            output_file(tmp_path / "result.csv", True),
        ):
            raise AssertionError("not reached")


def test_a_device_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="pipe is not a plain file"):
        write_atomically(pipe, b"new")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
