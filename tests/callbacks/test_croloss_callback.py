import csv
import re
import warnings

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from lightning_croloss import (
    BPRLoss,
    CROLoss,
    CROLossCallback,
    FullCatalogNegatives,
    PowerImportance,
    SoftmaxLoss,
    TargetNImportance,
)
from lightning_croloss.callbacks import Constant, Cosine, Geometric, Linear, Schedule, Steps
from lightning_croloss.configurable import to_config
from tests.data_for_tests import ClusteredData, fit, small_model


class Probe(Callback):
    """Notes the values that the loss works with in each batch."""

    def __init__(self):
        self.seen = []

    def on_before_backward(self, trainer, pl_module, loss):
        values = {name: float(value) for name, value in pl_module.loss.schedulable().items()}
        self.seen.append((trainer.global_step, values))


class ForeignModule(LightningModule):
    """No model of this package: a table of scores, and the loss."""

    def __init__(self, loss=None, other=None):
        super().__init__()
        self.loss, self.other = loss, other
        self.scores = nn.Parameter(torch.randn(32, 41))

    def training_step(self, batch, batch_idx):
        scores = self.scores[: batch.batch_size]
        return self.loss(scores[:, 0], scores[:, 1:])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def target_n(n=20, **kwargs):
    return CROLoss(kwargs.pop("kernel", "softplus"), TargetNImportance(n), **kwargs)


def logged(folder, name):
    with (folder / "metrics.csv").open() as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("foreign", [False, True])
