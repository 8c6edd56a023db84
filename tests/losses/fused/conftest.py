"""Fixtures of the fused path's tests."""

import pytest

from lightning_croloss.losses.fused.plan import Tiling
from tests.losses.fused.cases import SMALL_TILES


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(Tiling, "choose", lambda users, candidates: SMALL_TILES)
