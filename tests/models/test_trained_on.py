"""A run goes on with the data it was trained on, and whoever measures on other data is told."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_croloss import RetrievalModel
from lightning_croloss.data import Interactions, LeaveOneOut, PerUserRatio, TableDataModule, UserDisjoint
from lightning_croloss.data.training_record import TrainingRecord
from lightning_croloss.models.metadata import ModelMetadata
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

UNSEEN = UserDisjoint()


class Changed(ClusteredData):
    """The data with other events, in another order, or with less of them.

    Args:
        change: what is other.
        **kwargs: arguments of ``ClusteredData``.
    """

    def __init__(self, change: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.change = change

    def load(self) -> Interactions:
        whole = super().load()
        users, items = whole.users.numpy(), whole.items.numpy().copy()
        if self.change == "tokens":  # the first two items have changed their names
            items = np.where(items == 1, 2, np.where(items == 2, 1, items))
        if self.change == "fewer":
            kept = np.arange(len(users)) % 8 != 5
            users, items = users[kept], items[kept]
        if self.change == "users":  # in another order: those of a cluster are alike in number of events
            items = items.reshape(-1, 8)[::-1].reshape(-1)
        return Interactions.from_ids(users, items, whole.user_vocabulary, whole.item_vocabulary)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "one.ckpt"
    fit(small_model(), Changed(), max_epochs=1).save_checkpoint(path)
    return path


def go_on(data: Any, path: Path) -> None:
    fit(small_model(), data, max_epochs=2, ckpt_path=path)


OTHERS = [
    (
        {"split": UNSEEN},
        r"LeaveOneOut\(.*\), the data has UserDisjoint\(.*seed=",
        True,
    ),
    ({"target_window": 3}, "target_window=1, the data has target_window=3", False),
    (
        {"target_window": 3, "targets_per_history": 2},
        "target_window=1, the data has target_window=3",
        False,
    ),
    ({"change": "tokens"}, "360 events of training, the data has as many, but others", True),
    ({"change": "fewer"}, "360 events of training and 300 targets, the data has 300 and 240", True),
]


@pytest.mark.parametrize(("given", "said", "_"), OTHERS)
def test_a_run_does_not_go_on_with_other_data(
    checkpoint: Path, given: dict[str, Any], said: str, _: bool
) -> None:
    with pytest.raises(ValueError, match=rf"^the checkpoint was trained with {said}.*: go on with the data"):
        go_on(Changed(**given), checkpoint)


@pytest.mark.parametrize(("given", "said", "measured"), OTHERS)
@pytest.mark.parametrize("verb", ["validate", "test"])
def test_measuring_on_other_data_is_said_once(
    checkpoint: Path, given: dict[str, Any], said: str, measured: bool, verb: str
) -> None:
    trainer = quiet_trainer()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure = getattr(trainer, verb)
        measure(small_model(), Changed(**given), ckpt_path=checkpoint, weights_only=True, verbose=False)
    told = [str(each.message) for each in caught if "was trained with" in str(each.message)]
    assert len(told) == measured
    if measured:
        assert told[0].startswith("the model was trained with ")
        assert told[0].endswith(": the targets measured may have been trained on")


def test_a_model_in_memory_is_told_of_likewise(checkpoint: Path) -> None:
    model = RetrievalModel.load_from_checkpoint(checkpoint, weights_only=True)
    with pytest.warns(UserWarning, match="the model was trained with LeaveOneOut"):
        quiet_trainer().test(model, Changed(split=UNSEEN), verbose=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, Changed(split=UNSEEN), max_epochs=1)  # a new training
        quiet_trainer().test(model, Changed(split=UNSEEN), verbose=False)
        quiet_trainer().predict(model, Changed())
    assert not [each for each in caught if "was trained with" in str(each.message)]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"split": LeaveOneOut()},
        {"batch_size": 16, "eval_batch_size": 7},
        {"group_by_length": True, "predict_users": "test", "max_eval_users": 10},
    ],
)
def test_what_is_no_part_of_the_training_data_may_be_another(checkpoint: Path, given: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go_on(Changed(**given), checkpoint)
    assert not [each for each in caught if "trained" in str(each.message)]


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_histories_of_another_length_are_said_and_not_taken_for_the_model_s(
    checkpoint: Path, verb: str
) -> None:
    model = RetrievalModel.load_from_checkpoint(checkpoint, weights_only=True)
    options: dict[str, Any] = {} if verb == "predict" else {"verbose": False}
    said = (
        "trained with max_history=5, the data has max_history=3: its lists are made of as many events as in"
    )
    with pytest.warns(UserWarning, match=said):
        getattr(quiet_trainer(), verb)(model, Changed(max_history=3), **options)
    assert model.metadata.max_history == 5
    with pytest.warns(UserWarning, match=said):
        getattr(quiet_trainer(), verb)(
            small_model(), Changed(max_history=3), ckpt_path=checkpoint, weights_only=True, **options
        )
    fit(model, Changed(max_history=3), max_epochs=1)  # a new training
    assert model.metadata.max_history == 3


def test_a_run_does_not_go_on_with_histories_of_another_length(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="trained with max_history=5, the data has max_history=3: go on"):
        go_on(Changed(max_history=3), checkpoint)


def test_a_run_does_not_go_on_with_other_weights_of_events() -> None:
    counts, items = torch.tensor([0, 2, 1]), torch.tensor([1, 2, 1])

    def record(weights: list[float] | None, items: Tensor | None = items) -> TrainingRecord:
        given = None if weights is None else torch.tensor(weights)
        return TrainingRecord.of(LeaveOneOut(), 1, 1, None, 3, counts, items, given)

    none, some, others = record(None), record([1.0, 2.0, 3.0]), record([1.0, 2.0, 4.0])
    assert some.other_training(none) == "weights of events, the data has no weights of events"
    assert none.other_training(some) == "no weights of events, the data has weights of events"
    assert some.other_training(others) == "weights of events, the data has others"
    assert some.other_training(record([1.0, 2.0, 3.0])) is None
    assert some.other_training(record([1.0, 2.0, 3.0], None)) is None  # of which no process has all
    assert none.other_training(record([1.0, 2.0, 3.0], None)) is None
    kept = some.to_plain()
    del kept["weights"]  # as earlier releases kept it
    then = TrainingRecord.from_plain(kept)
    assert then is not None
    assert then.other_training(others) is None


def test_another_order_of_users_is_said(checkpoint: Path) -> None:
    with pytest.warns(UserWarning, match="in another order: the run goes on with them, but not as it would"):
        go_on(Changed(change="users"), checkpoint)


def test_a_checkpoint_without_the_record_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["lightning_croloss"]["trained_on"]
    torch.save(content, tmp_path / "old.ckpt")
    again = fit(small_model(), Changed(split=UNSEEN), max_epochs=2, ckpt_path=tmp_path / "old.ckpt")
    again.save_checkpoint(tmp_path / "new.ckpt")
    kept = torch.load(tmp_path / "new.ckpt", weights_only=True)["lightning_croloss"]["trained_on"]
    assert kept == Changed(split=UNSEEN).training_record.to_plain()


@pytest.mark.parametrize(
    "damage",
    [
        {"split": "LeaveOneOut"},
        {"split": {"class_path": 3}},
        {"split": {"class_path": "a.B", "init_args": 3}},
        {"rows": -1},
        {"events": 1.5},
        {"target_window": True},
        {"counts": None},
        {"order": 3},
        {"filters": [3]},
        {"filters": None},
        {"weights": 3},
    ],
    ids=str,
)
def test_a_damaged_record_is_refused(checkpoint: Path, tmp_path: Path, damage: dict[str, Any]) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["lightning_croloss"]["trained_on"] |= damage
    torch.save(content, tmp_path / "damaged.ckpt")
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        RetrievalModel.load_from_checkpoint(tmp_path / "damaged.ckpt", weights_only=True)


def test_an_argument_that_a_split_has_since_is_no_difference() -> None:
    kept = ClusteredData(split=UNSEEN).training_record.to_plain()
    kept["split"]["init_args"].popitem()
    then = TrainingRecord.from_plain(kept)
    assert then is not None
    assert then.other_training(ClusteredData(split=UNSEEN).training_record) is None
    other = ClusteredData(split=PerUserRatio()).training_record
    assert "PerUserRatio" in str(then.other_training(other))


def test_the_filters_that_differ_are_named(tmp_path: Path) -> None:
    pytest.importorskip("polars", reason="needs the extra [tables]")
    lines = [
        f"u{user},i{(user * 3 + at * at) % 7},{at},{1 + (user + at) % 5}"
        for user in range(9)
        for at in range(7)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["user_id,item_id,timestamp,rating", *lines]))

    def record(**given: Any) -> TrainingRecord:
        return TableDataModule(str(tmp_path / "t.csv"), **given).training_record

    metadata = ModelMetadata()
    metadata.trained_on = record()
    filtered = TableDataModule(str(tmp_path / "t.csv"), value_column="rating", min_value=2)
    with pytest.raises(
        ValueError, match=r"no filters of events, the data has the filters of events \[events"
    ):
        metadata.go_on_with(filtered)
    assert record() == record(batch_size=7, max_history=3)
