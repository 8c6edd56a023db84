"""Exact resume: a run that is interrupted and resumed equals the run that was not."""

import functools

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss import CROLossCallback, UniformNegatives, YouTubeDNN
from lightning_croloss.callbacks import Linear
from lightning_croloss.training.resume import keep_checkpoints_together, seed_step
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model


class Interrupted(Exception):
    pass


class InterruptAt(Callback):
    """Ends the process, as it were, before the optimizer step ``step``."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Interrupted


class Temperatures(Callback):
    """Notes what the loss was told in each step."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen[trainer.global_step - 1] = float(pl_module.loss.temperature)


def resumable_model():
    return small_model(
        dropout=0.3,
        history_dropout=0.3,
        negatives=UniformNegatives(20, exclude_known_positives=True),
        optimizer=functools.partial(torch.optim.Adam, lr=0.01),
        lr_scheduler=functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9),
        lr_scheduler_interval="step",
    )


def schedule():
    return CROLossCallback(temperature=Linear(0.4, 0.1))


def assert_equal_states(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal_states(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        for pair in zip(one, other, strict=True):
            assert_equal_states(*pair)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


# 300 rows: an epoch has 10 steps, or 5 with two batches each
@pytest.mark.parametrize(
    ("last_saved", "options"),
    [
        (4, {}),
        (10, {}),
        (14, {}),
        (4, {"accumulate_grad_batches": 2}),
        (14, {"precision": "bf16-mixed", "gradient_clip_val": 0.5, "val_check_interval": 3}),
    ],
)
@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, last_saved, options):
    options = {"max_epochs": 2, **options}
    whole_model = resumable_model()
    whole = fit(whole_model, callbacks=[schedule()], **options)

    steps = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    interrupt = InterruptAt(last_saved + 1)
    with pytest.raises(Interrupted):
        fit(resumable_model(), callbacks=[schedule(), steps, interrupt], enable_checkpointing=True, **options)

    model = resumable_model()
    torch.manual_seed(12345)  # another process would have drawn other numbers
    resumed = fit(model, callbacks=[schedule()], ckpt_path=tmp_path / f"step={last_saved}.ckpt", **options)
    assert resumed.global_step == whole.global_step == 20 // options.get("accumulate_grad_batches", 1)
    assert_equal_states(whole_model.state_dict(), model.state_dict())
    assert_equal_states(whole.optimizers[0].state_dict(), resumed.optimizers[0].state_dict())
    assert_equal_states(dict(whole.callback_metrics), dict(resumed.callback_metrics))


def test_seeding_a_step_keeps_nothing():
    """``torch.manual_seed`` keeps a call for each kind of device that was never used, for ever."""
    waiting = len(torch.cuda._queued_calls)
    draws = []
    for seed, batch, rank in ((0, 1, 0), (0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1)):
        seed_step(seed, batch, rank, torch.device("cpu"))
        draws.append(torch.rand(()).item())
    assert draws[0] == draws[1]
    assert len(set(draws)) == 4
    assert len(torch.cuda._queued_calls) == waiting


def test_a_run_resumed_twice_equals_the_uninterrupted_one(tmp_path):
    """First from a checkpoint at the last batch of an epoch, then from one in the middle of the next."""
    whole_model = resumable_model()
    fit(whole_model, callbacks=[schedule()], max_epochs=2)
    start = None
    for last_saved in (10, 16):
        steps = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
        callbacks = [schedule(), steps, InterruptAt(last_saved + 1)]
        with pytest.raises(Interrupted):
            fit(
                resumable_model(),
                callbacks=callbacks,
                enable_checkpointing=True,
                max_epochs=2,
                ckpt_path=start,
            )
        start = tmp_path / f"step={last_saved}.ckpt"
    model = resumable_model()
    resumed = fit(model, callbacks=[schedule()], ckpt_path=start, max_epochs=2)
    assert resumed.global_step == 20
    assert_equal_states(whole_model.state_dict(), model.state_dict())


def test_the_folder_of_a_resumed_run_is_found_without_reading_the_weights(tmp_path, monkeypatch):
    first = ModelCheckpoint(tmp_path / "first", save_last=True)
    fit(small_model(), callbacks=[first], enable_checkpointing=True)
    load, mapped = torch.load, []

    def spy(*args, **kwargs):
        mapped.append(kwargs.get("mmap", False))
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, "load", spy)
    trainer = quiet_trainer(callbacks=[ModelCheckpoint()], enable_checkpointing=True)
    keep_checkpoints_together(trainer, first.last_model_path)
    assert trainer.checkpoint_callback.dirpath == str(tmp_path / "first")
    assert mapped == [True]


