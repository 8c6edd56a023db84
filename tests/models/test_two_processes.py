"""Under DDP every architecture does in two processes what it does in one; they start once for all."""

from __future__ import annotations

import copy
import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from lightning_croloss import RetrievalModel, UniformNegatives
from lightning_croloss.training.resume import seed_step
from tests.data_for_tests import ClusteredData, quiet_trainer
from tests.distributed import be_process, run_distributed
from tests.models.test_started_processes import known
from tests.registries import concrete

ARCHITECTURES = {cls.__name__: cls for cls in concrete(RetrievalModel)}
#: Odd, so that one process has a user more than the other.
USERS = 61

pytestmark = pytest.mark.slow


class Watch(Callback):
    """Notes the first batch and its gradients as the optimizer gets them, and what is predicted for whom."""

    def __init__(self) -> None:
        self.batch: Any = None
        self.gradients: dict[str, Any] = {}
        self.predicted: dict[int, tuple[list[int], list[float]]] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batch = self.batch or copy.deepcopy(batch)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.gradients = self.gradients or {
            name: None if value.grad is None else value.grad.detach().numpy().copy()
            for name, value in pl_module.named_parameters()
        }

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        for user, ids, scores in zip(
            batch.recipients.tolist(), *(part.tolist() for part in outputs), strict=True
        ):
            assert user not in self.predicted
            self.predicted[user] = ids, scores


def small(cls: type[RetrievalModel]) -> Any:
    """Build a model, always with the same weights."""
    torch.manual_seed(0)
    known_users = inspect.signature(cls).parameters.get("num_users")
    required = known_users is not None and known_users.default is known_users.empty
    return cls(
        num_items=40,
        embedding_dim=8,
        ns=(5, 10),
        negatives=UniformNegatives(20),
        **({"num_users": USERS} if required else {}),
    )


def data() -> ClusteredData:
    return ClusteredData(num_users=USERS, seed=0)


def evaluated(trainer: Any, model: Any) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for evaluate in (trainer.validate, trainer.test):
        metrics |= evaluate(model, data(), verbose=False)[0]
    trainer.predict(model, data(), return_predictions=False)
    return metrics


def in_one_of_two_processes(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    """Train, evaluate and predict with every architecture."""
    be_process(rank, world_size)
    found = {}
    for name, cls in ARCHITECTURES.items():
        model, watch = small(cls), Watch()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer = quiet_trainer(
                strategy="ddp", devices=world_size, callbacks=[watch], num_sanity_val_steps=0
            )
            trainer.fit(model, data())
            trainer.save_checkpoint(Path(folder, f"{name}.ckpt"))
            fitted = {key: float(value) for key, value in trainer.callback_metrics.items()}
            metrics = evaluated(trainer, model)
        assert (trainer.global_rank, trainer.world_size) == (rank, world_size)
        found[name] = {
            "batch": watch.batch,
            "gradients": watch.gradients,
            "weights": {key: value.numpy() for key, value in model.state_dict().items()},
            "fitted": fitted,
            "metrics": metrics,
            "predicted": watch.predicted,
            "warnings": [str(warning.message) for warning in caught],
        }
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def processes(folder: Path) -> list[dict[str, Any]]:
    return run_distributed(in_one_of_two_processes, 2, str(folder))


@pytest.fixture(params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_gradients_are_those_of_one_process_with_both_halves(
    processes: list[dict[str, Any]], name: str
) -> None:
    model, watch = small(ARCHITECTURES[name]), Watch()
    halves = [process[name]["batch"] for process in processes]
    assert not torch.equal(halves[0].users, halves[1].users)

    def both_halves(batch: Any, batch_idx: int) -> Any:
        losses = []
        for rank, half in enumerate(halves):
            seed_step(model.metadata.seed, 1, rank, model.device)  # draws what that process drew
            losses.append(model.loss_of(half))
        return sum(losses) / len(losses)

    model.training_step = both_halves
    quiet_trainer(callbacks=[watch], max_steps=1, limit_val_batches=0).fit(model, data())
    assert watch.gradients.keys() == processes[0][name]["gradients"].keys()
    for parameter, expected in watch.gradients.items():
        for process in processes:
            found = process[name]["gradients"][parameter]
            if expected is None:
                assert found is None or not found.any(), parameter
            else:
                torch.testing.assert_close(
                    torch.from_numpy(found),
                    torch.from_numpy(expected),
                    atol=1e-6,
                    rtol=1e-4,
                    msg=lambda said, parameter=parameter: f"{parameter}: {said}",
                )
    assert any(value is not None and value.any() for value in watch.gradients.values())


def test_both_have_the_weights_and_metrics_of_one_model(processes: list[dict[str, Any]], name: str) -> None:
    one, other = (process[name] for process in processes)
    for key, value in one["weights"].items():
        assert (value == other["weights"][key]).all() or key.endswith("generator"), key
    fresh = {key: value.numpy() for key, value in small(ARCHITECTURES[name]).state_dict().items()}
    assert any((one["weights"][key] != value).any() for key, value in fresh.items() if value.size)
    assert one["metrics"] == other["metrics"]
    validated = {key: value for key, value in one["metrics"].items() if key.startswith("val/")}
    assert validated
    assert {key: one["fitted"][key] for key in validated} == pytest.approx(validated, abs=1e-6)


def test_what_they_measure_and_predict_is_that_of_one_process(
    processes: list[dict[str, Any]], name: str, folder: Path
) -> None:
    model = RetrievalModel.load_from_checkpoint(folder / f"{name}.ckpt")
    watch = Watch()
    expected = evaluated(quiet_trainer(callbacks=[watch]), model)
    one, other = (process[name] for process in processes)
    assert one["metrics"] == pytest.approx(expected, abs=1e-6)
    assert 0.0 < expected["test/recall@10"] < 1.0
    assert not one["predicted"].keys() & other["predicted"].keys()
    together = one["predicted"] | other["predicted"]
    assert together.keys() == watch.predicted.keys() == set(range(1, USERS + 1))
    for user, (ids, scores) in watch.predicted.items():
        found, values = together[user]
        assert values == pytest.approx(scores, abs=1e-5)
        # items of nearly the same score may change places
        assert [item for item in found if item not in ids] == [] or values[-1] == pytest.approx(scores[-1])


def test_the_checkpoint_knows_what_that_of_one_process_knows(
    processes: list[dict[str, Any]], name: str, folder: Path
) -> None:
    alone = small(ARCHITECTURES[name])
    quiet_trainer(limit_train_batches=1, limit_val_batches=0).fit(alone, data())
    assert known(RetrievalModel.load_from_checkpoint(folder / f"{name}.ckpt")) == known(alone)


def test_nobody_is_told_to_synchronise(processes: list[dict[str, Any]], name: str) -> None:
    said = [message for process in processes for message in process[name]["warnings"]]
    assert not [message for message in said if "sync_dist" in message or "unused parameters" in message]
