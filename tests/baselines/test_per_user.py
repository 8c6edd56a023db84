"""What the baselines reach for each user, against what they reach on average, and within a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from tests.data_for_tests import ClusteredData

pytest.importorskip("scipy", reason="item kNN needs scipy")

from lightning_croloss.baselines.measuring import measure_baselines
from lightning_croloss.baselines.per_user import Measured, measure_per_user


def measured(
    most: int | None = None, seconds: float = 1e9, clock: Callable[[], float] = lambda: 0.0
) -> list[Measured]:
    data = ClusteredData()
    data.max_eval_users = most

    def recall(values: dict[str, Tensor]) -> Tensor:
        return values["recall@10"]

    return measure_per_user(data, recall, [10], True, seconds, clock)


def ticking(step: float) -> Callable[[], float]:
    """Return a clock that goes on by so many seconds whenever someone looks."""
    ticks: Iterator[int] = iter(range(10**9))
    return lambda: next(ticks) * step


def test_their_means_are_those_of_the_whole_test() -> None:
    data = ClusteredData()
    whole = measure_baselines(data, [10], True, 10)
    popular, knn = measured()
    assert popular.values is not None
    assert knn.values is not None
    assert float(popular.values.mean()) == pytest.approx(whole["popularity"]["test"]["recall@10"], abs=1e-6)
    assert len(popular.values) == len(knn.values) == len(data.rows.test)
    reached = {
        tuple(setting.values()): value
        for setting, value in [(whole["item_knn"]["setting"], whole["item_knn"]["test"]["recall@10"])]
    }
    if tuple(knn.setting.values()) in reached:  # both choose by validation, of equal settings another one
        assert float(knn.values.mean()) == pytest.approx(reached[tuple(knn.setting.values())], abs=1e-6)


def test_the_rows_that_models_measure_alone() -> None:
    everyone, some = measured(), measured(most=13)
    for whole, part in zip(everyone, some, strict=True):
        assert whole.values is not None
        assert part.values is not None
        chosen = torch.arange(13) * len(whole.values) // 13
        torch.testing.assert_close(part.values, whole.values[chosen])


def test_without_time_there_is_popularity_alone() -> None:
    popular, knn = measured(seconds=0.0, clock=ticking(1.0))
    assert popular.values is not None
    assert knn.values is None
    assert knn.why


def test_without_memory_for_the_neighbours_there_is_popularity_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_croloss.baselines.item_knn.MOST", 10)
    popular, knn = measured()
    assert popular.values is not None
    assert knn.values is None
    assert knn.why.endswith("would take too much memory")


def test_with_little_time_fewer_settings_are_tried() -> None:
    _, knn = measured(seconds=15.0, clock=ticking(1.0))
    assert knn.setting == {"neighbours": 100, "recent": 1_000}  # the first
    assert knn.values is not None