def test_every_step_works_with_the_scheduled_values(foreign, accumulate):
    schedules = {
        "n": Geometric(30, 3, until=0.8),
        "lambda_weight": Steps([0, 0.5, 1], [4, 0.75]),
        "temperature": Cosine(0.4, 0.1, begin=2),
    }
    probe = Probe()
    model = ForeignModule(target_n()) if foreign else small_model(loss=target_n())
    trainer = fit(
        model,
        callbacks=[CROLossCallback(**schedules), probe],
        max_epochs=2,
        accumulate_grad_batches=accumulate,
        limit_val_batches=0 if foreign else 1.0,
    )
    total = trainer.global_step
    assert (total, len(probe.seen)) == (20 // accumulate, 20)
    for batch, (step, values) in enumerate(probe.seen):
        assert step == batch // accumulate
        expected = {name: schedule.value(step, total) for name, schedule in schedules.items()}
        assert values == {**expected, "sharpness": 1.0}


def test_alpha_is_scheduled_and_numbers_are_constants():
    probe = Probe()
    loss = CROLoss("softplus", PowerImportance(1.0))
    fit(small_model(loss=loss), callbacks=[CROLossCallback(alpha=Linear(0, 2), lambda_weight=0.25), probe])
    assert [values["alpha"] for _, values in probe.seen] == pytest.approx([0.2 * step for step in range(10)])
    assert {values["lambda_weight"] for _, values in probe.seen} == {0.25}
    assert {values["temperature"] for _, values in probe.seen} == {0.1}  # left alone


def test_the_schedule_reaches_the_gradient():
    def weights(**schedules):
        model = small_model(loss=target_n())
        fit(model, ClusteredData(seed=0), callbacks=[CROLossCallback(**schedules)], limit_train_batches=2)
        return model.item_embedding.weight

    plain = weights()
    for changed in ({"n": 5}, {"temperature": 0.3}, {"lambda_weight": 0.5}):
        assert not torch.equal(weights(**changed), plain)


def test_what_is_logged(tmp_path):
    callback = CROLossCallback(n=Linear(30, 10), temperature=0.2)
    trainer = fit(
        small_model(loss=target_n()), callbacks=[callback], folder=tmp_path, max_epochs=2, log_every_n_steps=5
    )
    n, ranks = logged(tmp_path, "croloss/n"), logged(tmp_path, "train/soft_rank")
    assert n == pytest.approx({step: 30 - step for step in (4, 9, 14, 19)})
    assert logged(tmp_path, "croloss/temperature").keys() == n.keys() == ranks.keys()
    assert all(value == pytest.approx(0.2) for value in logged(tmp_path, "croloss/temperature").values())
    assert all(1.0 <= rank < 200.0 for rank in ranks.values())
    assert "croloss/alpha" not in trainer.callback_metrics


def test_the_soft_rank_logged_is_that_of_the_batch(tmp_path):
    model = ForeignModule(CROLoss())
    expected = float(model.loss.soft_rank(model.scores[:, 0], model.scores[:, 1:]).mean())
    fit(model, callbacks=[CROLossCallback()], folder=tmp_path, limit_train_batches=1, limit_val_batches=0)
    assert logged(tmp_path, "train/soft_rank")[0] == pytest.approx(expected)


def test_a_loss_without_ranks_is_scheduled_without_one(tmp_path):
    model = small_model(loss=SoftmaxLoss())
    trainer = fit(model, callbacks=[CROLossCallback(temperature=Linear(0.4, 0.2))], folder=tmp_path)
    assert logged(tmp_path, "croloss/temperature")[5] == pytest.approx(0.3)
    assert "train/soft_rank" not in trainer.callback_metrics


# ---------------------------------------------------------------------- refusals, before training


class MustNotTrain(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        raise AssertionError("training began")


@pytest.mark.parametrize(
    ("loss", "schedules", "message"),
    [
        (CROLoss(), {"n": 5}, "schedules 'n', which CROLoss with PowerImportance does not have"),
        (target_n(), {"alpha": 1}, "schedules 'alpha', which CROLoss with TargetNImportance does not have"),
        (BPRLoss(), {"n": 5}, "schedules 'n', which BPRLoss does not have; known: temperature"),
        (SoftmaxLoss(), {"lambda_weight": 0.5}, "'lambda_weight', which SoftmaxLoss does not have"),
        (
            target_n(),
            {"n": Linear(41, 5)},
            "'n': n must be at most the size of the catalogue, 40 items, got 41",
        ),
        (target_n(), {"n": Linear(20, 0.5)}, "'n': n must be a number of at least 1, got 0.5"),
        (target_n(), {"lambda_weight": 1.5}, "'lambda_weight': .*between 0 and 1, got 1.5"),
        (target_n(), {"lambda_weight": -0.5}, "'lambda_weight': .*between 0 and 1, got -0.5"),
        (CROLoss("sigmoid"), {"lambda_weight": Linear(0, 1)}, "does nothing when kernel and lambda_kernel"),
        (target_n(), {"temperature": 0}, "'temperature': temperature must be a positive number, got 0"),
        (BPRLoss(), {"temperature": Linear(1, -1)}, "temperature must be a positive number, got -1"),
        (
            CROLoss(),
            {"alpha": Steps([1, -1], [0.5])},
            "'alpha': alpha must be a number of at least 0, got -1",
        ),
    ],
)
def test_unusable_schedules_are_refused_in_one_sentence(loss, schedules, message):
    model = small_model(loss=loss)
    with pytest.raises(ValueError, match=message) as caught:
        fit(model, callbacks=[CROLossCallback(**schedules), MustNotTrain()])
    assert "\n" not in str(caught.value)
    assert "CROLossCallback" in str(caught.value)


@pytest.mark.parametrize(
    ("losses", "number"), [((None, None), 0), ((CROLoss(), CROLoss()), 2), ((nn.MSELoss(), None), 0)]
)
def test_a_module_must_hold_one_loss(losses, number):
    message = f"needs a module with one RetrievalLoss as an attribute, ForeignModule has {number}"
    with pytest.raises(ValueError, match=message):
        fit(ForeignModule(*losses), callbacks=[CROLossCallback(), MustNotTrain()], limit_val_batches=0)


def test_the_same_loss_twice_is_one():
    loss = CROLoss()
    fit(ForeignModule(loss, loss), callbacks=[CROLossCallback(alpha=1.5)], limit_val_batches=0)
    assert float(loss.importance.alpha) == 1.5


def test_fractions_of_an_unknown_length_are_refused():
    message = "the schedule of temperature ends at a fraction of the training, whose length is unknown: set"
    endless = {"max_epochs": -1, "limit_val_batches": 0}
    with pytest.raises(ValueError, match=message):
        fit(
            ForeignModule(target_n()),
            callbacks=[CROLossCallback(temperature=Linear(0.4, 0.1), n=5), MustNotTrain()],
            **endless,
        )
    probe = Probe()

    class Enough(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.should_stop = trainer.global_step >= 8

    callback = CROLossCallback(temperature=Linear(0.5, 0.1, until=4), n=5)
    fit(ForeignModule(target_n()), callbacks=[callback, probe, Enough()], min_epochs=0, **endless)
    seen = [values["temperature"] for _, values in probe.seen[:6]]
    assert seen == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])


# ---------------------------------------------------------------------- state


def test_the_length_of_training_is_kept():
    callback = CROLossCallback(n=Linear(9, 1))
    assert callback.state_dict() == {"total_steps": None}
    fit(small_model(loss=target_n()), callbacks=[callback], max_epochs=2)
    assert callback.state_dict() == {"total_steps": 20}
    other = CROLossCallback(n=Linear(9, 1))
    other.load_state_dict(callback.state_dict())
    probe = Probe()
    fit(small_model(loss=target_n()), callbacks=[other, probe], max_epochs=4, limit_train_batches=5)
    assert probe.seen[10][1]["n"] == 9 - 8 * 10 / 20


def test_two_callbacks_keep_their_own_state(tmp_path):
    callbacks = [CROLossCallback(n=Linear(9, 1)), CROLossCallback(temperature=Linear(0.4, 0.1))]
    fit(small_model(loss=target_n()), callbacks=callbacks).save_checkpoint(tmp_path / "model.ckpt")
    states = torch.load(tmp_path / "model.ckpt", weights_only=True)["callbacks"].values()
    assert sum(state == {"total_steps": 10} for state in states) == 2


def test_the_arguments_are_recorded():
    assert to_config(CROLossCallback(n=Constant(5)))["init_args"] == {
        "n": {"class_path": "lightning_croloss.callbacks.Constant", "init_args": {"value": 5}},
        "alpha": None,
        "lambda_weight": None,
        "temperature": None,
    }
    assert all(isinstance(entry, Schedule) for entry in CROLossCallback(n=5, alpha=1).schedules.values())


# ---------------------------------------------------------------------- a temperature too high for n


def warnings_of(n, temperature, **options):
    model = small_model(
        loss=target_n(kernel="sigmoid", temperature=temperature), negatives=FullCatalogNegatives()
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, callbacks=[CROLossCallback(n=n)], **options)
    return [str(entry.message) for entry in caught if "soft rank" in str(entry.message)]


def test_a_temperature_too_high_for_n_is_warned_of_once():
    # at τ = 5 each of the 40 items adds about σ(0) = 1/2
    (message,) = warnings_of(2, 5.0, max_epochs=2)
    expected = r"best soft rank of this epoch is (19|20), far above n=2: at temperature 5 .* lower the temp"
    assert re.search(expected, message)


def test_a_temperature_that_is_learned_is_told_as_it_is():
    model = small_model(
        loss=target_n(kernel="sigmoid", temperature=5.0, learnable_temperature=True),
        negatives=FullCatalogNegatives(),
    )
    with pytest.warns(UserWarning, match=r"far above n=2: at temperature (4\.\d+|5) the many items"):
        fit(model, callbacks=[CROLossCallback(n=2)])


@pytest.mark.parametrize(("n", "temperature"), [(2, 0.1), (10, 5.0)])
def test_no_warning_when_the_ranks_come_near_n(n, temperature):
    assert warnings_of(n, temperature, max_epochs=2) == []


# ---------------------------------------------------------------------- manual optimization


class Manual(ForeignModule):
    """Steps its optimizers itself, each after some batches."""

    def __init__(self, every=(1,)):
        super().__init__(CROLoss("exp"))
        self.every, self.automatic_optimization, self.seen = every, False, []
        self.tables = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in every])

    def training_step(self, batch, batch_idx):
        self.seen.append(float(self.loss.temperature))
        self.manual_backward(super().training_step(batch, batch_idx) + sum(self.tables))
        optimizers = self.optimizers() if len(self.every) > 1 else [self.optimizers()]
        for optimizer, every in zip(optimizers, self.every, strict=True):
            if (batch_idx + 1) % every == 0:
                optimizer.step()
                optimizer.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD([table], lr=0.1) for table in self.tables]


