import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lightning_croloss.losses
import lightning_croloss.schedules
from lightning_croloss import BPRLoss, CROLoss, LossScheduler, SoftmaxLoss, TargetNImportance
from lightning_croloss.callbacks import CROLossCallback
from lightning_croloss.losses import ExponentialImportance, GammaImportance
from lightning_croloss.schedules import Constant, Cosine, Geometric, Linear, Ramp, Schedule, Steps
from tests.callbacks.test_croloss_callback import Probe
from tests.data_for_tests import fit, small_model

ALL = {
    "n": Geometric(30, 3, until=0.8),
    "lambda_weight": Steps([0, 0.5, 1], [4, 0.75]),
    "temperature": Cosine(0.4, 0.1, begin=2),
    "sharpness": Linear(1, 2),
}


def target_n(n=20, **kwargs):
    return CROLoss(kwargs.pop("kernel", "softplus"), TargetNImportance(n), **kwargs)


class Own(Schedule):
    """A schedule of somebody's own, whose extremes say nothing of what is between."""

    def __init__(self, values):
        self.values = values

    def value(self, step, total):
        return self.values[min(step, len(self.values) - 1)]

    def extremes(self):
        return [self.values[0]]


class Overshooting(Ramp):
    """Goes below its end before it comes back."""

    def between(self, progress):
        return self.start + (self.end - self.start) * progress * (5 - 4 * progress)


def expected(schedules, step, total):
    return {name: schedule.value(step, total) for name, schedule in schedules.items()}


def test_it_is_used_as_a_scheduler_of_the_learning_rate():
    loss, weight = target_n(), torch.nn.Parameter(torch.randn(8, 6))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=10)
    scheduler = LossScheduler(loss, total_steps=10, **ALL)
    for step in range(10):
        values = {name: float(value) for name, value in loss.schedulable().items()}
        assert values == expected(ALL, step, 10)  # when the loss is computed
        loss(weight[:, 0], weight[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
        rates.step()
        scheduler.step()
    assert scheduler.last_step == 10
    assert scheduler.get_last_value() == expected(ALL, 10, 10)


def test_the_values_are_those_of_the_callback():
    probe, schedules = Probe(), {name: ALL[name] for name in ("n", "lambda_weight", "temperature")}
    fit(small_model(loss=target_n()), callbacks=[CROLossCallback(**schedules), probe])
    scheduler = LossScheduler(target_n(), total_steps=10, **schedules)
    for _, values in probe.seen:
        assert {**scheduler.get_last_value(), "sharpness": 1.0} == values
        scheduler.step()


def test_numbers_hold_and_what_is_left_out_is_left_alone():
    loss = CROLoss("exp", temperature=0.3)
    scheduler = LossScheduler(loss, 5, alpha=1.2, lambda_weight=None)
    for _ in range(3):
        scheduler.step()
    assert scheduler.get_last_value() == {"alpha": 1.2}
    assert {name: float(value) for name, value in loss.schedulable().items()} == {
        "alpha": 1.2,
        "temperature": 0.3,
        "lambda_weight": 0.0,
    }


def test_every_schedulable_value_can_be_scheduled():
    for loss in (
        target_n(),
        CROLoss("softplus"),
        CROLoss(importance=ExponentialImportance()),
        CROLoss(importance=GammaImportance()),
        SoftmaxLoss(),
        BPRLoss(),
    ):
        names = loss.schedulable()
        # with equal kernels the Lambda weight must stay 0
        halves = {name: 0.0 if name == "lambda_weight" and loss._same_kernels else 1.0 for name in names}
        LossScheduler(loss, 2, **{name: Linear(halves[name], halves[name]) for name in names})
        assert {name: float(value) for name, value in loss.schedulable().items()} == halves


schedules = st.one_of(
    st.builds(Linear, st.floats(1, 50), st.floats(1, 50), st.just(0.0), st.floats(0, 1)),
    st.builds(Geometric, st.floats(1, 50), st.floats(1, 50), st.just(0.0), st.integers(2, 60)),
    st.builds(Cosine, st.floats(1, 50), st.floats(1, 50)),
    st.builds(lambda *values: Steps(values, [0.3]), st.floats(1, 50), st.floats(1, 50)),
)


@given(schedules, st.integers(1, 40), st.integers(0, 60))
def test_values_are_a_function_of_the_step_and_hold_at_the_end(schedule, total, steps):
    loss = target_n(num_items=50)
    scheduler = LossScheduler(loss, total, n=schedule)
    for _ in range(steps):
        scheduler.step()
    assert scheduler.get_last_value() == {"n": schedule.value(min(steps, total), total)}
    loss(torch.zeros(2), torch.ones(2, 50))  # the loss takes whatever it was set to


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(0, 1))
def test_rounding_does_not_leave_the_ends(start, end, progress):
    for cls in (Linear, Geometric, Cosine):
        assert min(start, end) <= cls(start, end).between(progress) <= max(start, end)


@given(st.integers(0, 12), st.integers(0, 12))
def test_a_resumed_scheduler_goes_on_as_the_first(before, after):
    whole = LossScheduler(target_n(), 10, **ALL)
    for _ in range(before):
        whole.step()
    state = whole.state_dict()
    loss = target_n()
    other = LossScheduler(loss, 999, **ALL)  # the length is that of the training that began
    other.load_state_dict(state)
    assert {name: float(loss.schedulable()[name]) for name in ALL} == whole.get_last_value()
    for _ in range(after):
        whole.step()
        other.step()
    assert other.get_last_value() == whole.get_last_value()
    assert other.state_dict() == whole.state_dict()


def test_the_state_is_plain_and_loads_with_weights_only(tmp_path):
    scheduler = LossScheduler(target_n(), 10, **ALL)
    scheduler.step()
    assert scheduler.state_dict() == {"last_step": 1, "total_steps": 10}
    torch.save({"scheduler": scheduler.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)["scheduler"]
    again = LossScheduler(target_n(), 10, **ALL)
    again.load_state_dict(state)
    assert again.get_last_value() == scheduler.get_last_value()


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({}, ValueError, r"state_dict must be what LossScheduler.state_dict\(\) returned, .* got {}"),
        ({"last_epoch": 3, "_step_count": 4}, ValueError, "with last_step and total_steps, got"),
        (None, ValueError, "with last_step and total_steps, got None"),
        ({"last_step": -1, "total_steps": 5}, ValueError, "last_step must be at least 0, got -1"),
        ({"last_step": 1.5, "total_steps": 5}, TypeError, "last_step must be a whole number"),
        ({"last_step": 1, "total_steps": None}, TypeError, "total_steps must be a whole number"),
    ],
)
def test_other_states_are_refused_and_change_nothing(state, error, message):
    scheduler = LossScheduler(target_n(), 10, **ALL)
    with pytest.raises(error, match=message):
        scheduler.load_state_dict(state)
    assert scheduler.state_dict() == {"last_step": 0, "total_steps": 10}
    assert scheduler.get_last_value() == expected(ALL, 0, 10)


