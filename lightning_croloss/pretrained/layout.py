"""The files of a pretrained model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_croloss.common.manifest import MANIFEST, Format

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
VOCABULARY = "vocabulary.parquet"
METRICS = "metrics.json"
CARD = "README.md"
#: What loading needs and checks; the card may be corrected by hand.
REQUIRED = (WEIGHTS, CONFIG, VOCABULARY, METRICS)

FORMAT = Format("lightning-croloss model", 1, "a pretrained model", ("facts", "from_data"))


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write the manifest of the files that lie in ``folder``, with ``content`` beside their checksums."""
    FORMAT.write(folder, content, (*REQUIRED, CARD))


def read_manifest(folder: Path, check: Iterable[str] = REQUIRED) -> dict[str, Any]:
    """Return the manifest of a pretrained model, after checking its files.

    Args:
        folder: the model's folder.
        check: names of the files to check.

    Raises:
        PretrainedError: the folder is not a pretrained model, has another format version, or a file is
            missing, cut off or changed.
    """
    return FORMAT.read(folder, check)


__all__ = [
    "CARD",
    "CONFIG",
    "MANIFEST",
    "METRICS",
    "REQUIRED",
    "VOCABULARY",
    "WEIGHTS",
    "read_manifest",
    "write_manifest",
]
