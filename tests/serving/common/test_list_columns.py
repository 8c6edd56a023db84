"""Floats in lists that pandas wrote for integers."""

from __future__ import annotations

import pytest

from croloss_serving.common.list_columns import exact_below, whole

pa = pytest.importorskip("pyarrow", reason="needs the extra [tables]")


@pytest.mark.parametrize(("kind", "bits"), [(pa.float16(), 11), (pa.float32(), 24), (pa.float64(), 53)])
def test_a_float_that_may_stand_for_several_integers_is_none(kind: pa.DataType, bits: int) -> None:
    below = exact_below(kind)
    last, first = 2.0**bits - 1, 2.0**bits
    stored = pa.array([last, last + 1, last + 2]).cast(kind, safe=False).to_pylist()
    assert stored[1] == stored[2]  # what follows is no longer told apart
    assert whole(last, below) == last
    assert isinstance(whole(last, below), int)
    assert isinstance(whole(first, below), float)
    assert isinstance(whole(-first, below), float)


def test_what_is_no_whole_float_stays() -> None:
    assert exact_below(pa.int64()) == exact_below(pa.string()) == 0
    for value in ("1.0", None, 1.5, float("nan"), float("inf"), 7):
        assert whole(value, 2.0**53) is value
