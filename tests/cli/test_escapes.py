"""What commands print of files and requests does not command a terminal; JSON holds the same values."""

import io
import json
from pathlib import Path

import pytest

from croloss_serving.common.terminal import printable
from lightning_croloss.cli import main

pl = pytest.importorskip("polars", reason="tables need polars and pyarrow")
MODEL = Path(__file__).parents[1] / "formats" / "version_1" / "zoo" / "small" / "youtube_dnn"
EVIL = "\x1b[2J\x9b31m\u202e\x7fÜ"


def test_the_users_of_a_request(capsys, monkeypatch):
    line = json.dumps({"user": EVIL, "history": ["i01", EVIL]})
    monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))
    main(["recommend", "--model", str(MODEL), "--n", "3"])
    found = capsys.readouterr()
    assert printable(found.out, kept="\n") == found.out
    assert json.loads(found.out)["user"] == EVIL
    assert printable(found.err, kept="\n") == found.err


def test_files_hold_the_exact_text(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"user": EVIL, "history": ["i01"]}) + "\n"))
    main(["recommend", "--model", str(MODEL), "--n", "3", "--output", str(tmp_path / "found.parquet")])
    assert pl.read_parquet(tmp_path / "found.parquet")["user"].to_list() == [EVIL] * 3


@pytest.fixture
def inspected(tmp_path, monkeypatch, capsys):
    """Return a function that inspects a table of an evil name."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"1,{number},{number}\n" for number in range(9))
    name = EVIL.replace("[", "") + ".csv"  # brackets would make it a pattern
    (tmp_path / name).write_text(f"user_id,item_id,timestamp\n{rows}", "utf-8")
    (tmp_path / "run.yaml").write_text(
        "data: {class_path: TableDataModule, init_args: {min_user_interactions: 1, interactions: "
        + json.dumps(name)
        + "}}\n"
    )

    def run(*options):
        capsys.readouterr()
        main(["data", "inspect", "--config", "run.yaml", *options])
        return name, capsys.readouterr().out

    return run


def test_the_name_of_a_table(inspected):
    name, out = inspected()
    assert printable(out, kept="\n") == out
    assert printable(name) in out
    name, out = inspected("--json")
    assert printable(out, kept="\n") == out
    assert name in json.loads(out)["preparation"]["sources"][0]
