"""What is known of ids that count up, and of no others."""

import copy
import gc
import pickle

import torch

from lightning_croloss.common.counting_ids import _made, counting_ids, known_first

CPU = torch.device("cpu")


def test_they_count_up_and_are_known():
    for first, number in ((0, 4), (1, 3), (7, 1), (1, 0)):
        ids = counting_ids(first, number, CPU)
        assert ids.dtype == torch.int64
        assert ids.tolist() == list(range(first, first + number))
        assert known_first(ids) == first
        assert known_first(ids.long()) == first  # the same tensor


def test_no_other_tensor_is_taken_for_them():
    ids = counting_ids(0, 5, CPU)
    ids[3] = 0
    assert known_first(ids) is None
    for other in (copy.deepcopy(ids), pickle.loads(pickle.dumps(ids)), ids.clone(), ids[:], ids.detach()):
        assert known_first(other) is None
    assert known_first(torch.arange(5)) is None
    shorter = counting_ids(0, 5, CPU)
    shorter.resize_(3)
    assert known_first(shorter) is None


def test_nothing_is_kept_of_ids_that_are_gone():
    gc.collect()
    before = len(_made)
    for _ in range(50):
        ids = counting_ids(0, 5, CPU)
        del ids
        assert known_first(torch.tensor([0, 3, 3, 3, 3])) is None  # most likely at the same place
    assert len(_made) == before


def test_changes_that_nobody_counts():
    with torch.inference_mode():
        ids = counting_ids(0, 5, CPU)
        ids[2] = 0
        assert known_first(ids) is None
    assert known_first(ids) is None
