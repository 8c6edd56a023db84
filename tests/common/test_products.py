"""The products of matrices and what chooses among them."""

from __future__ import annotations

import pytest
import torch

from lightning_croloss.common import products
from lightning_croloss.common.products import fast_product, multiplies_fast, product


@pytest.mark.parametrize("kernel", [products._linear_pointwise, products._linear_of_layouts])
@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 7, 100), (64, 64, 3), (200, 32, 65)])
def test_a_kernel_multiplies_in_float32(kernel, shape) -> None:
    rows, width, columns = shape
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(rows, width, generator=generator), torch.randn(columns, width, generator=generator)
    exact = a.double() @ b.double().T
    for left, right in ((a, b), (a.T.contiguous().T, b.T.contiguous().T)):  # views of transposes, too
        found = kernel(left, right)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-5)


def test_other_types_and_small_matrices_keep_the_operator() -> None:
    a = torch.randn(40, 8)
    assert fast_product(a, 31) is None
    assert fast_product(a.double(), 40) is None
    assert fast_product(a.bfloat16(), 40) is None
    assert fast_product(a.to("meta"), 40) is None


def test_a_version_without_the_operators_keeps_its_own(monkeypatch) -> None:
    def gone(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        raise AttributeError("no such operator")

    monkeypatch.setattr(products, "_linear_pointwise", gone)
    monkeypatch.setattr(products, "_linear_of_layouts", gone)
    products._onednn.cache_clear()
    try:
        a, b = torch.randn(40, 8), torch.randn(50, 8)
        assert torch.equal(product(a, b, 40), a @ b.T)
    finally:
        products._onednn.cache_clear()


def test_autocast_does_not_reach_inside() -> None:
    a, b = torch.randn(40, 8), torch.randn(50, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(a, b, 40).dtype == torch.float32


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("avx", [False, True])
def test_bfloat16_is_fast_with_either_instruction(monkeypatch, avx, amx) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    multiplies_fast.cache_clear()
    try:
        for dtype in (torch.float16, torch.float32, torch.float64):
            assert not multiplies_fast(dtype)
        assert multiplies_fast(torch.bfloat16) == (avx or amx)
    finally:
        multiplies_fast.cache_clear()
