"""The metrics of each user as a file."""

from __future__ import annotations

import errno
from pathlib import Path

import polars as pl
import pytest
import torch
from lightning.pytorch import Callback

from lightning_croloss.callbacks import UserMetricsWriter
from lightning_croloss.models import YouTubeDNN
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model
from tests.distributed import run_distributed

READERS = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".tsv": lambda path: pl.read_csv(path, separator="\t"),
    ".jsonl": pl.read_ndjson,
}


class SeveralTargets(YouTubeDNN):
    """Users with one to three targets, and one user in seven with none."""

    def _count(self, users, batch, stage):
        batch.targets = torch.stack(
            [batch.targets[:, 0], (batch.users % 40) + 1, (batch.users % 39) + 2], dim=1
        )
        batch.targets[:, 2] *= batch.users % 2
        batch.targets *= (batch.users % 7 != 0).unsqueeze(1)
        return super()._count(users, batch, stage)


@pytest.mark.parametrize("extension", READERS)
@pytest.mark.parametrize("command", ["validate", "test"])
@pytest.mark.parametrize(("cls", "exclude"), [(YouTubeDNN, False), (SeveralTargets, True)])
def test_the_means_are_what_is_reported(tmp_path, extension, command, cls, exclude):
    path, data = tmp_path / f"deep/each{extension}", ClusteredData()
    model = small_model(cls, exclude_history=exclude)
    trainer = quiet_trainer(callbacks=[UserMetricsWriter(str(path))])
    (reported,) = getattr(trainer, command)(model, data, verbose=False)
    frame = READERS[extension](path)
    names = [name.partition("/")[2] for name in reported if "@" in name]
    assert frame.columns == ["user", "targets", *names]
    for name, value in reported.items():
        if "@" in name:
            assert frame[name.partition("/")[2]].mean() == pytest.approx(value, abs=1e-6), name
    expected = [f"user {n}" for n in range(60) if cls is YouTubeDNN or (n + 1) % 7]
    assert frame["user"].to_list() == expected
    assert set(frame["targets"]) <= {1, 2, 3}  # a target that comes twice counts once
    assert cls is SeveralTargets or set(frame["targets"]) == {1}


def test_one_row_is_the_users_own(tmp_path):
    """Of users by hand, and whatever the size of the batch."""
    data, path = ClusteredData(eval_batch_size=7), tmp_path / "each.parquet"
    model = small_model()
    quiet_trainer(callbacks=[UserMetricsWriter(str(path))]).test(model, data, verbose=False)
    rows = pl.read_parquet(path).rows(named=True)
    loader = data.test_dataloader()
    seen = 0
    for batch in loader:
        scores = model.encode_users(batch)[:, 0] @ model.encode_items(None).T
        for user, target, row in zip(batch.users.tolist(), batch.targets[:, 0].tolist(), scores, strict=True):
            rank = int((row >= row[target - 1]).sum())
            found = rows[user - 1]
            assert found["user"] == data.user_vocabulary.tokens[user - 1]
            assert found["targets"] == 1
            for n in (5, 10, 20):
                assert found[f"recall@{n}"] == float(rank <= n)
                assert found[f"mrr@{n}"] == pytest.approx(1 / rank if rank <= n else 0)
            seen += 1
    assert seen == len(rows) == 60


def _measure(rank: int, world_size: int, folder: str) -> None:
    writer = UserMetricsWriter(f"{folder}/each.csv")
    trainer = quiet_trainer(callbacks=[writer], devices=1)
    writer._begin(_Attached(small_model(), ClusteredData()))
    model, data = small_model(), ClusteredData()
    values = torch.arange(rank, 60, world_size)
    users, ranks = values + 1, (values % 30 + 1).unsqueeze(1)
    if rank < world_size - 1:  # one process has no users at all
        writer._keep_ranks(model, ranks, users, "test")
    trainer.strategy._world = world_size
    type(trainer).world_size = property(lambda self: world_size)
    type(trainer).is_global_zero = property(lambda self: rank == 0)
    writer._end(trainer, _Attached(model, data))


