"""The script for a GPU: its dry run on the CPU, what a hang or a lost device leaves, and its tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.rows import failures_of, identity, rows_of
from benchmarks.gpu import cuts
from benchmarks.gpu.protocol import SECTIONS, runs, work
from benchmarks.gpu.report import report
from benchmarks.gpu.summary import is_clean, summarize
from benchmarks.gpu.timing import covered, typical_seconds

ROOT = Path(__file__).parents[2]
#: Hides what a machine with a GPU may lack.
WITHOUT = """
import importlib.abc, importlib.metadata, sys
HIDDEN = {"jsonargparse", "polars", "recbole", "faiss"}
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Finder())
known = importlib.metadata.distribution
def distribution(name):
    if name.lower() in HIDDEN:
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)
importlib.metadata.distribution = distribution
importlib.metadata.version = lambda name: distribution(name).version
"""


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_dry_run_without_what_a_gpu_machine_may_lack(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    out = tmp_path / "out"
    ended = run(
        ["bash", "benchmarks/gpu/run.sh", "all", "samplers", "step"],
        DEVICE="cpu",
        OUT=str(out),
        PYTHONPATH=str(tmp_path),
    )
    log = (out / "log.txt").read_text()
    assert ended.returncode == 0, ended.stdout + ended.stderr + log
    found = json.loads((out / "summary.json").read_text())
    assert [(part["part"], part["status"]) for part in found["parts"]] == [
        ("environment", 0),
        ("samplers", 0),
        ("step", 0),
    ]
    assert found["environment"]["device"] == "cpu"
    assert not {"jsonargparse", "polars"} & found["environment"].keys()
    assert found["tests"].keys() == {"passed"}
    assert found["tests"]["passed"] >= 15
    assert [row["settings"] for row in found["speed"]] == runs("step", "cpu")
    text = (out / "summary.md").read_text()
    assert "## A training step" in text
    assert text == ended.stdout[ended.stdout.index("# On a device") :].rstrip("\n") + "\n"


def test_an_unknown_mode_is_refused() -> None:
    ended = run(["bash", "benchmarks/gpu/run.sh", "everything"])
    assert ended.returncode == 2
    assert "correctness|speed|all" in ended.stderr


TESTS = """
import os, pytest
pytestmark = pytest.mark.gpu
def test_passes(): pass
def test_fails(): assert 1 == 2, "a | b"
def test_dies(): os._exit(3)
def test_loses_the_device(): raise RuntimeError("CUDA error: an illegal memory access was encountered")
def test_after_all(): pass
"""


@pytest.mark.slow
def test_a_record_goes_on_behind_a_crash_and_a_lost_device(tmp_path: Path) -> None:
    (tmp_path / "test_made_up.py").write_text(TESTS)
    record, done = tmp_path / "correctness.jsonl", tmp_path / "done"
    statuses = []
    for _ in range(3):
        assert not done.exists()
        command = [sys.executable, "-m", "pytest", "-p", "tests.gpu.record", "-p", "no:cacheprovider"]
        ended = run(
            [*command, "-c", "pyproject.toml", "--rootdir", str(tmp_path), str(tmp_path)],
            CROLOSS_TEST_RECORD=str(record),
            CROLOSS_TEST_DONE=str(done),
            PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "serving")]),
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        )
        statuses.append(ended.returncode)
    assert statuses == [3, 70, 0]
    assert done.exists()
    outcomes = {row["settings"]["test"].split("::")[1]: row["outcome"] for row in rows_of(record).values()}
    assert outcomes == {"test_passes": "passed", "test_dies": "started", "test_after_all": "passed"}
    errors = {row["settings"]["test"].split("::")[1]: row["error"] for row in failures_of(record).values()}
    assert errors.keys() == {"test_fails", "test_loses_the_device"}
    assert errors["test_fails"].startswith("AssertionError: a | b")

    (tmp_path / "parts.jsonl").write_text(
        '{"part": "made up", "status": 124, "seconds": 9, "limit": 9}\n'
        '{"part": "next", "status": -1, "seconds": 0, "limit": 0}\n'
    )
    assert not is_clean(summarize(tmp_path, "cpu"))
    text = (tmp_path / "summary.md").read_text()
    assert "| made up | stopped at its limit of 9 s | 9 s |" in text
    assert "| next | no time was left | 0 s |" in text
    assert "Tests of `tests/gpu`: 2 failed, 1 hung or died, 2 passed." in text
    assert "::test_dies` | hung or died |" in text
    assert r"AssertionError: a \| b" in text


@pytest.mark.parametrize("section", [section for section in SECTIONS if section != "step"])
def test_every_run_in_small(section: str) -> None:
    for settings in runs(section, "cpu"):
        if settings.get("side") == "compiled":
            continue  # of the same function as plain, and slow to start
        row = json.loads(json.dumps(work(settings)))
        assert next(iter(row.values())) > 0.0
        assert row["MiB"] is None  # counted on GPUs only


def made_up(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a GPU would give it."""
    if settings["section"] == "loss":
        factor = {"products": 1.0, "triton": 1.5, "portable": 4.5, "plain": 6.0, "compiled": 3.0}[
            settings["side"]
        ]
        return {"settings": settings, "ms": factor, "MiB": 10 * factor}
    if settings["section"] == "step":
        return {"settings": settings, **({"busy ms": 8.0} if settings["profiled"] else {"ms": 10.0})}
    return {"settings": settings, "s": 6.0 if "top-k" in settings["side"] else 2.0, "MiB": 1.0, "recall": 0.5}


