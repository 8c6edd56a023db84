"""What is kept of a preparation: used if it is sound, found out anew if not, and never waited for in vain."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

pl = pytest.importorskip("polars")

from lightning_croloss.data import Interactions, LeaveOneOut, SplitRows  # noqa: E402
from lightning_croloss.data.partitions import prepared as module  # noqa: E402
from lightning_croloss.data.partitions.summary import Summary  # noqa: E402
from tests.data.partitions.tables import partitioned, plain, write_table  # noqa: E402


def summary_of(folder: str) -> Summary:
    """Return the summary of a folder, with which training could begin."""
    table = partitioned(folder).partitions
    assert table is not None
    return module.prepared(table.reader, table.wanted, table._kept)


@pytest.fixture(autouse=True)
def nobody_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError("there is nobody to wait for")

    monkeypatch.setattr(module.time, "sleep", sleep)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return write_table(tmp_path, 3)[1]


def the_kept(folder: str) -> Path:
    """Return the file that is kept, and leave nothing else."""
    summary_of(folder)
    (found,) = Path(folder, "_prepared").iterdir()
    return found


def _scan_of(kept: Path) -> Path:
    return kept.with_name(f".{kept.stem}.scan")


def _scratch_of(kept: Path) -> Path:
    return kept.with_name(f".{kept.stem}.abcdefgh.scan")


def _replaced_by_file(kept: Path) -> None:
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("mine")


def _replaced_by_folder(kept: Path) -> None:
    kept.unlink()
    kept.mkdir()


def _replaced_by_pipe(kept: Path) -> None:
    kept.unlink()
    os.mkfifo(kept)


def _scratch_is(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(kept: Path) -> None:
        for name in (_scan_of, _scratch_of):
            make(name(kept))
        kept.unlink()

    return damage


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_replaced_by_file, "cannot be written"),
        (_replaced_by_folder, "cannot be used, it is no plain file"),
        (_replaced_by_pipe, "cannot be used, it is no plain file"),
        (_scratch_is(lambda path: path.write_text("left")), None),
        (_scratch_is(lambda path: path.symlink_to("..")), None),
        (_scratch_is(lambda path: path.mkdir()), None),
    ],
    ids=["a file for the folder", "a folder", "a pipe", "a file left", "a link left", "a folder left"],
)
@pytest.mark.filterwarnings("ignore")
def test_nothing_in_its_place_stops_a_run(
    folder: str, damage: Callable[[Path], None], said: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    kept = the_kept(folder)
    expected = summary_of(folder).rows
    recwarn.clear()
    damage(kept)
    assert summary_of(folder).rows == expected
    told = [str(warning.message) for warning in recwarn]
    assert (not told) if said is None else any(said in text for text in told)
    assert Path(folder, "_manifest.json").is_file()
    assert not _scratch_of(kept).is_dir()


def from_the_first(position: Tensor) -> Tensor:
    return position >= 0


def from_the_third(position: Tensor) -> Tensor:
    return position >= 2


class Own(LeaveOneOut):
    """A split with an argument that no file can hold, and code that may be edited."""

    chosen = staticmethod(from_the_first)

    def __init__(self, also: Callable[[Tensor], Tensor] = lambda position: position >= 0) -> None:
        super().__init__()
        self.also = also

    def assign(self, interactions: Interactions) -> SplitRows:
        rows, position = super().assign(interactions), interactions.positions
        return replace(
            rows, training_events=rows.training_events & self.chosen(position) & self.also(position)
        )


def test_a_split_of_ones_own_is_applied_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, divided = write_table(tmp_path, 3)
    found = []
    for chosen in (from_the_first, from_the_third):  # as if its code were edited between two runs
        monkeypatch.setattr(Own, "chosen", staticmethod(chosen))
        data, expected = partitioned(divided, split=Own()), plain(whole, split=Own())
        assert torch.equal(data.item_counts, expected.item_counts)
        assert data.training_record == expected.training_record
        found.append(data.item_counts)
    assert not torch.equal(*found)
    assert not Path(divided, "_prepared").exists()
