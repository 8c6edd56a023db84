"""The manifest of a folder: what it holds, and the checksums of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from croloss_serving.common.hashing import sha256_of_file
from croloss_serving.errors import PretrainedError

MANIFEST = "manifest.json"
_AGAIN = "get the folder again from its source"


@dataclass(frozen=True)
class Format:
    """A kind of folder.

    Attributes:
        name: its name in the manifest.
        version: the version that this release writes; it reads earlier ones too.
        kind: what errors call such a folder, with its article.
        sections: entries of the manifest that must be dictionaries.
    """

    name: str
    version: int
    kind: str
    sections: tuple[str, ...] = ()

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

        Args:
            folder: the folder.
            check: names of the files to check; None = all.

        Raises:
            PretrainedError: the folder is of another kind or format version, or a file is missing, cut off or
                changed.
        """
        path = folder / MANIFEST
        if not path.is_file():
            fault = "has no manifest.json" if folder.is_dir() else "does not exist"
            raise PretrainedError(f"{folder} is not {self.kind}: it {fault}")
        try:
            manifest = json.loads(path.read_text("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise PretrainedError(f"{path} is damaged: {_AGAIN}") from None
        if not isinstance(manifest, dict) or manifest.get("format") != self.name:
            raise PretrainedError(f"{folder} is not {self.kind}: its manifest.json describes something else")
        version = manifest.get("format_version")
        if not isinstance(version, int) or not 1 <= version <= self.version:
            raise PretrainedError(
                f"{folder} was saved in format version {version!r}; this lightning-croloss reads up to "
                f"{self.version}: install the release that saved it, or a newer one"
            )
        if manifest.get("sha256") != _own_sha256(manifest):
            raise PretrainedError(f"{path} is damaged or was changed: {_AGAIN}")
        if not all(isinstance(manifest.get(part), dict) for part in ("files", *self.sections)):
            raise PretrainedError(f"{path} is incomplete: {_AGAIN}")
        for name in manifest["files"] if check is None else check:
            _check_file(folder / name, manifest["files"].get(name) or {})
        return manifest


def _check_file(path: Path, expected: dict[str, Any]) -> None:
    if not path.is_file():
        raise PretrainedError(f"{path.parent} lacks the file {path.name}: {_AGAIN}")
    size = path.stat().st_size
    if size != expected.get("bytes"):
        raise PretrainedError(
            f"{path} has {size} bytes instead of {expected.get('bytes')} (cut off or changed): {_AGAIN}"
        )
    if sha256_of_file(path) != expected.get("sha256"):
        raise PretrainedError(f"{path} is damaged or was changed (its checksum differs): {_AGAIN}")


def _own_sha256(manifest: dict[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
