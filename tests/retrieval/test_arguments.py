"""What is no vector and no number of scores is told before anything is computed, in shards too."""

import math

import numpy as np
import pytest
import torch

from lightning_croloss.retrieval import target_ranks, top_items
from lightning_croloss.retrieval.sharded import ItemShards
from lightning_croloss.retrieval.sharded import target_ranks as sharded_ranks
from lightning_croloss.retrieval.sharded import top_items as sharded_top

USERS, ITEMS, TARGETS = torch.randn(2, 1, 4), torch.randn(5, 4), torch.ones(2, 1, dtype=torch.long)
#: Of two processes: what is told before the other is waited for.
SHARDS = ItemShards((5, 5), 0)
CALLS = {
    "top": lambda users, items, **given: top_items(users, items, 2, **given),
    "ranks": lambda users, items, **given: target_ranks(users, items, TARGETS, **given),
    "sharded top": lambda users, items, **given: sharded_top(users, items, 2, SHARDS, **given),
    "sharded ranks": lambda users, items, **given: sharded_ranks(users, items, TARGETS, SHARDS, **given),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        (USERS.numpy(), ITEMS, r"users must be a tensor \(B, K, D\), got ndarray: torch.as_tensor"),
        (USERS, ITEMS.numpy(), r"item_matrix must be a tensor \(N, D\), got ndarray"),
        (USERS.long(), ITEMS, r"users must be floating-point .*, got torch.int64: give users.float\(\)"),
        (USERS, ITEMS.bool(), r"item_matrix must be floating-point .*, got torch.bool"),
        (USERS.cfloat(), ITEMS, "users must be floating-point .*, got torch.complex64"),
        (USERS, ITEMS.to(torch.float8_e4m3fn), "item_matrix must be floating-point .* 16 bits or more"),
        (USERS, ITEMS.to_sparse(), r"item_matrix must be a dense tensor .*: give .to_dense\(\)"),
        (None, ITEMS, "users must be a tensor .*, got NoneType"),
    ],
    ids=["numpy", "numpy items", "integers", "bool", "complex", "eight bits", "sparse", "None"],
)
def test_what_are_no_vectors(call, users, items, message):
    with pytest.raises(TypeError, match=message):
        CALLS[call](users, items)


@pytest.mark.parametrize("call", CALLS)
def test_shapes_and_devices(call):
    with pytest.raises(ValueError, match=r"users must have shape \(B, K, D\), got \(2, 4\)"):
        CALLS[call](USERS[:, 0], ITEMS)
    with pytest.raises(
        ValueError, match=r"item_matrix must have shape \(N, 4\) to match users, got \(5, 3\)"
    ):
        CALLS[call](USERS, ITEMS[:, :3])
    with pytest.raises(ValueError, match="must be on one device, got meta and cpu"):
        CALLS[call](USERS.to("meta"), ITEMS)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", ["9", 1.5, math.nan, True, None, 2.0**24, torch.tensor(3.0)])
def test_tile_elements_are_a_number(call, number):
    with pytest.raises(TypeError, match="tile_elements must be an integer, got"):
        CALLS[call](USERS, ITEMS, tile_elements=number)


@pytest.mark.parametrize("call", CALLS)
def test_tile_elements_are_at_least_one(call):
    with pytest.raises(ValueError, match="tile_elements must be at least 1, got -1"):
        CALLS[call](USERS, ITEMS, tile_elements=-1)


def test_integers_of_numpy_are_numbers():
    assert top_items(USERS, ITEMS, np.int64(2), tile_elements=np.int32(7))[0].shape == (2, 2)
