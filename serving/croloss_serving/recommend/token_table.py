"""The tokens of a vocabulary in a Parquet file. Imports no torch, for serving."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from lightning_croloss.common.arrow_tokens import token_array
from lightning_croloss.common.vocabulary import Vocabulary
from lightning_croloss.errors import MissingExtraError, PretrainedError


def read_columns(path: Path, names: tuple[str, ...], what: str, extra: str) -> dict[str, list[Any]]:
    """Read columns of a Parquet file.

    Args:
        path: the file.
        names: the columns; those that end in "?" may be missing.
        what: what needs the file, for the message if pyarrow is not installed.
        extra: the extra that brings it.

    Raises:
        PretrainedError: the file is not such a table.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = import_pyarrow(what, extra)
    needed = [name for name in names if not name.endswith("?")]
    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowException:
        table = None
    if table is None or not {*needed} <= {*table.column_names}:
        columns = " and ".join(needed)
        raise PretrainedError(f"{path} is not a table with the column{'s' * (len(needed) > 1)} {columns}")
    wanted = [name.removesuffix("?") for name in names]
    return {name: table[name].to_pylist() for name in wanted if name in table.column_names}


def read_tokens(path: Path, what: str, extra: str) -> Vocabulary:
    """Read a vocabulary that :func:`write_tokens` wrote; see :func:`read_columns` for the arguments."""
    return Vocabulary(read_columns(path, ("token",), what, extra)["token"])


def write_tokens(vocabulary: Vocabulary, path: Path, what: str, extra: str) -> None:
    """Write the tokens of a vocabulary, in the order of their ids, as the column ``token``."""
    pyarrow, parquet = import_pyarrow(what, extra)
    table = pyarrow.table({"token": token_array(vocabulary.tokens)})
    parquet.write_table(table, path, compression="zstd")


def import_pyarrow(what: str, extra: str) -> tuple[ModuleType, ModuleType]:
    """Return pyarrow and its module for Parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, extra) from error
    return pyarrow, pyarrow.parquet
