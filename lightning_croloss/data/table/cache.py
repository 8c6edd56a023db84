"""What was prepared of a table, kept in a folder for the next time.

An entry is found under a key made of the content of the files, the settings, and the code that prepares. So
an entry never has to be declared outdated: anything that could change the outcome leads to another one.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.common.hashing import sha256_of_file
from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.files import replacing
from lightning_croloss.common.space import check_space
from lightning_croloss.configurable import to_config
from lightning_croloss.data.event_columns import EventColumn
from lightning_croloss.data.features import Feature
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.report import PreparationReport
from lightning_croloss.data.table.sources import event_files, feature_files
from lightning_croloss.data.table.spec import TableSpec

_MAGIC = b"croloss prepared table\n"
_DIGEST = hashlib.sha256().digest_size
#: Fields of the specification that change nothing of what is prepared. Files count by their content.
WITHOUT_EFFECT = ("title_column", "cache_dir")
#: The folders and files whose code takes part in preparing, in each distribution.
CODE = {
    "lightning_croloss": ("data", "common", "configurable.py"),
    "croloss_serving": ("common", "recommend"),
}
VOCABULARIES = ("user_vocabulary", "item_vocabulary")
FILES = ("interactions", "items", "users")


class TableCache:
    """The entry of one table: its events, and its features.

    Args:
        spec: what is prepared and how; its files are read once to know their content.
        folder: where the entries lie.
        prepared_by: class path of the data module, since a subclass may prepare in another way.

    Raises:
        DataError: if there are no such files.
    """

    def __init__(self, spec: TableSpec, folder: str | Path, prepared_by: str) -> None:
        events, part_of_file = event_files(spec)
        tables = {"interactions": [file.path for file in events]}
        for table in ("items", "users"):
            tables[table] = [file.path for file in feature_files(spec, table)]
        self._paths = [path for paths in tables.values() for path in paths]
        self._states = _states(self._paths)
        settings = {
            name: to_config(value)
            for name, value in vars(spec).items()
            if name not in (*WITHOUT_EFFECT, *FILES, "split")
        }
        contents = {
            table: [[path.name, sha256_of_file(path)] for path in paths] for table, paths in tables.items()
        }
        key = {
            "class": prepared_by,
            "settings": settings,
            # what preparing asks a split; one of the user's own may have arguments that no file can hold
            "split": None if spec.split is None else [spec.split.column, spec.split.names],
            "parts": part_of_file,
            "files": contents,
            "code": [code_hash(), pl.__version__, pyarrow.__version__, np.__version__, torch.__version__],
        }
        self.key = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:40]
        self._folder = expanded(folder)

    def read_events(self) -> tuple[Interactions, PreparationReport] | None:
        """Return the events and the record of their preparation, or None if they are not there."""
        found = self._read("events")
        if found is None:
            return None
        report = PreparationReport.from_dict(found.pop("report"))
        for name in VOCABULARIES:
            found[name] = _unpacked(found[name])
        found["columns"] = tuple(EventColumn(**column) for column in found["columns"])
        return Interactions(**found), report

    def write_events(self, interactions: Interactions, report: PreparationReport) -> None:
        """Keep the events."""
        columns = {name: getattr(interactions, name) for name in interactions.__dataclass_fields__}
        for name in VOCABULARIES:
            columns[name] = _packed(columns[name])
        columns["columns"] = [vars(column) for column in interactions.columns]
        self._write("events", {**columns, "report": report.to_dict()})

    def read_features(self) -> tuple[dict[str, list[Feature]], list[str]] | None:
        """Return the features of each table and the sentences about them, or None if they are not there."""
        found = self._read("features")
        if found is None:
            return None
        features = {
            table: [
                Feature(**{**one, "encoding": FeatureEncoding.from_plain(one["encoding"])})
                for one in found[table]
            ]
            for table in ("items", "users")
        }
        return features, found["notes"]

    def write_features(self, features: dict[str, list[Feature]], notes: list[str]) -> None:
        """Keep the features."""
        plain = {
            table: [{**vars(feature), "encoding": feature.encoding.to_plain()} for feature in list_]
            for table, list_ in features.items()
        }
        self._write("features", {**plain, "notes": notes})

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self.key}.{kind}"

    def _read(self, kind: str) -> dict[str, Any] | None:
        path = self._path(kind)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            rank_zero_warn(f"cache_dir: {path} cannot be read ({error.strerror}): the data is prepared anew")
            return None
        payload = memoryview(content)[len(_MAGIC) + _DIGEST :]
        if content[: len(_MAGIC) + _DIGEST] != _MAGIC + hashlib.sha256(payload).digest():
            rank_zero_warn(f"cache_dir: {path} is damaged: the data is prepared anew")
            return None
        loaded: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True)
        return loaded

    def _write(self, kind: str, content: dict[str, Any]) -> None:
        """Keep an entry, unless a file has changed since its content went into the key."""
        if _states(self._paths) != self._states:
            rank_zero_warn("cache_dir: the files changed while they were read: what was prepared is not kept")
            return
        buffer = io.BytesIO()
        torch.save(content, buffer)
        path = self._path(kind)
        try:
            check_space(path, buffer.getbuffer().nbytes, "what was prepared")
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.write(_MAGIC + hashlib.sha256(buffer.getbuffer()).digest())
                file.write(buffer.getbuffer())
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else error
            rank_zero_warn(f"cache_dir: {path} cannot be written ({why}): going on without")


def _packed(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the tokens as one tensor: numbers, or texts each before a NUL, which no token holds."""
    tokens = vocabulary.tokens
    if vocabulary.integers:
        large = max(tokens) > np.iinfo(np.int64).max
        return {"integers": torch.from_numpy(np.array(tokens, dtype=np.uint64 if large else np.int64))}
    text = "".join(f"{token}\0" for token in tokens)
    return {"text": torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)}


def _unpacked(packed: dict[str, Tensor]) -> Vocabulary:
    if "integers" in packed:
        return Vocabulary(packed["integers"].numpy())
    return Vocabulary(packed["text"].numpy().tobytes().decode().split("\0")[:-1])


def _states(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """Return what changes when somebody writes to the files meanwhile."""
    states = [path.stat() for path in paths]
    return [(state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino) for state in states]


def code_files() -> dict[str, Path]:
    """Return the files of the code that prepares data, by their names."""
    found: dict[str, Path] = {}
    for top, parts in CODE.items():
        package = Path(str(importlib.import_module(top).__file__)).parent
        for part in parts:
            paths = [package / part] if part.endswith(".py") else (package / part).rglob("*.py")
            found |= {f"{top}/{path.relative_to(package).as_posix()}": path for path in paths}
    return found


def code_hash() -> str:
    """Return a hash of the code that prepares data, so that no number has to be raised by hand."""
    digest = hashlib.sha256()
    for name, path in sorted(code_files().items()):
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()
