"""The parts that cards and the leaderboard share."""

import pytest

from lightning_croloss.zoo.markdown import named_baseline, ns_of, training_seconds


@pytest.mark.parametrize(
    ("baseline", "setting", "name"),
    [
        ("popularity", {}, "popularity"),
        ("item_knn", {"neighbours": 20, "recent": 1}, "item kNN (20 neighbours of the last event)"),
        ("item_knn", {"neighbours": 100, "recent": 10}, "item kNN (100 neighbours of the last 10)"),
        ("item_knn", {"neighbours": 400, "recent": 1000}, "item kNN (400 neighbours of the whole history)"),
    ],
)
def test_a_baseline_is_named_with_its_setting(baseline, setting, name):
    assert named_baseline(baseline, {"baselines": {baseline: {"setting": setting}}}) == name


def test_the_ns_are_numbers_in_order():
    assert ns_of({"recall@100": 0.3, "ndcg@100": 0.1, "recall@20": 0.2, "mrr@5": 0.1}) == [20, 100]


@pytest.mark.parametrize(
    ("training", "seconds"),
    [
        ({"seconds": 90.0, "threads": 1}, 90.0),  # of an earlier release
        ({"seconds": 90.0, "processor_seconds": 40.0, "threads": 1}, 40.0),  # on a shared machine
        ({"seconds": 90.0, "processor_seconds": 160.0, "threads": 2}, 90.0),
    ],
)
def test_a_training_takes_what_it_takes_alone(training, seconds):
    assert training_seconds(training) == seconds
