import functools
import inspect

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau

from lightning_croloss import (
    MIND,
    CROLoss,
    CROLossCallback,
    FullCatalogNegatives,
    RetrievalModel,
    SASRec,
    SoftmaxLoss,
    TargetNImportance,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
)
from lightning_croloss.callbacks import Linear
from lightning_croloss.training.resume import keep_checkpoints_together, seed_step
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

HISTORIES = [[1, 2, 3, 4, 5, 6], [11, 12]]


def saved(path, model=None, data=None):
    """Train for a moment and save; return the model."""
    model = small_model() if model is None else model
    fit(model, data, limit_train_batches=2).save_checkpoint(path)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    loss = CROLoss("softplus", TargetNImportance(10), temperature=0.2, lambda_weight=0.5)
    return path, saved(path, small_model(loss=loss, negatives=FullCatalogNegatives(True), pooling="max"))


def test_a_checkpoint_holds_plain_types_only(checkpoint):
    content = torch.load(checkpoint[0], weights_only=True)
    assert content["hyper_parameters"]["loss"]["init_args"]["importance"] == {
        "class_path": "lightning_croloss.TargetNImportance",
        "init_args": {"n": 10, "sharpness": 1.0},
    }
    assert not any("loss" in name for name in content["state_dict"])


@pytest.mark.parametrize("cls", [YouTubeDNN, RetrievalModel])
def test_a_checkpoint_is_enough_to_build_the_model_again(checkpoint, cls):
    path, model = checkpoint
    again = cls.load_from_checkpoint(path, weights_only=True)
    assert type(again) is YouTubeDNN
    assert again.hparams == {**again.hparams, **model.hparams}
    assert again.pooling == "max"
    assert again.negatives.exclude_known_positives
    assert {name: float(value) for name, value in again.loss.schedulable().items()} == {
        "temperature": 0.2,
        "lambda_weight": 0.5,
        "n": 10.0,
        "sharpness": 1.0,
    }
    for got, expected in zip(again.recommend(HISTORIES, 9), model.recommend(HISTORIES, 9), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("cls", [YouTubeDNN, TwoTower, MIND, SASRec])
def test_the_hyperparameters_hold_every_default(cls):
    model = cls(num_items=1000)
    expected = {
        name: parameter.default
        for base in reversed(cls.__mro__)
        if issubclass(base, RetrievalModel)
        for name, parameter in inspect.signature(base).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    kept = {name: value for name, value in model.hparams.items() if not name.startswith("_")}
    assert kept == {
        name: list(default) if isinstance(default, tuple) else default
        for name, default in (expected | {"num_items": 1000}).items()
    }


def test_a_checkpoint_that_lacks_the_defaults_loads(tmp_path):
    model = YouTubeDNN(num_items=40, ns=(5, 10), negatives=UniformNegatives(30))
    saved(tmp_path / "model.ckpt", model)
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    for name in ("embedding_dim", "similarity", "loss", "optimizer", "tile_elements", "exclude_history"):
        del content["hyper_parameters"][name]  # as checkpoints of Python-built models were
    torch.save(content, tmp_path / "old.ckpt")
    again = RetrievalModel.load_from_checkpoint(tmp_path / "old.ckpt", weights_only=True)
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])
    assert again.hparams["embedding_dim"] == 64


def test_the_vocabulary_and_the_length_of_histories_travel(checkpoint):
    again = RetrievalModel.load_from_checkpoint(checkpoint[0], weights_only=True)
    assert again.facts.item_vocabulary == ClusteredData().item_vocabulary
    assert again.facts.max_history == 5
    assert again.facts.item_counts is not None
    assert torch.equal(again.facts.item_counts, ClusteredData().item_counts)


def test_a_checkpoint_loads_with_another_loss(checkpoint, tmp_path):
    path, model = checkpoint
    again = YouTubeDNN.load_from_checkpoint(path, weights_only=True, loss=SoftmaxLoss(0.3))
    assert isinstance(again.loss, SoftmaxLoss)
    assert again.loss.num_items == 40
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])
    saved(tmp_path / "next.ckpt", again)
    third = RetrievalModel.load_from_checkpoint(tmp_path / "next.ckpt", weights_only=True)
    assert float(third.loss.temperature) == 0.3


def test_what_a_schedule_set_does_not_travel(tmp_path):
    model = small_model()
    fit(model, callbacks=[CROLossCallback(temperature=0.7)]).save_checkpoint(tmp_path / "model.ckpt")
    assert float(model.loss.temperature) == 0.7
    again = YouTubeDNN.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert float(again.loss.temperature) == 0.1


def test_numpy_numbers_and_partials_in_hyperparameters(tmp_path):
    model = small_model(
        embedding_dim=np.int64(6),
        dropout=np.float64(0.25),
        ns=np.array([5, 10]).tolist(),
        hidden_dims=[np.int32(4)],
        loss=CROLoss(temperature=np.float32(0.25), importance=TargetNImportance(np.int64(9))),
        optimizer=functools.partial(torch.optim.AdamW, lr=np.float64(0.01), betas=(np.float64(0.8), 0.9)),
        lr_scheduler=functools.partial(ReduceLROnPlateau, monitor="val/recall@5", patience=3),
    )
    saved(tmp_path / "model.ckpt", model)
    again = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    optimizer = again.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert tuple(optimizer.param_groups[0]["betas"]) == (0.8, 0.9)
    assert again.configure_optimizers()["lr_scheduler"]["scheduler"].patience == 3
    assert again.configure_optimizers()["lr_scheduler"]["monitor"] == "val/recall@5"
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])


@pytest.mark.parametrize("argument", ["optimizer", "lr_scheduler"])
def test_a_function_is_refused_before_training(argument):
    with pytest.raises(TypeError, match=r"cannot be kept in a checkpoint: .* functools.partial of a class"):
        small_model(**{argument: lambda parameters: torch.optim.Adam(parameters)})


# ---------------------------------------------------------------------- other catalogues


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (ClusteredData(num_items=44), r"\(40 items\) than the data's \(44 items\)"),
        (ClusteredData(item_prefix="thing "), r"\(40 items\) than the data's \(40 items\)"),
    ],
    ids=["other size", "other tokens"],
)
@pytest.mark.parametrize("verb", ["fit", "validate", "test", "loaded"])
def test_another_catalogue_is_refused_in_one_sentence(checkpoint, data, sizes, verb):
    if verb == "loaded":
        model = YouTubeDNN.load_from_checkpoint(checkpoint[0], weights_only=True)
        meet = functools.partial(quiet_trainer().test, model, data)
    else:
        model = small_model(num_items=data.num_items)
        meet = getattr(quiet_trainer(), verb)
        meet = functools.partial(meet, model, data, ckpt_path=checkpoint[0], weights_only=True)
    with pytest.raises(ValueError, match=f"another catalogue {sizes}") as caught:
        meet()
    assert "\n" not in str(caught.value)


def test_the_same_catalogue_is_welcome(checkpoint):
    model = small_model(pooling="max")
    quiet_trainer().test(model, ClusteredData(), ckpt_path=checkpoint[0], weights_only=True, verbose=False)
    assert torch.equal(model.recommend(HISTORIES, 9)[0], checkpoint[1].recommend(HISTORIES, 9)[0])


def test_a_checkpoint_of_something_else_is_refused(checkpoint, tmp_path):
    content = torch.load(checkpoint[0], weights_only=True)
    del content["lightning_croloss"]
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="not made by a RetrievalModel"):
        YouTubeDNN.load_from_checkpoint(tmp_path / "foreign.ckpt", weights_only=True)


# ---------------------------------------------------------------------- resume


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
