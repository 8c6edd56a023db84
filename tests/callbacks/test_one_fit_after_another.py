"""What a CROLossCallback keeps between fits: the length of one that goes on, and nothing else."""

import copy
import re
import warnings

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from lightning.pytorch.strategies import SingleDeviceStrategy

from lightning_croloss import CROLoss, CROLossCallback, SoftmaxLoss, YouTubeDNN
from lightning_croloss.callbacks import Linear
from tests.callbacks.test_croloss_callback import ForeignModule, MustNotTrain, Probe, target_n
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

LINE = Linear(30, 10)
QUICK = {"limit_val_batches": 0}


def ns(*callbacks, model=None, **options):
    """Train, and return the n of each batch and the trainer."""
    probe = Probe()
    trainer = fit(model or small_model(loss=target_n()), callbacks=[*callbacks, probe], **QUICK, **options)
    return [values["n"] for _, values in probe.seen], trainer


def saved(path, *callbacks, **options):
    """Train one epoch of ten steps and save it."""
    _, trainer = ns(*callbacks, **options)
    trainer.save_checkpoint(path)
    return path


def line(total, first=0, last=None):
    return pytest.approx([LINE.value(step, total) for step in range(first, total if last is None else last)])


# ---------------------------------------------------------------------- gradients of several batches


@pytest.mark.parametrize("scheduling", [{0: 1, 2: 4}, {0: 4, 1: 1}, {1: 4}], ids=["more", "fewer", "second"])
@pytest.mark.parametrize("foreign", [False, True])
def test_a_schedule_ends_with_the_training_whatever_the_accumulation(foreign, scheduling):
    model = ForeignModule(target_n()) if foreign else small_model(loss=target_n())
    callback, probe = CROLossCallback(n=LINE), Probe()
    changing = GradientAccumulationScheduler(dict(scheduling))
    trainer = fit(model, callbacks=[callback, changing, probe], max_epochs=3, **QUICK)
    total = trainer.global_step
    assert callback.total_steps == total
    assert [values["n"] for _, values in probe.seen] == pytest.approx(
        [LINE.value(step, total) for step, _ in probe.seen]
    )
    assert probe.seen[-1][0] == total - 1


def test_a_resume_under_changing_accumulation_is_the_uninterrupted_run(tmp_path):
    def run(folder, ckpt_path=None):
        kept = ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1)
        changing = GradientAccumulationScheduler({0: 1, 1: 3})
        options = {"max_epochs": 3, "enable_checkpointing": True, "ckpt_path": ckpt_path}
        return ns(CROLossCallback(n=LINE), changing, kept, **options)[0]

    whole = run(tmp_path)
    assert len(whole) == 30
    assert run(tmp_path / "again", tmp_path / "step=12.ckpt") == whole[-len(whole) + 16 :]


# ---------------------------------------------------------------------- another trainer


@pytest.mark.parametrize("first", [{"max_epochs": 1}, {"fast_dev_run": True}, {"max_steps": 3}])
def test_another_trainer_has_a_length_of_its_own(first):
    callback = CROLossCallback(n=LINE)
    ns(callback, **first)
    found, _ = ns(callback, max_epochs=3)
    assert found == line(30)


def test_a_length_that_an_evaluation_loaded_is_not_kept(tmp_path):
    path = saved(tmp_path / "some.ckpt", CROLossCallback(n=LINE))
    callback = CROLossCallback(n=LINE)
    trainer = quiet_trainer(callbacks=[callback])
    trainer.test(small_model(loss=target_n()), ClusteredData(), ckpt_path=path, verbose=False)
    assert ns(callback, max_epochs=2)[0] == line(20)


def test_a_length_of_a_resume_that_failed_is_not_kept(tmp_path):
    path = saved(tmp_path / "some.ckpt", CROLossCallback(n=LINE))
    callback = CROLossCallback(n=LINE)
    with pytest.raises(AssertionError, match="training began"):
        ns(callback, MustNotTrain(), max_epochs=2, ckpt_path=path)
    assert ns(callback, max_epochs=2)[0] == line(20)


def test_the_same_trainer_goes_on_with_the_same_length():
    model, callback, probe = small_model(loss=target_n()), CROLossCallback(n=LINE), Probe()
    trainer = quiet_trainer(callbacks=[callback, probe], **QUICK)
    trainer.fit(model, ClusteredData())
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, ClusteredData())
    assert callback.total_steps == 10
    assert [values["n"] for _, values in probe.seen] == pytest.approx(
        [30 - 2 * s for s in range(10)] + [10] * 10
    )


