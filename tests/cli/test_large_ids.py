"""Ids beyond int64, as hashes have them, survive the whole way."""

import json

import numpy as np
import polars as pl
import pytest

from lightning_croloss import load_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.recommend import command as recommend

LARGE = 2**63


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_fit_predict_and_recommend(tmp_path, monkeypatch, column, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    ids = {
        "user_id": np.repeat(np.arange(12, dtype=np.uint64), 6),
        "item_id": rng.integers(0, 20, 72).astype(np.uint64),
    }
    ids[column] = ids[column] * np.uint64(7919) + np.uint64(LARGE)
    frame = pl.DataFrame({**ids, "timestamp": np.tile(np.arange(6), 12)})
    # small users first: the first batch of the answer does not say what the rest holds
    small = pl.DataFrame({"user_id": [3], "item_id": [5], "timestamp": [0]}, schema=frame.schema)
    frame.write_parquet("events.parquet")
    pl.concat([small, frame]).write_parquet("histories.parquet")
    monkeypatch.setattr(recommend, "SIZE", 1)
    options = ["--data=TableDataModule", "--data.interactions=events.parquet", "--model=YouTubeDNN"]
    options += ["--model.ns=[5]", "--model.embedding_dim=8", "--trainer.accelerator=cpu"]
    options += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    main(["fit", *options, "--trainer.max_epochs=1", "--trainer.logger=CSVLogger"])
    checkpoint = str(next(tmp_path.rglob("*.ckpt")))
    main(["predict", *options, f"--ckpt_path={checkpoint}", "--n=3", "--output=predicted.parquet"])
    given = ["--model", checkpoint, "--histories", "histories.parquet", "--n", "3"]
    main(["recommend", *given, "--output", "found.parquet"])
    main(["recommend", *given, "--output", "found.jsonl"])

    known = {"user": set(ids["user_id"].tolist()), "item": set(ids["item_id"].tolist())}
    predicted, found = pl.read_parquet("predicted.parquet"), pl.read_parquet("found.parquet")
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert set(predicted["user"]) <= known["user"]
    assert set(found["user"]) == known["user"] | {3} == {line["user"] for line in lines}
    for items in (predicted["item"], found["item"], [item for line in lines for item in line["items"]]):
        assert set(items) <= known["item"]
    assert predicted[column.removesuffix("_id")].dtype == pl.UInt64
    assert found[column.removesuffix("_id")].dtype == pl.UInt64

    if column == "item_id":
        model = load_pretrained(checkpoint)
        several = [ids["item_id"][:6].tolist(), [str(LARGE + 7919)], np.array(ids["item_id"][:3])]
        assert [user.unknown for user in model.recommend_tokens(several, n=3)] == [0, 0, 0]
