"""Damaged tables, and the histories of croloss recommend: a table or one sentence, never anything else."""

import io
import json

import pytest

from lightning_croloss import TableDataModule
from lightning_croloss.cli.recommend.history_input import has_lists, read_json_lines, read_lists
from lightning_croloss.errors import DataError
from tests.fuzz.damage import cases, damaged

pl = pytest.importorskip("polars", reason="tables need polars and pyarrow")
FRAME = pl.DataFrame(
    {
        "user_id": [f"user {number % 5}" for number in range(30)],
        "item_id": [(number * 7) % 11 for number in range(30)],
        "timestamp": [1_700_000_000 + number for number in range(30)],
    }
)
USUAL = 60


def _as_csv(path, separator=","):
    FRAME.write_csv(path, separator=separator)


WRITERS = {
    "events.csv": _as_csv,
    "events.tsv": lambda path: _as_csv(path, "\t"),
    "events.parquet": lambda path: FRAME.write_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_tables_of_events(name, tmp_path, fuzz_budget):
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    assert len(TableDataModule(str(path), min_user_interactions=1).load().users) == 30
    for case in cases(name, USUAL, fuzz_budget):
        path.write_bytes(damaged(whole, case.chance))
        with case.only(DataError, OSError):
            TableDataModule(str(path), min_user_interactions=1).load()


def test_json_lines(fuzz_budget):
    lines = [{"user": f"user {number}", "history": [1, 2, number]} for number in range(5)]
    whole = "".join(json.dumps(line) + "\n" for line in lines).encode()
    read = [batch.users for batch in read_json_lines(io.StringIO(whole.decode()), "lines", 100)]
    assert read == [[line["user"] for line in lines]]
    for case in cases("lines", 8 * USUAL, fuzz_budget):
        text = io.TextIOWrapper(io.BytesIO(damaged(whole, case.chance)), encoding="utf-8")
        with case.only(DataError):
            list(read_json_lines(text, "lines", 100))


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' * 50_000, f"[{'9' * 5000}]", "[" * 900 + "]" * 900])
def test_json_that_is_deep_or_long(line):
    with pytest.raises(DataError, match="lines, line 1"):
        list(read_json_lines(io.StringIO(line), "lines", 100))


def test_lists_in_parquet(tmp_path, fuzz_budget):
    path = tmp_path / "lists.parquet"
    frame = pl.DataFrame({"user_id": ["a", "b"], "history": [["x", "y"], ["z"]]})
    frame.write_parquet(path)
    whole = path.read_bytes()
    assert has_lists(str(path), "history")
    for case in cases("lists", 4 * USUAL, fuzz_budget):
        path.write_bytes(damaged(whole, case.chance))
        with case.only(DataError, OSError):
            if has_lists(str(path), "history"):
                list(read_lists(path, "user_id", "history", 100))