class _Attached:
    def __init__(self, model, data):
        self.model, self.data = model, data


def test_several_processes_write_one_file(tmp_path):
    run_distributed(_measure, 3, str(tmp_path))
    frame = pl.read_csv(tmp_path / "each.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["each.csv"]
    expected = [n for n in range(60) if n % 3 < 2]
    assert frame["user"].to_list() == [f"user {n}" for n in expected]
    assert frame["recall@5"].to_list() == [float(n % 30 < 5) for n in expected]


def test_a_fit_writes_nothing_and_a_dry_run_neither(tmp_path):
    path = tmp_path / "each.csv"
    trainer = quiet_trainer(callbacks=[UserMetricsWriter(str(path))], limit_train_batches=1)
    trainer.fit(small_model(), ClusteredData())
    assert not path.exists()
    quiet_trainer(callbacks=[UserMetricsWriter(str(path))], fast_dev_run=True).test(
        small_model(), ClusteredData(), verbose=False
    )
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_nothing(tmp_path):
    class Failing(YouTubeDNN):
        def on_test_epoch_end(self):
            raise RuntimeError("on purpose")

    path = tmp_path / "each.csv"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="on purpose"):
        quiet_trainer(callbacks=[UserMetricsWriter(str(path), overwrite=True)]).test(
            small_model(Failing), ClusteredData(), verbose=False
        )
    assert [entry.name for entry in tmp_path.iterdir()] == ["each.csv"]
    assert path.read_text() == "before"


def test_a_file_that_is_there_is_replaced_only_if_told(tmp_path):
    path = tmp_path / "each.csv"
    path.write_text("before")
    with pytest.raises(ValueError, match=r"each\.csv' exists: choose another file, or set overwrite"):
        UserMetricsWriter(str(path))
    quiet_trainer(callbacks=[UserMetricsWriter(str(path), overwrite=True)]).test(
        small_model(), ClusteredData(), verbose=False
    )
    assert path.read_text().startswith("user,targets,recall@5")


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_place_where_no_file_can_be_is_told_before_the_work(command, tmp_path, monkeypatch):
    def no_place(*arguments, **keywords):
        raise OSError(errno.ENAMETOOLONG, "File name too long")

    class Begins(Callback):
        def on_train_start(self, trainer, pl_module):
            raise AssertionError("it has begun")

        on_validation_start = on_test_start = on_train_start

    writer = UserMetricsWriter(str(tmp_path / "deep" / "each.csv"))
    monkeypatch.setattr(Path, "mkdir", no_place)
    trainer = quiet_trainer(callbacks=[writer, Begins()], num_sanity_val_steps=0)
    with pytest.raises(
        PermissionError, match=r"each\.csv cannot be written there \(File name too long\): choose"
    ):
        getattr(trainer, command)(small_model(), ClusteredData())


@pytest.mark.parametrize("name", ["each", "each.txt", "each.xlsx", ""])
def test_other_extensions_are_refused(name):
    with pytest.raises(ValueError, match=r"must end in \.parquet, "):
        UserMetricsWriter(name)


def test_a_model_whose_step_returns_no_ranks_is_told(tmp_path):
    class Silent(YouTubeDNN):
        def test_step(self, batch, batch_idx):
            super().test_step(batch, batch_idx)

    with pytest.raises(TypeError, match="Silent's returned NoneType: return what super"):
        quiet_trainer(callbacks=[UserMetricsWriter(str(tmp_path / "x.csv"))]).test(
            small_model(Silent), ClusteredData(), verbose=False
        )


def test_loaders_without_a_data_module_have_no_tokens(tmp_path):
    with pytest.raises(ValueError, match="in the tokens of a RetrievalDataModule"):
        quiet_trainer(callbacks=[UserMetricsWriter(str(tmp_path / "x.csv"))]).test(
            small_model(), ClusteredData().test_dataloader(), verbose=False
        )
