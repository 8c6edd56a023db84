"""LightGCN and NGCF beside RecBole's own: the committed rows and their table."""

from __future__ import annotations

from benchmarks.common.rows import rows_of
from benchmarks.graph.__main__ import RESULTS
from benchmarks.graph.protocol import runs
from benchmarks.graph.report import report


def test_the_committed_table_is_that_of_the_committed_rows() -> None:
    rows = rows_of(RESULTS / "rows.jsonl")
    assert report(rows) == (RESULTS / "results.md").read_text()


def test_no_model_falls_behind() -> None:
    rows = {
        (row["settings"]["model"], row["settings"]["side"]): row
        for row in rows_of(RESULTS / "rows.jsonl").values()
    }
    assert rows
    for (model, side), row in rows.items():
        if side == "here":
            assert row["test"] >= 0.95 * rows[model, "RecBole"]["test"]


def test_every_model_runs_on_both_sides_and_a_side_alone_is_no_line() -> None:
    assert {run["side"] for run in runs()} == {"RecBole", "here"}
    rows = {
        str(number): {"settings": run, "valid": 0.2, "test": 0.25 - 0.01 * number, "seconds": 10 * number}
        for number, run in enumerate(runs())
    }
    lines = report(rows).splitlines()
    assert lines[-2:] == [
        "| LightGCN | 0.2500 | 0.2400 | 0.96 |",
        "| NGCF | 0.2300 | 0.2200 | 0.96 |",
    ]
    del rows["3"]
    assert report(rows).splitlines() == lines[:-1]
