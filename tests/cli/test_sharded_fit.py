"""A fit in shards from the command line, and what is left of it when a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lightning_croloss.cli import main
from lightning_croloss.training.sharded.folder import REST, is_sharded_checkpoint
from tests.cli.cases import environment
from tests.cli.small import LAST, MODEL, NO_PLOT, SMALL, newest

pytestmark = NO_PLOT
SHARDED = ["--trainer.devices=2", "--trainer.strategy=croloss_sharded"]
RUN = ["fit", *SMALL, *MODEL, *LAST, *SHARDED, "--trainer.max_epochs=5000"]


def processes_of(group: int) -> list[int]:
    """Return the processes of a group, in the order in which they were started."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getpgid(int(folder.name)) == group:
                found.append(int(folder.name))
        except ProcessLookupError:
            continue
    return sorted(found)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the processes of a group are found in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_the_others_end_with_a_killed_process_and_the_run_goes_on(victim: int) -> None:
    log = Path("log")
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "lightning_croloss", *RUN],
            stdout=file,
            stderr=file,
            env=environment(),
            start_new_session=True,
        )
        while process.poll() is None and not list(Path().rglob(f"last.ckpt/{REST}")):
            time.sleep(0.05)
        os.kill(processes_of(process.pid)[victim], signal.SIGKILL)
        end = time.monotonic() + 30
        while processes_of(process.pid) and time.monotonic() < end:
            process.poll()  # a dead process is one until its status is asked for
            time.sleep(0.05)
    said = log.read_text()
    assert not processes_of(process.pid), said
    assert "Traceback" not in said
    assert "another process of this run has ended" in said or process.returncode == -signal.SIGKILL
    last = newest("**/last.ckpt")
    assert is_sharded_checkpoint(last)
    epoch = torch.load(last / REST, weights_only=True)["epoch"]
    main(["fit", *SMALL, *MODEL, f"--ckpt_path={last}", f"--trainer.max_epochs={epoch + 2}"])
    assert list(Path().rglob("test_results*.json"))
