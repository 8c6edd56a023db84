"""Rows of a comparison: appended, never rewritten, read after a crash."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest

from benchmarks.common.rows import append_row, failed_row, failures_of, identity, rows_of

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
TORN = '{"settings": {"number": 2}, "resu'


def filled(path: Path, *numbers: int) -> Path:
    for number in numbers:
        append_row(path, {"settings": {"number": number}, "result": number})
    return path


def test_a_row_is_added_to_what_is_there_and_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "new" / "rows.jsonl", 0)
    before, inode = path.read_bytes(), path.stat().st_ino
    sizes = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (fsync(file), sizes.append(os.fstat(file).st_size)))
    filled(path, 1)
    assert path.read_bytes().startswith(before)
    assert path.stat().st_ino == inode
    assert sizes == [path.stat().st_size]
    assert [json.loads(line)["result"] for line in path.read_text().splitlines()] == [0, 1]


@pytest.mark.parametrize(
    "torn", [TORN, "{", '{"settings": {"name": "é'.encode()[:-1].decode("latin-1"), "\0\0"]
)
def test_a_torn_line_is_left_out_and_mended(tmp_path: Path, torn: str) -> None:
    path = filled(tmp_path / "rows.jsonl", 0, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode("latin-1"))
    with pytest.warns(UserWarning, match=r"rows\.jsonl, line 3 breaks off"):
        assert [row["result"] for row in rows_of(path).values()] == [0, 1]
    filled(path, 3)
    assert path.read_bytes() == whole + b'{"settings": {"number": 3}, "result": 3}\n'
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [row["result"] for row in rows_of(path).values()] == [0, 1, 3]


def test_a_file_that_holds_a_torn_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(TORN)
    with pytest.warns(UserWarning, match="line 1 breaks off"):
        assert rows_of(path) == {}
    assert len(rows_of(filled(path, 4))) == len(path.read_text().splitlines()) == 1


def test_a_row_without_the_end_of_its_line_counts(tmp_path: Path) -> None:
    path = filled(tmp_path / "rows.jsonl", 0, 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert len(rows_of(path)) == 2
    assert [row["result"] for row in rows_of(filled(path, 2)).values()] == [0, 1, 2]


@pytest.mark.parametrize("line", ["{", '{"result": 1}', "[1]"])
def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path, line: str) -> None:
    path = filled(tmp_path / "rows.jsonl", 0)
    with path.open("a") as file:
        file.write(line + "\n")
    filled(path, 1)
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 2 is not a row: mend it or delete it"):
        rows_of(path)


def test_the_newest_row_of_a_run_counts(tmp_path: Path) -> None:
    path, settings = tmp_path / "rows.jsonl", {"number": 0}
    append_row(path, failed_row(settings, MemoryError()))
    append_row(path, failed_row({"number": 1}, KeyError("x")))
    assert (len(rows_of(path)), len(failures_of(path))) == (0, 2)
    append_row(path, {"settings": settings, "result": 5})
    assert rows_of(path) == {identity(settings): {"settings": settings, "result": 5}}
    assert [row["settings"]["number"] for row in failures_of(path).values()] == [1]
    assert len(path.read_text().splitlines()) == 3


def test_an_error_is_kept_as_its_type_and_one_line() -> None:
    row = failed_row({"a": 1}, ValueError("  too large: take less\nmore about it\n"))
    assert row == {"settings": {"a": 1}, "error": "too large: take less", "error_type": "ValueError"}
    assert failed_row({}, MemoryError())["error"] == "it gave no message"


@pytest.mark.parametrize(
    "path", sorted(BENCHMARKS.glob("*/results/**/rows.jsonl")), ids=lambda path: path.parts[-3]
)
def test_committed_rows_are_read(path: Path) -> None:
    assert len(rows_of(path)) == len(path.read_text().splitlines()) > 0
    assert failures_of(path) == {}


def test_every_comparison_has_rows() -> None:
    found = {path.relative_to(BENCHMARKS).parts[0] for path in BENCHMARKS.glob("*/results/**/rows.jsonl")}
    assert found == {
        "finetune",
        "lazy_adam",
        "losses",
        "matrix_factorisation",
        "ml_100k",
        "quality",
        "published",
        "recbole_models",
    }