def test_a_copy_and_a_pickle_go_on():
    scheduler = LossScheduler(target_n(), 10, **ALL)
    scheduler.step()
    for other in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert other.loss is not scheduler.loss
        other.step()
        assert other.get_last_value() == expected(ALL, 2, 10)
    assert scheduler.get_last_value() == expected(ALL, 1, 10)


def test_the_module_that_holds_the_loss_will_do():
    loss = target_n()
    model = torch.nn.ModuleDict({"loss": loss, "tower": torch.nn.Linear(2, 2)})
    assert LossScheduler(model, 5, n=7).loss is loss
    assert LossScheduler(torch.compile(loss, backend="eager"), 5, n=7).loss is loss
    with pytest.raises(ValueError, match=r"LossScheduler needs a module with one RetrievalLoss .* has 0"):
        LossScheduler(model["tower"], 5, n=7)


def test_the_repr_can_be_pasted():
    scheduler = LossScheduler(BPRLoss(), 10, temperature=Linear(0.4, 0.1, until=0.5))
    text = repr(scheduler)
    assert text.endswith(", total_steps=10, temperature=Linear(start=0.4, end=0.1, until=0.5))")
    names = {**vars(lightning_croloss.schedules), **vars(lightning_croloss.losses)}
    assert repr(eval(text, names)) == text
    assert repr(LossScheduler(BPRLoss(), 10, temperature=0.2)).endswith("total_steps=10, temperature=0.2)")
    for schedule in (*ALL.values(), Constant(3), Steps([7], [])):
        assert repr(eval(repr(schedule), names)) == repr(schedule)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("loss", "given", "message"),
    [
        (
            CROLoss(),
            {"n": 5},
            "LossScheduler schedules 'n', which CROLoss with PowerImportance does not have",
        ),
        (BPRLoss(), {"n": 5}, "'n', which BPRLoss does not have; known: temperature"),
        (BPRLoss(), {"temprature": 1.0}, "schedules 'temprature', .*did you mean 'temperature'"),
        (target_n(), {"n": -3}, "schedule of 'n': n must be a number of at least 1, got -3"),
        (target_n(), {"n": math.nan}, "n must be a finite number, got nan"),
        (target_n(), {"n": Linear(20, 0.5)}, "schedule of 'n': n must be a number of at least 1, got 0.5"),
        (target_n(num_items=40), {"n": Geometric(41, 5)}, "at most the size of the catalogue, 40 items"),
        (target_n(), {"temperature": Steps([1, 0], [0.5])}, "temperature must be a positive number, got 0"),
        (target_n(), {"sharpness": Linear(1, -1)}, "schedule of 'sharpness': sharpness must be a positive"),
        (target_n(), {"lambda_weight": 1.5}, "lambda_weight must be between 0 and 1, got 1.5"),
        (
            SoftmaxLoss(learnable_temperature=True),
            {"temperature": 0.2},
            "LossScheduler schedules 'temperature', which is a parameter that the loss learns",
        ),
        (CROLoss("sigmoid"), {"lambda_weight": Linear(0, 1)}, "does nothing when kernel and lambda_kernel"),
        (CROLoss("psl_tanh"), {"temperature": Linear(2, 0.5)}, "schedule of 'temperature': "),
        # between the extremes
        (
            target_n(),
            {"n": Overshooting(20, 1)},
            r"schedule of 'n' at step \d+: n must be a number of at least",
        ),
        (target_n(), {"n": Own([5.0, 5.0, -3.0, 5.0])}, "schedule of 'n' at step 2: n must be .* got -3"),
        (
            target_n(),
            {"n": Own([5.0, math.nan, 5.0])},
            "schedule of 'n' at step 1: n must be a finite number",
        ),
    ],
)
def test_unusable_schedules_are_refused_in_one_sentence(loss, given, message):
    before = {name: float(value) for name, value in loss.schedulable().items()}
    with pytest.raises(ValueError, match=message) as caught:
        LossScheduler(loss, 100, **given)
    assert "\n" not in str(caught.value)
    assert {name: float(value) for name, value in loss.schedulable().items()} == before


