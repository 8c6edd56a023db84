"""``croloss data partition``, and a fit on what it writes: whole or absent, and told in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pl = pytest.importorskip("polars")

from lightning_croloss.cli import main  # noqa: E402
from tests.cli.cases import PACKAGES, error_of  # noqa: E402
from tests.cli.small import NO_PLOT, QUIET, measured  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]
PARTITION = ["data", "partition", "--interactions=events.parquet", "--output=divided"]
FIT = ["fit", "--model=YouTubeDNN", "--model.ns=[5]", *QUIET, "--trainer.max_epochs=1"]
DIVIDED = ["--data=TableDataModule", "--data.interactions=divided", "--data.partitioned_by_user=true"]
INSPECT = ["data", "inspect", *DIVIDED, "--json"]


@pytest.fixture(autouse=True)
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{user}", (user * 7 + step * step) % 23, step) for user in range(40) for step in range(8)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    frame.with_columns(color=pl.lit("red"), rating=pl.col("item_id") / 2).write_parquet("events.parquet")


def test_a_fit_by_partitions_measures_what_one_of_the_table_does(capsys: pytest.CaptureFixture[str]) -> None:
    main([*PARTITION, "--partitions=6"])
    said = capsys.readouterr().out
    assert said.startswith("divided: 320 events of 40 users and 23 items in 6 partitions of ")
    assert not [path.name for path in Path().iterdir() if path.name.startswith(".")]
    divided = measured(*FIT, *DIVIDED)
    whole = measured(*FIT, "--data=TableDataModule", "--data.interactions=events.parquet")
    assert divided == whole


def test_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "who;what;when;much;more",
        "1;x;2024-01-01;2,5;a",
        "2;NA;2024-01-02;1,5;b",
        "# no row",
        "2;y;;3;c",
    ]
    Path("text.csv").write_bytes("\n".join([*lines, "1;y'é;2024-01-03;4,5;d", "1;2"]).encode("latin-1"))
    words = ["data", "partition", "--interactions", "text.csv", "--output=text", "--partitions=3"]
    words += ["--user-column=who", "--item-column=what", "--time-column=when", "--columns", "much"]
    words += [
        "--missing-values",
        "NA",
        "--drop-missing",
        "--separator=;",
        "--encoding=latin-1",
        "--decimal=,",
    ]
    main([*words, "--comment=#", "--ragged=drop", "--quotes=text"])
    said = capsys.readouterr().out
    assert "2 events of 1 users and 2 items in 3 partitions of 0 … 2 events" in said
    assert "left out: 2 rows (missing)" in said
    assert "left out: 1 rows (ragged)" in said
    found = pl.concat([pl.read_parquet(path) for path in sorted(Path("text").glob("part-*.parquet"))])
    assert found.columns == ["who", "what", "when", "much", "much (as written)"]
    assert found["who"].to_list() == [1, 1]
    assert found["what"].to_list() == ["x", "y'é"]
    assert found["much"].to_list() == [2.5, 4.5]
    assert found["when"].dtype == pl.Datetime("ns")


def test_no_times_and_several_files() -> None:
    frame = pl.read_parquet("events.parquet")
    Path("logs").mkdir()
    frame[:100].write_parquet("logs/a.parquet")
    frame[100:].write_parquet("logs/b.parquet")
    words = ["--output=divided", "--partitions=2", "--time-column=", "--columns"]
    main(["data", "partition", "--interactions", "logs/a.parquet", "logs/b.parquet", *words])
    assert pl.read_parquet("divided/part-00000.parquet").columns == ["user_id", "item_id"]


def test_the_output_does_not_lie_in_what_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    Path("logs/march").mkdir(parents=True)
    shutil.copy("events.parquet", "logs/march")
    Path("link").symlink_to("logs")
    for given, output in (
        ("logs", "logs/divided"),
        ("logs", "link/march/divided"),
        ("link", "logs/divided"),
        ("logs/**/*.parquet", "logs/march/divided"),
        ("logs/*", "logs/divided"),
        ("l*s/mar*/*.parquet", "logs/marvellous"),
    ):
        said = error_of(capsys, "data", "partition", f"--interactions={given}", f"--output={output}")
        assert f"the output {output} lies in {given}, whose tables are read: choose a folder beside" in said
        assert not Path(output).exists()


def test_the_output_beside_what_a_pattern_names() -> None:
    Path("logs").mkdir()
    shutil.copy("events.parquet", "logs")
    main(["data", "partition", "--interactions=logs/*.parquet", "--output=logs/divided", "--partitions=2"])


def test_partitions_do_not_lie_in_others(capsys: pytest.CaptureFixture[str]) -> None:
    main([*PARTITION, "--partitions=2"])
    for output in ("divided/more", "divided/_prepared/more/still", "divided/part-00000"):
        said = error_of(capsys, *PARTITION[:3], f"--output={output}")
        assert (
            f"the output {output} lies in {Path('divided').resolve()}, a folder of partitions: choose" in said
        )
    shutil.copytree("divided", "above/within")
    assert "--output above exists" in error_of(capsys, *PARTITION[:3], "--output=above")
    said = error_of(capsys, *PARTITION[:3], "--output=above", "--overwrite")
    assert "--output above is no folder of partitions, and --overwrite would delete all that it holds" in said
    shutil.copytree("divided", "divided/within")
    assert "holds within besides partitions" in error_of(capsys, *PARTITION, "--overwrite")
    assert [path.name for path in Path("divided/within").glob("part-*")]


def test_what_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    main([*PARTITION, "--partitions=2"])
    assert error_of(capsys, *PARTITION).startswith(
        "--output divided exists: choose another folder, or give --over"
    )
    main([*PARTITION, "--partitions=3", "--overwrite"])
    assert len([*Path("divided").glob("part-*")]) == 3
    Path("others").mkdir()
    pl.read_parquet("events.parquet").write_parquet("others/part-00000.parquet")
    said = error_of(capsys, *PARTITION[:3], "--output=others", "--overwrite")
    assert said.startswith("--output others is no folder of partitions, and --overwrite would delete all")
    Path("divided/mine.txt").touch()
    assert "holds mine.txt besides partitions" in error_of(capsys, *PARTITION, "--overwrite")
    for words, said in (
        (["--partitions=0"], "partitions must be 1 … 65,536, got 0"),
        (["--user-column=item_id"], "user_column and item_column are both 'item_id': name two columns"),
        (["--time-column=user_id"], "user_column and time_column are both 'user_id': name two columns"),
        (
            ["--user-column=usr_id"],
            "user_column names 'usr_id', which is not a column of events.parquet; did you",
        ),
        (
            ["--columns", "colour"],
            "columns ('colour') names 'colour', which is not a column of events.parquet; did",
        ),
    ):
        assert said in error_of(capsys, *PARTITION[:3], "--output=other", *words)
    pl.DataFrame({"user_id": [1, None], "item_id": [1, 2]}).write_parquet("gap.parquet")
    said = error_of(capsys, "data", "partition", "--interactions=gap.parquet", "--output=other")
    assert "gap.parquet, row 2: column 'user_id' has no value: fill it, or leave such rows out by" in said
    pl.DataFrame({"user_id": ["a"], "item_id": [1]}).write_parquet("x1.parquet")
    pl.DataFrame({"user_id": [3], "item_id": [1]}).write_parquet("x2.parquet")
    said = error_of(capsys, "data", "partition", "--interactions=x*.parquet", "--output=other")
    assert "column 'user_id' holds numbers" in said
    assert not Path("other").exists()


def changed(name: str, content: Any) -> None:
    """Change an entry of the manifest."""
    path = Path("divided/_manifest.json")
    plain = json.loads(path.read_text())
    plain[name] = content
    path.write_text(json.dumps(plain))


def of_part(field: str, value: int) -> None:
    """Change what the manifest says of the first partition."""
    first, *others = json.loads(Path("divided/_manifest.json").read_text())["partitions"]
    changed("partitions", [first | {field: value}, *others])


def rewritten(name: str, entry: str, column: Any) -> None:
    """Change a column of a file, and what the manifest says of it."""
    path = Path("divided", name)
    pl.read_parquet(path).with_columns(column).write_parquet(path)
    described = json.loads(Path("divided/_manifest.json").read_text())[entry]
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    changed(entry, described | {"bytes": path.stat().st_size, "sha256": checksum})


def of_users(partition: int) -> None:
    """Put all users into a partition."""
    rewritten("_users.parquet", "users", pl.lit(partition, pl.Int32).alias("partition"))


def of_items(events: int) -> None:
    """Give all items a number of events."""
    rewritten("_items.parquet", "items", pl.lit(events, pl.Int64).alias("events"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda: shutil.rmtree("divided"), "has no _manifest.json: divide the table by"),
        (lambda: Path("divided/_manifest.json").unlink(), "has no _manifest.json"),
        (lambda: Path("divided/_manifest.json").write_text("[]"), "is damaged, it does not say its format"),
        (lambda: Path("divided/_manifest.json").write_text("{"), "is damaged, it is no JSON"),
        (lambda: changed("format_version", 9), "is of format 9, this release reads 1"),
        (lambda: changed("hash", "md5"), "divides users by the hash 'md5', but this release knows"),
        (lambda: changed("partitions", [{"file": "../events.parquet"}]), "does not describe part-00000."),
        (lambda: changed("columns", {"a": 1}), "its columns or left_out are no names"),
        (lambda: changed("declared", {"item_id": 1}), "what headers said of its columns is none"),
        (lambda: changed("declared", {"other": "token"}), "what headers said of its columns is none"),
        (lambda: changed("left_out", {"\ud800": 1}), "its columns or left_out are no names"),
        (lambda: changed("left_out", {"missing": -1}), "its columns or left_out are no names"),
        (lambda: of_part("rows", 0), "a partition cannot have so many users with so many events"),
        (lambda: of_users(2**31 - 1), "the users of each partition are others"),
        (lambda: of_items(0), "the events of its items are not those of the partitions"),
        (lambda: Path("divided/part-00001.parquet").unlink(), "part-00001.parquet is missing"),
        (
            lambda: shutil.copy("divided/part-00000.parquet", "divided/part-00001.parquet"),
            "part-00001.parquet is not the file that _manifest.json describes",
        ),
        (
            lambda: shutil.copy("divided/_users.parquet", "divided/_items.parquet"),
            "_items.parquet is not the file that _manifest.json describes",
        ),
        (lambda: flip("divided/part-00001.parquet"), "part-00001.parquet is not the file"),
        (lambda: flip("divided/_users.parquet"), "_users.parquet is not the file"),
    ],
    ids=[
        "no folder", "no manifest", "list", "cut off", "format", "hash", "path", "columns", "no type",
        "of no column", "no text", "below 0", "no rows", "users of no partition", "items of no events",
        "missing", "other size", "two vocabularies", "changed", "changed users",
    ],
)  # fmt: skip
def test_a_folder_that_is_not_what_it_says(
    damage: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*PARTITION, "--partitions=2"])
    damage()
    assert said in error_of(capsys, *INSPECT)


def flip(name: str) -> None:
    """Change a byte of a file."""
    content = bytearray(Path(name).read_bytes())
    content[len(content) // 2] ^= 1
    Path(name).write_bytes(content)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--data.user_column=item_id --data.item_column=x", "names 'item_id', but divided was divided by"),
        ("--data.time_column=when", "time_column names 'when', which is not a column of divided"),
        ("--data.interactions=[divided,divided]", "interactions must name one folder, not a list"),
        (
            "--data.split=Predefined --data.split.column=color --data.split.valid=0.1",
            "the split Predefined needs a column that says the part of each event",
        ),
        ("--data.min_user_interactions=99", "nothing is left after the filters"),
    ],
)
def test_settings_that_do_not_fit(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*PARTITION, "--partitions=2"])
    assert said in error_of(capsys, *INSPECT, *words.split())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process is killed")
def test_a_killed_command_leaves_nothing_that_is_taken_for_whole() -> None:
    pl.concat([pl.read_parquet("events.parquet")] * 300).write_parquet("events.parquet")
    words = [*PARTITION, "--partitions=400"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_croloss", *words],
        env=os.environ | {"PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and not list(Path().glob(".divided.*.new/part-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not Path("divided").exists()
    assert list(Path().glob(".divided.*.new"))
    main([*PARTITION, "--partitions=4"])
    assert not list(Path().glob(".divided*"))
    assert sorted(path.name for path in Path("divided").iterdir()) == sorted(
        [
            "_items.parquet",
            "_manifest.json",
            "_users.parquet",
            *(f"part-0000{number}.parquet" for number in range(4)),
        ]
    )
    main(INSPECT)


@pytest.mark.slow
def test_more_processes_than_partitions() -> None:
    main([*PARTITION, "--partitions=2"])
    ddp = ["--trainer.devices=3", "--trainer.strategy=ddp"]
    run = subprocess.run(
        [sys.executable, "-m", "lightning_croloss", *FIT, *DIVIDED, *ddp],
        env=os.environ | {"PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode
    assert "divided has 2 partitions with events, fewer than the 3 processes: use fewer devices" in run.stderr
    assert "Traceback" not in run.stderr
