"""``croloss recommend`` from a folder of partitions into a folder: restarted, shared out, refused."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as parquet
import pytest
import torch

from lightning_croloss import save_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.recommend import command as recommend
from tests.cli.cases import error_of
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.distributed import run_distributed

NAMES = ["part-0.parquet", "part-1.parquet", "sub/part-2.snappy.parquet", "sub/part-3.parquet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = small_model(exclude_history=True)
    fit(model, ClusteredData(), max_epochs=1)
    return save_pretrained(model, tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def words(model: Path) -> list[str]:
    """The command for a folder with four partitions of five users each, and what is no partition."""
    for number, name in enumerate(NAMES):
        path = Path("users", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        users = range(5 * number, 5 * number + 5)
        histories = [[f"item {(user + step) % 40}" for step in range(3)] for user in users]
        pl.DataFrame({"user_id": [f"u{user}" for user in users], "history": histories}).write_parquet(path)
    Path("users/_SUCCESS").touch()
    Path("users/.part-9.parquet").write_bytes(b"half")
    return ["recommend", f"--model={model}", "--histories=users", "--output=lists", "--n=4"]


def lists(folder: str = "lists") -> dict[str, pl.DataFrame]:
    """The outputs in a folder by their names; nothing else lies there."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): pl.read_parquet(path) for path in paths}


def same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    return [*one] == [*other] and all(one[name].equals(other[name]) for name in one)


def test_each_partition_has_an_output(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    assert "4 partitions written, 0 were complete; 20 users;" in capsys.readouterr().err
    found = lists()
    assert [*found] == NAMES
    whole = pl.concat(found.values())
    assert whole["user"].unique(maintain_order=True).to_list() == [f"u{user}" for user in range(20)]
    assert whole["rank"].to_list() == [1, 2, 3, 4] * 20
    main([*words[:2], "--histories=users/part-1.parquet", "--output=one.parquet", "--n=4"])
    assert pl.read_parquet("one.parquet").equals(found[NAMES[1]])
    times = [os.stat(Path("lists", name)).st_mtime_ns for name in NAMES]
    main(words)
    assert "0 partitions written, 4 were complete; 0 users;" in capsys.readouterr().err
    assert [os.stat(Path("lists", name)).st_mtime_ns for name in NAMES] == times
    main([*words, "--overwrite"])
    assert "4 partitions written, 0 were complete" in capsys.readouterr().err
    assert same(lists(), found)


def test_shards_share_the_partitions_out(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*words, "--shard=2/3"])
    assert [*lists()] == [NAMES[1]]
    main([*words, "--shard=1/3"])
    main([*words, "--shard=3/3"])
    found = lists()
    assert [*found] == NAMES
    shutil.rmtree("lists")
    main(words)
    assert same(lists(), found)
    main([*words, "--shard=6/6"])  # more shards than partitions
    assert "0 partitions written, 0 were complete" in capsys.readouterr().err
    for shard in ("0/3", "4/3", "1", "a/b"):
        assert "--shard must be i/of with i in 1 … of, such as 1/4" in error_of(
            capsys, *words, f"--shard={shard}"
        )
    said = error_of(capsys, *words[:2], "--histories=users/part-0.parquet", "--shard=1/2")
    assert said.startswith("--shard 1/2 has no effect unless")


def killed_in_the_second(rank: int, processes: int, folder: str, words: list[str]) -> None:
    """Run the command, and be killed when half of the second partition is written."""
    os.chdir(folder)
    recommend.SIZE = 3  # two batches a partition
    write, written = recommend.ParquetRows.write, []

    def dying(self: recommend.ParquetRows, *arguments: Any) -> None:
        write(self, *arguments)
        written.append(arguments)
        if len(written) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    recommend.ParquetRows.write = dying
    main(words)


