"""What many devices would send follows from counts of few; the measurements in shards run, in small."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import exchanged_rows, partitions, ray_users, shards, simulation
from benchmarks.scale.sharded_step import run

volumes = st.floats(0, 1e9)


@given(volumes, volumes, st.sampled_from([(2, 4), (2, 8), (3, 5)]), st.integers(2, 100))
def test_two_counts_tell_every_other(
    shared: float, told: float, counted: tuple[int, int], processes: int
) -> None:
    volume = simulation.Volume(shared, told)
    found = simulation.Volume.of([(number, volume.sent(number)) for number in counted])
    assert found.sent(processes) == pytest.approx(volume.sent(processes), rel=1e-6, abs=1e-3)
    assert volume.sent(1) == 0


def test_what_is_simulated_grows_as_it_must() -> None:
    rows = simulation.simulated(
        {"sampled": simulation.Volume(1e6, 0), "whole": simulation.Volume(0, 1e5)}, 256, 64
    )
    found = {(row["kind"], row["items"], row["devices"]): row for row in rows}
    assert len(found) == len(rows) == 8
    few, many = found["sampled", 10**8, 8], found["sampled", 10**9, 64]
    assert many["memory_gb"] == pytest.approx(few["memory_gb"] * 10 / 8)
    assert few["memory_gb"] == pytest.approx((3 * 64 * 4 + 8) * 1e8 / 8 / 1e9)
    assert few["sent_mb"] == pytest.approx(7 / 8)
    assert few["ms"]["10 Gbit/s"] == pytest.approx(1000 * 7 / 8 * 1e6 / 1.25e9)
    assert found["whole", 10**9, 64]["sent_mb"] == pytest.approx(6.3)
    assert found["whole", 10**9, 64]["tflop"] == pytest.approx(6 * 256 * 64 * 1e9 / 1e12)
    counted = {"sampled": {"sent": [(2, 1.0), (4, 2.0), (8, 3.0)], "expected": 3.0, "volume": [1.0, 2.0]}}
    text = simulation.written({"batch": 256, "dim": 64, "counted": counted, "rows": rows}, {"cores": 2})
    assert "1e8" in text
    assert "1e9" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sampled", "whole"])
def test_a_step_in_shards_is_measured(kind: str) -> None:
    one, other = run(kind, 2, items=301, dim=8, batch=4, steps=1, first=1)
    # the rows are 302 of 8 numbers, the moments as many, and the last steps or a dense gradient
    numbers = 302 * (3 * 8 * 4 + (8 if kind == "sampled" else 8 * 4)) + 2 * 4
    assert (one["state_mib"] + other["state_mib"]) * 2**20 == pytest.approx(numbers)
    assert one["traffic"]["all_to_all_single"] > 0
    assert one["traffic"]["all_reduce"] >= (8 * 8 + 8) * 4
    assert min(one["wall_ms"], one["process_ms"], one["peak_mib"]) > 0


def test_tables_are_written() -> None:
    settings = {"processes": 2, "items": 10, "dim": 4, "batch": 3}
    row = {"total_mib": 8.0, "peak_mib": 9.0, "few_mib": 5.0, "beyond_mib": 4.0, "share": 1.0}
    row |= {"wall_ms": 1.0, "process_ms": 1.0, "traffic": {"all_gather": 2048, "calls": 3}}
    rows = [{"settings": {"kind": kind, **settings}, **row} for kind in ("sampled", "whole")]
    assert "| sampled | 2 | 4 | 8 MiB | 4 MiB | 1.00 | 1 | 1 | 2 | 3 |" in shards.written(rows, {"cores": 2})
    sides = {"rows in use": {"bytes": 2**20, "ms": 1.0}, "whole table": {"bytes": 2**21, "ms": 2.0}}
    exchanged = {"processes": 2, "rows": 10, "dim": 4, "used": 3, "largest difference": 0.0, **sides}
    assert "| 2 | 1.0 MiB | 1 ms | 2.0 MiB | 2 ms | 0 |" in exchanged_rows.written([exchanged], {"cores": 2})


def test_users_that_are_missing_or_come_twice_are_seen(tmp_path: Path) -> None:
    ray_users.write_users(tmp_path / "users", 20, 2000, 3)
    assert [len(parquet.read_table(path)) for path in sorted((tmp_path / "users").iterdir())] == [7, 7, 6]
    for name, users in (("whole", ["u0", "u1", "u2"]), ("lists", ["u0", "u1", "u1"])):
        (tmp_path / name).mkdir()
        rows = {"user": [user for user in users for _ in range(2)], "rank": [1, 2] * 3, "item": ["i"] * 6}
        parquet.write_table(pa.table(rows), tmp_path / name / "part-0.parquet")
    whole, lists = tmp_path / "whole", tmp_path / "lists"
    assert ray_users.check(whole, whole, 3) == {"missing": 0, "twice": 0, "differing_files": 0}
    assert ray_users.check(whole, lists, 3) == {"missing": 1, "twice": 1, "differing_files": 1}


@pytest.mark.slow
def test_rows_are_exchanged_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--rows=500", "--dim=4", "--used=30", "--processes", "2", f"--output={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["exchanged_rows", *words])
    exchanged_rows.main()
    (row,) = json.loads((tmp_path / "exchanged_rows.json").read_text())["rows"]
    assert row["whole table"]["bytes"] == 500 * 4 * 4 + 8  # and what each says of its rows
    assert 8 < row["rows in use"]["bytes"] <= 30 * (4 * 4 + 8) + 8
    assert row["largest difference"] < 1e-6
    assert "rows in use" in capsys.readouterr().out


@pytest.mark.slow
def test_a_table_in_partitions_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["partitions", "--events=6000", "--items=50", "--processes", "1", "2", "--partitions=4"]
    monkeypatch.setattr(sys, "argv", [*words, f"--output={tmp_path}"])
    monkeypatch.setattr(partitions, "READINGS", ("whole table", "partitions, first time"))
    partitions.main()
    record = json.loads((tmp_path / "partitions.json").read_text())
    whole, _, one, two = record["rows"]
    assert one["events"] == whole["events"]
    assert sum(two["events"]) == whole["events"][0]
    assert one["rows"] == two["rows"] == whole["rows"]
    assert min(two["peak_mib"], two["seconds"], record["division"]["peak_mib"]) > 0
    assert "partitions, first time" in (tmp_path / "partitions.md").read_text()
