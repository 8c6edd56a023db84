"""A checkpoint in shards that was kept goes on under the strategy; the tests of all runs read it, too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import distributed

from lightning_croloss.cli import main
from lightning_croloss.training.sharded.folder import is_sharded_checkpoint
from tests.distributed import be_process, run_distributed
from tests.formats.kept import ERROR, Run, losses_in

pytest.importorskip("polars", reason="the data of these files are tables")

in_shards = pytest.mark.parametrize("run", ["release_0_1/in_shards"], indirect=True)


@pytest.fixture
def group() -> Iterator[None]:
    """Let one process be a group, as long as the test takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def go_on(run: Run, *options: str) -> dict[int, float]:
    """Go on with the run; return the training loss of each step."""
    command = ["fit", f"--config={run.resolved}", f"--ckpt_path={run.checkpoint}", "--test_after_fit=false"]
    main([*command, *options])
    return losses_in(Path(f"work/{run.name}/metrics.csv"))


def in_a_process(rank: int, processes: int, folder: str, name: str) -> None:
    be_process(rank, processes)
    os.chdir(folder)
    go_on(Run(name))


@in_shards
def test_one_process_goes_on_under_the_strategy(run: Run, group: None) -> None:
    assert is_sharded_checkpoint(run.checkpoint)
    found = go_on(run, *run.in_one_process, "--trainer.strategy=croloss_sharded")
    assert found == pytest.approx(run.losses_after(), rel=ERROR)


@in_shards
@pytest.mark.slow
def test_two_processes_go_on(run: Run) -> None:
    run_distributed(in_a_process, 2, str(Path.cwd()), run.name)
    found = losses_in(Path(f"work/{run.name}/metrics.csv"))
    assert found == pytest.approx(run.losses_after(), rel=ERROR)
