"""The files of a pretrained model, and the manifest that vouches for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_croloss.errors import PretrainedError

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
VOCABULARY = "vocabulary.parquet"
METRICS = "metrics.json"
CARD = "README.md"
MANIFEST = "manifest.json"
#: What loading needs and checks; the card may be corrected by hand.
REQUIRED = (WEIGHTS, CONFIG, VOCABULARY, METRICS)

FORMAT = "lightning-croloss model"
FORMAT_VERSION = 1


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write the manifest of the files that lie in ``folder``, with ``content`` beside their checksums."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in (*REQUIRED, CARD)
    }
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **content, "files": files}
    manifest["sha256"] = _own_sha256(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_manifest(folder: Path, check: Iterable[str] = REQUIRED) -> dict[str, Any]:
    """Return the manifest of a pretrained model, after checking its files.

    Args:
        folder: the model's folder.
        check: names of the files to check.

    Raises:
        PretrainedError: the folder is no pretrained model, is of another format version, or a file is
            missing, cut off or changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        kind = "has no manifest.json" if folder.is_dir() else "does not exist"
        raise PretrainedError(f"{folder} is no pretrained model: it {kind}")
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise PretrainedError(f"{path} is damaged: {_AGAIN}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise PretrainedError(f"{folder} is no pretrained model: its manifest.json is of something else")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise PretrainedError(
            f"{folder} was saved in format version {version!r}, this lightning-croloss reads "
            f"{FORMAT_VERSION}: use the release that saved it, or a newer one"
        )
    if manifest.get("sha256") != _own_sha256(manifest):
        raise PretrainedError(f"{path} is damaged or was changed: {_AGAIN}")
    if not all(isinstance(manifest.get(part), dict) for part in ("files", "facts", "from_data")):
        raise PretrainedError(f"{path} is incomplete: {_AGAIN}")
    for name in check:
        _check_file(folder / name, manifest["files"].get(name) or {})
    return manifest


_AGAIN = "get the folder again from where it came"


def _check_file(path: Path, expected: dict[str, Any]) -> None:
    if not path.is_file():
        raise PretrainedError(f"{path.parent} lacks the file {path.name}: {_AGAIN}")
    size = path.stat().st_size
    if size != expected.get("bytes"):
        raise PretrainedError(
            f"{path} has {size} bytes instead of {expected.get('bytes')}, it is cut off or was changed: "
            f"{_AGAIN}"
        )
    if _sha256(path) != expected.get("sha256"):
        raise PretrainedError(f"{path} is damaged or was changed (its checksum differs): {_AGAIN}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _own_sha256(manifest: dict[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
