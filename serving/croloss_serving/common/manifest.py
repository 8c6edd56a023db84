"""The manifest of a folder: what it holds, and the checksums of its files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from croloss_serving.common.hashing import sha256_of, sha256_of_file
from croloss_serving.common.plain_json import MOST_BYTES, parse_json
from croloss_serving.common.regular_files import lies_in, open_regular, read_regular
from croloss_serving.errors import PretrainedError

MANIFEST = "manifest.json"
_AGAIN = "get the folder again from its source (what is in the Hub's cache must be removed first)"


@dataclass(frozen=True)
class Format:
    """A kind of folder.

    Attributes:
        name: its name in the manifest.
        version: the version that this release writes; it reads earlier ones too.
        kind: what errors call such a folder, with its article.
        sections: entries of the manifest that must be dictionaries.
        required: files that every such folder has, so that every manifest must list them.
    """

    name: str
    version: int
    kind: str
    sections: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def write(self, folder: Path, content: dict[str, Any], files: Iterable[str]) -> None:
        """Write the manifest of files that lie in ``folder``, with ``content`` beside their checksums."""
        checksums = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of_file(folder / name)}
            for name in files
        }
        manifest = {"format": self.name, "format_version": self.version, **content, "files": checksums}
        manifest["sha256"] = _own_sha256(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")

    def read(self, folder: Path, check: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the manifest of a folder, after checking its files.

        What a folder may be read for is what its manifest lists: take no other file of it.

        Args:
            folder: the folder.
            check: names of the files to check; None = all.

        Raises:
            PretrainedError: the folder is of another kind or format version, its manifest lists what does not
                lie in it or leaves out what it must hold, or a file is missing, cut off or changed.
        """
        path = folder / MANIFEST
        if not os.path.isfile(path):  # also of a name that is longer than any may be
            fault = "has no manifest.json" if os.path.isdir(folder) else "does not exist"
            raise PretrainedError(f"{folder} is not {self.kind}: it {fault}")
        manifest = _parsed(folder)
        if not isinstance(manifest, dict) or manifest.get("format") != self.name:
            raise PretrainedError(f"{folder} is not {self.kind}: its manifest.json describes something else")
        version = manifest.get("format_version")
        if type(version) is not int or not 1 <= version <= self.version:
            raise PretrainedError(
                f"{folder} was saved in format version {version!r}; this lightning-croloss reads up to "
                f"{self.version}: install the release that saved it, or a newer one"
            )
        if manifest.get("sha256") != _own_sha256(manifest):
            raise PretrainedError(f"{path} is damaged or was changed: {_AGAIN}")
        if not all(isinstance(manifest.get(part), dict) for part in ("files", *self.sections)):
            raise PretrainedError(f"{path} is incomplete: {_AGAIN}")
        self._check_list(folder, manifest["files"])
        for name in manifest["files"] if check is None else check:
            with checked_file(folder, name, manifest):
                pass
        return manifest

    def _check_list(self, folder: Path, files: dict[str, Any]) -> None:
        """Refuse a list of files that leaves any doubt about what is read."""
        path = folder / MANIFEST
        for name, entry in files.items():
            if name in ("", ".", "..") or any(letter in "/\\:\0" for letter in name):
                raise PretrainedError(f"{path} lists {name!r}, which is not the name of a file in its folder")
            if not isinstance(entry, dict) or not _is_checksum(entry):
                raise PretrainedError(
                    f"{path} does not say how many bytes and which SHA-256 {name!r} has: {_AGAIN}"
                )
        if left_out := [name for name in self.required if name not in files]:
            raise PretrainedError(f"{path} does not list {left_out[0]}, which must be checked: {_AGAIN}")


