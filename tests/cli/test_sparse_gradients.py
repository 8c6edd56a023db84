"""Sparse gradients in runs started from a config file, whose optimizer jsonargparse delivers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lightning_croloss.cli import main

pl = pytest.importorskip("polars", reason="needs the extra [tables]")
pytestmark = pytest.mark.filterwarnings("ignore")

ADAMW = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01, "weight_decay": 0.01}}
SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
UNIFORM = {"class_path": "UniformNegatives", "init_args": {"num_negatives": 20}}
EVERY_THIRD_STEP = {"every_n_train_steps": 3, "save_top_k": -1, "filename": "{step}"}
WHOLE_CATALOGUE = {"class_path": "FullCatalogNegatives"}


def write_run(num_items: int, **model: Any) -> None:
    """Write events of 20 users, each item once, and the config of a run with few and short steps."""
    items = np.random.default_rng(0).permutation(num_items)
    users = np.arange(num_items) % 20
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": np.arange(num_items)})
    frame.write_parquet("events.parquet")
    arguments = {"embedding_dim": 4, "hidden_dims": [], "ns": [5], "optimizer": ADAMW, "negatives": UNIFORM}
    config = {
        "data": {
            "class_path": "TableDataModule",
            "init_args": {"interactions": "events.parquet", "batch_size": 8, "max_history": 5},
        },
        "model": {"class_path": "YouTubeDNN", "init_args": arguments | model},
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 3,
            "limit_val_batches": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
            "callbacks": [{"class_path": "ModelCheckpoint", "init_args": EVERY_THIRD_STEP}],
        },
        "test_after_fit": False,
    }
    Path("run.yaml").write_text(yaml.safe_dump(config))


def fitted(folder: str, *options: str) -> dict[str, Any]:
    """Run ``fit`` and return the checkpoint that it leaves in the folder."""
    main(["fit", "--config=run.yaml", f"--trainer.default_root_dir={folder}", *options])
    path = max(Path(folder).rglob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content | {"path": path}


def last_steps(checkpoint: dict[str, Any]) -> list[torch.Tensor]:
    """Return the last step of each row, of every parameter of which LazyAdam keeps them."""
    states = checkpoint["optimizer_states"][0]["state"].values()
    return [state["last_step"] for state in states if "last_step" in state]


def test_sparse_gradients_that_are_asked_for() -> None:
    write_run(400, sparse_gradients=True)
    whole = fitted("run", "--trainer.max_steps=6")
    (steps,) = last_steps(whole)
    assert steps.dtype == torch.int64
    assert len(steps) == 401
    assert steps.max() == whole["global_step"] == 6
    assert whole["optimizer_states"][0]["param_groups"][0]["lr"] == 0.01
    assert whole["optimizer_states"][0]["param_groups"][0]["weight_decay"] == 0.01

    (interrupted,) = Path("run").rglob("step=3.ckpt")
    resumed = fitted("run", f"--ckpt_path={interrupted}", "--trainer.max_steps=6")
    assert resumed["path"] != whole["path"]
    assert torch.equal(last_steps(resumed)[0], steps)
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name


@pytest.mark.parametrize(
    ("model", "sparse"),
    [
        ({}, True),
        ({"sparse_gradients": False}, False),
        ({"negatives": WHOLE_CATALOGUE}, False),
        ({"optimizer": SGD}, False),
    ],
    ids=["AdamW", "not wanted", "whole catalogue", "SGD"],
)
def test_a_large_catalogue_chooses_by_itself(model: dict[str, Any], sparse: bool) -> None:
    write_run(60_000, **model)
    steps = last_steps(fitted("run"))
    assert [len(of_rows) for of_rows in steps] == ([60_001] if sparse else [])


def test_an_optimizer_that_cannot_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write_run(400, sparse_gradients=True, optimizer=SGD)
    with pytest.raises(SystemExit):
        main(["fit", "--config=run.yaml"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("croloss: error: ")]
    assert "sparse_gradients=True needs LazyAdam" in line
    assert "got SGD(lr=0.1)" in line
