"""The partners of ids that come in pairs, against a loop over the pairs."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.common.known_partners import known_partners

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 5)), max_size=12)


@given(PAIRS, st.data())
def test_partners_are_those_of_all_pairs_of_an_id(pairs, data):
    own = data.draw(st.lists(st.sampled_from([one for one, _ in pairs]), max_size=8)) if pairs else []
    ids, partners = (torch.tensor([pair[side] for pair in pairs], dtype=torch.long) for side in (0, 1))
    lists = known_partners(torch.tensor(own, dtype=torch.long), ids, partners)
    found = [sorted(item for item in row if item) for row in lists.padded().tolist()]
    assert found == [sorted(partner for one, partner in pairs if one == each) for each in own]


def test_a_device_is_asked_for_nothing():
    ids = torch.zeros(4, dtype=torch.long, device="meta")
    lists = known_partners(ids, ids, ids)
    assert (len(lists), lists.values.shape, lists.offsets.shape) == (4, (4,), (5,))
