"""The README's config for the user's own data: fit, then predictions in the user's own ids."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest

from lightning_croloss.cli import main
from lightning_croloss.models import RetrievalModel

pl = pytest.importorskip("polars", reason="needs the extra [tables]")
pytestmark = pytest.mark.filterwarnings("ignore")

README = (Path(__file__).parents[2] / "README.md").read_text()
(CONFIG,) = re.findall(r"```yaml\n(data:\n  class_path: TableDataModule.*?)```", README, flags=re.DOTALL)
QUIET = ["--config=my_shop.yaml", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """Be in a folder with the config and the events of customers who stay with a quarter of the items."""
    monkeypatch.chdir(tmp_path)
    Path("my_shop.yaml").write_text(CONFIG)
    random = np.random.default_rng(0)
    customers = np.repeat(np.arange(200), 12)
    items = customers % 4 * 20 + random.integers(0, 20, len(customers))
    hours = random.permutation(len(customers))
    frame = pl.DataFrame(
        {
            "ordered at": [f"2024-{1 + h // 672:02}-{1 + h // 24 % 28:02}T{h % 24:02}:30:00Z" for h in hours],
            "SKU": items,
            "price": random.random(len(customers)),
            "Customer": customers,
        }
    )
    frame.write_parquet("orders.parquet")
    return frame


def fit_and_predict() -> pl.DataFrame:
    main(["fit", *QUIET, "--trainer.max_epochs=1"])
    (checkpoint,) = Path("runs").rglob("best.ckpt")
    main(["predict", *QUIET, "--ckpt_path", str(checkpoint), "--n=5", "--exclude_history=true"])
    return pl.read_parquet("predictions.parquet")


def test_the_config_is_short() -> None:
    assert len(CONFIG.splitlines()) < 25


@pytest.mark.slow
def test_text_ids(orders: pl.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    texts = orders.with_columns(
        pl.format("c-{}", "Customer").alias("Customer"), pl.format("SKU {}", "SKU").alias("SKU")
    )
    texts.write_parquet("orders.parquet")
    with caplog.at_level(logging.INFO):
        predictions = fit_and_predict()
    again = pl.col("SKU") == pl.col("SKU").shift().over("Customer")
    repeats = texts.sort("ordered at").select(again.sum()).item()
    said = (
        "orders.parquet: read 2,400 interactions, 200 users, 80 items; same item as the user's event before: "
        f"dropped {repeats} interactions"
    )
    assert said in caplog.text
    assert said in README
    assert set(predictions["user"]) == set(texts["Customer"])
    assert set(predictions["item"]) <= set(texts["SKU"])
    seen = set(texts.select("Customer", "SKU").iter_rows())
    last = texts.sort("ordered at").group_by("Customer").last()  # the targets may be found again
    assert not set(predictions.select("user", "item").iter_rows()) & (
        seen - set(last.select("Customer", "SKU").iter_rows())
    )


@pytest.mark.slow
def test_integer_ids(orders: pl.DataFrame) -> None:
    predictions = fit_and_predict()
    assert predictions.schema["user"] == predictions.schema["item"] == pl.Int64
    assert set(predictions["user"]) == set(range(200))
    assert set(predictions["item"]) <= set(range(80))
    (checkpoint,) = Path("runs/croloss/version_0").rglob("best.ckpt")
    model = RetrievalModel.load_from_checkpoint(checkpoint, weights_only=True)
    assert model.metadata.item_vocabulary.tokens == sorted(set(orders["SKU"]))
    assert model.metadata.item_vocabulary.integers


def test_a_mistake_is_one_sentence(orders: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", *QUIET, "--data.init_args.user_column=customer"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(
        "croloss: error: user_column names 'customer', which is not a column of orders.parquet; "
        "did you mean 'Customer'?"
    )