def checked_content(
    folder: Path, name: str, manifest: dict[str, Any], most_bytes: int | None = None
) -> bytes:
    """Return the content of a file that a manifest lists; the very bytes that were checked.

    Args:
        folder: the folder.
        name: name of the file.
        manifest: what :meth:`Format.read` returned.
        most_bytes: how large the file may be; None = as large as it is.

    Raises:
        PretrainedError: the manifest does not list it, or it is missing, cut off, changed or too large.
    """
    size = manifest["files"].get(name, {}).get("bytes", 0)
    if most_bytes is not None and size > most_bytes:
        raise PretrainedError(
            f"{folder / name} has {size:,} bytes, more than the {most_bytes:,} that such a file may have"
        )
    with checked_file(folder, name, manifest) as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != manifest["files"][name]["sha256"]:
        raise _changed(folder / name)
    return content


@contextmanager
def checked_file(folder: Path, name: str, manifest: dict[str, Any]) -> Iterator[BinaryIO]:
    """Give a file that a manifest lists, open at its beginning; read this one, whatever comes into its place.

    Args:
        folder: the folder.
        name: name of the file.
        manifest: what :meth:`Format.read` returned.

    Raises:
        PretrainedError: the manifest does not list it, or it is missing, cut off or changed, also if that
            happens until the block ends.
    """
    file = _opened(folder, name)
    with file:
        before = _state(file)
        _compare(file, folder / name, manifest["files"].get(name))
        file.seek(0)
        yield file
        if _state(file) != before:
            raise _changed(folder / name)


def path_of_open(file: BinaryIO, path: Path) -> str:
    """Return a path of an open file, which leads to it even if another one has come into its place.

    Where the system has no such path it is ``path``.

    Args:
        file: the file, open at its beginning.
        path: the path by which it was opened.
    """
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.exists(found := f"{folder}/{file.fileno()}"):
            return found
    return str(path)


def check_same(folder: Path, manifest: dict[str, Any]) -> None:
    """Refuse a folder in whose place another one has come since its manifest was read.

    Raises:
        PretrainedError: it is another one.
    """
    try:
        now = _parsed(folder)
    except PretrainedError:
        raise _changed(folder) from None
    if now != manifest:
        raise _changed(folder)


def _changed(path: Path) -> PretrainedError:
    return PretrainedError(f"{path} was changed while it was read: try again")


def _state(file: BinaryIO) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def _parsed(folder: Path) -> Any:
    path = folder / MANIFEST
    if not lies_in(folder, MANIFEST):
        raise PretrainedError(f"{path} is a link to a file outside its folder: {_AGAIN}")
    try:
        return parse_json(read_regular(path, MOST_BYTES))
    except ValueError as error:
        raise PretrainedError(f"{path} is damaged ({error}): {_AGAIN}") from None
    except OSError as error:
        raise PretrainedError(f"{path} cannot be read: {error.strerror}") from None


def _opened(folder: Path, name: str) -> BinaryIO:
    path = folder / name
    if not path.is_file():
        raise PretrainedError(f"{folder} lacks the file {name}: {_AGAIN}")
    if not lies_in(folder, name):
        raise PretrainedError(f"{path} is a link to a file outside its folder: {_AGAIN}")
    try:
        return open_regular(path)
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{path} cannot be read: {error}") from None


def _compare(file: BinaryIO, path: Path, expected: dict[str, Any] | None) -> None:
    """Refuse a file whose size and checksum are not those of the manifest."""
    size = os.fstat(file.fileno()).st_size
    fault = ""
    if expected is None:
        fault = f"has {size} bytes instead of None, since {MANIFEST} does not list it"
    elif size != expected["bytes"]:
        fault = f"has {size} bytes instead of {expected['bytes']} (cut off or changed)"
    elif sha256_of(file) != expected["sha256"]:
        fault = "is damaged or was changed (its checksum differs)"
    if fault:
        raise PretrainedError(f"{path} {fault}: {_AGAIN}")


def _is_checksum(entry: dict[str, Any]) -> bool:
    size, digest = entry.get("bytes"), entry.get("sha256")
    return (
        type(size) is int
        and size >= 0
        and isinstance(digest, str)
        and re.fullmatch("[0-9a-f]{64}", digest) is not None
    )


def _own_sha256(manifest: dict[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
