"""``croloss predict``: recommendations in the data's own tokens, as Parquet."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback

from lightning_croloss import RecBoleDataModule, YouTubeDNN
from lightning_croloss.callbacks import PredictionWriter
from lightning_croloss.cli import main
from lightning_croloss.data import DataRequest
from tests.cli.cases import CONFIG, QUICK, error_of
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model

pytest.importorskip("recbole", reason="the runs are on the dataset that RecBole bundles")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [tables]")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    before = Path.cwd()
    os.chdir(folder)
    try:
        main(["fit", "--config", str(CONFIG), *QUICK, "--trainer.max_epochs=1", "--test_after_fit=false"])
    finally:
        os.chdir(before)
    return folder / "runs/croloss/version_0/checkpoints/last.ckpt"


def predict(checkpoint: Path, *arguments: str) -> list[str]:
    bar = "--trainer.enable_progress_bar=false"
    return ["predict", "--config", str(CONFIG), "--ckpt_path", str(checkpoint), bar, *arguments]


@pytest.mark.parametrize("exclude", [True, False, None])
@pytest.mark.slow
def test_predictions_are_the_recommendations(checkpoint: Path, exclude: bool | None) -> None:
    flag = [] if exclude is None else [f"--exclude_history={str(exclude).lower()}"]
    main(predict(checkpoint, "--n=7", "--output=out/mine.parquet", *flag))
    assert [path.name for path in Path("out").iterdir()] == ["mine.parquet"]
    table = parquet.read_table("out/mine.parquet").to_pydict()
    assert list(table) == ["user", "rank", "item", "score"]
    assert table["rank"] == list(range(1, 8)) * 943

    # every user, by the whole history, whatever part of it was held out
    data = RecBoleDataModule(eval_batch_size=943)
    data.prepare_for(DataRequest(whole_history=True))
    events = data.interactions
    assert torch.equal(
        next(iter(data.predict_dataloader())).history[:, -1], events.items[events.user_offsets[2:] - 1]
    )
    (batch,) = data.predict_dataloader()
    model = YouTubeDNN.load_from_checkpoint(checkpoint, weights_only=True)
    ids, scores = model.recommend(batch.items_before, n=7, exclude_history=exclude)
    assert table["user"] == [user for user in data.user_vocabulary.decode(batch.users) for _ in range(7)]
    assert table["item"] == data.item_vocabulary.decode(ids.flatten())
    assert torch.tensor(table["score"]) == pytest.approx(scores.flatten())
    seen = (ids.unsqueeze(-1) == batch.items_before.unsqueeze(1)).any()
    assert bool(seen) == (exclude is False)  # the config of the model leaves them out


@pytest.mark.slow
def test_an_existing_file_is_refused_before_any_work(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("predictions.parquet").write_text("precious")
    said = error_of(capsys, *predict(checkpoint, "--n=5"))
    assert said.startswith("--output predictions.parquet exists: choose another file, or give --overwrite")
    assert Path("predictions.parquet").read_text() == "precious"
    main(predict(checkpoint, "--overwrite", "--n=5"))
    assert parquet.read_table("predictions.parquet").num_rows == 943 * 5


@pytest.mark.slow
def test_more_items_than_the_catalogue_has(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, *predict(checkpoint, "--n=1683"))
    assert said.startswith("n must be 1 … 1682, the size of the catalogue, got 1683")


def test_a_failure_in_the_middle_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(YouTubeDNN):
        def predict_step(self, batch: object, batch_idx: int) -> object:
            if batch_idx == 2:
                raise RuntimeError("out of luck")
            return super().predict_step(batch, batch_idx)  # type: ignore[arg-type]

    output = Path("predictions.parquet")
    output.write_text("old")
    trainer = quiet_trainer(callbacks=[PredictionWriter(str(output), overwrite=True)])
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.predict(small_model(Failing), ClusteredData(), return_predictions=False)
    assert output.read_text() == "old"
    assert list(Path().iterdir()) == [output]


@pytest.mark.slow
def test_ctrl_c_while_writing_leaves_the_old_file(
    checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = Path("predictions.parquet")
    output.write_text("old")
    interrupting = ["--trainer.callbacks+=tests.killer.InterruptAt", "--trainer.callbacks.step=3"]
    with pytest.raises(SystemExit) as caught:
        main(
            predict(
                checkpoint, "--n=5", "--overwrite=true", "--data.init_args.eval_batch_size=100", *interrupting
            )
        )
    assert caught.value.code
    printed = capfd.readouterr()
    assert "predictions:" not in printed.out + printed.err
    assert output.read_text() == "old"
    assert list(Path().iterdir()) == [output]


@pytest.mark.slow
def test_without_pyarrow_the_extra_is_named(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = error_of(capsys, *predict(checkpoint))
    assert said.startswith(
        "writing predictions needs the extra [tables]: pip install 'lightning-croloss[tables]'"
    )
    assert not list(Path().iterdir())


@pytest.mark.slow
def test_nothing_but_the_output_is_written(checkpoint: Path) -> None:
    main(predict(checkpoint, "--n=5"))
    assert [path.name for path in Path().iterdir()] == ["predictions.parquet"]


@pytest.mark.parametrize("logger", ["CSVLogger", "WandbLogger"])
@pytest.mark.slow
def test_the_config_that_a_fit_kept_serves_predict(
    checkpoint: Path, logger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # predict needs no logger, not even its package
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", False)
    config = yaml.safe_load((checkpoint.parent.parent / "config.yaml").read_text())
    assert config["trainer"]["logger"]["class_path"].endswith("CSVLogger")
    config["trainer"]["logger"] = {
        "class_path": f"lightning.pytorch.loggers.{logger}",
        "init_args": {"save_dir": "runs"},
    }
    Path("config.yaml").write_text(yaml.safe_dump(config))
    bar = "--trainer.enable_progress_bar=false"
    main(
        [
            "predict",
            "--config=config.yaml",
            f"--ckpt_path={checkpoint}",
            bar,
            "--n=5",
            "--output=kept.parquet",
        ]
    )
    main(predict(checkpoint, "--n=5", "--output=own.parquet"))
    assert parquet.read_table("kept.parquet") == parquet.read_table("own.parquet")
    assert {path.name for path in Path().iterdir()} == {"config.yaml", "kept.parquet", "own.parquet"}


@pytest.mark.slow
def test_batches_are_written_as_they_come_and_forgotten() -> None:
    seen: list[weakref.ref[torch.Tensor]] = []
    sizes, alive = [], []

    class Watch(Callback):
        def on_predict_batch_start(self, *args: object) -> None:
            gc.collect()
            alive.append(sum(output() is not None for output in seen))

        def on_predict_batch_end(self, *args: Any) -> None:
            seen.append(weakref.ref(args[2][0]))
            (temporary,) = Path().glob("*.parquet")
            sizes.append(temporary.stat().st_size)

    model = small_model()
    trainer = quiet_trainer(callbacks=[PredictionWriter("all.parquet"), Watch()])
    trainer.predict(model, ClusteredData(), return_predictions=False)
    assert len(sizes) == 4
    assert sizes == sorted(set(sizes))  # each batch is in the file before the next one comes
    assert max(alive) <= 1
    assert parquet.ParquetFile("all.parquet").num_row_groups == 4
    assert parquet.read_table("all.parquet").column("user").unique().to_pylist() == [
        f"user {number}" for number in range(60)
    ]


def test_where_few_items_are_left_there_are_fewer_rows() -> None:
    data, model = ClusteredData(num_users=8), small_model(exclude_history=True)
    model.predicts_n = 40
    trainer = quiet_trainer(callbacks=[PredictionWriter("all.parquet")])
    trainer.predict(model, data, return_predictions=False)
    table = parquet.read_table("all.parquet")
    (batch,) = data.predict_dataloader()
    left = 40 - (batch.items_before != 0).sum(1)
    assert table.num_rows == int(left.sum())
    assert "" not in table["item"].to_pylist()


def test_data_without_tokens_is_refused() -> None:
    trainer = quiet_trainer(callbacks=[PredictionWriter("all.parquet")])
    with pytest.raises(ValueError, match="in the tokens of a RetrievalDataModule"):
        trainer.predict(small_model(), ClusteredData().predict_dataloader(), return_predictions=False)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", ["all.csv", "all.tsv", "all.jsonl"])
def test_text_holds_what_parquet_holds(name: str) -> None:
    import polars as pl

    model, data = small_model(), ClusteredData()
    for output in ("all.parquet", name):
        trainer = quiet_trainer(callbacks=[PredictionWriter(output)])
        trainer.predict(model, data, return_predictions=False)
    wanted = pl.read_parquet("all.parquet")
    if name == "all.jsonl":
        found = pl.read_ndjson(name).explode("items", "scores")
        found = found.rename({"items": "item", "scores": "score"}).cast({"score": pl.Float32})
        assert found.equals(wanted.drop("rank"))
    else:
        found = pl.read_csv(name, separator="," if name == "all.csv" else "\t", schema=wanted.schema)
        assert found.equals(wanted)


@pytest.mark.parametrize("output", ["predictions", "all.xlsx", "all.csv.gz", ""])
def test_an_output_of_another_kind_is_refused_before_any_work(output: str) -> None:
    with pytest.raises(ValueError, match=rf"output '{output}' must end in .parquet, .pq, .csv, .tsv, .jsonl"):
        PredictionWriter(output)
