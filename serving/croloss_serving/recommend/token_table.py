"""The tokens of a vocabulary in a Parquet file."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from croloss_serving.common.arrow_tokens import token_array
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import MissingExtraError, NeededBy, PretrainedError


def read_columns(path: Path, names: tuple[str, ...], needed_by: NeededBy) -> dict[str, list[Any]]:
    """Read columns of a Parquet file.

    Args:
        path: the file.
        names: the columns; those that end in "?" may be missing.
        needed_by: what needs the file, for the message if pyarrow is not installed.

    Raises:
        PretrainedError: the file is not such a table.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = import_pyarrow(needed_by)
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


def read_tokens(path: Path, needed_by: NeededBy) -> Vocabulary:
    """Read a vocabulary that :func:`write_tokens` wrote; see :func:`read_columns` for the arguments."""
    return Vocabulary(read_columns(path, ("token",), needed_by)["token"])


def write_tokens(vocabulary: Vocabulary, path: Path, needed_by: NeededBy) -> None:
    """Write the tokens of a vocabulary, in the order of their ids, as the column ``token``."""
    pyarrow, parquet = import_pyarrow(needed_by)
    table = pyarrow.table({"token": token_array(vocabulary.tokens)})
    parquet.write_table(table, path, compression="zstd")


def import_pyarrow(needed_by: NeededBy) -> tuple[ModuleType, ModuleType]:
    """Return pyarrow and its module for Parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError(*needed_by) from error
    return pyarrow, pyarrow.parquet