def test_another_fit_warns_again():
    callback = CROLossCallback(n=2)
    for _ in range(2):
        with pytest.warns(UserWarning, match="best soft rank of this epoch"):
            ns(callback, model=small_model(loss=target_n(kernel="sigmoid", temperature=5.0)))


# ---------------------------------------------------------------------- a resume with other schedules


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{"n": LINE}], [{"n": LINE, "temperature": 0.2}]),
        ([{"n": LINE, "temperature": 0.2}], [{"n": LINE}]),
        ([{"n": LINE}], [{"n": LINE}, {"temperature": 0.2}]),
        ([{"n": LINE}, {"temperature": 0.2}], [{"n": LINE, "temperature": 0.2}]),
        ([{"temperature": 0.2}], [{"n": LINE}]),
    ],
    ids=["one more", "one fewer", "a callback more", "two become one", "another"],
)
def test_a_resume_with_other_schedules_keeps_the_length(tmp_path, before, after):
    path = saved(tmp_path / "some.ckpt", *[CROLossCallback(**each) for each in before], max_epochs=2)
    states = torch.load(path, weights_only=True)["callbacks"]
    assert {state["total_steps"] for key, state in states.items() if "CROLoss" in key} == {20}
    callbacks = [CROLossCallback(**each) for each in after]
    found, _ = ns(*callbacks, max_epochs=3, ckpt_path=path)
    assert found == [10.0] * 10  # the schedule is over
    assert {callback.total_steps for callback in callbacks} == {20}


