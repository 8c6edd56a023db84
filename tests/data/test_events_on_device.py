"""Batches that are gathered where the events are: those of the processor, bit by bit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from croloss_serving.recommend.event_inputs import EventInputs
from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.data import DataRequest, RecBoleDataModule, RetrievalBatch, TableDataModule
from lightning_croloss.data.batch import EventValues
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.interactions import Interactions
from tests.data_for_tests import EventData
from tests.waits import Waits

LOADED = EventData(seed=0).load()
CPU, META = torch.device("cpu"), torch.device("meta")


class There(EventData):
    """Data of one of several processes, whose events lie on a device, which may be the processor itself."""

    def __init__(self, device: torch.device | None, rank: int = 0, processes: int = 1, **fields: Any) -> None:
        super().__init__(batch_size=16, max_history=4, events_on_device=device is not None, **fields)
        strategy = SimpleNamespace(root_device=device or CPU)
        process = {"global_rank": rank, "world_size": processes, "overfit_batches": 0}
        self.trainer: Any = SimpleNamespace(strategy=strategy, **process)

    def load(self) -> Interactions:
        return LOADED

    @property
    def _device_of_events(self) -> torch.device | None:
        return self.trainer.strategy.root_device if self.events_on_device else None


def inputs() -> EventInputs:
    """Return what a model reads of events that reads all there is."""
    data = EventData(seed=0)
    columns = data.interactions.columns
    encodings = tuple(column.learn(data.rows.training_events) for column in columns)
    return EventInputs("numbers", encodings)


INPUTS = inputs()


def parts(batch: RetrievalBatch) -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors of a batch with their names."""
    for name, value in vars(batch).items():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, ItemLists):
            yield from ((f"{name}.{part}", getattr(value, part)) for part in ("values", "offsets", "rows"))
        elif isinstance(value, EventValues):
            columns = [value.times, *value.features]
            yield from ((f"{name}.{number}", part) for number, part in enumerate(columns) if part is not None)


def equal(one: RetrievalBatch, other: RetrievalBatch) -> bool:
    """Tell whether two batches hold the same; NaN is the same as NaN."""
    ours, theirs = dict(parts(one)), dict(parts(other))
    if ours.keys() != theirs.keys() or any(ours[name].dtype != theirs[name].dtype for name in ours):
        return False
    return all(torch.equal(ours[name].nan_to_num(-1.0), theirs[name].nan_to_num(-1.0)) for name in ours)


@st.composite
def cases(draw: st.DrawFn) -> tuple[DataRequest, dict[str, Any]]:
    """Draw what a model asks for, and fields of the data."""
    window = draw(st.integers(1, 3))
    fields = {
        "seed": draw(st.integers(0, 3)),
        "group_by_length": draw(st.booleans()),
        "target_window": window,
        "targets_per_history": draw(st.integers(1, window)),
    }
    request = DataRequest(
        known_positives=draw(st.booleans()),
        first_events=draw(st.booleans()),
        all_positions=draw(st.booleans()),
        events=draw(st.sampled_from([EventInputs(), INPUTS])),
        recounted=True,
    )
    return request, fields


@settings(max_examples=12, derandomize=True, deadline=None)
@given(case=cases(), rank=st.integers(0, 1), processes=st.integers(1, 2), taken=st.integers(1, 3))
def test_the_batches_are_the_same_in_the_same_order(
    case: tuple[DataRequest, dict[str, Any]], rank: int, processes: int, taken: int
) -> None:
    request, fields = case
    loaders = []
    for device in (None, CPU, CPU, META):
        data = There(device, rank % processes, processes, **fields)
        data.prepare_for(request)
        loaders.append(data.train_dataloader())
    plain, there, resumed, elsewhere = loaders
    epochs = [(list(plain), list(there), list(elsewhere)) for _ in range(2)]
    for collated, gathered, moved in epochs:
        assert len(collated) == len(gathered) == len(moved) == len(plain)
        for one, other, third in zip(collated, gathered, moved, strict=True):
            assert equal(one, other)
            shapes = {name: (part.shape, part.dtype) for name, part in parts(one)}
            assert shapes == {name: (part.shape, part.dtype) for name, part in parts(third)}
            assert all(part.device == META for _, part in parts(third))
            counts, expected = third.target_counts, one.to(META).target_counts
            assert counts is not None
            assert expected is not None
            assert (counts.positions, counts.total) == (expected.positions, expected.total)
            assert torch.equal(counts.on_host, expected.on_host)
    begun = iter(there)
    for _ in range(min(taken, len(plain) - 1)):
        next(begun)
    resumed.load_state_dict(there.state_dict())
    rest = list(begun)
    assert all(equal(*pair) for pair in zip(rest, resumed, strict=True))


def test_nothing_but_copies_to_the_device_are_made_there() -> None:
    data = There(META, seed=0, target_window=2, targets_per_history=2)
    data.prepare_for(DataRequest(events=INPUTS, known_positives=True))
    loader = data.train_dataloader()
    with Waits() as waits:
        batches = list(loader)
    assert len(batches) > 1
    assert {what for what, _ in waits.found} <= {"_to_copy from cpu to meta"}  # pinned where it is no test
    with Waits() as waits:
        batches[0].to(META)
    assert waits.found == {}


def test_evaluation_and_a_processor_stay_as_they_are() -> None:
    data = There(META, seed=0)
    assert next(iter(data.val_dataloader())).history.device == CPU
    for field in (False, True):
        data = EventData(seed=0, events_on_device=field)
        data.trainer = There(CPU).trainer
        assert data._device_of_events is None
        data.trainer = There(META).trainer
        assert data._device_of_events == (META if field else None)
        data.trainer = None
        assert data._device_of_events is None


@pytest.mark.parametrize("kind", [TableDataModule, RecBoleDataModule])
def test_it_is_a_field_of_every_data_module(kind: type[RetrievalDataModule]) -> None:
    assert not inspect.signature(kind).parameters["events_on_device"].default
    given = "events.csv" if kind is TableDataModule else "ml-100k"
    assert kind(given, events_on_device=True).events_on_device
