"""Batches of Parquet files say what the file does, and are counted before texts are written out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from croloss_serving import ItemTable
from croloss_serving.common import parquet_batches
from croloss_serving.common.parquet_batches import plain_batches
from croloss_serving.errors import DataError, NeededBy, PretrainedError
from croloss_serving.partitions.table import HistoryTable

pa = pytest.importorskip("pyarrow", reason="needs the extra [tables]")
parquet = pytest.importorskip("pyarrow.parquet")
NEEDED_BY = NeededBy("reading items", "tables")
MIB = 2**20
TEXTS = ["a", "", None, "üb", "a", "longer than the others", "a", None]
COLUMNS = {
    "text": pa.array(TEXTS),
    "large": pa.array(TEXTS, pa.large_string()),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "number": pa.array([1, None, 3, 4, 5, 6, 7, 8], pa.uint8()),
    "lists": pa.array([["a", "b"], [], None, ["a", None], ["b"] * 9, [], ["c"], ["a"]]),
    "of numbers": pa.array([[1.5], [], None, [2, None], [3] * 9, [], [4], [5]], pa.large_list(pa.float32())),
    "pairs": pa.array([["a", "b"]] * 8, pa.list_(pa.string(), 2)),
    "nothing": pa.array([None] * 8),
    "with.dots": pa.array(TEXTS),
}


@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("use_dictionary", [True, False])
@pytest.mark.parametrize("rows", [3, 100])
def test_what_the_file_says(tmp_path: Path, store_schema: bool, use_dictionary: bool, rows: int) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table(COLUMNS), path, 5, store_schema=store_schema, use_dictionary=use_dictionary)
    sizes: list[int] = []
    batches = list(plain_batches(path, path, [*COLUMNS], rows, sizes.append))
    found = {name: [v for each in batches for v in each.column(name).to_pylist()] for name in COLUMNS}
    assert found == {name: values.to_pylist() for name, values in COLUMNS.items()}
    assert [len(batch) for batch in batches] == ([3, 3, 2] if rows == 3 else [8])
    plain = sum(len(text.encode()) for text in TEXTS if text)
    assert 3 * plain <= sum(sizes) <= 4 * sum(batch.nbytes for batch in batches) + 64 * 8


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Counts the memory of a test alone, and 1 MiB is what is always allowed."""
    monkeypatch.setattr(parquet_batches, "ALWAYS_ALLOWED", MIB)
    before = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counting)
    yield counting
    pa.set_memory_pool(before)


def repeated(rows: int, kibibytes: int) -> Any:
    """One long text in every row, which the file says once."""
    return pa.DictionaryArray.from_arrays(
        pa.array([0] * rows, pa.int32()), pa.array(["x" * 1024 * kibibytes])
    )


def write(path: Path, **columns: Any) -> None:
    parquet.write_table(
        pa.table(columns), path, compression="zstd", write_statistics=False, store_schema=False
    )
    assert path.stat().st_size < MIB // 16


@pytest.mark.parametrize("column", ["title", "token"])
def test_a_text_in_every_row_of_a_table_of_items(tmp_path: Path, pool: Any, column: str) -> None:
    path, rows = tmp_path / "items.parquet", 4096
    given = {"token": np.arange(rows).astype(str), "count": range(rows), "title": ["t"] * rows}
    write(path, **{**given, column: repeated(rows, 8)})  # 32 MiB
    with pytest.raises(PretrainedError, match=r"holds far more than its .* bytes can say"):
        ItemTable.read(path, NEEDED_BY)
    assert pool.max_memory() < 16 * MIB


@pytest.mark.parametrize("column", ["user_id", "history"])
def test_a_text_in_every_row_of_histories(tmp_path: Path, pool: Any, column: str) -> None:
    from lightning_croloss.cli.recommend.list_histories import read_lists

    path, rows = tmp_path / "a.parquet", 1024
    texts = repeated(rows, 32)  # 32 MiB
    given = {"user_id": ["u"] * rows, "history": [["i"]] * rows}
    wrong = texts if column == "user_id" else pa.ListArray.from_arrays(range(rows + 1), texts)
    write(path, **{**given, column: wrong})
    with (
        HistoryTable(path, "user_id", "history") as table,
        pytest.raises(DataError, match="in the rows of one batch, far more than its"),
    ):
        list(table.batches(rows))
    with pytest.raises(DataError, match="in the rows of one batch, far more than its"):
        list(read_lists(path, "user_id", "history", rows))
    assert pool.max_memory() < 16 * MIB


def test_a_list_of_very_many_alike(tmp_path: Path, pool: Any) -> None:
    from lightning_croloss.cli.recommend.list_histories import read_lists

    path = tmp_path / "a.parquet"
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(8 * MIB, np.int32)), pa.array(["i"]))
    write(path, user_id=["u"], history=pa.ListArray.from_arrays([0, 8 * MIB], values))
    before = pool.bytes_allocated()
    del values
    with pytest.raises(DataError, match=r"declares 8,388,608 values in .* too short to hold"):
        HistoryTable(path, "user_id", "history")
    with pytest.raises(DataError, match=r"declares 8,388,608 values in .* too short to hold"):
        list(read_lists(path, "user_id", "history", 10))
    assert pool.bytes_allocated() <= before


@pytest.mark.parametrize("kind", [pa.struct([("a", pa.string())]), pa.map_(pa.string(), pa.string())])
def test_what_is_no_list_of_values(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"user_id": ["u"], "history": pa.array([[None]], pa.list_(kind))}), path)
    with (
        HistoryTable(path, "user_id", "history") as table,
        pytest.raises(DataError, match=r"column 'history' holds .* it must hold values, or lists of them"),
    ):
        list(table.batches(10))