@pytest.mark.parametrize("every", [(1,), (1, 1), (2,), (1, 3)])
def test_under_manual_optimization_batches_count(tmp_path, every):
    module = Manual(every)
    callback = CROLossCallback(temperature=Linear(1.0, 0.1))
    fit(
        module,
        callbacks=[callback],
        max_epochs=2,
        limit_val_batches=0,
        logger=CSVLogger(tmp_path, "", ""),
        log_every_n_steps=2,
    )
    assert callback.total_steps == 20
    assert module.seen == pytest.approx([1.0 - 0.9 * step / 20 for step in range(20)])
    values = logged(tmp_path, "croloss/temperature").values()
    assert list(values) == pytest.approx(module.seen[1::2])
    assert len(logged(tmp_path, "train/soft_rank")) == 10


@pytest.mark.parametrize("every", [(1, 1), (2,)])
@pytest.mark.parametrize("steps", [3, 10, 14])
def test_manual_optimization_is_resumed_where_it_was(tmp_path, every, steps):
    def train(module, **options):
        callbacks = [CROLossCallback(temperature=Linear(1.0, 0.1)), *options.pop("callbacks", [])]
        return fit(module, callbacks=callbacks, max_epochs=2, limit_val_batches=0, **options)

    class Saving(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if len(pl_module.seen) == steps:
                trainer.save_checkpoint(tmp_path / "some.ckpt")

    whole = Manual(every)
    train(whole, callbacks=[Saving()])
    rest = Manual(every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(rest, ckpt_path=tmp_path / "some.ckpt")
    assert rest.seen == pytest.approx(whole.seen[steps:])


def test_a_batch_that_was_stopped_in_its_midst_counts_once(tmp_path):
    class Stopped(Manual):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            if len(self.seen) == 4:
                self.trainer.save_checkpoint(tmp_path / "some.ckpt")

    def train(module, **options):
        fit(module, callbacks=[CROLossCallback(temperature=Linear(1.0, 0.1))], limit_val_batches=0, **options)
        return module.seen

    whole = train(Stopped())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert train(Manual(), ckpt_path=tmp_path / "some.ckpt")[0] == whole[3]


def test_fractions_under_manual_optimization_need_a_number_of_batches():
    with pytest.raises(ValueError, match=r"max_steps=8 does not say how many batches .*max_epochs alone"):
        fit(
            Manual((1, 1)),
            callbacks=[CROLossCallback(temperature=Linear(1.0, 0.1)), MustNotTrain()],
            max_steps=8,
        )
    module = Manual((1, 1))
    fit(module, callbacks=[CROLossCallback(temperature=Linear(1.0, 0.5, until=4))], max_steps=10)
    assert module.seen == pytest.approx([1.0, 0.875, 0.75, 0.625, 0.5])
