"""LeaveOneOut against a naive loop."""

from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data import LeaveOneOut
from tests.data.splits.cases import check_common, events, pairs


@given(st.lists(st.integers(1, 7), min_size=1, max_size=12))
def test_leave_one_out_equals_a_loop(lengths):
    data = events([4, *lengths])
    rows = LeaveOneOut().split(data)
    train, valid, test, seen = [], [], [], []
    position = 0
    for length in [4, *lengths]:
        targets = list(range(position + 1, position + length))
        if len(targets) >= 3:
            valid.append(targets[-2])
        if len(targets) >= 2:
            test.append(targets[-1])
        mine = [t for t in targets if t not in valid and t not in test]
        train += mine
        seen += [position, *mine]
        position += length
    assert pairs(rows.train) == [(t, t + 1) for t in train]
    assert pairs(rows.valid) == [(t, t + 1) for t in valid]
    assert pairs(rows.test) == [(t, t + 1) for t in test]
    assert rows.training_events.nonzero().squeeze(1).tolist() == seen
    assert not rows.unseen_users
    check_common(data, rows)
