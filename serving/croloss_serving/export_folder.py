"""The folder of an export: each file of it is compared with the manifest before it is believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.array_files import check_finite, read_array
from croloss_serving.common.manifest import MANIFEST, check_same, checked_content, checked_file
from croloss_serving.common.onnx_graph import check_self_contained
from croloss_serving.common.plain_values import TOO_LARGE
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import NeededBy, PretrainedError
from croloss_serving.index import read_index
from croloss_serving.index_file import check_index
from croloss_serving.layout import (
    ENCODER,
    FORMAT,
    INDEX,
    ITEMS,
    KNOWN_USERS,
    USER_FEATURES,
    USER_TABLE,
    USER_VECTORS,
    VECTORS,
)
from croloss_serving.recommend.event_inputs import EventInputs
from croloss_serving.recommend.item_table import ItemTable
from croloss_serving.recommend.token_table import read_tokens
from croloss_serving.user_feature_vectors import UserFeatureVectors

#: The largest files, none of which is gone through twice.
_READ_ONCE = {VECTORS, KNOWN_USERS, INDEX}


def _positive(value: Any) -> bool:
    return type(value) is int and 1 <= value < TOO_LARGE


#: What the manifest must say of the model, and what it may.
_NEEDED: dict[str, Callable[[Any], bool]] = {
    "class": lambda value: isinstance(value, str),
    "num_items": _positive,
    "dim": _positive,
    "num_users": lambda value: type(value) is int and 0 <= value < TOO_LARGE,
    "max_history": lambda value: value is None or _positive(value),
}
_POSSIBLE: dict[str, Callable[[Any], bool]] = {
    "uses_history": lambda value: type(value) is bool,
    "exclude_history": lambda value: type(value) is bool,
    "needs_users": lambda value: type(value) is bool,
    "events": lambda value: value is None or isinstance(value, dict),
}


@dataclass(frozen=True)
class ExportFolder:
    """An export whose files have the checksums of its manifest.

    The largest are compared when they are read, each by way of the file that is read.

    Attributes:
        folder: where it is.
        manifest: its manifest.
        model: what that says of the model.
    """

    folder: Path
    manifest: dict[str, Any]
    model: dict[str, Any]

    @property
    def checksum(self) -> str:
        """The SHA-256 of what the manifest says, as hexadecimal text."""
        return hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    @classmethod
    def open(cls, folder: Path) -> ExportFolder:
        """Check every file of an export but those that are compared when they are read.

        Raises:
            PretrainedError: the folder is not an export, is of another version, or a file is damaged.
        """
        manifest = FORMAT.read(folder, ())
        for name in manifest["files"].keys() - _READ_ONCE:
            with checked_file(folder, name, manifest):
                pass
        model = manifest["model"]
        for tests, is_needed in ((_NEEDED, True), (_POSSIBLE, False)):
            for name, is_right in tests.items():
                if (is_needed or name in model) and not is_right(model.get(name)):
                    said = f"{name}={model[name]!r:.80}" if name in model else f"no {name}"
                    raise PretrainedError(f"{folder / MANIFEST} describes no model: it says {said}")
        if (ENCODER in manifest["files"]) == (KNOWN_USERS in manifest["files"]):
            raise PretrainedError(
                f"{folder / MANIFEST} must list either {ENCODER} or {KNOWN_USERS}, from which the vectors of "
                "users come: get the folder again from its source"
            )
        if KNOWN_USERS in manifest["files"] and not (USER_TABLE in manifest["files"] and model["num_users"]):
            raise PretrainedError(f"{folder / MANIFEST} lists {KNOWN_USERS}, but names no users")
        if (USER_VECTORS in manifest["files"]) != (USER_FEATURES in manifest["files"]):
            raise PretrainedError(f"{folder / MANIFEST} lists only one of {USER_VECTORS} and {USER_FEATURES}")
        return cls(folder, manifest, model)

    def encoder(self) -> bytes | None:
        """Return the graph of the encoder; None if there are vectors of the users instead."""
        if ENCODER not in self.manifest["files"]:
            return None
        content = checked_content(self.folder, ENCODER, self.manifest)
        try:
            check_self_contained(content)
        except ValueError as error:
            raise PretrainedError(f"{self.folder / ENCODER} cannot be read: {error}") from None
        return content

    def vectors(self) -> NDArray[np.float32]:
        """Return the vectors (N, D) of the items."""
        return self._vectors(VECTORS, self.model["num_items"])

    def known_users(self) -> NDArray[np.float32] | None:
        """Return the vectors (U, D) of the users, if they take the place of an encoder."""
        if KNOWN_USERS not in self.manifest["files"]:
            return None
        return self._vectors(KNOWN_USERS, self.model["num_users"])

    def _vectors(self, name: str, rows: int) -> NDArray[np.float32]:
        path, shape = self.folder / name, (rows, self.model["dim"])
        try:
            with checked_file(self.folder, name, self.manifest) as file:
                size = self.manifest["files"][name]["bytes"]
                return check_finite(read_array(file, size, np.float32, shape))
        except PretrainedError:
            raise
        except (ValueError, OSError) as error:
            raise PretrainedError(f"{path} cannot be read: {error}") from None

    def items(self, needed_by: NeededBy) -> ItemTable:
        """Return the tokens, training events and titles of the items."""
        content = checked_content(self.folder, ITEMS, self.manifest)
        return ItemTable.read(self.folder / ITEMS, needed_by, self.model["num_items"], content)

    def index(self, nprobe: int | None, ef_search: int | None) -> Any:
        """Return the index of the vectors, if there is one."""
        if INDEX not in self.manifest["files"]:
            return None
        path = self.folder / INDEX
        with checked_file(self.folder, INDEX, self.manifest) as file:
            check_index(path, self.model["num_items"], self.model["dim"], file)
            file.seek(0)
            return read_index(path, nprobe, ef_search, file)

    def check_same(self) -> None:
        """Refuse the export if another one has come into its place since it was opened.

        Raises:
            PretrainedError: there is another one.
        """
        check_same(self.folder, self.manifest)

    def users(self, needed_by: NeededBy) -> Vocabulary | None:
        """Return the tokens of the users, if the model uses them."""
        self._check_users()
        if USER_TABLE not in self.manifest["files"]:
            return None
        content = checked_content(self.folder, USER_TABLE, self.manifest)
        return read_tokens(self.folder / USER_TABLE, needed_by, self.model["num_users"], content)

    def user_features(self) -> UserFeatureVectors | None:
        """Return the embeddings of the features of the users, if the model uses them."""
        if USER_VECTORS not in self.manifest["files"]:
            return None
        return UserFeatureVectors.read(self.folder, self.manifest, self.model["num_users"])

    def events(self) -> EventInputs:
        """Return what the encoder reads of events besides their items.

        Raises:
            PretrainedError: the manifest does not say it in full.
        """
        try:
            return EventInputs.from_plain(self.model.get("events"))
        except ValueError as error:
            raise PretrainedError(
                f"{self.folder / MANIFEST} does not say how events are read ({error})"
            ) from None

    def _check_users(self) -> None:
        """Refuse more users than there are vectors for, in the encoder or beside it."""
        files = self.manifest["files"]
        held = sum(files[name]["bytes"] for name in (ENCODER, KNOWN_USERS, USER_VECTORS) if name in files)
        if self.model["num_users"] > held:
            raise PretrainedError(
                f"{self.folder / MANIFEST} declares {self.model['num_users']:,} users, more than the export "
                "has vectors for"
            )
