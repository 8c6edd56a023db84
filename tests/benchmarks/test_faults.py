"""The checks of benchmarks.faults find what they are there for."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks.faults.checks import difference, faults_of_folder, faults_of_run, leftovers
from benchmarks.faults.jobs import LAST, Job
from croloss_serving.common.manifest import Format

KIND = Format("shop window", 1, "a shop window")


def run(folder: Path, value: float = 1.0) -> Path:
    """Write what a run leaves."""
    (folder / LAST).parent.mkdir(parents=True)
    content = {"state_dict": {"w": torch.full((999,), value)}, "optimizer_states": [{"lr": [1]}]}
    torch.save({**content, "epoch": 1, "global_step": 9}, folder / LAST)
    (folder / "metrics.csv").write_text("a,b\n1,2\n")
    (folder / "config.yaml").write_text("a: 1\n")
    return folder


def flip(path: Path) -> None:
    """Change one byte of the weights."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.file_size // 2] ^= 1
    path.write_bytes(content)


def test_a_whole_run_has_no_fault(tmp_path: Path) -> None:
    assert faults_of_run(run(tmp_path / "one")) == []
    assert difference(tmp_path / "one", run(tmp_path / "two")) == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.csv", "a,b\n1,2\n1"),
        ("metrics.csv", "a,b\n1\n"),
        ("metrics.csv", ""),
        ("config.yaml", ""),
        ("test_results.json", "{"),
        (LAST.as_posix(), "half"),
        (LAST.as_posix(), None),
    ],
)
def test_a_half_written_file_is_found(tmp_path: Path, name: str, content: str | None) -> None:
    run(tmp_path)
    if content is None:
        flip(tmp_path / name)
    else:
        (tmp_path / name).write_text(content)
    (fault,) = faults_of_run(tmp_path)
    assert fault.startswith(f"{Path(name).name} cannot be read")


def test_a_difference_and_leftovers_are_found(tmp_path: Path) -> None:
    differing = difference(run(tmp_path / "one"), run(tmp_path / "two", value=1.0 + 1e-7))
    assert differing == ["state_dict is not that of the uninterrupted run"]
    (tmp_path / ".model.0123456789abcdef.new").mkdir()
    assert leftovers(tmp_path) == [".model.0123456789abcdef.new was left"]


def test_a_folder_that_is_cut_off_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "model"
    folder.mkdir(parents=True)
    (folder / "w").write_text("whole")
    KIND.write(folder, {}, ["w"])
    assert faults_of_folder(tmp_path, KIND) == []
    (folder / "w").write_text("half")
    (fault,) = faults_of_folder(tmp_path, KIND)
    assert "cut off or changed" in fault


@pytest.mark.parametrize(("code", "status"), [(0, 0), (3, 3), (None, 143)])
def test_the_status_of_a_job_is_that_of_a_shell(tmp_path: Path, code: int | None, status: int) -> None:
    ready = tmp_path / "ready"

    def work() -> None:
        ready.touch()
        while code is None:
            pass
        raise SystemExit(code)

    job = Job(work, tmp_path / "here", tmp_path / "temporary")
    job.wait(ready.exists)
    if code is None:
        job.send(15)
    assert job.wait() == status
