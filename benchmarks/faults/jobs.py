"""The jobs: each runs in a process of its own, forked from one that has imported all, and can be ended.

The process that forks uses no package that starts threads, such as polars: a fork would not have them.
"""

from __future__ import annotations

import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.cli import main

CONFIG = """
seed_everything: 1
test_after_fit: false
data:
  class_path: TableDataModule
  init_args: {{interactions: {table}, batch_size: 64, min_user_interactions: 1, max_history: 5}}
model:
  class_path: YouTubeDNN
  init_args: {{embedding_dim: 256, hidden_dims: [8], ns: [10]}}
trainer:
  max_epochs: 4
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  logger:
    class_path: CSVLogger
    init_args: {{save_dir: runs, name: "", version: run, flush_logs_every_n_steps: 2}}
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {{save_last: true, every_n_train_steps: 3, save_top_k: 1}}
"""
LAST = Path("runs/run/checkpoints/last.ckpt")


class Job:
    """A function in a process of its own.

    Args:
        work: the function.
        folder: its current folder; what it prints goes to ``log.txt`` beside that.
        temporary: its ``TMPDIR``.
    """

    def __init__(self, work: Callable[[], None], folder: Path, temporary: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        self.log = folder.parent / "log.txt"
        self.process = os.fork()
        self.status: int | None = None
        if not self.process:
            _run(work, folder, temporary, self.log)

    def poll(self) -> int | None:
        """Return the status as a shell has it, or None while the process runs."""
        if self.status is None:
            ended, status = os.waitpid(self.process, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
        return self.status

    def wait(self, until: Callable[[], bool] = lambda: False, seconds: float = 600.0) -> int | None:
        """Wait until the process has ended, or something else holds, or the time is over."""
        end = time.monotonic() + seconds
        while self.poll() is None and not until() and time.monotonic() < end:
            time.sleep(0.002)
        return self.status

    def send(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.process, number)


def _run(work: Callable[[], None], folder: Path, temporary: Path, log: Path) -> None:
    status = 1
    try:
        os.environ["TMPDIR"] = str(temporary)
        os.chdir(folder)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def write_inputs(folder: Path, seed: int) -> Path:
    """Write a small table and the config of a fit; return the config."""
    drawn = random.Random(seed)
    lines = [f"{user},{drawn.randrange(150)},{time}\n" for user in range(120) for time in range(8)]
    (folder / "table.csv").write_text("user_id,item_id,timestamp\n" + "".join(lines))
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(table=folder / "table.csv"))
    return config


def keep(checkpoint: Path, model: Path) -> None:
    """Write the model of a checkpoint as a pretrained model."""
    save_pretrained(load_pretrained(checkpoint), model)


def fit(config: Path) -> None:
    """Run ``croloss fit``, or go on with it if there is a checkpoint."""
    more = []
    if LAST.exists():
        more = [
            f"--ckpt_path={LAST}",
            f"--trainer.logger.init_args.version={len(list(Path('runs').iterdir()))}",
        ]
    main(["fit", f"--config={config}", *more])


def export(model: Path, times: int | None = None) -> None:
    """Run ``croloss export`` again and again into one folder."""
    while times is None or times > 0:
        main(["export", f"--model={model}", "--output=zoo/set/model", "--overwrite"])
        times = None if times is None else times - 1


def save(model: Path, times: int | None = None) -> None:
    """Write a model into a zoo again and again."""
    loaded = load_pretrained(model)
    while times is None or times > 0:
        save_pretrained(loaded, "zoo/set/model", overwrite=True)
        times = None if times is None else times - 1
