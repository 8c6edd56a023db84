import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss.data import BatchLoader, LeaveOneOut, SequenceDataset
from tests.data.events import Module, make_events, targets


def make_dataset(num_users=8):
    data = make_events(num_users)
    return SequenceDataset(data, LeaveOneOut().split(data).train, 3)


def flat(lists):
    return [entry for part in lists for entry in part]


def test_order_is_a_function_of_seed_and_epoch():
    dataset = make_dataset()
    loader = BatchLoader(dataset, 5, True, seed=3)
    first, second = targets(loader), targets(loader)
    assert len(first) == len(second) == len(loader) == 5
    assert (
        sorted(flat(first))
        == sorted(flat(second))
        == sorted(flat(targets(BatchLoader(dataset, 9, False, 0))))
    )
    assert first != second
    again = BatchLoader(dataset, 5, True, seed=3)
    again.set_epoch(1)
    assert targets(again) == second
    assert targets(BatchLoader(dataset, 5, True, seed=4)) != first


def test_order_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    list(BatchLoader(make_dataset(), 5, True, seed=3))
    assert torch.equal(before, torch.get_rng_state())


def test_drop_last():
    loader = BatchLoader(make_dataset(), 5, True, 0, drop_last=True)
    assert [len(batch) for batch in targets(loader)] == [5, 5, 5, 5]
    assert len(loader) == 4


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_training_processes_make_equal_steps(world_size):
    dataset = make_dataset()  # 24 rows
    shares = [targets(BatchLoader(dataset, 4, True, 1, rank, world_size)) for rank in range(world_size)]
    assert len({tuple(len(batch) for batch in share) for share in shares}) == 1
    rows = flat(flat(shares))
    assert len(rows) == len(set(rows)) == 24 // world_size * world_size
    for rank, share in enumerate(shares):
        assert len(BatchLoader(dataset, 4, True, 1, rank, world_size)) == len(share)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_evaluation_sees_each_row_once(world_size):
    dataset = make_dataset()
    loaders = [BatchLoader(dataset, 4, False, 1, rank, world_size) for rank in range(world_size)]
    shares = [targets(loader) for loader in loaders]
    assert sorted(flat(flat(shares))) == sorted(flat(targets(BatchLoader(dataset, 4, False, 1))))
    assert [len(loader) for loader in loaders] == [len(share) for share in shares]


@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_resume_continues_at_the_saved_batch(stop):
    whole = BatchLoader(make_dataset(), 5, True, seed=3)
    reference = [targets(whole) for _ in range(3)]
    loader = BatchLoader(make_dataset(), 5, True, seed=3)
    list(loader)
    iterator = iter(loader)
    taken = [next(iterator) for _ in range(stop)]
    state = loader.state_dict()
    assert all(type(value) is int for value in state.values())
    # 24 rows in batches of 5: rows are counted, so that other batches can follow
    assert state == {
        "seed": 3,
        "epoch": 1 if stop else 0,
        "rows": [24, 5, 10, 15, 20, 24][stop],
        "rows_before": [20, 0, 5, 10, 15, 20][stop],
        "rows_of_a_step": 5,
        "rows_of_the_epoch": 24,
    }
    other = BatchLoader(make_dataset(), 5, True, seed=99)
    other.load_state_dict(state)
    assert other.state_dict() == {**state, "rows_before": state["rows"], "trainer_epoch": state["epoch"]}
    iter(other)  # Lightning asks for iterators it does not read
    rest = targets(other)
    assert len(other) == 5
    if stop in (0, 5):
        assert rest == reference[2 if stop else 1]
    else:
        assert targets(taken) + rest == reference[1]
        assert targets(other) == reference[2]


def test_the_trainer_tells_the_epoch_of_a_new_loader_only():
    reference = BatchLoader(make_dataset(), 5, True, seed=3)
    epochs = [targets(reference) for _ in range(3)]
    loader = BatchLoader(make_dataset(), 5, True, seed=3)
    loader.set_epoch(1)
    assert targets(loader) == epochs[1]
    loader.set_epoch(7)  # Lightning counted wrongly
    assert targets(loader) == epochs[2]
    loader.set_epoch(0)  # another run
    assert targets(loader) == epochs[0]
    limited = BatchLoader(make_dataset(), 5, True, seed=3)
    limited.load_state_dict({"seed": 3, "epoch": 0, "batches": 3, "trainer_epoch": 0})
    limited.set_epoch(0)
    limited.set_epoch(1)  # the trainer ended epoch 0 after three batches
    limited.set_epoch(2)
    assert targets(limited) == epochs[1]


def test_abandoned_iteration_is_followed_by_a_whole_epoch():
    loader = BatchLoader(make_dataset(), 5, False, 0)
    next(iter(loader))
    assert len(targets(loader)) == 5