def test_tables_of_a_whole_run_on_a_gpu() -> None:
    asked = [settings for section in SECTIONS for settings in runs(section, "cuda")]
    assert len({identity(settings) for settings in asked}) == len(asked)
    rows = {identity(settings): made_up(settings) for settings in asked}
    text = report(rows, {}, "cuda")
    begin = "| CROLoss | 4096 | 100000 | 64 | bfloat16 |"
    assert f"{begin} 1.5 | 4.5 | 6 | 3 | 1 | 3.00 | 4.00 | 2.00 | 1.50 | 15 | 45 | 60 |" in text
    begin = "| CROLoss | 4096 | 1000000 | 64 | bfloat16 |"
    assert f"{begin} 1.5 | 4.5 | – | – | 1 | 3.00 | – | – | 1.50 | 15 | 45 | – |" in text
    assert "| SASRec | bf16-mixed | 1024 | 1000000 | 8192 | 10 | 8 | 20% |" in text
    assert "| 100000 | 1000000 | 64 | target_ranks | 2 | 3.00 | 1 | 0.5000 |" in text
    assert "have no row" not in text
    small = sum(len(runs(section, "cpu")) for section in SECTIONS)
    assert report(rows, {}, "cpu").startswith(f"{small} of {small} runs have no row")


def test_tables_of_a_part_of_a_run() -> None:
    """What failed or never ran is missing from its cells, and said."""
    loss = runs("loss", "cuda")
    fused = next(settings for settings in loss if settings["side"] == "triton")
    plain = next(settings for settings in loss if settings["side"] == "plain")
    failed = {"settings": plain, "error": "out of memory", "error_type": "OutOfMemoryError"}
    text = report({identity(fused): made_up(fused)}, {identity(plain): failed}, "cuda")
    begin = "| CROLoss | 4096 | 100000 | 64 | bfloat16 |"
    assert f"{begin} 1.5 | – | – | – | – | – | – | – | – | 15 | – | – |" in text
    assert "OutOfMemoryError | out of memory" in text
    left = sum(len(runs(section, "cuda")) for section in SECTIONS) - 2
    assert f"{left} of {left + 2} runs have no row" in text


def test_covered_time_counts_overlaps_once() -> None:
    assert covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 2.0)]) == 4.0
    assert covered([]) == 0.0


def test_a_typical_time_leaves_out_the_first_calls() -> None:
    calls: list[int] = []
    assert typical_seconds(lambda: calls.append(0) or sum(range(20_000)), "cpu") > 0.0
    assert 5 <= len(calls) <= 52


def test_cuts_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's interpreter computes them, as the device would."""
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton, or the extra dev")
    monkeypatch.setattr(cuts, "CHECKED", (20, 70))
    monkeypatch.setattr(cuts, "COMPILED", {"loss": (4, 20), "ranks": (4, 20)})
    monkeypatch.setattr(cuts, "TIMED", {"loss": (4, 40), "ranks": (4, 40)})
    asked = cuts.runs((16,), "cpu")
    assert len({identity(settings) for settings in asked}) == len(asked)
    rows = []
    for of in ("loss", "ranks"):
        settings = next(each for each in asked if each["of"] == of and each["dtype"] == "float32")
        row = {"settings": settings, **cuts.check(settings), **cuts.work(settings)}
        rows.append(json.loads(json.dumps(row)))
    assert rows[0]["difference"] < 1e-5
    text = cuts.report(rows)
    assert "| loss | 16 | float32 | tf32x3 | backward ms | 64, 32, 4, 2 |" in text
    assert "| ranks | 16 | float32 | tf32x3 | forward ms | 64, 64, 4, 2 |" in text
