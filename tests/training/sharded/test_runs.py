"""Whole runs in shards: their checkpoints go on with any number of processes, and are read by one."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss import FullCatalogNegatives, MatrixFactorization, RetrievalModel, UniformNegatives
from lightning_croloss.data import Interactions
from lightning_croloss.errors import NonFiniteLossError, PretrainedError
from lightning_croloss.models import gather_checkpoint
from lightning_croloss.pretrained import load_pretrained
from lightning_croloss.sharding.deferred import deferred_tables
from lightning_croloss.sharding.embedding import ShardedEmbedding
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model
from tests.distributed import run_distributed
from tests.models.small_models import BreakingLoss
from tests.training.sharded.cases import in_shards

#: 300 rows are 5 batches of 64 of all processes together: it saves in the middle of the second epoch, where
#: of two batches whose gradients are added up one is waiting.
SAVED_AFTER, STEPS = 8, {"dense": 15, "sparse": 9, "users": 9}
ADDED: dict[str, Any] = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.05}
OPTIONS: dict[str, dict[str, Any]] = {
    # it draws nothing, so that any number of processes trains to the same weights
    "dense": {"gradient_clip_val": 0.05},
    "sparse": ADDED,
    "users": ADDED,
}
ADAM = functools.partial(torch.optim.AdamW, lr=0.01)


def of_one(kind: str) -> Any:
    """Return a model, as one process builds it."""
    if kind == "dense":
        return small_model(negatives=FullCatalogNegatives(), optimizer=ADAM).double()
    few = UniformNegatives(20)
    if kind == "sparse":
        return small_model(negatives=few, sparse_gradients=True)
    torch.manual_seed(0)
    return MatrixFactorization(40, 60, embedding_dim=8, negatives=few, ns=(5, 10, 20))


def built(kind: str) -> Any:
    """Return a model, as the command line builds it: with tables that have no memory yet."""
    with deferred_tables():
        return of_one(kind)


class WeightedData(ClusteredData):
    """Events of usual weights, some of which float16 could not hold, so that batches of some have none."""

    def load(self) -> Interactions:
        """Return the events."""
        events = super().load()
        weights = torch.where(torch.arange(len(events)) % 97 == 0, 70_000.0, 30_000.0)
        return replace(events, weights=weights)


def data(world: int) -> ClusteredData:
    """Return data whose steps have 64 rows, whatever the number of processes."""
    return WeightedData(batch_size=64 // world)


class SaveAfter(Callback):
    """Saves a checkpoint at the end of a batch."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        """Save after the batch."""
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready == SAVED_AFTER:
            trainer.save_checkpoint(self.path)


def trainer_of(rank: int, world: int, callbacks: Any = (), **options: Any) -> Trainer:
    """Return a trainer of this process of a group that is there already."""
    os.environ["LOCAL_RANK"] = str(rank)
    options = {
        "enable_checkpointing": any(isinstance(each, ModelCheckpoint) for each in callbacks),
        **options,
    }
    return quiet_trainer(devices=world, strategy="croloss_sharded", callbacks=list(callbacks), **options)


def whole(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights of a model with the rows of all processes."""
    found = {name: value.clone() for name, value in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, ShardedEmbedding):
            found[f"{name}.weight"] = module.whole()
    return found


def trained(rank: int, world: int, folder: str, kind: str, ckpt_path: str | None = None) -> Any:
    """Train, from a checkpoint or anew, with one saved in the middle; return weights and metrics."""
    torch.manual_seed(1)
    model = built(kind)
    save = SaveAfter(f"{folder}/{kind}.ckpt") if ckpt_path is None else Callback()
    name = "whole" if ckpt_path is None else f"from {Path(ckpt_path).stem}"
    best = ModelCheckpoint(f"{folder}/{kind}, {world} {name}", "best", save_last=True)
    trainer = trainer_of(rank, world, [save, best], max_epochs=3, **OPTIONS[kind])
    trainer.fit(model, data(world), ckpt_path=ckpt_path, weights_only=True)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert trainer.global_step == STEPS[kind]
    (tested,) = trainer.test(model, data(world), ckpt_path=best.best_model_path, verbose=False)
    return whole(model), metrics, tested, best.best_model_path


def broken(rank: int, world: int) -> str:
    """Return what is said when the loss of the second process alone becomes NaN."""
    model = small_model(loss=BreakingLoss(3 if rank == 1 else 1000), negatives=UniformNegatives(20))
    with pytest.raises(NonFiniteLossError) as caught:
        trainer_of(rank, world).fit(model, data(world))
    return str(caught.value).partition(" (")[0]


def spoilt(rank: int, world: int, folder: str) -> list[str]:
    """Return what is said of checkpoints in which a row of the second process is no number."""
    said = []
    for name in ("spoilt file", "spoilt folder"):
        with pytest.raises(PretrainedError) as caught:
            trainer_of(rank, world).validate(
                built("sparse"), data(world), ckpt_path=f"{folder}/{name}.ckpt", weights_only=True
            )
        said.append(str(caught.value).partition(folder)[2])
    return said