def test_resume_with_another_length_is_refused():
    loader = BatchLoader(make_dataset(), 20, True, 0)
    with pytest.raises(ValueError, match="after batch 4 of an epoch, but this one has 2 batches"):
        loader.load_state_dict({"seed": 0, "epoch": 0, "batches": 4})


@pytest.mark.parametrize(("size", "processes"), [(4, 1), (1, 1), (24, 1), (5, 2), (2, 3), (3, 5)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_goes_on_with_other_batches_and_processes(size, processes, shuffle):
    begun = [BatchLoader(make_dataset(), 3, shuffle, 3, rank, 2) for rank in range(2)]
    iterators = [iter(loader) for loader in begun]
    before = flat(targets([next(iterator) for iterator in iterators for _ in range(2)]))
    state = begun[1].state_dict()
    assert state == begun[0].state_dict()
    loaders = [
        BatchLoader(make_dataset(), size, shuffle, 9, rank, processes, recounted=True)
        for rank in range(processes)
    ]
    for loader in loaders:
        loader.load_state_dict(state)
    left = [loader.batches_left() for loader in loaders]
    shares = [targets(loader) for loader in loaders]
    assert [len(share) for share in shares] == left
    rows = before + flat(flat(shares))
    everything = flat(targets(BatchLoader(make_dataset(), 5, False, 0)))
    assert len(set(rows)) == len(rows) == 24 - (12 % processes if shuffle else 0)
    assert set(rows) <= set(everything)
    again = [targets(loader) for loader in loaders]
    assert len(set(flat(flat(again)))) == 24 - (24 % processes if shuffle else 0), "a whole epoch follows"


def test_fewer_rows_than_processes_end_an_epoch():
    loader = BatchLoader(make_dataset(), 22, True, 3)
    next(iter(loader))
    resumed = BatchLoader(make_dataset(), 4, True, 3, 0, 3, recounted=True)
    resumed.load_state_dict(loader.state_dict())
    assert resumed.batches_left() == 0
    assert len(flat(targets(resumed))) == 8


def test_a_state_that_counts_batches_loads():
    whole = BatchLoader(make_dataset(), 5, True, 3)
    reference = targets(whole)
    for batches in range(6):
        loader = BatchLoader(make_dataset(), 5, True, 99)
        loader.load_state_dict({"seed": 3, "epoch": 0, "batches": batches, "trainer_epoch": 0})
        assert targets(loader) == (reference[batches:] if batches < 5 else targets(whole))


def test_other_batches_are_refused_where_the_loop_counts_on():
    loader = BatchLoader(make_dataset(), 5, True, 3)
    next(iter(loader))
    with pytest.raises(ValueError, match=r"in the middle of an epoch of 5 rows a step .*, now it would be 8"):
        BatchLoader(make_dataset(), 4, True, 3, 0, 2).load_state_dict(loader.state_dict())


def test_an_epoch_of_other_rows_is_refused():
    loader = BatchLoader(make_dataset(), 5, True, 3)
    next(iter(loader))
    state = loader.state_dict()
    with pytest.raises(ValueError, match="after 5 rows of an epoch of 24, but this data has 27"):
        BatchLoader(make_dataset(9), 5, True, 3).load_state_dict(state)


def test_loader_refuses():
    with pytest.raises(ValueError, match="batch_size=0"):
        BatchLoader(make_dataset(), 0, True, 0)
    with pytest.raises(ValueError, match="rank=2 must be"):
        BatchLoader(make_dataset(), 1, True, 0, rank=2, world_size=2)


# ---- Lightning -------------------------------------------------------------------------------------------


class Recorder(LightningModule):
    """Notes the batches it is given; the parameter is there for the optimizer."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, batch.targets.squeeze(1).tolist()))
        return self.weight * batch.batch_size

    def validation_step(self, batch, batch_idx):
        self.log("val/rows", float(batch.batch_size), batch_size=batch.batch_size)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, checkpoint=None, resume=None, module=None, **options):
    options = {"max_epochs": 3, **options}
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=checkpoint is not None,
        callbacks=[checkpoint] if checkpoint else [],
        default_root_dir=folder,
        **options,
    )
    model = Recorder()
    trainer.fit(model, datamodule=module or Module(batch_size=5, seed=7), ckpt_path=resume, weights_only=True)
    return model.seen


def every_step(folder, **arguments):
    return ModelCheckpoint(folder, "{step}", save_top_k=-1, auto_insert_metric_name=False, **arguments)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit_val_batches": 0},
        {"val_check_interval": 2},
        {"limit_train_batches": 3},
        {"accumulate_grad_batches": 2},
        {"max_epochs": -1, "max_steps": 13},
        {"max_epochs": -1, "max_steps": 8, "limit_train_batches": 3, "num_sanity_val_steps": 2},
    ],
    ids=str,
)
def test_resume_after_any_step_equals_the_uninterrupted_run(tmp_path, options):
    whole = fit(tmp_path, every_step(tmp_path, every_n_train_steps=1), **options)
    assert len({str(batch) for _, _, batch in whole}) == len(whole)  # every epoch has its own order
    accumulated = options.get("accumulate_grad_batches", 1)
    per_epoch = options.get("limit_train_batches", 5)
    steps_per_epoch = -(-per_epoch // accumulated)
    checkpoints = sorted(tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem))
    assert len(checkpoints) == len(whole) if accumulated == 1 else checkpoints
    for checkpoint in checkpoints[:-1]:
        epochs, steps = divmod(int(checkpoint.stem), steps_per_epoch)
        begin = epochs * per_epoch + steps * accumulated
        assert fit(tmp_path, resume=str(checkpoint), **options) == whole[begin:], checkpoint.stem


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ({"every_n_epochs": 1, "save_on_train_epoch_end": True}, {}),
        ({"every_n_epochs": 1, "save_on_train_epoch_end": False}, {}),  # after validation
        ({"every_n_epochs": 1, "save_on_train_epoch_end": True}, {"limit_train_batches": 3}),
        ({"every_n_epochs": 1, "save_on_train_epoch_end": False}, {"limit_train_batches": 3}),
        ({"every_n_epochs": 1, "save_on_train_epoch_end": True}, {"limit_val_batches": 0}),
        ({"every_n_epochs": 1, "save_on_train_epoch_end": True}, {"max_epochs": -1, "max_steps": 13}),
    ],
    ids=str,
)
def test_resume_at_an_epochs_end_begins_the_next_epoch(tmp_path, arguments, options):
    whole = fit(tmp_path, every_step(tmp_path, **arguments), **options)
    per_epoch = options.get("limit_train_batches", 5)
    checkpoints = sorted(tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem))
    ends = [path for path in checkpoints if int(path.stem) in (per_epoch, 2 * per_epoch)]
    assert len(ends) == 2
    for checkpoint in ends:
        assert fit(tmp_path, resume=str(checkpoint), **options) == whole[int(checkpoint.stem) :]


@pytest.mark.parametrize("options", [{"max_epochs": 4}, {"max_epochs": -1, "max_steps": 20}], ids=str)
@pytest.mark.parametrize("at_epochs_end", [False, True])
def test_resuming_twice(tmp_path, options, at_epochs_end):
    kind = {"save_on_train_epoch_end": True} if at_epochs_end else {"every_n_train_steps": 1}
    whole = fit(tmp_path, every_step(tmp_path / "a", **kind), **options)
    for first, second in ((5, 8), (5, 10), (10, 12)) if at_epochs_end else ((2, 4), (2, 5), (3, 9)):
        folder = tmp_path / f"{first}-{second}"
        resume = str(tmp_path / "a" / f"{first}.ckpt")
        assert fit(tmp_path, every_step(folder, every_n_train_steps=1), resume, **options) == whole[first:]
        again = fit(tmp_path, resume=str(folder / f"{second}.ckpt"), **options)
        # without the epoch: in runs bounded by max_steps Lightning's own number is then off by one
        assert [entry[1:] for entry in again] == [entry[1:] for entry in whole[second:]], (first, second)


def test_sanity_validation_does_not_disturb_training(tmp_path):
    assert fit(tmp_path, num_sanity_val_steps=2) == fit(tmp_path, num_sanity_val_steps=0, limit_val_batches=0)


def test_overfitting_repeats_the_same_batches(tmp_path):
    seen = fit(tmp_path, overfit_batches=2)
    assert [batch for epoch, _, batch in seen if epoch == 0] == [
        batch for epoch, _, batch in seen if epoch == 2
    ]
    module = Module(batch_size=5, seed=7)
    assert [batch for epoch, _, batch in seen if epoch == 0] == targets(
        BatchLoader(SequenceDataset(module.interactions, module.rows.train, 3), 5, False, 0)
    )[:2]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 24])
@pytest.mark.parametrize("num_rows", [5, 6, 9, 23, 24])
def test_evaluation_has_as_many_batches_in_each_process(world_size, batch_size, num_rows):
    dataset = Numbers(num_rows)
    shares = [
        [batch.tolist() for batch in BatchLoader(dataset, batch_size, False, 1, rank, world_size)]
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    sizes = [len(batch) for share in shares for batch in share]
    assert min(sizes) > 0
    assert max(sizes) <= max(batch_size, 2 if world_size > 1 else 1)
    assert sorted(flat(flat(shares))) == list(range(num_rows))


class Numbers:
    """Rows that are their numbers."""

    def __init__(self, num_rows):
        self.num_rows = num_rows

    def __len__(self):
        return self.num_rows

    def __getitems__(self, rows):
        return rows
