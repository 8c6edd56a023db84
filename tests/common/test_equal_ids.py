"""Ids in groups of equal ones, and sums of what belongs to them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.common import equal_ids
from lightning_croloss.common.equal_ids import EqualIds


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 9))
def test_sums_are_those_of_a_loop(ids, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equal_ids, "_MOST_IN_TURN", most)
        values = torch.randn(len(ids), 3, dtype=torch.float64)
        equal = EqualIds.of(torch.tensor(ids, dtype=torch.long))
        found = equal.sums(values)
    assert equal.ids.tolist() == sorted(ids)
    for number, wanted in zip(equal.ids.tolist(), found, strict=True):
        of_it = [value for value, other in zip(values, ids, strict=True) if other == number]
        torch.testing.assert_close(wanted, torch.stack(of_it).sum(0))


def test_many_of_one_id():
    """As many as the padding of a batch has."""
    ids = torch.cat([torch.zeros(20_000, dtype=torch.long), torch.arange(500)])
    values = torch.rand(len(ids), 2, dtype=torch.float64)
    equal = EqualIds.of(ids)
    found = equal.sums(values)[equal.is_first]
    torch.testing.assert_close(found, torch.zeros(500, 2, dtype=torch.float64).index_add_(0, ids, values))
    assert torch.equal(found, EqualIds.of(ids).sums(values)[equal.is_first])
