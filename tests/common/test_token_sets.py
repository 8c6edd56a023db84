"""Sets of tokens whose padded size follows their sum."""

from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.common.token_sets import ALWAYS, TIMES_THE_MEAN, shortened


def test_usual_sets_stay():
    sets = [["a", "b"], [], ["c"], [f"tag{number:02}" for number in range(ALWAYS)]]
    assert shortened(sets) == (sets, 0)
    assert shortened([]) == ([], 0)


def test_one_huge_set_keeps_its_most_common_tokens():
    huge = sorted(f"tag{number:05}" for number in range(5_000))
    sets = [*[["tag00700", "tag04000"]] * 500, huge]
    kept, count = shortened(sets)
    assert count == 1
    assert kept[:-1] == sets[:-1]
    assert len(kept[-1]) < 500
    assert {"tag00700", "tag04000", *huge[:50]} <= set(kept[-1]) <= set(huge)
    assert kept[-1] == sorted(kept[-1])


@given(st.lists(st.sets(st.integers(0, 400).map(str), max_size=120), max_size=20))
def test_padding_is_bounded_by_the_sum(drawn):
    sets = [sorted(tokens) for tokens in drawn]
    kept, count = shortened(sets)
    width = max(map(len, kept), default=0)
    assert width * len(sets) <= max(ALWAYS * len(sets), TIMES_THE_MEAN * sum(map(len, sets)))
    assert count == sum(before != after for before, after in zip(sets, kept, strict=True))
