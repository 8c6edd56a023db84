"""States that no run can have are refused before any of them is loaded."""

import copy
import functools

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import ExponentialLR, LinearLR, SequentialLR

from lightning_croloss import SLAtKLoss
from lightning_croloss.training.saved_states import check_scheduler
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model
from tests.training.cases import set_entry

pytestmark = pytest.mark.filterwarnings("ignore")


def small():
    return small_model(lr_scheduler=functools.partial(ExponentialLR, gamma=0.9))


def trainer_of(folder, **options):
    stopping = EarlyStopping("val/recall@5", mode="max")
    callbacks = [ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1), stopping]
    return quiet_trainer(enable_checkpointing=True, callbacks=callbacks, limit_train_batches=3, **options)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A checkpoint in the middle of an epoch."""
    folder = tmp_path_factory.mktemp("honest")
    trainer_of(folder).fit(small(), ClusteredData())
    return torch.load(folder / "step=2.ckpt", weights_only=True)


SAVED = ModelCheckpoint(every_n_train_steps=2).state_key
FIT_LOOP = ("loops", "fit_loop")
BROKEN = [
    (("optimizer_states",), ...),
    (("optimizer_states",), {}),
    (("optimizer_states", 0), []),
    (("optimizer_states", 0, "param_groups", 0, "lr"), "fast"),
    (("optimizer_states", 0, "param_groups", 0, "params"), [0]),
    (("optimizer_states", 0, "state", 0, "exp_avg"), torch.zeros(1)),
    (("optimizer_states", 0, "state", 99), {}),
    (("optimizer_states",), []),
    (("optimizer_states", 0), ...),
    (("optimizer_states", 0, "state"), {}),
    (("optimizer_states", 0, "state", 0), {}),
    (("optimizer_states", 0, "param_groups", 0, "betas"), ...),
    (("lr_schedulers",), None),
    (("lr_schedulers",), []),
    (("lr_schedulers", 0), {}),
    (("lr_schedulers", 0, "last_epoch"), ...),
    (("lr_schedulers", 0, "base_lrs"), []),
    (("lr_schedulers", 0), 5),
    (("lr_schedulers", 0, "step"), 5),
    (("lr_schedulers", 0, "get_lr"), None),
    (("lr_schedulers", 0, "optimizer"), None),
    (("lr_schedulers", 0, "last_epoch"), "x"),
    (("lr_schedulers", 0, "base_lrs"), 0.1),
    (("lr_schedulers",), ...),
    (("loops",), ...),
    (FIT_LOOP, 5),
    ((*FIT_LOOP, "epoch_progress"), ...),
    ((*FIT_LOOP, "epoch_progress", "current", "ready"), -1),
    ((*FIT_LOOP, "epoch_progress", "current", "increment_ready"), 5),
    ((*FIT_LOOP, "epoch_loop.batch_progress", "total"), ...),
    ((*FIT_LOOP, "state_dict", "combined_loader"), [{"epoch": "x"}]),
    ((*FIT_LOOP, "state_dict", "combined_loader"), []),
    ((*FIT_LOOP, "state_dict", "combined_loader", 0), {}),
    ((*FIT_LOOP, "state_dict", "combined_loader", 0, "rows"), ...),
    ((*FIT_LOOP, "state_dict", "combined_loader", 0, "seed"), ...),
    ((*FIT_LOOP, "state_dict"), {}),
    ((*FIT_LOOP, "epoch_progress", "current"), {}),
    ((*FIT_LOOP, "epoch_loop.batch_progress", "total"), {}),
    ((*FIT_LOOP, "epoch_loop.batch_progress", "current", "processed"), ...),
    ((*FIT_LOOP, "epoch_loop.state_dict"), {}),
    ((*FIT_LOOP, "epoch_loop.automatic_optimization.optim_progress"), ...),
    ((*FIT_LOOP, "epoch_loop.automatic_optimization.optim_progress"), {}),
    ((*FIT_LOOP, "epoch_loop.automatic_optimization.optim_progress", "optimizer", "step"), ...),
    (("callbacks",), []),
    (("callbacks",), ...),
    (("callbacks", "EarlyStopping{'monitor': 'val/recall@5', 'mode': 'max'}"), {}),
    (("callbacks", "EarlyStopping{'monitor': 'val/recall@5', 'mode': 'max'}", "wait_count"), ...),
    (("callbacks", SAVED, "best_model_path"), ["x"]),
    (("callbacks", "EarlyStopping{'monitor': 'val/recall@5', 'mode': 'max'}", "best_score"), "best"),
    (("callbacks", "EarlyStopping{'monitor': 'val/recall@5', 'mode': 'max'}", "patience"), None),
    (("global_step",), "5"),
    (("lightning_croloss",), 5),
    (("lightning_croloss", "seed"), None),
    (("lightning_croloss", "items"), 7),
    (("lightning_croloss", "counts"), torch.zeros(3)),
    (("lightning_croloss", "position", "moment"), 5),
    (("lightning_croloss", "position"), {}),
    (("lightning_croloss", "position", "metrics"), {"a": "b"}),
    (("lightning_croloss", "position", "metrics"), ...),
    (("lightning_croloss", "position", "saved"), ...),
    (("lightning_croloss", "position", "saved"), 5),
    (("hyper_parameters",), ...),
    (("state_dict", "item_embedding.weight"), torch.zeros(41, 8).long()),
    (("state_dict",), ...),
]


@pytest.mark.parametrize(("path", "value"), BROKEN, ids=lambda value: repr(value)[:60])
def test_a_state_of_another_kind_is_refused(honest, tmp_path, path, value):
    content = copy.deepcopy(honest)
    set_entry(content, path, value)
    torch.save(content, tmp_path / "broken.ckpt")
    trainer = trainer_of(tmp_path, max_epochs=2)
    with pytest.raises(ValueError, match=r"damaged|checkpoint") as caught:
        trainer.fit(small(), ClusteredData(), ckpt_path=tmp_path / "broken.ckpt", weights_only=True)
    assert "\n" not in str(caught.value)
    assert trainer.global_step == 0


def test_the_honest_one_is_resumed(honest, tmp_path):
    torch.save(honest, tmp_path / "honest.ckpt")
    trainer = fit(small(), ckpt_path=tmp_path / "honest.ckpt", limit_train_batches=3, max_epochs=2)
    assert trainer.global_step == 6


def test_a_run_that_has_made_no_step_has_no_states(tmp_path):
    """A checkpoint may be written before the first one; and SGD keeps nothing without momentum."""
    trainer = trainer_of(tmp_path, max_epochs=0)
    trainer.fit(small(), ClusteredData())
    trainer.save_checkpoint(tmp_path / "begin.ckpt")
    resumed = fit(small(), ckpt_path=tmp_path / "begin.ckpt", limit_train_batches=3)
    assert resumed.global_step == 3


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_optimizer_that_keeps_states_must_find_some(tmp_path, momentum):
    def model():
        return small_model(optimizer=functools.partial(torch.optim.SGD, lr=0.1, momentum=momentum))

    trainer_of(tmp_path).fit(model(), ClusteredData())
    content = torch.load(tmp_path / "step=2.ckpt", weights_only=True)
    content["optimizer_states"][0]["state"] = {}
    torch.save(content, tmp_path / "empty.ckpt")
    resume = functools.partial(trainer_of(tmp_path / "run", max_epochs=2).fit, model(), ClusteredData())
    if momentum:
        with pytest.raises(ValueError, match=r"its optimizer_states\.state is damaged"):
            resume(ckpt_path=tmp_path / "empty.ckpt", weights_only=True)
    else:
        resume(ckpt_path=tmp_path / "empty.ckpt", weights_only=True)


@pytest.mark.parametrize("value", [..., {}, []], ids=["missing", "empty", "another kind"])
def test_what_a_loss_keeps_between_steps_must_be_there(tmp_path, value):
    def kept():
        return small_model(loss=SLAtKLoss(k=5, refresh_epochs=2))

    trainer_of(tmp_path).fit(kept(), ClusteredData())
    content = torch.load(tmp_path / "step=2.ckpt", weights_only=True)
    trainer_of(tmp_path, max_epochs=2).fit(kept(), ClusteredData(), ckpt_path=tmp_path / "step=2.ckpt")
    set_entry(content, ("lightning_croloss", "loss"), value)
    torch.save(content, tmp_path / "broken.ckpt")
    with pytest.raises(ValueError, match="damaged: it lacks what its loss keeps"):
        trainer_of(tmp_path).fit(kept(), ClusteredData(), ckpt_path=tmp_path / "broken.ckpt")


def test_schedulers_within_schedulers():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    inner = [LinearLR(optimizer), ExponentialLR(optimizer, 0.9)]
    both = SequentialLR(optimizer, inner, milestones=[2])
    check_scheduler(both, both.state_dict(), "lr_schedulers")
    for path, value in (
        (("_schedulers", 0, "step"), 1),
        (("_schedulers",), []),
        (("_schedulers",), ...),
        (("_milestones",), 5),
    ):
        state = copy.deepcopy(both.state_dict())
        set_entry(state, path, value)
        with pytest.raises(ValueError, match="its lr_schedulers"):
            check_scheduler(both, state, "lr_schedulers")
