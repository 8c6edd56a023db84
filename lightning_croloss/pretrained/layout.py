"""The files of a pretrained model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from croloss_serving.common.manifest import MANIFEST, Format, checked_content
from croloss_serving.common.plain_json import MOST_BYTES, parse_json
from croloss_serving.common.regular_files import lies_in, read_regular
from croloss_serving.errors import NeededBy, PretrainedError

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
VOCABULARY = "vocabulary.parquet"
METRICS = "metrics.json"
#: Tokens of the users, of a model that uses their ids or features; not in folders of earlier releases.
USERS = "users.parquet"
#: How the features of users are read, of a model that uses them; not in folders of earlier releases.
USER_FEATURES = "user_features.json"
#: What is read of events besides their items, of a model that does; not in folders of earlier releases.
EVENTS = "events.json"
CARD = "README.md"
NEEDED_BY = NeededBy("a pretrained model", "tables")
#: How weights can be stored.
STORED = ("float32", "float16", "bfloat16")
#: What loading needs and checks; the card may be corrected by hand.
REQUIRED = (WEIGHTS, CONFIG, VOCABULARY, METRICS)
#: What a folder may hold besides; checked where the manifest lists it.
OPTIONAL = (USERS, USER_FEATURES, EVENTS)

FORMAT = Format("lightning-croloss model", 1, "a pretrained model", ("facts", "from_data"), REQUIRED)


def is_hidden(path: Path, within: Path) -> bool:
    """Tell whether a part of a path below a folder begins with a dot.

    Such is what a save that was killed has left beside the folder that it was to become: no model.
    """
    return any(part.startswith(".") for part in path.relative_to(within).parts)


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write the manifest of the files that lie in ``folder``, with ``content`` beside their checksums."""
    present = [name for name in OPTIONAL if (folder / name).is_file()]
    FORMAT.write(folder, content, (*REQUIRED, *present, CARD))


def read_manifest(folder: Path, check: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the manifest of a pretrained model, after checking its files.

    Args:
        folder: the model's folder.
        check: names of the files to check; None = all that loading needs.

    Raises:
        PretrainedError: the folder is not a pretrained model, has another format version, or a file is
            missing, cut off or changed.
    """
    if check is not None:
        return FORMAT.read(folder, check)
    manifest = FORMAT.read(folder, REQUIRED)
    FORMAT.read(folder, [name for name in OPTIONAL if name in manifest["files"]])
    return manifest


def read_metrics(folder: Path, manifest: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the metrics of a pretrained model.

    Args:
        folder: the model's folder.
        manifest: its manifest, with which the file is compared; None believes it.

    Raises:
        PretrainedError: they cannot be read, or are not those of the manifest.
    """
    path = folder / METRICS
    try:
        if manifest is None:
            content = read_regular(path, MOST_BYTES)
        else:
            content = checked_content(folder, METRICS, manifest, MOST_BYTES)
        metrics = parse_json(content)
    except PretrainedError:
        raise
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{path} cannot be read: {error}") from None
    if not isinstance(metrics, dict):
        raise PretrainedError(f"{path} holds a {type(metrics).__name__} instead of figures by name")
    return metrics


def read_card(folder: Path) -> str:
    """Return the text of a model's card, which may have been corrected by hand.

    Raises:
        PretrainedError: there is none, or it is no text.
    """
    path = folder / CARD
    try:
        if not lies_in(folder, CARD):
            raise ValueError("it is a link to a file outside its folder")
        return read_regular(path, MOST_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{path} cannot be read: {error}") from None


__all__ = [
    "CARD",
    "CONFIG",
    "FORMAT",
    "MANIFEST",
    "METRICS",
    "NEEDED_BY",
    "OPTIONAL",
    "REQUIRED",
    "STORED",
    "USERS",
    "USER_FEATURES",
    "VOCABULARY",
    "WEIGHTS",
    "is_hidden",
    "read_card",
    "read_manifest",
    "read_metrics",
    "write_manifest",
]
