"""Two processes with partitions of their own: every user once, exact metrics, alike steps, exact resume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

pl = pytest.importorskip("polars")

from lightning_croloss import (  # noqa: E402
    LightGCN,
    MatrixFactorization,
    PopularityNegatives,
    UniformNegatives,
    YouTubeDNN,
)
from lightning_croloss.callbacks import PredictionWriter  # noqa: E402
from lightning_croloss.data import GlobalTime, LeaveOneOut  # noqa: E402
from tests.data.partitions.tables import ITEMS, partitioned, plain, write_table  # noqa: E402
from tests.data_for_tests import quiet_trainer  # noqa: E402
from tests.distributed import be_process, run_distributed  # noqa: E402

pytestmark = pytest.mark.slow
SPLITS = {"last": LeaveOneOut, "time": lambda: GlobalTime(0.2, 0.2)}
SAVED_AFTER = 5


def small(data: Any, kind: str = "YouTubeDNN") -> Any:
    """Build a model, always with the same weights."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"embedding_dim": 8, "ns": (5, 10), "negatives": UniformNegatives(20)}
    if kind == "MatrixFactorization":
        return MatrixFactorization(data.num_items, data.num_users, **options)
    if kind == "LightGCN":
        return LightGCN(data.num_items, data.num_users, **options)
    options["negatives"] = PopularityNegatives(20)
    return YouTubeDNN(data.num_items, **options)