def test_the_seed_of_a_run_travels(tmp_path, monkeypatch):
    """A resumed run goes on with the seed it began with, whatever the new process was told."""
    steps = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    whole = resumable_model()
    fit(whole, callbacks=[steps], enable_checkpointing=True)
    monkeypatch.setenv("PL_GLOBAL_SEED", "2")
    resumed = resumable_model()
    fit(resumed, ckpt_path=tmp_path / "step=4.ckpt")
    assert_equal_states(whole.state_dict(), resumed.state_dict())


def test_more_epochs_do_not_shift_the_schedule(tmp_path):
    steps = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=14, save_top_k=-1)
    whole, resumed = Temperatures(), Temperatures()
    fit(small_model(), callbacks=[schedule(), whole, steps], enable_checkpointing=True, max_epochs=2)
    fit(small_model(), callbacks=[schedule(), resumed], ckpt_path=tmp_path / "step=14.ckpt", max_epochs=4)
    assert list(resumed.seen) == list(range(14, 40))
    for step, temperature in resumed.seen.items():
        assert temperature == (whole.seen[step] if step < 20 else 0.1)
    assert whole.seen[14] == pytest.approx(0.4 - 0.3 * 14 / 20)


class AsksForTheLength(YouTubeDNN):
    """Builds what needs the number of steps: Lightning loads the data before their place is known."""

    def configure_optimizers(self):
        assert self.trainer.estimated_stepping_batches == 20
        return super().configure_optimizers()


def test_a_model_that_asks_for_the_length_goes_on_in_its_place(tmp_path):
    def run(**options):
        steps = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
        order = Order()
        model = small_model(AsksForTheLength)
        fit(model, callbacks=[order, steps], enable_checkpointing=True, max_epochs=2, **options)
        return order.seen, model.state_dict()

    whole, weights = run()
    for saved in (4, 12):
        rest, others = run(ckpt_path=tmp_path / f"step={saved}.ckpt")
        assert rest == whole[saved:]
        assert_equal_states(weights, others)


def test_a_fit_after_a_resume_that_failed_begins_anew(tmp_path):
    steps = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    fit(small_model(), callbacks=[steps], enable_checkpointing=True)
    plain, model = small_model(), small_model()
    fit(plain)

    class Fails(Callback):
        def on_train_start(self, trainer, pl_module):
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(model, callbacks=[Fails()], ckpt_path=tmp_path / "step=4.ckpt")
    model.load_state_dict(small_model().state_dict())
    order = Order()
    trainer = fit(model, callbacks=[order])
    assert (trainer.global_step, len(order.seen)) == (10, 10)
    assert_equal_states(plain.state_dict(), model.state_dict())


class Order(Callback):
    """Notes the targets of each batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch.targets.tolist())


class Targets(Callback):
    """Notes the targets of each step."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen[trainer.global_step] = batch.targets.tolist()


@pytest.mark.parametrize("options", [{}, {"reload_dataloaders_every_n_epochs": 1}], ids=["", "reloaded"])
@pytest.mark.parametrize("last_saved", ["end-5", "step-3"])
def test_a_resumed_run_keeps_its_seed(tmp_path, monkeypatch, last_saved, options):
    """Whichever one the process that goes on was given, or none."""

    def run(seed, data_seed=None, **options):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        targets, model = Targets(), resumable_model()
        data = ClusteredData(batch_size=64, target_window=3, seed=data_seed)
        callbacks = [targets, *options.pop("callbacks", [])]
        fit(model, data, callbacks=callbacks, max_epochs=3, limit_val_batches=0, **options)
        return targets.seen, model.state_dict()

    shared = {"save_top_k": -1, "auto_insert_metric_name": False}
    saving = [
        ModelCheckpoint(tmp_path, "end-{step}", save_on_train_epoch_end=True, **shared),
        ModelCheckpoint(tmp_path, "step-{step}", every_n_train_steps=3, **shared),
    ]
    whole, weights = run("42", callbacks=saving, enable_checkpointing=True, **options)
    assert len(whole) == 15
    path = tmp_path / f"{last_saved}.ckpt"
    for given in (("0",), ("7", 8)):
        seen, others = run(*given, ckpt_path=path, **options)
        assert seen == {step: whole[step] for step in range(int(last_saved[-1]), 15)}
        assert_equal_states(weights, others)
    assert run("0")[0] != whole  # another run begins with its own