def two(rank: int, world: int, folder: str) -> dict[str, Any]:
    """Return for each model a run without a break, and one that goes on from its checkpoint."""
    return {"broken": broken(rank, world), "spoilt": spoilt(rank, world, folder)} | {
        kind: [
            trained(rank, world, folder, kind),
            trained(rank, world, folder, kind, f"{folder}/{kind}.ckpt"),
        ]
        for kind in STEPS
    }


def four(rank: int, world: int, folder: str) -> dict[str, Any]:
    """Return runs that go on from the checkpoints of two processes, and from an ordinary one."""
    return {
        name: trained(rank, world, folder, name.removesuffix("-one"), f"{folder}/{name}.ckpt")
        for name in (*STEPS, "dense-one")
    }


def alone(kind: str, folder: Path, resumed: bool, **options: Any) -> dict[str, torch.Tensor]:
    """Train in one process without the strategy; return the weights."""
    torch.manual_seed(1)
    model = of_one(kind)
    save = Callback() if resumed else SaveAfter(f"{folder}/{kind}-one.ckpt")
    trainer = quiet_trainer(callbacks=[save], max_epochs=3, **OPTIONS[kind])
    path = folder / f"{kind}.ckpt" if resumed else None
    trainer.fit(model, data(1), ckpt_path=path, weights_only=True)
    assert trainer.global_step == STEPS[kind]
    return dict(model.state_dict())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of all checkpoints."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[dict[str, Any]]:
    """Return what :func:`two` returns in each of two processes."""
    file = folder / "spoilt file.ckpt"
    fit(of_one("sparse"), data(1), limit_train_batches=1).save_checkpoint(file)
    content = torch.load(file, weights_only=True)
    content["state_dict"]["item_embedding.weight"][39] = torch.nan
    torch.save(content, file)
    in_shards(file, folder / "spoilt folder.ckpt")
    return run_distributed(two, 2, str(folder))


def assert_equal(one: dict[str, Any], other: dict[str, Any], atol: float = 0.0) -> None:
    """Fail unless two models have the same weights."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=atol, msg=name)


@pytest.mark.parametrize("kind", STEPS)
def test_two_processes_go_on_as_if_nothing_had_been(kind: str, runs: Any) -> None:
    weights, metrics, tested, _ = runs[0][kind][0]
    for of_process in runs:
        for others in of_process[kind]:
            # gradients that wait are kept as their mean, of which the last bit may differ
            error = 0.0 if kind == "dense" or others is of_process[kind][0] else 1e-5
            assert_equal(weights, others[0], error)
            assert others[1:3] == (pytest.approx(metrics, abs=error), pytest.approx(tested, abs=error))


def test_a_loss_that_breaks_in_one_process_ends_all_in_the_same_step(runs: Any) -> None:
    assert [of_process["broken"] for of_process in runs] == ["the training loss is nan at step 3"] * 2


def test_a_number_that_is_none_in_one_process_is_told_by_all(runs: Any) -> None:
    for of_process in runs:
        for said in of_process["spoilt"]:
            assert "cannot be used: 'item_embedding.weight' holds NaN or infinite weights" in said
    assert runs[0]["spoilt"] == runs[1]["spoilt"]


@pytest.mark.parametrize("kind", STEPS)
def test_one_process_measures_the_same(kind: str, runs: Any) -> None:
    _, _, tested, path = runs[0][kind][0]
    assert is_sharded_checkpoint(path)
    model = RetrievalModel.load_from_checkpoint(path)
    assert model.num_items == 40
    assert isinstance(model.item_embedding, torch.nn.Embedding)
    assert_equal(dict(model.state_dict()), dict(load_pretrained(path).state_dict()))
    gather_checkpoint(path, f"{path}-gathered.ckpt")
    gathered = torch.load(f"{path}-gathered.ckpt", weights_only=True)
    as_built = {name: gathered["state_dict"][name].to(value) for name, value in model.state_dict().items()}
    assert_equal(dict(model.state_dict()), as_built)
    assert "optimizer_states" not in gathered
    fresh = of_one(kind)
    (measured,) = quiet_trainer().test(fresh, data(1), ckpt_path=path, verbose=False, weights_only=True)
    assert measured == pytest.approx(tested, abs=1e-12)


def test_one_two_and_four_processes_train_alike(folder: Path, runs: Any) -> None:
    weights = alone("dense", folder, resumed=False)
    assert_equal(weights, runs[0]["dense"][0][0], 1e-9)
    assert_equal(weights, alone("dense", folder, resumed=True), 1e-9)
    for kind in ("sparse", "users"):
        alone(kind, folder, resumed=True)
    for of_process in run_distributed(four, 4, str(folder)):
        assert_equal(weights, of_process["dense"][0], 1e-9)
        assert_equal(weights, of_process["dense-one"][0], 1e-9)
        assert of_process["sparse"][1]["val/recall@20"] > 0.3