def test_a_length_that_was_unknown_is_found_at_the_resume(tmp_path):
    path = saved(tmp_path / "some.ckpt", CROLossCallback(n=5), max_epochs=-1, max_time={"seconds": 1})
    states = torch.load(path, weights_only=True)
    step = states["global_step"]
    assert states["callbacks"]["CROLossCallback[n]"] == {"total_steps": None}
    for total in (None, 1):  # as earlier checkpoints have it
        states["callbacks"]["CROLossCallback[n]"] = {"total_steps": total}
        torch.save(states, path)
        callback = CROLossCallback(n=LINE, temperature=0.2)
        ns(callback, max_epochs=step // 10 + 2, ckpt_path=path)
        assert callback.total_steps == 10 * (step // 10 + 2)


def test_a_new_callback_does_not_disturb_the_resume(tmp_path):
    """Its length is asked for once the place in the data is known."""

    class Order(Callback):
        def __init__(self):
            self.seen = []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.seen.append(batch.targets.tolist())

    def run(*callbacks, **options):
        order = Order()
        kept = ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=4, save_top_k=-1)
        options |= {"max_epochs": 2, "enable_checkpointing": True, **QUICK}
        fit(small_model(loss=target_n()), callbacks=[*callbacks, order, kept], **options)
        return order.seen

    whole = run()
    rest = run(CROLossCallback(n=LINE), ckpt_path=tmp_path / "kept" / "step=4.ckpt")
    assert rest == whole[4:]


@pytest.mark.parametrize("total", [0, -3, 2.5, "20", True, [20]])
def test_a_length_that_is_none_is_refused(tmp_path, total):
    path = saved(tmp_path / "some.ckpt", CROLossCallback(n=LINE))
    states = torch.load(path, weights_only=True)
    states["callbacks"]["CROLossCallback[n]"] = {"total_steps": total}
    torch.save(states, path)
    for callback in (CROLossCallback(n=LINE), CROLossCallback(n=LINE, temperature=0.2)):
        sentence = f"total_steps={re.escape(repr(total))}, which must be a whole number of at least 1"
        with pytest.raises(ValueError, match=sentence):
            ns(callback, MustNotTrain(), max_epochs=2, ckpt_path=path)


class RestoresLate(SingleDeviceStrategy):
    """Loads a checkpoint after ``on_fit_start``, as FSDP and DeepSpeed do."""

    restore_checkpoint_after_setup = True


def test_a_length_that_is_restored_late_counts(tmp_path):
    path = saved(tmp_path / "some.ckpt", CROLossCallback(n=LINE), max_epochs=2)
    callback = CROLossCallback(n=LINE)
    found, _ = ns(callback, max_epochs=3, ckpt_path=path, strategy=RestoresLate("cpu"))
    assert callback.total_steps == 20
    assert found == [10.0] * 10


# ---------------------------------------------------------------------- the loss after the fit


def test_the_loss_keeps_the_last_values_and_its_checkpoint_those_that_it_was_made_with(tmp_path):
    model = small_model(loss=target_n())
    trainer = fit(model, callbacks=[CROLossCallback(n=LINE)], **QUICK)
    assert float(model.loss.schedulable()["n"]) == pytest.approx(LINE.value(9, 10))
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    loaded = YouTubeDNN.load_from_checkpoint(tmp_path / "some.ckpt", weights_only=True)
    assert float(loaded.loss.schedulable()["n"]) == float(target_n().schedulable()["n"])


# ---------------------------------------------------------------------- a loss that is made late


class Late(ForeignModule):
    """Makes its loss once the data is known."""

    def __init__(self, where, make=target_n):
        super().__init__()
        self.where, self.make = where, make

    def setup(self, stage):
        if self.where == "setup":
            self.loss = self.make(num_items=self.trainer.datamodule.num_items)

    def configure_model(self):
        if self.where == "configure_model" and self.loss is None:
            self.loss = self.make(num_items=self.trainer.datamodule.num_items)


@pytest.mark.parametrize("where", ["setup", "configure_model"])
def test_a_loss_may_be_made_in(where):
    assert ns(CROLossCallback(n=LINE), model=Late(where))[0] == line(10)


@pytest.mark.parametrize("where", ["setup", "configure_model"])
@pytest.mark.parametrize(
    ("schedules", "make", "sentence"),
    [
        ({"n": Linear(41, 5)}, target_n, "n must be at most the size of the catalogue, 40 items, got 41"),
        ({"n": 5}, lambda num_items: SoftmaxLoss(), "schedules 'n', which SoftmaxLoss does not have"),
        ({"n": 5}, lambda num_items: None, "needs a module with one RetrievalLoss .*Late has 0"),
    ],
    ids=["value", "name", "none"],
)
def test_a_loss_that_is_made_late_is_checked_before_training(where, schedules, make, sentence):
    with pytest.raises(ValueError, match=sentence):
        ns(CROLossCallback(**schedules), MustNotTrain(), model=Late(where, make))


def test_a_loss_may_take_the_place_of_another():
    model = Late("setup")
    model.loss = CROLoss()
    assert ns(CROLossCallback(n=LINE), model=model)[0] == line(10)


# ---------------------------------------------------------------------- moments that are not reached


def told(callback, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ns(callback, **options)
    return [str(each.message) for each in caught if str(each.message).startswith("CROLossCallback, schedule")]


def test_a_ramp_that_is_not_reached_is_told_and_trained():
    (sentence,) = told(CROLossCallback(n=Linear(30, 10, begin=200, until=300)))
    assert "'n': begin=200 is not reached in a training of 10 steps, so the value stays at 30" in sentence
    (sentence,) = told(CROLossCallback(n=Linear(30, 10, begin=8, until=0.5)))
    assert "begin=8 comes after until=0.5 (step 5) in a training of 10 steps, so the value jumps" in sentence


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        (Linear(30, 10, begin=200, until=300), {"fast_dev_run": True}),
        (LINE, {}),
        (LINE, {"limit_train_batches": 1}),
        (Linear(30, 10, begin=5, until=10), {}),
    ],
)
def test_nothing_is_told_of_a_dry_run_and_of_what_is_reached(schedule, options):
    assert told(CROLossCallback(n=schedule), **options) == []


def test_steps_beyond_the_first_training_are_reached_in_one_that_goes_on(tmp_path):
    path = saved(tmp_path / "some.ckpt", CROLossCallback(n=LINE))
    assert told(CROLossCallback(n=Linear(30, 10, begin=12, until=18)), max_epochs=2, ckpt_path=path) == []
    (sentence,) = told(CROLossCallback(n=Linear(30, 10, until=21)), max_epochs=2, ckpt_path=path)
    assert "until=21 is not reached in a training of 20 steps" in sentence


def test_a_used_callback_can_be_copied():
    callback = CROLossCallback(n=LINE)
    ns(callback)
    assert ns(copy.deepcopy(callback), max_epochs=2)[0] == line(20)