def test_killed_in_the_middle_and_finished_equals_uninterrupted(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recommend, "SIZE", 3)
    main([*words[:3], "--output=whole", "--n=4"])
    with pytest.raises(torch.multiprocessing.ProcessExitedException, match="SIGKILL"):
        run_distributed(killed_in_the_second, 1, os.getcwd(), words)
    files = [path for path in Path("lists").rglob("*") if path.is_file()]
    assert len(files) >= 2  # one is complete, one half-written under another name
    assert Path("lists", NAMES[0]) in files
    assert not Path("lists", NAMES[1]).exists()
    capsys.readouterr()
    main(words)
    assert "3 partitions written, 1 were complete; 15 users;" in capsys.readouterr().err
    left = {path.name for path in Path("lists").rglob("*") if path.is_file()}
    assert left == {Path(name).name for name in NAMES}
    assert same(lists(), lists("whole"))


def test_what_fails_leaves_no_half(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"user_id": ["a"], "history": [[None]]}).write_parquet(Path("users", NAMES[1]))
    error_of(capsys, *words)
    assert [*lists()] == NAMES[:1]


def test_an_output_of_other_settings_is_refused(
    words: list[str], model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pl.DataFrame({"item": ["item 3", "item 7", "item 9", "item 11", "item 12"]}).write_csv("some.csv")
    main(words)
    before = lists()
    other = small_model(exclude_history=True)
    fit(other, ClusteredData(), max_epochs=2)
    save_pretrained(other, tmp_path / "other")
    for changed, said in (
        ("--n=5", "--n = 4, which is now 5"),
        ("--include-history", "--exclude-history = True, which is now False"),
        ("--allow=some.csv", "--allow = None"),
        ("--history-column=history", "--history-column = None, which is now 'history'"),
        (f"--model={tmp_path / 'other'}", "--model = 'YouTubeDNN of 40 items"),
    ):
        message = error_of(capsys, *words, changed)
        assert "part-0.parquet was written with " + said in message
        assert "choose another folder, or remove it" in message
    pl.DataFrame({"user_id": ["b"], "history": [["item 1"]]}).write_parquet(Path("users", NAMES[2]))
    assert "part-2.snappy.parquet was written with bytes of the table" in error_of(capsys, *words)
    assert same(lists(), before)
    main([*words, "--n=5", "--overwrite"])
    assert {len(frame) for frame in lists().values()} == {25, 5}


def test_other_mistakes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    base = words[:2]
    Path("empty").mkdir()
    assert "empty holds no table" in error_of(capsys, *base, "--histories=empty", "--output=lists")
    said = error_of(capsys, *base, "--histories=users", "--output=users/lists")
    assert "the output users/lists lies in users" in said
    Path("lists").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet("lists/part-0.parquet")
    assert "part-0.parquet is not an output of recommending by partitions" in error_of(capsys, *words)
    pl.DataFrame({"history": [["item 1"]]}).write_parquet("users/part-0.parquet")
    shutil.rmtree("lists")
    assert "part-0.parquet does not name its users" in error_of(capsys, *words)


def test_tables_of_events_and_lines_are_partitions_too(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("users")
    Path("users").mkdir()
    Path("elsewhere").mkdir()
    Path("users/linked").symlink_to("../elsewhere")
    Path("users/a.csv").write_text("user_id,item_id\na,item 1\na,item 2\n")
    Path("users/b.jsonl").write_text('{"user": "b", "history": ["item 1", "item 2"]}\n')
    with gzip.open("users/c.csv.gz", "wt") as file:
        file.write("user_id,item_id\nc,item 1\nc,item 2\n")
    Path("elsewhere/d.tsv").write_text("user_id\titem_id\nd\titem 1\nd\titem 2\n")
    main(words)
    found = lists()
    assert [*found] == ["a.csv.parquet", "b.jsonl.parquet", "c.csv.gz.parquet", "linked/d.tsv.parquet"]
    assert [frame["user"][0] for frame in found.values()] == ["a", "b", "c", "d"]
    assert {tuple(frame["item"]) for frame in found.values()} == {tuple(found["a.csv.parquet"]["item"])}
    Path("users/e.jsonl.gz").touch()
    assert "users/e.jsonl.gz would be left out, since names of tables must end in" in error_of(capsys, *words)
    assert parquet.read_schema("lists/a.csv.parquet").metadata[b"croloss"]
