"""What an output may replace: what this package wrote, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from croloss_serving.common.manifest import MANIFEST, Format
from croloss_serving.errors import PretrainedError


def check_path(path: Path, option: str = "", folder: bool = True) -> None:
    """Refuse a path that no output may replace, whoever gives leave to.

    Args:
        path: the path.
        option: the option that names it, for errors.
        folder: whether it is to be a folder; else a file.

    Raises:
        FileExistsError: it is a symbolic link, neither a plain file nor a folder, or a folder that must stay:
            the current one, a user's home, a mounted file system, or one that holds these; or it lies in what
            is not a folder.
    """
    name = _named(path, option)
    if path.is_symlink():
        raise FileExistsError(
            f"{name} is a symbolic link to {os.readlink(path)}: name what it leads to, or choose another "
            f"{_kind(folder)}"
        )
    above = next((parent for parent in path.parents if os.path.lexists(parent)), None)
    if above is not None and not above.is_dir():
        raise FileExistsError(
            f"{name} cannot lie in {above}, which is not a folder: choose another {_kind(folder)}"
        )
    if not folder:
        if path.is_dir():
            raise FileExistsError(f"{name} is a folder: name a file in it")
        if path.exists() and not path.is_file():
            raise FileExistsError(f"{name} is not a plain file: choose another one")
        return
    real = path.resolve()
    for kept, what in ((Path.cwd(), "the current folder"), (_home(), "the home folder")):
        if kept is not None and kept.resolve().is_relative_to(real):
            same = "is" if kept.resolve() == real else "holds"
            raise FileExistsError(f"{name} {same} {what}: name a folder of its own for the output")
    if path.is_dir() and os.path.ismount(path):
        raise FileExistsError(f"{name} is where a file system is mounted: name a folder in it")


def refuse_existing(path: Path, overwrite: bool, option: str = "", folder: bool = True) -> None:
    """Refuse an output that exists, unless it may be replaced.

    Raises:
        FileExistsError: naming it.
    """
    if os.path.lexists(path) and not overwrite:
        leave = "give --overwrite" if option.startswith("--") else "overwrite it"
        raise FileExistsError(f"{_named(path, option)} exists: choose another {_kind(folder)}, or {leave}")


def check_folder(path: Path, kind: Format, overwrite: bool, option: str = "") -> None:
    """Refuse a folder as an output, unless it is absent or empty, or one that may be replaced.

    Args:
        path: the folder.
        kind: the kind of folder that is to be written, of which an earlier one may be replaced.
        overwrite: whether there may be one.
        option: the option that names it, for errors.

    Raises:
        FileExistsError: see :func:`check_path`; or it exists and must not be replaced, is another kind of
            folder, or holds something else besides.
    """
    if path.is_symlink() or not (os.path.lexists(path) and not overwrite):
        check_path(path, option)
    refuse_existing(path, overwrite, option)
    if not os.path.lexists(path):
        return
    name, advice = _named(path, option), "choose another folder"
    leave = "--overwrite" if option.startswith("--") else "overwriting it"
    if not path.is_dir():
        raise FileExistsError(f"{name} is a file: {advice}")
    held = {found.relative_to(path).as_posix() for found in path.rglob("*")}
    if not held:
        return
    try:
        files = kind.read(path, ())["files"]
    except PretrainedError:
        what = kind.kind.removesuffix(" of a model")
        raise FileExistsError(
            f"{name} is not {what}, and {leave} would delete all that it holds: {advice}"
        ) from None
    if others := sorted(held - {MANIFEST, *files}):
        raise FileExistsError(
            f"{name} holds {others[0]} besides {kind.kind}, and {leave} would delete it: move it away, or "
            f"{advice}"
        )


def _named(path: Path, option: str) -> str:
    return f"{option} {path}" if option else str(path)


def _kind(folder: bool) -> str:
    return "folder" if folder else "file"


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # this user has none
        return None