class Watch(Callback):
    """Notes the rows that are trained and evaluated on, and saves after some batches."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.trained: list[list[tuple[int, int]]] = [[]]
        self.evaluated: list[int] = []
        self.sizes: list[int] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        while len(self.trained) <= trainer.current_epoch:
            self.trained.append([])
        self.trained[-1] += zip(batch.users.tolist(), batch.targets.flatten().tolist(), strict=False)
        self.sizes.append(len(batch.users))

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if self.path and trainer.global_step == SAVED_AFTER:
            trainer.save_checkpoint(self.path)

    def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *args: Any) -> None:
        self.evaluated += batch.users.tolist()


def weights_of(model: Any) -> dict[str, Any]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def evaluated(trainer: Any, model: Any, data: Any) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for evaluate in (trainer.validate, trainer.test):
        metrics |= evaluate(model, data, verbose=False)[0]
    return metrics


def in_a_process(rank: int, world_size: int, divided: str, folder: str) -> dict[str, Any]:
    """Evaluate, train, resume and predict."""
    be_process(rank, world_size)
    found: dict[str, Any] = {}

    def trainer_of(callbacks: Any, **options: Any) -> Any:
        options = {"num_sanity_val_steps": 0, "strategy": "ddp", **options}
        return quiet_trainer(devices=world_size, callbacks=callbacks, **options)

    for name, split in SPLITS.items():
        data, watch = partitioned(divided, split=split()), Watch()
        model = small(data)
        found[f"metrics, {name}"] = evaluated(trainer_of([watch]), model, data)
        found[f"evaluated, {name}"] = watch.evaluated
    data, watch = partitioned(divided), Watch(f"{folder}/middle.ckpt")
    model = small(data)
    trainer_of([watch], max_epochs=2).fit(model, data)
    found |= {"trained": watch.trained, "sizes": watch.sizes, "weights": weights_of(model)}
    data = partitioned(divided)
    model = small(data)
    trainer_of([], max_epochs=2).fit(model, data, ckpt_path=f"{folder}/middle.ckpt", weights_only=True)
    found["resumed"] = weights_of(model)
    data = partitioned(divided)
    model = small(data)
    trainer = trainer_of([PredictionWriter(f"{folder}/lists.parquet")])
    trainer.predict(model, data, return_predictions=False)
    for kind in ("MatrixFactorization", "LightGCN"):
        data, watch = partitioned(divided), Watch()
        model = small(data, kind)
        trainer_of([watch], max_epochs=1).fit(model, data)
        found[kind] = {"weights": weights_of(model), "users": {user for user, _ in watch.trained[0]}}
        found[kind]["metrics"] = evaluated(trainer_of([]), model, data)
    data, watch = partitioned(divided), Watch()
    model = small(data)
    trainer = trainer_of([watch], strategy="croloss_sharded", max_steps=2)
    found["sharded"] = evaluated(trainer, model, data)
    trainer.fit(model, data)
    found["sharded sizes"] = watch.sizes
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return write_table(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def processes(files: tuple[str, str], folder: Path) -> list[dict[str, Any]]:
    return run_distributed(in_a_process, 2, files[1], str(folder))


@pytest.mark.parametrize("name", SPLITS)
def test_each_user_is_measured_once_and_the_metrics_are_exact(
    files: tuple[str, str], processes: list[dict[str, Any]], name: str
) -> None:
    data = plain(files[0], split=SPLITS[name]())
    expected = evaluated(quiet_trainer(), small(data), data)
    assert len(expected) > 8
    users = sorted(user for process in processes for user in process[f"evaluated, {name}"])
    assert users == data.interactions.users[data.rows.test.first].tolist()
    assert all(process[f"evaluated, {name}"] for process in processes)
    for process in processes:
        assert process[f"metrics, {name}"] == pytest.approx(expected, abs=1e-6)
    if name == "last":
        assert processes[0]["sharded"] == pytest.approx(expected, abs=1e-6)
        assert processes[0]["sharded sizes"] == [16, 16]


def test_all_make_the_same_steps_on_rows_of_their_own(
    files: tuple[str, str], processes: list[dict[str, Any]]
) -> None:
    data = plain(files[0])
    rows = data.rows.train.first
    known = set(
        zip(data.interactions.users[rows].tolist(), data.interactions.items[rows].tolist(), strict=True)
    )
    shares = [process["trained"] for process in processes]
    assert processes[0]["sizes"] == processes[1]["sizes"]
    own = [{user for epoch in share for user, _ in epoch} for share in shares]
    assert not own[0] & own[1]
    left_out = []
    for epoch in (0, 1):
        seen = [row for share in shares for row in share[epoch]]
        assert len(seen) == 2 * len(shares[0][epoch])
        assert set(seen) <= known
        left_out.append(known - set(seen))
    assert 0 < len(left_out[0]) < len(known) / 4
    assert left_out[0] != left_out[1]


def test_a_run_goes_on_exactly(processes: list[dict[str, Any]]) -> None:
    for process in processes:
        for name, value in process["weights"].items():
            assert (process["resumed"][name] == value).all(), name
            assert (processes[0]["weights"][name] == value).all(), name


def test_the_middle_of_an_epoch_is_for_as_many_processes(
    files: tuple[str, str], processes: list[dict[str, Any]], folder: Path
) -> None:
    for data in (partitioned(files[1]), plain(files[0])):
        trainer = quiet_trainer(max_epochs=2)
        with pytest.raises(ValueError, match="in the middle of an epoch of 2 processes") as caught:
            trainer.fit(small(data), data, ckpt_path=folder / "middle.ckpt", weights_only=True)
        assert "an epoch's end" in str(caught.value)
    assert os.path.exists(folder / "middle.ckpt")


def test_each_user_is_served_once(
    files: tuple[str, str], processes: list[dict[str, Any]], folder: Path
) -> None:
    data = plain(files[0])
    quiet_trainer(callbacks=[PredictionWriter(str(folder / "one.parquet"))]).predict(
        small(data), data, return_predictions=False
    )
    one, two = (
        pl.read_parquet(folder / name).sort("user", "rank") for name in ("one.parquet", "lists.parquet")
    )
    assert one.select("user", "rank", "item").equals(two.select("user", "rank", "item"))
    assert one["user"].n_unique() == 120


def test_users_have_the_ids_of_the_whole_table(
    files: tuple[str, str], processes: list[dict[str, Any]]
) -> None:
    data = plain(files[0])
    for kind in ("MatrixFactorization", "LightGCN"):
        first, second = (process[kind] for process in processes)
        assert not first["users"] & second["users"]
        assert first["users"] | second["users"] <= {*range(1, data.num_users + 1)}
        model = small(data, kind)
        if kind == "LightGCN":
            quiet_trainer(limit_train_batches=0, max_epochs=1).fit(model, data)  # takes the graph
            name = next(name for name in first["weights"] if name.endswith("edges"))
            assert (first["weights"][name] == model.state_dict()[name].numpy()).all()
        model.load_state_dict({name: torch.from_numpy(value) for name, value in first["weights"].items()})
        expected = evaluated(quiet_trainer(), model, data)
        assert first["metrics"] == pytest.approx(expected, abs=1e-6)
        assert second["metrics"] == pytest.approx(expected, abs=1e-6)


def test_one_process_trains_as_on_the_whole_table(files: tuple[str, str]) -> None:
    weights = []
    for data in (plain(files[0]), partitioned(files[1])):
        model = small(data)
        assert data.num_items == ITEMS
        quiet_trainer(max_epochs=1).fit(model, data)
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])
