"""Which tables of a folder are partitions: none is lost or read twice, and each has its own output."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from croloss_serving.errors import DataError
from croloss_serving.partitions import find_partitions


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, shard: tuple[int, int] = (1, 1), **arguments: tuple[str, ...]) -> dict[str, str]:
    """The tables of ``folder / "users"`` and their outputs in ``folder / "lists"``."""
    partitions = find_partitions(folder / "users", folder / "lists", shard, **arguments)
    return {
        each.source.relative_to(folder / "users").as_posix(): each.output.relative_to(
            folder / "lists"
        ).as_posix()
        for each in partitions
    }


def test_links_are_followed_and_each_table_is_taken_once(tmp_path: Path) -> None:
    touch(tmp_path, "users/own.parquet", "users/_SUCCESS", "users/.own.parquet.crc", "users/README.md")
    touch(tmp_path, "elsewhere/a.parquet", "elsewhere/.hidden/b.parquet", "elsewhere/_old/c.parquet")
    os.symlink("../elsewhere", tmp_path / "users" / "linked")
    os.symlink("own.parquet", tmp_path / "users" / "later.parquet")
    os.symlink("../users", tmp_path / "elsewhere" / "round")
    names = ["later.parquet", "linked/a.parquet"]
    assert found(tmp_path) == {name: name for name in names}
    assert found(tmp_path, (2, 2)) == {names[1]: names[1]}


@pytest.mark.parametrize("name", ["users/gone.parquet", "users/deep/gone"])
def test_a_link_that_leads_nowhere(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "users/a.parquet", "users/deep/b.parquet")
    os.symlink("../../unmounted", tmp_path / name)
    with pytest.raises(DataError, match=r"gone\S* is a link that leads nowhere, to '../../unmounted'"):
        found(tmp_path)


def test_a_folder_that_cannot_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "users/a.parquet", "users/closed/b.parquet")
    scandir = os.scandir

    def refusing(path: str) -> object:
        return refuse(path) if Path(path).name == "closed" else scandir(path)

    def refuse(path: str) -> NoReturn:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match="closed"):
        found(tmp_path)


@pytest.mark.parametrize("name", ["b.csv", "b.csv.gz", "b.JSONL", "b.parquet.zst", "deep/b.tsv.xz"])
def test_a_table_that_would_be_left_out(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "users/a.parquet", f"users/{name}")
    with pytest.raises(DataError, match=rf"{name} would be left out, since .* must end in \.parquet, \.pq:"):
        found(tmp_path)
    (tmp_path / "users" / name).rename(tmp_path / "users" / "_b")
    assert [*found(tmp_path)] == ["a.parquet"]


def test_what_is_no_file(tmp_path: Path) -> None:
    touch(tmp_path, "users/a.parquet")
    os.mkfifo(tmp_path / "users" / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet is neither a file nor a folder"):
        found(tmp_path)


@pytest.mark.parametrize("output", ["users", "users/lists", "elsewhere/lists"])
def test_an_output_where_tables_are_read(tmp_path: Path, output: str) -> None:
    touch(tmp_path, "users/a.parquet", "elsewhere/b.parquet")
    os.symlink("../elsewhere", tmp_path / "users" / "linked")
    with pytest.raises(DataError, match="whose tables are read: choose a folder beside it"):
        find_partitions(tmp_path / "users", tmp_path / output)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["x.csv", "x.csv.parquet"], r"x\.csv and \S*x\.csv\.parquet would have the same output"),
        (["deep/x.csv", "deep/X.csv.PARQUET"], "would have the same output"),
        (["a.parquet", "A.parquet"], "would have the same output"),
        (["Sub/a.parquet", "sub/a.parquet"], "would have the same output"),
        (["é.parquet", "e\u0301.parquet"], "would have the same output"),
        (["x.csv", "x.csv.parquet/part-0.parquet"], r"the output of \S*x\.csv would be .*, the folder of"),
    ],
)
@pytest.mark.parametrize("shard", [(1, 1), (2, 2)])
def test_two_tables_of_one_output(
    tmp_path: Path, names: list[str], said: str, shard: tuple[int, int]
) -> None:
    touch(tmp_path, *(f"users/{name}" for name in names))
    if len([path for path in (tmp_path / "users").rglob("*") if path.is_file()]) < 2:
        pytest.skip("this file system makes no difference between these names")
    with pytest.raises(DataError, match=said):
        found(tmp_path, shard, extensions=(".parquet", ".csv"))


def test_an_output_that_is_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "lists/users/a.parquet", "lists/users/users/b.csv", "lists/users/b.csv.parquet")
    with pytest.raises(DataError, match=r"the output \S*lists/users/b\.csv\.parquet is itself a table"):
        find_partitions(tmp_path / "lists" / "users", tmp_path / "lists", extensions=(".parquet", ".csv"))
