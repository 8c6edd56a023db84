"""How the score matrix is cut."""

import torch

from lightning_croloss.losses.fused.plan import Tiling


def test_tiling_is_bounded():
    for columns in (1, 5_000, 200_000, 1_000_000):
        for device in ("cpu", "meta"):
            users = torch.empty(1024, 64, device=device)
            tiling = Tiling.choose(users, torch.empty(columns, 64, device="meta"))
            assert not tiling.keeps or tiling.rows * columns <= max(2**27, 64 * columns)
            assert tiling.rows * tiling.width <= 2**24
            assert tiling.keeps or device == "cpu"
            assert tiling.rows >= 32
            assert tiling.width >= 256


def test_large_catalogues_take_two_sweeps_on_a_processor():
    for number, columns, keeps in ((256, 60_000, True), (256, 70_000, False), (16, 1_000_000, True)):
        users, candidates = torch.empty(number, 1), torch.empty(columns, 1)
        assert Tiling.choose(users, candidates).keeps is keeps
        assert Tiling.choose(users.to("meta"), candidates).keeps
