"""Training rows grouped by length: each once, in batches of one width, in an order that can be taken up."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss import RecBoleDataModule, TableDataModule
from lightning_croloss.data import BatchLoader, DataRequest, Interactions, SequenceDataset, TargetRows
from lightning_croloss.data.grouping import grouped_by_width
from tests.data.test_loader import every_step, fit, flat
from tests.data_for_tests import ClusteredData

ROWS = 101


def dataset_of(num_rows=ROWS):
    """One row of each user, with a history of 1 to 20 events."""
    lengths = np.random.default_rng(0).integers(1, 21, num_rows)
    users = np.repeat(np.arange(num_rows), lengths + 1)
    data = Interactions.from_columns(users, np.arange(len(users)))
    chosen = torch.zeros(len(data), dtype=torch.bool)
    chosen[data.user_offsets[2:] - 1] = True  # the last event of each user
    return SequenceDataset(data, TargetRows.single(chosen), 20)


def users_of(batches):
    return [batch.users.tolist() for batch in batches]


def padding_of(batches):
    batches = list(batches)
    return sum(int((batch.history == 0).sum()) for batch in batches) / sum(
        batch.history.numel() for batch in batches
    )


@settings(max_examples=60, deadline=None)
@given(
    widths=st.lists(st.integers(0, 50), min_size=0, max_size=300),
    rows_of_a_step=st.integers(1, 20),
    seed=st.integers(0, 2**31),
)
def test_every_row_comes_once_in_steps_of_similar_width(widths, rows_of_a_step, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(widths), generator=generator)
    known = torch.tensor(widths, dtype=torch.int64)
    state = generator.get_state()
    found = grouped_by_width(order, known, rows_of_a_step, generator)
    assert sorted(found.tolist()) == list(range(len(widths)))
    assert torch.equal(grouped_by_width(order, known, rows_of_a_step, generator.set_state(state)), found)
    whole = len(widths) // rows_of_a_step * rows_of_a_step
    assert torch.equal(found[whole:], order[whole:])  # the smaller last step is as random as it was
    if whole:
        before, after = (
            known[rows[:whole]].reshape(-1, rows_of_a_step).amax(1).sum() for rows in (order, found)
        )
        assert after <= before


def test_steps_of_a_window_are_cut_from_its_rows_in_order_of_width():
    generator = torch.Generator().manual_seed(0)
    order, widths = torch.randperm(64, generator=generator), torch.arange(64) // 4
    found = grouped_by_width(order, widths, 4, generator).reshape(-1, 4)
    windows = order.reshape(4, 16)  # four steps each
    for step in found.tolist():
        window = next(rows for rows in windows.tolist() if step[0] in rows)
        by_width = sorted(window, key=lambda row: int(widths[row]))
        start = by_width.index(step[0])
        assert start % 4 == 0
        assert step == by_width[start : start + 4]
    steps_of_windows = [next(w for w in range(4) if step[0] in windows[w]) for step in found.tolist()]
    assert steps_of_windows != sorted(steps_of_windows)  # the steps of all windows are shuffled


def test_batches_are_narrow_and_differ_from_epoch_to_epoch():
    dataset = dataset_of()
    loader = BatchLoader(dataset, 5, True, 3, group_by_length=True)
    first, second = list(loader), list(loader)
    assert len(first) == len(loader) == 21
    for batch in first:
        assert batch.history.shape[1] == max(1, int((batch.history != 0).sum(1).max()))
    assert padding_of(first) < 0.2 < 0.3 < padding_of(BatchLoader(dataset, 5, True, 3))
    widths = [batch.history.shape[1] for batch in first]
    assert widths != sorted(widths)
    assert sorted(flat(users_of(first))) == sorted(flat(users_of(second))) == list(range(1, ROWS + 1))
    together = [{frozenset(users) for users in users_of(epoch)} for epoch in (first, second)]
    assert len(together[0] & together[1]) < 3
    again = BatchLoader(dataset, 5, True, 3, group_by_length=True)
    again.set_epoch(1)
    assert users_of(again) == users_of(second)
    assert users_of(BatchLoader(dataset, 5, True, 4, group_by_length=True)) != users_of(first)


def test_without_shuffling_the_order_stays():
    rows = flat(users_of(BatchLoader(dataset_of(), 5, False, 0, group_by_length=True)))
    assert rows == list(range(1, ROWS + 1))


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_make_equal_steps_of_one_width(world_size):
    dataset = dataset_of(1001)
    shares = [
        list(BatchLoader(dataset, 4, True, 1, rank, world_size, group_by_length=True))
        for rank in range(world_size)
    ]
    assert len({tuple(batch.batch_size for batch in share) for share in shares}) == 1
    rows = flat(flat(map(users_of, shares)))
    assert len(rows) == len(set(rows)) == 1001 // world_size * world_size
    widths = [[batch.history.shape[1] for batch in step] for step in zip(*shares, strict=True)]
    assert np.mean([max(step) - min(step) for step in widths]) < 1.0
    whole = BatchLoader(dataset, 4 * world_size, True, 1, group_by_length=True)
    for step, batch in zip(zip(*shares, strict=True), whole, strict=False):  # one row may be left over
        assert set(flat(users_of(step))) <= set(batch.users.tolist())


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("stop", [0, 1, 4, 20, 21])
def test_an_epoch_is_taken_up_as_it_began_whatever_is_asked_for_now(stop, grouped):
    whole = BatchLoader(dataset_of(), 5, True, 3, group_by_length=grouped)
    reference = [users_of(whole) for _ in range(3)]
    loader = BatchLoader(dataset_of(), 5, True, 3, group_by_length=grouped)
    list(loader)
    iterator = iter(loader)
    taken = [next(iterator) for _ in range(stop)]
    state = loader.state_dict()
    assert state.get("rows_of_a_group", 0) == (5 if grouped else 0)
    for now in (True, False):
        other = BatchLoader(dataset_of(), 5, True, 99, group_by_length=now)
        other.load_state_dict(state)
        saved = other.state_dict()
        rest = users_of(other)
        if 0 < stop < 21:
            assert saved.get("rows_of_a_group", 0) == state.get("rows_of_a_group", 0)
            assert users_of(taken) + rest == reference[1]
            following = users_of(other)
            assert (following == reference[2]) == (now == grouped)
        elif now == grouped:
            assert rest == reference[2 if stop == 21 else 1]


@pytest.mark.parametrize(("size", "processes"), [(7, 1), (1, 1), (5, 2), (3, 3)])
def test_it_goes_on_with_other_batches_and_processes_twice(size, processes):
    begun = [BatchLoader(dataset_of(), 4, True, 3, rank, 2, group_by_length=True) for rank in range(2)]
    iterators = [iter(loader) for loader in begun]
    rows = flat(users_of([next(iterator) for iterator in iterators for _ in range(3)]))
    state = begun[1].state_dict()
    assert state == begun[0].state_dict()

    def resumed(state, size, processes):
        loaders = [
            BatchLoader(dataset_of(), size, True, 9, rank, processes, recounted=True, group_by_length=True)
            for rank in range(processes)
        ]
        for loader in loaders:
            loader.load_state_dict(state)
        return loaders

    loaders = resumed(state, size, processes)
    iterators = [iter(loader) for loader in loaders]
    rows += flat(users_of([next(iterator) for iterator in iterators for _ in range(2)]))
    loaders = resumed(loaders[0].state_dict(), 6, 1)
    rows += flat(users_of(loaders[0]))
    assert sorted(rows) == list(range(1, ROWS + 1))
    assert len(flat(users_of(loaders[0]))) == ROWS, "a whole epoch follows"


class Varied(ClusteredData):
    """Users of 4 to 8 events."""

    def load(self):
        data = super().load()
        position = torch.arange(len(data)) % 8
        kept = position < 4 + data.users % 5
        return Interactions.from_ids(
            data.users[kept].numpy(), data.items[kept].numpy(), data.user_vocabulary, data.item_vocabulary
        )


def varied(**kwargs):
    module = Varied(batch_size=5, seed=7, max_history=8, **kwargs)
    module.prepare_for(DataRequest(all_positions=True))
    return module


def test_a_run_resumed_after_any_step_equals_the_uninterrupted_one(tmp_path):
    whole = fit_on_windows(tmp_path, every_step(tmp_path, every_n_train_steps=5), max_epochs=2)
    assert len(whole) == 24
    for step in (5, 10, 15, 20):
        resumed = fit_on_windows(tmp_path, resume=str(tmp_path / f"{step}.ckpt"), max_epochs=2)
        assert resumed == whole[step:]


def fit_on_windows(folder, checkpoint=None, resume=None, **options):
    options["limit_val_batches"] = 0
    module = varied(group_by_length=True)
    return fit(folder, checkpoint, resume, module, **options)


def test_the_field_reaches_training_alone():
    plain, grouped = varied(), varied(group_by_length=True)
    assert padding_of(grouped.train_dataloader()) < 0.5 * padding_of(plain.train_dataloader())
    for name in ("val_dataloader", "test_dataloader", "predict_dataloader"):
        assert users_of(getattr(grouped, name)()) == users_of(getattr(plain, name)())
    assert not plain.group_by_length


@pytest.mark.parametrize("source", ["table", "recbole"])
def test_every_data_module_has_the_field(source, tmp_path):
    if source == "recbole":
        pytest.importorskip("recbole")
        modules = [RecBoleDataModule(seed=0, group_by_length=grouped) for grouped in (False, True)]
    else:
        pl = pytest.importorskip("polars")
        users = np.repeat(np.arange(300), np.random.default_rng(0).integers(5, 40, 300))
        columns = {
            "user_id": users,
            "item_id": np.arange(len(users)) % 50,
            "timestamp": np.arange(len(users)),
        }
        pl.DataFrame(columns).write_parquet(tmp_path / "events.parquet")
        file = str(tmp_path / "events.parquet")
        modules = [TableDataModule(file, seed=0, group_by_length=grouped) for grouped in (False, True)]
    plain, grouped = (padding_of(module.train_dataloader()) for module in modules)
    assert grouped < 0.5 * plain