@pytest.mark.parametrize("value", ["5", True, Linear, lambda step: 5.0, [5, 1], torch.tensor(5.0)])
def test_what_is_neither_a_number_nor_a_schedule_is_refused(value):
    with pytest.raises(TypeError, match=r"n must be a number or a schedule such as Linear\(0.4, 0.1\), got"):
        LossScheduler(target_n(), 100, n=value)


@pytest.mark.parametrize(
    ("total", "error", "message"),
    [
        (0, ValueError, "total_steps must be at least 1, got 0"),
        (-5, ValueError, "total_steps must be at least 1, got -5"),
        (10.0, TypeError, "total_steps must be a whole number of optimizer steps, got 10.0"),
        (None, TypeError, "total_steps must be a whole number of optimizer steps, got None"),
    ],
)
def test_the_length_is_checked(total, error, message):
    with pytest.raises(error, match=message):
        LossScheduler(target_n(), total, n=5)


@pytest.mark.parametrize("loss", [None, "CROLoss", CROLoss, torch.optim.SGD])
def test_the_loss_is_checked(loss):
    with pytest.raises(TypeError, match="loss must be a RetrievalLoss such as CROLoss, got"):
        LossScheduler(loss, 10, n=5)


def test_a_value_that_no_look_ahead_found_is_refused_at_its_step():
    rare = Own([5.0] * 1001 + [-3.0] + [5.0] * 3000)
    loss = target_n()
    scheduler = LossScheduler(loss, 4000, n=rare)
    scheduler.load_state_dict({"last_step": 1000, "total_steps": 4000})
    with pytest.raises(ValueError, match=r"schedule of 'n' at step 1001: n must be .* at least 1, got -3"):
        scheduler.step()


def test_the_callback_refuses_what_is_between_the_extremes():
    model = small_model(loss=target_n())
    with pytest.raises(ValueError, match=r"CROLossCallback, schedule of 'n' at step 2: n must be .* got -3"):
        fit(model, callbacks=[CROLossCallback(n=Own([5.0, 5.0, -3.0, 5.0]))])
