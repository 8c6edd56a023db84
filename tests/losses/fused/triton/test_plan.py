"""How the score matrix is cut for the kernels in Triton, and which pairs they are told to ignore."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.common.triton_grid import padded_width, parts_of
from lightning_croloss.losses.batches.metadata import BatchMetadata
from lightning_croloss.losses.fused.triton import plan
from lightning_croloss.losses.fused.triton.layout import CUTS, LARGEST_WIDTH, Cut, Layout
from lightning_croloss.losses.fused.triton.plan import IgnoredPairs


@given(several=st.integers(1, 600), steps=st.integers(1, 10**6), programs=st.integers(1, 600))
def test_no_part_is_empty_and_all_steps_are_there(several, steps, programs):
    parts, of_part = parts_of(several, steps, programs)
    assert (parts - 1) * of_part < steps <= parts * of_part
    assert parts == 1 or several * parts <= programs


@pytest.mark.parametrize("dtype", CUTS, ids=str)
def test_every_width_has_a_cut(dtype):
    for width in range(1, LARGEST_WIDTH + 1):
        padded = padded_width(width)
        assert padded == max(16, padded)
        assert width <= padded < max(17, 2 * width)
        layout = Layout.choose(width, dtype, torch.device("cpu"))
        for cut in (layout.sweep, layout.gradient):
            assert all(size >= 16 and size & (size - 1) == 0 for size in cut[:2])


@pytest.mark.parametrize("cut", [Cut(16, 16, 4, 1), Cut(16, 32, 4, 1), Cut(32, 16, 4, 1), Cut(64, 64, 4, 1)])
def test_listed_pairs_are_in_their_tiles(cut, monkeypatch):
    monkeypatch.setattr(plan, "MOST_MASKED", 0)
    rows, columns = 37, 75
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 60, (columns,), generator=generator)
    excluded = torch.randint(0, 60, (rows, 6), generator=generator)
    pairs = IgnoredPairs.of(BatchMetadata(candidate_ids=ids, excluded_ids=excluded), rows, columns)
    listed = pairs.by_tile(cut)
    tiles = -(-columns // cut.columns)
    found = torch.zeros(rows, columns, dtype=torch.bool)
    for key, (start, stop) in enumerate(zip(listed.starts[:-1], listed.starts[1:], strict=True)):
        for place in listed.places[start:stop].tolist():
            row = key // tiles * cut.rows + place // cut.columns
            column = key % tiles * cut.columns + place % cut.columns
            found[row, column] = True
    expected = (ids.unsqueeze(1) == excluded.unsqueeze(1)).any(-1) & (ids != 0)
    assert torch.equal(found, expected)
    monkeypatch.setattr(plan, "MOST_MASKED", rows * columns)
    masked = IgnoredPairs.of(BatchMetadata(candidate_ids=ids, excluded_ids=excluded), rows, columns)
    assert masked.by_tile(cut) is None
    assert torch.equal(masked.mask.bool() & (ids != 0), expected)


def test_nothing_is_listed_without_hits(monkeypatch):
    monkeypatch.setattr(plan, "MOST_MASKED", 0)
    ids = torch.arange(1, 9)
    assert IgnoredPairs.of(BatchMetadata(), 3, 8).by_tile(Cut(16, 16, 4, 1)) is None
    excluded = torch.full((3, 2), 20)
    pairs = IgnoredPairs.of(BatchMetadata(candidate_ids=ids, excluded_ids=excluded), 3, 8)
    assert pairs.by_tile(Cut(16, 16, 4, 1)) is None
    assert pairs.mask is None
    assert pairs.target_ids is None
