"""The tokens of a vocabulary in a Parquet file."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from croloss_serving.common.arrow_tokens import token_array
from croloss_serving.common.parquet_batches import most_content, plain_batches
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import DataError, MissingExtraError, NeededBy, PretrainedError

#: A row holds a token that no other has, which takes some bits at least.
MOST_ROWS_A_BYTE = 16
_BATCH = 65_536


def read_columns(
    path: Path,
    names: tuple[str, ...],
    needed_by: NeededBy,
    rows: int | None = None,
    content: bytes | None = None,
) -> dict[str, list[Any]]:
    """Read columns of a Parquet file.

    What the file declares is compared with what is expected, and with its size, before anything is allocated.

    Args:
        path: the file.
        names: the columns; those that end in "?" may be missing.
        needed_by: what needs the file, for the message if pyarrow is not installed.
        rows: how many rows it must have; None = any number.
        content: its bytes, if they were read already.

    Raises:
        PretrainedError: the file is not such a table, has another number of rows, or declares more than it
            can hold.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = import_pyarrow(needed_by)
    needed = [name for name in names if not name.endswith("?")]
    wanted = [name.removesuffix("?") for name in names]
    columns = " and ".join(needed)
    no_table = f"{path} is not a table with the column{'s' * (len(needed) > 1)} {columns}"
    try:
        size = path.stat().st_size if content is None else len(content)
        source = path if content is None else pyarrow.BufferReader(content)
        with parquet.ParquetFile(source) as file:
            schema = file.schema_arrow
            present = [name for name in wanted if name in schema.names]
            plain = all(
                schema.names.count(name) == 1 and _is_plain(schema.field(name).type) for name in present
            )
            if not {*needed} <= {*present} or not plain:
                raise PretrainedError(no_table)
            _check_declared(file, path, size, rows)
            declared_rows = file.metadata.num_rows
        found: dict[str, list[Any]] = {name: [] for name in present}
        taken = 0

        def check(content: int) -> None:
            nonlocal taken
            taken += content
            if taken > most_content(size):
                raise PretrainedError(f"{path} holds far more than its {size:,} bytes can say: it is damaged")

        for batch in plain_batches(source, path, present, _BATCH, check):
            for name in present:
                found[name] += batch.column(name).to_pylist()
    # what pyarrow raises of damaged files, and Python of text that is not in UTF-8
    except (pyarrow.ArrowException, OSError, OverflowError, MemoryError, UnicodeDecodeError):
        raise PretrainedError(no_table) from None
    if {*map(len, found.values())} - {declared_rows}:
        raise PretrainedError(f"{path} has another number of rows than it declares: it is damaged")
    return found


def _is_plain(kind: Any) -> bool:
    types = import_pyarrow(NeededBy("a table", "tables"))[0].types
    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_null)
    return any(test(kind) for test in tests)


def count_rows(path: Path, needed_by: NeededBy, content: bytes) -> int:
    """Return the number of rows that a Parquet file declares.

    Args:
        path: the file, for errors.
        needed_by: what needs the file, for the message if pyarrow is not installed.
        content: its bytes.

    Raises:
        PretrainedError: it is not such a file.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = import_pyarrow(needed_by)
    try:
        with parquet.ParquetFile(pyarrow.BufferReader(content)) as file:
            number: int = file.metadata.num_rows
    except (pyarrow.ArrowException, OSError, OverflowError, MemoryError, UnicodeDecodeError):
        raise PretrainedError(f"{path} is not a table with the columns token and count") from None
    return number


def _check_declared(file: Any, path: Path, size: int, rows: int | None) -> None:
    declared = file.metadata
    if rows is not None and declared.num_rows != rows:
        raise PretrainedError(f"{path} has {declared.num_rows:,} rows instead of {rows:,}")
    groups = [declared.row_group(number) for number in range(declared.num_row_groups)]
    content = sum(group.total_byte_size for group in groups)
    if (
        not 0 <= declared.num_rows <= MOST_ROWS_A_BYTE * size
        or any(group.num_rows < 0 or group.total_byte_size < 0 for group in groups)
        or sum(group.num_rows for group in groups) != declared.num_rows
        or content > most_content(size)
    ):
        raise PretrainedError(
            f"{path} declares {declared.num_rows:,} rows of {content:,} bytes, which it is too short to hold"
        )


def vocabulary_of(tokens: list[Any], path: Path) -> Vocabulary:
    """Return the vocabulary of the tokens that a file holds.

    Raises:
        PretrainedError: they are neither all text nor all integers, or one occurs twice.
    """
    kinds = set(map(type, tokens))
    if kinds - {str} and kinds - {int}:
        raise PretrainedError(
            f"{path} holds tokens that are neither all text nor all integers: it is damaged"
        )
    try:
        return Vocabulary(tokens)
    except DataError as error:
        raise PretrainedError(f"{path} is damaged: {error}") from None


def read_tokens(
    path: Path, needed_by: NeededBy, rows: int | None = None, content: bytes | None = None
) -> Vocabulary:
    """Read a vocabulary that :func:`write_tokens` wrote; see :func:`read_columns` for the arguments."""
    return vocabulary_of(read_columns(path, ("token",), needed_by, rows, content)["token"], path)


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
