"""A scheduled n of a loss that was told only its n: the rule chooses α and the temperature of each step."""

import copy

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss import CROLoss, CROLossCallback, LossScheduler
from lightning_croloss.callbacks import Constant, Geometric, Linear, Schedule
from lightning_croloss.losses.rule import choose
from tests.callbacks.test_croloss_callback import ForeignModule, MustNotTrain, Probe, logged
from tests.data_for_tests import ClusteredData, fit, small_model

SCHEDULE = Geometric(30, 5, until=0.8)


def by_rule(n, size=40, kernel="exp", **more):
    choice = choose(n, size, kernel=kernel)
    return {"alpha": choice.alpha, "temperature": choice.temperature, **more}


def seen(loss, *callbacks, foreign=False):
    """Train, and return the values that the loss had in each batch."""
    probe = Probe()
    model = ForeignModule(loss) if foreign else small_model(loss=loss)
    fit(model, callbacks=[*callbacks, probe], limit_val_batches=0)
    return [values for _, values in probe.seen]


@pytest.mark.parametrize("kernel", ["exp", "softplus"])
@pytest.mark.parametrize("foreign", [False, True])
def test_each_step_has_what_the_rule_chooses_for_its_n(foreign, kernel):
    found = seen(CROLoss(kernel, n=20), CROLossCallback(n=SCHEDULE), foreign=foreign)
    size = None if foreign else 40
    expected = [by_rule(SCHEDULE.value(step, 10), size, kernel, lambda_weight=0.0) for step in range(10)]
    assert found == expected
    if kernel == "softplus":  # with exp the rule's temperature hardly depends on n
        assert len({values["temperature"] for values in found}) > 3


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("loss", "others", "temperature"),
    [
        (lambda: CROLoss("exp", n=20, temperature=0.33), {}, lambda step: 0.33),
        (lambda: CROLoss("exp", n=20), {"temperature": Linear(0.4, 0.2)}, lambda step: 0.4 - 0.02 * step),
    ],
)
def test_a_temperature_that_is_given_or_scheduled_wins(loss, others, temperature, order):
    expected = [pytest.approx(temperature(step)) for step in range(10)]
    together = seen(loss(), CROLossCallback(n=SCHEDULE, **others))
    apart = seen(loss(), *[CROLossCallback(n=SCHEDULE), CROLossCallback(**others)][::order])
    for found in (together, apart):
        assert [values["temperature"] for values in found] == expected
        alphas = [by_rule(SCHEDULE.value(step, 10))["alpha"] for step in range(10)]
        assert [values["alpha"] for values in found] == alphas


def test_the_kernel_stays():
    model = small_model(loss=CROLoss(n=20))
    kernel = model.loss.kernel
    fit(model, callbacks=[CROLossCallback(n=SCHEDULE)], limit_val_batches=0)
    assert model.loss.kernel is kernel


def test_a_temperature_that_is_learned_is_left_alone():
    found = seen(CROLoss("exp", n=20, learnable_temperature=True), CROLossCallback(n=SCHEDULE))
    assert [values["alpha"] for values in found] == [
        by_rule(SCHEDULE.value(step, 10))["alpha"] for step in range(10)
    ]
    assert "temperature" not in found[0]


def test_what_is_logged(tmp_path):
    fit(small_model(loss=CROLoss("exp", n=20)), callbacks=[CROLossCallback(n=SCHEDULE)], folder=tmp_path)
    n = logged(tmp_path, "croloss/n")
    assert n == pytest.approx({step: SCHEDULE.value(step, 10) for step in range(10)})
    for name in ("alpha", "temperature"):
        expected = {step: by_rule(SCHEDULE.value(step, 10))[name] for step in range(10)}
        assert logged(tmp_path, f"croloss/{name}") == pytest.approx(expected)


def test_the_schedule_reaches_the_gradient():
    def weights(**schedules):
        model = small_model(loss=CROLoss(n=20))
        fit(model, ClusteredData(seed=0), callbacks=[CROLossCallback(**schedules)], limit_train_batches=2)
        return model.item_embedding.weight

    assert torch.equal(weights(n=20), weights())  # its own n changes nothing
    assert not torch.equal(weights(n=5), weights())


class Own(Schedule):
    """A schedule of somebody's own, whose extremes say nothing of what is between."""

    def value(self, step, total):
        return 41.0 if step == 3 else 5.0

    def extremes(self):
        return [5.0]


@pytest.mark.parametrize(
    ("schedules", "sentence"),
    [
        ({"n": Linear(41, 5)}, "'n': n must be at most the size of the catalogue, 40 items, got 41"),
        ({"n": Own()}, "'n' at step 3: n must be at most the size of the catalogue, 40 items, got 41"),
        ({"n": 0.5}, "'n': n must be a number of at least 1, got 0.5"),
        ({"sharpness": 1.0}, "schedules 'sharpness', which CROLoss with PowerImportance does not have"),
    ],
)
def test_unusable_schedules_are_refused_in_one_sentence(schedules, sentence):
    model = small_model(loss=CROLoss(n=20))
    with pytest.raises(ValueError, match=sentence) as caught:
        LossScheduler(model.loss, 10, **schedules)
    assert "\n" not in str(caught.value)
    if "n" in schedules:
        with pytest.raises(ValueError, match=sentence):
            fit(model, callbacks=[CROLossCallback(**schedules), MustNotTrain()])


def test_nothing_follows_where_everything_is_the_users():
    record = CROLoss(n=20).by_rule | {"alpha": None, "temperature": None}
    with pytest.raises(ValueError, match="schedules 'n', which CROLoss with PowerImportance does not have"):
        LossScheduler(CROLoss(n=20, temperature=0.3, importance="power", by_rule=record), 10, n=5)


@pytest.mark.parametrize("step", [2, 8])
def test_a_resumed_training_is_the_uninterrupted_one(step, tmp_path):
    def run(folder, ckpt_path=None):
        model, probe = small_model(loss=CROLoss("exp", n=20)), Probe()
        kept = ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1)
        callbacks = [CROLossCallback(n=SCHEDULE), probe, kept]
        options = {"enable_checkpointing": True, "limit_val_batches": 0, "max_epochs": 2}
        fit(model, ClusteredData(seed=0), ckpt_path=ckpt_path, callbacks=callbacks, **options)
        return model, probe.seen

    whole, values = run(tmp_path)
    resumed, others = run(tmp_path / "again", tmp_path / f"step={step}.ckpt")
    assert others == values[step:]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_scheduler_of_any_loop():
    loss = CROLoss("exp", n=20, num_items=40)
    scheduler = LossScheduler(loss, total_steps=10, n=SCHEDULE, lambda_weight=0.5)
    for step in range(10):
        n = SCHEDULE.value(step, 10)
        assert scheduler.get_last_value() == {"n": n, "lambda_weight": 0.5, **by_rule(n)}
        assert {name: float(value) for name, value in loss.schedulable().items()} == {
            "lambda_weight": 0.5,
            **by_rule(n),
        }
        state = copy.deepcopy(scheduler.state_dict())
        again = LossScheduler(
            CROLoss("exp", n=20, num_items=40), total_steps=3, n=SCHEDULE, lambda_weight=0.5
        )
        again.load_state_dict(state)
        assert again.get_last_value() == scheduler.get_last_value()
        scheduler.step()
    assert repr(LossScheduler(loss, 10, n=Constant(5))).endswith("total_steps=10, n=5.0)")
