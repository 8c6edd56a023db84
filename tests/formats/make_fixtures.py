"""Write what the tests of this folder read: run once by the release whose files are to be kept.

``python -m tests.formats.make_fixtures release_0_1 FOLDER`` trains the models of a set, a module of
``making``, each from a config, as a user would, and keeps its checkpoint, its resolved config, the loss of
each step and its folder of ``save_pretrained``; the exports of some; and a checkpoint of a model that was
built in Python. With names behind it, it adds these runs alone to a folder that is there.

Never run it over what a release has written: later releases must go on reading the old files. What comes
later is kept in a folder of its own, from a set of its own.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.formats.kept import CLEAR, Run, data_of, flat, measured
from tests.formats.making.describing import NS, Config
from tests.formats.making.tables import write_tables


def main(chosen: str, folder: Path, *names: str) -> None:
    """Write a set into a folder that does not exist yet, or add runs of it to one."""
    from lightning_croloss.cli import main as croloss

    made = importlib.import_module(f"tests.formats.making.{chosen}")
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    if not names:
        (folder / "configs").mkdir(parents=True)
    os.chdir(folder)
    if not names:
        write_tables(made.EVENT_FEATURES)
        built_in_python()
    for name, config in made.configs().items():
        if name in names or not names:
            Path(f"configs/{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
            fit(name, config)
            if name in made.EXPORTS:
                index = made.EXPORTS[name]
                options = [] if index is None else ["--index", index]
                croloss(["export", f"--model=zoo/small/{name}", f"--output=exports/{name}", *options])
    shutil.rmtree("work")


def fit(name: str, config: Config) -> None:
    """Train a model and keep what the run wrote, and the folder of its checkpoint."""
    from lightning_croloss import load_pretrained, save_pretrained
    from lightning_croloss.cli import main as croloss

    command = ["fit", f"--config=configs/{name}.yaml"]
    if config["trainer"].get("devices", 1) == 1:
        croloss(command)
    else:  # which starts other processes by its own command
        subprocess.run([sys.executable, "-m", "lightning_croloss", *command], check=True)
    work, kept = Path(f"work/{name}"), Path(f"fits/{name}")
    kept.mkdir(parents=True)
    for file in ("config.yaml", "metrics.csv"):
        shutil.copy(work / file, kept / file)
    for checkpoint in work.glob("checkpoints/*"):
        if checkpoint.stem != "last":
            checkpoint.rename(kept / checkpoint.name)
    model = load_pretrained(Run(name).checkpoint)
    _, gap = measured(model, data_of(config))
    if gap < CLEAR:
        raise SystemExit(f"{name}: a rank hangs on a difference of {gap}: take another seed")
    figures = {"test": flat(json.loads((work / "test_results.json").read_text()))}
    save_pretrained(model, f"zoo/small/{name}", config=kept / "config.yaml", metrics=figures)


def built_in_python() -> None:
    """Keep a checkpoint of a model that no config describes, with the state of LazyAdam."""
    import lightning.pytorch as pl

    import lightning_croloss as lc
    from lightning_croloss.training import LazyAdam

    pl.seed_everything(7)
    data = lc.TableDataModule("events.csv", user_column="user", item_column="item", time_column="time")
    model = lc.YouTubeDNN(
        data.num_items,
        embedding_dim=8,
        hidden_dims=[12],
        loss=lc.CROLoss(importance=lc.TargetNImportance(5)),
        negatives=lc.PopularityNegatives(20),
        optimizer=functools.partial(LazyAdam, lr=0.01),
        sparse_gradients=True,
        ns=NS,
    )
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=2, **quiet)
    trainer.fit(model, data)
    Path("fits").mkdir()
    trainer.save_checkpoint("fits/built_in_python.ckpt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
