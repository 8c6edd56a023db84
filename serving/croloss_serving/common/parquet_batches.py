"""Columns of a Parquet file in batches, counted before a text is written out for each of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.list_columns import is_list, is_string_view
from croloss_serving.errors import DataError

#: How many times its size on the disk the content of a table may have, beyond what is always allowed: tokens
#: are distinct, and compress by a factor of 10 or so.
MOST_EXPANSION, ALWAYS_ALLOWED = 256, 64 * 2**20


def most_content(size: int) -> int:
    """Return how many bytes a file of ``size`` bytes may say."""
    return MOST_EXPANSION * size + ALWAYS_ALLOWED


def plain_batches(
    source: Any, where: Any, columns: Sequence[str], rows: int, check: Callable[[int], None]
) -> Iterator[Any]:
    """Yield record batches of some columns.

    A file says a text once that stands in many rows. Texts are read as the file has them, are counted, and
    only then written out for each row.

    Args:
        source: the file, as ``pyarrow.parquet.ParquetFile`` takes it.
        where: what errors call the file.
        columns: names of columns, each of which the file has once.
        rows: the most rows of a batch.
        check: is told how many bytes a batch takes, before it takes them; raises if they are too many.

    Yields:
        ``pyarrow.RecordBatch``: texts and lists of them are no dictionaries in it.

    Raises:
        DataError: a column holds neither values nor lists of them.
    """
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(source) as file:
        for name in columns:
            kind = file.schema_arrow.field(name).type
            if not _is_simple(kind):
                raise DataError(
                    f"{where}: column {name!r} holds {kind}: it must hold values, or lists of them"
                )
        leaves = [file.schema.column(number) for number in range(len(file.schema))]
    texts = [
        leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and _is_of(leaf.path, columns)
    ]
    with parquet.ParquetFile(source, read_dictionary=texts) as file:
        parts = (
            batch
            for group in range(file.num_row_groups)  # pyarrow joins no lists of two dictionaries
            for batch in file.iter_batches(rows, row_groups=[group], columns=list(columns))
        )
        yield from _of_length(rows, _checked(parts, check))


def _checked(parts: Iterator[Any], check: Callable[[int], None]) -> Iterator[Any]:
    import pyarrow

    for part in parts:
        check(sum(map(_written_out_bytes, part.columns)))
        kinds = [_written_out(column.type) for column in part.columns]
        plain = [
            column if column.type == kind else column.cast(kind)
            for column, kind in zip(part.columns, kinds, strict=True)
        ]
        yield pyarrow.RecordBatch.from_arrays(plain, names=part.schema.names)


def _of_length(rows: int, parts: Iterator[Any]) -> Iterator[Any]:
    """Yield record batches of ``rows`` rows, the last one of fewer, from shorter ones."""
    import pyarrow

    waiting: list[Any] = []
    for part in parts:
        missing = rows - sum(map(len, waiting))
        waiting.append(part.slice(0, missing))
        if len(part) < missing:
            continue
        yield _joined(pyarrow, waiting)
        waiting = [part.slice(missing)] if len(part) > missing else []
    if waiting:
        yield _joined(pyarrow, waiting)


def _joined(pyarrow: ModuleType, parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    columns = [
        pyarrow.concat_arrays([part.column(n) for part in parts]) for n in range(len(parts[0].columns))
    ]
    return pyarrow.RecordBatch.from_arrays(columns, names=parts[0].schema.names)


def check_batch(where: Any, size: int) -> Callable[[int], None]:
    """Return a check for :func:`plain_batches` that refuses a batch of more than a file can say.

    Args:
        where: what errors call the file.
        size: its bytes.
    """

    def check(content: int) -> None:
        if content > most_content(size):
            raise DataError(
                f"{where} holds {content:,} bytes in the rows of one batch, far more than its {size:,} bytes "
                "can say: it is damaged"
            )

    return check


def check_declared(file: Any, where: Any, size: int, columns: Sequence[str]) -> None:
    """Refuse a file that declares more of some columns than it can hold: a few bytes may say millions alike.

    Args:
        file: the ``pyarrow.parquet.ParquetFile``.
        where: what errors call it.
        size: its bytes.
        columns: the names of the columns.

    Raises:
        DataError: it does.
    """
    declared = file.metadata
    groups = [declared.row_group(number) for number in range(declared.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if _is_of(chunk.path_in_schema, columns)]
    values = [chunk.num_values for chunk in chunks]
    sizes = [chunk.total_uncompressed_size for chunk in chunks]
    most = most_content(size)
    if min([0, *values, *sizes]) < 0 or max([0, *values]) > most // 8 or sum(sizes) > most:
        raise DataError(
            f"{where} declares {max([0, *values]):,} values in {sum(sizes):,} bytes of content, which its "
            f"{size:,} bytes are too short to hold"
        )


def _is_of(path: str, columns: Sequence[str]) -> bool:
    """Tell whether what has this path in a file is part of one of the columns, whose names may have dots."""
    return any(path == name or path.startswith(f"{name}.") for name in columns)


def _is_simple(kind: Any) -> bool:
    from pyarrow import types

    if is_list(kind):
        return _is_simple(kind.value_type)
    values = kind.value_type if types.is_dictionary(kind) else kind
    return any(
        test(values) for test in (types.is_primitive, types.is_decimal, types.is_null, _is_text, _is_bytes)
    )


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_string, types.is_large_string, is_string_view))


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_binary, types.is_large_binary))


def _written_out(kind: Any) -> Any:
    """Return a type with values in place of a dictionary of them."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(kind):
        return kind.value_type
    if not is_list(kind):
        return kind
    value = _written_out(kind.value_type)
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(value, kind.list_size)
    return pyarrow.large_list(value) if types.is_large_list(kind) else pyarrow.list_(value)


def _written_out_bytes(array: Any) -> int:
    """Return how many bytes an array takes with values in place of a dictionary of them."""
    from pyarrow import types

    if types.is_dictionary(array.type):
        indices = array.indices.drop_null().to_numpy(zero_copy_only=False)
        return int(array.indices.nbytes) + int(_lengths(array.dictionary, indices))
    if is_list(array.type):
        return 8 * len(array) + _written_out_bytes(array.flatten())
    return int(array.nbytes)


def _lengths(values: Any, indices: NDArray[Any]) -> int:
    """Return the bytes of the values at some indices, which takes as long as there are indices."""
    from pyarrow import types

    if types.is_string(values.type) or types.is_binary(values.type):
        width: type = np.int32
    elif types.is_large_string(values.type) or types.is_large_binary(values.type):
        width = np.int64
    elif _is_text(values.type):
        import pyarrow.compute

        lengths = pyarrow.compute.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        return int(lengths[indices].sum(dtype=np.int64))
    else:
        return len(indices) * 16
    if not len(values):
        return 0
    offsets: NDArray[Any] = np.frombuffer(values.buffers()[1], dtype=width)[values.offset :]
    return int((offsets[indices + 1].astype(np.int64) - offsets[indices]).sum())
